"""What `experiments.choose_rate` found, in words and a figure."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import Answer, Findings, Plot, Table, together
from lincls.evaluation import Interval

SLIDES = "20-22"
QUESTION = "Which learning rate and which regularisation strength, together?"
CLAIM = (
    "Validation data or folds choose the hyperparameters; the test set is used once, at the end "
    "(20-21). The learning rate decides how far the loss falls (60)."
)
SECONDS = 6
SHOWN = 10  # points below the best that the colours resolve
ENDS = {  # parts of the table (rates, strengths)
    "lowest learning rate": np.s_[0],
    "highest learning rate": np.s_[-1],
    "weakest penalty": np.s_[:, 0],
    "strongest penalty": np.s_[:, -1],
}


def findings(record: Record) -> Findings:
    """The choice, its one test, and what a learning rate at either end costs."""
    best = record.numbers["best"]
    folds = record.arrays["accuracies"][_cell(record, best)]
    low, high = (_cost(record, ENDS[f"{end} learning rate"]) for end in ("lowest", "highest"))
    sentences = [
        f"Cross-validation chooses {_named(best)}: {words.percent(folds.mean())} accuracy on "
        f"held-out folds (standard deviation {100 * folds.std(ddof=1):.1f} points).",
        f"Tested once, this choice reaches {words.accuracy(record.classifiers[0])}.",
        f"The lowest learning rate costs {_points(low)}, the highest {_points(high)} (95 % CI).",
    ]
    # A learning rate can be too low and too high: what is chosen is above both ends.
    verdict = together(map(intervals.above_zero, (low, high)))
    return Findings(sentences, {"21": Answer(verdict, " ".join(sentences[1:]))}, (_table(record),))


def _named(pair: dict[str, float]) -> str:
    return f"learning rate × {pair['rate']:g} with strength {pair['reg']:g}"


def _points(cost: Interval) -> str:
    return "0 points" if np.allclose(cost, 0) else words.points(cost)


def _cell(record: Record, pair: dict[str, float]) -> tuple[int, int]:
    settings = record.settings
    return settings["rates"].index(pair["rate"]), settings["regs"].index(pair["reg"])


def _best(mean: np.ndarray, part: Any = np.s_[:]) -> tuple[int, ...]:
    """The cell of the greatest accuracy in a part of the table (rates, strengths)."""
    inside = np.full_like(mean, -1)
    inside[part] = mean[part]
    return tuple(int(place) for place in np.unravel_index(inside.argmax(), mean.shape))


def _cost(record: Record, part: Any) -> Interval:
    """How far the best pair of a part of the table is below the choice of all pairs.

    For each fold the others choose both pairs, and this fold compares: on the folds that
    chose, the best of many pairs is above any other by chance already.
    """
    costs = []
    for fold, here in enumerate(np.moveaxis(record.arrays["accuracies"], -1, 0)):
        others = np.delete(record.arrays["accuracies"], fold, axis=-1).mean(axis=-1)
        costs.append(here[_best(others)] - here[_best(others, part)])
    return intervals.of_mean(np.array(costs))


def _table(record: Record) -> Table:
    """The choice, the simplest one that is as good, and what each end costs."""
    mean, settings = record.arrays["accuracies"].mean(axis=-1), record.settings
    pairs = [
        ("best pair", _cell(record, record.numbers["best"]), ""),
        ("one-standard-error rule", _cell(record, record.numbers["one_standard_error"]), ""),
        *((end, _best(mean, part), _points(_cost(record, part))) for end, part in ENDS.items()),
    ]
    rows = []
    for what, (rate, reg), cost in pairs:
        pair = f"× {settings['rates'][rate]:g}", f"{settings['regs'][reg]:g}"
        rows.append((what, *pair, words.percent(mean[rate, reg]), cost))
    caption = (
        "The rule takes the strongest penalty within one standard error of the best pair. Each end "
        "is paired with its best partner. Costs are measured on folds that did not choose."
    )
    header = ("pair", "learning rate", "strength", "held-out folds", "cost (95 % CI)")
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The accuracy of every pair as a heat map, the two choices marked."""
    best = record.numbers["best"]
    title = f"Cross-validation chooses {_named(best)}"
    figure, axes = style.canvas(height=3.9, title=title)
    _draw_map(figure, axes, record)
    folds = record.arrays["accuracies"][_cell(record, best)]
    yield Plot(
        "rates_and_strengths",
        figure,
        f"Accuracy in {record.settings['num_folds']}-fold cross-validation; learning rates are "
        "multiples of the one derived from data and loss. Solid frame: the best pair. Dashed "
        "frame: the strongest penalty within one standard error "
        f"({100 * folds.std(ddof=1) / np.sqrt(len(folds)):.1f} points) of it.",
        f"Heat map of accuracy over learning rates (rows) and strengths (columns). {title}.",
    )


def _draw_map(figure: Any, axes: Axes, record: Record) -> None:
    mean = 100 * record.arrays["accuracies"].mean(axis=-1)
    high, low = mean.max(), max(mean.min(), mean.max() - SHOWN)
    picture = axes.imshow(mean, cmap="Blues", aspect="auto", origin="lower", vmin=low, vmax=high)
    axes.grid(False)
    finite = np.asarray(record.arrays["alive"].all(axis=-1))
    for (row, column), value in np.ndenumerate(mean):
        color = "white" if value > (high + low) / 2 else style.INK
        axes.text(column, row, f"{value:.1f}" if finite[row, column] else "diverged",
                  ha="center", va="center", size=9, color=color)  # fmt: skip
    axes.set_xticks(range(mean.shape[1]), [f"{reg:g}" for reg in record.settings["regs"]])
    axes.set_yticks(range(mean.shape[0]), [f"× {rate:g}" for rate in record.settings["rates"]])
    axes.set(xlabel="strength of the L2 penalty", ylabel="learning rate")
    figure.colorbar(picture, label="accuracy (%)", extend="min")
    for name, line, inset in (("one_standard_error", "--", 0.08), ("best", "-", 0.03)):
        row, column = _cell(record, record.numbers[name])
        style.cell(axes, row, column, line, inset)
