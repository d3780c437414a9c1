"""How far from the minimum SGD ends, and whose the errors are: the training's or the model's."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes

from experiments.lab import run, style, tuning, words
from experiments.lab.experiment import AGREES, DIFFERS, OPEN, Findings, Outcome, Plot, Table
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import (
    batches,
    evaluation,
    linear,
    losses,
    optimizers,
    penalties,
    preprocessing,
    quick,
    reference,
    splits,
    training,
)
from lincls.objective import Objective, over_all
from lincls.structs import Affine, Examples, Hyper, LinearParams

SLIDES = "58-60"
QUESTION = "Does SGD arrive at the minimum, and would it help?"
CLAIM = (
    "Following the gradient leads down to W of the least loss (58). Minibatches only estimate the "
    "gradient, and the loss still goes down over time (59), as far as the step size lets it (60)."
)
SECONDS = 9
LOSSES = {"softmax": losses.softmax, "squared hinge": losses.squared_hinge}
RUNS = ("constant step", "falling step", "mean of the iterates")
ENOUGH = 0.01  # of the way down: nearer to the minimum counts as arrived


@dataclass(frozen=True)
class Settings:
    losses: tuple[str, ...] = flag(
        tuple(LOSSES), "losses, each with L2", choices=tuple(LOSSES), smoke=("softmax",)
    )
    reg: float = flag(1e-2, "strength of the L2 penalty, for features of variance 1", low=1e-9)
    rate: float = flag(
        20.0, "step size, as a multiple of the one derived from data and loss", low=0
    )
    epochs: int = flag(40, "passes of SGD over the training examples", low=1, smoke=3)
    batch_size: int = flag(64, "examples in a minibatch", low=1)
    tol: float = flag(1e-5, "gradient norm that ends L-BFGS", low=0, smoke=1e-2)
    max_steps: int = flag(3000, "steps of L-BFGS at most", low=1, smoke=50)
    validation: float = flag(0.2, "share of the examples that no training sees", low=0)
    max_train: int = flag(4000, "training examples used, the first ones", low=2, smoke=300)


class Task(NamedTuple):
    """One loss on the examples to train on and on those held out."""

    objective: Objective
    reg: float
    affine: Affine
    fitted: tuning.Rows
    held_out: tuning.Rows
    num_classes: int


# --- computing -----------------------------------------------------------------------------------


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """For each loss the optimum and its certificate, and SGD beside it, epoch by epoch."""
    split_key, key = jax.random.split(key)
    examples = tuning.rows(data.train, settings.max_train)
    mask = splits.validation_mask(split_key, examples.y, settings.validation)
    fitted, held_out = examples.where(~mask), examples.where(mask)
    affine = preprocessing.fit(fitted.X)
    outcome = Outcome({"fitted": len(fitted.y), "held_out": len(held_out.y)})
    for name in settings.losses:
        objective = Objective(LOSSES[name], penalties.l2)
        task = Task(objective, settings.reg, affine, fitted, held_out, data.num_classes)
        numbers, arrays = _beside_the_optimum(key, task, settings)
        outcome.numbers[name] = numbers
        outcome.arrays |= {f"{name}: {what}": array for what, array in arrays.items()}
    return outcome


def descent(learning_rate: Any, fall: Any, num_steps: Any, start: Any) -> Any:
    """SGD whose step size stays (fall = 0) or falls to 0 as a cosine (1), and its mean iterate."""

    def rate(step: jax.Array) -> jax.Array:
        part = jnp.minimum(step.astype(jnp.result_type(learning_rate)) / num_steps, 1.0)
        return learning_rate * (1 - fall * 0.5 * (1 - jnp.cos(jnp.pi * part)))

    return optax.chain(optimizers.sgd(rate), optimizers.averaging(start))


def _beside_the_optimum(
    key: jax.Array, task: Task, settings: Settings
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Numbers of the optimum, and of every run after every epoch: arrays (epochs, runs)."""
    best = reference.optimum(
        *task.fitted, reg=task.reg, loss=task.objective.loss, num_classes=task.num_classes,
        affine=task.affine, dtype=np.float64, tol=settings.tol, max_steps=settings.max_steps,
    )  # fmt: skip
    runs = _runs(key, task, settings)
    every = jax.tree.map(lambda met, least: np.concatenate([met, least[None]]), runs, best.params)
    loss, right = _measured(every, task)
    shape = (settings.epochs + 1, len(RUNS))
    arrays = {
        "loss": loss[:-1].reshape(shape),
        "accuracy": right[:-1].mean(axis=1).reshape(shape),
        "right": right[[*range(-1 - len(RUNS), -1), -1]],
    }
    numbers = {
        "least": loss[-1], "grad_norm": best.grad_norm, "steps": best.num_steps,
        "converged": best.converged, "accuracy": right[-1].mean(),
    }  # fmt: skip
    if task.objective.loss is losses.softmax:
        gap = _gap(best.params, task)
        numbers |= {"least": gap.primal, "gap": gap.size}
        last = [jax.tree.map(lambda p, i=i: p[i - 1 - len(RUNS)], every) for i in range(len(RUNS))]
        arrays["certificates"] = np.array([_gap(one, task).size for one in last])
    return numbers, arrays


