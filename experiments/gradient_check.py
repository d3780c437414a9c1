"""The gradient check: numerical against analytic, step sizes, kinks, planted errors, cost."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab import run, style, tuning, words
from experiments.lab.experiment import AGREES, DIFFERS, Findings, Outcome, Plot, Table
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import gradcheck, linear, losses, penalties, preprocessing
from lincls.objective import Objective, evaluate
from lincls.structs import Examples, Hyper, LinearParams

SLIDES = "51-57"
QUESTION = "Is the analytic gradient right, and what does it cost to find out?"
CLAIM = (
    "The numerical gradient is slow, approximate and easy (55); the analytic one is exact, fast "
    "and error-prone. In practice, use the analytic gradient and check it against the "
    "numerical one (57)."
)
SECONDS = 12
HINGE = Objective(losses.hinge, penalties.l2)
SMOOTH = Objective(losses.softmax, penalties.l2)


@dataclass(frozen=True)
class Settings:
    num_examples: int = flag(50, "training examples in the loss, the first ones", low=2, smoke=10)
    scale: float = flag(0.1, "standard deviation of the W at which gradients are taken", low=0)
    reg: float = flag(0.1, "strength of the L2 penalty", low=0)
    h: float = flag(1e-5, "step of the numerical gradient, as in slide 55's code", low=0)
    steps: tuple[float, ...] = flag(
        tuple(10.0**-power for power in range(1, 12)), "steps h compared", low=0, smoke=(1e-2, 1e-5)
    )
    num_directions: int = flag(32, "random directions along which steps are compared", low=1)


class Problem(NamedTuple):
    """A loss as a function of the parameters, which follow their own precision."""

    params: LinearParams
    batch: Examples
    reg: float

    def loss(self, objective: Objective, params: LinearParams) -> jax.Array:
        return evaluate(objective, params, self.batch, Hyper({}, self.reg))[0]

    def gradient(self, params: LinearParams, objective: Objective = HINGE) -> LinearParams:
        return jax.grad(partial(self.loss, objective))(params)

    def kinks(self, params: LinearParams) -> jax.Array:
        return losses.hinge_kinks(linear.scores(params, self.batch.X), self.batch.y)


# What one gets wrong by hand: each makes a wrong gradient of the SVM's objective.
MISTAKES: dict[str, Callable[[Problem, LinearParams], LinearParams]] = {
    "none": lambda problem, params: problem.gradient(params),
    "times -3": lambda problem, params: jax.tree.map(lambda g: -3 * g, problem.gradient(params)),
    "one row of W halved": lambda problem, params: _halve_a_row(problem.gradient(params)),
    "penalty left out": lambda problem, params: problem._replace(reg=0.0).gradient(params),
    "bias left out": lambda problem, params: _without_bias(problem.gradient(params)),
    "sum instead of mean": lambda problem, params: jax.tree.map(
        lambda g: len(problem.batch.y) * g, problem.gradient(params)
    ),
}


def _halve_a_row(grads: LinearParams) -> LinearParams:
    return grads._replace(W=grads.W.at[0].multiply(0.5))


def _without_bias(grads: LinearParams) -> LinearParams:
    return grads._replace(b=jnp.zeros_like(grads.b))


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """All on the first training examples; the test set is not opened."""
    examples = tuning.rows(data.train, settings.num_examples)
    X = preprocessing.apply(preprocessing.fit(examples.X), examples.X)
    params = linear.init(key, X.shape[1], data.num_classes, settings.scale)
    batch = Examples(X, examples.y, np.ones(len(X), np.float32))
    problem, outcome = Problem(params, batch, settings.reg), Outcome({})
    _compare(outcome, problem, settings.h)
    outcome.numbers["mistakes"] = {
        name: _checked(key, problem, mistake, settings.h) for name, mistake in MISTAKES.items()
    }
    directions = _directions(key, params, settings.num_directions)
    for dtype in (np.float32, np.float64):
        for kind in ("forward", "centred"):
            errors = _errors(problem, directions, settings.steps, dtype, kind == "centred")
            outcome.arrays[f"{dtype.__name__}_{kind}"] = errors
    outcome.arrays["crossed"] = _crossed(problem, directions, settings.steps)
    return outcome


def _compare(outcome: Outcome, problem: Problem, h: float) -> None:
    """Slide 55's numerical gradient against the analytic one: error, evaluations, seconds."""
    size = sum(leaf.size for leaf in problem.params)
    with jax.enable_x64(True):
        params = _cast(problem.params, np.float64)
        gradient = jax.jit(partial(problem.gradient, objective=SMOOTH))
        analytic = jax.block_until_ready(gradient(params))
        began = time.perf_counter()
        jax.block_until_ready(gradient(params))
        outcome.seconds["analytic"] = time.perf_counter() - began
    for kind, evaluations in (("forward", size + 1), ("centred", 2 * size)):
        began = time.perf_counter()
        numeric = gradcheck.numerical_gradient(
            partial(problem.loss, SMOOTH), problem.params, h, centred=kind == "centred"
        )
        outcome.seconds[kind] = time.perf_counter() - began
        difference = _flat(numeric) - _flat(analytic)
        error = np.linalg.norm(difference) / np.linalg.norm(_flat(analytic))
        outcome.numbers[kind] = {"evaluations": evaluations, "error": float(error)}


