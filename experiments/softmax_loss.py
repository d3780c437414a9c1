"""The softmax loss: both worked examples, the loss of small weights, and moved scores."""

import sys
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from experiments.lab import tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import evaluation, linear, losses, preprocessing
from lincls.structs import LinearParams

CAT = (3.2, 5.1, -1.7)  # slide 44, label 0
W = ((0.01, -0.05, 0.1, 0.05), (0.7, 0.2, 0.05, 0.16), (0.0, -0.45, -0.2, 0.03))  # slide 46
X, B, LABEL = (-15.0, 22.0, -44.0, 56.0), (0.0, 0.2, -0.3), 2
MOVED = ((10.0, -2.0, 3.0), (10.0, 9.0, 9.0), (10.0, -100.0, -100.0))  # slide 47, label 0


@dataclass(frozen=True)
class Settings:
    num_examples: int = flag(200, "training examples, the first ones", low=1, smoke=50)
    scale: float = flag(1e-4, "standard deviation of a small W", low=0)
    change: float = flag(0.5, "how far the right score is moved down (slide 47)", low=0)
    num_points: int = flag(121, "points of a curve", low=2)
    regs: tuple[float, ...] = flag(
        (0.0, 1e-3, 1e-2, 1e-1), "strengths at which probabilities are judged, rising", low=0,
        smoke=(0.0, 1e-1),
    )  # fmt: skip
    rate: float = flag(3.0, "step size, a multiple of the derived one", low=0)
    num_steps: int = flag(1000, "minibatches of a training", low=1, smoke=20)
    batch_size: int = flag(256, "examples in a minibatch", low=1, smoke=32)
    max_train: int = flag(10000, "training examples used, the first ones", low=10, smoke=300)
    num_folds: int = flag(5, "folds of the training examples", low=2)
    num_validated: int = flag(
        2000, "held-out examples that judge: as many folds as bring them", low=1, smoke=50
    )
    num_bins: int = flag(10, "bins of the probabilities", low=2)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Both losses on the examples, on scores moved, and on the data at a small W."""
    params = LinearParams(jnp.array(W), jnp.array(B))
    example = np.asarray(linear.scores(params, np.array([X], np.float32)))
    rights = np.linspace(0, 15, settings.num_points, dtype=np.float32)
    start, after = np.array(MOVED, np.float32), np.array(MOVED, np.float32)
    after[:, 0] -= settings.change
    swept = np.repeat(start, len(rights), axis=0)
    swept[:, 0] = np.tile(rights, len(start))
    scores = np.concatenate([np.array([CAT], np.float32), example, start, after, swept])
    labels = np.zeros(len(scores), np.int32)
    labels[1] = LABEL
    found = {name: np.asarray(loss) for name, loss in _losses(scores, labels).items()}
    arrays = {f"{name}_swept": loss[8:].reshape(3, -1) for name, loss in found.items()}
    arrays |= {f"{name}_examples": loss[:8] for name, loss in found.items()}
    numbers = {"scores": example[0], "num_classes": data.num_classes}
    numbers |= _small(data, key, settings)
    bins, numbers["calibration"] = _calibration(data, key, settings)
    return Outcome(numbers, arrays | bins | {"rights": rights})


@jax.jit
def _losses(scores: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    return {"svm": losses.hinge(scores, labels), "softmax": losses.softmax(scores, labels)}


def _small(data: Data, key: jax.Array, settings: Settings) -> dict[str, float]:
    """The mean softmax loss of training examples at a small W."""
    examples = tuning.rows(data.train, settings.num_examples)
    affine = preprocessing.fit(examples.X)
    params = linear.init(key, examples.X.shape[1], data.num_classes, settings.scale)
    scores = (examples.X - affine.shift) * affine.scale @ np.asarray(params.W).T
    return {"small": float(_losses(scores, examples.y)["softmax"].mean())}


def _calibration(
    data: Data, key: jax.Array, settings: Settings
) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
    """How far the probabilities of held-out examples can be believed, for every strength."""
    problem = tuning.problem(
        tuning.rows(data.train, settings.max_train), data.num_classes,
        tuning.recipe("softmax", settings.batch_size), settings.num_steps,
    )  # fmt: skip
    rates = np.full(len(settings.regs), settings.rate)
    found = tuning.held_out(key, problem, rates, np.array(settings.regs), settings)
    shares = scipy.special.softmax(found.scores.astype(np.float64), axis=-1)
    judged = [evaluation.reliability(each, found.labels, settings.num_bins) for each in shares]
    bins = {f"bin_{name}": np.stack([getattr(one, name) for one in judged])
            for name in ("total", "right", "confidence")}  # fmt: skip
    return bins, [
        {
            "reg": reg,
            "error": one.error,
            "confidence": float(each.max(axis=-1).mean()),
            "accuracy": evaluation.accuracy(each.argmax(axis=-1), found.labels),
            "log_loss": evaluation.log_loss(scores, found.labels),
        }
        for reg, one, each, scores in zip(settings.regs, judged, shares, found.scores, strict=True)
    ]


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
