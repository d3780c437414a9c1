"""L1 and elastic net: accelerated proximal gradient descent on the device, with exact zeros.

A step reads the rows twice, once for the gradient and once for the scores of the new parameters;
the scores of the extrapolated point follow from those of the last two.  Sources: Beck and Teboulle
2009 (FISTA, with backtracking); O'Donoghue and Candes 2015 (restart where momentum points uphill).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lincls import penalties
from lincls.certificate.duals import Dual, Strengths
from lincls.optimum.rows import Placed
from lincls.optimum.smooth import Found

_EVERY = 10  # steps between two looks at the gap
_PATIENCE = 60  # looks without a smaller one, after which rounding rules
_EASING = 0.98  # of the step's curvature from one step to the next
_LAST_DIGITS = 4.0  # roundings by which a test of the loss may fail


class _Point(NamedTuple):
    theta: jax.Array  # (P, A + 1)
    scores: jax.Array  # (N, P)


class _State(NamedTuple):
    now: _Point
    before: _Point
    momentum: jax.Array  # k of FISTA, 1 after a restart
    curvature: jax.Array  # 1 / step length
    best: jax.Array  # theta of the least gap
    best_gap: jax.Array
    least: jax.Array  # objective
    enough: jax.Array
    since: jax.Array  # looks without a smaller gap or objective
    step: jax.Array


class _Task(NamedTuple):
    problem: Placed
    dual: Dual
    strengths: Strengths


@partial(jax.jit, static_argnames="dual")
def minimise(
    problem: Placed,
    theta: jax.Array,
    strengths: Strengths,
    tol: jax.Array,
    max_steps: jax.Array,
    *,
    dual: Dual,
) -> Found:
    """The minimum of sum_i v_i loss_i + square * sum(W**2) + absolute * sum|W| from theta on.

    Args:
        problem: the examples; each of the P classes has one.
        theta: (P, A + 1), where to begin.
        strengths: of the penalty, scalars.
        tol: the relative duality gap at which it ends.
        max_steps: scalar.
        dual: the loss.
    """
    task = _Task(problem, dual, strengths)
    now = _Point(theta, problem.Z @ theta.T)
    one, zero = jnp.ones((), theta.dtype), jnp.zeros((), jnp.int32)
    inf = one * jnp.inf
    state = _State(now, now, one, _first_curvature(task), theta, inf, inf,
                   jnp.zeros((), bool), zero, zero)  # fmt: skip
    state = _looked(task, tol, state)

    def goes_on(state: _State) -> jax.Array:
        return (state.step < max_steps) & (state.since < _PATIENCE) & ~state.enough

    def some(state: _State) -> _State:
        last = jnp.minimum(state.step + _EVERY, max_steps)
        state = lax.while_loop(lambda s: s.step < last, partial(_stepped, task), state)
        return _looked(task, tol, state)

    state = lax.while_loop(goes_on, some, state)
    return Found(state.best, state.step)


def _first_curvature(task: _Task) -> jax.Array:
    """The greatest eigenvalue of the second moments, by the power method, over 8 as a guess."""
    problem = task.problem

    def again(x: jax.Array, _: None) -> tuple[jax.Array, None]:
        x = (problem.v * (problem.Z @ x)) @ problem.Z
        return x / jnp.linalg.norm(x), None

    x = lax.scan(again, problem.v @ problem.Z, None, length=5)[0]
    greatest = jnp.vdot(problem.v, (problem.Z @ x) ** 2)
    return greatest / 8 + 2 * task.strengths.square


def _residual(task: _Task, scores: jax.Array) -> jax.Array:
    of_label = task.problem.of_label
    return task.dual.residual(task.dual.point(scores, of_label), of_label)


def _looked(task: _Task, tol: jax.Array, state: _State) -> _State:
    """The state with its duality gap."""
    problem, (theta, scores) = task.problem, state.now
    point = task.dual.point(scores, problem.of_label)
    totals = task.dual.totals(point, problem.of_label, problem.v)
    point = task.dual.feasible(point, problem.of_label, totals)
    residual = task.dual.residual(point, problem.of_label) * problem.v[:, None]
    push = residual.T @ problem.Z[:, :-1]
    u = task.strengths.largest_part(push)
    value = task.dual.worth(u, point, problem.of_label, problem.v)
    loss = problem.v @ task.dual.value(scores, problem.of_label)
    objective = loss + task.strengths.value(theta[:, :-1])
    gap = objective - (value - task.strengths.conjugate(u * push))
    is_better = gap < state.best_gap
    rounding = _LAST_DIGITS * jnp.finfo(gap.dtype).eps * objective
    gains = is_better | (objective < state.least - rounding)
    return state._replace(
        best=jnp.where(is_better, theta, state.best),
        best_gap=jnp.minimum(gap, state.best_gap),
        least=jnp.minimum(objective, state.least),
        enough=gap <= tol * objective,
        since=jnp.where(gains, 0, state.since + 1),
    )


def _stepped(task: _Task, state: _State) -> _State:
    """One proximal step from the extrapolated point, short enough for its quadratic bound."""
    problem, square = task.problem, task.strengths.square
    later = (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2
    ahead = (state.momentum - 1) / later
    here = jax.tree.map(lambda new, old: new + ahead * (new - old), state.now, state.before)
    residual = _residual(task, here.scores)
    smooth = (residual * problem.v[:, None]).T @ problem.Z
    gradient = smooth + 2 * square * here.theta.at[:, -1].set(0)
    losses = task.dual.value(here.scores, problem.of_label)

    def proximal(curvature: jax.Array) -> tuple[_Point, jax.Array, jax.Array]:
        theta = here.theta - gradient / curvature
        W = penalties.soft_threshold(theta[:, :-1], task.strengths.absolute / curvature)
        theta = jnp.concatenate([W, theta[:, -1:]], axis=1)
        scores = problem.Z @ theta.T
        return _Point(theta, scores), *_risen(task, here, residual, losses, theta, scores)

    def is_short(tried: Any) -> jax.Array:
        curvature, (point, risen, rounding) = tried
        step = point.theta - here.theta
        return risen <= curvature / 2 * jnp.vdot(step, step) + rounding

    def shorter(tried: Any) -> Any:
        return 2 * tried[0], proximal(2 * tried[0])

    begun = (state.curvature, proximal(state.curvature))
    curvature, (point, risen, rounding) = lax.while_loop(lambda t: ~is_short(t), shorter, begun)
    uphill = jnp.vdot(here.theta - point.theta, point.theta - state.now.theta) > 0
    return state._replace(
        now=point,
        before=jax.tree.map(partial(jnp.where, uphill), point, state.now),
        momentum=jnp.where(uphill, 1.0, later),
        curvature=jnp.where(risen > 8 * rounding, _EASING * curvature, curvature),
        step=state.step + 1,
    )


def _risen(
    task: _Task, here: _Point, residual: jax.Array, losses: jax.Array, theta: jax.Array,
    scores: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """How much the smooth part lies above its tangent at `here`, and the rounding of that."""
    problem, square = task.problem, task.strengths.square
    there = task.dual.value(scores, problem.of_label)
    above = there - losses - jnp.sum(residual * (scores - here.scores), axis=1)
    of_penalty = square * jnp.sum((theta - here.theta)[:, :-1] ** 2)
    rounding = _LAST_DIGITS * jnp.finfo(theta.dtype).eps * (problem.v @ losses)
    return problem.v @ above + of_penalty, rounding
