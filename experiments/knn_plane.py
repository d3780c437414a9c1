"""kNN in the plane: regions and ties for several k, and accuracy on its own training data."""

import sys
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from scipy import ndimage

from experiments.lab import tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import knn
from lincls.data import toy


@dataclass(frozen=True)
class Settings:
    ks: tuple[int, ...] = flag((1, 5), "numbers of neighbours", low=1)
    num_points: int = flag(150, "points in the plane, of three classes", low=10)
    noise: float = flag(0.4, "blur of the classes", low=0)
    draws: int = flag(10, "times that such points are drawn, the first ones shown", low=2, smoke=2)
    resolution: int = flag(180, "places along an axis that are classified", low=2, smoke=60)
    max_train: int = flag(2000, "training images, the first ones", low=10, smoke=300)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Regions and ties among points; accuracy on what the neighbours are, and without itself."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    draws = [_drawn(rng, settings) for _ in range(settings.draws)]
    points, reach = draws[0], 1.05 * max(float(np.abs(rows.X).max()) for rows in draws)
    ticks = np.linspace(-reach, reach, settings.resolution, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    regions, ties = zip(*(_regions(rows, grid, settings.ks) for rows in draws), strict=True)
    numbers = {
        "reach": reach,
        "islands": [[_islands(region) for region in of_draw] for of_draw in regions],
        "ties": ties[0].mean(axis=(1, 2)),
        "points": _on_itself(points, 3, settings.ks),
        "images": _on_itself(
            tuning.rows(data.train, settings.max_train), data.num_classes, settings.ks
        ),
    }
    arrays = {"points": points.X, "labels": points.y, "regions": regions[0], "ties": ties[0]}
    return Outcome(numbers, arrays)


def _drawn(rng: np.random.Generator, settings: Settings) -> tuning.Rows:
    """Points in the plane, of three classes."""
    return tuning.Rows(
        *toy("blobs", rng, num_train=settings.num_points, noise=settings.noise).train
    )


def _regions(
    train: tuning.Rows, grid: np.ndarray, ks: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The label, and whether votes tie, at the places of a grid (R, R, 2): (len(ks), R, R) each."""
    voters, _ = _voters(train, grid.reshape(-1, 2), max(ks))
    shape = (len(ks), *grid.shape[:2])
    labels = np.reshape(knn.predictions_by_k(voters, ks, 3), shape)
    return labels, knn.ties_by_k(voters, ks, 3).reshape(shape)


def _voters(train: tuning.Rows, queries: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and indices (M, k) of the nearest training examples."""
    found = knn.neighbors(knn.fit(train.X), queries, k)
    return train.y[found.indices], np.asarray(found.indices)


def _islands(region: np.ndarray) -> int:
    """How many connected pieces the classes' regions fall into."""
    return sum(ndimage.label(region == label)[1] for label in np.unique(region))


def _on_itself(train: tuning.Rows, num_classes: int, ks: tuple[int, ...]) -> dict[str, Any]:
    """Training examples right for each k, with their own vote and without it."""
    voters, indices = _voters(train, train.X, max(ks) + 1)
    others = np.where(indices == np.arange(len(train.y))[:, None], -1, voters)
    with_own = knn.predictions_by_k(voters, ks, num_classes)
    without = knn.predictions_by_k(others, [k + 1 for k in ks], num_classes)
    return {
        "total": len(train.y),
        "own": np.sum(np.asarray(with_own) == train.y, axis=1),
        "others": np.sum(np.asarray(without) == train.y, axis=1),
    }


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
