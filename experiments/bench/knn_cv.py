"""Every k of a cross-validation in one pass, beside a grid search that runs each k anew.

scikit-learn is timed at one k, and on as many folds as its share of the time allows; the
figure for all is scaled up from there, and the record says from what.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.bench import timing
from experiments.bench.knn_engines import METRICS
from experiments.lab import progress
from lincls import crossval, splits

NAMES = {"l1": "manhattan", "l2": "euclidean"}
_FEW = 32  # held-out examples from which the peer's pace is told


class How(NamedTuple):
    """Folds; ks; the k at which the peer is timed, if it is among them; rounds; seconds."""

    num_folds: int
    ks: tuple[int, ...]
    k: int
    rounds: int
    seconds: float


def compare(X: np.ndarray, y: np.ndarray, metric: str, how: How) -> dict[str, Any]:
    """Seconds of both, how many times faster ours is, and how far the accuracies differ."""
    progress.say(f"cross-validation, {metric}")
    until = time.monotonic() + how.seconds
    folds = splits.folds(len(X), how.num_folds)
    k = how.k if how.k in how.ks else how.ks[0]
    ours = partial(crossval.knn_accuracies, X, y, folds, how.ks, METRICS[metric])
    first, accuracies = timing.timed(ours)
    rows = X.astype(np.float32)
    num_timed = affordable_folds(rows, y, folds, k, metric, how.seconds)
    search = grid_search(np.where(folds < num_timed, folds, -1), k, metric)
    calls: dict[str, Callable[[], Any]] = {"ours": ours, "peer": partial(search.fit, rows, y)}
    times = timing.alternate(calls, how.rounds, until)
    scale = len(how.ks) * how.num_folds / num_timed
    scores = [search.cv_results_[f"split{fold}_test_score"][0] for fold in range(num_timed)]
    difference = np.abs(accuracies[how.ks.index(k), :num_timed] - scores).max()
    return {
        "metric": metric, "N": len(X), "D": X.shape[1], "folds": how.num_folds, "ks": how.ks,
        "ours": float(np.median(times["ours"])), "first_call": first,
        "peer_k": k, "peer_folds": num_timed, "peer_timed": float(np.median(times["peer"])),
        "peer_all": scale * float(np.median(times["peer"])), "rounds": len(times["ours"]),
        "ratio": scale * timing.median_ratio(times["peer"], times["ours"]),
        "accuracies": accuracies, "difference": float(difference),
    }  # fmt: skip


def classifier(k: int, metric: str) -> Any:
    """scikit-learn's, on all cores."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(k, algorithm="brute", metric=NAMES[metric], n_jobs=-1)


def grid_search(folds: np.ndarray, k: int, metric: str) -> Any:
    """A grid of the one k; examples of fold -1 are only trained on."""
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    split = PredefinedSplit(folds)
    return GridSearchCV(classifier(k, metric), {"n_neighbors": [k]}, cv=split, refit=False)


def affordable_folds(
    X: np.ndarray, y: np.ndarray, folds: np.ndarray, k: int, metric: str, seconds: float
) -> int:
    """How many folds the peer should manage in half of the seconds, at least one."""
    out = np.flatnonzero(folds == 0)
    model = classifier(k, metric).fit(X[folds != 0], y[folds != 0])
    few = X[out[:_FEW]]
    model.predict(few)  # starts the threads
    pace = timing.timed(lambda: model.predict(few))[0] / len(few)
    return int(np.clip(seconds / 2 / (pace * len(out)), 1, folds.max() + 1))
