"""Gradient descent in small batches: the loss goes down, and the step size decides how."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter

from experiments.lab import run, style, tuning
from experiments.lab.experiment import AGREES, DIFFERS, Answer, Findings, Outcome, Plot, Table
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
SECONDS = 11
OBJECTIVE = Objective(losses.softmax, penalties.l2)


@dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = flag(
        (1.0, 10.0, 100.0, 1000.0, 10000.0), "step sizes compared, rising, in units of 1 / D", low=0
    )
    rate: float = flag(1.0, "step size of all batch sizes, in units of 1 / D", low=0)
    batch_size: int = flag(256, "examples in a minibatch (slide 59)", low=1)
    batch_sizes: tuple[int, ...] = flag(
        (1, 32, 64, 128, 256), "batch sizes compared", low=1, smoke=(256,)
    )
    reg: float = flag(1e-3, "strength of the L2 penalty", low=0)
    epochs: int = flag(20, "passes over the training examples", low=1, smoke=1)
    max_train: int = flag(10000, "training examples used, the first ones", low=2, smoke=300)
    plane_train: int = flag(2000, "training examples of the map, the first ones", low=2, smoke=100)
    plane_rate: float = flag(30.0, "step size of the paths on the map, in units of 1 / D", low=0)
    plane_batch: int = flag(32, "examples in a step of the map's SGD", low=1)
    plane_stride: int = flag(2, "steps between two points of a path", low=1)
    plane_points: int = flag(60, "points of a path", low=2, smoke=3)
    plane_cells: int = flag(61, "places along each axis of the map", low=2, smoke=5)


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
    return Outcome(numbers, arrays | _plane(key, data, settings))


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


def _plane(key: jax.Array, data: Data, settings: Settings) -> dict[str, np.ndarray]:
    """Two paths through the space of (W | b), and the objective on the plane of their ends.

    The plane goes through the start and the end of each path, where its loss is therefore
    exact; its first axis points to the end of gradient descent, its second stands upright.
    """
    examples = tuning.rows(data.train, settings.plane_train)
    affine = preprocessing.fit(examples.X)
    sizes = {"descent": None, "sgd": settings.plane_batch}
    paths = [_path(key, data, examples, affine, settings, size) for size in sizes.values()]
    start, ends = paths[0][0], [path[-1] for path in paths]
    axes = np.linalg.qr(np.stack([(end - start).ravel() for end in ends], axis=1))[0].T
    axes *= np.sign(axes @ (ends[0] - start).ravel())[:1]  # QR may turn both around
    away = np.stack([(path - start).reshape(len(path), -1) for path in paths])
    places = away @ axes.T
    across, up = (np.linspace(low, high, settings.plane_cells, dtype=np.float32)
                  for low, high in _widened(places.reshape(-1, 2)))  # fmt: skip
    X = np.pad(preprocessing.apply(affine, examples.X), [(0, 0), (0, 1)], constant_values=1)
    surface = _surface(X, examples.y, start, axes.reshape(2, *start.shape), across, up,
                       settings.reg)  # fmt: skip
    whole = [_objective(X @ end.T, examples.y, end, settings.reg) for end in (start, *ends)]
    arrays = {"plane_x": across, "plane_y": up, "plane_loss": surface, "plane_ends": whole}
    arrays["plane_share"] = np.sum(places**2) / np.sum(away**2)
    return arrays | dict(zip(sizes, places, strict=True))


def _path(
    key: jax.Array, data: Data, examples: tuning.Rows, affine: Any, settings: Settings, size: Any
) -> np.ndarray:
    """(W | b) at the start and after every stride, (points + 1, C, D + 1); size None is all."""
    count, features = examples.X.shape
    hyper = Hyper({"learning_rate": settings.plane_rate / features}, settings.reg)
    params = linear.init(key, features, data.num_classes)
    state = training.start(key, params, optimizer=optimizers.sgd, hyper=hyper)
    points = [np.asarray(linear.fold_bias(params))]
    for _ in range(settings.plane_points):
        state, _ = training.fit(
            state, *examples, hyper, objective=OBJECTIVE, affine=affine,
            batches=batches.shuffled if size else batches.full, batch_size=size or count,
            num_steps=settings.plane_stride,
        )  # fmt: skip
        points.append(np.asarray(linear.fold_bias(state.params)))
    return np.stack(points)


def _widened(places: np.ndarray) -> np.ndarray:
    """The range of each coordinate, (2, 2), with a margin around it."""
    low, high = places.min(axis=0), places.max(axis=0)
    margin = 0.15 * (high - low)
    return np.stack([low - margin, high + margin], axis=1)


def _objective(scores: Any, labels: Any, folded: Any, reg: Any) -> jax.Array:
    """What is minimised, of scores (N, C) and of the (W | b) that gave them."""
    return OBJECTIVE.loss(scores, labels).mean() + reg * OBJECTIVE.penalty(folded[:, :-1])


@jax.jit
def _surface(X: Any, y: Any, centre: Any, axes: Any, across: Any, up: Any, reg: Any) -> jax.Array:
    """The objective at centre + a axes[0] + b axes[1], (len(up), len(across)).

    Scores are linear in (W | b), so the data are multiplied with three of them only.
    """
    middle, one, two = (X @ folded.T for folded in (centre, *axes))

    def at(place: jax.Array) -> jax.Array:
        a, b = place
        folded = centre + a * axes[0] + b * axes[1]
        return _objective(middle + a * one + b * two, y, folded, reg)

    places = jnp.stack(jnp.meshgrid(across, up), axis=-1).reshape(-1, 2)
    return jax.lax.map(at, places).reshape(len(up), len(across))


def findings(record: Record) -> Findings:
    """Where each step size began and ended, and each batch size after as many examples."""
    curves, rates = record.arrays["rates"], record.settings["rates"]
    names, start = _names(record), float(curves[0, 0])
    ends = ", ".join(
        f"{rate:g}/D ({name}) ends at {end:.3g}"
        for rate, name, end in zip(rates, names, _ends(record, curves), strict=True)
    )
    _, descent, sgd = record.arrays["plane_ends"]
    share = float(record.arrays["plane_share"])
    sentences = [
        f"With small weights the loss begins at {start:.3f}; log C is "
        f"{record.numbers['log_classes']:.3f}.",
        f"Mean loss over the last of {record.settings['epochs']} passes, by step size: {ends}.",
        _about_sizes(record),
        f"On the map, {record.settings['plane_points'] * record.settings['plane_stride']} steps of "
        f"gradient descent end at a loss of {descent:.3f} over all its examples, as many steps of "
        f"SGD in batches of {record.settings['plane_batch']} at {sgd:.3f}; {share:.0%} of the "
        "squared distances of their points from the start lie in the plane.",
    ]
    down = _ends(record, curves[:, _best(record)]) < start
    expected = names[0] == "low" and names[-1] == "very high" and "high" in names and down
    verdict = AGREES if expected else DIFFERS
    told = f"from {start:.3g}, the last of {record.settings['epochs']} passes: {ends}"
    answers = {"59-60": Answer(verdict, told)}
    return Findings(sentences, verdict, (_size_table(record),), by_slides=answers)


def _about_sizes(record: Record) -> str:
    ends = {label: float(_ends(record, curve)) for label, curve in _by_size(record)}
    order = sorted(ends, key=lambda label: ends[label])
    return (
        f"At step size {record.settings['rate']:g}/D, after as many examples, {order[0]} are "
        f"lowest ({ends[order[0]]:.3g}), {order[-1]} highest ({ends[order[-1]]:.3g}): small "
        "batches take more steps."
    )


def _size_table(record: Record) -> Table:
    """Each batch size after as many examples."""
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
    """The slide's word for each step size, by where its loss ends: beside the best, the start.

    What does not end above the best beyond the scatter of the last pass is good as well.
    """
    curves = record.arrays["rates"]
    ends, best = _ends(record, curves), _best(record)
    names = ["low"] * best + ["good"] + ["high"] * (len(ends) - best - 1)
    for place, end in enumerate(ends):
        if end > curves[0, 0]:
            names[place] = "very high"
        elif not _above(record, place, best):
            names[place] = "good"
    return names


def _best(record: Record) -> int:
    """The place of the step size whose loss ends lowest."""
    return int(_ends(record, record.arrays["rates"]).argmin())


def _above(record: Record, place: int, best: int) -> bool:
    """Whether a step size's losses of the last pass are above the best's (paired t test, 5%)."""
    curves = record.arrays["rates"]
    last = curves[-(len(curves) // record.settings["epochs"]) :]
    apart = last[:, place] - last[:, best]
    if not np.all(np.isfinite(apart)) or len(apart) < 2 or not apart.std():
        return not np.all(np.isfinite(apart)) or bool(apart.mean() > 0)
    return bool(scipy.stats.ttest_1samp(apart, 0, alternative="greater").pvalue < 0.05)


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
    title = f"Step size {best:g}/D ends lowest; a very high one ends above the start"
    if "very high" not in names:
        title = f"Of these step sizes, {best:g}/D ends lowest"
    figure, panels = _panels(title, "very high" in names)
    for curve, rate, name, color in zip(curves.T, rates, names, cycle(style.CYCLE), strict=False):
        axes = panels[0 if name == "very high" else -1]
        axes.plot(*_smooth(curve, max(1, epoch // 2)), color=color, label=f"{name}: {rate:g}/D")
    panels[-1].axhline(curves[0, 0], color=style.FAINT, ls=":", lw=1.5)
    style.legend(figure, "step size")
    return Plot(
        "step_size",
        figure,
        f"The same minibatches of {record.settings['batch_size']} for every step size, all "
        "trained as one program. The dotted line is the loss at the start; what ends above it has "
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


def _draw_plane(record: Record) -> Plot:
    settings, arrays = record.settings, record.arrays
    start, descent, sgd = arrays["plane_ends"]
    count = min(settings["plane_train"], record.data["num_train"])
    steps = settings["plane_points"] * settings["plane_stride"]
    title = (
        f"From a loss of {start:.2f}, {steps} steps of gradient descent come to {descent:.2f}, as "
        f"many of SGD to {sgd:.2f}"
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
             ylabel="distance, upright to that")  # fmt: skip
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return Plot(
        "paths",
        figure,
        "The objective, with its levels in nats, on the plane through the start and the ends of "
        f"both paths in the space of W and b. Each path is {steps} steps at step size "
        f"{settings['plane_rate']:g}/D, with a marker every {settings['plane_stride']}, projected "
        f"onto the plane: start and ends lie in it, of all points {arrays['plane_share']:.0%} of "
        "the squared distances from the start. Beside the plane the loss is another than on it. "
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


if __name__ == "__main__":
    sys.exit(run.main(__file__))
