"""Losses of given scores: one number for each example, their mean, their gradients, and `L_i`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.check_homework import cores, laws
from experiments.check_homework.roles import Form, Function, Role

Array = np.ndarray
Cases = dict[str, dict[str, Any]]

_RANDOM = np.random.default_rng(0)
TABLE = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
OFF_KINK = "five random examples of four classes"
CASES: Cases = {
    OFF_KINK: {"scores": _RANDOM.normal(0, 3, (5, 4)), "y": np.array([3, 0, 1, 1, 2])},
    "the table of slide 32": {"scores": TABLE, "y": np.array([0, 1, 2])},
    "one example alone": {"scores": TABLE[:1], "y": np.array([0])},
    "equal scores": {"scores": np.full((2, 4), 0.7), "y": np.array([0, 2])},
    "a margin of exactly 0 (10, 9, 9)": {"scores": np.array([[10.0, 9.0, 9.0]]),
                                         "y": np.array([0])},
    "the first and the last label": {
        "scores": np.array([[1.0, 2.0, 3.0, 4.5], [1.0, 2.5, 3.0, 4.0]]), "y": np.array([0, 3]),
    },
    "scores 50 apart": {"scores": np.array([[0.0, 50.0, 1.0], [3.0, 0.0, 2.0]]),
                        "y": np.array([0, 1])},
    "scores near 1000": {"scores": TABLE + 1000, "y": np.array([0, 1, 2])},
    "scores near -1000": {"scores": TABLE - 1000, "y": np.array([0, 1, 2])},
    "scores near 1000 in one row, 0 in the others": {
        "scores": TABLE + np.array([[1000.0], [0.0], [0.0]]), "y": np.array([0, 1, 2]),
    },
    "right scores 1000 above the others": {"scores": np.array([[1000.0, 0, 0], [0, 1000, 0]]),
                                           "y": np.array([0, 1])},
}  # fmt: skip
GAP = {"scores 10,000 apart": {"scores": np.array([[1e4, 0.0, -1e4]] * 2), "y": np.array([0, 2])}}
MARGIN = {"another margin": CASES[OFF_KINK] | {"margin": 2.5}}
SMOOTH = {name: CASES[name] for name in (OFF_KINK, "one example alone")}


def each(core: cores.Core) -> Function:
    """The loss of each example (N,)."""
    return lambda scores, y, **margin: core(scores, y, **margin)[0]


def slopes(core: cores.Core) -> Function:
    """The gradient of each example's own loss (N, C)."""
    return lambda scores, y: core(scores, y)[1]


def mean_and_slopes(core: cores.Core) -> Function:
    """The mean loss and its gradient by the scores."""

    def function(scores: Array, y: Array) -> dict[str, Any]:
        loss, slope = core(scores, y)
        return {"loss": loss.mean(), "gradient": slope / len(y)}

    return function


def _whatever_margin(function: Function) -> Function:
    """The margin is not passed on, as a wrong function need not know it."""
    return lambda scores, y, margin=1.0: function(scores, y)


def _averaged(core: cores.Core, by: Callable[[Array], Any]) -> Function:
    return lambda scores, y, **margin: by(core(scores, y, **margin)[0])


def _shifted(core: cores.Core, at: int) -> Function:
    return lambda scores, y, **margin: core(scores, (y + 1) % scores.shape[1], **margin)[at]


FIXED = "The margin is always 1: use the argument `margin`."
MEANT = "The mean of all examples is returned: return the loss of each one."
TOTAL = "The sum of all examples is returned: return the loss of each one."
SHIFTED = "The labels are shifted by one: class c is column c, counted from 0."
PER_EXAMPLE = "The gradient is divided by N: each example's own loss is asked for."
NO_MEAN = "The loss and the gradient are sums: divide them by N."


def _loss_role(
    name: str,
    names: str,
    core: cores.Core,
    wrong: cores.Mistakes,
    more: list[tuple[str, Function]],
    cases: Cases,
    **optional: float,
) -> Role:
    return Role(
        f"{name}(scores, labels) -> (N,), one loss for each example", names,
        ("scores", "y", *optional), cases, {"": each(core)},
        [*((says, each(fn)) for says, fn in wrong.of_loss()), *more,
         (MEANT, _averaged(core, np.mean)), (TOTAL, _averaged(core, np.sum)),
         (SHIFTED, _shifted(core, 0))],
        laws=[laws.constant, laws.rows_alone], optional=optional, smooth="scores",
    )  # fmt: skip


def _with_margin(name: str, core: cores.Core, wrong: cores.Mistakes) -> Role:
    fixed = [(FIXED, _whatever_margin(each(core)))]
    return _loss_role(name, f"{name}(_loss(es)?)?", core, wrong, fixed, CASES | MARGIN, margin=1.0)


