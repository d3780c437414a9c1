"""The nearest neighbour: slide 14's example, the slides' own class, accuracy, and time."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes

from experiments.lab import intervals, run, style, tuning, words
from experiments.lab.experiment import (
    AGREES,
    DIFFERS,
    OPEN,
    Answer,
    Classifier,
    Findings,
    Outcome,
    Plot,
    Printed,
)
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from experiments.lab.slide_code import NearestNeighbor
from lincls import distances, evaluation, knn

SLIDES = "10-17"
QUESTION = "Is the most similar training image of the same class?"
CLAIM = (
    "Train, then predict labels of withheld images (10): remember all training images, predict "
    "the label of the most similar one (11). The L1 distance of the example is 456 (14). The time "
    "per test image is linear in the number of training images: the opposite of what we like (17)."
)
SECONDS = 6
NUM_SHARED = 1000  # test images whose neighbours' classes are counted, the first ones
SLIDE_REPEATS = 2  # of a query of slide 16's class
LINEAR = (0.75, 1.25)  # powers of N that are called linear
WORKED_EXAMPLE = (  # slide 14: the test image and the training image
    (56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220),
    (10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112),
)
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
    slide_train: int = flag(
        5000, "training examples of slide 16's class, the first ones", low=8, smoke=300
    )
    slide_test: int = flag(300, "test examples it predicts, the first ones", low=2, smoke=20)
    slide_timed: int = flag(10, "its queries timed, one by one", low=2, smoke=2)
    slide_megabytes: int = flag(
        256, "the most that the training examples take, as floats, among which it is timed", low=1,
        smoke=1,
    )  # fmt: skip


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Neighbours and accuracies on the test set; seconds per query against N."""
    train = tuning.rows(data.train, settings.max_train)
    test = tuning.rows(data.open_test("accuracy of every distance and k asked for; none is chosen"),
                       settings.max_test)  # fmt: skip
    chance = np.bincount(test.y).max() / len(test.y)
    outcome = Outcome({"chance": chance, "worked": _worked_example()})
    for name in settings.metrics:
        outcome.classifiers += _tested(outcome, data.num_classes, name, train, test, settings.ks)
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
    outcome: Outcome, num_classes: int, name: str, train: tuning.Rows, test: tuning.Rows, ks: Any
) -> list[Classifier]:
    """One search by a distance, and from it the votes of every k; what that takes."""
    what = f"neighbours by {words.NAMES[name]}"
    voted = tuning.neighbours(train, test.X, ks, METRICS[name], num_classes, what)
    for k in ks:
        outcome.seconds[f"training: {_title(k, name)}"] = voted.training
        outcome.seconds[f"a test image: {_title(k, name)}"] = voted.a_test_image
    return [
        Classifier(_title(k, name), "nothing", int((row == test.y).sum()), len(row), train.X.size,
                   voted.memory)
        for k, row in zip(ks, voted.predictions, strict=True)
    ]  # fmt: skip


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
    """The first test image of each class, its nearest training images, all labels.

    Beside them, of more test images, the share of the nearest ones that are of the class.
    """
    classes = range(min(settings.num_rows, data.num_classes))
    chosen = [int(np.argmax(test.y == label)) for label in classes if np.any(test.y == label)]
    metric = METRICS[settings.metrics[-1]]
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


def findings(record: Record) -> Findings:
    """The example, accuracies, the slide's class beside ours, the growth of the time with N."""
    sentences = [
        f"{words.capital(tested.name)}: {words.right(tested)}." for tested in record.classifiers
    ]
    same = record.arrays["neighbor_labels"] == record.arrays["query_labels"][:, None]
    shares = record.arrays["shares"]
    sentences.append(
        f"Of the {same.size} neighbours in the figure {same.sum()} are of the class of their "
        f"test image; of the {len(same)} very nearest ones, {same[:, 0].sum()} are. Of the "
        f"{record.settings['num_neighbors']} nearest of {len(shares):,} test images "
        f"{shares.mean():.1%} are (95% interval {words.between(intervals.of_mean(shares))}%)."
    )
    sentences += [*_about_slide(record), _about_time(record), _about_ours(record)]
    answers = _answers(record)
    # The claim is not about the code of slide 16, whose trap has a row of its own.
    verdict = intervals.together(one.verdict for row, one in answers.items() if row != "15-16")
    return Findings(sentences, verdict, (), _printed(record), answers)


