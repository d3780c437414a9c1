"""The gradient check: numerical against analytic, step sizes, kinks, planted errors, cost."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab import tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import evaluation, gradcheck, linear, losses, penalties, preprocessing
from lincls.objective import Objective, evaluate
from lincls.structs import Examples, Hyper, LinearParams

HINGE = Objective(losses.hinge, penalties.l2)
SMOOTH = Objective(losses.softmax, penalties.l2)
CALLS = 10  # of the analytic gradient in one timing: a single one takes microseconds
KINDS = ("forward", "centred")


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
    "factor": lambda problem, params: jax.tree.map(lambda g: -3 * g, problem.gradient(params)),
    "row": lambda problem, params: _halve_a_row(problem.gradient(params)),
    "penalty": lambda problem, params: problem._replace(reg=0.0).gradient(params),
    "half": lambda problem, params: problem._replace(reg=problem.reg / 2).gradient(params),
    "labels": lambda problem, params: _with_next_labels(problem).gradient(params),
    "bias": lambda problem, params: _without_bias(problem.gradient(params)),
    "mean": lambda problem, params: jax.tree.map(
        lambda g: len(problem.batch.y) * g, problem.gradient(params)
    ),
}


@dataclass(frozen=True)
class Settings:
    num_examples: int = flag(50, "training examples in the loss, the first ones", low=2, smoke=10)
    scale: float = flag(0.1, "deviation of the W at which gradients are taken", above=0, high=1e6)
    reg: float = flag(0.1, "strength of the L2 penalty", low=0)
    h: float = flag(1e-5, "step of the numerical gradient, as in slide 55's code", above=0, high=1)
    steps: tuple[float, ...] = flag(
        tuple(10.0**-power for power in range(1, 12)), "steps h compared", above=0, high=1,
        smoke=(1e-2, 1e-3),
    )  # fmt: skip
    table_h: float = flag(1e-4, "step of the table of W, W + h, dW (52-54)", above=0, high=1)
    max_by_hand: int = flag(
        1000, "weights that the slide's own code moves, the first of W", low=1, smoke=64
    )
    repeats: int = flag(5, "timings of the slide's code and of the analytic gradient", low=2)
    num_directions: int = flag(32, "random directions along which steps are compared", low=1)
    mistakes: tuple[str, ...] = flag(
        tuple(MISTAKES), "mistakes planted, one at a time", choices=tuple(MISTAKES), smoke=("bias",)
    )


def eval_numerical_gradient(f: Callable[[np.ndarray], Any], x: np.ndarray) -> np.ndarray:
    """Slide 55, as printed but for the names of Python 3."""
    fx = f(x)
    grad = np.zeros(x.shape)
    h = 0.00001
    it = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    while not it.finished:
        ix = it.multi_index
        old_value = x[ix]
        x[ix] = old_value + h
        fxh = f(x)
        x[ix] = old_value
        grad[ix] = (fxh - fx) / h
        it.iternext()
    return grad


def _halve_a_row(grads: LinearParams) -> LinearParams:
    return grads._replace(W=grads.W.at[0].multiply(0.5))


def _with_next_labels(problem: Problem) -> Problem:
    y = (problem.batch.y + 1) % problem.params.W.shape[0]
    return problem._replace(batch=problem.batch._replace(y=y))


def _without_bias(grads: LinearParams) -> LinearParams:
    return grads._replace(b=jnp.zeros_like(grads.b))


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """All on the first training examples; the test set is not opened."""
    examples = tuning.rows(data.train, settings.num_examples)
    X = preprocessing.apply(preprocessing.fit(examples.X), examples.X)
    params = linear.init(key, X.shape[1], data.num_classes, settings.scale)
    batch = Examples(X, examples.y, np.ones(len(X), np.float32))
    problem, outcome = Problem(params, batch, settings.reg), Outcome({})
    numeric = _compare(outcome, problem, settings.h)
    _by_hand(outcome, problem, settings, numeric)
    outcome.numbers["mistakes"] = _checked(key, problem, settings)
    directions = _directions(key, params, settings.num_directions)
    for dtype in (np.float32, np.float64):
        errors = _errors(problem, directions, settings.steps, dtype)
        for kind, of_kind in zip(KINDS, errors, strict=True):
            outcome.arrays[f"{dtype.__name__}_{kind}"] = of_kind
    outcome.arrays["crossed"] = _crossed(problem, directions, settings.steps)
    return outcome


def _compare(outcome: Outcome, problem: Problem, h: float) -> LinearParams:
    """Ours against the analytic gradient: error, evaluations, seconds; returns the forward one."""
    found = {}
    analytic, _ = _analytic(problem)
    for kind, evaluations in zip(KINDS, (len(analytic) + 1, 2 * len(analytic)), strict=True):
        began = time.perf_counter()
        numeric = gradcheck.numerical_gradient(
            partial(problem.loss, SMOOTH), problem.params, h, centred=kind == "centred"
        )
        outcome.seconds[kind], found[kind] = time.perf_counter() - began, numeric
        error = np.linalg.norm(_flat(numeric) - analytic) / np.linalg.norm(analytic)
        outcome.numbers[kind] = {"evaluations": evaluations, "error": float(error)}
    return found["forward"]


def _by_hand(outcome: Outcome, problem: Problem, settings: Settings, ours: LinearParams) -> None:
    """Slide 55's own code on the first weights, timed; the table of W, W + h and dW (52-54)."""
    W, b = (np.asarray(leaf, np.float64) for leaf in problem.params)
    count = min(W.size, settings.max_by_hand)
    wide = problem._replace(params=LinearParams(W, b), batch=_cast_on_host(problem.batch))
    loss, weights = partial(_loss_by_hand, wide), W.ravel()[:count].copy()
    analytic, seconds = _analytic(problem, settings.repeats)
    for repeat, of_analytic in enumerate(seconds):
        began = time.perf_counter()
        slide = eval_numerical_gradient(loss, weights)
        outcome.seconds[f"slide_55, {repeat}"] = time.perf_counter() - began
        outcome.seconds[f"analytic, {repeat}"] = of_analytic
    outcome.numbers["slide_55"] = {
        "moved": count,
        "all": W.size + b.size,
        "apart": float(np.abs(slide - ours.W.ravel()[:count]).max() / np.abs(slide).max()),
    }
    _fill_table(outcome, loss, W[0].copy(), analytic[: W.shape[1]], settings.table_h)


