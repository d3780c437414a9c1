"""Cross-validates kNN and the linear classifiers, fits each one's best setting, and tests once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.classify import certainty
from experiments.classify.certainty import Column
from experiments.classify.photos import Photos
from experiments.lab import choices, progress, tuning
from experiments.lab.experiment import flag
from lincls import crossval, knn, linear, models, probe, splits

KNN, SOFTMAX, SVM = "kNN", "softmax", "SVM"
LOSSES = {SOFTMAX: "softmax", SVM: "svm"}


@dataclass(frozen=True)
class Settings:
    """What `train` tries, and how photos are read."""

    size: int = flag(0, "pixels of a side; photos are cut square first (0: as they are)", low=0)
    classifier: str = flag(
        "best",
        "which one to save; best: by cross-validation",
        choices=("best", "knn", "softmax", "svm"),
    )  # fmt: skip
    ks: tuple[int, ...] = flag((1, 3, 5, 7, 10, 20, 50), "numbers of neighbours tried", low=1)
    regs: tuple[float, ...] = flag(
        (1e-4, 1e-3, 1e-2, 1e-1, 1.0), "strengths of the L2 penalty tried", low=0
    )
    rates: tuple[float, ...] = flag((1.0,), "multiples of the derived step size tried", low=0)
    folds: int = flag(5, "folds of the cross-validation, at most", low=2)
    steps: int = flag(1000, "steps of each training", low=1)
    batch_size: int = flag(256, "examples a step", low=1)
    seed: int = flag(0, "seed of every random draw", low=0)


class Chosen(NamedTuple):
    """A classifier with its best setting, fitted to the training photos.

    Attributes:
        name: kNN, softmax or SVM.
        setting: the choice in words.
        validated: its accuracy in cross-validation, in 0..1.
        model: as `models.save` takes it.
        k: how many neighbours vote, or None.
        loss: of a linear classifier, as `models.save` takes it.
    """

    name: str
    setting: str
    validated: float
    model: Any
    k: int | None = None
    loss: str | None = None


class Tested(NamedTuple):
    """A chosen classifier and what it said of the test photos."""

    chosen: Chosen
    predicted: np.ndarray  # (M,) labels
    certainty: Column  # a cell for each test photo


def compute(photos: Photos, settings: Settings) -> list[Tested]:
    """The three classifiers, the best in cross-validation first; of equals the first tried."""
    fold_key, *keys = jax.random.split(jax.random.key(settings.seed), 3)
    num_folds = min(settings.folds, len(photos.train.y))
    folds = splits.stratified_folds(fold_key, photos.train.y, num_folds)
    found = [_by_neighbours(photos, folds, settings)]
    for key, name in zip(keys, LOSSES, strict=True):
        progress.say(f"training {name} classifiers")
        found.append(_linear(key, photos, folds, name, settings))
    found.sort(key=lambda one: -one.validated)
    return [tested(one, photos) for one in found]


def _by_neighbours(photos: Photos, folds: np.ndarray, settings: Settings) -> Chosen:
    """k and the distance with the highest accuracy; of equals the largest k."""
    ks = fitting(settings, len(folds) - int(np.bincount(folds).max()))
    tables = {
        name: crossval.knn_accuracies(*photos.train, folds, ks, choices.METRICS[name])
        for name in ("l1", "l2")
    }
    order = [-k for _ in tables for k in ks]
    choice = crossval.choose(np.concatenate(list(tables.values())), complexity=order)
    place, k = divmod(choice.best, len(ks))
    name, k = list(tables)[place], ks[k]
    model = knn.fit(
        *photos.train, metric=choices.METRICS[name], num_classes=len(photos.class_names)
    )
    told = f"k = {k}{_edge('--ks', ks, k) if k > 1 else ''}, {choices.NAMES[name]}"
    return Chosen(KNN, told, float(choice.mean[choice.best]), model, k)


def fitting(settings: Settings, most: int) -> tuple[int, ...]:
    """The numbers of neighbours that the training folds can give.

    Raises:
        ValueError: --ks names one that is larger.
    """
    ks = tuple(k for k in settings.ks if k <= most)
    if ks != settings.ks and settings.ks != Settings.ks:
        raise ValueError(f"--ks must be at most {most}, the photos of the training folds")
    return ks


def _linear(
    key: jax.Array, photos: Photos, folds: np.ndarray, name: str, settings: Settings
) -> Chosen:
    """Step size and strength with the highest accuracy; of equals the largest strength."""
    batch_size = min(settings.batch_size, len(photos.train.y))
    recipe = tuning.recipe(LOSSES[name], batch_size)
    problem = tuning.problem(photos.train, len(photos.class_names), recipe, settings.steps)
    rates, regs = map(np.ravel, np.meshgrid(settings.rates, settings.regs, indexing="ij"))
    of_start, of_folds, of_fit = jax.random.split(key, 3)
    folded = crossval.linear(
        of_folds, *photos.train, folds, recipe, problem.hyper(rates, regs),
        num_steps=settings.steps, affine=problem.affine, params=problem.start(of_start),
    )  # fmt: skip
    choice = crossval.choose(folded.accuracies, complexity=-regs)
    rate, reg = float(rates[choice.best]), float(regs[choice.best])
    params, _ = tuning.refit(of_fit, problem, rate, reg)
    told = f"regularisation strength {reg:g}{_edge('--regs', settings.regs, reg)}"
    told += _edge("--rates", settings.rates, rate)
    return Chosen(name, told, float(choice.mean[choice.best]), params, loss=LOSSES[name])


def _edge(flag: str, tried: Sequence[float], chosen: float) -> str:
    """Which end of the numbers tried was chosen, if one was; below 0 there is nothing to try."""
    if chosen == 0 or not probe.at_edge(np.array(tried), tried.index(chosen)):
        return ""
    return f", the {'greatest' if chosen == max(tried) else 'least'} of {flag}"


def tested(chosen: Chosen, photos: Photos) -> Tested:
    """The one look at the test photos."""
    shape, X = photos.image_shape, photos.test.X
    saved = models.Saved(chosen.model, None, shape, None, chosen.k, loss=chosen.loss)
    return Tested(chosen, models.predict(saved, X), certainty.column(saved, X))


def picked(found: list[Tested], settings: Settings) -> Tested:
    """The one to save: the best, or the one that was asked for."""
    if settings.classifier == "best":
        return found[0]
    return next(one for one in found if one.chosen.name.lower() == settings.classifier)


def templates(
    found: list[Tested], image_shape: tuple[int, ...]
) -> Iterator[tuple[str, np.ndarray]]:
    """The linear classifiers' rows of W as images (C, H, W, channels)."""
    for one in found:
        if one.chosen.name != KNN:
            yield one.chosen.name, linear.templates(one.chosen.model, image_shape)
