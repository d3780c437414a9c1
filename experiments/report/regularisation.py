"""What `experiments.regularisation` found, told and drawn."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from scipy import stats

from experiments.lab.record import Record
from experiments.regularisation import KINDS, NUMBERS, places_of
from experiments.report import intervals, style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    UNDECIDED,
    Answer,
    Findings,
    Plot,
    Printed,
    Table,
    together,
)
from lincls.evaluation import Interval

SLIDES = "41-42"
QUESTION = "What does regularisation do to the weights, and does it help?"
CLAIM = (
    "L2, L1, elastic net, max norm and dropout (41). Regularisation tends to improve "
    "generalisation; no input dimension can have a very large influence all by itself. The L2 "
    "penalty of (1, 0, 0, 0) is 1.0, of (¼, ¼, ¼, ¼) only 0.25 (42)."
)
SECONDS = 9
PENALTIES = ("l2", "l1", "elastic")
COLORS = dict(zip(KINDS, style.CYCLE, strict=False))
ERROR = 0.05  # of all comparisons together


def findings(record: Record) -> Findings:
    """What each kind gains over none, in accuracy and in influence of a single pixel."""
    numbers = record.numbers
    printed = (
        Printed("42", "L2 penalty of W1", "1.0", numbers["W1"]),
        Printed("42", "L2 penalty of W2", "0.25", numbers["W2"]),
    )
    helps, influence = _of_help(record, printed), _of_influence(record)
    sentences = [
        f"In {numbers['num_draws']} draws of {numbers['fitted']} training images, no image in two "
        f"of them, none gives {accuracy(record, 0):.1%} on {numbers['judged_by']:,} "
        f"others. The strength of a draw is the best of the other draws on "
        f"{numbers['chosen_by']:,} further images; then the gain is {_gains(record)}.",
        _at_the_end(record),
        f"{words.capital(influence.because)}.",
        _of_shares(record),
        _of_zeros(record),
    ]
    answers = {"41": helps, "42": influence}
    told = [one for one in sentences if one]
    return Findings(told, answers, tables(record), printed)


def _gains(record: Record) -> str:
    told = ", ".join(
        f"{one.name} {100 * one.mean:+z.1f} ({words.signed(one.interval)})"
        for one in comparisons(record)
    )
    level = 1 - ERROR / num_tests(record)
    return f"{told} points ({level:.1%} intervals, over draws and images, 95% for all together)"


def _of_help(record: Record, printed: tuple[Printed, ...]) -> Answer:
    """Whether what is gained on other images has one sign, in all comparisons that show one."""
    found = comparisons(record)
    helped = [one.name for one in found if one.interval.low > 0]
    hurt = [one.name for one in found if one.interval.high < 0]
    verdict = UNDECIDED if bool(helped) == bool(hurt) else AGREES if helped else DIFFERS
    told = (
        f"points gained in {record.numbers['num_draws']} draws: {_gains(record)}; "
        f"{_listed('better', helped)}; {_listed('worse', hurt)}; {words.compared(printed)}"
    )
    return Answer(together([verdict, words.agreement(printed)]), told)


def _listed(how: str, kinds: list[str]) -> str:
    return f"{how} with {', '.join(kinds)}" if kinds else f"{how} with none of them"


def _at_the_end(record: Record) -> str:
    """Which kinds do best at the strongest setting tried, beyond which more might be better."""
    ends = [
        name
        for name, kind in zip(KINDS.values(), KINDS, strict=True)
        if np.any(
            record.arrays["best"][list(KINDS).index(kind)]
            == places_of(record.settings, kind).stop - 1
        )
    ]
    return f"The strongest setting tried is chosen of {', '.join(ends)}." if ends else ""


def _of_influence(record: Record) -> Answer:
    """Whether L2, of which slide 42 speaks, lowers the greatest change of a score by one pixel."""
    low, high = record.data["levels"]
    found = changes(record, "influence")
    told = ", ".join(f"{one.name} {words.signed(one.interval)}%" for one in found)
    less = [one.name for one in found if one.interval.high < 0]
    more = [one.name for one in found if one.interval.low > 0]
    because = (
        f"one pixel that goes from {low:g} to {high:g} changes a score by at most "
        f"{record.arrays['influence'][:, 0].mean():.3g} without any, and relative to that with "
        f"{told} (mean of {record.numbers['num_draws']} draws, 95% for all together): "
        f"{_listed('less', less)}; {_listed('more', more)}; the verdict is that of L2, whose "
        "penalty the slide computes"
    )
    of_l2 = found[list(KINDS).index("l2")].interval
    return Answer(intervals.above_zero(type(of_l2)(-of_l2.high, -of_l2.low)), because)


def _of_shares(record: Record) -> str:
    """How much of a row of W is its greatest weight: whether the weight is spread."""
    share = record.arrays["share"]
    told = ", ".join(
        f"{name} {at_best(record, 'share', kind).mean():.2%}" for kind, name in KINDS.items()
    )
    return (
        "Whether the weight is spread, whatever its size: the greatest weight of a row of W is "
        f"{share[:, 0].mean():.2%} of the sum of all |w| without any, with {told}."
    )


def _of_zeros(record: Record) -> str:
    zeros = ", ".join(
        f"{name} {record.arrays['zeros'][:, places_of(record.settings, kind)][:, -1].mean():.0%}"
        for kind, name in KINDS.items()
    )
    return f"Exactly 0 at the greatest strength, of the weights of pixels that vary: {zeros}."


def draw(record: Record) -> Iterator[Plot]:
    """Accuracy, zeros and influence by strength; templates; accuracy by training images."""
    yield strengths(record)
    yield templates(record)
    yield sizes(record)


class Comparison(NamedTuple):
    """What a kind changes beside none: the mean over draws, and its corrected interval."""

    name: str
    mean: float
    interval: Interval


def crossed(gains: np.ndarray, confidence: float) -> Interval:
    """The interval of the mean over other draws and other images (draws, images).

    mean ± t s, s² = (variance of the draws' means) / draws + (that of the images') / images,
    which counts what is particular to a pair twice and so is rather too wide; degrees of
    freedom as Welch and Satterthwaite have them.
    """
    parts = [gains.mean(axis=1 - axis).var(ddof=1) / gains.shape[axis] for axis in (0, 1)]
    squares = sum(part**2 / (size - 1) for part, size in zip(parts, gains.shape, strict=True))
    mean = float(gains.mean())
    if squares == 0:
        return Interval(mean, mean)
    reach = stats.t.ppf((1 + confidence) / 2, sum(parts) ** 2 / squares) * np.sqrt(sum(parts))
    return Interval(mean - float(reach), mean + float(reach))


def num_tests(record: Record) -> int:
    """How many comparisons with none are made: of the kinds, and of other numbers of images."""
    return len(KINDS) + len(record.numbers["sizes"]) - 1


def _compared(record: Record, name: str, without: np.ndarray, right: np.ndarray) -> Comparison:
    gains = right.astype(np.float64) - without
    return Comparison(name, gains.mean(), crossed(gains, 1 - ERROR / num_tests(record)))


def comparisons(record: Record) -> list[Comparison]:
    """Accuracy gained over none on the images that judge: by each kind, then by L2 on others."""
    without, *right = record.arrays["right"]
    kinds = zip(KINDS.values(), right, strict=True)
    return [
        *(_compared(record, name, without, of_kind) for name, of_kind in kinds),
        *(by_size(record, size) for size in record.numbers["sizes"]
          if size != record.numbers["fitted"]),
    ]  # fmt: skip


def by_size(record: Record, size: int) -> Comparison:
    """What L2 gains with so many training images."""
    return _compared(record, f"L2 on {size:,} images", *record.arrays[f"right_{size}"])


def accuracy(record: Record, place: int) -> float:
    """Of none (0) and of each kind (1 to 5), on the images that judge."""
    return float(record.arrays["right"][place].mean())


def at_best(record: Record, measure: str, kind: str) -> np.ndarray:
    """A measure of each draw at the strength that was chosen for it (draws,)."""
    values = record.arrays[measure]
    return values[np.arange(len(values)), record.arrays["best"][list(KINDS).index(kind)]]


def changes(record: Record, measure: str) -> list[Comparison]:
    """By which share of none's mean each kind changes a measure, over the draws."""
    none = record.arrays[measure][:, 0]
    relative = [(at_best(record, measure, kind) - none) / none.mean() for kind in KINDS]
    return [
        Comparison(name, float(one.mean()), intervals.of_mean(one, 1 - ERROR / len(KINDS)))
        for name, one in zip(KINDS.values(), relative, strict=True)
    ]


