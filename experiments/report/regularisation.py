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
QUESTION = "Does regularisation improve accuracy, and what does it do to the weights?"
CLAIM = (
    "Regularisation tends to improve generalisation: L2, L1, elastic net, max norm, dropout (41). "
    "No input dimension can have a very large influence by itself. The L2 penalty of (1, 0, 0, 0) "
    "is 1.0, and that of (¼, ¼, ¼, ¼) is 0.25 (42)."
)
SECONDS = 9
COLORS = dict(zip(KINDS, style.CYCLE, strict=False))
COLUMNS = (  # of the figure: kinds, title, name of x
    (("l2", "l1", "elastic"), "penalties", "strength λ"),
    (("max_norm",), "max norm", "radius of a row"),
    (("dropout",), "dropout", "share dropped"),
)
MEASURES = ("zeros", "influence", "share")
ERROR = 0.05  # of all comparisons together
MATERIAL = 0.1  # the least relative change of the influence that bears slide 42 out
EFFECTS = {AGREES: "improves", DIFFERS: "lowers", UNDECIDED: "has no consistent effect on"}


class Gain(NamedTuple):
    """Points of accuracy above no regularisation: the mean, and its interval among all gains."""

    name: str
    mean: float
    interval: Interval


def findings(record: Record) -> Findings:
    """The gain in accuracy of each kind, and what it does to the weights."""
    gains, change = comparisons(record), influence_of_l2(record)
    printed = (
        Printed("42", "L2 penalty of W1", "1.0", record.numbers["W1"]),
        Printed("42", "L2 penalty of W2", "0.25", record.numbers["W2"]),
    )
    influence = (
        "L2 changes the largest influence of one input on a score by "
        f"{50 * sum(change):+.1f} % (95 % CI {words.signed(change)})"
    )
    zeros = record.arrays["zeros"][:, places_of(record.settings, "l1").stop - 1].mean()
    sentences = [
        f"Regularisation {EFFECTS[_of_gains(gains)]} accuracy; {_best(gains)}.",
        f"{influence}.",
        f"At its strongest setting, L1 makes {words.percent(zeros)} of the weights exactly 0.",
    ]
    each = ", ".join(f"{one.name} {words.signed(one.interval)}" for one in gains)
    in_42 = together([_of_influence(change), words.agreement(printed)])
    needed = f"the claim needs {words.percent(-MATERIAL, 0)}"
    answers = {
        "41": Answer(_of_gains(gains), f"points gained: {each}"),
        "42": Answer(in_42, f"{influence}; {needed}; {words.compared(printed)}"),
    }
    return Findings(sentences, answers, (_table(record, gains),), printed)


def _of_gains(gains: list[Gain]) -> str:
    """Whether accuracy rises in the comparisons whose interval shows a sign."""
    helps = any(one.interval.low > 0 for one in gains)
    hurts = any(one.interval.high < 0 for one in gains)
    return UNDECIDED if helps == hurts else AGREES if helps else DIFFERS


def _of_influence(change: Interval) -> str:
    """Whether L2 lowers the influence of one input, and by an amount that matters."""
    return AGREES if change.high <= -MATERIAL else DIFFERS if change.low > 0 else UNDECIDED


def _best(gains: list[Gain]) -> str:
    """The best gain; where all are equal, that of all."""
    best = max(gains, key=lambda one: one.mean)
    name = best.name if len({one.mean for one in gains}) > 1 else "all kinds"
    interval = words.signed(best.interval)
    return f"best: {name}, {100 * best.mean:+z.1f} points (95 % CI {interval})"


def crossed(gains: np.ndarray, confidence: float) -> Interval:
    """The interval of the mean over other draws and other images (draws, images).

    mean ± t s, s² = (variance of the draws' means) / draws + (that of the images') / images.
    This counts what is particular to a pair twice, so it is rather too wide.  The degrees of
    freedom are those of Welch and Satterthwaite.
    """
    if min(gains.shape) < 2:
        return Interval(-np.inf, np.inf)
    parts = [gains.mean(axis=1 - axis).var(ddof=1) / gains.shape[axis] for axis in (0, 1)]
    squares = sum(part**2 / (size - 1) for part, size in zip(parts, gains.shape, strict=True))
    mean = float(gains.mean())
    if squares == 0:
        return Interval(mean, mean)
    reach = stats.t.ppf((1 + confidence) / 2, sum(parts) ** 2 / squares) * np.sqrt(sum(parts))
    return Interval(mean - float(reach), mean + float(reach))


