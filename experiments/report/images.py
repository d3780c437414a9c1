"""What `experiments.images` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from experiments.images import METRICS
from experiments.lab import choices
from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    UNDECIDED,
    Answer,
    Findings,
    Plot,
    Table,
    together,
)
from lincls import evaluation

SLIDES = "1-12"
QUESTION = "What does a classifier get to see of an image?"
CLAIM = (
    "The task: one of a set of labels for an image (2). Images are 3-D arrays of integers between "
    "0 and 255 (3). Viewpoint, illumination, deformation, occlusion and clutter change them and "
    "not their class (4-8), and images of one class differ among themselves (9). CIFAR-10 has 10 "
    "labels, 50,000 training and 10,000 test images of 32 × 32 (12)."
)
SECONDS = 5
CIFAR10 = (10, 50_000, 10_000, 32, 32, 3)  # slide 12: labels, images, their shape
GREAT = 0.5  # of the distance between classes: a variation within a class that is no detail


def findings(record: Record) -> Findings:
    """What an image is here, the counts, the changes, within and between classes."""
    numbers, shape, names = record.numbers, record.image_shape, record.class_names
    counts = numbers["counts"]
    within, between = record.arrays["within"], record.arrays["between"]
    few = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    sentences = [
        f"The task on {record.data['name']}: given an image, one of {len(names)} labels ({few}).",
        f"An image is an array of shape {' × '.join(map(str, shape))} and type "
        f"{numbers['dtype']}, its numbers from {numbers['low']} to {numbers['high']}: "
        f"{np.prod(shape):,} numbers, {'in colour' if shape[-1] == 3 else 'brightness alone'}.",
        f"{record.data['num_train']:,} training and {record.data['num_test']:,} test images, "
        f"{_between(counts)} training images in each of {len(counts)} classes.",
        f"Among {numbers['num_compared']} training images, two of one class are on average "
        f"{_distance(within.mean())} apart (L2), two of different classes "
        f"{_distance(between.mean())}; "
        f"{numbers['nearer']:.0%} of the pairs of one class are nearer than half of the others.",
    ]
    answers = _answers(record)
    tables = [_counts(record)]
    if "changes" in numbers:
        sentences += _about_changes(record)
        tables.insert(0, _changes(record))
    return Findings(sentences, answers, tuple(tables))


def _between(counts: list[int]) -> str:
    """The least and the greatest number, once if they are the same."""
    return " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))


def _distance(value: float) -> str:
    """A distance with three digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cifar(record: Record) -> bool:
    return record.data["name"] == "cifar10"


def _answers(record: Record) -> dict[str, Answer]:
    """The task, the numbers, the changes and CIFAR-10's counts."""
    numbers, data, counts = record.numbers, record.data, record.numbers["counts"]
    shape = " × ".join(map(str, record.image_shape))
    fits = numbers["dtype"] == "uint8" and numbers["low"] >= 0 and numbers["high"] <= 255
    found = (len(counts), data["num_train"], data["num_test"], *record.image_shape)
    of_cifar = AGREES if found == CIFAR10 else DIFFERS
    told = f"{len(counts)} labels, {data['num_train']:,} and {data['num_test']:,} images, {shape}"
    return {
        "1-2": Answer(AGREES if sum(counts) == data["num_train"] else DIFFERS,
                      f"one of {len(counts)} labels for each of {sum(counts):,} images"),
        "3": Answer(AGREES if fits else DIFFERS,
                    f"{shape} numbers of type {numbers['dtype']}, {numbers['low']} to "
                    f"{numbers['high']}"),
        "4-8": _of_changes(record),
        "9": _of_variation(record),
        "12": Answer(of_cifar if _cifar(record) else UNDECIDED, told),
    }  # fmt: skip


def _of_changes(record: Record) -> Answer:
    """Whether each change costs more than chance explains."""
    if "changes" not in record.numbers:
        return Answer(UNDECIDED, "images too small, or not of bytes, to be changed")
    lost = _lost(record)
    told = (
        f"{name} {words.signed(one)}"
        for name, one in zip(record.numbers["changes"], lost, strict=True)
    )
    verdict = together(map(intervals.above_zero, lost))
    return Answer(verdict, f"points that the nearest neighbour loses: {', '.join(told)}")


def _of_variation(record: Record) -> Answer:
    """Whether two images of one class are more than half as far apart as two of two classes."""
    found = record.numbers["variation"]
    if found is None:
        return Answer(UNDECIDED, "the images compared are all of one class, or no two are")
    ratio, difference = (evaluation.Interval(*found[name]) for name in ("ratio", "difference"))
    told = (
        f"two images of one class are on average {words.between(ratio, 0)}% as far apart (L2) as "
        f"two of different classes, by {_distance(difference.low)} to "
        f"{_distance(difference.high)} less (95%, bootstrap over "
        f"{record.numbers['num_compared']} images); more than {GREAT:.0%} is great variation"
    )
    return Answer(intervals.inside(ratio, GREAT, np.inf), told)


