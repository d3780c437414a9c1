"""What `experiments.gradient_descent` found, told and drawn."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter

from experiments.lab.record import Record
from experiments.report import intervals, style
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
from lincls import (
    evaluation,
)

SLIDES = "58-60"
QUESTION = "How does gradient descent get down, and how does the step size change it?"
CLAIM = (
    "Steps along the negative gradient lead down (58). Use a small portion of the training set "
    "to compute the gradient; common sizes are 32, 64 and 128, and a single example is SGD "
    "proper. The loss over minibatches goes down over time (59). A low step size is slow, a good "
    "one fast, a high one stays above where the good one ends, a very high one goes up (60)."
)
SECONDS = 11
NAMES = ("low", "good", "high", "very high")  # slide 60's step sizes, rising


def findings(record: Record) -> Findings:
    """Down step by step; where each step size began and ended; the batch sizes."""
    sentences = [
        f"With small weights the loss over the training examples begins at {_start(record):.3f}; "
        f"log C is {record.numbers['log_classes']:.3f}.",
        f"By step size: {'; '.join(_about_rates(record))}.",
        _about_sizes(record),
        *_about_descent(record),
    ]
    answers = {"58": _of_descent(record), "59-60": _of_rates(record)}
    return Findings(sentences, answers, (_size_table(record),))


def _of_descent(record: Record) -> Answer:
    """Row 58: the loss over all examples, which no chance moves, falls at every step."""
    runs = _full_runs(record)
    falls = all(np.all(np.diff(losses) < 0) for losses in runs.values())
    down = all(losses[-1] < losses[0] for losses in runs.values())
    told = "; ".join(_fell(rate, losses) for rate, losses in runs.items())
    return Answer(AGREES if falls else UNDECIDED if down else DIFFERS, f"gradient descent, {told}")


def _full_runs(record: Record) -> dict[str, np.ndarray]:
    """The losses over all their examples of the two runs without minibatches, by step size."""
    rates = (f"{record.settings[name]:g}/D" for name in ("rate", "plane_rate"))
    arrays = record.arrays
    return {
        f"step size {rate} on {count:,} examples": losses
        for rate, count, losses in zip(
            rates,
            (record.numbers["num_examples"], _plane_count(record)),
            (arrays["batch_full"], arrays["descent_loss"]),
            strict=True,
        )
    }


def _plane_count(record: Record) -> int:
    return int(min(record.settings["plane_train"], record.data["num_train"]))


def _fell(what: str, losses: np.ndarray) -> str:
    """How often the loss fell from one step to the next, from where to where."""
    fell, steps = int(np.sum(np.diff(losses) < 0)), len(losses) - 1
    return (
        f"{what}: the loss falls at {'each' if fell == steps else fell} of {steps} steps, from "
        f"{losses[0]:.3f} to {losses[-1]:.3f}"
    )


def _about_descent(record: Record) -> list[str]:
    """The runs with all examples in each step, and the map."""
    _, descent, sgd = record.arrays["plane_ends"]
    share = float(record.arrays["plane_share"])
    steps = record.settings["plane_points"] * record.settings["plane_stride"]
    told = "; ".join(_fell(rate, losses) for rate, losses in _full_runs(record).items())
    return [
        f"Gradient descent with all examples in every step, {told}.",
        f"On the map, {steps} steps of gradient descent end at a loss of {descent:.3f} over all "
        f"its examples, the same number of steps of SGD in batches of "
        f"{record.settings['plane_batch']} at {sgd:.3f}; {share:.0%} of the squared distances of "
        "their points from the start lie in the plane.",
    ]


def _of_rates(record: Record) -> Answer:
    """Rows 59-60: the good one's minibatch loss goes down; the four kinds stand in their order.

    What is out of order differs; a kind that no step size shows cannot be told.
    """
    names = _names(record)
    places = [NAMES.index(name) for name in names]
    down = _falls(_beside_start(record, _best(record)))
    order = (
        DIFFERS if places != sorted(places) else AGREES if set(names) == set(NAMES) else UNDECIDED
    )
    missing = [name for name in NAMES if name not in names]
    told = f"from {_start(record):.3g}, {'; '.join(_about_rates(record))}"
    told += f"; of these none is {' or '.join(missing)}" if missing else ""
    return Answer(together((down, order)), told)


def _falls(beside: evaluation.Interval) -> str:
    """The verdict on "this is below 0"."""
    return intervals.above_zero(evaluation.Interval(-beside.high, -beside.low))


def _start(record: Record) -> float:
    """The objective at the start, over all training examples that are used."""
    return float(record.arrays["batch_full"][0])


def _last_pass(record: Record, curve: np.ndarray) -> np.ndarray:
    """The losses of the minibatches of the last pass, the last of a curve."""
    return curve[-(len(curve) // record.settings["epochs"]) :].astype(np.float64)


def _beside_start(record: Record, place: int) -> evaluation.Interval:
    """Losses of the last pass of a step size less the loss at the start."""
    return _mean(_last_pass(record, record.arrays["rates"][:, place]) - _start(record))


def _beside_best(record: Record, place: int) -> evaluation.Interval:
    """Losses of the last pass of a step size less the best's on the same minibatches."""
    last = _last_pass(record, record.arrays["rates"])
    return _mean(last[:, place] - last[:, _best(record)])


