"""L2: L-BFGS on the device, preconditioned by the second moments of the rows.

A step reads the rows twice: once for the scores of the direction, once for the gradient.  Scores
are linear in the step length, so the line search reads no rows.

The curvature of the data loss in W is about k * sum_i v_i x_i x_i^T with a number k, so L-BFGS
begins with the inverse of that matrix + 2 reg.  Sources: Liu and Nocedal 1989; Boehning 1992,
which bounds the curvature of the softmax loss by that matrix at k = 1/2.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lincls.certificate import duals
from lincls.optimum.rows import Placed

_MEMORY = 10  # steps that L-BFGS remembers
_PATIENCE = 40  # steps without a lower objective or a smaller gap, after which rounding rules
_LAST_DIGITS = 8.0  # roundings by which two objectives are the same
_STAGES = (8, 24)  # steps after which the preconditioner is made anew
_TRIES = 12  # step lengths a line search tries
_FLAT = 0.5  # of the slope at 0 may be left where it ends
_MANY = 4  # rows for each feature, more of which the preconditioner does not need


class Found(NamedTuple):
    """The best parameters that a solver met."""

    theta: jax.Array  # (P, A + 1)
    num_steps: jax.Array


class _Memory(NamedTuple):
    steps: jax.Array  # (M, P, A + 1), newest first
    changes: jax.Array  # of the gradient
    inverses: jax.Array  # (M,) 1 / <step, change>, 0 for none


class _State(NamedTuple):
    theta: jax.Array
    scores: jax.Array  # (N, P)
    gradient: jax.Array
    solved: jax.Array  # P^-1 gradient
    scale: jax.Array  # of P^-1
    enough: jax.Array
    memory: _Memory
    best: jax.Array  # theta of the least objective; of the least gap where rounding rules
    best_gap: jax.Array
    best_objective: jax.Array
    since: jax.Array  # steps without a better one
    step: jax.Array


class _Search(NamedTuple):
    t: jax.Array  # the step length tried last
    slope: jax.Array  # of the objective there
    bracket: tuple[jax.Array, ...]  # low, its slope, high, its slope
    next: jax.Array
    tries: jax.Array


@jax.jit
def second_moments(problem: Placed) -> jax.Array:
    """sum_i v_i z_i z_i^T (A + 1, A + 1), over as many rows as it needs."""
    few = -(-len(problem.Z) // (_MANY * problem.Z.shape[1]))
    Z, v = problem.Z[::few], problem.v[::few]
    return (Z * (v / jnp.maximum(v.sum(), jnp.finfo(v.dtype).tiny))[:, None]).T @ Z


@partial(jax.jit, static_argnames="loss")
def minimise(
    problem: Placed,
    theta: jax.Array,
    reg: jax.Array,
    tol: jax.Array,
    max_steps: jax.Array,
    moments: jax.Array | None,
    *,
    loss: Any,
) -> Found:
    """The minimum of sum_i v_i loss_i + reg * sum(W**2) from theta on.

    Args:
        problem: the examples.
        theta: (P, A + 1), where to begin.
        reg, tol, max_steps: scalars; tol is the relative gap at which it ends.
        moments: of `second_moments`; its diagonal (A + 1,) where the axes are principal ones;
            None for no preconditioner.
        loss: a differentiable convex loss.
    """
    task = _Task(problem, reg, loss)
    state = _begun(task, theta, tol)

    def goes_on(limit: jax.Array, state: _State) -> jax.Array:
        moving = (state.step < limit) & (state.since < _PATIENCE)
        return moving & ~state.enough

    if moments is None:
        solve = partial(_scaled, task)
        step = partial(_stepped, task, solve, tol)
        state = lax.while_loop(partial(goes_on, max_steps), step, _with(state, solve))
        return Found(state.best, state.step)

    def stage(state: _State, limit: jax.Array) -> tuple[_State, None]:
        factor = _factor(task, state.scores, moments)
        solve = partial(_preconditioned, factor)
        step = partial(_stepped, task, solve, tol)
        return lax.while_loop(partial(goes_on, limit), step, _with(state, solve)), None

    limits = jnp.minimum(jnp.asarray((*_STAGES, 2**31 - 1), jnp.int32), max_steps)
    state, _ = lax.scan(stage, state, limits)
    return Found(state.best, state.step)


class _Task(NamedTuple):
    problem: Placed
    reg: jax.Array
    loss: Any


def _data_loss(task: _Task, scores: jax.Array) -> jax.Array:
    dual, problem = duals.DUALS.get(task.loss), task.problem
    each = task.loss(scores, problem.y) if dual is None else dual.value(scores, problem.of_label)
    return problem.v @ each


def _residual(task: _Task, scores: jax.Array) -> jax.Array:
    """The gradient in the scores, by the formula of the dual where there is one: it is exact."""
    dual, problem = duals.DUALS.get(task.loss), task.problem
    if dual is None:
        return jax.grad(partial(_data_loss, task))(scores)
    point = dual.point(scores, problem.of_label)
    return problem.v[:, None] * dual.residual(point, problem.of_label)


def _penalised(theta: jax.Array) -> jax.Array:
    """theta without the bias."""
    return theta.at[:, -1].set(0)


def _gradient(task: _Task, theta: jax.Array, scores: jax.Array) -> jax.Array:
    return _residual(task, scores).T @ task.problem.Z + 2 * task.reg * _penalised(theta)


def _curvature(task: _Task, scores: jax.Array) -> jax.Array:
    """The mean second derivative of the loss in a score, by a random direction of signs."""
    signs = jax.random.rademacher(jax.random.key(0), scores.shape, scores.dtype)
    along = jax.jvp(partial(_residual, task), (scores,), (signs,))[1]
    return jnp.maximum(jnp.sum(signs * along) / scores.shape[1], jnp.finfo(scores.dtype).tiny)


def _measured(
    task: _Task, theta: jax.Array, scores: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The objective, and |g|**2 / (4 reg) with the bias's part by its curvature."""
    squares = jnp.sum(gradient**2, axis=0)
    gap = jnp.sum(squares[:-1]) / (4 * task.reg) + squares[-1] / _curvature(task, scores)
    return _data_loss(task, scores) + task.reg * jnp.sum(_penalised(theta) ** 2), gap


