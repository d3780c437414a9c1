"""Distances, votes and nearest neighbours as the course asks for them, as functions and classes.

The lecture's functions (`l2_distances`, `knn`) must take uint8 pixels and equal distances.  The
classes and functions of public assignments get floats: there both are a remark.
"""

from functools import partial
from typing import Any

import numpy as np

from experiments.check_homework import laws
from experiments.check_homework.distances import (
    IS_L1,
    IS_L2,
    ROOT,
    WRAP,
    WRAPPED,
    WRONG_L1,
    WRONG_ROOTS,
    WRONG_SQUARES,
    Distance,
    Wrong,
    l1,
    l2,
    squares,
)
from experiments.check_homework.roles import VALUE, Form, Function, Parts, Role
from experiments.check_homework.votes import (
    FARTHEST,
    INDEX,
    LAST_EQUAL,
    UNSTABLE,
    VOTES,
    Vote,
    majority,
)

Array = np.ndarray


def labels_of(vote: Vote) -> Function:
    """predict_labels(dists (M, N), y, k)."""
    return lambda dists, y, k: np.array([vote(row, y, k) for row in dists])


def classifier(distance: Distance, vote: Vote) -> Function:
    """knn(X, y, queries, k)."""

    def function(X: Array, y: Array, queries: Array, k: int) -> Array:
        return np.array([vote(row, y, k) for row in distance(queries, X)])

    return function


# --- the inputs --------------------------------------------------------------------------------

_RANDOM = np.random.default_rng(1)
POINTS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [5.0, 5.0], [6.0, 5.0]])
LABELS = np.array([3, 1, 4, 1, 5])
SLIDE_14 = (
    np.array([[56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220]], np.uint8),
    np.array([[10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112]], np.uint8),
)
COPIED = _RANDOM.uniform(0, 255, (24, 7))
PIXELS = "pixels in uint8"
FAR_APART = {"queries": POINTS[:3] + np.array([0.25, 0.5]), "X": POINTS, "y": LABELS}
DISTANCES = {
    "points": FAR_APART,
    "copies of training points": {"queries": COPIED, "X": COPIED[:20], "y": np.arange(20) % 3},
    "the images of slide 14 (uint8)": dict(zip(("queries", "X"), SLIDE_14, strict=True))
    | {"y": np.array([1])},
    PIXELS: {"queries": np.array([[100], [7]], np.uint8), "X": np.array([[84], [101], [10]],
             np.uint8), "y": np.array([0, 1, 2])},
}  # fmt: skip
EQUAL = "twenty equal distances"
VOTE_CASES = {
    "k = 1": {"k": 1}, "k = 3": {"k": 3}, "k = 5": {"k": 5},
}  # fmt: skip
DISTS = _RANDOM.uniform(1, 9, (4, 7))
VOTERS = np.array([2, 0, 2, 1, 1, 0, 4])
TIED = {
    "a tied vote": {"dists": np.array([[0.3, 0.1, 0.2, 0.4], [0.4, 0.3, 0.1, 0.2]]),
                    "y": np.array([3, 4, 1, 1]), "k": 2},
    "two equal distances": {"dists": np.array([[2.0, 1.0, 1.0]] * 2), "y": np.array([0, 5, 3]),
                            "k": 1},
    EQUAL: {"dists": np.tile([2.0, 1.0], (2, 20)), "y": np.arange(40)[::-1].copy(), "k": 3},
}  # fmt: skip
LABEL_CASES = {
    name: {"dists": DISTS, "y": VOTERS} | k for name, k in VOTE_CASES.items()
} | TIED  # fmt: skip
GRID = np.array([[0, 0], [0, 3], [4, 0], [3, 3], [9, 9], [9, 8], [0, 9]]) * 1.0
ASKED = np.array([[1.0, 0.5], [2.4, 2.6], [8.0, 9.0], [0.0, 2.1]])
NEAREST = {
    "points": {"X": GRID, "y": VOTERS, "queries": ASKED},
    "L1 and L2 differ": {"X": np.array([[0.0, 3.0], [2.0, 2.0]]), "y": np.array([1, 2]),
                         "queries": np.zeros((1, 2))},
    "two equally near": {"X": np.array([[2.0, 0.0], [0.0, 2.0]]), "y": np.array([2, 1]),
                         "queries": np.zeros((1, 2))},
    "pixels in uint8 (100 and 120 among 90, 130)": {
        "X": np.array([[90], [130]], np.uint8), "y": np.array([0, 1]),
        "queries": np.array([[100], [120]], np.uint8),
    },
    "pixels in uint8 (100 among 84, 101)": {
        "X": np.array([[84], [101]], np.uint8), "y": np.array([0, 1]),
        "queries": np.array([[100]], np.uint8),
    },
}  # fmt: skip
CIRCLES = np.array([[2.0, 0.0], [0.0, 1.0]] * 20)
KNN = {f"{name}, k = 1": case | {"k": 1} for name, case in NEAREST.items()} | {
    "points, k = 3": NEAREST["points"] | {"k": 3},
    "points, k = 5": NEAREST["points"] | {"k": 5},
    "a tied vote": {"X": POINTS[:2], "y": np.array([7, 4]), "queries": np.array([[0.2, 0.0]]),
                    "k": 2},
    EQUAL: {"X": CIRCLES, "y": np.arange(40)[::-1].copy(), "queries": np.zeros((2, 2)), "k": 3},
}  # fmt: skip
# --- the roles ---------------------------------------------------------------------------------