def comparisons(record: Record) -> list[Gain]:
    """Accuracy gained by each kind, then by L2 on other numbers of examples."""
    none, *right = record.arrays["right"]
    gains = {name: of_kind.astype(np.float64) - none
             for name, of_kind in zip(KINDS.values(), right, strict=True)}  # fmt: skip
    for size in record.numbers["sizes"]:
        none, with_l2 = record.arrays[f"right_{size}"].astype(np.float64)
        gains.setdefault(_name(record, size), with_l2 - none)
    confidence = 1 - ERROR / len(gains)
    return [Gain(name, float(gain.mean()), crossed(gain, confidence))
            for name, gain in gains.items()]  # fmt: skip


def _name(record: Record, size: int) -> str:
    """The name of L2 on so many training examples."""
    return KINDS["l2"] if size == record.numbers["fitted"] else f"L2 ({size:,} examples)"


def influence_of_l2(record: Record) -> Interval:
    """The relative change of the influence by L2 at its chosen strength, over the draws."""
    influence, best = record.arrays["influence"], record.arrays["best"].astype(int)
    with_l2 = influence[np.arange(len(influence)), best[list(KINDS).index("l2")]]
    return intervals.of_mean((with_l2 - influence[:, 0]) / influence[:, 0].mean())


def _numbers(record: Record) -> np.ndarray:
    """The strength, radius or share of every setting, as they stand in the arrays (G,)."""
    tried = [record.settings[NUMBERS.get(kind, "regs")] for kind in KINDS]
    return np.concatenate([[0.0], *tried])


def _range(values: Any) -> str:
    return " to ".join(f"{value:g}" for value in sorted({min(values), max(values)}))


def _table(record: Record, gains: list[Gain]) -> Table:
    """Each kind at what was chosen for it, then L2 on other numbers of examples."""
    numbers, arrays = record.numbers, record.arrays
    gained = {"none": ""} | {one.name: words.signed(one.interval) for one in gains}
    rows: list[tuple[str, ...]] = []
    best, draws = arrays["best"].astype(int), np.arange(arrays["best"].shape[1])
    settings = zip(("none", *KINDS.values()), [0 * draws, *best], arrays["right"], strict=True)
    for name, places, right in settings:
        zeros, influence, share = (arrays[one][draws, places].mean() for one in MEASURES)
        rows.append((name, _range(_numbers(record)[places]), words.percent(right.mean()),
                     gained[name], words.percent(zeros, 0), f"{influence:.3g}",
                     words.percent(share)))  # fmt: skip
    for size, regs in zip(numbers["sizes"], numbers["size_regs"], strict=True):
        name = _name(record, size)
        if name not in KINDS.values():
            none, with_l2 = map(words.percent, arrays[f"right_{size}"].mean(axis=(1, 2)))
            rows.append((name, _range(regs), f"{with_l2} (none: {none})", gained[name], *[""] * 3))
    caption = (
        f"Means of {numbers['num_draws']} draws of {numbers['fitted']} training examples, on "
        f"{numbers['judged_by']:,} held-out ones. Gain: points, with 95 % CI corrected for "
        f"{len(gains)} comparisons. Influence: the largest change of a score by one input; "
        "largest weight: its share of a row of |W|."
    )
    header = ("kind", "setting", "accuracy", "gain", "weights at 0", "influence", "largest weight")
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """Accuracy and influence by strength; templates; accuracy by training images."""
    yield strengths(record)
    yield templates(record)
    yield sizes(record)


def strengths(record: Record) -> Plot:
    """Accuracy and influence against strength, radius and share."""
    title = words.capital(_best(comparisons(record)))
    figure, axes = style.canvas(2, 3, height=4.6, title=title, sharey="row", sharex="col")
    for (top, bottom), (kinds, name, label) in zip(axes.T, COLUMNS, strict=True):
        for kind, marker in zip(kinds, style.MARKERS, strict=False):
            _draw_kind(top, bottom, record, kind, marker)
        top.set_title(name)
        bottom.set_xlabel(label)
        bottom.margins(x=0.12)  # room between the numbers of two panels
    axes[0, 0].set(ylabel="gain (points)", xscale="log")
    axes[1, 0].set(ylabel="influence", ylim=(0, None))
    axes[1, 1].set_xscale("log")
    axes[1, 1].invert_xaxis()
    for axis, kind in ((axes[1, 1], "max_norm"), (axes[1, 2], "dropout")):
        style.ticks(axis, _numbers(record)[places_of(record.settings, kind)][::2])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return Plot(
        "strengths",
        figure,
        f"Top: gain in accuracy on {record.numbers['chosen_by']:,} validation examples, mean of "
        f"{record.numbers['num_draws']} draws with 95 % CI; the title counts held-out ones. "
        "Bottom: the largest change of a score by one input. Dotted: without regularisation.",
        "Six line charts: gain in accuracy and influence of an input against strength, radius and "
        f"share dropped. {title}.",
    )