def _lost(record: Record) -> list[evaluation.Interval]:
    """By how much each change lowers the share of nearest images of the right class."""
    before, *after = record.arrays["right"].astype(np.float64)
    return [intervals.of_mean(before - one) for one in after]


def _about_changes(record: Record) -> list[str]:
    """How far the changes move an image, and what they cost."""
    names, right = record.numbers["changes"], record.arrays["right"].mean(axis=1)
    moved = np.median(record.arrays["moved_l2"], axis=1)
    lost = _lost(record)
    costly = [name for name, one in zip(names, lost, strict=True) if one.low > 0]
    farthest, worst = int(moved.argmax()), int(right[1:].argmin())
    which = "all five of them" if len(costly) == len(names) else ", ".join(costly) or "none"
    return [
        "The changes of slides 4-8, made on real images, keep the class. In L2 they move the "
        f"median image by {moved.min():.2f} to {moved.max():.2f} of the median distance between "
        f"two images of one class, {names[farthest]} the farthest.",
        f"The nearest other image has the right class for {right[0]:.1%} of "
        f"{_num_changed(record):,} images as they are, and for {right[1 + worst]:.1%} after "
        f"{names[worst]}. Of the changes these cost more than chance explains (95%): {which}.",
    ]


def _num_changed(record: Record) -> int:
    return record.arrays["right"].shape[1]


def _changes(record: Record) -> Table:
    """Each change: how far it moves, whether the original is still nearest, what it costs."""
    numbers, arrays = record.numbers, record.arrays
    rows = [("none", "0", "0", "", f"{arrays['right'][0].mean():.1%}", "")]
    for place, (name, lost) in enumerate(zip(numbers["changes"], _lost(record), strict=True)):
        moved = [f"{np.median(arrays[f'moved_{metric}'][place]):.2f}" for metric in METRICS]
        own, right = arrays["its_own"][place].mean(), arrays["right"][1 + place].mean()
        rows.append((name, *moved, f"{own:.1%}", f"{right:.1%}", words.signed(lost)))
    caption = (
        f"{_num_changed(record):,} training images changed, among {numbers['num_searched']:,}. "
        "L1 and L2: median distance of a copy to its original, 1 being the median distance "
        "between two images of one class. Then how often L2 finds the original nearest of all, "
        "how often the nearest image but the original has the right class, and the points lost."
    )
    header = ("change", "L1", "L2", "original nearest", "right class", "points lost (95%)")
    return Table(caption, header, rows)


def _counts(record: Record) -> Table:
    """Training images of each class."""
    pairs = zip(record.class_names, record.numbers["counts"], strict=True)
    rows = [(name, f"{count:,}") for name, count in list(pairs)[:20]]
    return Table("Training images of each class.", ("class", "images"), rows)


def draw(record: Record) -> Iterator[Plot]:
    """An image beside its numbers; samples; changed copies; distances as histograms."""
    yield _draw_numbers(record)
    yield _draw_samples(record)
    if "changes" in record.numbers:
        yield _draw_changed(record)
        yield _draw_moved(record)
    yield _draw_distances(record)


