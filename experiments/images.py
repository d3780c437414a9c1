"""Images as arrays: type, shape and range, samples, what keeps a class and moves the pixels."""

import sys
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.lab import choices, pictures, tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import knn

RESAMPLES = 1000  # of the bootstrap

METRICS = ("l1", "l2")


@dataclass(frozen=True)
class Settings:
    num_samples: int = flag(10, "images shown of each class, the first ones", low=1, smoke=3)
    num_compared: int = flag(500, "training images compared, the first ones", low=10, smoke=100)
    num_changed: int = flag(5000, "training images changed, the first ones", low=8, smoke=50)
    num_searched: int = flag(
        5000, "training images searched for the nearest, the first ones", low=10, smoke=300
    )
    num_shown: int = flag(5, "changed images shown, the first of so many classes", low=1)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """What the arrays are; samples of each class; distances within and between classes."""
    images, labels = data.train
    classes = [np.flatnonzero(labels == label) for label in range(min(10, data.num_classes))]
    shown = min(settings.num_samples, *map(len, classes))
    samples = np.stack([images[places[:shown]] for places in classes])
    within, between = _pairs(data, settings.num_compared, "l2")
    numbers = {
        "dtype": str(images.dtype),
        "low": images.min(),
        "high": images.max(),
        "counts": np.bincount(labels, minlength=data.num_classes),
        "num_compared": min(settings.num_compared, len(labels)),
        "nearer": float(np.mean(np.median(between) > within)),
        "variation": _variation(key, *_apart(data, settings.num_compared, "l2")),
    }
    arrays = {"grid": images[0].reshape(data.image_shape),
              "samples": samples.reshape(len(classes), shown, *data.image_shape),
              "within": within, "between": between}  # fmt: skip
    outcome = Outcome(numbers, arrays)
    if images.dtype == np.uint8 and min(data.image_shape[:2]) >= pictures.SMALLEST:
        _change(outcome, data, settings)
    return outcome


def _pairs(data: Data, num_compared: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Distances of all pairs of the same class, and of different classes."""
    apart, same = _apart(data, num_compared, name)
    pairs = np.triu(np.ones_like(same), k=1).astype(bool)
    if len(np.unique(same[pairs])) < 2:
        raise ValueError(
            f"--num-compared {num_compared} takes no two training images of one class, or only "
            "such; compare more"
        )
    return apart[pairs & same], apart[pairs & ~same]


def _apart(data: Data, num_compared: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the first images (n, n), and whether two are of one class."""
    X, y = tuning.rows(data.train, num_compared)
    return pictures.all_distances(X, choices.METRICS[name]), y[:, None] == y


def _variation(key: jax.Array, apart: np.ndarray, same: np.ndarray) -> dict[str, Any] | None:
    """95% intervals of between - within and of within / between, of mean distances.

    A bootstrap over the images, because the pairs of one image depend on one another.  None
    where all are of one class or no two are.
    """
    size = len(apart)
    others = ~np.eye(size, dtype=bool)
    if same.all() or not np.any(same & others):
        return None
    drawn = np.asarray(jax.random.randint(key, (RESAMPLES, size), 0, size))
    counts = np.stack([np.bincount(row, minlength=size) for row in drawn]).astype(np.float64)
    within, between = (_mean(apart, mask, counts) for mask in (same & others, ~same))
    ends = [0.025, 0.975]
    return {"difference": np.nanquantile(between - within, ends),
            "ratio": np.nanquantile(within / between, ends)}  # fmt: skip


def _mean(apart: np.ndarray, mask: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean distance of the pairs of a mask, each image so many times (resamples, n)."""
    total = np.sum((counts @ (apart * mask)) * counts, axis=1)
    pairs = np.sum((counts @ mask.astype(np.float64)) * counts, axis=1)
    return np.where(pairs > 0, total, np.nan) / np.maximum(pairs, 1)


def _change(outcome: Outcome, data: Data, settings: Settings) -> None:
    """Changed copies, how far they moved, and what their nearest training images are."""
    train = tuning.rows(data.train, settings.num_searched)
    images = train.X[: settings.num_changed].reshape(-1, *data.image_shape)
    copies = pictures.changed(images, np.roll(images, 1, axis=0))
    names = list(copies)
    for name in METRICS:
        within, between = _pairs(data, settings.num_compared, name)
        unit = float(np.median(within))
        moved = [_moved(images, copies[change], name) / unit for change in names]
        outcome.arrays[f"moved_{name}"] = np.stack(moved)
        outcome.numbers[f"between_{name}"] = float(np.median(between)) / unit
    model = knn.fit(*train)
    found = [_nearest(model, train, rows) for rows in (images, *copies.values())]
    classes = min(settings.num_shown, data.num_classes)
    chosen = [int(np.argmax(train.y[: len(images)] == label)) for label in range(classes)]
    outcome.numbers |= {"changes": names, "num_searched": len(train.y)}
    outcome.arrays |= {
        "right": np.stack([right for right, _ in found]),
        "its_own": np.stack([own for _, own in found[1:]]),
        "changed": np.stack([images[chosen], *(copies[change][chosen] for change in names)], 1),
        "changed_labels": train.y[chosen],
    }


def _moved(images: np.ndarray, copies: np.ndarray, name: str) -> np.ndarray:
    """The distance (n,) of each copy to its original."""
    gaps = np.abs(copies.astype(np.int64) - images).reshape(len(images), -1)
    return gaps.sum(axis=1) if name == "l1" else np.sqrt(np.sum(gaps**2, axis=1))


def _nearest(model: Any, train: tuning.Rows, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the nearest image but the original has its class; whether the original is nearest."""
    found = knn.neighbors(model, copies.reshape(len(copies), -1), 2).indices
    own = found == np.arange(len(copies))[:, None]
    other = np.where(own[:, 0], found[:, 1], found[:, 0])
    return train.y[other] == train.y[: len(copies)], own[:, 0]


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
