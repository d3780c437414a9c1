"""What several experiments compute alike: rows, held-out examples, a tuned linear classifier.

The optimiser is `optimizers.annealed`, and learning rates are multiples of `objective.step_size`,
which depends on the data and the loss: one grid of multiples serves 8 x 8 digits and 32 x 32
colour photographs, the SVM loss and the softmax loss.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab import choices, progress
from experiments.lab.parts import NOWHERE, Arrays, Parts
from lincls import (
    crossval,
    distances,
    knn,
    linear,
    optimizers,
    penalties,
    preprocessing,
    splits,
    training,
)
from lincls.objective import Objective, step_size
from lincls.structs import Affine, Examples, Hyper, LinearParams
from lincls.training import Recipe

_BLOCK = 512  # queries that compile whatever more of them need


class Rows(NamedTuple):
    """Examples as `training.fit` takes them: images as rows (N, D), labels (N,)."""

    X: np.ndarray
    y: np.ndarray

    def where(self, mask: np.ndarray) -> "Rows":
        return Rows(self.X[mask], self.y[mask])


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


def recipe(loss: str, batch_size: int) -> Recipe:
    """How the experiments train a loss with L2: annealed SGD."""
    objective = Objective(choices.LOSSES[loss], penalties.l2)
    return Recipe(objective, optimizers.annealed, batch_size=batch_size)


class Problem(NamedTuple):
    """What a recipe is applied to: examples, their preprocessing and a learning rate."""

    examples: Rows
    num_classes: int
    recipe: Recipe
    num_steps: int
    affine: Affine
    rate: float  # `objective.step_size`, of which the experiments try multiples

    def hyper(self, rates: Any, regs: Any) -> Hyper:
        """Multiples of the learning rate, and strengths for features of average variance 1."""
        numbers = {"learning_rate": self.rate * jnp.asarray(rates), "num_steps": self.num_steps}
        return Hyper(numbers, regs)

    def start(self, key: jax.Array) -> LinearParams:
        return linear.init(key, self.examples.X.shape[1], self.num_classes)


def problem(examples: Rows, num_classes: int, recipe: Recipe, num_steps: int) -> Problem:
    """The problem with the preprocessing and the learning rate that its data ask for."""
    affine = preprocessing.fit(examples.X)
    rate = step_size(examples.X, affine, recipe.objective.loss, num_classes)
    return Problem(examples, num_classes, recipe, num_steps, affine, rate)


def refit(key: jax.Array, problem: Problem, rate: float, reg: float) -> tuple[LinearParams, float]:
    """One setting trained on all examples: parameters on pixels, and the seconds that took."""
    began = time.perf_counter()
    of_start, of_batches = jax.random.split(key)
    hyper = problem.hyper(rate, reg)
    state = training.start(of_batches, problem.start(of_start), problem.recipe, hyper)
    state, _ = training.fit(
        state, *problem.examples, problem.recipe, hyper, num_steps=problem.num_steps,
        affine=problem.affine,
    )  # fmt: skip
    params = jax.block_until_ready(linear.on_pixels(state.params, problem.affine))
    return params, time.perf_counter() - began


class HeldOut(NamedTuple):
    """Scores of V examples that the model giving them was not trained on."""

    scores: np.ndarray  # (G, V, C)
    labels: np.ndarray  # (V,)


def held_out(key: jax.Array, problem: Problem, rates: Any, regs: Any, settings: Any) -> HeldOut:
    """Cross-validation (slide 21), of so many folds as bring `settings.num_validated` examples.

    G settings (rates and regs, (G,)) are trained as one program once for each of these folds,
    on the other `settings.num_folds` - 1 folds, and score the examples of it.  Few examples
    are all validated; many are validated in part, which costs less and is as sure.
    """
    fold_key, train_key = jax.random.split(key)
    of_start, of_batches = jax.random.split(train_key)
    X, y = problem.examples
    fold_of = splits.stratified_folds(fold_key, y, settings.num_folds)
    sizes = np.cumsum(np.bincount(fold_of))
    used = min(settings.num_folds, 1 + int(np.sum(sizes < settings.num_validated)))
    parts = splits.parts(np.where(fold_of < used, fold_of, -1))
    folded = crossval.linear(
        of_batches, X, y, parts, problem.recipe, problem.hyper(rates, regs),
        num_steps=problem.num_steps, affine=problem.affine, params=problem.start(of_start),
    )  # fmt: skip
    found = crossval.held_out_scores(folded.params, folded.affine, Examples(X, y, parts.held_out))
    scores, labels = zip(*found, strict=True)
    return HeldOut(np.concatenate(scores, axis=1), np.concatenate(labels))


def search(
    key: jax.Array, problem: Problem, settings: Any, parts: Parts = NOWHERE, name: str = ""
) -> Grid:
    """Validate every pair of `settings.rates` and `settings.regs`, all trained as one program."""
    found = parts.kept(f"search-{name}", lambda: _search(key, problem, settings))
    return Grid(settings.rates, settings.regs, found["predictions"], found["labels"])


def _search(key: jax.Array, problem: Problem, settings: Any) -> Arrays:
    rates, regs = np.meshgrid(settings.rates, settings.regs, indexing="ij")
    found = held_out(key, problem, rates.ravel(), regs.ravel(), settings)
    predictions = found.scores.argmax(axis=-1).reshape(*rates.shape, -1)
    return {"predictions": predictions, "labels": np.asarray(found.labels)}


class Voted(NamedTuple):
    """What the neighbours among a training set vote for, for every k, and what that takes."""

    predictions: np.ndarray  # (len(ks), M)
    training: float  # seconds
    a_test_image: float  # seconds, the mean over the test set
    memory: int  # bytes of the model


def neighbours(
    train: Rows, X: np.ndarray, ks: Any, metric: distances.Metric, num_classes: int, what: str,
    parts: Parts = NOWHERE,
) -> Voted:  # fmt: skip
    """One search by a distance, and from it the votes of every k; compiled before it is timed."""
    name = what.replace(" ", "-")
    found = parts.kept(name, lambda: _neighbours(train, X, ks, metric, num_classes, what))
    return Voted(found["predictions"], *(found[name].item() for name in Voted._fields[1:]))


def _neighbours(
    train: Rows, X: np.ndarray, ks: Any, metric: distances.Metric, num_classes: int, what: str
) -> Arrays:
    began = time.perf_counter()
    model = jax.block_until_ready(knn.fit(*train, metric=metric, num_classes=num_classes))
    training = time.perf_counter() - began
    knn.predict_by_k(model, X[:_BLOCK], ks)
    began = time.perf_counter()
    predictions = np.asarray(knn.predict_by_k(model, X, ks, on_block=progress.watcher(what)))
    seconds = (time.perf_counter() - began) / len(X)
    leaves = {id(leaf): leaf for leaf in jax.tree.leaves(model)}
    memory = sum(leaf.nbytes for leaf in leaves.values())
    found = Voted(predictions, training, seconds, memory)
    return {name: np.asarray(value) for name, value in found._asdict().items()}


def each(params: LinearParams) -> list[LinearParams]:
    """The G settings of a grid, one by one."""
    return [LinearParams(W, b) for W, b in zip(*params, strict=True)]