def _runs(key: jax.Array, task: Task, settings: Settings) -> LinearParams:
    """The parameters of every run before the first and after every epoch, one after another."""
    X, y = map(jnp.asarray, task.fitted)
    epoch = batches.steps_per_epoch(len(y), settings.batch_size)
    rate = settings.rate * quick.step_size(
        task.fitted.X, task.affine, task.objective.loss, task.num_classes, task.reg
    )
    hyper = Hyper(
        {"learning_rate": rate, "fall": [0.0, 1.0], "num_steps": settings.epochs * epoch,
         "start": epoch}, task.reg,
    )  # fmt: skip
    params = linear.init(key, X.shape[1], task.num_classes)
    state = training.start(key, params, optimizer=descent, hyper=hyper)
    met = [_candidates(state)]
    for _ in range(settings.epochs):
        state, _ = training.fit(
            state, X, y, hyper, objective=task.objective, optimizer=descent, num_steps=epoch,
            batch_size=settings.batch_size, affine=task.affine,
        )  # fmt: skip
        met.append(_candidates(state))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *met)


def _candidates(state: Any) -> LinearParams:
    """The parameters of RUNS: both settings' last ones, and the constant step's mean."""
    return jax.tree.map(
        lambda last, mean: np.concatenate([last, mean[:1]]),
        state.params, optimizers.averaged(state),
    )  # fmt: skip


def _measured(params: LinearParams, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The objective (G,), in float64, and who of the held out is classified right (G, M)."""
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        X, y = map(jnp.asarray, task.fitted)
        data = Examples(X, y, jnp.ones(len(y)))
        affine = jax.tree.map(jnp.asarray, task.affine)
        loss = np.asarray(_objective(task.objective, double, data, affine, task.reg))
    rows = np.asarray(preprocessing.apply(task.affine, task.held_out.X))
    products = rows @ params.W.reshape(-1, rows.shape[1]).T.astype(rows.dtype)
    scores = products.reshape(len(rows), *params.b.shape) + params.b
    return loss, task.held_out.y == scores.argmax(axis=-1).T


@partial(jax.jit, static_argnums=0)
def _objective(
    objective: Objective, params: LinearParams, data: Examples, affine: Affine, reg: Any
) -> jax.Array:
    return over_all(objective, params, data, affine, Hyper({}, reg))


def _gap(params: LinearParams, task: Task) -> reference.Gap:
    return reference.duality_gap(params, *task.fitted, reg=task.reg, affine=task.affine)


# --- telling -------------------------------------------------------------------------------------


def findings(record: Record) -> Findings:
    """How near each run came, what is left to gain, and whose the remaining errors are."""
    sentences = [_about(record, name) for name in record.settings["losses"]]
    lefts = [_left(record, name) for name in record.settings["losses"]]
    shares = _shares(record)
    # What has not arrived may be on its way: only what went up contradicts the slides.
    down = all(left[-1].min() < left[0].max() for left in lefts)
    verdict = AGREES if max(shares.values()) < ENOUGH else OPEN if down else DIFFERS
    sentences.append(_about_errors(record))
    return Findings(sentences, verdict, (_table(record),))


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


if __name__ == "__main__":
    sys.exit(run.main(__file__))
