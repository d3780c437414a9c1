"""The nearest neighbour: ten nearest images, accuracy with L1 and L2, and what a query costs."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from experiments.lab import progress, run, style, tuning, words
from experiments.lab.experiment import (
    AGREES,
    DIFFERS,
    OPEN,
    Classifier,
    Findings,
    Outcome,
    Plot,
    Table,
)
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import distances, knn

SLIDES = "11-17"
QUESTION = "Is the most similar training image of the same class?"
CLAIM = (
    "Remember all training images; predict the label of the most similar one (11). Its time per "
    "test image is linear in the number of training images: the opposite of what we like (17)."
)
SECONDS = 6
METRICS = {"l1": distances.l1, "l2": distances.l2}
WORKED_EXAMPLE = (  # slide 14: the test image and the training image
    (56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220),
    (10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112),
)


@dataclass(frozen=True)
class Settings:
    num_neighbors: int = flag(10, "training images shown beside a test image", low=1, smoke=3)
    num_rows: int = flag(10, "test images shown, the first of each class", low=2)
    max_train: int = flag(50000, "training examples used, the first ones", low=8, smoke=300)
    max_test: int = flag(10000, "test examples used, the first ones", low=1, smoke=50)
    parts: tuple[int, ...] = flag((8, 4, 2, 1), "time a query on 1/8, 1/4, ... of the data", low=1)
    num_timed: int = flag(64, "queries in a timed call", low=1)
    repeats: int = flag(5, "timed calls, of which the median counts", low=1, smoke=1)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Neighbours and accuracies on the test set; seconds per query against N."""
    train = tuning.rows(data.train, settings.max_train)
    split = data.open_test("accuracy of the one nearest neighbour by L1 and by L2")
    test, outcome = tuning.rows(split, settings.max_test), Outcome({"worked": _worked_example()})
    for name, metric in METRICS.items():
        began = time.perf_counter()
        model = knn.fit(*train, metric=metric, num_classes=data.num_classes)
        jax.block_until_ready(model.points)
        outcome.seconds[f"{name}: training"] = time.perf_counter() - began
        watch = progress.watcher(f"neighbours by {name.upper()}")
        right = np.asarray(knn.predict(model, test.X, 1, on_block=watch)) == test.y
        outcome.classifiers.append(
            Classifier(
                f"nearest neighbour, {name.upper()}",
                "nothing",
                int(right.sum()),
                len(right),
                train.X.size,
            )
        )
        _time_queries(outcome, name, train, test, settings)
    outcome.arrays |= _gallery(data, train, test, settings)
    return outcome


def _worked_example() -> dict[str, int]:
    """Slide 14's distance, by the library and by slide 16's line on uint8, which wraps around."""
    test, train = np.array(WORKED_EXAMPLE, np.uint8)
    ours = knn.neighbors(knn.fit(train[None], metric=distances.l1), test[None], 1).distances
    return {"ours": int(ours[0, 0]), "slide_16": int(np.sum(np.abs(train - test)))}


def _time_queries(
    outcome: Outcome, name: str, train: tuning.Rows, test: tuning.Rows, settings: Settings
) -> None:
    """Median seconds per query among a part of the training examples, for every part."""
    queries = np.resize(test.X, (settings.num_timed, test.X.shape[1]))
    for part in settings.parts:
        count = len(train.y) // part
        model = knn.fit(train.X[:count], metric=METRICS[name])
        search = partial(knn.neighbors, model, queries, 1)
        search()  # compiles
        times = []
        for _ in range(settings.repeats):
            began = time.perf_counter()
            search()
            times.append(time.perf_counter() - began)
        outcome.seconds[f"{name}: a query among {count}"] = float(np.median(times)) / len(queries)


def _gallery(
    data: Data, train: tuning.Rows, test: tuning.Rows, settings: Settings
) -> dict[str, np.ndarray]:
    """The first test image of each class, its nearest training images by L2, all labels."""
    classes = range(min(settings.num_rows, data.num_classes))
    chosen = [int(np.argmax(test.y == label)) for label in classes if np.any(test.y == label)]
    found = knn.neighbors(knn.fit(train.X), test.X[chosen], settings.num_neighbors)
    shape = data.train.images.shape[1:]
    return {
        "queries": test.X[chosen].reshape(-1, *shape),
        "query_labels": test.y[chosen],
        "neighbors": train.X[found.indices].reshape(*found.indices.shape, *shape),
        "neighbor_labels": train.y[found.indices],
    }


