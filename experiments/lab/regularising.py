"""Tables and figures of the regularisation experiment; they read its record alone.

Settings stand in the arrays in this order: none, L2, L1, elastic net (each at every
strength), max norm (at every radius), dropout (at every share).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.lab import style, words
from experiments.lab.experiment import Plot, Table
from experiments.lab.record import Record
from lincls import evaluation

PENALTIES = {"l2": "L2", "l1": "L1", "elastic": "elastic net"}
KINDS = PENALTIES | {"max_norm": "max norm", "dropout": "dropout"}
COLORS = dict(zip(KINDS, style.CYCLE, strict=False))
NUMBERS = {"l2": "l2_regs", "max_norm": "radii", "dropout": "shares"}  # what tunes a kind


def places(settings: Mapping[str, Any], kind: str) -> slice:
    """Where a kind's settings stand in the arrays."""
    order = [(name, len(settings[NUMBERS.get(name, "regs")])) for name in KINDS]
    before = [count for name, count in order[: list(KINDS).index(kind)]]
    start = 1 + sum(before)
    return slice(start, start + dict(order)[kind])


def gain(record: Record, kind: str) -> float:
    """Accuracy on the judging half that a kind, chosen on the other one, is above none."""
    judged = record.arrays["judged"]
    return float(judged[_best(record, kind)] - judged[0])


def _best(record: Record, kind: str) -> int:
    return int(record.arrays["best"][1 + list(KINDS).index(kind)])


def num_tests(record: Record) -> int:
    """How many comparisons with none are made: of the kinds, and of the numbers of images."""
    return len(KINDS) + len(record.numbers["sizes"])


def beyond_chance(record: Record, sign: int) -> list[str]:
    """The comparisons whose gain has this sign and passes McNemar's test at 5 % in all."""
    least = 0.05 / num_tests(record)
    found = [
        name
        for kind, name in KINDS.items()
        if sign * gain(record, kind) > 0 and record.arrays["p"][_best(record, kind)] < least
    ]
    return found + [
        f"L2 on {row['size']:,} images"
        for row in record.numbers["sizes"]
        if sign * (row["with"] - row["without"]) > 0 and row["p"] < least
    ]


def tables(record: Record) -> tuple[Table, ...]:
    """Each kind at its best; L2 and none for every number of training images."""
    rows = [("none", "", *_row(record, 0))]
    for kind, name in KINDS.items():
        place = _best(record, kind)
        rows.append((name, f"{_number(record, kind, place):g}", *_row(record, place)))
    caption = (
        "Each kind at the strength (of max norm: the radius; of dropout: the share dropped) that "
        f"did best on {record.numbers['chosen_by']:,} images, judged on "
        f"{record.numbers['judged_by']:,} others. Influence: the greatest change of a score when "
        "one pixel goes from the least to the greatest value."
    )
    header = ("kind", "strength", "accuracy", "p", "weights that are 0", "greatest influence")
    return Table(caption, header, rows), _size_table(record)


def _row(record: Record, place: int) -> tuple[str, ...]:
    total, arrays = record.numbers["judged_by"], record.arrays
    p = f"{arrays['p'][place]:.2g}" if place else ""
    share = _share(round(arrays["judged"][place] * total), total)
    return share, p, f"{arrays['zeros'][place]:.0%}", f"{arrays['influence'][place]:.3g}"


def _share(right: int, total: int) -> str:
    """An accuracy with its interval."""
    return f"{right / total:.1%} ({words.between(evaluation.wilson_interval(right, total))})"


def _size_table(record: Record) -> Table:
    total = record.numbers["judged_by"]
    rows = [
        (f"{row['size']:,}", _share(row["without"], total), _share(row["with"], total),
         f"{row['reg']:g}", f"{row['p']:.2g}")
        for row in record.numbers["sizes"]
    ]  # fmt: skip
    caption = "Accuracy (95% interval) by the number of training images; p is McNemar's."
    return Table(caption, ("training images", "none", "L2", "strength", "p"), rows)


def strengths(record: Record) -> Plot:
    """Accuracy, exact zeros and influence against strength, radius and share."""
    best = max(KINDS, key=lambda kind: gain(record, kind))
    judged = record.arrays["judged"]
    title = (
        f"{words.capital(KINDS[best])} does best: {judged[_best(record, best)]:.1%}, "
        f"without any {judged[0]:.1%}"
        f"{'' if beyond_chance(record, 1) else ', within chance'}"
    )
    figure, axes = style.canvas(3, 3, height=6.0, title=title, sharey="row", sharex="col")
    columns = (tuple(PENALTIES), ("max_norm",), ("dropout",))
    for column, kinds in zip(axes.T, columns, strict=True):
        for kind, marker in zip(kinds, style.MARKERS, strict=False):
            _draw_kind(column, record, kind, marker)
    _label(axes, record.settings["radii"], record.settings["shares"])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return Plot(
        "strengths",
        figure,
        f"Softmax classifiers fitted to {record.numbers['fitted']} images. Top: accuracy on the "
        f"{record.numbers['chosen_by']:,} others that choose the strength, with 95% intervals. "
        "The title's numbers are of the other half, which judges. "
        "Middle: the share of the weights, of pixels that vary, that is exactly 0. Bottom: the "
        "greatest change of a score when one pixel goes from the least to the greatest value. "
        "Dotted: without regularisation. To the right it is stronger; the radius falls.",
        "Nine line charts: accuracy (top), share of zero weights (middle) and influence of a pixel "
        "(bottom) against the strength of the penalties, the radius of max norm and the share "
        f"dropped. {title}.",
    )


