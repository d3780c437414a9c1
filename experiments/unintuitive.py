"""Distances are unintuitive: equally far copies, the background, and a map by L2 distance."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import jax
import numpy as np

from experiments.lab import intervals, pictures, run, style, tuning, words
from experiments.lab.experiment import AGREES, DIFFERS, OPEN, Answer, Findings, Outcome, Plot, Table
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import distances, evaluation, knn

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


@dataclass(frozen=True)
class Settings:
    num_originals: int = flag(3, "training images altered, the first of so many classes", low=1)
    num_judged: int = flag(1000, "training images whose copies are classified", low=2, smoke=40)
    num_searched: int = flag(2000, "training images searched, the first ones", low=10, smoke=200)
    map_side: int = flag(30, "images along a side of the map, the first ones", low=3, smoke=8)
    num_near: int = flag(5, "neighbours on the map that are looked at", low=1)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Copies of equal distance, and how many training images are nearer than they are."""
    train = tuning.rows(data.train, settings.num_searched)
    classes = range(min(settings.num_originals, data.num_classes))
    places = [int(np.argmax(train.y == label)) for label in classes]
    originals = train.X[places].astype(np.float64).reshape(-1, *data.image_shape)
    copies = np.stack([_altered(image, data.levels[0]) for image in originals])
    apart = np.sqrt(np.sum((copies - originals[:, None]) ** 2, axis=(2, 3, 4)))
    others = knn.neighbors(knn.fit(train.X), train.X[places], len(train.y))
    nearer = others.distances < apart.max(axis=1, keepdims=True) ** 2
    of_other_class = train.y[others.indices] != train.y[places][:, None]
    numbers = {
        "searched": len(train.y),
        "nearer": nearer.sum(axis=1) - 1,  # without the original itself
        "nearer_other": np.sum(nearer & of_other_class, axis=1),
    }
    arrays = {"originals": originals, "copies": copies, "apart": apart}
    outcome = Outcome(numbers, arrays | {"labels": train.y[places]})
    _judged(outcome, data, train, settings)
    _map(outcome, data, key, settings)
    return outcome


def _judged(outcome: Outcome, data: Data, train: tuning.Rows, settings: Settings) -> None:
    """Whether copies of images, equally far, still have the class of their nearest neighbour.

    An image's own row is not searched.  Images that a change does not alter are left out.
    """
    images = train.X[: settings.num_judged].astype(np.float64).reshape(-1, *data.image_shape)
    changes = np.stack([_changes(image, data.levels[0]) for image in images])
    lengths = np.sqrt(np.sum(changes**2, axis=(2, 3, 4), keepdims=True))
    kept = np.flatnonzero(lengths.min(axis=(1, 2, 3, 4)))
    least = lengths[kept].min(axis=1, keepdims=True)
    shown = images[kept][:, None] + changes[kept] * (least / lengths[kept])
    shown = np.concatenate([images[kept][:, None], shown], axis=1)  # (n, 4, H, W, C)
    model = knn.fit(train.X.astype(np.float32))
    queries = shown.reshape(-1, train.X.shape[1]).astype(np.float32)
    found = np.asarray(knn.neighbors(model, queries, 2).indices).reshape(*shown.shape[:2], 2)
    itself = found[..., 0] == kept[:, None]
    nearest = train.y[np.where(itself, found[..., 1], found[..., 0])]
    others = knn.neighbors(knn.fit(train.X), None, 1, groups=train.y)  # of other classes
    outcome.arrays["judged_right"] = nearest == train.y[kept][:, None]
    outcome.arrays["judged_other_nearer"] = others.distances[kept, 0] < least.ravel() ** 2


def _map(outcome: Outcome, data: Data, key: jax.Array, settings: Settings) -> None:
    """Images laid out by L2 distance, and whether near ones share class or background."""
    side = min(settings.map_side, int(np.sqrt(len(data.train.labels))))
    images, y = data.train.images[: side * side], data.train.labels[: side * side]
    images = images.reshape(-1, *data.image_shape)
    groups = pictures.equal_groups(pictures.background(images), data.num_classes)
    apart = pictures.all_distances(images.reshape(len(images), -1), distances.l2)
    places = pictures.map_by_distance(apart, int(np.asarray(jax.random.key_data(key))[-1] >> 1))
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, : settings.num_near]
    outcome.arrays |= {
        "map_grid": pictures.on_grid(places),
        "map_images": images,
        "map_labels": y,
        "map_groups": groups,
        "map_bright": pictures.background(images),
        "pair_means": _pair_means(apart, y, groups),
    }
    for name, of in (("class", y), ("background", groups)):
        outcome.arrays[f"map_same_{name}"] = pictures.same_near(places, of, settings.num_near)
        outcome.arrays[f"l2_same_{name}"] = np.mean(of[nearest] == of[:, None], axis=1)
        outcome.numbers[f"chance_{name}"] = float(np.sum((np.bincount(of) / len(of)) ** 2))


def _pair_means(apart: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean distance (N, 2, 2) of each image to others of its class or not, its background or not.

    NaN where there are none.
    """
    same_class, same_background = y[:, None] == y, groups[:, None] == groups
    finite = np.isfinite(apart)  # not itself
    means = np.full((len(y), 2, 2), np.nan)
    for row, of_class in enumerate((same_class, ~same_class)):
        for column, of_background in enumerate((same_background, ~same_background)):
            mask = of_class & of_background & finite
            counts = mask.sum(axis=1)
            sums = np.sum(np.where(mask, apart, 0), axis=1)
            means[:, row, column] = np.where(counts, sums / np.maximum(counts, 1), np.nan)
    return means


def _altered(image: np.ndarray, low: float) -> np.ndarray:
    """Shifted, dimmed and covered copies (3, H, W, C), as far as the weakest change reaches."""
    changes = _changes(image, low)
    lengths = np.sqrt(np.sum(changes**2, axis=(1, 2, 3), keepdims=True))
    if not lengths.min():
        raise ValueError("an image that a shift, dimming or a box does not change cannot be shown")
    return image + changes * (lengths.min() / lengths)


def _changes(image: np.ndarray, low: float) -> np.ndarray:
    """What a shift, dimming and a box do to an image at their full strength, (3, H, W, C)."""
    height, width = image.shape[:2]
    covered = image.copy()
    covered[height // 4 : height // 2 + 1, width // 4 : -(-3 * width // 4)] = low
    return np.stack([np.roll(image, 1, axis=1), np.full_like(image, low), covered]) - image


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
    verdict = intervals.together(one.verdict for one in answers.values())
    tables = _table(record), _pairs(record)
    return Findings([*sentences, *told], verdict, tables, by_slides=answers)


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
    return DIFFERS if same else OPEN


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
    shared = {AGREES: about[0], DIFFERS: about[1], OPEN: f"class and {_word(record)} alike"}[
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


if __name__ == "__main__":
    sys.exit(run.main(__file__))