def _begun(task: _Task, theta: jax.Array, tol: jax.Array) -> _State:
    scores = task.problem.Z @ theta.T
    gradient = _gradient(task, theta, scores)
    objective, gap = _measured(task, theta, scores, gradient)
    nothing = jnp.zeros((_MEMORY, *theta.shape), theta.dtype)
    memory = _Memory(nothing, nothing, nothing[:, 0, 0])
    zero, one = jnp.zeros((), jnp.int32), jnp.ones((), theta.dtype)
    return _State(theta, scores, gradient, gradient, one, gap <= tol * objective, memory, theta,
                  gap, objective, zero, zero)  # fmt: skip


def _with(state: _State, solve: Any) -> _State:
    """The state for another preconditioner."""
    return state._replace(solved=solve(state.gradient), scale=jnp.ones_like(state.scale))


def _scaled(task: _Task, gradient: jax.Array) -> jax.Array:
    """The gradient over the curvature of a mean row where all scores are 0."""
    problem = task.problem
    squares = problem.v @ jnp.sum(problem.Z**2, axis=1) / problem.Z.shape[1]
    curvature = _curvature(task, jnp.zeros_like(problem.of_label))
    return gradient / (curvature * squares + 2 * task.reg)


def _factor(task: _Task, scores: jax.Array, moments: jax.Array) -> jax.Array:
    """Cholesky factor of the expected curvature; of a diagonal itself."""
    matrix = _curvature(task, scores) * moments
    if moments.ndim == 1:
        least = jnp.finfo(matrix.dtype).eps * 10 * jnp.sum(matrix)
        return matrix + _ridge(task, len(matrix)) + least
    least = jnp.finfo(matrix.dtype).eps * 10 * jnp.trace(matrix)
    return jnp.linalg.cholesky(matrix + jnp.diag(_ridge(task, len(matrix)) + least))


def _ridge(task: _Task, length: int) -> jax.Array:
    return jnp.full(length, 2 * task.reg).at[-1].set(0)


def _preconditioned(factor: jax.Array, gradient: jax.Array) -> jax.Array:
    if factor.ndim == 1:
        return gradient / factor
    return jax.scipy.linalg.cho_solve((factor, True), gradient.T).T