def _fill_table(
    outcome: Outcome, loss: Callable[[np.ndarray], float], row: np.ndarray, analytic: Any, h: float
) -> None:
    """The three steepest weights of the first class: W, the loss after W + h, the slope."""
    places = np.argsort(-np.abs(analytic))[:3]
    moved = np.array([loss(row + h * (np.arange(len(row)) == place)) for place in places])
    outcome.numbers["table"] = {
        "pixel": places, "W": row[places], "loss": loss(row), "moved": moved,
        "analytic": analytic[places],
    }  # fmt: skip


def _cast_on_host(batch: Examples) -> Examples:
    return batch._replace(X=np.asarray(batch.X, np.float64), y=np.asarray(batch.y))


def _loss_by_hand(problem: Problem, weights: np.ndarray) -> float:
    """The softmax objective in numpy and float64, with other first weights of W (row by row)."""
    old = problem.params.W
    W = np.concatenate([weights, old.ravel()[len(weights) :]]).reshape(old.shape)
    scores = problem.batch.X @ W.T + problem.params.b
    return evaluation.log_loss(scores, problem.batch.y) + problem.reg * float(np.sum(W**2))


def _analytic(problem: Problem, repeats: int = 1) -> tuple[np.ndarray, list[float]]:
    """The gradient of the softmax objective in float64, in one row, and seconds of each repeat."""
    with jax.enable_x64(True):
        params, seconds = _cast(problem.params, np.float64), []
        gradient = jax.jit(partial(problem.gradient, objective=SMOOTH))
        found = jax.block_until_ready(gradient(params))  # compiles
        for _ in range(repeats):
            began = time.perf_counter()
            for _ in range(CALLS):
                found = jax.block_until_ready(gradient(params))
            seconds.append((time.perf_counter() - began) / CALLS)
        return _flat(found), seconds