def _without_y(fn: Distance) -> Function:
    return lambda queries, X, y=None: fn(queries, X)


def _turned(found: Parts) -> Parts:
    return {name: part.T for name, part in found.items()}


def negative_root(call: laws.Call, arguments: dict[str, Any]) -> str:
    """Distances are numbers, also between copies."""
    if not np.isnan(call(arguments)[VALUE]).any():
        return ""
    return (
        "The root of a negative number is nan: a distance of 0 was rounded below 0. "
        "Use np.sqrt(np.maximum(squares, 0))."
    )


TABLE_FORMS = (Form("a row for each query"), Form("a row for each training image", take=_turned))
PIXEL_NOTE = {name: WRAP for name in DISTANCES if "uint8" in name}


def _distances(title: str, names: str, right: dict[str, Distance], wrong: Wrong) -> Role:
    return Role(
        f"{title}(queries, X) -> (M, N)", names, ("queries", "X"), _unlabelled(DISTANCES),
        {says: _without_y(fn) for says, fn in right.items()},
        [(says, _without_y(fn)) for says, fn in wrong],
        laws=[negative_root, laws.triangle],
    )  # fmt: skip


def _unlabelled(cases: dict[str, Any]) -> dict[str, Any]:
    return {name: {"queries": case["queries"], "X": case["X"]} for name, case in cases.items()}


LECTURE_DISTANCES = (
    _distances("l1_distances", "l1_distances?", {"": l1},
               [(IS_L2, l2), (IS_L2, squares), *WRONG_L1, *WRAPPED]),
    _distances("l2_distances", "l2_distances?", {"sums of squares": squares},
               [(ROOT, l2), (IS_L1, l1), *WRONG_SQUARES, *WRAPPED]),
)  # fmt: skip
METRICS = {"L2": l2, "squares of L2": squares, "L1": l1}
ALL_WRONG = [*WRONG_ROOTS, *WRONG_SQUARES, *WRONG_L1]
COURSE_DISTANCES = Role(
    "compute_distances_no_loops(X_train, X_test), or a method after train(X, y)",
    r"(?i)(compute_)?(pairwise_)?dist(ance)?s?(_\w+)?|(euclidean|l2)_dist(ance)?s?\w*",
    ("X", "queries"), _unlabelled(DISTANCES),
    {says: _without_y(fn) for says, fn in METRICS.items()},
    [(says, _without_y(fn)) for says, fn in ALL_WRONG], forms=TABLE_FORMS,
    laws=[negative_root, laws.triangle], remarks=PIXEL_NOTE,
    method=r"(?i)(compute_)?dist(ance)?s?\w*", kind="neighbours", alike=True,
)  # fmt: skip
COURSE_LABELS = Role(
    "predict_labels(dists, y_train, k), or a method after train(X, y)", "(?i)predict_labels?",
    ("dists", "y", "k"), LABEL_CASES, {"": labels_of(majority)},
    [(says, labels_of(vote)) for says, vote in VOTES],
    forms=(Form("a row for each query"),
     Form("a column for each query", lambda a: a | {"dists": a["dists"].T.copy()})),
    optional={"k": 1}, remarks={EQUAL: UNSTABLE}, method="(?i)predict_labels?", kind="neighbours",
)  # fmt: skip


