"""What `experiments.unintuitive` found, told and drawn."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

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
)
from lincls.evaluation import Interval

SLIDES = "23-25"
QUESTION = "Which images does L2 call similar?"
CLAIM = (
    "Distances between whole images can be very unintuitive: three altered images have the same "
    "L2 distance to the original (23-24). On a map of images by L2 distance, neighbours share "
    "their background more than their class (25)."
)
SECONDS = 5
CHANGES = ("shifted", "dimmed", "covered")
ALIKE = 0.02  # shares that differ by less are called the same
GROUNDS = {  # what stands for the background, and what it is the mean of
    "background": "the margin",
    "brightness": "all pixels",
    "mean": "all features",
}


def findings(record: Record) -> Findings:
    """What becomes of copies at equal distance, and what neighbours on the map share."""
    nearer, noun = record.arrays["judged_other_nearer"], examples.noun(record)
    shares = record.arrays["judged_right"][:, 1:].mean(axis=0)
    kept = ", ".join(f"{words.percent(share, 0)} ({name})"
                     for name, share in zip(CHANGES, shares, strict=True))  # fmt: skip
    copies = f"of copies at equal L2 distance, {kept} keep their class"
    first, last, apart = _widest(record)
    widest = f"{CHANGES[first]} minus {CHANGES[last]}: {words.points(apart)} (95 % CI, three pairs)"
    other = f"{words.of_count(int(nearer.sum()), len(nearer))} of {len(nearer):,} {noun}s"
    closer = f"for {other}, a training {noun} of another class is nearer than the copies"
    answers = {
        "23-24": Answer(_unequal(record), f"{copies}; {widest}"),
        "25": _of_background(record),
    }
    told = [f"{words.capital(one)}." for one in (copies, closer, _about_map(record))]
    return Findings(told, answers, (_copies(record), _neighbours(record)))


def _pairs_of_copies(record: Record) -> list[tuple[int, int, Interval]]:
    """How much more often one kind of copy keeps its class than another, for every pair of kinds.

    The three intervals hold together with 95 %: each has a third of the error.
    """
    right = record.arrays["judged_right"][:, 1:].astype(np.float64)
    order = np.argsort(-right.mean(axis=0), kind="stable").tolist()
    pairs = combinations(order, 2)
    return [(a, b, _difference(right[:, a], right[:, b], 1 - 0.05 / 3)) for a, b in pairs]


def _widest(record: Record) -> tuple[int, int, Interval]:
    """The kinds of copies that keep their class most and least often, and by how much."""
    return _pairs_of_copies(record)[1]


def _unequal(record: Record) -> str:
    """Whether one kind of copy keeps its class more often than another at equal distance."""
    pairs = [interval for *_, interval in _pairs_of_copies(record)]
    if any(interval.low > 0 for interval in pairs):
        return AGREES
    same = all(interval.low > -ALIKE and interval.high < ALIKE for interval in pairs)
    return DIFFERS if same else UNDECIDED


def _ground(record: Record) -> str:
    """What stands for the background, which only images in colour have."""
    if examples.are_vectors(record):
        return "mean"
    return "background" if record.image_shape[-1] == 3 else "brightness"


def _of_background(record: Record) -> Answer:
    """Whether neighbours on the map share their background more often than their class."""
    shared = _about_map(record)
    if _ground(record) != "background":
        return Answer(ELSEWHERE, f"{shared}; only images in colour have a background")
    more = _difference(record.arrays["map_same_background"], record.arrays["map_same_class"])
    told = f"{shared}; background minus class: {words.points(more)} (95 % CI)"
    return Answer(intervals.above_zero(more), told)


def _difference(first: np.ndarray, second: np.ndarray, confidence: float = 0.95) -> Interval:
    """The interval of a mean difference of paired shares, within -1..1."""
    return Interval(*np.clip(intervals.of_mean(first - second, confidence), -1, 1))


def _about_map(record: Record) -> str:
    """How many of the nearest on the map share class and background."""
    same, ground = (
        words.percent(record.arrays[f"map_same_{name}"].mean(), 0)
        for name in ("class", "background")
    )
    nearest = f"the {record.settings['num_near']} nearest {examples.noun(record)}s on the map"
    return f"of {nearest}, {same} share the class and {ground} the {_ground(record)}"


def _copies(record: Record) -> Table:
    """How often the nearest neighbour gives originals and copies the class of the original."""
    right = record.arrays["judged_right"]
    rows = [
        (name, words.of_count(int(of_kind.sum()), len(right)))
        for name, of_kind in zip(("original", *CHANGES), right.T, strict=True)
    ]
    caption = (
        f"Accuracy of the nearest neighbour on {len(right):,} training {examples.noun(record)}s "
        "and their copies, the original left out. The three copies are equally far from it."
    )
    return Table(caption, ("copy", "accuracy"), rows)


def _neighbours(record: Record) -> Table:
    """What the nearest share: on the map, by L2 itself, and by chance."""
    kinds, ground = ("class", "background"), _ground(record)
    rows = [
        (name, *(words.percent(record.arrays[f"{key}_same_{kind}"].mean()) for kind in kinds))
        for name, key in (("on the map", "map"), ("by L2 itself", "l2"))
    ]
    chance = (words.percent(record.numbers[f"chance_{kind}"]) for kind in kinds)
    caption = (
        f"The {record.settings['num_near']} nearest of {len(record.arrays['map_labels']):,} "
        f"{examples.noun(record)}s. {words.capital(ground)}: mean of {GROUNDS[ground]}, in one "
        "equal group per class."
    )
    header = ("nearest", "same class", f"same {ground}")
    return Table(caption, header, [*rows, ("by chance", *chance)])


def draw(record: Record) -> Iterator[Plot]:
    """Each original with its copies; the map, and what its neighbours share."""
    yield _draw_copies(record)
    yield _draw_map(record)
    yield _draw_sorting(record)


def _draw_copies(record: Record) -> Plot:
    arrays, noun = record.arrays, examples.noun(record)
    shown = np.concatenate([arrays["originals"][:, None], arrays["copies"]], axis=1)
    labels = [
        f"{record.class_names[label]}\n{apart[0]:,.4g} away"
        for label, apart in zip(arrays["labels"], arrays["apart"], strict=True)
    ]
    title = f"Three copies of each {noun}, all equally far from it in L2"
    figure, _ = examples.grid(record, shown, labels, ("original", *CHANGES), title=title)
    caption = (
        "First column: the original. Copies: moved by a pixel, dimmed, covered by a box, each as "
        "far as the weakest change reaches. The L2 distance stands below the class."
    )
    alt = f"A grid of {len(labels)} {noun}s, each with a shifted, dimmed and covered copy. {title}."
    return Plot("copies", figure, caption, alt)


def _draw_map(record: Record) -> Plot:
    """Every image at its place, moved to the nearest free cell of a grid: nothing is hidden."""
    grid, plural = record.arrays["map_grid"], f"{examples.noun(record)}s"
    shown = examples.colours(record, record.arrays["map_images"][grid])
    gap = max(1, shown.shape[3] // 16)
    shown = np.pad(shown, [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=1)
    rows, columns, height, width, _ = shown.shape
    title = f"{grid.size:,} {plural} laid out by L2 distance"
    figure, axes = style.canvas(height=7.0 * height / width, title=title)
    mosaic = shown.swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    axes.imshow(mosaic[:-gap, :-gap], interpolation="nearest")
    axes.set_axis_off()
    caption = (
        f"The first {grid.size:,} training {plural}, as on slide 25: t-SNE of L2 distances, "
        "each then moved to a cell of its own. Neighbours on the map are near in L2."
    )
    return Plot("map", figure, caption, f"A square of {rows} by {columns} small pictures. {title}.")


def _draw_sorting(record: Record) -> Plot:
    """The map once more, each cell as dark as its neighbours share class or background."""
    arrays, ground, near = record.arrays, _ground(record), record.settings["num_near"]
    shares = {"class": arrays["map_same_class"], ground: arrays["map_same_background"]}
    same, other = (words.percent(share.mean(), 0) for share in shares.values())
    title = f"{same} of the neighbours share the class, {other} the {ground}"
    figure, panels = style.canvas(1, 2, height=3.4, title=title)
    for axes, (name, share) in zip(panels, shares.items(), strict=True):
        shown = axes.imshow(100 * share[arrays["map_grid"]], cmap="Blues", vmin=0, vmax=100)
        axes.set(title=f"the same {name}", xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=panels, label=f"of the {near} nearest (%)", shrink=0.9)
    caption = (
        f"The cells of the map. The darker a cell, the more of its {near} nearest share its class "
        f"(left) or its {ground} (right)."
    )
    alt = f"Two squares of shaded cells, by class and by {ground}. {title}."
    return Plot("sorting", figure, caption, alt)
