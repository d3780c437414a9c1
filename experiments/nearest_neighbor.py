"""The nearest neighbour: ten nearest images, accuracy with L1 and L2, and what a query costs."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes

from experiments.lab import progress, run, style, tuning, words
from experiments.lab.experiment import (
    AGREES,
    DIFFERS,
    OPEN,
    Classifier,
    Findings,
    Outcome,
    Plot,
)
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import distances, knn

SLIDES = "11-17"
QUESTION = "Is the most similar training image of the same class?"
CLAIM = (
    "Remember all training images; predict the label of the most similar one (11). The time per "
    "test image is linear in the number of training images: the opposite of what we like (17)."
)
SECONDS = 5
METRICS = {"l1": distances.l1, "l2": distances.l2, "cosine": distances.cosine}


@dataclass(frozen=True)
class Settings:
    metrics: tuple[str, ...] = flag(("l1", "l2"), "distances", choices=tuple(METRICS))
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


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Neighbours and accuracies on the test set; seconds per query against N."""
    train = tuning.rows(data.train, settings.max_train)
    test = tuning.rows(data.open_test("accuracy of every distance and k asked for; none is chosen"),
                       settings.max_test)  # fmt: skip
    outcome = Outcome({"num_train": len(train.y)})
    for name in settings.metrics:
        outcome.classifiers += _tested(outcome, data.num_classes, name, train, test, settings.ks)
        _time_queries(outcome, name, train, test, settings)
    outcome.arrays |= _gallery(data, train, test, settings)
    return outcome


def _tested(
    outcome: Outcome, num_classes: int, name: str, train: tuning.Rows, test: tuning.Rows, ks: Any
) -> list[Classifier]:
    """One search by a distance, and from it the votes of every k; times the training."""
    began = time.perf_counter()
    model = knn.fit(*train, metric=METRICS[name], num_classes=num_classes)
    jax.block_until_ready(model.points)
    outcome.seconds[f"{name}: training"] = time.perf_counter() - began
    watch = progress.watcher(f"neighbours by {words.NAMES[name]}")
    predictions = np.asarray(knn.predict_by_k(model, test.X, ks, on_block=watch))
    return [
        Classifier(_title(k, name), "nothing", int((row == test.y).sum()), len(row), train.X.size)
        for k, row in zip(ks, predictions, strict=True)
    ]


def _title(k: int, name: str) -> str:
    return (
        f"nearest neighbour, {words.NAMES[name]}"
        if k == 1
        else f"{k} nearest neighbours, {words.NAMES[name]}"
    )


def _time_queries(
    outcome: Outcome, name: str, train: tuning.Rows, test: tuning.Rows, settings: Settings
) -> None:
    """Least seconds per query among a part of the training examples, for every part."""
    queries = np.resize(test.X, (settings.num_timed, test.X.shape[1]))
    for part in settings.parts:
        count = len(train.y) // part
        model = knn.fit(train.X[:count], metric=METRICS[name])
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
    """The first test image of each class, its nearest training images, all labels."""
    classes = range(min(settings.num_rows, data.num_classes))
    chosen = [int(np.argmax(test.y == label)) for label in classes if np.any(test.y == label)]
    metric = METRICS[settings.metrics[-1]]
    found = knn.neighbors(knn.fit(train.X, metric=metric), test.X[chosen], settings.num_neighbors)
    return {
        "queries": test.X[chosen].reshape(-1, *data.image_shape),
        "query_labels": test.y[chosen],
        "neighbors": train.X[found.indices].reshape(*found.indices.shape, *data.image_shape),
        "neighbor_labels": train.y[found.indices],
    }


def findings(record: Record) -> Findings:
    """Accuracies, the share of neighbours of the right class, the growth of the time with N."""
    sentences = [
        f"{words.capital(tested.name)}: {words.right(tested)}." for tested in record.classifiers
    ]
    same = record.arrays["neighbor_labels"] == record.arrays["query_labels"][:, None]
    sentences.append(
        f"Of the {same.size} neighbours in the figure {same.sum()} are of the class of their "
        f"test image; of the {len(same)} very nearest ones, {same[:, 0].sum()} are."
    )
    name = record.settings["metrics"][-1]
    counts, times = _query_times(record, name)
    growth = float(np.polyfit(np.log(counts), np.log(times), 1)[0]) if len(counts) > 1 else 0.0
    sentences.append(
        f"By {words.NAMES[name]}, a query costs {words.duration(times[0])} among {counts[0]:,} "
        f"training images and {words.duration(times[-1])} among {counts[-1]:,}: the time grows "
        f"like N to the power of {growth:.2f}. Training, all of it, took "
        f"{words.duration(record.seconds[f'{name}: training'])}."
    )
    return Findings(sentences, _verdict(counts, growth))


