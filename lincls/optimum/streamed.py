"""L2 over rows in a file, on a mesh, or too many as floats: optax's L-BFGS by `training`'s loop.

The rows are used where they lie; a block of them at a time is floats.

Rounding misleads the line search of L-BFGS and its memory of the curvature.  Therefore the
objective is computed in float64 every few steps, and the best parameters are kept.  Where the new
ones are no better, L-BFGS restarts from the best without its memory.  It ends when restarts bring
nothing: then the precision allows no more.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lincls import batches, passes, penalties, placement, training
from lincls.certificate.duals import Strengths
from lincls.objective import Objective
from lincls.optimum import rows
from lincls.structs import Affine, Examples, Hyper, LinearParams, Sharded
from lincls.training import Recipe

_STEPS_PER_LOOK = 10
_FEW_STEPS = 2
_ROUNDING = 1e-13  # of a loss summed in float64


class _Look(NamedTuple):
    """Parameters that were looked at, and the objective and its gradient norms in float64."""

    params: LinearParams
    loss: float
    grad_norm: float
    grad_norm_W: float


def solver(data: Examples, affine: Affine, how: Any) -> Callable[..., Any]:
    """A solver of rows that are laid out once, for all strengths.

    Args:
        data: X on the host, in a file or on a mesh; y (N,), weight (N,).
        affine: preprocessing of X.
        how: loss, dtype.
    """
    recipe = Recipe(Objective(how.loss, penalties.l2), optax.lbfgs, batches.full)
    placed = _placed(data, how.dtype)

    def solve(
        params: LinearParams, strengths: Strengths, tol: float, max_steps: int
    ) -> tuple[LinearParams, int]:
        with rows.precision(how.dtype):
            hyper = Hyper({}, float(strengths.square))
            params = jax.tree.map(lambda p: jnp.asarray(p, how.dtype), params)
            look = partial(_look, recipe.objective, data=placed, affine=affine, hyper=hyper)
            best, num_steps = _descended(
                recipe, hyper, placed, affine, look, params, tol, max_steps
            )
        return jax.tree.map(lambda p: np.asarray(p, np.float64), best.params), num_steps

    return solve


def measure(data: Examples, affine: Affine, how: Any) -> Callable[..., Any]:
    """The objective in float64, and |g|**2 / (4 reg) with the gradient in W for a gap.

    Args: as of `solver`.
    """
    objective, placed = Objective(how.loss, penalties.l2), _placed(data, how.dtype)

    def measured(params: LinearParams, strengths: Strengths) -> tuple[float, float]:
        reg = float(strengths.square)
        found = _look(objective, params, data=placed, affine=affine, hyper=Hyper({}, reg))
        return found.loss, found.grad_norm_W**2 / (4 * reg)

    return measured


def _descended(
    recipe: Recipe, hyper: Hyper, data: Examples, affine: Affine, look: Callable[..., _Look],
    params: LinearParams, tol: float, max_steps: int,
) -> tuple[_Look, int]:  # fmt: skip
    """The best of the parameters looked at, and the number of steps."""
    state = training.start(jax.random.key(0), params, recipe, hyper)
    best, num_steps, fails = look(params), 0, 0
    while num_steps < max_steps and fails < 3 and not _is_enough(best, hyper.reg, tol):
        # Where the first steps run away, fewer of them may not.
        span = min(_STEPS_PER_LOOK if fails < 2 else _FEW_STEPS, max_steps - num_steps)
        state, _ = training.fit(
            state, data.X, data.y, recipe, hyper, num_steps=span, weight=data.weight, affine=affine
        )
        num_steps += span
        now = look(state.params)
        if _is_better(now, best):
            best, fails = now, 0
        else:
            state = training.start(jax.random.key(0), best.params, recipe, hyper)
            fails += 1
    return best, num_steps


def _placed(data: Examples, dtype: Any) -> Examples:
    """On the device or the mesh; host rows are lent to it."""
    with rows.precision(dtype):
        weight = np.asarray(data.weight, dtype)
        if isinstance(data.X, Sharded):
            return passes.on_mesh(data._replace(weight=weight), dtype)
        return placement.lend(data._replace(weight=weight))


def _look(
    objective: Objective, params: LinearParams, *, data: Examples, affine: Affine, hyper: Hyper
) -> _Look:
    with jax.enable_x64(True):
        double = jax.tree.map(lambda p: jnp.asarray(np.asarray(p), jnp.float64), params)
        if isinstance(data.X, Sharded):
            double = placement.replicated(data.X.mesh, double)
        loss, norm, of_W = _measured(objective, double, data, affine, hyper)
        return _Look(params, float(loss), float(norm), float(of_W))


@partial(jax.jit, static_argnames="objective")
def _measured(
    objective: Objective, params: LinearParams, data: Examples, affine: Affine, hyper: Hyper
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The objective over all data, the norm of its gradient, and that of the part of W."""
    loss, grads = passes.objective_and_gradient(objective, params, data, affine, hyper)
    return loss, optax.tree.norm(grads), optax.tree.norm(grads.W)


def _is_enough(look: _Look, reg: float, tol: float) -> bool:
    """Whether |g|**2 / (4 reg), with the bias in g, is small enough."""
    return look.grad_norm**2 / (4 * reg) <= tol * look.loss


def _is_better(now: _Look, best: _Look) -> bool:
    """Whether the loss is lower or, where rounding hides that, the gradient is smaller."""
    rounding = _ROUNDING * abs(best.loss)
    same = abs(now.loss - best.loss) <= rounding
    return now.grad_norm < best.grad_norm if same else now.loss < best.loss
