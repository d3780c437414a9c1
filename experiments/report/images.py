"""What `experiments.images` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from experiments.images import METRICS
from experiments.lab import choices
from experiments.lab.record import Record
from experiments.report import examples, intervals, style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    ELSEWHERE,
    UNDECIDED,
    Answer,
    Findings,
    Plot,
    Table,
    together,
)
from lincls.evaluation import Interval

SLIDES = "1-12"
QUESTION = "What does a classifier see of an image?"
CLAIM = (
    "The task is to give an image one of a set of labels (2). An image is a 3-D array of integers "
    "from 0 to 255 (3). Viewpoint, illumination, deformation, occlusion and clutter change the "
    "pixels, not the class (4-8). Images of one class vary (9). CIFAR-10 has 10 labels, 50,000 "
    "training and 10,000 test images of 32 × 32 (12)."
)
SECONDS = 5
CIFAR10 = (10, 50_000, 10_000, 32, 32, 3)  # slide 12: labels, images, their shape
GREAT = 0.5  # of the distance between classes: above it the variation within a class is great


def findings(record: Record) -> Findings:
    """What an image is, what a changed image costs, how much a class varies."""
    told, tables = [_contents(record)], []
    if "changes" in record.numbers:
        told.append(_about_changes(record))
        tables.append(_changes(record))
    if record.numbers["variation"]:
        told.append(_about_variation(record))
    return Findings([f"{words.capital(one)}." for one in told], _answers(record), tuple(tables))


def _contents(record: Record) -> str:
    """What an example holds."""
    low, high = (_short(record.numbers[end]) for end in ("low", "high"))
    held = f"{examples.size(record)} ({record.numbers['dtype']})"
    return f"each {examples.noun(record)} has {held} from {low} to {high}"


def _short(value: float) -> str:
    """An integer as it is; any other number with three digits, a large one without decimals."""
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.3g}"


def _answers(record: Record) -> dict[str, Answer]:
    """The task, the numbers, the changes, the variation, and CIFAR-10's counts."""
    data, counts, plural = record.data, record.numbers["counts"], f"{examples.noun(record)}s"
    found = (len(counts), data["num_train"], data["num_test"], *record.image_shape)
    labelled = f"each of {sum(counts):,} training {plural} has one of {len(counts)} labels"
    told = f"{found[0]} labels, {found[1]:,} training and {found[2]:,} test {plural}"
    of_bytes = _fact(record.numbers["dtype"] == "uint8")
    of_cifar = _fact(found == CIFAR10) if data["name"] == "cifar10" else ELSEWHERE
    return {
        "1-2": Answer(_fact(sum(counts) == data["num_train"]), labelled),
        "3": Answer(ELSEWHERE if examples.are_vectors(record) else of_bytes, _contents(record)),
        "4-8": _of_changes(record),
        "9": _of_variation(record),
        "12": Answer(of_cifar, f"{told} of {examples.size(record)}"),
    }


def _fact(holds: bool) -> str:
    return AGREES if holds else DIFFERS


def _of_changes(record: Record) -> Answer:
    """Whether every change lowers the accuracy."""
    if "changes" not in record.numbers:
        return Answer(ELSEWHERE, "the changes need uint8 images of at least 4 × 4 pixels")
    lost = _lost(record)
    pairs = zip(record.numbers["changes"], map(words.signed, lost), strict=True)
    told = ", ".join(f"{name} {points}" for name, points in pairs)
    return Answer(together(map(intervals.above_zero, lost)), f"points lost (95 % CI): {told}")


def _lost(record: Record) -> list[Interval]:
    """By how much each change lowers the accuracy of the nearest other image."""
    before, *after = record.arrays["right"].astype(np.float64)
    return [Interval(*np.clip(intervals.of_mean(before - one), -1, 1)) for one in after]


def _of_variation(record: Record) -> Answer:
    """Whether the distance within a class is more than half of that between classes."""
    found = record.numbers["variation"]
    if not found:
        return Answer(UNDECIDED, f"the {record.numbers['num_compared']} compared lack such pairs")
    told = f"{_about_variation(record)}; above {words.percent(GREAT, 0)} the variation is great"
    return Answer(intervals.inside(Interval(*found["ratio"]), GREAT, np.inf), told)


def _about_variation(record: Record) -> str:
    """The mean distance within a class, as a share of that between classes."""
    ratio = float(record.arrays["within"].mean() / record.arrays["between"].mean())
    told = words.with_ci(ratio, Interval(*record.numbers["variation"]["ratio"]), 0)
    return f"the mean L2 distance within a class is {told} of that between classes"


def _about_changes(record: Record) -> str:
    """How many changes lower the accuracy, and the lowest one."""
    names, lost = record.numbers["changes"], _lost(record)
    before, *after = record.arrays["right"].mean(axis=1)
    costly, worst = sum(one.low > 0 for one in lost), int(np.argmin(after))
    told = f"{costly} of {len(names)} changes lower the nearest neighbour's accuracy"
    lowest = f": from {words.percent(before)} to {words.percent(after[worst])} for {names[worst]}"
    return told + (lowest if costly else "")


def _changes(record: Record) -> Table:
    """Each change: how often the original stays nearest, and what it costs."""
    right, own = (record.arrays[name].mean(axis=1) for name in ("right", "its_own"))
    rows = [("none", "–", words.percent(right[0]), "–")]
    columns = zip(record.numbers["changes"], own, right[1:], _lost(record), strict=True)
    for name, *shares, lost in columns:
        rows.append((name, *map(words.percent, shares), words.signed(lost)))
    caption = (
        f"{record.arrays['right'].shape[1]:,} changed training images, and the nearest by L2 among "
        f"{record.numbers['num_searched']:,}. Accuracy: of the nearest image but the original."
    )
    return Table(caption, ("change", "original nearest", "accuracy", "points lost (95 % CI)"), rows)