def _numbers(record: Record, kind: str) -> str:
    """The strengths, radii or shares that were chosen, from the least to the greatest."""
    settings = record.settings[NUMBERS.get(kind, "regs")]
    best = record.arrays["best"][list(KINDS).index(kind)] - places_of(record.settings, kind).start
    return _range([settings[place] for place in best])


def _range(values: Any) -> str:
    return " to ".join(f"{value:g}" for value in sorted({min(values), max(values)}))


def tables(record: Record) -> tuple[Table, ...]:
    """Each kind at its best; L2 and none for every number of training images."""
    of_none = (record.arrays[name][:, 0].mean() for name in ("zeros", "influence", "share"))
    rows = [("none", "", f"{accuracy(record, 0):.1%}", "", *_measures(*of_none))]
    for place, (kind, found) in enumerate(zip(KINDS, comparisons(record), strict=False), 1):
        means = (at_best(record, name, kind).mean() for name in ("zeros", "influence", "share"))
        rows.append((found.name, _numbers(record, kind), f"{accuracy(record, place):.1%}",
                     words.signed(found.interval), *_measures(*means)))  # fmt: skip
    caption = (
        f"Means of {record.numbers['num_draws']} draws of {record.numbers['fitted']} training "
        "images, each kind at the strength (of max norm: the radius; of dropout: the share "
        "dropped) that was chosen without the images that judge. Gain: points above none, 95% for "
        "all comparisons together. Influence: the greatest change of a score when one pixel goes "
        "from the least to the greatest value. Share: of the greatest weight in the sum of a row."
    )
    header = ("kind", "strength", "accuracy", "gain", "weights at 0", "influence", "share")
    return Table(caption, header, rows), _size_table(record)