def _by(distance: Distance) -> list[tuple[str, Function]]:
    return [(says, classifier(distance, vote)) for says, vote in VOTES]


def _wrong_pixels(*distances: Distance) -> list[tuple[str, Function]]:
    return [(WRAP, classifier(distance, majority)) for distance in distances]


WRAPPED_FUNCTIONS = _wrong_pixels(*(fn for _, fn in WRAPPED))
LECTURE_KNN = Role(
    "knn(X, y, queries, k) -> labels (M,), by L2", "(?i)knn|k_?nearest_?neighbou?rs?",
    ("X", "y", "queries", "k"), KNN, {"": classifier(l2, majority)},
    [*_by(l2), (IS_L1, classifier(l1, majority)), *WRAPPED_FUNCTIONS],
)  # fmt: skip


def _nearest_by(distance: Distance, vote: Vote = majority) -> Function:
    return partial(classifier(distance, vote), k=1)


NEAREST_WRONG: list[tuple[str, Function]] = [
    (LAST_EQUAL, _nearest_by(l1, dict(VOTES)[LAST_EQUAL])),
    (FARTHEST, _nearest_by(l1, dict(VOTES)[FARTHEST])),
    (INDEX, _nearest_by(l1, dict(VOTES)[INDEX])),
    *((WRAP, partial(fn, k=1)) for _, fn in WRAPPED_FUNCTIONS),
]
LECTURE_NEAREST = Role(
    "nearest_neighbor(X, y, queries) -> labels (M,), by L1 as on slide 15",
    "(?i)(nearest_?neighbou?r|nn)s?(_classifier)?", ("X", "y", "queries"), NEAREST,
    {"": _nearest_by(l1)}, [(IS_L2, _nearest_by(l2)), *NEAREST_WRONG],
)  # fmt: skip
EITHER = {"L2": l2, "L1": l1}
PIXELS_AND_TIES = {name: WRAP for name in KNN if "uint8" in name} | {EQUAL: UNSTABLE}
CLASS_KNN = Role(
    "class with train(X, y) and predict(X, k)", "", ("X", "y", "queries", "k"), KNN,
    {says: classifier(distance, majority) for says, distance in EITHER.items()},
    [*_by(l2), *_by(l1)],
    remarks=PIXELS_AND_TIES, method="(?i)predict", kind="neighbours",
)  # fmt: skip
CLASS_NEAREST = Role(
    "class with train(X, y) and predict(X)", "", ("X", "y", "queries"), NEAREST,
    {says: _nearest_by(distance) for says, distance in EITHER.items()},
    NEAREST_WRONG,
    remarks={name: WRAP for name in NEAREST if "uint8" in name},
    method="(?i)predict", kind="neighbours",
)  # fmt: skip
ROLES = (*LECTURE_DISTANCES, COURSE_DISTANCES, COURSE_LABELS, LECTURE_KNN, LECTURE_NEAREST,
         CLASS_KNN, CLASS_NEAREST)  # fmt: skip