def draw(record: Record) -> Iterator[Plot]:
    """An image beside its numbers; samples; changed copies; distances as histograms."""
    if not examples.are_vectors(record):
        yield _draw_numbers(record)
    yield _draw_samples(record)
    if "changes" in record.numbers:
        yield _draw_changed(record)
        yield _draw_moved(record)
    if record.numbers["variation"]:
        yield _draw_distances(record)


def _draw_numbers(record: Record) -> Plot:
    image, size = record.arrays["grid"], 12
    channel = image.mean(axis=-1)
    top, left = (max(0, (length - size) // 2) for length in channel.shape)
    part = channel[top : top + size, left : left + size]
    title = f"What we see, and what a classifier gets: {image.size:,} numbers"
    figure, (seen, numbers) = style.canvas(1, 2, height=3.6, title=title)
    seen.imshow(examples.colours(record, image), interpolation="nearest")
    seen.set_title("the first training image")
    numbers.imshow(part, cmap="Greys_r", alpha=0.35, interpolation="nearest", aspect="equal")
    digits = ".0f" if image.dtype == np.uint8 else ".2g"
    for (row, column), value in np.ndenumerate(part):
        numbers.text(column, row, f"{value:{digits}}", ha="center", va="center", size=9)
    numbers.set_title("its numbers" if part.shape == channel.shape else "its middle")
    for axes in (seen, numbers):
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
    of_colour = " (mean of the three channels)" if image.shape[-1] == 3 else ""
    caption = f"One image and its numbers{of_colour}. They do not name the class (slide 3)."
    alt = f"A small image on the left, a grid of its numbers on the right. {title}."
    return Plot("numbers", figure, caption, alt)


def _draw_samples(record: Record) -> Plot:
    samples, counts = record.arrays["samples"], record.numbers["counts"]
    columns, plural = samples.shape[1], f"{examples.noun(record)}s"
    pairs = zip(record.class_names, counts, strict=True)
    names = [f"{name} ({count:,})" for name, count in pairs][: len(samples)]
    title = f"{words.capital(plural)} of one class differ: the first {columns} of each"
    figure, _ = examples.grid(record, samples, names, title=title)
    caption = f"In brackets: how many training {plural} the class has (slide 12)."
    alt = f"A grid of {len(names)} classes by {columns} {plural}: {', '.join(names)}."
    return Plot("samples", figure, caption, alt)


def _draw_changed(record: Record) -> Plot:
    arrays, names = record.arrays, record.numbers["changes"]
    labels = [record.class_names[label] for label in arrays["changed_labels"]]
    own = arrays["its_own"].mean(axis=1)
    ends = int(own.argmin()), int(own.argmax())
    least, most = (f"{words.percent(own[at], 0)} ({names[at]})" for at in ends)
    title = f"L2 finds the original for {least} to {most}"
    figure, _ = examples.grid(record, arrays["changed"], labels, ("original", *names), title=title)
    figure.axes[0].tick_params(axis="x", labelsize=8)
    caption = (
        "The changes of slides 4-8: turned and narrowed, darker, bent by waves, a quarter covered, "
        "before another image. The title says how often the original is nearest to its copy."
    )
    alt = f"A grid of {len(labels)} images, each with copies: {', '.join(names)}. {title}."
    return Plot("changes", figure, caption, alt)


def _draw_moved(record: Record) -> Plot:
    moved = np.median(record.arrays["moved_l2"], axis=1)
    names = record.numbers["changes"]
    farthest = words.capital(names[int(moved.argmax())])
    title = f"{farthest} moves an image by {moved.max():.2f} of the distance within a class"
    figure, places = style.canvas(1, 2, height=2.9, title=title, sharey=True, sharex=True)
    for axes, metric in zip(places, METRICS, strict=True):
        _draw_quantiles(axes, record, metric)
    places[0].set_yticks(range(len(names)), names)
    places[0].set(ylim=(len(names) - 0.5, -0.5), xlim=(0, None))
    caption = (
        "Distances of the copies to their originals: median, and bars over the middle 80 %. Solid "
        "line at 1: median distance within a class. Dashed: between classes."
    )
    alt = f"Dots with bars for five changes, one panel for L1 and one for L2. {title} (L2)."
    return Plot("moved", figure, caption, alt)


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
    means = f"{_short(within.mean())} within a class, {_short(between.mean())} between classes"
    figure, axes = style.canvas(height=2.9, title=f"Mean L2 distance: {means}")
    edges = np.linspace(0, max(within.max(), between.max()), 60).tolist()
    kinds = (between, "two classes", style.RED), (within, "one class", style.BLUE)
    for values, label, color in kinds:
        axes.hist(values, edges, density=True, histtype="stepfilled", alpha=0.25, color=color)
        axes.hist(values, edges, density=True, histtype="step", lw=2, color=color, label=label)
    axes.set(xlabel="L2 distance of a pair", ylabel="density")
    axes.legend()
    caption = (
        f"Pairs of the first {record.numbers['num_compared']} training {examples.noun(record)}s; "
        f"{words.percent(record.numbers['nearer'], 0)} of the pairs of one class are closer than "
        "the median pair of two classes."
    )
    alt = f"Two overlapping histograms. Mean L2 distance: {means}."
    return Plot("distances", figure, caption, alt)
