"""Losses of W with a penalty and their gradients: `svm_loss_naive(W, X, y, reg) -> (loss, dW)`.

The loss of the data is a core; what is made of it (means, penalties) and what goes wrong there
is a function of `Terms`.  Right are the penalty with and without one half, and with and without
the bias, where the bias is a column of W.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.check_homework import cores, laws
from experiments.check_homework.roles import Arguments, Form, Function, Parts, Role


class Terms(NamedTuple):
    """What a loss and its gradient are made of."""

    loss: float  # summed over the examples
    gradient: np.ndarray  # (D, C), summed over the examples
    n: int
    penalty: float  # reg * sum(W**2), or half of it
    slope: np.ndarray  # its derivative by W


Made = tuple[float, np.ndarray]


def mean(t: Terms) -> Made:
    """The right one."""
    return t.loss / t.n + t.penalty, t.gradient / t.n + t.slope


MISTAKES: list[tuple[str, Callable[[Terms], Made]]] = [
    ("The penalty is missing: add reg * sum(W**2), and its derivative to the gradient.",
     lambda t: (t.loss / t.n, t.gradient / t.n)),
    ("The penalty is missing in the loss: its derivative is in the gradient.",
     lambda t: (t.loss / t.n, mean(t)[1])),
    ("The penalty is missing in the gradient: add its derivative, 2 * reg * W.",
     lambda t: (mean(t)[0], t.gradient / t.n)),
    ("The penalty is averaged: add it after dividing by N.",
     lambda t: ((t.loss + t.penalty) / t.n, (t.gradient + t.slope) / t.n)),
    ("The penalty is averaged in the gradient only: add it after dividing by N.",
     lambda t: (mean(t)[0], (t.gradient + t.slope) / t.n)),
    ("The penalty is averaged in the loss only: add it after dividing by N.",
     lambda t: ((t.loss + t.penalty) / t.n, mean(t)[1])),
    ("The penalty is multiplied by N: add it once, after dividing by N.",
     lambda t: (t.loss / t.n + t.n * t.penalty, t.gradient / t.n + t.n * t.slope)),
    ("One half stands in the loss but not in its gradient: the derivative of W**2 / 2 is W.",
     lambda t: (t.loss / t.n + t.penalty / 2, mean(t)[1])),
    ("The gradient of the penalty lacks its factor 2: the derivative of W**2 is 2 * W.",
     lambda t: (mean(t)[0], t.gradient / t.n + t.slope / 2)),
    ("The gradient of the penalty is subtracted: add it.",
     lambda t: (mean(t)[0], t.gradient / t.n - t.slope)),
    ("The loss and the gradient are sums: divide them by N.",
     lambda t: (t.loss + t.penalty, t.gradient + t.slope)),
    ("The loss is a sum: divide it by N.",
     lambda t: (t.loss + t.penalty, mean(t)[1])),
    ("The gradient is a sum: divide it by N, as the loss.",
     lambda t: (mean(t)[0], t.gradient + t.slope)),
    ("The loss and the gradient are divided by N twice.",
     lambda t: (t.loss / t.n**2 + t.penalty, t.gradient / t.n**2 + t.slope)),
    ("The loss is divided by N twice.",
     lambda t: (t.loss / t.n**2 + t.penalty, mean(t)[1])),
    ("The gradient is divided by N twice.",
     lambda t: (mean(t)[0], t.gradient / t.n**2 + t.slope)),
    ("The loss is averaged over the classes too: sum over them, and divide by N.",
     lambda t: (t.loss / t.gradient.shape[1] / t.n + t.penalty, mean(t)[1])),
    ("The gradient of the data has the wrong sign.",
     lambda t: (mean(t)[0], -t.gradient / t.n + t.slope)),
    ("The whole gradient has the wrong sign.", lambda t: (mean(t)[0], -mean(t)[1])),
    ("The gradient is always 0.", lambda t: (mean(t)[0], 0 * t.gradient)),
]  # fmt: skip
FIRST = "`return` stands inside the loop: only the first example counts."
LEFT_OUT = "The last example is left out: the loop ends one too early."
LAST = "Only the last example counts in {}: add up in the loop, with += or -=."
NO_X = "The gradient lacks its factor X: each example's is its slopes times X[i]."
NO_N_IN_B = "The gradient of b is a sum: divide it by N, as that of W."
SHIFTED = "The labels are shifted by one: class c is column c, counted from 0."

CONVENTIONS = {  # says -> (factor of the penalty, rows of W that it counts)
    f"penalty {size}{rows_say}": (factor, rows)
    for size, factor in (("reg * sum(W**2)", 1.0), ("reg / 2 * sum(W**2)", 0.5))
    for rows_say, rows in (
        ("", slice(None)),
        (" without the last row, the bias", slice(None, -1)),
        (" without the first row, the bias", slice(1, None)),
    )
}
WITHOUT_B = " without the last row, the bias"


def terms(core: cores.Core, factor: float, rows: slice, W: Any, X: Any, y: Any, reg: Any) -> Terms:
    """The parts of a loss: W (D, C), X (N, D), y (N,)."""
    each, slopes = core(X @ W, y)
    counted = np.zeros(W.shape)
    counted[rows] = W[rows]
    penalty = factor * reg * float((counted**2).sum())
    return Terms(each.sum(), X.T @ slopes, len(X), penalty, 2 * factor * reg * counted)


def _made(core: cores.Core, made: Callable[[Terms], Made], how: tuple[float, slice]) -> Function:
    def function(W: Any, X: Any, y: Any, reg: Any) -> dict[str, Any]:
        loss, gradient = made(terms(core, *how, W, X, y, reg))
        return {"loss": loss, "gradient": gradient}

    return function


def _first(right: Function, whole: bool, W: Any, X: Any, y: Any, reg: Any) -> dict[str, Any]:
    """What is returned from within the loop: before or after the mean and the penalty."""
    alone, penalised = right(W, X[:1], y[:1], 0.0), right(W, X[:1], y[:1], reg)
    if not whole:
        return alone
    return {
        name: alone[name] / len(X) + penalised[name] - alone[name] for name in ("loss", "gradient")
    }


def _of_rows(core: cores.Core, how: tuple[float, slice], rows: slice, W: Any, X: Any, y: Any,
             reg: Any) -> dict[str, Any]:  # fmt: skip
    """The loss and gradient of some of the examples, divided by the number of all."""
    loss, gradient = mean(terms(core, *how, W, X[rows], y[rows], reg)._replace(n=len(X)))
    return {"loss": loss, "gradient": gradient}


def _some_of_last(core: cores.Core, how: tuple[float, slice], part: str, **case: Any) -> Any:
    """One part is that of the last example, the other is right."""
    alone = _of_rows(core, how, slice(-1, None), **case)
    return _of_rows(core, how, slice(None), **case) | {part: alone[part]}


def _without_X(core: cores.Core, how: tuple[float, slice], W: Any, X: Any, y: Any, reg: Any) -> Any:
    t = terms(core, *how, W, X, y, reg)
    alone = np.broadcast_to(core(X @ W, y)[1].sum(axis=0), W.shape)
    loss, gradient = mean(t._replace(gradient=alone))
    return {"loss": loss, "gradient": gradient}


def _of_loops(core: cores.Core, how: tuple[float, slice]) -> Iterator[tuple[str, Function]]:
    """Mistakes of loops over the examples."""
    yield LEFT_OUT, partial(_of_rows, core, how, slice(None, -1))
    yield LAST.format("the loss and the gradient"), partial(_of_rows, core, how, slice(-1, None))
    for part in ("loss", "gradient"):
        yield LAST.format(f"the {part}"), partial(_some_of_last, core, how, part)
    yield NO_X, partial(_without_X, core, how)


def _shifted(right: Function, by: int, W: Any, X: Any, y: Any, reg: Any) -> dict[str, Any]:
    return right(W, X, (y + by) % W.shape[1], reg)


def _wrong(
    core: cores.Core, wrong_cores: cores.Mistakes, hows: list[tuple[float, slice]]
) -> Iterator[tuple[str, Function]]:
    for how in hows:
        right = _made(core, mean, how)
        yield from ((says, _made(core, made, how)) for says, made in MISTAKES)
        yield from ((says, _made(wrong, mean, how)) for says, wrong in wrong_cores.all())
        yield from ((FIRST, partial(_first, right, whole)) for whole in (True, False))
        yield from ((SHIFTED, partial(_shifted, right, by)) for by in (1, -1))
        yield from _of_loops(core, how)


def _b_is_a_sum(t: Terms) -> Made:
    loss, gradient = mean(t)
    return loss, np.vstack([gradient[:-1], t.gradient[-1] + t.slope[-1]])


def _doubly(
    core: cores.Core, wrong_cores: cores.Mistakes, hows: list[tuple[float, slice]]
) -> Iterator[tuple[str, Function]]:
    """A mistake in the loss of the data, and one in the mean or the penalty."""
    for how in hows:
        for of_core, wrong in wrong_cores.all():
            yield from ((f"{of_core} {says}", _made(wrong, made, how)) for says, made in MISTAKES)


# --- the inputs --------------------------------------------------------------------------------

_RANDOM = np.random.default_rng(0)
W = _RANDOM.normal(0, 1, (4, 3))
X = np.column_stack([_RANDOM.normal(0, 1, (5, 3)), np.ones(5)])
Y = np.array([2, 0, 1, 1, 0])
W_MOVED = np.vstack([np.ones(3), W[1:]])  # the first feature is added to all scores


def _moved(by: list[float]) -> Arguments:
    """An example's scores, all higher by so much: the loss of its data stays."""
    return {"W": W_MOVED, "X": np.column_stack([by, X[:, 1:]]), "y": Y, "reg": 0.01}


