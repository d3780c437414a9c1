"""Which solver takes a problem, and who certifies what it finds.

A solver is `solve(params, strengths, tol, max_steps) -> (params, num_steps)` and a measure is
`measure(params, strengths) -> (loss, gap)`, with parameters (C, D) on the host.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import certificate, penalties, placement
from lincls.certificate import duals
from lincls.certificate.duals import Strengths
from lincls.optimum import rows, smooth, sparse, streamed
from lincls.structs import Affine, AnyArray, Examples, LinearParams, Sharded

_FAR_BELOW = 40.0  # the scores of a class without examples: their e^s is no part of a sum
_ROWS_AN_AXIS = 2  # from which a preconditioner is worth its Cholesky factor
_MOST_AXES = 4096
_USUAL_STEPS = 30  # for a strength
_TIMES_AS_LARGE = 4  # rows in memory may be so many `device_bytes` as floats

Solve = Callable[[LinearParams, Strengths, float, int], tuple[LinearParams, int]]
Measure = Callable[[LinearParams, Strengths], tuple[float, float]]


class How(NamedTuple):
    """What is minimised, in which precision, and when it ends."""

    loss: Any
    penalty: Any
    dtype: np.dtype
    tol: float
    max_steps: int


class Problem(NamedTuple):
    """Checked examples, and what is minimised over them."""

    data: Examples
    affine: Affine
    num_classes: int
    num_strengths: int
    how: How


def solver(problem: Problem) -> Solve:
    """The solver of a problem (ValueError: L1 over rows in a large file or on a mesh)."""
    X, how = problem.data.X, problem.how
    is_smooth = how.penalty is penalties.l2
    if not is_smooth and (isinstance(X, Sharded) or placement.is_large(X)):
        where = "on a mesh" if isinstance(X, Sharded) else "in a large file"
        raise ValueError(
            f"X lies {where}, where the optimum is known for penalties.l2 alone; give rows "
            "in memory, np.asarray(X), or penalty=penalties.l2"
        )
    if is_smooth and (isinstance(X, Sharded) or not has_room(X, how.dtype)):
        return streamed.solver(problem.data, problem.affine, how)
    return _on_device(problem)


def has_room(X: AnyArray, dtype: Any) -> bool:
    """Whether rows in memory are laid out as floats, all at once."""
    most = _TIMES_AS_LARGE * placement.limits().device_bytes
    return not placement.is_large(X) and X.size * np.dtype(dtype).itemsize <= most


def measure(problem: Problem) -> Measure:
    """Who computes the objective and the gap, in float64."""
    data, how = problem.data, problem.how
    if how.loss not in duals.DUALS:
        return streamed.measure(data, problem.affine, how)
    task = certificate.task(data.X, data.y, data.weight, problem.affine, problem.num_classes)

    def certified(params: LinearParams, strengths: Strengths) -> tuple[float, float]:
        dual = duals.dual_of(how.loss)
        primal, least = certificate.near_optimum(params, task, dual, strengths)
        return primal, max(0.0, primal - least)

    return certified


def _on_device(problem: Problem) -> Solve:
    """A solver of rows that are laid out on the device once, for the classes with examples."""
    (X, y, weight), how = problem.data, problem.how
    is_smooth, dtype = how.penalty is penalties.l2, how.dtype
    present = np.bincount(y[weight > 0], minlength=problem.num_classes) > 0
    numbers = np.maximum(np.cumsum(present, dtype=np.int32) - 1, 0)
    with rows.precision(dtype):
        placed, axes = rows.placed(
            X,
            numbers[y],
            weight,
            problem.affine,
            dtype,
            int(present.sum()),
            num_steps=_USUAL_STEPS * problem.num_strengths * is_smooth,
        )
        moments = smooth.second_moments(placed) if is_smooth and _has_many_rows(placed) else None

    def minimised(theta: jax.Array, strengths: Strengths, tol: float, most: int) -> smooth.Found:
        strengths = Strengths(*(jnp.asarray(part, dtype) for part in strengths))
        ends = jnp.asarray(tol, dtype), jnp.asarray(most, jnp.int32)
        if not is_smooth:
            return sparse.minimise(placed, theta, strengths, *ends, dual=duals.dual_of(how.loss))
        return smooth.minimise(placed, theta, strengths.square, *ends, moments, loss=how.loss)

    def solve(
        params: LinearParams, strengths: Strengths, tol: float, most: int
    ) -> tuple[LinearParams, int]:
        with rows.precision(dtype):
            W, b = axes.to_axes(params.W[present]), params.b[present]
            theta = jnp.asarray(np.concatenate([W, b[:, None]], axis=1), dtype)
            found = minimised(theta, strengths, tol, most)
            low = float(jnp.min(rows.scores(placed, found.theta))) - _FAR_BELOW
            best = np.asarray(found.theta, np.float64)
        W, b = np.zeros_like(params.W), np.full_like(params.b, low)
        W[present], b[present] = axes.from_axes(best[:, :-1]), best[:, -1]
        # Rounded as the result is, so that it is the result that is certified.
        rounded = LinearParams(*(leaf.astype(dtype).astype(np.float64) for leaf in (W, b)))
        return rounded, int(found.num_steps)

    return solve


def _has_many_rows(placed: rows.Placed) -> bool:
    num_rows, num_axes = placed.Z.shape
    return num_rows >= _ROWS_AN_AXIS * num_axes and num_axes <= _MOST_AXES
