"""The multiclass SVM loss: slide 32's table, and an answer to every question about it."""

import sys
from dataclasses import dataclass

import jax
import numpy as np

from experiments.lab import tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import linear, losses, preprocessing

SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]], np.float32)
LABELS = np.arange(3)
LOSSES = {
    "hinge": losses.hinge,
    "squared": losses.squared_hinge,
    "crammer_singer": losses.crammer_singer_hinge,
    "softmax": losses.softmax,
}


@dataclass(frozen=True)
class Settings:
    num_examples: int = flag(200, "training examples, the first ones", low=1, smoke=50)
    scale: float = flag(1e-4, "standard deviation of a small W", low=0)
    factor: float = flag(2.0, "what the scores of the table are multiplied by (slide 40)", low=0)
    num_points: int = flag(121, "points of a curve", low=2)


def L_i_vectorized(x: np.ndarray, y: int, W: np.ndarray) -> np.ndarray:
    """Slide 38, as printed."""
    scores = W.dot(x)
    margins = np.maximum(0, scores - scores[y] + 1)
    margins[y] = 0
    loss_i = np.sum(margins)
    return loss_i


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """The table, variants of its loss, scores moved and multiplied; a small W on the data."""
    factors = np.linspace(0, max(2.0, settings.factor), settings.num_points, dtype=np.float32)
    rights = np.linspace(-10, 10, settings.num_points, dtype=np.float32)
    tables = {
        "table": SCORES,
        "multiplied": settings.factor * SCORES,
        "factors_table": (factors[:, None, None] * SCORES).reshape(-1, 3),
        "rights_table": np.stack([0 * rights, 0 * rights, rights], axis=1),
    }
    labels = [LABELS, LABELS, np.tile(LABELS, len(factors)), np.full(len(rights), 2)]
    ends = np.cumsum([len(table) for table in tables.values()])[:-1]
    found = _losses(np.concatenate(list(tables.values())), np.concatenate(labels))
    arrays = {
        f"{name}_{kind}": part
        for kind, values in found.items()
        for name, part in zip(tables, np.split(np.asarray(values), ends), strict=True)
    }
    own = np.maximum(0, SCORES - SCORES[LABELS, LABELS][:, None] + 1).sum(axis=1)
    numbers = {"all_classes": own.mean(), "num_classes": data.num_classes}
    numbers |= _on_data(data, key, settings)
    return Outcome(numbers, arrays | {"factors": factors, "rights": rights})


@jax.jit
def _losses(scores: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    return {name: loss(scores, labels) for name, loss in LOSSES.items()}


def _on_data(data: Data, key: jax.Array, settings: Settings) -> dict[str, float]:
    """A small W on training examples: its mean loss, and slide 38's function beside ours."""
    examples = tuning.rows(data.train, settings.num_examples)
    affine = preprocessing.fit(examples.X)
    params = linear.init(key, examples.X.shape[1], data.num_classes, settings.scale)
    W, X = np.asarray(params.W), (examples.X - affine.shift) * affine.scale
    ours = np.asarray(_losses(X @ W.T, examples.y)["hinge"])
    slide = [L_i_vectorized(x, y, W) for x, y in zip(X, examples.y, strict=True)]
    return {
        "num_examples": len(ours),
        "small": float(ours.mean()),
        "slide_38": float(np.abs(ours - slide).max()),
    }


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
