"""What `experiments.optimum` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from experiments.lab.record import Record
from experiments.optimum import RUNS
from experiments.report import style, words
from experiments.report.findings import AGREES, DIFFERS, UNDECIDED, Answer, Findings, Plot, Table
from lincls import (
    evaluation,
)

SLIDES = "58-60"
QUESTION = "Does SGD arrive at the minimum, and would it help?"
CLAIM = (
    "Following the gradient leads down to W of the least loss (58). Minibatches only estimate the "
    "gradient, and the loss still goes down over time (59), as far as the step size lets it (60)."
)
SECONDS = 9
ENOUGH = 0.01  # of the way down: nearer to the minimum counts as arrived


def findings(record: Record) -> Findings:
    """How near each run came, what is left to gain, and whose the remaining errors are."""
    sentences = [_about(record, name) for name in record.settings["losses"]]
    lefts = [_left(record, name) for name in record.settings["losses"]]
    shares = _shares(record)
    # What has not arrived may be on its way: only what went up contradicts the slides.
    down = all(left[-1].min() < left[0].max() for left in lefts)
    verdict = AGREES if max(shares.values()) < ENOUGH else UNDECIDED if down else DIFFERS
    sentences.append(_about_errors(record))
    return Findings(sentences, {"beyond the slides": Answer(verdict, "")}, (_table(record),))


def _shares(record: Record) -> dict[str, float]:
    """Of each loss, the part of the way down that the nearest run has left."""
    lefts = {name: _left(record, name) for name in record.settings["losses"]}
    return {name: float(left[-1].min() / left[0].max()) for name, left in lefts.items()}


def _of_the_way(record: Record) -> str:
    """How much of it is left for each loss; below a least value that L-BFGS did not reach, more."""
    told = []
    for name, share in _shares(record).items():
        bound = "" if record.numbers[name]["converged"] else "at least "
        told.append(f"{bound}{share:.1%} ({name})" if share >= 5e-4 else f"below 0.1% ({name})")
    return ", ".join(told)


def _left(record: Record, name: str) -> np.ndarray:
    """The objective of each run above the least, before the first and after every epoch."""
    return record.arrays[f"{name}: loss"] - record.numbers[name]["least"]


def _about(record: Record, name: str) -> str:
    """The optimum with its certificate, and the nearest and the farthest run."""
    number, left = record.numbers[name], _left(record, name)
    near, far = int(left[-1].argmin()), int(left[-1].argmax())
    certificate = f"gradient norm {words.power(number['grad_norm'])}"
    if "gap" in number:
        certificate += f", duality gap {words.power(max(number['gap'], 0))}"
    found = "finds" if number["converged"] else "does not reach the minimum, but comes to"
    return (
        f"{words.capital(name)}: L-BFGS {found} {number['least']:.5f} ({certificate}). SGD begins "
        f"{left[0, 0]:.2f} above that; after {record.settings['epochs']} epochs the {RUNS[near]} "
        f"is {words.power(left[-1, near])} above it, the {RUNS[far]} {words.power(left[-1, far])}."
    )


def _about_errors(record: Record) -> str:
    """The validation errors of the optimum, and what the runs add to them or take away."""
    parts = []
    for name in record.settings["losses"]:
        right = record.arrays[f"{name}: right"]
        wrong, optimum = len(right[0]) - right.sum(axis=1), right[-1]
        p = min(evaluation.mcnemar(*_as_labels(each, optimum)) for each in right[:-1])
        ends = ", ".join(f"{way} {count}" for way, count in zip(RUNS, wrong[:-1], strict=True))
        parts.append(
            f"with {name} {wrong[-1]} of {len(optimum)} validation examples are wrong; of SGD's "
            f"ends {ends} (least p of McNemar's tests: {p:.2g})"
        )
    return f"Even where L-BFGS ends some errors stay, which no optimiser mends: {'; '.join(parts)}."


def _as_labels(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right or wrong as predictions of the label 1, for `evaluation.mcnemar`."""
    return a.astype(np.int32), b.astype(np.int32), np.ones(len(a), np.int32)