def _checked(key: jax.Array, problem: Problem, settings: Settings) -> dict[str, dict[str, Any]]:
    """The verdict of the check on each gradient, summed over W and b.

    Every mistake has a copy of the parameters, and what is checked is the sum of the losses
    of all copies: one program then serves all mistakes.
    """
    gradients = {
        name: MISTAKES.get(name, Problem.gradient) for name in ("none", *settings.mistakes)
    }

    def loss(copies: dict[str, LinearParams]) -> jax.Array:
        return jnp.sum(jax.vmap(partial(problem.loss, HINGE))(_stacked(copies)))

    def wrong(copies: dict[str, LinearParams]) -> dict[str, LinearParams]:
        return {name: gradients[name](problem, params) for name, params in copies.items()}

    def kinks(copies: dict[str, LinearParams]) -> jax.Array:
        return jax.vmap(problem.kinks)(_stacked(copies))

    copies = dict.fromkeys(gradients, problem.params)
    report = gradcheck.check(key, loss, copies, wrong, kinks=kinks, h=settings.h)
    orders = gradcheck.taylor(key, loss, copies, wrong, kinks=kinks)
    return {
        name: _summed([leaf for leaf in report.leaves if f"'{name}'" in leaf.name])
        | {"order": _least([leaf for leaf in orders.leaves if f"'{name}'" in leaf.name])}
        for name in gradients
    }


def _least(leaves: list[gradcheck.TaylorLeaf]) -> float | None:
    """The least order of the remainder, None where no direction was judged."""
    orders = [leaf.order for leaf in leaves if leaf.judged]
    return min(orders) if orders else None


def _stacked(copies: dict[str, LinearParams]) -> LinearParams:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *copies.values())


def _summed(leaves: list[gradcheck.LeafReport]) -> dict[str, Any]:
    counts = {count: sum(getattr(leaf, count) for leaf in leaves)
              for count in ("judged", "crossed", "wrong")}  # fmt: skip
    passed = all(leaf.judged > 0 and leaf.wrong == 0 for leaf in leaves)
    return {"passed": passed, **counts, "error": max(leaf.max_error for leaf in leaves)}


def _cast(params: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), dtype), params)


def _flat(params: LinearParams) -> np.ndarray:
    return np.concatenate([np.asarray(leaf).ravel() for leaf in params])


def _directions(key: jax.Array, params: LinearParams, count: int) -> LinearParams:
    """`count` random directions in the space of W and b, each of length about 1."""
    num_classes, num_features = params.W.shape
    size = num_classes * (num_features + 1)
    drawn = jax.random.normal(key, (count, num_classes, num_features + 1)) / np.sqrt(size)
    return LinearParams(drawn[..., :-1], drawn[..., -1])


def _moved(params: Any, direction: Any, h: Any) -> Any:
    return jax.tree.map(lambda p, d: p + h * d, params, direction)


def _over(fn: Callable[..., Any], steps: Any, directions: LinearParams, dtype: Any) -> Any:
    """fn(h, direction) for every pair of a step and a direction, (steps, directions)."""
    over_all = jax.jit(jax.vmap(jax.vmap(fn, (None, 0)), (0, None)))
    found = over_all(jnp.asarray(steps, dtype), _cast(directions, dtype))
    return jax.tree.map(np.asarray, found)


def _errors(
    problem: Problem, directions: LinearParams, steps: Any, dtype: Any
) -> tuple[np.ndarray, ...]:
    """Relative errors (steps, directions) of slopes in `dtype`, forward and centred."""
    with jax.enable_x64(True):
        params, loss = _cast(problem.params, dtype), partial(problem.loss, SMOOTH)

        def slopes(h: jax.Array, axis: LinearParams) -> tuple[jax.Array, jax.Array]:
            ahead, here, behind = (loss(_moved(params, axis, side)) for side in (h, 0 * h, -h))
            return (ahead - here) / h, (ahead - behind) / (2 * h)

        numeric = _over(slopes, steps, directions, dtype)
    exact, _ = _analytic(problem)
    along = np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in directions], axis=1)
    right = along.astype(np.float64) @ exact
    return tuple(np.abs(found.astype(np.float64) - right) / np.abs(right) for found in numeric)


def _crossed(problem: Problem, directions: LinearParams, steps: Any) -> np.ndarray:
    """The share (steps,) of directions along which a centred step crosses a kink of the SVM."""
    with jax.enable_x64(True):
        params = _cast(problem.params, np.float64)

        def crosses(h: jax.Array, axis: LinearParams) -> jax.Array:
            ahead, behind = (problem.kinks(_moved(params, axis, side)) for side in (h, -h))
            return jnp.any(jnp.sign(ahead) != jnp.sign(behind))

        return _over(crosses, steps, directions, np.float64).mean(axis=1)


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