def _mean(losses: np.ndarray) -> evaluation.Interval:
    """The interval of their mean; one that broke off is infinitely high, a single one open."""
    if not np.all(np.isfinite(losses)):
        return evaluation.Interval(np.inf, np.inf)
    if len(losses) < 2:
        return evaluation.Interval(-np.inf, np.inf)
    return intervals.of_mean(losses)


def _about_rates(record: Record) -> list[str]:
    """What each step size does: where it ends, beside the good one's end or the start."""
    return [
        f"{rate:g}/D is {name}, {_about_rate(record, place, name)}"
        for place, (rate, name) in enumerate(
            zip(record.settings["rates"], _names(record), strict=True)
        )
    ]


def _about_rate(record: Record, place: int, name: str) -> str:
    curve, best = record.arrays["rates"][:, place], _best(record)
    end, passes = float(_ends(record, curve)), record.settings["epochs"]
    if name == "very high":
        first = curve[: len(curve) // passes].mean()
        return (
            f"its loss is {first:.2g} on average over the first pass and {end:.2g} over pass "
            f"{passes}, above the start"
        )
    if place == best:
        return f"it ends lowest, at {end:.3g}"
    beside, rate = _beside_best(record, place), record.settings["rates"][best]
    return f"it ends at {end:.3g}, {beside.low:+.2g} to {beside.high:+.2g} beside {rate:g}/D"


def _about_sizes(record: Record) -> str:
    ends = {label: float(_ends(record, curve)) for label, curve in _by_size(record)}
    order = sorted(ends, key=lambda label: ends[label])
    return (
        f"At step size {record.settings['rate']:g}/D, after equally many examples, {order[0]} are "
        f"lowest ({ends[order[0]]:.3g}), {order[-1]} highest ({ends[order[-1]]:.3g}): small "
        "batches take more steps."
    )


def _size_table(record: Record) -> Table:
    """Each batch size after equally many examples."""
    passes = record.settings["epochs"]
    rows = [
        (label, f"{len(curve):,}", f"{float(_ends(record, curve)):.4f}",
         f"{np.std(curve[-(len(curve) // passes):]):.4f}")
        for label, curve in _by_size(record)
    ]  # fmt: skip
    caption = (
        f"{passes} passes over {record.numbers['num_examples']:,} examples at step size "
        f"{record.settings['rate']:g}/D; mean and standard deviation of the loss over the batches "
        "of the last pass."
    )
    return Table(caption, ("gradient from", "steps", "loss", "spread of the batches"), rows)


def _names(record: Record) -> list[str]:
    """The slide's word for each step size, by intervals of its losses of the last pass.

    Very high: above the start.  Else good, if not above the best; low below it, high beyond it.
    """
    best, names = _best(record), []
    for place in range(record.arrays["rates"].shape[1]):
        if _beside_start(record, place).low > 0:
            names.append("very high")
        elif place != best and _beside_best(record, place).low > 0:
            names.append("low" if place < best else "high")
        else:
            names.append("good")
    return names


def _best(record: Record) -> int:
    """The place of the step size whose loss ends lowest."""
    return int(_ends(record, record.arrays["rates"]).argmin())


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
    """The loss of every minibatch, the step size, the batch size, the paths on a map."""
    yield _draw_minibatches(record)
    yield _draw_rates(record)
    yield _draw_sizes(record)
    yield _draw_plane(record)


def _draw_minibatches(record: Record) -> Plot:
    good, settings = _best(record), record.settings
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
    best = rates[_best(record)]
    title = (
        f"Step size {best:g}/D ends lowest; a very high one is above the start even in pass "
        f"{record.settings['epochs']}"
    )
    if "very high" not in names:
        title = f"Of these step sizes, {best:g}/D ends lowest"
    figure, panels = _panels(title, "very high" in names)
    for curve, rate, name, color in zip(curves.T, rates, names, cycle(style.CYCLE), strict=False):
        axes = panels[0 if name == "very high" else -1]
        axes.plot(*_smooth(curve, max(1, epoch // 2)), color=color, label=f"{name}: {rate:g}/D")
    panels[-1].axhline(_start(record), color=style.FAINT, ls=":", lw=1.5)
    style.legend(figure, "step size")
    return Plot(
        "step_size",
        figure,
        f"The same minibatches of {record.settings['batch_size']} for every step size, all "
        "trained as one program. The dotted line is the loss over the training examples at the "
        "start; what is above it in the last pass has "
        "logarithmic axes of its own.",
        f"Line chart of the loss against the step number, one line per step size. {title}.",
    )


def _panels(title: str, two: bool) -> tuple[Figure, Sequence[Axes]]:
    """Axes for the losses, under others for those that ran away."""
    shares: Any = {"squeeze": False, "sharex": True, "height_ratios": (1, 2) if two else None}
    figure, panels = style.canvas(1 + two, 1, height=4.2 if two else 3.6, title=title, **shares)
    if two:
        panels[0, 0].set(yscale="log")
        panels[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels[0, 0].yaxis.set_major_formatter("{x:g}")
        panels[0, 0].yaxis.set_minor_formatter(NullFormatter())
    panels[-1, 0].set_xlabel("step")
    figure.supylabel("loss (nats), mean over half a pass", size=style.PARAMETERS["axes.labelsize"])
    return figure, panels[:, 0]


def _draw_sizes(record: Record) -> Plot:
    runs = _by_size(record)
    ends = {label: float(_ends(record, curve)) for label, curve in runs}
    best = min(ends, key=lambda label: ends[label])
    by = "gradient descent" if best == "all examples" else "SGD"
    title = f"After equally many examples, {by} on {best} is lowest: {ends[best]:.2f}"
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


def _draw_plane(record: Record) -> Plot:
    settings, arrays = record.settings, record.arrays
    start, descent, sgd = arrays["plane_ends"]
    count = _plane_count(record)
    steps = settings["plane_points"] * settings["plane_stride"]
    title = (
        f"From a loss of {start:.2f}, {steps} steps of gradient descent come to {descent:.2f}, "
        f"equally many of SGD to {sgd:.2f}"
    )
    figure, axes = style.canvas(height=4.6, title=title)
    _draw_levels(axes, arrays)
    looks = (
        ("descent", f"gradient descent, {count:,} examples a step", style.RED),
        ("sgd", f"SGD, {settings['plane_batch']} examples a step", style.BLUE),
    )
    for (name, label, color), marker in zip(looks, style.MARKERS, strict=False):
        axes.plot(*arrays[name].T, marker + "-", ms=3, lw=1.2, color=color, label=label)
    axes.plot(*arrays["descent"][0], "*", ms=16, color=style.INK, label="start")
    axes.set(xlabel="distance from the start, towards the end of gradient descent",
             ylabel="distance, at right angles to that")  # fmt: skip
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return Plot(
        "paths",
        figure,
        "The objective, with its levels in nats, on the plane through the start and the ends of "
        f"both paths in the space of W and b. Each path is {steps} steps at step size "
        f"{settings['plane_rate']:g}/D, with a marker every {settings['plane_stride']}, projected "
        f"onto the plane: start and ends lie in it, of all points {arrays['plane_share']:.0%} of "
        "the squared distances from the start. Off this plane the loss differs from what is drawn. "
        "The axes differ in scale.",
        f"A contour map of the loss with two paths that begin at one point. {title}.",
    )


def _draw_levels(axes: Axes, arrays: dict[str, np.ndarray]) -> None:
    """Contours at equal ratios of the loss, each with its number."""
    loss = arrays["plane_loss"]
    levels = np.geomspace(loss.min() * 1.02, loss.max(), 14)
    axes.contourf(arrays["plane_x"], arrays["plane_y"], loss, np.append(loss.min(), levels),
                  cmap="Greys", alpha=0.35)  # fmt: skip
    lines = axes.contour(arrays["plane_x"], arrays["plane_y"], loss, levels, colors=style.FAINT,
                         linewidths=0.8)  # fmt: skip
    axes.clabel(lines, fmt="%.3g", fontsize=8, colors=style.INK)
    axes.grid(False)


def _smooth(curve: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and running means of the losses over `window` steps that end there."""
    finite = np.nan_to_num(curve.astype(np.float64), nan=1e9, posinf=1e9)
    sums = np.cumsum(np.concatenate([[0.0], finite]))
    means = (sums[window:] - sums[:-window]) / window
    keep = np.linspace(0, len(means) - 1, min(len(means), 1000)).astype(int)
    return (np.arange(len(means)) + window)[keep], means[keep]
