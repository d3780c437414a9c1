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
from lincls import data, evaluation, linear, losses, penalties
from lincls.structs import LinearParams

NUM_POINTS, RATE, REG, MARKED = 60, 0.5, 0.15, 4  # at a step size above 1 / REG it explodes
NAMES = ("circles", "squares", "triangles")


@lru_cache
def start() -> dict[str, Any]:
    """JSON-able: points (60, 2), labels, W, b, step size, strength, marked point, numbers."""
    X, y = data.load("blobs").train
    X = np.round(np.asarray(X[:NUM_POINTS], np.float64), 3)
    drawn = linear.init(jax.random.key(2), 2, len(NAMES), scale=1.0)
    W = np.round(np.asarray(drawn.W, np.float64), 2)
    b = np.array([0.2, -0.1, 0.3])
    given = {"points": X, "labels": np.asarray(y[:NUM_POINTS]), "W": W, "b": b}
    plain = {name: value.tolist() for name, value in given.items()}
    return plain | {"rate": RATE, "reg": REG, "marked": MARKED} | numbers(**given)


def numbers(points: Any, labels: Any, W: Any, b: Any) -> dict[str, Any]:
    """Scores and losses of the marked point, mean losses, penalty and accuracy, in float64."""
    with jax.enable_x64(True):
        params = LinearParams(jnp.asarray(W), jnp.asarray(b))
        scores = linear.scores(params, points)
        found = {"hinge": losses.hinge(scores, labels), "softmax": losses.softmax(scores, labels)}
        shares = linear.probabilities(params, points)
        predicted = np.argmax(scores, axis=1)
        return {
            "scores": np.asarray(scores[MARKED]).tolist(),
            "shares": np.asarray(shares[MARKED]).tolist(),
            "of_marked": {name: float(loss[MARKED]) for name, loss in found.items()},
            "mean": {name: float(loss.mean()) for name, loss in found.items()},
            "penalty": REG * float(penalties.l2(params.W)),
            "accuracy": evaluation.accuracy(predicted, labels),
        }


def picture() -> dict[str, Any]:
    """What the template draws: a colour, name and line per class, a shape per point."""
    shown = start()
    lines = [_line(np.array(w), b) for w, b in zip(shown["W"], shown["b"], strict=True)]
    return {"start": shown, "names": NAMES, "colors": style.CYCLE[:3], "lines": lines}


def _line(w: np.ndarray, b: float) -> dict[str, list[float]]:
    """Where w x + b = 0: its point nearest to 0, two far ends, the tip of its arrow."""
    foot = -b * w / (w @ w)
    along = 9 * np.array([-w[1], w[0]]) / np.sqrt(w @ w)
    ends = {"foot": foot, "one": foot - along, "other": foot + along, "tip": foot + w / 2}
    return {name: np.round(end, 4).tolist() for name, end in ends.items()}
