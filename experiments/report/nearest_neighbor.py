"""What `experiments.nearest_neighbor` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from experiments.lab import choices
from experiments.lab.record import Record
from experiments.nearest_neighbor import SLIDE_REPEATS, WORKED_EXAMPLE, title_of
from experiments.report import intervals, style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    UNDECIDED,
    Answer,
    Findings,
    Plot,
    Printed,
)
from lincls import evaluation

SLIDES = "10-17"
QUESTION = "Is the most similar training image of the same class?"
CLAIM = (
    "Train, then predict labels of withheld images (10): remember all training images, predict "
    "the label of the most similar one (11). The L1 distance of the example is 456 (14). The time "
    "per test image is linear in the number of training images: the opposite of what we like (17)."
)
SECONDS = 6
LINEAR = (0.75, 1.25)  # powers of N that are called linear


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
    return Findings(sentences, answers, (), _printed(record))


def _answers(record: Record) -> dict[str, Answer]:
    """Prediction against chance, the neighbours shown, the example, the code, the time."""
    chance, printed = record.numbers["chance"], _printed(record)
    first = record.classifiers[0]
    ends = evaluation.wilson_interval(first.correct, first.total)
    above = intervals.above_zero(evaluation.Interval(ends.low - chance, ends.high - chance))
    told = f"{words.between(ends)}% right by {choices.NAMES[record.settings['metrics'][0]]}"
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
        return Answer(UNDECIDED, f"timed among {counts[0]:,} training images alone")
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
    verdict = DIFFERS if lost.low > 0 else UNDECIDED
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
    title = title_of(record.settings["ks"][0], name)
    training, test = (record.seconds[f"{what}: {title}"] for what in ("training", "a test image"))
    return (
        f"Ours, by {choices.NAMES[name]}, rules most images out by bounds where that pays: "
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
    arrays, name = record.arrays, choices.NAMES[record.settings["metrics"][-1]]
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
            f"{_our_growth(record):.2f} in ours (by {choices.NAMES[metrics[-1]]})"
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
        f"{' and '.join(choices.NAMES[name] for name in metrics)} and for slide 16's class, with a "
        "dotted line of slope one. "
        f"{title}.",
    )


def _draw_lines(axes: Axes, record: Record) -> None:
    """Seconds per query of each distance, and a line in proportion to N through the last."""
    for name, marker in zip(record.settings["metrics"], style.MARKERS, strict=False):
        counts, times = _query_times(record, name)
        color, label = style.COLORS[name], f"ours, {choices.NAMES[name]}"
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