def _verdict(counts: np.ndarray, growth: float) -> str:
    """Linear means a power near 1; on a few thousand images a fixed cost hides it."""
    if 0.75 <= growth <= 1.25:
        return AGREES
    return DIFFERS if counts[-1] >= 20000 else OPEN


def _query_times(record: Record, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of training examples, rising, and seconds per query."""
    prefix = f"{name}: a query among "
    pairs = sorted(
        (int(entry.removeprefix(prefix)), seconds)
        for entry, seconds in record.seconds.items()
        if entry.startswith(prefix)
    )
    counts, times = zip(*pairs, strict=True)
    return np.array(counts), np.array(times)


def draw(record: Record) -> Iterator[Plot]:
    """Test images with their nearest training images; time per query against N."""
    yield _draw_gallery(record)
    yield _draw_times(record)


def _draw_gallery(record: Record) -> Plot:
    arrays, name = record.arrays, words.NAMES[record.settings["metrics"][-1]]
    same = arrays["neighbor_labels"] == arrays["query_labels"][:, None]
    rows, columns = same.shape
    title = f"{same.sum()} of {same.size} nearest training images are of the right class"
    images = np.concatenate([arrays["queries"][:, None], arrays["neighbors"]], axis=1)
    names = [record.class_names[label] for label in arrays["query_labels"]]
    width = 6.9 - 0.09 * max(map(len, names))
    height = width * rows / (columns + 1) * record.image_shape[0] / record.image_shape[1]
    figure, axes = style.canvas(height=height, title=title)
    outlines = style.tiles(axes, style.pixels(images, record.data["levels"]), names)
    for row, marks in zip(outlines, same, strict=True):
        for outline, right in zip(row[1:], marks, strict=True):
            style.frame(outline, style.RIGHT if right else style.WRONG, dashed=not right)
    return Plot(
        "neighbors",
        figure,
        f"First column: the first test image of each class. Then its {columns} nearest training "
        f"images by {name}, the nearest first. Green frame: the same class. Red, dashed frame: "
        "another class.",
        f"A grid of small images: {rows} test images, each followed by its {columns} nearest "
        f"training images in green (same class) or dashed red (other class) frames. {title}.",
    )


def _draw_times(record: Record) -> Plot:
    metrics = record.settings["metrics"]
    counts, times = _query_times(record, metrics[-1])
    title = (
        f"{counts[-1] / counts[0]:.0f} times the training images make a query "
        f"{times[-1] / times[0]:.1f} times as slow ({words.NAMES[metrics[-1]]})"
    )
    figure, axes = style.canvas(height=3.2, title=title)
    _draw_lines(axes, record)
    return Plot(
        "query_time",
        figure,
        f"The fastest of {record.settings['repeats']} calls of {record.settings['num_timed']} "
        "queries each, on logarithmic axes: a line as steep as the dotted one is time in "
        "proportion to N. The fixed cost of a call shows on small training sets.",
        "Line chart of the time per query against the number of training images for "
        f"{' and '.join(words.NAMES[name] for name in metrics)}, with a dotted line of slope one. "
        f"{title}.",
    )


def _draw_lines(axes: Axes, record: Record) -> None:
    """Seconds per query of each distance, and a line in proportion to N through the last."""
    for name, marker in zip(record.settings["metrics"], style.MARKERS, strict=False):
        counts, times = _query_times(record, name)
        color, label = style.COLORS[name], words.NAMES[name]
        axes.plot(counts, times, marker=marker, color=color, label=label)
    line = times[-1] * counts / counts[-1]
    axes.plot(counts, line, ":", color=style.FAINT, label="in proportion to N", zorder=1)
    axes.set(xscale="log", yscale="log", xlabel="training images N", ylabel="time per query")
    style.ticks(axes, counts)
    axes.yaxis.set_major_formatter(lambda seconds, _: words.duration(seconds))
    axes.yaxis.set_minor_formatter("")
    axes.legend()


if __name__ == "__main__":
    sys.exit(run.main(__file__))
