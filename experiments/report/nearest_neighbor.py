"""What `experiments.nearest_neighbor` found, told and drawn."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from experiments.lab import choices
from experiments.lab.record import Record
from experiments.nearest_neighbor import SLIDE_REPEATS, WORKED_EXAMPLE
from experiments.report import examples, intervals, operations, style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    MISPRINT,
    Answer,
    Findings,
    Plot,
    Printed,
    Table,
)
from lincls.evaluation import Interval, wilson_interval

SLIDES = "10-17"
QUESTION = "Is the most similar training image of the same class?"
CLAIM = (
    "A classifier trains, then predicts the labels of withheld images (10). Nearest neighbour "
    "remembers all training images and predicts the label of the most similar one (11). The L1 "
    "distance of the example is 456 (14). The time per test image is linear in the number of "
    "training images N, the opposite of what we want (17)."
)
SECONDS = 6


def findings(record: Record) -> Findings:
    """Accuracy, the work of a query, and what uint8 does to the slides' loop."""
    first, work = record.classifiers[0], _work(record)
    told = [
        f"The test accuracy is {words.accuracy(first)} with {first.name}.",
        f"The slides' loop makes {_of_work(record, work).because}.",
    ]
    if record.numbers["wraps"]:
        lost = f"{words.between(_lost(record))} points of accuracy (95 % CI)"
        told.append(f"On uint8 its differences wrap around, which costs {lost}.")
    answers = _answers(record) | {"17": _of_work(record, work)}
    return Findings(told, answers, (_times(record, work),), _printed(record))


def _work(record: Record) -> list[int]:
    """Subtractions of the slides' loop for one query, for each N that was timed."""
    features = int(np.prod(record.image_shape))
    return [operations.subtractions(count, features) for count in record.numbers["slide_counts"]]


def _of_work(record: Record, work: Sequence[int]) -> Answer:
    """Whether the subtractions of a query are N x D, which is linear in N."""
    counts = record.numbers["slide_counts"]
    linear = list(work) == [count * int(np.prod(record.image_shape)) for count in counts]
    noun = examples.noun(record)
    among = f"{work[-1]:,} subtractions per query among {counts[-1]:,} training {noun}s"
    told = "exactly N × D, linear in N" if linear else "not N × D"
    return Answer(AGREES if linear else DIFFERS, f"{among}: {told}")


def _answers(record: Record) -> dict[str, Answer]:
    """Accuracy against chance, the neighbours shown, the example, the code."""
    chance, printed, shares = record.numbers["chance"], _printed(record), record.arrays["shares"]
    first, near = record.classifiers[0], intervals.of_shares(shares)
    noun = examples.noun(record)
    naming = f"the most frequent class alone: {words.percent(chance)}"
    tested = Answer(
        _above(wilson_interval(first.correct, first.total), chance),
        f"{first.name}: {words.accuracy(first)} of {first.total:,} test {noun}s; {naming}",
    )
    told = (
        f"{words.with_ci(shares.mean(), near)} of the {record.settings['num_neighbors']} nearest "
        f"share the class; {naming}"
    )
    return {
        "10": tested,
        "11": tested,
        "13": Answer(_above(near, chance), told),
        "14": Answer(words.agreement(printed), words.compared(printed)),
        "15-16": _of_slide(record),
    }


def _above(interval: Interval, chance: float) -> str:
    return intervals.above_zero(Interval(interval.low - chance, interval.high - chance))


def _of_slide(record: Record) -> Answer:
    """Whether slide 16's code is correct on floats; for uint8 its line is a misprint."""
    same, asked = record.numbers["slide"]["same"], record.arrays["slide_right"].shape[1]
    told = f"on floats the same label as lincls for {same} of {asked} test {examples.noun(record)}s"
    if same < asked or not record.numbers["wraps"]:
        return Answer(AGREES if same == asked else DIFFERS, told)
    return Answer(MISPRINT, f"{told}; on uint8 it loses {words.between(_lost(record))} points")


def _lost(record: Record) -> Interval:
    """The accuracy that slide 16's code loses on uint8."""
    right, wrapped = record.arrays["slide_right"].astype(float)
    return Interval(*np.clip(intervals.of_mean(right - wrapped), -1, 1))


def _printed(record: Record) -> tuple[Printed, ...]:
    return (Printed("14", "L1 distance", "456", record.numbers["worked"]["ours"]),)


