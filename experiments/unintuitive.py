"""Distances are unintuitive: equally far copies, the background, and a map by L2 distance."""

import sys
from dataclasses import dataclass

import jax
import numpy as np

from experiments.lab import pictures, tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import distances, knn


@dataclass(frozen=True)
class Settings:
    num_originals: int = flag(3, "training images altered, the first of so many classes", low=1)
    num_judged: int = flag(1000, "training images whose copies are classified", low=2, smoke=40)
    num_searched: int = flag(2000, "training images searched, the first ones", low=10, smoke=200)
    map_side: int = flag(30, "images along a side of the map, the first ones", low=3, smoke=8)
    num_near: int = flag(5, "neighbours on the map that are looked at", low=1)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Copies of equal distance, and how many training images are nearer than they are."""
    train = tuning.rows(data.train, settings.num_searched)
    classes = range(min(settings.num_originals, data.num_classes))
    places = [int(np.argmax(train.y == label)) for label in classes]
    originals = train.X[places].astype(np.float64).reshape(-1, *data.image_shape)
    copies = np.stack([_altered(image, data.levels[0]) for image in originals])
    apart = np.sqrt(np.sum((copies - originals[:, None]) ** 2, axis=(2, 3, 4)))
    others = knn.neighbors(knn.fit(train.X), train.X[places], len(train.y))
    nearer = others.distances < apart.max(axis=1, keepdims=True) ** 2
    of_other_class = train.y[others.indices] != train.y[places][:, None]
    numbers = {
        "searched": len(train.y),
        "nearer": nearer.sum(axis=1) - 1,  # without the original itself
        "nearer_other": np.sum(nearer & of_other_class, axis=1),
    }
    arrays = {"originals": originals, "copies": copies, "apart": apart}
    outcome = Outcome(numbers, arrays | {"labels": train.y[places]})
    _judged(outcome, data, train, settings)
    _map(outcome, data, key, settings)
    return outcome


def _judged(outcome: Outcome, data: Data, train: tuning.Rows, settings: Settings) -> None:
    """Whether copies of images, equally far, still have the class of their nearest neighbour.

    An image's own row is not searched.  Images that a change does not alter are left out.
    """
    images = train.X[: settings.num_judged].astype(np.float64).reshape(-1, *data.image_shape)
    changes = np.stack([_changes(image, data.levels[0]) for image in images])
    lengths = np.sqrt(np.sum(changes**2, axis=(2, 3, 4), keepdims=True))
    kept = np.flatnonzero(lengths.min(axis=(1, 2, 3, 4)))
    least = lengths[kept].min(axis=1, keepdims=True)
    shown = images[kept][:, None] + changes[kept] * (least / lengths[kept])
    shown = np.concatenate([images[kept][:, None], shown], axis=1)  # (n, 4, H, W, C)
    model = knn.fit(train.X.astype(np.float32))
    queries = shown.reshape(-1, train.X.shape[1]).astype(np.float32)
    found = np.asarray(knn.neighbors(model, queries, 2).indices).reshape(*shown.shape[:2], 2)
    itself = found[..., 0] == kept[:, None]
    nearest = train.y[np.where(itself, found[..., 1], found[..., 0])]
    others = knn.neighbors(knn.fit(train.X), None, 1, groups=train.y)  # of other classes
    outcome.arrays["judged_right"] = nearest == train.y[kept][:, None]
    outcome.arrays["judged_other_nearer"] = others.distances[kept, 0] < least.ravel() ** 2


def _map(outcome: Outcome, data: Data, key: jax.Array, settings: Settings) -> None:
    """Images laid out by L2 distance, and whether near ones share class or background."""
    side = min(settings.map_side, int(np.sqrt(len(data.train.labels))))
    images, y = data.train.images[: side * side], data.train.labels[: side * side]
    images = images.reshape(-1, *data.image_shape)
    groups = pictures.equal_groups(pictures.background(images), data.num_classes)
    apart = pictures.all_distances(images.reshape(len(images), -1), distances.l2)
    places = pictures.map_by_distance(apart, int(np.asarray(jax.random.key_data(key))[-1] >> 1))
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, : settings.num_near]
    outcome.arrays |= {
        "map_grid": pictures.on_grid(places),
        "map_images": images,
        "map_labels": y,
        "map_groups": groups,
        "map_bright": pictures.background(images),
        "pair_means": _pair_means(apart, y, groups),
    }
    for name, of in (("class", y), ("background", groups)):
        outcome.arrays[f"map_same_{name}"] = pictures.same_near(places, of, settings.num_near)
        outcome.arrays[f"l2_same_{name}"] = np.mean(of[nearest] == of[:, None], axis=1)
        outcome.numbers[f"chance_{name}"] = float(np.sum((np.bincount(of) / len(of)) ** 2))


def _pair_means(apart: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean distance (N, 2, 2) of each image to others of its class or not, its background or not.

    NaN where there are none.
    """
    same_class, same_background = y[:, None] == y, groups[:, None] == groups
    finite = np.isfinite(apart)  # not itself
    means = np.full((len(y), 2, 2), np.nan)
    for row, of_class in enumerate((same_class, ~same_class)):
        for column, of_background in enumerate((same_background, ~same_background)):
            mask = of_class & of_background & finite
            counts = mask.sum(axis=1)
            sums = np.sum(np.where(mask, apart, 0), axis=1)
            means[:, row, column] = np.where(counts, sums / np.maximum(counts, 1), np.nan)
    return means


def _altered(image: np.ndarray, low: float) -> np.ndarray:
    """Shifted, dimmed and covered copies (3, H, W, C), as far as the weakest change reaches."""
    changes = _changes(image, low)
    lengths = np.sqrt(np.sum(changes**2, axis=(1, 2, 3), keepdims=True))
    if not lengths.min():
        raise ValueError("an image that a shift, dimming or a box does not change cannot be shown")
    return image + changes * (lengths.min() / lengths)


def _changes(image: np.ndarray, low: float) -> np.ndarray:
    """What a shift, dimming and a box do to an image at their full strength, (3, H, W, C)."""
    height, width = image.shape[:2]
    covered = image.copy()
    covered[height // 4 : height // 2 + 1, width // 4 : -(-3 * width // 4)] = low
    return np.stack([np.roll(image, 1, axis=1), np.full_like(image, low), covered]) - image


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
