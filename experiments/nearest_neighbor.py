"""The nearest neighbour: slide 14's example, the slides' own class, accuracy, and time."""

import sys
import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.lab import choices, tuning
from experiments.lab.experiment import Classifier, Outcome, flag
from experiments.lab.gate import Data
from experiments.lab.parts import NOWHERE, Parts
from experiments.lab.slide_code import NearestNeighbor
from lincls import distances, knn

NUM_SHARED = 1000  # test images whose neighbours' classes are counted, the first ones
SLIDE_REPEATS = 2  # of a query of slide 16's class
WORKED_EXAMPLE = (  # slide 14: the test image and the training image
    (56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220),
    (10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112),
)


@dataclass(frozen=True)
class Settings:
    metrics: tuple[str, ...] = flag(("l1", "l2"), "distances", choices=tuple(choices.METRICS))
    ks: tuple[int, ...] = flag(
        (1,), "numbers of neighbours that vote, all tested and none chosen", low=1
    )
    num_neighbors: int = flag(10, "training images shown beside a test image", low=1, smoke=3)
    num_rows: int = flag(10, "test images shown, the first of each class", low=2)
    max_train: int = flag(60000, "training examples used, the first ones", low=8, smoke=300)
    max_test: int = flag(10000, "test examples used, the first ones", low=1, smoke=50)
    parts: tuple[int, ...] = flag(
        (8, 4, 2, 1), "time a query on 1/8, 1/4, ... of the data", low=1, smoke=(1,)
    )
    num_timed: int = flag(64, "queries in a timed call", low=1)
    repeats: int = flag(5, "timed calls, of which the fastest counts", low=1, smoke=1)
    slide_train: int = flag(
        5000, "training examples of slide 16's class, the first ones", low=8, smoke=300
    )
    slide_test: int = flag(300, "test examples it predicts, the first ones", low=2, smoke=20)
    slide_timed: int = flag(10, "its queries timed, one by one", low=2, smoke=2)
    slide_megabytes: int = flag(
        256, "the most that the training examples take, as floats, among which it is timed", low=1,
        smoke=1,
    )  # fmt: skip


def compute(data: Data, key: jax.Array, settings: Settings, parts: Parts = NOWHERE) -> Outcome:
    """Neighbours and accuracies on the test set; seconds per query against N."""
    train = tuning.rows(data.train, settings.max_train)
    test = tuning.rows(data.open_test("accuracy of every distance and k asked for; none is chosen"),
                       settings.max_test)  # fmt: skip
    chance = np.bincount(test.y).max() / len(test.y)
    outcome = Outcome({"chance": chance, "worked": _worked_example()})
    for name in settings.metrics:
        outcome.classifiers += _tested(
            outcome, data.num_classes, name, train, test, settings.ks, parts
        )
        _time_queries(outcome, name, train, test, settings)
    outcome.arrays |= _gallery(data, train, test, settings)
    part = tuning.Rows(train.X[: settings.slide_train], train.y[: settings.slide_train])
    asked = tuning.Rows(test.X[: settings.slide_test], test.y[: settings.slide_test])
    _beside_slide(outcome, part, asked, settings)
    _on_bytes(outcome, train, asked)
    _time_slide(outcome, train, asked, settings)
    return outcome


def _worked_example() -> dict[str, int]:
    """Slide 14's distance, by the library and by slide 16's line on uint8, which wraps around."""
    test, train = np.array(WORKED_EXAMPLE, np.uint8)
    ours = knn.neighbors(knn.fit(train[None], metric=distances.l1), test[None], 1).distances
    return {"ours": int(ours[0, 0]), "slide_16": int(np.sum(np.abs(train - test)))}


def _beside_slide(
    outcome: Outcome, train: tuning.Rows, test: tuning.Rows, settings: Settings
) -> None:
    """Slide 16's class on floats beside ours, by L1."""
    model, repeats = knn.fit(*train, metric=distances.l1), settings.repeats
    ours, outcome.seconds["ours, on slide 16's data"] = _predicted(
        lambda X: np.asarray(knn.predict(model, X, 1)), test.X, repeats
    )
    slide, floats = NearestNeighbor(), train.X.astype(np.float32)
    began = time.perf_counter()
    slide.train(floats, train.y)
    outcome.seconds["slide 16: training"] = time.perf_counter() - began
    theirs, outcome.seconds["slide 16: test"] = _predicted(slide.predict, test.X.astype(np.float32))
    outcome.numbers["slide"] = {"num_train": len(train.y), "same": int(np.sum(theirs == ours))}


def _on_bytes(outcome: Outcome, train: tuning.Rows, test: tuning.Rows) -> None:
    """Which test images L1 has right, and which slide 16's line has on the pixels as they are."""
    outcome.numbers["wraps"] = wraps = train.X.dtype == np.uint8
    right = [np.asarray(knn.predict(knn.fit(*train, metric=distances.l1), test.X, 1))]
    if wraps:
        right.append(train.y[[np.argmin(wrapped_distances(train.X, row)) for row in test.X]])
    outcome.arrays["slide_right"] = np.stack(right) == test.y