def _checked(key: jax.Array, problem: Problem, mistake: Any, h: float) -> dict[str, Any]:
    report = gradcheck.check(
        key,
        partial(problem.loss, HINGE),
        problem.params,
        partial(mistake, problem),
        kinks=problem.kinks,
        h=h,
    )
    return {
        "passed": report.passed,
        "judged": sum(leaf.judged for leaf in report.leaves),
        "crossed": sum(leaf.crossed for leaf in report.leaves),
        "wrong": sum(leaf.wrong for leaf in report.leaves),
        "error": max(leaf.max_error for leaf in report.leaves),
    }


def _cast(params: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), dtype), params)


def _flat(params: LinearParams) -> np.ndarray:
    return np.concatenate([np.asarray(leaf).ravel() for leaf in params])


def _directions(key: jax.Array, params: LinearParams, count: int) -> LinearParams:
    """`count` random directions in the space of W and b, each of length about 1."""
    size = sum(leaf.size for leaf in params)
    keys = jax.random.split(key, len(params))
    leaves = zip(keys, params, strict=True)
    return LinearParams(
        *(jax.random.normal(k, (count, *leaf.shape)) / np.sqrt(size) for k, leaf in leaves)
    )


def _moved(params: Any, direction: Any, h: Any) -> Any:
    return jax.tree.map(lambda p, d: p + h * d, params, direction)


def _errors(
    problem: Problem, directions: LinearParams, steps: Any, dtype: Any, centred: bool
) -> np.ndarray:
    """Relative errors (steps, directions) of the slopes along the directions, in `dtype`."""
    loss = partial(problem.loss, SMOOTH)
    with jax.enable_x64(True):
        params, axes = _cast(problem.params, dtype), _cast(directions, dtype)

        def slope(h: jax.Array, axis: LinearParams) -> jax.Array:
            ahead = loss(_moved(params, axis, h))
            behind = loss(_moved(params, axis, -h if centred else 0 * h))
            return (ahead - behind) / (2 * h if centred else h)

        over_all = jax.jit(jax.vmap(jax.vmap(slope, (None, 0)), (0, None)))
        numeric = np.asarray(over_all(jnp.asarray(steps, dtype), axes), np.float64)
        gradient = jax.jit(partial(problem.gradient, objective=SMOOTH))
        exact = gradient(_cast(problem.params, np.float64))
        along = _cast(directions, np.float64)
        slopes = jax.vmap(lambda axis: sum(map(jnp.vdot, exact, axis)))(along)
        return np.abs(numeric - slopes) / np.abs(slopes)


def _crossed(problem: Problem, directions: LinearParams, steps: Any) -> np.ndarray:
    """The share (steps,) of directions along which a centred step crosses a kink of the SVM."""
    with jax.enable_x64(True):
        params, axes = _cast(problem.params, np.float64), _cast(directions, np.float64)

        def crosses(h: jax.Array, axis: LinearParams) -> jax.Array:
            ahead, behind = (problem.kinks(_moved(params, axis, side)) for side in (h, -h))
            return jnp.any(jnp.sign(ahead) != jnp.sign(behind))

        over_all = jax.jit(jax.vmap(jax.vmap(crosses, (None, 0)), (0, None)))
        return np.asarray(over_all(jnp.asarray(steps, np.float64), axes)).mean(axis=1)


