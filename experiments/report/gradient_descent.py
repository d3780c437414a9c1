"""What `experiments.gradient_descent` found, told and drawn."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter

from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    UNDECIDED,
    Answer,
    Findings,
    Plot,
    Table,
    together,
)
from lincls.evaluation import Interval

SLIDES = "58-60"
QUESTION = "How do the learning rate and the batch size change gradient descent?"
CLAIM = (
    "Steps along the negative gradient lower the loss (58). The gradient of 32, 64 or 128 examples "
    "is enough, and the loss over minibatches goes down (59). A low learning rate is slow, a good "
    "one fast, a high one stays above the good one, and with a very high one the loss rises (60)."
)
SECONDS = 11
NAMES = ("low", "good", "high", "very high")  # slide 60's learning rates, rising


def findings(record: Record) -> Findings:
    """Gradient descent on all examples, the kinds of learning rates, the batch sizes."""
    names, rates = _names(record), record.settings["rates"]
    kinds = ", ".join(f"{rate:g}/D is {name}" for rate, name in zip(rates, names, strict=True))
    missing = ", ".join(name for name in NAMES if name not in names)
    answers = {
        "58": _of_descent(record),
        "59-60": Answer(_of_rates(record), kinds + (f"; missing: {missing}" if missing else "")),
    }
    sentences = [
        f"{words.capital(answers['58'].because)}.",
        f"Learning rates: {kinds}.",
        f"At learning rate {record.settings['rate']:g}/D, the final loss is {_ends(record)}.",
    ]
    return Findings(sentences, answers, (_rate_table(record), _size_table(record)))


def _of_descent(record: Record) -> Answer:
    """Slide 58: the loss over all examples, which no chance moves, ends below its start."""
    both = (record.arrays[name] for name in ("batch_full", "descent_loss"))
    runs = [losses for losses in both if len(losses) > 1]  # one pass is one loss of the first
    falls = np.concatenate([np.diff(losses) < 0 for losses in runs])
    down = all(losses[-1] < losses[0] for losses in runs)
    ends = " and ".join(f"{losses[0]:.3g} to {losses[-1]:.3g}" for losses in runs)
    told = f"full-batch gradient descent lowers the loss in {falls.sum()} of {len(falls)} steps"
    return Answer(AGREES if down else DIFFERS, f"{told}, from {ends}")


def _of_rates(record: Record) -> str:
    """Slides 59-60: the loss over minibatches goes down; the four kinds stand in their order.

    Kinds out of order differ; a kind that no learning rate shows leaves the order undecided.
    """
    last, names = _last_pass(record, record.arrays["rates"]), _names(record)
    above = _mean(last[:, _best(record)] - _start(record))
    down = intervals.above_zero(Interval(-above.high, -above.low))
    places = [NAMES.index(name) for name in names]
    if places != sorted(places):
        return DIFFERS
    return together((down, AGREES if set(names) == set(NAMES) else UNDECIDED))


def _names(record: Record) -> list[str]:
    """The slide's word for each learning rate, by intervals of its losses of the last pass.

    Very high: above the start.  Else good, if not above the best; low below it, high beyond it.
    """
    last, best, names = _last_pass(record, record.arrays["rates"]), _best(record), []
    for place, losses in enumerate(last.T):
        if _mean(losses - _start(record)).low > 0:
            names.append("very high")
        elif place != best and _mean(losses - last[:, best]).low > 0:
            names.append("low" if place < best else "high")
        else:
            names.append("good")
    return names


def _mean(losses: np.ndarray) -> Interval:
    """The interval of their mean: infinitely high if training diverged, open for one loss."""
    if not np.all(np.isfinite(losses)):
        return Interval(np.inf, np.inf)
    return intervals.of_mean(losses) if len(losses) > 1 else Interval(-np.inf, np.inf)


def _best(record: Record) -> int:
    """The place of the learning rate whose loss ends lowest."""
    return int(_end(record, record.arrays["rates"]).argmin())


def _start(record: Record) -> float:
    """The objective at the start, over all training examples that are used."""
    return float(record.arrays["batch_full"][0])


def _last_pass(record: Record, curve: np.ndarray) -> np.ndarray:
    """The losses of the last pass, (steps,) or (steps, rates)."""
    return curve[-(len(curve) // record.settings["epochs"]) :].astype(np.float64)


def _end(record: Record, curve: np.ndarray) -> Any:
    """The mean loss of the last pass; infinite if training diverged."""
    return np.nan_to_num(_last_pass(record, curve).mean(axis=0), nan=np.inf, posinf=np.inf)


def _by_size(record: Record) -> dict[str, np.ndarray]:
    """The losses of each batch size, by its label, all examples last."""
    arrays, sizes = record.arrays, record.settings["batch_sizes"]
    runs = {f"batches of {size}": arrays[f"batch_{size}"] for size in sizes}
    return runs | {"all examples": arrays["batch_full"]}


def _ends(record: Record) -> str:
    """The final losses of the smallest batches and of all examples."""
    ends = [f"{_end(record, curve):.2f} ({label})" for label, curve in _by_size(record).items()]
    return f"{ends[0]} and {ends[-1]}"


def _rate_table(record: Record) -> Table:
    last, best = _last_pass(record, record.arrays["rates"]), _best(record)
    rows = []
    for losses, rate, name in zip(last.T, record.settings["rates"], _names(record), strict=True):
        above = _mean(losses - last[:, best])
        told = " to ".join(map(words.power, above)) if np.isfinite(above.low) else "diverged"
        rows.append((f"{rate:g}/D", name, f"{losses.mean():.3g}", told))
    caption = (
        f"Mean minibatch loss of the last pass; at the start it is {_start(record):.3g} (log C is "
        f"{record.numbers['log_classes']:.3g}). D: number of features."
    )
    return Table(caption, ("learning rate", "is", "mean loss", "above the best (95 % CI)"), rows)


def _size_table(record: Record) -> Table:
    rows = []
    for label, curve in _by_size(record).items():
        last = _last_pass(record, curve)
        rows.append((label, f"{len(curve):,}", f"{last.mean():.3g}", f"{last.std():.2g}"))
    caption = (
        f"Loss over the batches of the last of {record.settings['epochs']} passes over "
        f"{record.numbers['num_examples']:,} examples, at learning rate "
        f"{record.settings['rate']:g}/D."
    )
    return Table(caption, ("gradient from", "steps", "mean loss", "standard deviation"), rows)


def draw(record: Record) -> Iterator[Plot]:
    """The loss of every minibatch, the learning rate, the batch size, the paths on a map."""
    yield _draw_minibatches(record)
    yield _draw_rates(record)
    yield _draw_sizes(record)
    yield _draw_plane(record)


def _draw_minibatches(record: Record) -> Plot:
    settings, best = record.settings, _best(record)
    curve = record.arrays["rates"][:, best]
    title = f"Minibatch loss: {curve[0]:.2f} at first, {_end(record, curve):.2f} in the last pass"
    figure, axes = style.canvas(height=3.4, title=title)
    axes.plot(curve, color=style.SKY, lw=1, label="each minibatch")
    axes.plot(*_smooth(curve, len(curve) // settings["epochs"]), label="running mean of one pass")
    axes.set(xlabel=f"step (batches of {settings['batch_size']})", ylabel="loss (nats)")
    _log_scale(axes)
    axes.legend()
    return Plot(
        "minibatch_loss",
        figure,
        f"Softmax loss and L2 penalty, at learning rate {settings['rates'][best]:g}/D.",
        f"Line chart of the loss against the step. {title}.",
    )


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def _draw_rates(record: Record) -> Plot:
    curves, rates, names = record.arrays["rates"], record.settings["rates"], _names(record)
    best, window = _best(record), max(1, len(curves) // record.settings["epochs"] // 2)
    title = f"Learning rate {rates[best]:g}/D ends lowest, at {_end(record, curves[:, best]):.2f}"
    rows = 1 + ("very high" in names)  # what ran away has logarithmic axes of its own
    figure, panels = style.canvas(rows, 1, height=4.2, title=title, squeeze=False, sharex=True)
    for curve, rate, name, color in zip(curves.T, rates, names, cycle(style.CYCLE), strict=False):
        axes = panels[0 if name == "very high" else -1, 0]
        axes.plot(*_smooth(curve, window), label=f"{name}: {rate:g}/D", color=color)
    panels[-1, 0].axhline(_start(record), color=style.FAINT, ls=":", lw=1.5)
    panels[-1, 0].set_xlabel("step")
    if rows > 1:
        _log_scale(panels[0, 0])
    figure.supylabel("loss (nats), mean over half a pass", size=11)
    style.legend(figure, "learning rate")
    return Plot(
        "step_size",
        figure,
        "The same minibatches for every learning rate. Dotted: the loss at the start.",
        f"Line chart of the loss against the step, one line per learning rate. {title}.",
    )


def _draw_sizes(record: Record) -> Plot:
    title = f"Final loss: {_ends(record)}"
    figure, axes = style.canvas(height=3.6, title=title)
    for label, curve in _by_size(record).items():
        step = record.numbers["num_examples"] * record.settings["epochs"] / len(curve)
        places, means = _smooth(curve, len(curve) // record.settings["epochs"])
        axes.plot(places * step, means, marker="o" if len(curve) < 50 else "", label=label)
    axes.set(xlabel="training examples used", ylabel="loss (nats), mean over a pass")
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    style.legend(figure, "gradient from")
    return Plot(
        "batch_size",
        figure,
        f"All at learning rate {record.settings['rate']:g}/D. One pass has one step on all "
        "examples, or many on small batches.",
        f"Line chart of the loss against the number of examples used. {title}.",
    )


def _draw_plane(record: Record) -> Plot:
    settings, arrays = record.settings, record.arrays
    start, descent, sgd = arrays["plane_ends"]
    steps = settings["plane_points"] * settings["plane_stride"]
    title = f"Loss after {steps} steps: {start:.2f} to {descent:.2f} (SGD: {sgd:.2f})"
    figure, axes = style.canvas(height=4.6, title=title)
    _draw_levels(axes, arrays)
    count = min(settings["plane_train"], record.data["num_train"])
    axes.plot(*arrays["descent"].T, "o-", color=style.RED, ms=3, lw=1.2,
              label=f"gradient descent, {count:,} examples a step")  # fmt: skip
    axes.plot(*arrays["sgd"].T, "s-", color=style.BLUE, ms=3, lw=1.2,
              label=f"SGD, {settings['plane_batch']} examples a step")  # fmt: skip
    axes.plot(*arrays["descent"][0], "*", ms=16, color=style.INK, label="start")
    axes.set(xlabel="distance from the start, towards the end of gradient descent",
             ylabel="distance, at right angles to that")  # fmt: skip
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return Plot(
        "paths",
        figure,
        "The loss (levels in nats) on the plane through the start and both ends in the space of W "
        f"and b. The paths, at learning rate {settings['plane_rate']:g}/D, are projected onto the "
        f"plane, which holds {words.percent(float(arrays['plane_share']), 0)} of their squared "
        "distances. The axes differ in scale.",
        f"A contour map of the loss with two paths from one start. {title}.",
    )


def _draw_levels(axes: Axes, arrays: dict[str, np.ndarray]) -> None:
    """Contours at equal ratios of the loss, each with its number."""
    x, y, loss = (arrays[f"plane_{name}"] for name in ("x", "y", "loss"))
    levels = np.geomspace(loss.min() * 1.02, loss.max(), 8)
    if not (np.diff(levels) > 0).all():
        return  # the map is flat, or the paths left what has a loss
    axes.contourf(x, y, loss, np.append(loss.min(), levels), cmap="Greys", alpha=0.35)
    lines = axes.contour(x, y, loss, levels, colors=style.FAINT, linewidths=0.8)
    axes.clabel(lines, fmt="%.3g", fontsize=8, colors=style.INK)
    axes.grid(False)


def _smooth(curve: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and running means of the losses over `window` steps that end there."""
    finite = np.nan_to_num(curve.astype(np.float64), nan=1e9, posinf=1e9)
    sums = np.cumsum(np.concatenate([[0.0], finite]))
    means = (sums[window:] - sums[:-window]) / window
    keep = np.linspace(0, len(means) - 1, min(len(means), 1000)).astype(int)
    return (np.arange(len(means)) + window)[keep], means[keep]