def _answers(record: Record) -> dict[str, Answer]:
    """Prediction against chance, the neighbours shown, the example, the code, the time."""
    chance, printed = record.numbers["chance"], _printed(record)
    first = record.classifiers[0]
    ends = evaluation.wilson_interval(first.correct, first.total)
    above = intervals.above_zero(evaluation.Interval(ends.low - chance, ends.high - chance))
    told = f"{words.between(ends)}% right by {words.NAMES[record.settings['metrics'][0]]}"
    shares = record.arrays["shares"]
    near = intervals.above_zero(intervals.of_mean(shares - chance))
    return {
        "10": Answer(above, f"trained on {record.data['num_train']:,} images; of the withheld ones "
                            f"{told}; naming one class {chance:.1%}"),
        "11": Answer(above, f"{told}; naming one class {chance:.1%}"),
        "13": Answer(near, f"of the nearest of {len(shares):,} test images "
                           f"{words.between(intervals.of_mean(shares))}% are of the class; by "
                           f"chance {chance:.1%}"),
        "14": Answer(words.agreement(printed), words.compared(printed)),
        "15-16": _of_slide(record),
        "17": _of_time(record),
    }  # fmt: skip


def _of_time(record: Record) -> Answer:
    """Whether the time of slide 16's class grows linearly with N."""
    counts, growth = record.numbers["slide_counts"], _growth(record)
    if growth is None:
        return Answer(OPEN, f"timed among {counts[0]:,} training images alone")
    return Answer(
        intervals.inside(growth, *LINEAR),
        f"from {counts[-2]:,} to {counts[-1]:,} images time grows like N to the power of "
        f"{growth.low:.2f} to {growth.high:.2f}",
    )


def _of_slide(record: Record) -> Answer:
    """Slide 16's code: as ours on floats; on bytes, the share that its trap costs."""
    found, right = record.numbers["slide"], record.arrays["slide_right"].astype(float)
    asked = right.shape[1]
    told = f"on floats the same label as ours for {found['same']} of {asked}"
    if found["same"] < asked or not record.numbers["wraps"]:
        return Answer(AGREES if found["same"] == asked else DIFFERS, told)
    lost = intervals.of_mean(right[0] - right[1])
    verdict = DIFFERS if lost.low > 0 else OPEN
    return Answer(verdict, f"{told}; on uint8 it loses {words.between(lost)} points")


def _about_slide(record: Record) -> list[str]:
    """Slide 16's class: the same predictions, its speed, and what it makes of bare pixels."""
    found, right = record.numbers["slide"], record.arrays["slide_right"].astype(float)
    asked = right.shape[1]
    slow, fast = (
        record.seconds[name] / asked for name in ("slide 16: test", "ours, on slide 16's data")
    )
    told = [
        f"Slide 16's own class, on {asked} test images with {found['num_train']:,} training "
        f"images as floats, predicts the same label as ours for {found['same']}; a query takes "
        f"it {words.duration(slow)}, ours {words.duration(fast)}."
    ]
    if record.numbers["wraps"]:
        lost = intervals.of_mean(right[0] - right[1])
        num_train = min(record.data["num_train"], record.settings["max_train"])
        told.append(
            f"On the uint8 pixels themselves its differences wrap around: among {num_train:,} "
            f"training images {right[1].mean():.1%} of them are right instead of "
            f"{right[0].mean():.1%} (95% interval of the loss {words.between(lost)} points)."
        )
    return told


def _growth(record: Record) -> evaluation.Interval | None:
    """The interval of the power of N with which the time of slide 16's class grows.

    It is taken between the two greatest N, where the fixed cost of a call counts least.
    """
    counts, times = record.numbers["slide_counts"], record.arrays["slide_times"]
    if len(counts) < 2:
        return None
    powers = np.log(times[:, -1] / times[:, -2]) / np.log(counts[-1] / counts[-2])
    return intervals.of_mean(powers)


def _about_time(record: Record) -> str:
    """How the time of slide 16's class grows with N."""
    counts, growth = record.numbers["slide_counts"], _growth(record)
    training = words.duration(record.seconds["slide 16: training"])
    if growth is None:
        return f"Slide 16's class trains in {training}: it remembers."
    return (
        f"Slide 16's class trains in {training}; from "
        f"{counts[-2]:,} to {counts[-1]:,} training images the time of a query grows like N to the "
        f"power of {growth.low:.2f} to {growth.high:.2f} (95% interval over "
        f"{len(record.arrays['slide_times'])} queries; linear is {LINEAR[0]} to {LINEAR[1]})."
    )


def _our_growth(record: Record) -> float:
    """The power of N with which the time of our search grows, by the last distance."""
    counts, times = _query_times(record, record.settings["metrics"][-1])
    return float(np.polyfit(np.log(counts), np.log(times), 1)[0]) if len(counts) > 1 else 0.0


def _about_ours(record: Record) -> str:
    """How ours grows, which need not look at every image, and training against testing."""
    name = record.settings["metrics"][-1]
    counts, times = _query_times(record, name)
    title = _title(record.settings["ks"][0], name)
    training, test = (record.seconds[f"{what}: {title}"] for what in ("training", "a test image"))
    return (
        f"Ours, by {words.NAMES[name]}, rules most images out by bounds where that pays: "
        f"{words.duration(times[0])} a query among {counts[0]:,} and "
        f"{words.duration(times[-1])} among {counts[-1]:,}, N to the power of "
        f"{_our_growth(record):.2f}. It "
        f"trained in {words.duration(training)} and labels a test image in {words.duration(test)}."
    )


