"""Gradient descent in small batches: the loss goes down, and the step size decides how."""

import sys
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab import tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import (
    batches,
    linear,
    losses,
    optimizers,
    penalties,
    preprocessing,
    training,
)
from lincls.objective import Objective
from lincls.structs import Hyper
from lincls.training import Recipe

OBJECTIVE = Objective(losses.softmax, penalties.l2)


@dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = flag(
        (1.0, 10.0, 100.0, 1000.0, 10000.0), "step sizes compared, rising, in units of 1 / D", low=0
    )
    rate: float = flag(1.0, "step size of all batch sizes, in units of 1 / D", low=0)
    batch_size: int = flag(256, "examples in a minibatch (slide 59)", low=1)
    batch_sizes: tuple[int, ...] = flag(
        (1, 32, 64, 128, 256), "batch sizes compared", low=1, smoke=(256,)
    )
    reg: float = flag(1e-3, "strength of the L2 penalty", low=0)
    epochs: int = flag(20, "passes over the training examples", low=1, smoke=1)
    max_train: int = flag(10000, "training examples used, the first ones", low=2, smoke=300)
    plane_train: int = flag(2000, "training examples of the map, the first ones", low=2, smoke=100)
    plane_rate: float = flag(30.0, "step size of the paths on the map, in units of 1 / D", above=0)
    plane_batch: int = flag(32, "examples in a step of the map's SGD", low=1)
    plane_stride: int = flag(2, "steps between two points of a path", low=1)
    plane_points: int = flag(60, "points of a path", low=2, smoke=3)
    plane_cells: int = flag(61, "places along each axis of the map", low=2, smoke=5)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Losses of every minibatch, for a grid of step sizes and for several batch sizes."""
    examples = tuning.rows(data.train, settings.max_train)
    rates, of_rates = np.array(settings.rates), settings.batch_size
    arrays = {"rates": descend(key, data, examples, settings, rates, of_rates)}
    if settings.rate in settings.rates:  # one of the sizes is there already
        arrays[f"batch_{of_rates}"] = arrays["rates"][:, settings.rates.index(settings.rate)]
    for size in (*settings.batch_sizes, None):
        name = f"batch_{size or 'full'}"
        if name not in arrays:
            arrays[name] = descend(key, data, examples, settings, settings.rate, size)
    numbers = {"num_examples": len(examples.y), "log_classes": float(np.log(data.num_classes))}
    return Outcome(numbers, arrays | _plane(key, data, settings))


def descend(
    key: jax.Array, data: Data, examples: tuning.Rows, settings: Settings, rate: Any, size: Any
) -> np.ndarray:
    """The objective on every minibatch (T,), or (T, G) for G step sizes; size None is all."""
    count = len(examples.y)
    hyper = Hyper({"learning_rate": jnp.asarray(rate) / examples.X.shape[1]}, reg=settings.reg)
    params = linear.init(key, examples.X.shape[1], data.num_classes)
    recipe = _recipe(size, count)
    _, history = training.fit(
        training.start(key, params, recipe, hyper), *examples, recipe, hyper,
        affine=preprocessing.fit(examples.X),
        num_steps=settings.epochs * batches.steps_per_epoch(count, size or count),
    )  # fmt: skip
    return history.loss


def _recipe(size: int | None, count: int) -> Recipe:
    """SGD in batches of a size, or gradient descent on all examples for None."""
    sampling = batches.shuffled if size else batches.full
    return Recipe(OBJECTIVE, optimizers.sgd, sampling, size or count)


def _plane(key: jax.Array, data: Data, settings: Settings) -> dict[str, np.ndarray]:
    """Two paths through the space of (W | b), and the objective on the plane of their ends.

    The plane goes through the start and the end of each path, where its loss is therefore
    exact; its first axis points to the end of gradient descent, its second is at right angles.
    """
    examples = tuning.rows(data.train, settings.plane_train)
    affine = preprocessing.fit(examples.X)
    sizes = {"descent": None, "sgd": settings.plane_batch}
    paths, (met, _) = zip(
        *(_path(key, data, examples, affine, settings, size) for size in sizes.values()),
        strict=True,
    )
    start, ends = paths[0][0], [path[-1] for path in paths]
    axes = np.linalg.qr(np.stack([(end - start).ravel() for end in ends], axis=1))[0].T
    axes *= np.sign(axes @ (ends[0] - start).ravel())[:1]  # QR may turn both around
    away = np.stack([(path - start).reshape(len(path), -1) for path in paths])
    places = away @ axes.T
    across, up = (np.linspace(low, high, settings.plane_cells, dtype=np.float32)
                  for low, high in _widened(places.reshape(-1, 2)))  # fmt: skip
    X = np.pad(preprocessing.apply(affine, examples.X), [(0, 0), (0, 1)], constant_values=1)
    surface = _surface(X, examples.y, start, axes.reshape(2, *start.shape), across, up,
                       settings.reg)  # fmt: skip
    whole = [_objective(X @ end.T, examples.y, end, settings.reg) for end in (start, *ends)]
    arrays = {"plane_x": across, "plane_y": up, "plane_loss": surface, "plane_ends": whole}
    arrays["descent_loss"] = np.append(met, whole[1])
    arrays["plane_share"] = np.sum(places**2) / np.sum(away**2)
    return arrays | dict(zip(sizes, places, strict=True))


def _path(
    key: jax.Array, data: Data, examples: tuning.Rows, affine: Any, settings: Settings, size: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(W | b) at the start and after every stride, (points + 1, C, D + 1); size None is all.

    With it the objective on the batch of each step, before the step.
    """
    count, features = examples.X.shape
    hyper = Hyper({"learning_rate": settings.plane_rate / features}, settings.reg)
    params = linear.init(key, features, data.num_classes)
    recipe = _recipe(size, count)
    state = training.start(key, params, recipe, hyper)
    points, met = [np.asarray(linear.fold_bias(params))], []
    for _ in range(settings.plane_points):
        state, history = training.fit(
            state, *examples, recipe, hyper, affine=affine, num_steps=settings.plane_stride
        )
        points.append(np.asarray(linear.fold_bias(state.params)))
        met.append(history.loss)
    return np.stack(points), np.concatenate(met)


def _widened(places: np.ndarray) -> np.ndarray:
    """The range of each coordinate, (2, 2), with a margin around it."""
    low, high = places.min(axis=0), places.max(axis=0)
    margin = 0.15 * (high - low)
    return np.stack([low - margin, high + margin], axis=1)


def _objective(scores: Any, labels: Any, folded: Any, reg: Any) -> jax.Array:
    """What is minimised, of scores (N, C) and of the (W | b) that gave them."""
    return OBJECTIVE.loss(scores, labels).mean() + reg * OBJECTIVE.penalty(folded[:, :-1])


@jax.jit
def _surface(X: Any, y: Any, centre: Any, axes: Any, across: Any, up: Any, reg: Any) -> jax.Array:
    """The objective at centre + a axes[0] + b axes[1], (len(up), len(across)).

    Scores are linear in (W | b), so the data are multiplied with three of them only.
    """
    middle, one, two = (X @ folded.T for folded in (centre, *axes))

    def at(place: jax.Array) -> jax.Array:
        a, b = place
        folded = centre + a * axes[0] + b * axes[1]
        return _objective(middle + a * one + b * two, y, folded, reg)

    places = jnp.stack(jnp.meshgrid(across, up), axis=-1).reshape(-1, 2)
    return jax.lax.map(at, places).reshape(len(up), len(across))


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