def findings(record: Record) -> Findings:
    """Slow, approximate, error-prone: each with its number; what the check caught."""
    seconds, mistakes = record.seconds, record.numbers["mistakes"]
    forward, centred = (record.numbers[kind] for kind in ("forward", "centred"))
    caught = [name for name, report in mistakes.items() if name != "none" and not report["passed"]]
    planted = len(mistakes) - 1
    sentences = [
        f"Slow: {forward['evaluations']:,} evaluations of the loss and "
        f"{words.duration(seconds['forward'])} (with compilation) for the slide's forward "
        f"differences; the analytic gradient takes {words.duration(seconds['analytic'])}.",
        f"Approximate: with h = {record.settings['h']:g} in float64 the forward difference is off "
        f"by {forward['error']:.1e} of the gradient's length, the centred one by "
        f"{centred['error']:.1e}.",
        f"Error-prone: of {planted} planted mistakes the check rejects {len(caught)}, and it "
        f"{'accepts' if mistakes['none']['passed'] else 'rejects'} the gradient without any.",
    ]
    sentences += _best_steps(record)
    right = mistakes["none"]["passed"] and len(caught) == planted
    header = ("mistake", "verdict", "compared", "wrong", "across a kink", "greatest error")
    rows = [
        (
            name,
            "passed" if report["passed"] else "rejected",
            *(f"{report[count]:,}" for count in ("judged", "wrong", "crossed")),
            f"{report['error']:.1e}",
        )
        for name, report in mistakes.items()
    ]
    caption = "Gradients of the SVM's objective, written with a mistake, under gradcheck.check"
    tables = (Table(caption, header, rows), _slide_table())
    return Findings(sentences, AGREES if right else DIFFERS, tables)


def _best_steps(record: Record) -> list[str]:
    """The best step of each precision and kind, and its error."""
    steps, found = np.array(record.settings["steps"]), []
    for kind in ("forward", "centred"):
        of_kind = []
        for dtype in ("float32", "float64"):
            errors = np.median(record.arrays[f"{dtype}_{kind}"], axis=1)
            of_kind.append(f"{errors.min():.0e} at h = {steps[errors.argmin()]:.0e} in {dtype}")
        found.append(f"The least median error of {kind} differences: {', '.join(of_kind)}.")
    return found


def _slide_table() -> Table:
    """Slides 52-54 once more: losses printed to five decimals, h = 0.0001."""
    base, h, unit = 1.25347, 1e-4, 1e-5
    rows = [
        (str(place), f"{base:.5f}", f"{moved:.5f}", f"{(moved - base) / h:.1f}", f"{unit / h:.1f}")
        for place, moved in enumerate((1.25322, 1.25353, 1.25347), 1)
    ]
    header = ("dimension", "loss", "loss after + h", "dW", "known to")
    return Table(f"The table of slides 52-54, h = {h:g}", header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The error of the numerical gradient against h, with the share of steps across a kink."""
    steps = record.settings["steps"]
    best = {
        dtype: min(
            np.median(record.arrays[f"{dtype}_{kind}"], axis=1).min()
            for kind in ("forward", "centred")
        )
        for dtype in ("float32", "float64")
    }
    title = (
        f"A numerical gradient is right to {best['float64']:.0e} at best in float64, "
        f"to {best['float32']:.0e} in float32"
    )
    figure, (top, bottom) = style.canvas(
        2, 1, height=5.0, title=title, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    for dtype, color in (("float32", style.RED), ("float64", style.BLUE)):
        for kind, line, marker in (("forward", "--", "o"), ("centred", "-", "s")):
            errors = np.median(record.arrays[f"{dtype}_{kind}"], axis=1)
            top.plot(steps, errors, line, marker=marker, color=color, label=f"{dtype}, {kind}")
    top.set(xscale="log", yscale="log", ylabel="relative error (median)")
    style.legend(figure)
    bottom.plot(steps, 100 * record.arrays["crossed"], marker="^", color=style.PURPLE)
    bottom.set(xlabel="step h", ylabel="steps across\na kink (%)", ylim=(-5, 105))
    yield Plot(
        "error_against_h",
        figure,
        "Top: softmax loss, slopes along random directions. A large h is wrong by curvature (h "
        "or, centred, h squared), a small one by rounding (1 / h). Bottom: how often the two "
        "sides of a centred step lie on different sides of a kink of the SVM loss, where a "
        "right gradient looks wrong.",
        "Four V-shaped curves of relative error against h on logarithmic axes, above a falling "
        f"curve of the share of steps that cross a kink. {title}.",
    )


if __name__ == "__main__":
    sys.exit(run.main(__file__))