def wrapped_distances(Xtr: np.ndarray, x: np.ndarray) -> np.ndarray:
    """np.sum(np.abs(Xtr - x), axis=1), as on slide 16 and for its bytes, a cacheful at a time."""
    rows = max(1, 2**20 // Xtr.shape[1])
    return np.concatenate([
        np.sum(np.abs(Xtr[i : i + rows] - x), axis=1, dtype=np.uint32)
        for i in range(0, len(Xtr), rows)
    ])  # fmt: skip


def _predicted(
    predict: Any, X: np.ndarray, repeats: int = 0, clock: Any = time.perf_counter
) -> tuple[np.ndarray, float]:
    """What it predicts, and in how many seconds: the least of so many repetitions, if any."""
    times = []
    for _ in range(1 + repeats):
        began = clock()
        predicted = predict(X)
        times.append(clock() - began)
    return predicted, min(times[bool(repeats) :])


def _time_slide(
    outcome: Outcome, train: tuning.Rows, test: tuning.Rows, settings: Settings
) -> None:
    """Seconds (queries, parts) of slide 16's class for single queries, the least of repetitions.

    It runs on one thread, whose own clock other programs on the machine do not disturb.  Its
    arrays are so large that neither a cache nor the memory that is kept for the next call holds
    them: where small ones do and large ones do not, time grows faster than the work.
    """
    room = settings.slide_megabytes * 2**20 // (4 * train.X.shape[1])
    most = max(max(settings.parts), min(len(train.y), room))
    counts = sorted(most // part for part in settings.parts)
    X = train.X[:most].astype(np.float32)
    times = np.empty((settings.slide_timed, len(counts)))
    for query, row in enumerate(np.resize(test.X, (settings.slide_timed, X.shape[1]))):
        for place, count in enumerate(counts):
            slide = NearestNeighbor()
            slide.train(X[:count], train.y[:count])
            _, times[query, place] = _predicted(
                slide.predict, row[None].astype(np.float32), SLIDE_REPEATS, time.thread_time
            )
    outcome.numbers["slide_counts"] = counts
    outcome.arrays["slide_times"] = times


def _tested(
    outcome: Outcome, num_classes: int, name: str, train: tuning.Rows, test: tuning.Rows, ks: Any,
    parts: Parts,
) -> list[Classifier]:  # fmt: skip
    """One search by a distance, and from it the votes of every k; what that takes."""
    what = f"neighbours by {choices.NAMES[name]}"
    voted = tuning.neighbours(train, test.X, ks, choices.METRICS[name], num_classes, what, parts)
    for k in ks:
        outcome.seconds[f"training: {title_of(k, name)}"] = voted.training
        outcome.seconds[f"a test image: {title_of(k, name)}"] = voted.a_test_image
    return [
        Classifier(title_of(k, name), "nothing", int((row == test.y).sum()), len(row), train.X.size,
                   voted.memory)
        for k, row in zip(ks, voted.predictions, strict=True)
    ]  # fmt: skip


def title_of(k: int, name: str) -> str:
    return (
        f"nearest neighbour, {choices.NAMES[name]}"
        if k == 1
        else f"{k} nearest neighbours, {choices.NAMES[name]}"
    )


def _time_queries(
    outcome: Outcome, name: str, train: tuning.Rows, test: tuning.Rows, settings: Settings
) -> None:
    """Least seconds per query among a part of the training examples, for every part."""
    queries = np.resize(test.X, (settings.num_timed, test.X.shape[1]))
    for part in settings.parts:
        count = len(train.y) // part
        model = knn.fit(train.X[:count], metric=choices.METRICS[name])
        knn.neighbors(model, queries, 1)  # compiles
        times = []
        for _ in range(settings.repeats):
            began = time.perf_counter()
            knn.neighbors(model, queries, 1)
            times.append(time.perf_counter() - began)
        outcome.seconds[f"{name}: a query among {count}"] = min(times) / len(queries)


def _gallery(
    data: Data, train: tuning.Rows, test: tuning.Rows, settings: Settings
) -> dict[str, np.ndarray]:
    """The first test image of each class, its nearest training images, all labels.

    Beside them, of more test images, the share of the nearest ones that are of the class.
    """
    classes = range(min(settings.num_rows, data.num_classes))
    chosen = [int(np.argmax(test.y == label)) for label in classes if np.any(test.y == label)]
    metric = choices.METRICS[settings.metrics[-1]]
    model = knn.fit(train.X, metric=metric)
    found = knn.neighbors(model, test.X[chosen], settings.num_neighbors)
    many = knn.neighbors(model, test.X[:NUM_SHARED], settings.num_neighbors).indices
    return {
        "shares": np.mean(train.y[many] == test.y[: len(many), None], axis=1),
        "queries": test.X[chosen].reshape(-1, *data.image_shape),
        "query_labels": test.y[chosen],
        "neighbors": train.X[found.indices].reshape(*found.indices.shape, *data.image_shape),
        "neighbor_labels": train.y[found.indices],
    }


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
