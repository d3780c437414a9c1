"""What several experiments compute alike: rows, a validation split, a tuned linear classifier.

The optimiser is the short form's, `quick.annealed`, and step sizes are multiples of the one
that it derives from the data and the loss: one grid of multiples serves 8 x 8 digits and
32 x 32 colour photographs, the SVM's loss and the softmax loss.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import linear, preprocessing, quick, splits, training
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams


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


def train_and_validation(key: jax.Array, examples: Rows, fraction: float) -> tuple[Rows, Rows]:
    """Two stratified parts; the second has about `fraction` of the examples (slide 21)."""
    held_out = splits.validation_mask(key, examples.y, fraction)
    return examples.where(~held_out), examples.where(held_out)


def train(
    key: jax.Array, data: Rows, num_classes: int, plan: Plan, rates: Any, regs: Any
) -> LinearParams:
    """Train one setting, or a grid of G as one program.

    Args:
        rates: multiples of `quick.step_size`, () or (G,).
        regs: strengths of the penalty, for features of average variance 1, () or (G,).

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
        batch_size=plan.batch_size, num_steps=plan.num_steps, affine=affine,
    )  # fmt: skip
    return linear.on_pixels(state.params, affine)


def search(key: jax.Array, examples: Rows, num_classes: int, plan: Plan, settings: Any) -> Grid:
    """Train `settings.rates` x `settings.regs` as one program and predict the validation part."""
    split_key, train_key = jax.random.split(key)
    fitted, held_out = train_and_validation(split_key, examples, settings.validation)
    rates, regs = np.meshgrid(settings.rates, settings.regs, indexing="ij")
    params = train(train_key, fitted, num_classes, plan, rates.ravel(), regs.ravel())
    predictions = [linear.predict(one, held_out.X) for one in each(params)]
    shape = (*rates.shape, len(held_out.y))
    return Grid(settings.rates, settings.regs, np.reshape(predictions, shape), held_out.y)


def refit(key: jax.Array, examples: Rows, num_classes: int, plan: Plan, grid: Grid) -> LinearParams:
    """Train the best setting of a grid once more, on all examples."""
    rate, reg = grid.best
    return train(key, examples, num_classes, plan, grid.rates[rate], grid.regs[reg])


def each(params: LinearParams) -> list[LinearParams]:
    """The G settings of a grid, one by one."""
    return [LinearParams(W, b) for W, b in zip(*params, strict=True)]
