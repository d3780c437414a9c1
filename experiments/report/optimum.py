"""What `experiments.optimum` found, in words and figures."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.choices import NAMES
from experiments.lab.record import Record
from experiments.optimum import RUNS
from experiments.report import style, words
from experiments.report.findings import AGREES, DIFFERS, UNDECIDED, Answer, Findings, Plot, Table
from lincls import evaluation

SLIDES = "58-60"
QUESTION = "Does SGD reach the minimum, and would it help?"
CLAIM = (
    "Following the gradient leads down to W of least loss (58). With minibatches the loss still "
    "falls over time (59), as far as the learning rate allows (60)."
)
SECONDS = 9
ENOUGH = 0.01  # of the initial excess loss: less left counts as arrived


def findings(record: Record) -> Findings:
    """How near SGD comes to the minimum, and whether the minimum is more accurate."""
    names = record.settings["losses"]
    left = " and ".join(_left(record, name) for name in names)
    tests = [p for name in names for p in _p_values(record, name)]
    differ = "differ" if min(tests) * len(tests) < 0.05 else "do not differ"  # Bonferroni
    sentences = [
        f"After {record.settings['epochs']} epochs, SGD has {left} of the initial excess loss "
        "left.",
        "Validation accuracy at the minimum and after SGD: "
        f"{', '.join(_both(record, name) for name in names)}.",
        f"The two {differ} significantly (least p of {len(tests)} McNemar tests: "
        f"{min(tests):.2g}).",
    ]
    answer = Answer(_verdict(record), sentences[0])
    return Findings(sentences, {"beyond the slides": answer}, (_table(record),))


def _excess(record: Record, name: str) -> np.ndarray:
    """The loss of each run above the minimum, before the first and after every epoch."""
    return record.arrays[f"{name}: loss"] - record.numbers[name]["least"]


def _share(record: Record, name: str) -> float:
    """The part of the initial excess loss that the nearest run has left."""
    excess = _excess(record, name)
    return float(excess[-1].min() / excess[0].max())


def _left(record: Record, name: str) -> str:
    """The same in words; where L-BFGS did not reach the minimum, it is more."""
    share, converged = _share(record, name), record.numbers[name]["converged"]
    told = "less than 0.1 %" if share < 1e-3 and converged else words.percent(share)
    return f"{'' if converged else 'at least '}{told} ({NAMES[name]})"


def _verdict(record: Record) -> str:
    """What has not arrived may be on its way: only a loss that rose contradicts the slides."""
    names = record.settings["losses"]
    shares = [_share(record, name) for name in names]
    if max(shares) >= 1:
        return DIFFERS
    known = all(record.numbers[name]["converged"] for name in names)
    return AGREES if known and max(shares) < ENOUGH else UNDECIDED


def _accuracy(record: Record, name: str) -> np.ndarray:
    """Validation accuracies (runs + 1,), at the end of each run and at the minimum."""
    return record.arrays[f"{name}: right"].mean(axis=1)


def _both(record: Record, name: str) -> str:
    """The accuracy at the minimum, and that of the run that ends nearest to it."""
    accuracy, nearest = _accuracy(record, name), _excess(record, name)[-1].argmin()
    both = words.percent(accuracy[-1]), words.percent(accuracy[nearest])
    return f"{' and '.join(both)} ({NAMES[name]})"


def _p_values(record: Record, name: str) -> list[float]:
    """McNemar's test of each run's end against the minimum."""
    *runs, minimum = record.arrays[f"{name}: right"].astype(np.int32)
    return [evaluation.mcnemar(run, minimum, np.ones_like(run)) for run in runs]


def _table(record: Record) -> Table:
    """Excess loss and validation accuracy of every run and of the minimum."""
    rows = []
    for name in record.settings["losses"]:
        number = record.numbers[name]
        gap = f"at most {words.power(max(number['gap'], 0))}" if "gap" in number else "0"
        columns = (
            [*(f"SGD, {run}" for run in RUNS), f"L-BFGS, loss {number['least']:.4f}"],
            [*map(words.power, _excess(record, name)[-1]), gap],
            map(words.percent, _accuracy(record, name)),
            [*(f"{p:.2g}" for p in _p_values(record, name)), ""],
        )
        rows += [(NAMES[name], *cells) for cells in zip(*columns, strict=True)]
    caption = (
        f"After {record.settings['epochs']} epochs, L2 with strength {record.settings['reg']:g}. "
        "The duality gap bounds the excess loss of L-BFGS. p: McNemar's test against L-BFGS."
    )
    header = ("loss", "training", "excess loss", "validation accuracy", "p")
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The way down to the minimum, and the validation accuracy on it."""
    yield _draw_excess(record)
    yield _draw_accuracy(record)