def _draw_kind(top: Axes, bottom: Axes, record: Record, kind: str, marker: str) -> None:
    where, arrays = places_of(record.settings, kind), record.arrays
    numbers = _numbers(record)[where]
    gains = 100 * (arrays["accuracy"][:, where] - arrays["accuracy"][:, :1]).T
    look: dict[str, Any] = {"color": COLORS[kind], "marker": marker, "label": KINDS[kind]}
    _draw_means(top, numbers, gains, [intervals.of_mean(gain) for gain in gains], **look)
    bottom.plot(numbers, arrays["influence"][:, where].mean(axis=0), **look)
    for axes, level in ((top, 0), (bottom, arrays["influence"][:, 0].mean())):
        axes.axhline(level, color=style.FAINT, ls=":", lw=1.5)


def _draw_means(axes: Axes, x: np.ndarray, values: np.ndarray, ends: Any, **look: Any) -> None:
    """The means of values (places, draws) and their intervals (places, 2)."""
    means = values.mean(axis=1)
    axes.errorbar(x, means, np.abs(np.array(ends).T - means), capsize=3, **look)


def templates(record: Record) -> Plot:
    """The rows of W as images, without regularisation and with much of each kind."""
    names, shown = record.class_names[:10], record.arrays["shown"]
    pictures = style.weights(record.arrays["templates"][:, : len(names)])
    height, width = pictures.shape[2:4]
    pictures = pictures.repeat(max(1, width // (4 * height)), axis=2)  # vectors become strips
    numbers = _numbers(record)[shown[1:].astype(int)]
    of_kinds = zip(KINDS.values(), numbers, strict=True)
    rows = ["none", *(f"{name}, {number:g}" for name, number in of_kinds)]
    left = 1 - record.arrays["zeros"][0, int(shown[1 + list(KINDS).index("l1")])]
    title = f"L1 leaves {words.percent(left, 0)} of the weights different from 0"
    gap = round(0.14 * width)
    ratio = len(rows) * (pictures.shape[2] + gap) / (len(names) * (width + gap))
    figure, axes = style.canvas(height=6.2 * ratio + 0.3, title=title)
    style.tiles(axes, pictures, rows, names)
    return Plot(
        "templates",
        figure,
        f"The rows of W after {record.numbers['fitted']} training examples, each scaled by its "
        "largest weight. Beside each kind: its strongest setting that leaves a tenth of the "
        "weights. Red (or bright) is positive, blue (or dark) negative.",
        f"The weights of {', '.join(names)} as images for {', '.join(rows)}. {title}.",
    )


def sizes(record: Record) -> Plot:
    """Accuracy with L2 and without, against the number of training examples."""
    numbers = np.array(record.numbers["sizes"])
    gain = next(one for one in comparisons(record) if one.name == _name(record, numbers[0]))
    title = f"With {numbers[0]} examples, L2 gains {words.points(gain.interval)} (95 % CI)"
    figure, axes = style.canvas(height=3.2, title=title)
    for place, label, color in ((0, "none", style.FAINT), (1, "L2", COLORS["l2"])):
        shares = [record.arrays[f"right_{size}"][place].mean(axis=1) for size in numbers]
        ends = [intervals.of_shares(of_size) for of_size in shares]
        moved = numbers * (1.03 if place else 0.97)  # the two intervals stand side by side
        _draw_means(axes, moved, 100 * np.array(shares), 100 * np.array(ends), color=color,
                    marker="o", label=label)  # fmt: skip
    axes.set(xscale="log", xlabel="training examples", ylabel="accuracy (%)",
             xlim=(numbers[0] / 1.3, numbers[-1] * 1.3))  # fmt: skip
    style.ticks(axes, numbers)
    axes.legend(title="regularisation", loc="upper left")
    return Plot(
        "training_images",
        figure,
        f"Accuracy on {record.numbers['judged_by']:,} held-out examples, mean of "
        f"{record.numbers['num_draws']} draws with 95 % CI; the title's is corrected as above.",
        f"Two lines: accuracy with L2 and without, against the training examples. {title}.",
    )