def _times(record: Record, work: Sequence[int]) -> Table:
    """The work of a query of the slides' loop, counted, and its time, measured."""
    times, counts = record.arrays["slide_times"], record.numbers["slide_counts"]
    columns = zip(counts, work, np.median(times, axis=0), strict=True)
    rows = [(f"{count:,}", f"{made:,}", words.duration(time)) for count, made, time in columns]
    caption = f"A query of the slides' loop: work counted, time measured (median of {len(times)})."
    if len(counts) > 1:  # between the two greatest, where the fixed cost of a call counts least
        powers = np.log(times[:, -1] / times[:, -2]) / np.log(counts[-1] / counts[-2])
        low, high = intervals.of_mean(powers)
        power = f"{low:.2f} to {high:.2f} (95 % CI)"
        caption += f" Between the last two N, time grows like N to the power {power}."
    return Table(caption, ("training set size N", "subtractions", "time"), rows)


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
    ours, wrapped = (f"{record.numbers['worked'][name]:,}" for name in ("ours", "slide_16"))
    apart, bare = np.abs(test - train), train.astype(np.uint8) - test.astype(np.uint8)
    title = f"Slide 14's distance is {ours}; in uint8 it becomes {wrapped}"
    parts = {"test image": test, "training image": train,
             f"|difference|, sum {ours}": apart, f"in uint8, sum {wrapped}": bare}  # fmt: skip
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
    caption = (
        "The two images of slide 14 and their differences. Red: where the training pixel is "
        "smaller, slide 16's line adds 256 on unsigned bytes."
    )
    return Plot("example", figure, caption, f"Four grids of 4 by 4 numbers. {title}.")


def _draw_gallery(record: Record) -> Plot:
    arrays, plural = record.arrays, f"{examples.noun(record)}s"
    same = arrays["neighbor_labels"] == arrays["query_labels"][:, None]
    title = f"{same.sum()} of {same.size} nearest training {plural} have the same class"
    images = np.concatenate([arrays["queries"][:, None], arrays["neighbors"]], axis=1)
    names = [record.class_names[label] for label in arrays["query_labels"]]
    figure, outlines = examples.grid(record, images, names, title=title)
    for row, marks in zip(outlines, same, strict=True):
        for outline, right in zip(row[1:], marks, strict=True):
            style.frame(outline, style.RIGHT if right else style.WRONG, dashed=not right)
    caption = (
        f"First column: a test {examples.noun(record)} of each class. Then its nearest training "
        f"{plural} by {choices.NAMES[record.settings['metrics'][-1]]}. Green: the same class; red, "
        "dashed: another class."
    )
    alt = (
        f"A grid of {len(same)} test {plural}, each with its {same.shape[1]} nearest training "
        f"{plural} in green or dashed red frames. {title}."
    )
    return Plot("neighbors", figure, caption, alt)


def _draw_times(record: Record) -> Plot:
    counts, times = record.numbers["slide_counts"], record.arrays["slide_times"]
    ours, least = _query_times(record, record.settings["metrics"][-1])
    loop, fast = words.duration(np.median(times[:, -1])), words.duration(least[-1])
    title = f"A query: {loop} among {counts[-1]:,} (slides), {fast} among {ours[-1]:,} (lincls)"
    figure, axes = style.canvas(height=3.2, title=title)
    _draw_lines(axes, record)
    style.legend(figure)
    caption = (
        f"Slides: median of {len(times)} queries (each the fastest of {SLIDE_REPEATS} runs), bars "
        f"over all. lincls: the fastest of {record.settings['repeats']} calls of "
        f"{record.settings['num_timed']} queries. Dotted: time in proportion to N."
    )
    alt = f"Line chart of the time per query against the number of training images. {title}."
    return Plot("query_time", figure, caption, alt)


def _draw_lines(axes: Axes, record: Record) -> None:
    """Seconds per query of each distance, and a line in proportion to N through the last."""
    places = list(record.numbers["slide_counts"])
    slide = np.median(record.arrays["slide_times"], axis=0)
    ends = np.stack([end(record.arrays["slide_times"], axis=0) for end in (np.min, np.max)])
    line = slide[-1] * np.array(places) / places[-1]
    axes.errorbar(places, slide, np.abs(ends - slide), color=style.INK, capsize=3, ls="none")
    axes.plot(places, slide, marker="^", color=style.INK, label="slides, L1")
    axes.plot(places, line, ":", color=style.FAINT, label="in proportion to N", zorder=1)
    for name, marker in zip(record.settings["metrics"], style.MARKERS, strict=False):
        counts, times = _query_times(record, name)
        label = f"lincls, {choices.NAMES[name]}"
        axes.plot(counts, times, marker=marker, color=style.COLORS[name], label=label)
        places += counts.tolist()
    axes.set(xscale="log", yscale="log", xlabel="training set size N", ylabel="time per query")
    style.ticks(axes, _spaced(places))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda seconds, _: words.duration(seconds))
    axes.yaxis.set_minor_formatter("")


def _spaced(counts: list[int]) -> list[int]:
    """Those that are at least 1.8 times the one before, so that their ticks have room."""
    kept: list[int] = []
    for count in sorted(counts):
        if not kept or count >= 1.8 * kept[-1]:
            kept.append(count)
    return kept