def _draw_excess(record: Record) -> Plot:
    names, epochs = record.settings["losses"], record.settings["epochs"]
    left = ", ".join(_left(record, name) for name in names)
    title = f"Excess loss left after {epochs} epochs: {left}"
    figure, places = _panels(record, title)
    for name, place in places.items():
        _draw_runs(place, _excess(record, name)[1:])
        bounds = record.arrays.get(f"{name}: certificates", ())
        for bound, color in zip(bounds, style.CYCLE, strict=False):
            place.plot(epochs, bound, "v", color=color, mfc="none", ms=8)
        place.plot([], [], "v", color=style.INK, mfc="none", ms=8, label="duality gap")
        place.set_yscale("log")
    next(iter(places.values())).set_ylabel("excess loss")
    _legend(figure)
    reached = all(record.numbers[name]["converged"] for name in names)
    return Plot(
        "above_the_minimum",
        figure,
        "Excess loss: how far the loss on all training examples lies above the "
        f"{'minimum' if reached else 'least value'} that L-BFGS found. A triangle is its upper "
        "bound at the end, the duality gap.",
        "Line charts on logarithmic axes of the excess loss against the epoch, a line for each way "
        f"of SGD. {title}.",
    )


def _draw_accuracy(record: Record) -> Plot:
    names = record.settings["losses"]
    ends = [f"{words.percent(_accuracy(record, name)[-1])} ({NAMES[name]})" for name in names]
    title = f"Accuracy at the minimum: {', '.join(ends)}"
    figure, places = _panels(record, title)
    for name, place in places.items():
        right = record.arrays[f"{name}: right"][-1]
        interval = evaluation.wilson_interval(int(right.sum()), len(right))
        place.axhspan(100 * interval.low, 100 * interval.high, color=style.FAINT, alpha=0.15)
        _draw_runs(place, 100 * record.arrays[f"{name}: accuracy"][1:])
        place.axhline(100 * right.mean(), color=style.INK, ls=":", label="L-BFGS")
    next(iter(places.values())).set_ylabel("validation accuracy (%)")
    _legend(figure)
    return Plot(
        "validation",
        figure,
        "Accuracy of SGD on examples that no training sees. The dotted line is the minimum, found "
        "by L-BFGS. Grey: its 95 % CI.",
        f"Line charts of validation accuracy against the epoch, with that of L-BFGS. {title}.",
    )


def _panels(record: Record, title: str) -> tuple[Figure, dict[str, Any]]:
    """A panel for each loss, over the epochs."""
    names = record.settings["losses"]
    figure, axes = style.canvas(1, len(names), height=3.6, title=title, sharey=True, squeeze=False)
    for place, name in zip(axes[0], names, strict=True):
        place.set(title=NAMES[name], xlabel="epoch")
    return figure, dict(zip(names, axes[0], strict=True))


def _draw_runs(place: Axes, values: np.ndarray) -> None:
    """A line for each run over the epochs 1, 2, ..., on a logarithmic axis."""
    epochs = np.arange(1, len(values) + 1)
    for name, line in zip(RUNS, values.T, strict=True):
        place.plot(epochs, line, label=name, marker="o" if len(epochs) < 2 else "")
    place.set_xscale("log")
    style.ticks(place, [n for n in (1, 2, 5, 10, 20, 40, 80, 160) if n <= len(epochs)])


def _legend(figure: Figure) -> None:
    """One legend of all panels, below them."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
