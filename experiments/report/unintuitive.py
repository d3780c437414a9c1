"""What `experiments.unintuitive` found, told and drawn."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

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
)
from lincls import evaluation

SLIDES = "23-25"
QUESTION = "What does L2 take for similar?"
CLAIM = (
    "Distances between whole images can be very unintuitive: three altered images have the same "
    "L2 distance to the original (23). On the map of images laid out by L2 distance, near ones "
    "share their background more than their class (24-25)."
)
SECONDS = 5
CHANGES = ("shifted", "dimmed", "covered")
TOLERANCE = 1e-4  # of a distance
ALIKE = 0.02  # of the images: shares that differ by less are called the same


def findings(record: Record) -> Findings:
    """The distances, how equal they are, and what else is as near."""
    apart, numbers = record.arrays["apart"], record.numbers
    spread = float(np.max(np.ptp(apart, axis=1) / apart.min(axis=1)))
    if spread > TOLERANCE:
        raise ValueError(f"copies that should be equally far differ by {spread:.1e} of that")
    nearer, total = sum(numbers["nearer"]), len(apart) * numbers["searched"]
    sentences = [
        f"An image's three copies are made equally far from it: to less than "
        f"{words.power(TOLERANCE)} of the distance.",
        *_about_copies(record),
        f"Of {total:,} comparisons with training images, {nearer:,} are nearer than the copies, "
        f"{sum(numbers['nearer_other']):,} of them of another class.",
    ]
    told, more = _about_background(record)
    answers = {
        "23-24": Answer(
            _unequal(record),
            f"of copies equally far from their image a nearest neighbour gives "
            f"{_shares(record)} the image's class, with a difference of "
            f"{words.signed(_widest(record)[2])} points from the first to the last; for the "
            "summary's speed at test time see 17, for its choice of k and distance 20-22",
        ),
        "25": Answer(
            intervals.above_zero(more),
            f"near images share their {_word(record)} {_more_often(more)} than their class",
        ),
    }
    tables = _table(record), _pairs(record)
    return Findings([*sentences, *told], answers, tables)


def _pairs_of_copies(record: Record) -> list[tuple[int, int, evaluation.Interval]]:
    """How much more often one kind of copy keeps its class than another, for every pair of kinds.

    The intervals hold together with 95%: each of the three has a third of the error.
    """
    right = record.arrays["judged_right"][:, 1:].astype(np.float64)
    order = np.argsort(-right.mean(axis=0), kind="stable").tolist()
    return [
        (a, b, intervals.of_mean(right[:, a] - right[:, b], 1 - 0.05 / 3))
        for a, b in combinations(order, 2)
    ]


def _widest(record: Record) -> tuple[int, int, evaluation.Interval]:
    """The kinds of copies that keep their class most and least often, and by how much."""
    return _pairs_of_copies(record)[1]


def _unequal(record: Record) -> str:
    """Whether equal distances hide unequal likeness: a kind of copy keeps its class more often."""
    pairs = [interval for *_, interval in _pairs_of_copies(record)]
    if any(interval.low > 0 for interval in pairs):
        return AGREES
    same = all(interval.low > -ALIKE and interval.high < ALIKE for interval in pairs)
    return DIFFERS if same else UNDECIDED


def _shares(record: Record) -> str:
    """How many copies of each kind keep their class, the most first."""
    right = record.arrays["judged_right"][:, 1:].mean(axis=0)
    order = np.argsort(-right, kind="stable")
    return ", ".join(f"{right[kind]:.0%} of the {CHANGES[kind]}" for kind in order)


def _about_copies(record: Record) -> list[str]:
    """What equal distance does not tell: the class of copies, and images of other classes."""
    right, nearer = record.arrays["judged_right"], record.arrays["judged_other_nearer"]
    first, last, interval = _widest(record)
    share = evaluation.wilson_interval(int(nearer.sum()), len(nearer))
    return [
        f"Equally far is not equally alike: of {len(right):,} training images (nearest neighbour, "
        f"the image itself left out, {right[:, 0].mean():.0%} right) it gives {_shares(record)} "
        f"copies the right class. {words.capital(CHANGES[first])} and {CHANGES[last]} differ by "
        f"{words.signed(interval)} points (95% interval, for three pairs).",
        f"For {nearer.mean():.0%} of these images ({words.between(share)}%) some image of another "
        f"class, among {record.numbers['searched']:,}, lies nearer than the copies, which a person "
        "calls the same.",
    ]


def _more_often(more: evaluation.Interval) -> str:
    """An interval of a difference in words, without a minus where all of it has one sign."""
    if more.high < 0:
        return f"{words.between(evaluation.Interval(-more.high, -more.low))} points less often"
    if more.low > 0:
        return f"{words.between(more)} points more often"
    return f"{words.signed(more)} points more often"


def _word(record: Record) -> str:
    """What stands for the background: in grey there is none but the ground."""
    return "background" if record.image_shape[-1] == 3 else "brightness"


def _about_background(record: Record) -> tuple[list[str], evaluation.Interval]:
    """What near images on the map share, and how much more often the background than the class."""
    arrays, numbers, word = record.arrays, record.numbers, _word(record)
    shares = {name: float(arrays[name].mean()) for name in arrays if "_same_" in name}
    more = intervals.of_mean(arrays["map_same_background"] - arrays["map_same_class"])
    nearer = _nearer(record)
    what = (
        "the brightness of its margin"
        if word == "background"
        else "the brightness of the whole image, since grey ones stand on an empty ground"
    )
    return [
        f"Background is told by {what}, in as many equal groups as there are classes.",
        f"On the map of {len(arrays['map_labels']):,} images, {shares['map_same_class']:.0%} of "
        f"the {record.settings['num_near']} nearest of an image are of its class (by chance "
        f"{numbers['chance_class']:.0%}) and {shares['map_same_background']:.0%} of its {word} "
        f"({numbers['chance_background']:.0%}): a difference of {words.signed(more)} "
        f"points (95% interval). By L2 itself, without the map: "
        f"{shares['l2_same_class']:.0%} and {shares['l2_same_background']:.0%}.",
        f"An image of another class and the same {word} is nearer, on average, than one of the "
        f"same class and another {word} for {nearer:.0%} of the images.",
    ], more


def _nearer(record: Record) -> float:
    """Share of images that are nearer to others of their background than to their class."""
    other_class, other_background = (record.arrays["pair_means"][:, *at] for at in ((1, 0), (0, 1)))
    both = np.isfinite(other_class) & np.isfinite(other_background)
    return float(np.mean(other_class[both] < other_background[both]))


def _pairs(record: Record) -> Table:
    """Mean distances of pairs that share class, background, both or neither."""
    means, word = np.nanmean(record.arrays["pair_means"], axis=0), _word(record)
    rows = [
        (of_class, *(f"{value:.4g}" for value in row))
        for of_class, row in zip(("same class", "other class"), means, strict=True)
    ]
    header = ("", f"same {word}", f"other {word}")
    return Table("Mean L2 distance between two images of the map.", header, rows)


def _table(record: Record) -> Table:
    """The distances of the copies, to six digits."""
    rows = [
        (record.class_names[label], *(f"{distance:.6g}" for distance in apart), f"{nearer:,}")
        for label, apart, nearer in zip(
            record.arrays["labels"], record.arrays["apart"], record.numbers["nearer"], strict=True
        )
    ]
    header = ("image of", *CHANGES, "training images nearer than that")
    return Table("L2 distance of each copy to its original.", header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """Each original with its copies; the map, and what it is sorted by."""
    yield _draw_copies(record)
    yield _draw_map(record)
    yield _draw_sorting(record)


def _draw_copies(record: Record) -> Plot:
    arrays = record.arrays
    shown = np.concatenate([arrays["originals"][:, None], arrays["copies"]], axis=1)
    names = [record.class_names[label] for label in arrays["labels"]]
    rows, columns = shown.shape[:2]
    height = 5.6 * rows / columns * record.image_shape[0] / record.image_shape[1] + 0.3
    title = f"L2 finds these {columns - 1} copies of each image equally far from it"
    figure, axes = style.canvas(height=height, title=title)
    colours = style.pixels(np.clip(shown, *record.data["levels"]), record.data["levels"])
    labels = [f"{name}\n{apart[0]:,.4g} away" for name, apart in
              zip(names, arrays["apart"], strict=True)]  # fmt: skip
    style.tiles(axes, colours, labels, ("original", *CHANGES))
    return Plot(
        "copies",
        figure,
        "First column: a training image. Then three copies, each changed as far as the weakest "
        "change reaches: moved by a pixel, dimmed, a box over it. All three have the same L2 "
        "distance to the original, which stands beside its class.",
        f"A grid of {rows} images, each with a shifted, a dimmed and a covered copy. {title}.",
    )


def _draw_map(record: Record) -> Plot:
    """Every image at its place, moved to the nearest free cell of a grid: nothing is hidden."""
    grid = record.arrays["map_grid"]
    shown = style.pixels(record.arrays["map_images"][grid], record.data["levels"])
    gap = max(1, shown.shape[3] // 16)
    shown = np.pad(shown, [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=1)
    rows, columns, height, width, _ = shown.shape
    about = [f"{_word(record)} more than class", f"class more than {_word(record)}"]
    verdict = intervals.above_zero(_about_background(record)[1])
    shared = {AGREES: about[0], DIFFERS: about[1], UNDECIDED: f"class and {_word(record)} alike"}[
        verdict
    ]
    title = f"{grid.size:,} images laid out by L2 distance: near ones share {shared}"
    figure, axes = style.canvas(height=7.0 * height / width, title=title)
    mosaic = shown.swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    axes.imshow(mosaic[:-gap, :-gap], interpolation="nearest")
    axes.set_axis_off()
    return Plot(
        "map",
        figure,
        f"The first {grid.size:,} training images; near ones are near in L2 (t-SNE of the "
        "distances, then each image on a cell of its own, moved as little as possible). It is "
        "slide 25's map.",
        f"A square of {rows} by {columns} small images. {title}.",
    )


def _draw_sorting(record: Record) -> Plot:
    """The map once more, each cell as dark as the image's neighbours share class or background."""
    arrays, word, near = record.arrays, _word(record), record.settings["num_near"]
    shares = {"class": arrays["map_same_class"], word: arrays["map_same_background"]}
    same, ground = (f"{share.mean():.0%}" for share in shares.values())
    title = f"Of an image's near ones on the map, {same} share its class, {ground} its {word}"
    figure, panels = style.canvas(1, 2, height=3.4, title=title)
    for axes, (name, share) in zip(panels, shares.items(), strict=True):
        shown = axes.imshow(100 * share[arrays["map_grid"]], cmap="Blues", vmin=0, vmax=100)
        axes.set(title=f"the same {name}", xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=panels, label=f"of the {near} nearest (%)", shrink=0.9)
    return Plot(
        "sorting",
        figure,
        f"The same cells as in the map. The darker a cell, the more of its image's {near} nearest "
        f"on the map share its class (left) or its {word} (right).",
        f"Two squares of shaded cells, by shared class and by shared {word}. {title}.",
    )