CASES = {
    "five random examples": {"W": W, "X": X, "y": Y, "reg": 0.7},
    "no penalty": {"W": W, "X": X, "y": Y, "reg": 0.0},
    "one example": {"W": W, "X": X[:1], "y": Y[:1], "reg": 0.3},
    "scores 50 apart": {"W": np.vstack([W[:3], [0, 50, 0]]), "X": X, "y": Y, "reg": 0.0},
    "scores near 1000": _moved([1000.0, 1001, 999, 1000, 1002]),
    "scores near -1000": _moved([-1000.0, -1001, -999, -1000, -1002]),
    "scores near 1000 in one row, 0 in the others": _moved([1000.0, 0, 1, 2, 0]),
    "right scores 1000 above the others": {
        "W": np.vstack([np.zeros((3, 3)), [1000, 0, 0]]),
        "X": X,
        "y": 0 * Y,
        "reg": 0.0,
    },
}


def _turn(names: tuple[str, ...], arguments: Arguments) -> Arguments:
    return arguments | {name: arguments[name].T.copy() for name in names}


def _turn_back(found: Parts) -> Parts:
    return {name: part.T if name == "gradient" else part for name, part in found.items()}


ROWS, COLUMNS, ALL_COLUMNS = (
    Form("W is (D, C)"),
    Form("W is (C, D)", partial(_turn, ("W",)), _turn_back),
    Form("W is (C, D), X is (D, N)", partial(_turn, ("W", "X")), _turn_back),
)