def _stepped(task: _Task, solve: Any, tol: jax.Array, state: _State) -> _State:
    """One step of L-BFGS."""
    direction = _direction(state, solve)
    moved = task.problem.Z @ direction.T
    length = _length(task, state, direction, moved)
    theta, scores = state.theta + length * direction, state.scores + length * moved
    gradient = _gradient(task, theta, scores)
    solved = solve(gradient)
    objective, gap = _measured(task, theta, scores, gradient)
    step, change = length * direction, gradient - state.gradient
    product = jnp.vdot(step, change)
    scale = product / jnp.vdot(change, solved - state.solved)
    is_curved = jnp.isfinite(scale) & (product > 0) & (scale > 0)
    memory = _remembered(state.memory, step, change, product, is_curved)
    enough = gap <= tol * objective
    rounding = _LAST_DIGITS * jnp.finfo(gap.dtype).eps * objective
    is_lower = objective < state.best_objective - rounding
    is_better = is_lower | enough
    is_better |= (objective <= state.best_objective + rounding) & (gap < state.best_gap)
    gains = is_lower | (is_better & (gap < 0.9 * state.best_gap))
    return _State(
        theta, scores, gradient, solved, jnp.where(is_curved, scale, state.scale), enough, memory,
        best=jnp.where(is_better, theta, state.best),
        best_gap=jnp.where(is_better, gap, state.best_gap),
        best_objective=jnp.where(is_better, objective, state.best_objective),
        since=jnp.where(gains, 0, state.since + 1),
        step=state.step + 1,
    )  # fmt: skip


def _remembered(
    memory: _Memory, step: jax.Array, change: jax.Array, product: jax.Array, is_curved: jax.Array
) -> _Memory:
    new = _Memory(step, change, 1 / jnp.where(is_curved, product, 1))
    later = jax.tree.map(lambda one, many: jnp.concatenate([one[None], many[:-1]]), new, memory)
    return jax.tree.map(partial(jnp.where, is_curved), later, memory)


def _direction(state: _State, solve: Any) -> jax.Array:
    """Minus the inverse of the curvature that L-BFGS remembers, times the gradient."""
    memory = state.memory

    def backwards(rest: jax.Array, pair: _Memory) -> tuple[jax.Array, jax.Array]:
        part = pair.inverses * jnp.vdot(pair.steps, rest)
        return rest - part * pair.changes, part

    def forwards(found: jax.Array, one: tuple[_Memory, jax.Array]) -> tuple[jax.Array, None]:
        pair, part = one
        return found + pair.steps * (part - pair.inverses * jnp.vdot(pair.changes, found)), None

    rest, parts = lax.scan(backwards, state.gradient, memory)
    found = state.scale * solve(rest)
    return -lax.scan(forwards, found, (memory, parts), reverse=True)[0]


def _length(task: _Task, state: _State, direction: jax.Array, moved: jax.Array) -> jax.Array:
    """A step length at which the slope of the objective along the direction is nearly 0.

    The objective is convex, so its slope only rises: a root of it is bracketed and cut.
    """
    weights, along = _penalised(state.theta), _penalised(direction)
    start, rise = 2 * task.reg * jnp.vdot(weights, along), 2 * task.reg * jnp.vdot(along, along)

    def slope(t: jax.Array) -> jax.Array:
        return jnp.vdot(_residual(task, state.scores + t * moved), moved) + start + rise * t

    first = jnp.vdot(state.gradient, direction)

    def goes_on(search: _Search) -> jax.Array:
        return (jnp.abs(search.slope) > _FLAT * jnp.abs(first)) & (search.tries < _TRIES)

    def cut(search: _Search) -> _Search:
        t = search.next
        here = slope(t)
        low, of_low, high, of_high = search.bracket
        is_low = here < 0
        low, of_low = jnp.where(is_low, t, low), jnp.where(is_low, here, of_low)
        high, of_high = jnp.where(is_low, high, t), jnp.where(is_low, of_high, here)
        part = jnp.clip(of_low / (of_low - of_high), 0.1, 0.9)
        further = jnp.where(jnp.isfinite(high), low + (high - low) * part, 3 * t)
        return _Search(t, here, (low, of_low, high, of_high), further, search.tries + 1)

    one, zero, inf = jnp.ones_like(first), jnp.zeros_like(first), jnp.full_like(first, jnp.inf)
    begun = _Search(zero, inf, (zero, first, inf, inf), one, jnp.zeros((), jnp.int32))
    return lax.while_loop(goes_on, cut, begun).t
