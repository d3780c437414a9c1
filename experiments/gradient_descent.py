"""Gradient descent in small batches: the loss goes down, and the step size decides how."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.ticker import LogFormatter

from experiments.lab import run, style, tuning
from experiments.lab.experiment import AGREES, DIFFERS, Findings, Outcome, Plot
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import batches, linear, losses, optimizers, penalties, preprocessing, training
from lincls.objective import Objective
from lincls.structs import Hyper

SLIDES = "58-60"
QUESTION = "How does gradient descent get down, and how does the step size change it?"
CLAIM = (
    "Use a small portion of the training set to compute the gradient; common sizes are 32, 64 "
    "and 128, and a single example is SGD proper. The loss over minibatches goes down over "
    "time (59). A low step size is slow, a good one fast, a high one stays above, a very high "
    "one goes up (60)."
)
SECONDS = 6
OBJECTIVE = Objective(losses.softmax, penalties.l2)


@dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = flag(
        (1.0, 10.0, 100.0, 1000.0, 10000.0), "step sizes compared, rising, in units of 1 / D", low=0
    )
    rate: float = flag(1.0, "step size of all batch sizes, in units of 1 / D", low=0)
    batch_size: int = flag(256, "examples in a minibatch (slide 59)", low=1)
    batch_sizes: tuple[int, ...] = flag((1, 32, 256), "batch sizes compared", low=1, smoke=(256,))
    reg: float = flag(1e-3, "strength of the L2 penalty", low=0)
    epochs: int = flag(20, "passes over the training examples", low=1, smoke=1)
    max_train: int = flag(10000, "training examples used, the first ones", low=2, smoke=300)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Losses of every minibatch, for a grid of step sizes and for several batch sizes."""
    examples = tuning.rows(data.train, settings.max_train)
    rates, of_rates = np.array(settings.rates), settings.batch_size
    arrays = {"rates": descend(key, data, examples, settings, rates, of_rates)}
    if settings.rate in settings.rates:  # one of the sizes is there already
        arrays[f"batch_{of_rates}"] = arrays["rates"][:, settings.rates.index(settings.rate)]
    for size in (*settings.batch_sizes, None):
        name = f"batch_{size or 'full'}"
        if name not in arrays:
            arrays[name] = descend(key, data, examples, settings, settings.rate, size)
    numbers = {"num_examples": len(examples.y), "log_classes": float(np.log(data.num_classes))}
    return Outcome(numbers, arrays)


def descend(
    key: jax.Array, data: Data, examples: tuning.Rows, settings: Settings, rate: Any, size: Any
) -> np.ndarray:
    """The objective on every minibatch (T,), or (T, G) for G step sizes; size None is all."""
    count = len(examples.y)
    hyper = Hyper({"learning_rate": jnp.asarray(rate) / examples.X.shape[1]}, reg=settings.reg)
    params = linear.init(key, examples.X.shape[1], data.num_classes)
    _, history = training.fit(
        training.start(key, params, optimizer=optimizers.sgd, hyper=hyper), *examples, hyper,
        objective=OBJECTIVE, batches=batches.shuffled if size else batches.full,
        batch_size=size or count, affine=preprocessing.fit(examples.X),
        num_steps=settings.epochs * batches.steps_per_epoch(count, size or count),
    )  # fmt: skip
    return history.loss


def findings(record: Record) -> Findings:
    """Where each step size began and ended, and each batch size after as many examples."""
    curves, rates = record.arrays["rates"], record.settings["rates"]
    names, start = _names(record), float(curves[0, 0])
    ends = ", ".join(
        f"{rate:g}/D ({name}) ends at {end:.3g}"
        for rate, name, end in zip(rates, names, _ends(record, curves), strict=True)
    )
    after = ", ".join(
        f"{end:.3g} with {label}"
        for label, end in ((label, _ends(record, curve)) for label, curve in _by_size(record))
    )
    sentences = [
        f"With small weights the loss begins at {start:.3f}; log C is "
        f"{record.numbers['log_classes']:.3f}.",
        f"Mean loss over the last of {record.settings['epochs']} passes, by step size: {ends}.",
        f"At step size {record.settings['rate']:g}/D, after as many examples: {after}.",
    ]
    expected = names[0] == "low" and names[-1] == "very high" and "good" in names
    return Findings(sentences, AGREES if expected else DIFFERS)


def _names(record: Record) -> list[str]:
    """The slide's word for each step size, by where its loss ends: beside the best, the start."""
    curves = record.arrays["rates"]
    ends = _ends(record, curves)
    best = int(ends.argmin())
    above = ["very high" if end > curves[0, 0] else "high" for end in ends]
    return ["low"] * best + ["good"] + above[best + 1 :]


