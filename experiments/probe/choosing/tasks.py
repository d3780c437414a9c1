"""The training set of a seed, what is held out of it, and its rows as the probes take them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.lab import gate
from experiments.probe import features, probing
from experiments.probe.settings import Settings
from lincls import checks, splits
from lincls.structs import Affine


class Task(NamedTuple):
    """The training set of one seed, and what is held out of it to choose on."""

    seed: int
    key: jax.Array
    X: np.ndarray  # (N, D), unit rows if so chosen
    rotated: probing.Rotated
    y: np.ndarray
    num_classes: int
    held: np.ndarray  # (P, N) bool: P = 1 validation part, or the folds
    folder: Path | None = None  # where large arrays lie

    def weights(self, shots: int | float | None, *, to_choose: bool) -> np.ndarray:
        """(P, N) of the trainings that choose, (1, N) of the last one."""
        present = ~self.held if to_choose else np.ones((1, len(self.y)), bool)
        return features.shot_weights(jax.random.fold_in(self.key, 1), self.y, present, shots)


def to_choose(task: Task, shots: int | float | None, settings: Settings) -> tuple[Task, np.ndarray]:
    """The task with what is held out while choosing, and weights (P, N) of the trainings.

    Few shots choose on all that is held out of the task, or on folds of their own.

    Raises:
        ValueError: one shot of each class, which cannot be cut into folds.
    """
    if shots is None or settings.choose_on == "held-out":
        return task, task.weights(shots, to_choose=True)
    seen = task.weights(shots, to_choose=False)[0] > 0
    most = int(np.bincount(task.y[seen]).max())
    if most < 2:
        raise ValueError("--choose-on shots needs at least 2 shots of a class, got 1")
    key, num_folds = jax.random.fold_in(task.key, 3), min(settings.folds_of_shots, most)
    folds = np.full(len(task.y), -1)
    folds[seen] = splits.stratified_folds(key, task.y[seen], num_folds)
    held = folds == np.arange(num_folds)[:, None]
    return task._replace(held=held), (seen & ~held).astype(np.float32)


def tasks(
    data: gate.Data, settings: Settings, seed: int, groups: np.ndarray | None = None,
    folder: Path | None = None,
) -> Iterator[Task]:  # fmt: skip
    """One task per seed; the features are prepared once, those of a large file in the folder."""
    y = np.asarray(data.train.labels)
    X = prepared(data.train.images, power_of(data), settings, folder)
    if settings.normalise != "none":
        features.warn_of_far_rows(X, settings.normalise)
    rotated = rows_of(X, settings, folder)
    for number in range(seed, seed + settings.seeds):
        key = jax.random.key(number)
        held = held_out(key, y, settings, groups)
        yield Task(number, key, X, rotated, y, data.num_classes, held, folder)


def rows_of(X: np.ndarray, settings: Settings, folder: Path | None) -> probing.Rotated:
    """The rows of the linear probe; SGD from random weights takes them on their own axes."""
    axes = probing.kept if settings.fit == "sgd" else probing.rotate
    return axes(X, folder, scaled=settings.normalise != "none")


def prepared(
    images: np.ndarray, power: int, settings: Settings, folder: Path | None = None
) -> np.ndarray:
    """Rows (N, D) as the probes take them."""
    return features.prepared(images, power, settings.normalise == "unit", folder)


def power_of(data: gate.Data) -> int:
    return features.exponent(checks.rows(data.train.images, "features"))


def held_out(
    key: jax.Array, y: np.ndarray, settings: Settings, groups: np.ndarray | None = None
) -> np.ndarray:
    """(P, N) bool: the validation part, or fold after fold."""
    if settings.grouped:
        if groups is None:
            raise ValueError("grouped folds need the groups of the training examples")
        return splits.train_weights(splits.grouped_folds(key, groups, settings.num_folds)) == 0
    if settings.num_folds:
        return splits.train_weights(splits.stratified_folds(key, y, settings.num_folds)) == 0
    return splits.validation_mask(key, y, settings.validation)[None]


class View(NamedTuple):
    """Trainings that share one preprocessing."""

    task: Task
    weights: np.ndarray  # (p, N)
    affine: Affine | None  # from the features to those of `task`, None where they are the same


def views(task: Task, weights: np.ndarray, settings: Settings) -> Iterator[View]:
    """All trainings at once; scaled by feature, each fold alone, with a scale of its own."""
    if settings.normalise != "standard":
        yield View(task, weights, None)
        return
    for part, weight in enumerate(weights):
        affine = features.standard(task.X, weight)
        X = features.moved(task.X, affine, task.folder)
        rotated = rows_of(X, settings, task.folder)
        own = task._replace(X=X, rotated=rotated, held=task.held[part : part + 1])
        yield View(own, weight[None], affine)