def _draw_numbers(record: Record) -> Plot:
    image, size = record.arrays["grid"], 12
    channel = image.mean(axis=-1)
    top, left = (max(0, (length - size) // 2) for length in channel.shape)
    part = channel[top : top + size, left : left + size]
    title = "What we see, and what a classifier gets: " + " × ".join(map(str, image.shape))
    figure, (seen, numbers) = style.canvas(1, 2, height=3.6, title=f"{title} numbers")
    seen.imshow(style.pixels(image, record.data["levels"]), interpolation="nearest")
    seen.set_title("the first training image")
    numbers.imshow(part, cmap="Greys_r", alpha=0.35, interpolation="nearest", aspect="equal")
    for (row, column), value in np.ndenumerate(part):
        numbers.text(column, row, f"{value:.0f}", ha="center", va="center", size=9)
    numbers.set_title("its numbers" if part.shape == channel.shape else "the middle of it")
    for axes in (seen, numbers):
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
    colour = " (the mean of the three channels)" if image.shape[-1] == 3 else ""
    return Plot(
        "numbers",
        figure,
        f"One image and the integers it is stored as{colour}. Nothing in them says which class "
        "it is: the semantic gap of slide 3.",
        f"A small image on the left, a grid of integers on the right. {title} numbers.",
    )


def _draw_samples(record: Record) -> Plot:
    samples, counts = record.arrays["samples"], record.numbers["counts"]
    rows, columns = samples.shape[:2]
    names = [f"{name} ({count:,})" for name, count in zip(record.class_names, counts, strict=True)]
    height = 5.9 * rows / columns * record.image_shape[0] / record.image_shape[1]
    title = f"Images of one class differ: the first {columns} of each"
    figure, axes = style.canvas(height=height, title=title)
    style.tiles(axes, style.pixels(samples, record.data["levels"]), names[:rows])
    return Plot(
        "samples",
        figure,
        f"The first {columns} training images of each class, with the class's number of training "
        "images (slide 12).",
        f"A grid of small images, {rows} classes by {columns} samples: {', '.join(names[:rows])}.",
    )


def _draw_changed(record: Record) -> Plot:
    arrays, names = record.arrays, record.numbers["changes"]
    rows, columns = arrays["changed"].shape[:2]
    labels = [record.class_names[label] for label in arrays["changed_labels"]]
    height = 5.9 * rows / columns * record.image_shape[0] / record.image_shape[1] + 0.3
    own = arrays["its_own"].mean(axis=1)
    title = (
        f"Same class, other pixels: L2 still finds the original nearest for {own.min():.0%} "
        f"({names[int(own.argmin())]}) to {own.max():.0%} ({names[int(own.argmax())]})"
    )
    figure, axes = style.canvas(height=height, title=title)
    colours = style.pixels(arrays["changed"], record.data["levels"])
    style.tiles(axes, colours, labels, ("original", *names))
    axes.tick_params(axis="x", labelsize=8)
    clutter = (
        "the margin of another around the middle"
        if record.image_shape[-1] == 3
        else ("another faintly behind it")
    )
    return Plot(
        "changes",
        figure,
        "Training images and what slides 4-8 name: seen from the side (turned and narrowed), "
        f"darker (0.6 times the brightness), bent by waves, a quarter covered, {clutter}. "
        f"The title counts {_num_changed(record):,} training images.",
        f"A grid of {rows} images, each followed by five changed copies: {', '.join(names)}. "
        f"{title}.",
    )


def _draw_moved(record: Record) -> Plot:
    moved = np.median(record.arrays["moved_l2"], axis=1)
    names = record.numbers["changes"]
    title = (
        f"{words.capital(names[int(moved.argmax())])} moves an image by {moved.max():.2f} of the "
        f"L2 distance between two of one class, {names[int(moved.argmin())]} by {moved.min():.2f}"
    )
    figure, places = style.canvas(1, 2, height=2.9, title=title, sharey=True, sharex=True)
    for axes, metric in zip(places, METRICS, strict=True):
        _draw_quantiles(axes, record, metric)
    places[0].set_yticks(range(len(names)), names)
    places[0].set(ylim=(len(names) - 0.5, -0.5), xlim=(0, None))
    return Plot(
        "moved",
        figure,
        f"Distance of {_num_changed(record):,} copies to their originals: the median, and the "
        "middle 80 % as a bar. 1 (solid) is the median distance between two images of one class, "
        "the dashed line that between two images of different classes.",
        f"Dots with bars for five changes, one panel for L1 and one for L2. {title}.",
    )


def _draw_quantiles(axes: Axes, record: Record, metric: str) -> None:
    """Median and middle 80 % of how far each change moves an image, beside the two medians."""
    low, middle, high = np.quantile(record.arrays[f"moved_{metric}"], [0.1, 0.5, 0.9], axis=1)
    errors = np.stack([middle - low, high - middle])
    color = style.COLORS[metric]
    axes.errorbar(middle, range(len(middle)), xerr=errors, fmt="o", color=color, capsize=4)
    axes.axvline(1, color=style.INK, lw=1.2)
    axes.axvline(record.numbers[f"between_{metric}"], color=style.RED, lw=1.2, ls="--")
    axes.set_xlabel("distance to the original\n(1: median within a class)")
    axes.set_title(choices.NAMES[metric])
    axes.tick_params(axis="y", length=0)


def _draw_distances(record: Record) -> Plot:
    within, between = record.arrays["within"], record.arrays["between"]
    title = (
        f"Two images of one class are {_distance(within.mean())} apart on average, of two "
        f"classes {_distance(between.mean())}"
    )
    figure, axes = style.canvas(height=2.9, title=title)
    _draw_histograms(axes, within, between)
    return Plot(
        "distances",
        figure,
        f"L2 distances between all pairs of the first {record.numbers['num_compared']} training "
        "images, as densities. Where the two overlap, distance alone cannot tell whether two "
        "images are of one class.",
        f"Two overlapping histograms of distances. {title}.",
    )


def _draw_histograms(axes: Axes, within: np.ndarray, between: np.ndarray) -> None:
    edges = np.linspace(0, max(within.max(), between.max()), 60).tolist()
    for values, label, color in (
        (between, "different classes", style.RED),
        (within, "the same class", style.BLUE),
    ):
        axes.hist(values, edges, density=True, histtype="stepfilled", alpha=0.25, color=color)
        axes.hist(values, edges, density=True, histtype="step", lw=2, color=color, label=label)
    axes.set(xlabel="L2 distance between two images", ylabel="density (per unit of distance)")
    axes.legend()
