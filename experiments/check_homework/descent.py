"""Steps, training loops and predictions of linear classifiers, right and wrong.

A training loop is tried twice.  On copies of one example every batch has the same mean.  On
examples that differ, the batches that reach its loss are looked at.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.check_homework import laws
from experiments.check_homework.cores import softmax
from experiments.check_homework.objectives import COLUMNS, ROWS, W, X
from experiments.check_homework.roles import Arguments, Form, Function, Parts, Role

Array = np.ndarray


# --- predictions -------------------------------------------------------------------------------


def _predicted(chosen: Callable[[Array], Any]) -> Function:
    return lambda W, X: chosen(X @ W)


PREDICT = {
    "five examples": {"W": W, "X": X},
    "all scores below 0": {"W": np.vstack([W[:3], W[3] - 50]), "X": X},
    "equal scores": {"W": np.zeros((4, 3)), "X": X[:2]},
    "the last class": {"W": np.eye(4)[:, 1:], "X": np.eye(4)[[3, 3, 1, 2, 3]]},
}
PREDICTIONS = Role(
    "predict(W, X) -> labels (N,), or a method of a class with W",
    "(?i)predict(_linear)?(_classifier)?(_labels)?", ("W", "X"), PREDICT,
    {"": _predicted(lambda s: s.argmax(axis=1))},
    [
        ("argmax has no axis: it searches the whole matrix; take argmax(axis=1).",
         _predicted(lambda s: s.argmax())),
        ("argmax runs over the examples: take the best class of each row (axis=1).",
         _predicted(lambda s: s.argmax(axis=0))),
        ("The lowest score wins: take argmax.", _predicted(lambda s: s.argmin(axis=1))),
        ("The scores are returned: return the class with the highest score.",
         _predicted(lambda s: s)),
        ("The highest score is returned: return its class, argmax.",
         _predicted(lambda s: s.max(axis=1))),
        ("The labels are shifted by one: classes are counted from 0.",
         _predicted(lambda s: s.argmax(axis=1) + 1)),
        ("The absolute score decides: the highest one does, with its sign.",
         _predicted(lambda s: np.abs(s).argmax(axis=1))),
        ("Equal scores give the last class: argmax takes the first.",
         _predicted(lambda s: s.shape[1] - 1 - s[:, ::-1].argmax(axis=1))),
    ],
    forms=(ROWS, COLUMNS), method="(?i)predict", kind="linear",
)  # fmt: skip


# --- one step ----------------------------------------------------------------------------------


def _step(made: Callable[[Array, Array, float], Array]) -> Function:
    return lambda W, dW, learning_rate: made(W, dW, learning_rate)


STEP = Role(
    "sgd_step(W, dW, learning_rate) -> W",
    "(?i)(sgd|gd|gradient_descent)(_(step|update))?|update(_step|_W)?",
    ("W", "dW", "learning_rate"),
    {"a step of 0.1": {"W": W, "dW": W[::-1] + 1, "learning_rate": 0.1},
     "no gradient": {"W": W, "dW": 0 * W, "learning_rate": 0.5}},
    {"": _step(lambda W, dW, rate: W - rate * dW)},
    [
        ("The step goes uphill: subtract the gradient.", _step(lambda W, dW, rate: W + rate * dW)),
        ("The learning rate is missing.", _step(lambda W, dW, rate: W - dW)),
        ("The step is returned without W: return W - learning_rate * dW.",
         _step(lambda W, dW, rate: -rate * dW)),
        ("The step divides by the learning rate: multiply.",
         _step(lambda W, dW, rate: W - dW / rate)),
        ("W stays as it is.", _step(lambda W, dW, rate: W)),
        ("W is shrunk too: this step is W - learning_rate * dW alone.",
         _step(lambda W, dW, rate: W - rate * (dW + W))),
    ],
    may_change="W",
)  # fmt: skip


# --- a training loop ---------------------------------------------------------------------------


def softmax_loss(W: Array, X: Array, y: Array, reg: float) -> tuple[float, Array]:
    """The loss that a training loop of the form train(loss_fn, W, X, y, ...) is given."""
    each, slopes = softmax(X @ W, y)
    return each.mean() + reg * (W**2).sum(), X.T @ slopes / len(X) + 2 * reg * W


def trained(step: Callable[[Array, Array, float, int], Array]) -> Function:
    """Gradient descent where all batches are alike: (history of losses, W)."""

    def function(loss_fn: Any, W: Array, X: Array, y: Array, learning_rate: float, reg: float,
                 num_steps: int, batch_size: int) -> dict[str, Any]:  # fmt: skip
        history = []
        for number in range(num_steps):
            loss, slope = loss_fn(W, X, y, reg)
            history.append(loss)
            W = step(W, slope, learning_rate, number)
        return {"losses": np.array(history), "W": W}

    return function


def _once_more(loss_fn: Any, W: Array, num_steps: int, **rest: Any) -> dict[str, Any]:
    return _descends(loss_fn, W, num_steps=num_steps + 1, **rest)


def _without_penalty(loss_fn: Any, W: Array, reg: float, **rest: Any) -> dict[str, Any]:
    return _descends(loss_fn, W, reg=0.0, **rest)


_descends = trained(lambda W, slope, rate, number: W - rate * slope)
ALIKE = {"X": np.tile(X[:1], (30, 1)), "y": np.full(30, 2)}
NUMBERED = {"X": np.column_stack([np.arange(30) / 10, np.ones((30, 3))]), "y": np.arange(30) % 3}
NUMBERS = {"loss_fn": softmax_loss, "W": W, "learning_rate": 0.1, "reg": 0.05, "num_steps": 4,
           "batch_size": 5}  # fmt: skip
TOLD_APART = "examples that differ"


def batches(call: laws.Call, arguments: Arguments) -> str:
    """What the loop gives to its loss: batches of a size, with their labels, that change."""
    seen: list[tuple[Array, Array]] = []

    def spy(W: Array, X: Array, y: Array, reg: float) -> tuple[float, Array]:
        seen.append((np.array(X), np.array(y)))
        return softmax_loss(W, X, y, reg)

    call(arguments | NUMBERED | {"loss_fn": spy})
    rows = [np.round(np.asarray(X)[:, 0] * 10).astype(int) for X, _ in seen]
    if not seen:
        return "The loss is never called."
    if any(np.any(row % 3 != y) for row, (_, y) in zip(rows, seen, strict=True)):
        return "The images and labels of a batch do not belong together: use one set of indices."
    if any(len(row) != arguments["batch_size"] for row in rows):
        return f"A batch has {len(rows[0])} examples: batch_size says {arguments['batch_size']}."
    if len(rows) > 1 and all(np.array_equal(row, rows[0]) for row in rows):
        return "Every step has the same batch: draw new indices in each step."
    if len(rows) > 1 and max(row.max() for row in rows) < arguments["batch_size"]:
        return "Only the first batch_size examples are drawn: draw from all N of them."
    return ""


def same_start(call: laws.Call, arguments: Arguments) -> str:
    """A W that is set is where training starts, so that its steps can be checked."""
    starts: list[Array] = []

    def spy(W: Array, X: Array, y: Array, reg: float) -> tuple[float, Array]:
        starts.append(np.array(W))
        return softmax_loss(W, X, y, reg)

    call(arguments | {"loss_fn": spy})
    if not starts or np.array_equal(starts[0], arguments["W"]):
        return ""
    return (
        "It starts from a W of its own although one is set: make one only where self.W is None, "
        "so that its steps can be checked."
    )


def new_start(call: laws.Call, arguments: Arguments) -> str:
    """Where no W is set, the one that is made has a number for each feature and class."""
    made: list[tuple[int, ...]] = []

    def spy(W: Array, X: Array, y: Array, reg: float) -> tuple[float, Array]:
        made.append(np.shape(W))
        return 0.0, np.zeros(np.shape(W))

    call(arguments | NUMBERED | {"loss_fn": spy, "W": None})
    if not made or set(made[0]) == {4, 3}:
        return ""
    return (
        f"Without a W it makes one of shape {made[0]} for 4 features and the labels 0, 1, 2: "
        "there are y.max() + 1 classes."
    )


def _swapped(found: Parts) -> Parts:
    return {"losses": found["W"], "W": found["losses"]} if len(found) == 2 else found


TRAINING = Role(
    "train(loss_fn, W, X, y, learning_rate, reg, num_iters, batch_size), or a method of a class "
    "with loss", "(?i)train(_linear)?(_classifier)?",
    ("loss_fn", "W", "X", "y", "learning_rate", "reg", "num_steps", "batch_size"),
    {"copies of one example": NUMBERS | ALIKE,
     "a learning rate of 0": NUMBERS | ALIKE | {"learning_rate": 0.0, "num_steps": 2}},
    {"": _descends},
    [
        ("The step goes uphill: subtract the gradient.",
         trained(lambda W, slope, rate, number: W + rate * slope)),
        ("The learning rate is missing in the step.",
         trained(lambda W, slope, rate, number: W - slope)),
        ("W never changes: the step is missing.", trained(lambda W, slope, rate, number: W)),
        ("Only the first step changes W.",
         trained(lambda W, slope, rate, number: W if number else W - rate * slope)),
        ("One step too many is made.", _once_more),
        ("reg is not passed to the loss.", _without_penalty),
        ("The learning rate shrinks with every step.",
         trained(lambda W, slope, rate, number: W - rate / (number + 1) * slope)),
    ],
    forms=(Form(), Form("returns (W, losses)", take=_swapped)), laws=(same_start,),
    always=(batches, new_start), may_change="W",
    returns=("losses", "W"), method="(?i)(train|fit)", kind="linear",
)  # fmt: skip
ROLES = (PREDICTIONS, STEP, TRAINING)