def _ends(record: Record, curve: np.ndarray) -> Any:
    """The mean loss over the last pass, () or (G,); infinite for a training that broke off."""
    last = curve[-(len(curve) // record.settings["epochs"]) :]
    return np.nan_to_num(last.mean(axis=0), nan=np.inf, posinf=np.inf)


def _by_size(record: Record) -> list[tuple[str, np.ndarray]]:
    """Label and losses of each batch size, in rising order."""
    sizes = {str(size): f"batches of {size}" for size in record.settings["batch_sizes"]}
    sizes |= {"full": "all examples"} | ({"1": "single examples"} if "1" in sizes else {})
    return [(label, record.arrays[f"batch_{size}"]) for size, label in sizes.items()]


def draw(record: Record) -> Iterator[Plot]:
    """The loss of every minibatch, the effect of the step size, the effect of the batch size."""
    yield _draw_minibatches(record)
    yield _draw_rates(record)
    yield _draw_sizes(record)


def _draw_minibatches(record: Record) -> Plot:
    good, settings = _names(record).index("good"), record.settings
    curve, rate = record.arrays["rates"][:, good], settings["rates"][good]
    title = (
        "The loss over minibatches goes down, "
        f"from {curve[0]:.2f} to {_ends(record, curve):.2f} on average"
    )
    figure, axes = style.canvas(height=3.4, title=title)
    axes.plot(curve, color=style.SKY, lw=1, label="each minibatch")
    axes.plot(*_smooth(curve, len(curve) // settings["epochs"]), label="mean of the last pass")
    axes.set(
        xlabel=f"step (batches of {settings['batch_size']})", ylabel="loss (nats)", yscale="log"
    )
    axes.legend()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    return Plot(
        "minibatch_loss",
        figure,
        "Softmax loss with an L2 penalty on each minibatch, before its step; step size "
        f"{rate:g}/D, where D is the number of features.",
        f"Line chart of the loss against the step number. {title}; single minibatches scatter "
        "around the mean.",
    )


def _draw_rates(record: Record) -> Plot:
    curves, rates, names = record.arrays["rates"], record.settings["rates"], _names(record)
    epoch = len(curves) // record.settings["epochs"]
    best = rates[names.index("good")]
    title = f"Step size {best:g}/D ends lowest; a very high one ends above the start"
    if "very high" not in names:
        title = f"Of these step sizes, {best:g}/D ends lowest"
    figure, axes = style.canvas(height=3.6, title=title)
    for curve, rate, name, color in zip(curves.T, rates, names, cycle(style.CYCLE), strict=False):
        axes.plot(*_smooth(curve, max(1, epoch // 2)), color=color, label=f"{name}: {rate:g}/D")
    axes.axhline(curves[0, 0], color=style.FAINT, ls=":", lw=1.5)
    axes.set(xlabel="step", ylabel="loss (nats), mean over half a pass", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    style.legend(figure, "step size")
    return Plot(
        "step_size",
        figure,
        f"The same minibatches of {record.settings['batch_size']} for every step size, all "
        "trained as one program. The dotted line is the loss at the start.",
        "Line chart of the loss against the step number on a logarithmic axis, one line per "
        f"step size. {title}.",
    )


def _draw_sizes(record: Record) -> Plot:
    runs = _by_size(record)
    ends = {label: float(_ends(record, curve)) for label, curve in runs}
    best = min(ends, key=lambda label: ends[label])
    title = f"After as many examples looked at, {best} have come lowest: {ends[best]:.2f}"
    figure, axes = style.canvas(height=3.6, title=title)
    for (label, curve), color in zip(runs, cycle(style.CYCLE), strict=False):
        step = record.numbers["num_examples"] * record.settings["epochs"] / len(curve)
        places, means = _smooth(curve, len(curve) // record.settings["epochs"])
        marker = "o" if len(curve) < 50 else ""
        axes.plot(places * step, means, color=color, marker=marker, label=label)
    axes.set(xlabel="training examples looked at", ylabel="loss (nats), mean over a pass")
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    style.legend(figure, "gradient from")
    return Plot(
        "batch_size",
        figure,
        f"One step size, {record.settings['rate']:g}/D, for all; a step with all examples costs "
        "as much as a whole pass of small ones.",
        f"Line chart of the loss against the number of examples looked at. {title}; the curve "
        f"of all examples ends at {ends['all examples']:.2f}.",
    )


def _smooth(curve: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and running means of the losses over `window` steps that end there."""
    finite = np.nan_to_num(curve.astype(np.float64), nan=1e9, posinf=1e9)
    sums = np.cumsum(np.concatenate([[0.0], finite]))
    means = (sums[window:] - sums[:-window]) / window
    keep = np.linspace(0, len(means) - 1, min(len(means), 1000)).astype(int)
    return (np.arange(len(means)) + window)[keep], means[keep]


if __name__ == "__main__":
    sys.exit(run.main(__file__))
