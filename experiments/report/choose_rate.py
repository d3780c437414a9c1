"""What `experiments.choose_rate` found, told and drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import Answer, Findings, Plot, together
from lincls import evaluation

SLIDES = "20-22"
QUESTION = "Which step size and which strength, together?"
CLAIM = (
    "Hyperparameters are chosen on data that are neither trained on nor the test set, which is "
    "used once, at the end (20). The step size decides how far down the loss comes (60)."
)
SECONDS = 6
SHOWN = 10  # points below the best that the colours tell apart


def findings(record: Record) -> Findings:
    """The choice, the simplest one that is as good, what either number costs, and the test."""
    best, simplest = record.numbers["best"], record.numbers["one_standard_error"]
    of_best = record.arrays["accuracies"][_cell(record, best)]
    pairs = record.arrays["accuracies"][..., 0].size
    sentences = [
        f"{record.settings['num_folds']}-fold cross-validation on {record.numbers['num_folded']:,} "
        f"training images, {pairs} pairs as one program, chooses {_named(best)}: "
        f"{of_best.mean():.1%} right, with a standard deviation of "
        f"{100 * of_best.std(ddof=1):.1f} points over the folds.",
        f"The greatest strength within one standard error of it is {simplest['reg']:g}, with step "
        f"size × {simplest['rate']:g}.",
        _costs(record),
        f"No test image was used to choose: {_beside_test(record)}.",
        f"Tested once, after training on everything else: {words.right(record.classifiers[0])}.",
    ]
    # A step size can be too low and too high: what is chosen is above both ends.
    low, high = _losses(record)
    verdict = together(map(intervals.above_zero, (low, high)))
    told = (
        f"on folds that did not choose, the least and the greatest step size are "
        f"{words.signed(low)} and {words.signed(high)} points below the choice; "
        f"{_beside_test(record)}"
    )
    return Findings(sentences, {"21": Answer(verdict, told)})


def _named(pair: dict[str, float]) -> str:
    return f"step size × {pair['rate']:g} with strength {pair['reg']:g}"


def _cell(record: Record, pair: dict[str, float]) -> tuple[int, int]:
    settings = record.settings
    return settings["rates"].index(pair["rate"]), settings["regs"].index(pair["reg"])


def _nested(record: Record) -> np.ndarray:
    """Accuracies (3, folds): of the choice, of the least and of the greatest step size.

    For each fold the others choose pair and strengths, and this fold compares: on the folds
    that chose, the best of many pairs is above any other by chance already.
    """
    accuracies = record.arrays["accuracies"]  # (rates, strengths, folds)
    found = []
    for fold in range(accuracies.shape[-1]):
        here = accuracies[..., fold]
        others = np.delete(accuracies, fold, axis=-1).mean(axis=-1)
        best = np.unravel_index(others.argmax(), others.shape)
        found.append([here[best], *(here[end, others[end].argmax()] for end in (0, -1))])
    return np.array(found).T


def _losses(record: Record) -> tuple[evaluation.Interval, evaluation.Interval]:
    """What is lost at the least and at the greatest step size, each at its own best strength."""
    chosen, *ends = _nested(record)
    low, high = (intervals.of_mean(chosen - end) for end in ends)
    return low, high


def _beside_test(record: Record) -> str:
    """What the folds expected of the choice, and what its one test gave."""
    tested, chosen = record.classifiers[0], _nested(record)[0]
    folded, folds = record.numbers["num_folded"], record.settings["num_folds"]
    last = min(record.settings["max_train"], record.data["num_train"])
    share = tested.correct / tested.total
    return (
        f"the folds expected {chosen.mean():.1%}, training on {folded - folded // folds:,} images; "
        f"the one test, after training on {last:,}, gave {share:.1%}, "
        f"{100 * (share - chosen.mean()):+z.1f} points"
    )


def _costs(record: Record) -> str:
    """What the two ends of the step sizes cost, and those of the strengths."""
    low, high = _losses(record)
    by_reg = 100 * record.arrays["accuracies"].mean(axis=-1).max(axis=0)
    weak, strong = by_reg.max() - by_reg[[0, -1]]
    rates, regs = record.settings["rates"], record.settings["regs"]
    return (
        "Chosen by the other folds, compared on each fold: at the best strength for each, step "
        f"size × {rates[0]:g} is {words.signed(low)} points below the choice (95% interval over "
        f"the folds) and × {rates[-1]:g} {words.signed(high)} points. At the best step size for "
        f"each, on all folds, strength {regs[0]:g} is {weak:.1f} points below the best and "
        f"{regs[-1]:g} {strong:.1f} points."
    )


def draw(record: Record) -> Iterator[Plot]:
    """The accuracy of every pair as a heat map, the two choices marked."""
    best, simplest = record.numbers["best"], record.numbers["one_standard_error"]
    title = f"Cross-validation chooses {_named(best)}"
    figure, axes = style.canvas(height=3.9, title=title)
    _draw_map(figure, axes, record)
    yield Plot(
        "rates_and_strengths",
        figure,
        f"Accuracy in {record.settings['num_folds']}-fold cross-validation, in percent, of every "
        "pair of a step size and a strength. Step sizes are multiples of the one that lincls "
        "derives from data and loss. The solid frame is the best pair, the dashed one the "
        "greatest strength within one standard error of it, which is "
        f"{_error(record):.1f} points. Diverged: in some fold the loss left the finite numbers.",
        f"Heat map of accuracy over step sizes (rows) and strengths (columns). {title}; within one "
        f"standard error of it, {_named(simplest)} has the greatest strength.",
    )


def _error(record: Record) -> float:
    """The standard error of the best pair's mean over the folds, in points."""
    of_best = record.arrays["accuracies"][_cell(record, record.numbers["best"])]
    return float(100 * of_best.std(ddof=1) / np.sqrt(len(of_best)))


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
    axes.set(xlabel="strength of the L2 penalty", ylabel="step size")
    figure.colorbar(picture, label="accuracy (%)", extend="min")
    for name, line, inset in (("one_standard_error", "--", 0.08), ("best", "-", 0.03)):
        row, column = _cell(record, record.numbers[name])
        style.cell(axes, row, column, line, inset)