def _draw_kind(column: Any, record: Record, kind: str, marker: str) -> None:
    top, middle, bottom = column
    where, total = places(record.settings, kind), record.numbers["chosen_by"]
    numbers, arrays = record.settings[NUMBERS.get(kind, "regs")], record.arrays
    accuracy = arrays["accuracy"]
    ends = [evaluation.wilson_interval(round(a * total), total) for a in accuracy[where]]
    errors = 100 * np.abs(np.transpose(ends) - accuracy[where])
    look: dict[str, Any] = {"color": COLORS[kind], "marker": marker, "label": KINDS[kind]}
    top.errorbar(numbers, 100 * accuracy[where], errors, capsize=2, **look)
    middle.plot(numbers, 100 * arrays["zeros"][where], **look)
    bottom.plot(numbers, arrays["influence"][where], **look)
    for axes, level in ((top, 100 * accuracy[0]), (bottom, arrays["influence"][0])):
        axes.axhline(level, color=style.FAINT, ls=":", lw=1.5)


def _label(axes: np.ndarray, radii: Any, shares: Any) -> None:
    for place, text in enumerate(("accuracy\n(%)", "weights\nat 0 (%)", "influence\non a score")):
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
    style.ticks(axes[2, 2], shares)


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
    strength, left = _number(record, "l1", l1), 1 - record.arrays["zeros"][l1]
    title = f"At strength {strength:g}, L1 leaves {left:.0%} of the weights"
    figure, axes = style.canvas(height=height, title=title)
    style.tiles(axes, pictures, rows, names)
    return Plot(
        "templates",
        figure,
        f"The rows of W of softmax classifiers fitted to {record.numbers['fitted']} images, each "
        "kind at the strongest setting tried that leaves a tenth of the weights (beside its name), "
        "each row of W scaled by its own greatest weight. "
        "Red (or bright) speaks for the class, blue (or dark) against it, white (or grey) is a "
        "weight of 0. The title counts pixels that vary.",
        f"Small images in {len(rows)} rows: the weights of {', '.join(names)} for "
        f"{', '.join(rows)}. {title}.",
    )


def _number(record: Record, kind: str, place: int) -> float:
    """The strength, radius or share of the setting at a place."""
    numbers = record.settings[NUMBERS.get(kind, "regs")]
    return numbers[place - places(record.settings, kind).start]


def sizes(record: Record) -> Plot:
    """Accuracy against the number of training images, with L2 and without."""
    rows, total = record.numbers["sizes"], record.numbers["judged_by"]
    gains = [100 * (row["with"] - row["without"]) / total for row in rows]
    most = int(np.argmax(np.abs(gains)))
    title = "With L2 or without: no difference beyond chance"
    if min(row["p"] for row in rows) < 0.05 / num_tests(record):
        title = f"L2 changes most with {rows[most]['size']:,} images: {gains[most]:+.1f} points"
    figure, axes = style.canvas(height=3.4, title=title)
    for name, label, color in (("with", "L2", COLORS["l2"]), ("without", "none", style.FAINT)):
        _draw_sizes(axes, rows, total, name, label, color)
    axes.set(xscale="log", xlabel="training images", ylabel="accuracy (%)")
    style.ticks(axes, [row["size"] for row in rows])
    axes.legend(title="regularisation", loc="lower right")
    return Plot(
        "training_images",
        figure,
        f"Accuracy on {total:,} images, with 95% intervals, of classifiers fitted to the first so "
        f"many training images; the strength is chosen on {record.numbers['chosen_by']:,} others.",
        "Two rising lines, accuracy against the number of training images, with L2 and without. "
        f"{title}.",
    )


def _draw_sizes(axes: Axes, rows: Any, total: int, name: str, label: str, color: str) -> None:
    share = np.array([row[name] / total for row in rows])
    ends = np.array([evaluation.wilson_interval(row[name], total) for row in rows])
    # Moved apart a little, so that the intervals can be told apart.
    places = np.array([row["size"] for row in rows]) * (1.02 if name == "with" else 0.98)
    axes.errorbar(places, 100 * share, 100 * np.abs(ends.T - share), capsize=3, marker="o",
                  color=color, label=label)  # fmt: skip
