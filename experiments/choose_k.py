"""Choosing k and the distance by cross-validation, one test of the choice, and the bad idea."""

import dataclasses
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.lab import choices, progress, tuning
from experiments.lab.experiment import Classifier, Outcome, flag
from experiments.lab.gate import Data
from experiments.lab.parts import NOWHERE, Arrays, Parts
from lincls import crossval, splits

MOST_TIMED = 1000  # test images


@dataclass(frozen=True)
class Settings:
    ks: tuple[int, ...] = flag(
        (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100), "numbers of neighbours tried", low=1, smoke=(1, 7)
    )
    metrics: tuple[str, ...] = flag(("l1", "l2"), "distances tried", choices=tuple(choices.METRICS))
    num_folds: int = flag(5, "folds, contiguous in file order", low=2)
    sizes: tuple[int, ...] = flag(
        (5000, 10000, 60000),
        "training examples cross-validated, the first ones; the choice is made on the most",
        low=10,
        smoke=(300,),
    )
    max_train: int = flag(60000, "training examples the chosen k votes with", low=10, smoke=300)
    max_test: int = flag(10000, "test examples used, the first ones", low=1, smoke=50)
    halvings: int = flag(500, "random halves of test images that are chosen on", low=2, smoke=20)
    parts: int = flag(10, "disjoint parts of the test images that are halved, each alone", low=2)


TITLE = "k nearest neighbours"


def fitted(settings: Settings, num_examples: int) -> Settings:
    """The default ks without those that are larger than the training folds; typed ones stay."""
    if settings.ks != Settings.ks:
        return settings
    least = min(num_examples, *settings.sizes)
    most = least - -(-least // settings.num_folds)
    return dataclasses.replace(settings, ks=tuple(k for k in settings.ks if k <= most))


def compute(data: Data, key: jax.Array, settings: Settings, parts: Parts = NOWHERE) -> Outcome:
    """Accuracy of every k and distance on every fold; a test of the best pair, then of all."""
    sizes = sorted({min(size, len(data.train.labels)) for size in settings.sizes})
    folded = [tuning.rows(data.train, size) for size in sizes]
    accuracies = [_cross_validated(each, settings, parts) for each in folded]
    chosen = [_chosen(of_size, settings) for of_size in accuracies]
    best = chosen[-1]["best"]
    timed, right = _all_tested(data, settings, best, parts)
    tested = right[settings.metrics.index(best["metric"]), settings.ks.index(best["k"])]
    numbers = {
        "sizes": sizes,
        "choices": chosen,
        "on_test": _pair(settings, int(right.sum(axis=-1).argmax())),
    }
    arrays = {
        name: np.stack([of_size[name] for of_size in accuracies]) for name in settings.metrics
    }
    folds = splits.folds(sizes[-1], settings.num_folds)
    arrays |= {"test_right": right, "folds": folds, "labels": data.train.labels[: sizes[-1]]}
    arrays |= _flatteries(key, right.reshape(-1, right.shape[-1]), settings)
    told = f"k = {best['k']}, {choices.NAMES[best['metric']]}"
    stored = min(settings.max_train, len(data.train.labels)) * int(np.prod(data.image_shape))
    row = Classifier(TITLE, told, int(tested.sum()), len(tested), stored, timed.memory)
    seconds = {f"training: {TITLE}": timed.training, f"a test image: {TITLE}": timed.a_test_image}
    return Outcome(numbers, arrays, [row], seconds)


def _cross_validated(
    folded: tuning.Rows, settings: Settings, parts: Parts
) -> dict[str, np.ndarray]:
    """Accuracies (ks, folds) by the name of the distance."""
    folds = splits.folds(len(folded.y), settings.num_folds)

    def of(name: str) -> Arrays:
        watch = progress.watcher(f"{len(folded.y):,} in folds by {choices.NAMES[name]}")
        metric = choices.METRICS[name]
        found = crossval.knn_accuracies(*folded, folds, settings.ks, metric, on_block=watch)
        return {"accuracies": np.asarray(found)}

    return {
        name: parts.kept(f"folds-{len(folded.y)}-{name}", partial(of, name))["accuracies"]
        for name in settings.metrics
    }


def _chosen(accuracies: dict[str, np.ndarray], settings: Settings) -> dict[str, Any]:
    """The best pair of a distance and a k, and the simplest within one standard error."""
    table = np.concatenate(list(accuracies.values()))
    settled = crossval.choose(table, complexity=[-k for _ in accuracies for k in settings.ks])
    return {
        "best": _pair(settings, settled.best),
        "one_standard_error": _pair(settings, settled.one_standard_error),
    }


def _pair(settings: Settings, row: int) -> dict[str, Any]:
    """Distance and k of a row of the table of all pairs."""
    metric, k = divmod(row, len(settings.ks))
    return {"metric": settings.metrics[metric], "k": settings.ks[k]}


def _all_tested(
    data: Data, settings: Settings, best: dict[str, Any], parts: Parts
) -> tuple[tuning.Voted, np.ndarray]:
    """What the choice takes, and whether each test image is right (metrics, ks, M).

    The choice's row is the test; all of them are looked at on purpose.  The choice is timed
    alone, on a part of the test images: a search for fewer neighbours is faster.
    """
    train = tuning.rows(data.train, settings.max_train)
    test = tuning.rows(data.open_test("accuracy of the chosen k and distance"), settings.max_test)
    data.open_test(
        "on purpose: what choosing on the test set would have claimed; nothing is chosen"
    )
    voted = [
        tuning.neighbours(
            train, test.X, settings.ks, choices.METRICS[name], data.num_classes,
            f"test by {choices.NAMES[name]}", parts,
        )
        for name in settings.metrics
    ]  # fmt: skip
    timed = tuning.neighbours(
        train, test.X[:MOST_TIMED], (best["k"],), choices.METRICS[best["metric"]], data.num_classes,
        "the choice, timed",
    )  # fmt: skip
    return timed, np.stack([each.predictions == test.y for each in voted])


def _flatteries(key: jax.Array, right: np.ndarray, settings: Settings) -> dict[str, np.ndarray]:
    """`_flattery` of all test images, (halvings,), and of each random part, (parts, halvings).

    Parts share no image, so what they tell are independent values; halvings of one set of
    images are not.
    """
    order = np.asarray(jax.random.permutation(key, right.shape[1]))
    parts = np.array_split(order, min(settings.parts, max(2, len(order) // 2)))
    of_parts = [_flattery(key, right[:, part], settings.halvings) for part in parts]
    return {
        "flattery": _flattery(key, right, settings.halvings),
        "flattery_of_parts": np.stack(of_parts),
    }


def _flattery(key: jax.Array, right: np.ndarray, halvings: int) -> np.ndarray:
    """By how much the best of all settings on a random half excels itself on the other half.

    One number for each halving, (halvings,).
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    size = right.shape[1] // 2
    orders = rng.permuted(np.tile(np.arange(2 * size), (halvings, 1)), axis=1)
    half = orders < size  # (halvings, 2 size): as many of the first images as of the others
    picked = right[:, : 2 * size].astype(np.float32)
    mine, others = picked @ half.T / size, picked @ ~half.T / size
    best = mine.argmax(axis=0)[None]
    gaps = np.take_along_axis(mine, best, 0) - np.take_along_axis(others, best, 0)
    return gaps[0]


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