def _split(arguments: Arguments) -> Arguments:
    """The last row of W as b, and X without its ones."""
    W, X = arguments["W"], arguments["X"]
    return arguments | {"W": W[:-1].copy(), "b": W[-1].copy(), "X": X[:, :-1].copy()}


def _split_turned(arguments: Arguments) -> Arguments:
    return _turn(("W",), _split(arguments))


def _joined(turned: bool, found: Parts) -> Parts:
    if "gradient" not in found or "gradient of b" not in found:
        return found
    slope = found["gradient"].T if turned else found["gradient"]
    bias = found["gradient of b"].reshape(1, -1)
    if slope.shape[1:] == bias.shape[1:]:
        slope = np.vstack([slope, bias])
    return {"loss": found["loss"], "gradient": slope}


WITH_B = (
    Form("W is (D, C)", _split, partial(_joined, False)),
    Form("W is (C, D)", _split_turned, partial(_joined, True)),
)
BIASED = "The penalty includes the bias b: penalise W alone."


def _role(title: str, names: str, core: cores.Core, wrong_cores: cores.Mistakes, kind: str) -> Role:
    hows = list(CONVENTIONS.values())
    return Role(
        f"{title}(W, X, y, reg) -> (loss, dW)", names, ("W", "X", "y", "reg"), CASES,
        {says: _made(core, mean, how) for says, how in CONVENTIONS.items()},
        list(_wrong(core, wrong_cores, hows)),
        list(_doubly(core, wrong_cores, hows)), (ROWS, COLUMNS, ALL_COLUMNS),
        [laws.doubled, laws.order_of_rows, laws.slope],
        optional={"reg": 0.0}, returns=("loss", "gradient"), method=kind, kind="linear", alike=True,
    )  # fmt: skip