def findings(record: Record) -> Findings:
    """Accuracies, the share of neighbours of the right class, the growth of the time with N."""
    sentences = [
        f"{tested.name}: {words.share(tested.correct, tested.total)} of "
        f"{tested.total:,} test images right."
        for tested in record.classifiers
    ]
    same = record.arrays["neighbor_labels"] == record.arrays["query_labels"][:, None]
    sentences.append(
        f"Of the {same.size} neighbours in the figure {same.sum()} are of the class of their "
        f"test image; {same[:, 0].sum()} of {len(same)} nearest ones are."
    )
    counts, times = _query_times(record, "l2")
    growth = np.polyfit(np.log(counts), np.log(times), 1)[0] if len(counts) > 1 else 0.0
    sentences.append(
        f"With L2, {counts[0]:,} training images cost {words.duration(times[0])} a query and "
        f"{counts[-1]:,} cost {words.duration(times[-1])}: time grows like N to the "
        f"{growth:.2f}. Training took {words.duration(record.seconds['l2: training'])}."
    )
    worked = record.numbers["worked"]
    rows = [
        ("lincls.distances.l1", str(worked["ours"])),
        ("np.abs(Xtr - x) as slide 16 has it, on uint8", str(worked["slide_16"])),
    ]
    table = Table("Slide 14's example, whose distance is 456", ("by", "L1 distance"), rows)
    return Findings(sentences, _verdict(counts, float(growth)), (table,))


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
    queries, neighbors = record.arrays["queries"], record.arrays["neighbors"]
    same = record.arrays["neighbor_labels"] == record.arrays["query_labels"][:, None]
    title = f"{same.sum()} of {same.size} nearest training images are of the right class"
    rows, columns = same.shape[0], same.shape[1] + 1
    figure, axes = style.canvas(rows, columns, height=0.6 * rows, title=title, squeeze=False)
    for row, query, label in zip(axes, queries, record.arrays["query_labels"], strict=True):
        style.picture(row[0], query, record.data["levels"])
        name = record.class_names[label]
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", size=9)
    for row, images, marks in zip(axes, neighbors, same, strict=True):
        for place, image, right in zip(row[1:], images, marks, strict=True):
            style.picture(place, image, record.data["levels"])
            style.frame(place, style.RIGHT if right else style.WRONG, dashed=not right)
    return Plot(
        "neighbors",
        figure,
        "Left, the first test image of each class; then its nearest training images by L2, the "
        "nearest first. Green frame: same class. Red, dashed frame: another class.",
        f"A grid of small images: {rows} test images, each followed by its {columns - 1} nearest "
        f"training images in green (same class) or dashed red (other class) frames. {title}.",
    )


def _draw_times(record: Record) -> Plot:
    counts, times = _query_times(record, "l2")
    title = (
        f"{counts[-1] / counts[0]:.0f} times the training images, "
        f"{times[-1] / times[0]:.1f} times the seconds of a query (L2)"
    )
    figure, axes = style.canvas(height=3.2, title=title)
    for name, marker in zip(METRICS, style.MARKERS, strict=False):
        counts, times = _query_times(record, name)
        axes.plot(counts, 1000 * times, marker=marker, color=style.COLORS[name], label=name.upper())
    line = 1000 * times[-1] * counts / counts[-1]
    axes.plot(counts, line, ":", color=style.FAINT, label="in proportion to N", zorder=1)
    axes.set(xscale="log", yscale="log", xlabel="training images N", ylabel="time per query (ms)")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.legend()
    return Plot(
        "query_time",
        figure,
        f"Median of {record.settings['repeats']} calls of {record.settings['num_timed']} queries "
        "each, on logarithmic axes; a call has a fixed cost that small training sets show.",
        "Line chart of milliseconds per query against the number of training images for L1 and "
        f"L2, with a dotted line of slope one. {title}.",
    )


if __name__ == "__main__":
    sys.exit(run.main(__file__))
