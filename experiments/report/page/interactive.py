"""The figure one can touch: three classes in the plane, W and b by hand, one step at a time.

What it starts from, and every number it shows before it is touched, are lincls' own.  Without
scripts it is a picture with a table; `interactive.js` makes it move.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.report import style
from lincls import data, evaluation, linear, losses, objective, penalties
from lincls.structs import Examples, Hyper, LinearParams

NUM_POINTS, RATE, REG, MARKED = 60, 0.5, 0.15, 4  # at a step size above 1 / REG it explodes
NAMES = ("circles", "squares", "triangles")
LOSSES = {
    "hinge": losses.hinge, "squared": losses.squared_hinge, "worst": losses.crammer_singer_hinge,
    "softmax": losses.softmax,
}  # fmt: skip
TITLES = {
    "hinge": "SVM loss",
    "squared": "squared SVM loss",
    "worst": "worst margin (Crammer–Singer)",
    "softmax": "softmax loss",
}
FIRST = "hinge"  # the loss to start with


@lru_cache
def start() -> dict[str, Any]:
    """JSON-able: points (60, 2), labels, W, b, step size, strength, marked point, loss, numbers."""
    X, y = data.load("blobs").train
    X = np.round(np.asarray(X[:NUM_POINTS], np.float64), 3)
    drawn = linear.init(jax.random.key(2), 2, len(NAMES), scale=1.0)
    W = np.round(np.asarray(drawn.W, np.float64), 2)
    b = np.array([0.2, -0.1, 0.3])
    given = {"points": X, "labels": np.asarray(y[:NUM_POINTS]), "W": W, "b": b}
    plain = {name: value.tolist() for name, value in given.items()}
    set_first = {"rate": RATE, "reg": REG, "marked": MARKED, "kind": FIRST, "names": NAMES}
    return plain | set_first | numbers(**given)


def numbers(points: Any, labels: Any, W: Any, b: Any) -> dict[str, Any]:
    """Scores, terms and losses of the marked point, mean losses, penalty, accuracy, gradient.

    All in float64; the gradient is that of the mean of the first loss and the penalty.
    """
    with jax.enable_x64(True):
        params = LinearParams(jnp.asarray(W), jnp.asarray(b))
        scores = linear.scores(params, points)
        found = {name: loss(scores, labels) for name, loss in LOSSES.items()}
        slopes = gradient(FIRST, params, points, labels)
        shares = linear.probabilities(params, points)
        predicted = np.argmax(scores, axis=1)
        return {
            "scores": np.asarray(scores[MARKED]).tolist(),
            "shares": np.asarray(shares[MARKED]).tolist(),
            "of_marked": {name: float(loss[MARKED]) for name, loss in found.items()},
            "mean": {name: float(loss.mean()) for name, loss in found.items()},
            "penalty": REG * float(penalties.l2(params.W)),
            "accuracy": evaluation.accuracy(predicted, labels),
            "gradient": np.column_stack([slopes.W, slopes.b]).tolist(),
        }


def gradient(kind: str, params: LinearParams, points: Any, labels: Any) -> LinearParams:
    """The gradient of the mean loss and the penalty, in the dtype of the parameters."""
    batch = Examples(points, labels, np.ones(len(labels)))

    def value(params: LinearParams) -> Any:
        return objective.evaluate(
            objective.Objective(LOSSES[kind], penalties.l2), params, batch, Hyper({}, REG)
        )[0]

    return jax.jit(jax.grad(value))(params)


def picture() -> dict[str, Any]:
    """What the template draws: a colour, name and line per class, a shape per point."""
    shown = start()
    lines = [_line(np.array(w), b) for w, b in zip(shown["W"], shown["b"], strict=True)]
    return {"start": shown, "names": NAMES, "colors": style.CYCLE[:3], "lines": lines,
            "titles": TITLES, "terms": _terms(shown)}  # fmt: skip


def _terms(shown: dict[str, Any]) -> dict[str, list[float]]:
    """What each class adds to each loss of the marked point; of softmax, its probability."""
    scores, label = np.array(shown["scores"]), shown["labels"][shown["marked"]]
    margins = np.maximum(0, scores - scores[label] + 1)
    margins[label] = 0
    worst = np.where(margins == margins.max(), margins, 0)
    found = {"hinge": margins, "squared": margins**2, "worst": worst}
    return {name: terms.tolist() for name, terms in found.items()} | {"softmax": shown["shares"]}


def _line(w: np.ndarray, b: float) -> dict[str, list[float]]:
    """Where w x + b = 0: its point nearest to 0, two far ends, the tip of its arrow."""
    foot = -b * w / (w @ w)
    along = 9 * np.array([-w[1], w[0]]) / np.sqrt(w @ w)
    ends = {"foot": foot, "one": foot - along, "other": foot + along, "tip": foot + w / 2}
    return {name: np.round(end, 4).tolist() for name, end in ends.items()}