def _slope_role(name: str, core: cores.Core, wrong: cores.Mistakes, cases: Cases) -> Role:
    return Role(
        f"{name}_gradient(scores, labels) -> (N, C), of each example's own loss",
        f"{name}_(gradient|grad)", ("scores", "y"), cases, {"": slopes(core)},
        [*((says, slopes(fn)) for says, fn in wrong.of_slopes()), (SHIFTED, _shifted(core, 1)),
         (PER_EXAMPLE, lambda scores, y: core(scores, y)[1] / len(y))],
        laws=[laws.rows_alone],
    )  # fmt: skip


def _of_scores(
    name: str, names: str, core: cores.Core, wrong: cores.Mistakes, cases: Cases
) -> Role:
    sums = {
        NO_MEAN: lambda scores, y: dict(
            zip(("loss", "gradient"), (core(scores, y)[0].sum(), core(scores, y)[1]), strict=True)
        )
    }
    return Role(
        f"{name}(scores, y) -> (mean loss, gradient by the scores)", names, ("scores", "y"), cases,
        {"": mean_and_slopes(core)},
        [*((says, mean_and_slopes(fn)) for says, fn in wrong.all()), *sums.items()],
        returns=("loss", "gradient"),
    )  # fmt: skip


# --- probabilities -----------------------------------------------------------------------------


def _shares(shift: Callable[[Array], Any], axis: int | None = 1) -> Function:
    def function(scores: Array) -> Array:
        powers = np.exp(scores - shift(scores))
        return powers / powers.sum(axis=axis, keepdims=True)

    return function


def _row(scores: Array) -> Array:
    return scores.max(axis=1, keepdims=True)


PROBABILITIES = Role(
    "softmax(scores) -> probabilities (N, C)", r"(?i)softmax(_(probs|probabilities|function))?",
    ("scores",), {name: {"scores": case["scores"]} for name, case in CASES.items()},
    {"": _shares(_row)},
    [
        (cores.NO_SHIFT, _shares(lambda scores: 0.0)), (cores.WHOLE, _shares(np.max)),
        (cores.AT_LEAST_0, _shares(lambda scores: np.maximum(0, _row(scores)))),
        (cores.COLUMNS, _shares(lambda scores: scores.max(axis=0))),
        ("exp is summed over the examples (axis=0): sum over the classes (axis=1).",
         _shares(_row, 0)),
        ("exp is summed over the whole matrix: sum over the classes of each row (axis=1).",
         _shares(_row, None)),
        ("These are logarithms of probabilities.", lambda scores: np.log(_shares(_row)(scores))),
    ],
)  # fmt: skip

# --- one example, as on the lecture's slides ---------------------------------------------------

W = _RANDOM.normal(0, 1, (3, 4))
ONE = {
    "a random example": {"x": _RANDOM.normal(0, 1, 4), "y": 2, "W": W},
    "the first class": {"x": _RANDOM.normal(0, 2, 4), "y": 0, "W": W},
}


def _one(core: cores.Core) -> Function:
    return lambda x, y, W: core((W @ x)[None], np.array([y]))[0][0]


ONE_EXAMPLE = Role(
    "L_i(x, y, W) -> (), the SVM loss of one example", r"L_?i(_(vectorized|vectorised|naive))?",
    ("x", "y", "W"), ONE, {"": _one(cores.hinge)},
    [(says, _one(fn)) for says, fn in cores.WRONG_HINGES.of_loss()],
    forms=(Form("W is (C, D)"), Form("W is (D, C)", lambda a: a | {"W": a["W"].T.copy()})),
)  # fmt: skip

ROLES = (
    _with_margin("hinge", cores.hinge, cores.WRONG_HINGES),
    _with_margin("squared_hinge", cores.squared_hinge, cores.WRONG_SQUARES),
    _with_margin("crammer_singer_hinge", cores.crammer_singer, cores.WRONG_LARGEST),
    _loss_role("softmax", "softmax|cross_entropy", cores.softmax, cores.WRONG_SOFTMAXES,
               [(cores.ZERO_SHARE, each(cores.shares_first))], CASES | GAP),
    PROBABILITIES,
    _slope_role("hinge", cores.hinge, cores.WRONG_HINGES, SMOOTH),
    _slope_role("squared_hinge", cores.squared_hinge, cores.WRONG_SQUARES, SMOOTH),
    _slope_role("softmax", cores.softmax, cores.WRONG_SOFTMAXES, CASES),
    _of_scores("svm_loss", "svm_loss", cores.hinge, cores.WRONG_HINGES, SMOOTH),
    _of_scores("softmax_loss", "softmax_loss|cross_entropy_loss", cores.softmax,
               cores.WRONG_SOFTMAXES, CASES),
    ONE_EXAMPLE,
)  # fmt: skip