def _printed(record: Record) -> tuple[Printed, ...]:
    worked = record.numbers["worked"]
    return (Printed("14", "L1 distance", "456", worked["ours"]),)


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
    """Slide 14's example; test images with their nearest training images; time against N."""
    yield _draw_example(record)
    yield _draw_gallery(record)
    yield _draw_times(record)


def _draw_example(record: Record) -> Plot:
    """Slide 14's subtraction, and what uint8 makes of it."""
    test, train = np.array(WORKED_EXAMPLE).reshape(2, 4, 4)
    worked = record.numbers["worked"]
    apart, bare = np.abs(test - train), train.astype(np.uint8) - test.astype(np.uint8)
    title = f"Slide 14's distance is {worked['ours']}; in uint8 it becomes {worked['slide_16']}"
    parts = {"test image": test, "training image": train,
             f"|difference|, sum {worked['ours']}": apart,
             f"in uint8, sum {worked['slide_16']}": bare}  # fmt: skip
    figure, axes = style.canvas(1, len(parts), height=2.0, title=title)
    for place, (name, values) in zip(axes, parts.items(), strict=True):
        place.imshow(values, cmap="Greys_r", vmin=0, vmax=255, alpha=0.35)
        for (row, column), value in np.ndenumerate(values):
            wrong = values is bare and value != apart[row, column]
            color = style.WRONG if wrong else style.INK
            place.text(column, row, f"{value}", ha="center", va="center", size=9, color=color)
        place.set_title(name, size=9)
        place.grid(False)
        place.spines[:].set_visible(False)
        place.set(xticks=[], yticks=[])
    return Plot(
        "example",
        figure,
        "The two images of slide 14, the absolute differences, and slide 16's "
        "np.abs(Xtr - x) on unsigned bytes: where the training pixel is the smaller, 256 is "
        "added (red).",
        f"Four grids of 4 by 4 numbers. {title}.",
    )


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
    growth = _growth(record)
    title = f"The time of a query among {record.numbers['slide_counts'][-1]:,} training images"
    if growth is not None:
        title = (
            "The time of a query grows like N to the power of "
            f"{(growth.low + growth.high) / 2:.2f} in slide 16's class, of "
            f"{_our_growth(record):.2f} in ours (by {words.NAMES[metrics[-1]]})"
        )
    figure, axes = style.canvas(height=3.2, title=title)
    _draw_lines(axes, record)
    style.legend(figure)
    return Plot(
        "query_time",
        figure,
        f"Ours: the fastest of {record.settings['repeats']} calls of "
        f"{record.settings['num_timed']} queries each. Slide 16's class: the median of "
        f"{len(record.arrays['slide_times'])} queries, each the least of {SLIDE_REPEATS}, in time "
        "of its one thread; bars from the least to the greatest of the queries. On logarithmic "
        "axes a line as steep as the dotted one is time in proportion to N; the fixed cost of a "
        "call shows on small training sets.",
        "Line chart of the time per query against the number of training images for "
        f"{' and '.join(words.NAMES[name] for name in metrics)} and for slide 16's class, with a "
        "dotted line of slope one. "
        f"{title}.",
    )


def _draw_lines(axes: Axes, record: Record) -> None:
    """Seconds per query of each distance, and a line in proportion to N through the last."""
    for name, marker in zip(record.settings["metrics"], style.MARKERS, strict=False):
        counts, times = _query_times(record, name)
        color, label = style.COLORS[name], f"ours, {words.NAMES[name]}"
        axes.plot(counts, times, marker=marker, color=color, label=label)
    parts, of_slide = record.numbers["slide_counts"], record.arrays["slide_times"]
    slide = np.median(of_slide, axis=0)
    reach = np.abs(np.stack([of_slide.min(axis=0), of_slide.max(axis=0)]) - slide)
    axes.errorbar(parts, slide, reach, color=style.INK, capsize=3, ls="none")
    axes.plot(parts, slide, marker="^", color=style.INK, label="slide 16, L1")
    line = slide[-1] * np.array(parts) / parts[-1]
    axes.plot(parts, line, ":", color=style.FAINT, label="in proportion to N", zorder=1)
    axes.set(xscale="log", yscale="log", xlabel="training images N", ylabel="time per query")
    style.ticks(axes, _spaced([*counts.tolist(), *parts]))
    axes.yaxis.set_major_formatter(lambda seconds, _: words.duration(seconds))
    axes.yaxis.set_minor_formatter("")


def _spaced(counts: list[int]) -> list[int]:
    """Those that are at least 1.8 times the one before, so that their ticks have room."""
    kept: list[int] = []
    for count in sorted(counts):
        if not kept or count >= 1.8 * kept[-1]:
            kept.append(count)
    return kept


if __name__ == "__main__":
    sys.exit(run.main(__file__))