def _measures(zeros: float, influence: float, share: float) -> tuple[str, ...]:
    return f"{zeros:.0%}", f"{influence:.3g}", f"{share:.2%}"


def _size_table(record: Record) -> Table:
    rows = []
    for size, regs in zip(record.numbers["sizes"], record.numbers["size_regs"], strict=True):
        without, with_l2 = record.arrays[f"right_{size}"].mean(axis=(1, 2))
        gain = words.signed(by_size(record, size).interval)
        rows.append((f"{size:,}", f"{without:.1%}", f"{with_l2:.1%}", _range(regs), gain))
    caption = "Accuracy by the number of training images; gain: points, 95% for all together."
    return Table(caption, ("training images", "none", "L2", "strength", "gain"), rows)


def strengths(record: Record) -> Plot:
    """Accuracy, exact zeros and influence against strength, radius and share."""
    found = comparisons(record)
    best = max(found[: len(KINDS)], key=lambda one: one.mean)
    title = (
        f"{words.capital(best.name)} gains most over none: {words.signed(best.interval)} points"
        f"{'' if best.interval.low > 0 else ', within chance'}"
    )
    figure, axes = style.canvas(3, 3, height=6.0, title=title, sharey="row", sharex="col")
    columns = (PENALTIES, ("max_norm",), ("dropout",))
    for column, kinds in zip(axes.T, columns, strict=True):
        for kind, marker in zip(kinds, style.MARKERS, strict=False):
            _draw_kind(column, record, kind, marker)
    _label(axes, record.settings["radii"], record.settings["shares"])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return Plot(
        "strengths",
        figure,
        f"Softmax classifiers fitted to {record.numbers['num_draws']} draws of "
        f"{record.numbers['fitted']} images. Top: points above none on the "
        f"{record.numbers['chosen_by']:,} others that choose the strength, mean of the draws with "
        "its 95% interval; the title's interval is of the images that judge. "
        "Middle: the share of the weights, of pixels that vary, that is exactly 0. Bottom: the "
        "greatest change of a score when one pixel goes from the least to the greatest value. "
        "Dotted: without regularisation. To the right it is stronger; the radius falls.",
        "Nine line charts: gain of accuracy (top), share of zero weights (middle) and influence of "
        "a pixel (bottom) against the strength of the penalties, the radius of max norm and the "
        f"share dropped. {title}.",
    )


def _draw_kind(column: Any, record: Record, kind: str, marker: str) -> None:
    top, middle, bottom = column
    where, arrays = places_of(record.settings, kind), record.arrays
    numbers = record.settings[NUMBERS.get(kind, "regs")]
    gains = 100 * (arrays["accuracy"][:, where] - arrays["accuracy"][:, :1])
    reaches = [gain.mean() - intervals.of_mean(gain).low for gain in gains.T]
    look: dict[str, Any] = {"color": COLORS[kind], "marker": marker, "label": KINDS[kind]}
    top.errorbar(numbers, gains.mean(axis=0), reaches, capsize=2, **look)
    middle.plot(numbers, 100 * arrays["zeros"][:, where].mean(axis=0), **look)
    bottom.plot(numbers, arrays["influence"][:, where].mean(axis=0), **look)
    for axes, level in ((top, 0), (bottom, arrays["influence"][:, 0].mean())):
        axes.axhline(level, color=style.FAINT, ls=":", lw=1.5)