def _table(record: Record) -> Table:
    """Objective, certificate and validation accuracy of every run and of the optimum."""
    rows = []
    for name in record.settings["losses"]:
        number, right = record.numbers[name], record.arrays[f"{name}: right"].mean(axis=1)
        bounds = record.arrays.get(f"{name}: certificates")
        for place, way in enumerate(RUNS):
            bound = "" if bounds is None else words.power(bounds[place])
            left = words.power(_left(record, name)[-1, place])
            rows.append((name, way, left, bound, f"{right[place]:.1%}"))
        bound = words.power(max(number["gap"], 0)) if "gap" in number else ""
        rows.append((name, "L-BFGS", "0", bound, f"{right[-1]:.1%}"))
    header = (
        "loss",
        "training",
        "above the least",
        "at most, by its own duality gap",
        "validation",
    )
    caption = (
        f"After {record.settings['epochs']} epochs; L2 with strength {record.settings['reg']:g}."
    )
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The way down to the minimum, and the validation accuracy on it."""
    yield _draw_left(record)
    yield _draw_accuracy(record)


def _draw_left(record: Record) -> Plot:
    names = record.settings["losses"]
    epochs = record.settings["epochs"]
    title = f"After {epochs} epochs SGD still has {_of_the_way(record)} of the way down to go"
    figure, axes = style.canvas(1, len(names), height=3.3, title=title, sharey=True, squeeze=False)
    for place, name in zip(axes[0], names, strict=True):
        _draw_runs(place, _left(record, name)[1:])
        bounds = record.arrays.get(f"{name}: certificates")
        if bounds is not None:
            for bound, color in zip(bounds, style.CYCLE, strict=False):
                place.plot(record.settings["epochs"], bound, "v", color=color, mfc="none", ms=8)
        place.set(title=name, xlabel="epoch", yscale="log")
    axes[0, 0].set_ylabel("objective above the least found")
    style.legend(figure, "SGD with")
    return Plot(
        "above_the_minimum",
        figure,
        "How far the objective on all training examples lies above the least value, which L-BFGS "
        f"found{_unreached(record)}, after every epoch. A triangle is what the last parameters' "
        "own duality gap allows at most: it needs no other training to be computed.",
        "Two line charts on logarithmic axes of the distance of the objective to its least value "
        f"against the epoch, for {' and '.join(names)}, a line for each way of SGD. {title}.",
    )


def _unreached(record: Record) -> str:
    """For which losses L-BFGS did not come to the minimum, as a part of a sentence."""
    names = [name for name in record.settings["losses"] if not record.numbers[name]["converged"]]
    return f" (for {' and '.join(names)} it lies lower still)" if names else ""


def _draw_accuracy(record: Record) -> Plot:
    names, falls = record.settings["losses"], RUNS.index("falling step")
    rights = {name: record.arrays[f"{name}: right"].mean(axis=1) for name in names}
    title = "Right in validation where L-BFGS and the falling step end: " + ", ".join(
        f"{right[-1]:.1%} and {right[falls]:.1%} ({name})" for name, right in rights.items()
    )
    figure, axes = style.canvas(1, len(names), height=3.3, title=title, sharey=True, squeeze=False)
    for place, name in zip(axes[0], names, strict=True):
        right = record.arrays[f"{name}: right"][-1]
        interval = evaluation.wilson_interval(int(right.sum()), len(right))
        place.axhspan(100 * interval.low, 100 * interval.high, color=style.FAINT, alpha=0.15)
        place.axhline(100 * right.mean(), color=style.INK, ls=":", label="L-BFGS")
        _draw_runs(place, 100 * record.arrays[f"{name}: accuracy"][1:])
        place.set(title=name, xlabel="epoch")
    axes[0, 0].set_ylabel("validation accuracy (%)")
    style.legend(figure, "SGD with")
    return Plot(
        "validation",
        figure,
        "Accuracy on examples that no training sees. What lies between a line and the dotted one "
        "is left to the training; what the dotted one lacks is the model's and the data's. Grey: "
        "its 95% interval.",
        f"Two line charts of validation accuracy against the epoch, for {' and '.join(names)}, "
        f"with the accuracy of L-BFGS as a dotted line. {title}.",
    )


def _draw_runs(place: Axes, values: np.ndarray) -> None:
    """A line for each run over the epochs 1, 2, ..., on a logarithmic axis."""
    epochs = np.arange(1, len(values) + 1)
    for name, line in zip(RUNS, values.T, strict=True):
        place.plot(epochs, line, label=name, marker="o" if len(epochs) < 2 else "")
    place.set_xscale("log")
    style.ticks(place, [n for n in (1, 2, 5, 10, 20, 40, 80, 160) if n <= len(epochs)])
