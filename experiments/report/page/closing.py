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
    "test accuracy",
    "95% interval",
    "training",
    "a test image",
    "stored",
    "memory",
)
TEMPLATES = "softmax_templates"


class Row(NamedTuple):
    """A row of the table: its texts, and the numbers behind them as shares 0..1."""

    cells: tuple[str, ...]
    name: str
    accuracy: float
    interval: evaluation.Interval


def rows(records: Sequence[Record]) -> list[Row]:
    """The classifiers of all records, the best first."""
    found = [_row(tested, record) for record in records for tested in record.classifiers]
    return sorted(found, key=lambda row: -row.accuracy)


def _row(tested: Classifier, record: Record) -> Row:
    share = tested.correct / tested.total
    interval = evaluation.wilson_interval(tested.correct, tested.total)
    times = (record.seconds.get(f"{what}: {tested.name}") for what in ("training", "a test image"))
    cells = (
        tested.name,
        tested.chosen,
        f"{share:.2%}",
        words.between(interval),
        *("–" if seconds is None else words.duration(seconds) for seconds in times),
        f"{tested.stored:,}",
        words.size(tested.memory) if tested.memory else "–",
    )
    return Row(cells, tested.name, share, interval)


def _overlapping(table: Sequence[Row]) -> list[str]:
    """The classifiers whose interval overlaps with that of the best one."""
    return [row.name for row in table[1:] if row.interval.high >= table[0].interval.low]


def beside_the_best(table: Sequence[Row]) -> str:
    """Which classifiers' intervals overlap with the best one's, as a sentence."""
    near = _overlapping(table)
    if not near:
        return "no other interval overlaps with that of the best."
    return f"the best one's interval overlaps with those of: {'; '.join(near)}."


def _finding(name: str, table: Sequence[Row]) -> str:
    """The best classifier, and how many intervals overlap with its own."""
    best, near = table[0], _overlapping(table)
    told = f"Best on {name}: {best.name}, {best.accuracy:.1%} right"
    if not near:
        return f"{told} ({words.between(best.interval)}%)"
    others = f"that of {near[0]}" if len(near) == 1 else f"those of {len(near)} others"
    return f"{told}; its interval ({words.between(best.interval)}%) overlaps with {others}"


def texts(records: Sequence[Record]) -> list[str]:
    """The table as lines of aligned columns, its header first; none without any classifier."""
    table = [row.cells for row in rows(records)]
    if not table:
        return []
    columns = zip(*[HEADER, *table], strict=True)
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]


def draw(records: Sequence[Record]) -> Plot:
    """Accuracies with their intervals, under the templates if a record has them."""
    table, first = rows(records), records[0]
    title = _finding(first.data["name"], table)
    pictures = next((one for one in records if TEMPLATES in one.arrays), None)
    height = 0.6 + 0.36 * len(table)
    if pictures is None:
        figure, axes = style.canvas(height=height, title=title)
    else:
        figure, (top, axes) = style.canvas(
            2, 1, height=height + 1, title=title, gridspec_kw={"height_ratios": [1, height]}
        )
        _draw_templates(top, pictures)
    _draw_accuracies(axes, table)
    above = "" if pictures is None else "Above, what the softmax classifier looks for. "
    return Plot(
        "classifiers",
        figure,
        f"{above}Test accuracy of each classifier with its 95% interval; each was tested once. "
        f"{words.capital(beside_the_best(table))}",
        f"Dots with intervals, one line per classifier. {title}.",
    )


def _draw_templates(axes: Axes, record: Record) -> None:
    names = record.class_names[:10]
    templates = style.weights(record.arrays[TEMPLATES][: len(names)])
    style.tiles(axes, templates[None], ["what softmax\nlooks for"], names)


def _draw_accuracies(axes: Axes, table: Sequence[Row]) -> None:
    """A line per classifier, the best on top: a dot, its interval, its number."""
    accuracy = 100 * np.array([row.accuracy for row in table])
    ends = 100 * np.array([row.interval for row in table])
    errors = np.abs(ends.T - accuracy)
    places = np.arange(len(table))
    axes.errorbar(accuracy, places, xerr=errors, fmt="o", color=style.BLUE, capsize=4)
    for place, right, share in zip(places, ends[:, 1], accuracy, strict=True):
        axes.annotate(f"{share:.1f}%", (right, place), (8, 0), textcoords="offset points",
                      va="center", size=10, bbox=style.PATCH)  # fmt: skip
    longest = max(len(row.name) for row in table)
    axes.set_yticks(places, [row.name for row in table], size=min(11, 290 / longest))
    axes.set(xlim=(0, 1.15 * ends.max()), ylim=(len(table) - 0.5, -0.5), xlabel="test accuracy (%)")
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 100])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
