"""What several experiments compute alike: rows, held-out examples, a tuned linear classifier.

The optimiser is the short form's, `quick.annealed`, and step sizes are multiples of the one
that it derives from the data and the loss: one grid of multiples serves 8 x 8 digits and
32 x 32 colour photographs, the SVM's loss and the softmax loss.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab import progress
from lincls import distances, knn, linear, preprocessing, quick, splits, training
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams

_BLOCK = 512  # queries that compile whatever more of them need


class Rows(NamedTuple):
    """Examples as `training.fit` takes them: images as rows (N, D), labels (N,)."""

    X: np.ndarray
    y: np.ndarray

    def where(self, mask: np.ndarray) -> "Rows":
        return Rows(self.X[mask], self.y[mask])


class Plan(NamedTuple):
    """How a linear classifier is trained, the numbers that are tuned apart."""

    objective: Objective
    batch_size: int
    num_steps: int


class Grid(NamedTuple):
    """What `search` found for every pair of a step size and a strength."""

    rates: tuple[float, ...]  # multiples of the derived step size
    regs: tuple[float, ...]
    predictions: np.ndarray  # (rates, strengths, validation examples)
    labels: np.ndarray  # (validation examples,)

    @property
    def accuracy(self) -> np.ndarray:
        """Validation accuracies (rates, strengths), in 0..1."""
        return (self.predictions == self.labels).mean(axis=-1)

    @property
    def best(self) -> tuple[int, int]:
        """The place of the greatest accuracy, the first of equals."""
        rate, reg = np.unravel_index(self.accuracy.argmax(), self.accuracy.shape)
        return int(rate), int(reg)


def rows(split: Any, limit: int | None = None) -> Rows:
    """The first `limit` examples of a split, all by default, as rows."""
    images, labels = split.images[:limit], split.labels[:limit]
    return Rows(np.asarray(images).reshape(len(labels), -1), np.asarray(labels))


def train(
    key: jax.Array, data: Rows, num_classes: int, plan: Plan, rates: Any, regs: Any,
    weight: np.ndarray | None = None,
) -> LinearParams:  # fmt: skip
    """Train one setting, or a grid of G as one program.

    Args:
        rates: multiples of `quick.step_size`, () or (G,).
        regs: strengths of the penalty, for features of average variance 1, () or (G,).
        weight: of the examples, (N,) or (G, N); all 1 by default.

    Returns:
        Parameters acting on pixels, with a leading axis G for a grid.
    """
    of_start, of_batches = jax.random.split(key)
    affine = preprocessing.fit(data.X)
    derived = quick.step_size(data.X, affine, plan.objective.loss, num_classes)
    hyper = Hyper(
        {"learning_rate": derived * jnp.asarray(rates), "num_steps": plan.num_steps}, regs
    )
    params = linear.init(of_start, data.X.shape[1], num_classes)
    state = training.start(of_batches, params, optimizer=quick.annealed, hyper=hyper)
    state, _ = training.fit(
        state, *data, hyper, objective=plan.objective, optimizer=quick.annealed,
        batch_size=plan.batch_size, num_steps=plan.num_steps, affine=affine, weight=weight,
    )  # fmt: skip
    return linear.on_pixels(state.params, affine)


class HeldOut(NamedTuple):
    """Scores of V examples that the model giving them was not trained on."""

    scores: np.ndarray  # (G, V, C)
    labels: np.ndarray  # (V,)


def held_out(
    key: jax.Array, examples: Rows, num_classes: int, plan: Plan, rates: Any, regs: Any,
    settings: Any,
) -> HeldOut:  # fmt: skip
    """Cross-validation (slide 21), of so many folds as bring `settings.num_validated` examples.

    G settings (rates and regs, (G,)) are trained as one program once for each of these folds,
    on the other `settings.num_folds` - 1 folds, and score the examples of it.  Few examples
    are all validated; many are validated in part, which costs less and is as sure.
    """
    fold_key, train_key = jax.random.split(key)
    fold_of = splits.stratified_folds(fold_key, examples.y, settings.num_folds)
    sizes = np.cumsum(np.bincount(fold_of))
    used = min(settings.num_folds, 1 + int(np.sum(sizes < settings.num_validated)))
    weight = np.repeat(fold_of != np.arange(used)[:, None], len(rates), axis=0)
    params = train(train_key, examples, num_classes, plan, np.tile(rates, used),
                   np.tile(regs, used), weight)  # fmt: skip
    W, b = (np.asarray(leaf).reshape(used, len(rates), *leaf.shape[1:]) for leaf in params)
    scores, labels = [], []
    for fold in range(used):
        X, y = examples.where(fold_of == fold)
        scores.append(X.astype(W.dtype) @ W[fold].swapaxes(1, 2) + b[fold][:, None])
        labels.append(y)
    return HeldOut(np.concatenate(scores, axis=1), np.concatenate(labels))


def search(key: jax.Array, examples: Rows, num_classes: int, plan: Plan, settings: Any) -> Grid:
    """Validate every pair of `settings.rates` and `settings.regs`, all trained as one program."""
    rates, regs = np.meshgrid(settings.rates, settings.regs, indexing="ij")
    found = held_out(key, examples, num_classes, plan, rates.ravel(), regs.ravel(), settings)
    predictions = found.scores.argmax(axis=-1).reshape(*rates.shape, -1)
    return Grid(settings.rates, settings.regs, predictions, found.labels)


def refit(
    key: jax.Array, examples: Rows, num_classes: int, plan: Plan, rate: float, reg: float
) -> tuple[LinearParams, float]:
    """One setting trained once more, on all examples, and the seconds that took."""
    began = time.perf_counter()
    params = jax.block_until_ready(train(key, examples, num_classes, plan, rate, reg))
    return params, time.perf_counter() - began


class Voted(NamedTuple):
    """What the neighbours among a training set vote for, for every k, and what that takes."""

    predictions: np.ndarray  # (len(ks), M)
    training: float  # seconds
    a_test_image: float  # seconds, the mean over the test set
    memory: int  # bytes of the model


def neighbours(
    train: Rows, X: np.ndarray, ks: Any, metric: distances.Metric, num_classes: int, what: str
) -> Voted:
    """One search by a distance, and from it the votes of every k; compiled before it is timed."""
    began = time.perf_counter()
    model = jax.block_until_ready(knn.fit(*train, metric=metric, num_classes=num_classes))
    training = time.perf_counter() - began
    knn.predict_by_k(model, X[:_BLOCK], ks)
    began = time.perf_counter()
    predictions = np.asarray(knn.predict_by_k(model, X, ks, on_block=progress.watcher(what)))
    seconds = (time.perf_counter() - began) / len(X)
    leaves = {id(leaf): leaf for leaf in jax.tree.leaves(model)}
    return Voted(predictions, training, seconds, sum(leaf.nbytes for leaf in leaves.values()))


def each(params: LinearParams) -> list[LinearParams]:
    """The G settings of a grid, one by one."""
    return [LinearParams(W, b) for W, b in zip(*params, strict=True)]