def _label(axes: np.ndarray, radii: Any, shares: Any) -> None:
    for place, text in enumerate(("gain\n(points)", "weights\nat 0 (%)", "influence\non a score")):
        axes[place, 0].set_ylabel(text)
    for place, (title, label) in enumerate(
        (("penalties", "strength λ"), ("max norm", "radius of a row"), ("dropout", "share dropped"))
    ):
        axes[0, place].set_title(title)
        axes[2, place].set_xlabel(label)
    for axis in axes[:, :2].flat:
        axis.set_xscale("log")
    axes[2, 0].set_ylim(0, None)
    axes[2, 1].invert_xaxis()
    for axis in axes[2, 1:]:
        axis.margins(x=0.12)  # room between the numbers of two panels
    style.ticks(axes[2, 1], radii[::2])
    style.ticks(axes[2, 2], shares[::2])


def templates(record: Record) -> Plot:
    """The rows of W as images, under none and under each kind when it is strong."""
    names = record.class_names[:10]
    pictures = style.weights(record.arrays["templates"][:, : len(names)])
    shown = record.arrays["shown"]
    numbers = (
        _number(record, kind, int(place)) for kind, place in zip(KINDS, shown[1:], strict=True)
    )
    rows = ["none", *(f"{name}, {n:g}" for name, n in zip(KINDS.values(), numbers, strict=True))]
    shape = record.image_shape
    height = 6.2 / len(names) * len(rows) * shape[0] / shape[1] + 0.3
    l1 = int(shown[1 + list(KINDS).index("l1")])
    strength, left = _number(record, "l1", l1), 1 - record.arrays["zeros"][0, l1]
    title = f"At strength {strength:g}, L1 leaves {left:.0%} of the weights"
    figure, axes = style.canvas(height=height, title=title)
    style.tiles(axes, pictures, rows, names)
    return Plot(
        "templates",
        figure,
        f"The rows of W of softmax classifiers fitted to {record.numbers['fitted']} images, those "
        "of the first draw, each kind at the strongest setting tried that leaves a tenth of the "
        "weights (beside its name), each row of W scaled by its own greatest weight. "
        "Red (or bright) speaks for the class, blue (or dark) against it, white (or grey) is a "
        "weight of 0. The title counts pixels that vary.",
        f"Small images in {len(rows)} rows: the weights of {', '.join(names)} for "
        f"{', '.join(rows)}. {title}.",
    )


def _number(record: Record, kind: str, place: int) -> float:
    """The strength, radius or share of the setting at a place."""
    numbers = record.settings[NUMBERS.get(kind, "regs")]
    return numbers[place - places_of(record.settings, kind).start]


def sizes(record: Record) -> Plot:
    """Accuracy with L2 and without, and what L2 gains, against the number of training images."""
    numbers = record.numbers["sizes"]
    found = [by_size(record, size) for size in numbers]
    told = [f"{size:,} images" for size, one in zip(numbers, found, strict=True)
            if one.interval.low > 0]  # fmt: skip
    title = "With L2 or without: no gain beyond chance"
    if told:
        title = f"L2 gains beyond chance with {', '.join(told)}"
    figure, (left, right) = style.canvas(1, 2, height=3.2, title=title)
    _draw_accuracy(left, record)
    means = 100 * np.array([one.mean for one in found])
    reaches = means - 100 * np.array([one.interval.low for one in found])
    right.errorbar(numbers, means, reaches, capsize=3, marker="o", color=COLORS["l2"])
    right.axhline(0, color=style.FAINT, ls=":", lw=1.5)
    right.set(ylabel="gain of L2 (points)")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="training images")
        axes.margins(x=0.1)
        style.ticks(axes, numbers)
    return Plot(
        "training_images",
        figure,
        f"Left: accuracy on {record.numbers['judged_by']:,} images of classifiers fitted to so "
        f"many training images, mean of {record.numbers['num_draws']} draws with its 95% interval. "
        f"Right: what L2 gains, {1 - ERROR / num_tests(record):.1%} intervals over draws and "
        f"images; the strength is chosen on {record.numbers['chosen_by']:,} others.",
        "Left two lines, accuracy against the number of training images, with L2 and without; "
        f"right the gain with intervals. {title}.",
    )


def _draw_accuracy(axes: Axes, record: Record) -> None:
    numbers = np.array(record.numbers["sizes"])
    for place, label, color in ((0, "none", style.FAINT), (1, "L2", COLORS["l2"])):
        shares = [100 * record.arrays[f"right_{size}"][place].mean(axis=1) for size in numbers]
        means = np.array([share.mean() for share in shares])
        reaches = means - [intervals.of_mean(share).low for share in shares]
        # Moved apart a little, so that the intervals can be told apart.
        axes.errorbar(numbers * (1.03 if place else 0.97), means, reaches, capsize=3, marker="o",
                      color=color, label=label)  # fmt: skip
    axes.set_ylabel("accuracy (%)")
    axes.legend(title="regularisation", loc="lower right")