def _role_with_b(title: str, names: str, core: cores.Core, wrong_cores: cores.Mistakes) -> Role:
    free = {says: how for says, how in CONVENTIONS.items() if says.endswith(WITHOUT_B)}
    biased = [how for says, how in CONVENTIONS.items() if says.endswith("(W**2)")]
    return Role(
        f"{title}(W, b, X, y, reg) -> (loss, dW, db)", names, ("W", "b", "X", "y", "reg"), CASES,
        {says.removesuffix(WITHOUT_B): _made(core, mean, how) for says, how in free.items()},
        [(BIASED, _made(core, mean, how)) for how in biased]
        + [(NO_N_IN_B, _made(core, _b_is_a_sum, how)) for how in free.values()]
        + list(_wrong(core, wrong_cores, list(free.values()))),
        list(_doubly(core, wrong_cores, list(free.values()))),
        WITH_B, [laws.doubled, laws.order_of_rows],
        optional={"reg": 0.0}, returns=("loss", "gradient", "gradient of b"), alike=True,
    )  # fmt: skip


SVM, SQUARED, SOFTMAX = (
    r"(?i)(linear_?)?(multiclass_?)?(svm|hinge)(_loss|_cost)?(_(naive|vectorized|vectorised|loops?|forward))?",
    r"(?i)(squared_(svm|hinge)|(svm|hinge)_squared|l2_?svm)(_loss)?(_(naive|vectorized|vectorised))?",
    r"(?i)(softmax|cross_?entropy)(_loss|_cost)?(_(naive|vectorized|vectorised|loops?|forward))?",
)
TABLES = (
    ("svm_loss", SVM, cores.hinge, cores.WRONG_HINGES, "(?i).*(svm|hinge).*"),
    ("squared_svm_loss", SQUARED, cores.squared_hinge, cores.WRONG_SQUARES, "(?i).*squared.*"),
    ("softmax_loss", SOFTMAX, cores.softmax, cores.WRONG_SOFTMAXES,
     "(?i).*(softmax|entropy|logistic).*"),
)  # fmt: skip
ANY_LOSS = Role(
    "a loss of another name (W, X, y, reg) -> (loss, dW)", r"(?i)\w*(loss|cost|objective)\w*",
    ("W", "X", "y", "reg"), {"five random examples": CASES["five random examples"]},
    forms=(ROWS, COLUMNS, ALL_COLUMNS), optional={"reg": 0.0},
    returns=("loss", "gradient"), laws=[laws.doubled, laws.order_of_rows, laws.slope],
)  # fmt: skip
ROLES = (
    *(_role_with_b(*table[:4]) for table in TABLES),
    *(_role(*table) for table in TABLES),
)
