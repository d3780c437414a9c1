"""The closing comparison: every classifier that was tested, as a table and as a figure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from experiments.lab.experiment import Classifier
from experiments.lab.record import Record
from experiments.report import style, words
from experiments.report.findings import Plot
from lincls import evaluation

HEADER = (
    "classifier",
    "chosen on the training set",
    "test accuracy (95 % CI)",
    "training",
    "a test image",
    "stored numbers",
    "memory",
)
PRINTED = 5  # columns of the table on a terminal
TEMPLATES = "softmax_templates"
NARROW = 4.4  # inches: the width of the figure for a phone
NOTHING = "–"
SHORT_CHOICE = 12  # letters of what was chosen that a name can carry: "k = 1, L2"
SHORT = {"k nearest neighbours": "kNN"}


class Row(NamedTuple):
    """A row of the table: its texts, and the numbers behind them as shares 0..1."""

    cells: tuple[str, ...]
    name: str  # of the classifier, with what was chosen
    accuracy: float
    interval: evaluation.Interval


def rows(records: Sequence[Record]) -> list[Row]:
    """The classifiers of all records, the best first; of equals, those that were chosen."""
    found = [_row(tested, record) for record in records for tested in record.classifiers]
    return sorted(found, key=lambda row: (-row.accuracy, row.cells[1] == NOTHING))


def _row(tested: Classifier, record: Record) -> Row:
    share = tested.correct / tested.total
    interval = evaluation.wilson_interval(tested.correct, tested.total)
    name, chosen = SHORT.get(tested.name, tested.name), tested.chosen.removeprefix("nothing")
    times = (record.seconds.get(f"{what}: {tested.name}") for what in ("training", "a test image"))
    cells = (
        name,
        chosen or NOTHING,
        f"{words.percent(share)} ({words.between(interval)})",
        *(NOTHING if seconds is None else words.duration(seconds) for seconds in times),
        f"{tested.stored:,}",
        words.size(tested.memory) if tested.memory else NOTHING,
    )
    told = chosen if len(chosen) <= SHORT_CHOICE else ""
    return Row(cells, ", ".join(filter(None, (name, told))), share, interval)


def finding(records: Sequence[Record]) -> str:
    """The best classifier with its accuracy, in one sentence; empty without any classifier."""
    table = rows(records)
    if not table:
        return ""
    best, data = table[0], records[0].data["name"]
    accuracy = words.with_ci(best.accuracy, best.interval)
    if len(table) > 1 and table[-1].accuracy == best.accuracy:
        return f"All classifiers are equal on {data}: {accuracy}."
    return f"Best on {data}: {best.name}: {accuracy}."


def caption(table: Sequence[Row]) -> str:
    """How to read the figure, and which classifiers are about as good as the best."""
    told = "Dots: test accuracy, each classifier tested once. Bars: 95 % CI (Wilson)."
    near = sum(row.interval.high >= table[0].interval.low for row in table[1:])
    if not near:
        return told
    return f"{told} The best one's interval overlaps {near} of the {len(table) - 1} others."


def texts(records: Sequence[Record], columns: int = PRINTED) -> list[str]:
    """The table as lines of aligned columns, its header first; none without any classifier."""
    table = [row.cells[:columns] for row in rows(records)]
    return words.aligned([HEADER[:columns], *table]) if table else []


def draw(records: Sequence[Record]) -> Plot:
    """Accuracies with their intervals, under the templates if a record has them."""
    table = rows(records)
    return _draw("classifiers", records, table, style.WIDTH, 0.34)


def draw_narrow(records: Sequence[Record]) -> Plot:
    """The same for a phone: names above their intervals, letters that can be read there."""
    table = rows(records)
    return _draw("classifiers.narrow", records, table, NARROW, 0.52)


def _draw(
    name: str, records: Sequence[Record], table: Sequence[Row], width: float, line: float
) -> Plot:
    title, height = finding(records), 0.7 + line * len(table)
    pictures = next((one for one in records if TEMPLATES in one.arrays), None)
    tall = 0.15 * width if pictures else 0.0  # inches of the templates
    figure, axes = style.canvas(
        1 + bool(pictures), 1, height=height + tall, title=title, squeeze=False,
        gridspec_kw={"height_ratios": [tall, height] if pictures else [1]},
    )  # fmt: skip
    figure.set_figwidth(width)
    if pictures:
        _draw_templates(axes[0, 0], pictures)
    _draw_accuracies(axes[-1, 0], table, above=width < style.WIDTH)
    told = "Above: the template that softmax learns for each class. " if pictures else ""
    return Plot(
        name,
        figure,
        told + caption(table),
        f"Dots with intervals, one line for each classifier. {title}",
    )


def _draw_templates(axes: style.Panel, record: Record) -> None:
    names = words.labels(record.class_names[:10], 12)
    templates = style.weights(record.arrays[TEMPLATES][: len(names)])
    style.tiles(axes, templates[None], [""], names)


def _draw_accuracies(axes: Axes, table: Sequence[Row], above: bool) -> None:
    """A line for each classifier, the best on top: its name, a dot, its interval, its number."""
    accuracy = 100 * np.array([row.accuracy for row in table])
    ends = 100 * np.array([row.interval for row in table])
    places = np.arange(len(table))
    axes.errorbar(accuracy, places, xerr=np.abs(ends.T - accuracy), fmt="o", ms=7,
                  color=style.BLUE, capsize=4)  # fmt: skip
    for place, right, share in zip(places, ends[:, 1], accuracy, strict=True):
        axes.annotate(f"{share:.1f} %", (right, place), (8, 0), textcoords="offset points",
                      va="center", size=10, bbox=style.PATCH)  # fmt: skip
    _name(axes, [words.shortened(row.name, 40) for row in table], above)
    axes.set(xlim=(0, min(118, 1.18 * ends.max()) + 8 * above), ylim=(len(table) - 0.5, -0.7))
    axes.set_xlabel("test accuracy (%)")
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 100])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")


def _name(axes: Axes, names: Sequence[str], above: bool) -> None:
    """Names left of the lines, or above them."""
    if not above:
        axes.set_yticks(range(len(names)), names, size=11 if max(map(len, names)) < 32 else 9.5)
        return
    axes.set_yticks([])
    for place, name in enumerate(names):
        axes.annotate(name, (0, place - 0.38), (4, 0), textcoords="offset points", va="center",
                      size=11, bbox=style.PATCH)  # fmt: skip
