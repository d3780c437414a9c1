"""Where the optimum is, found by L-BFGS on all data.

    best = optimum.optimum(X, y, reg=1e-3, affine=affine)      softmax or squared hinge + L2

A low accuracy has two possible reasons: the training has not arrived (optimisation error), or the
best linear model is no better (model error).  The optimum separates them.  L-BFGS reads the data
in full at every step, so it is slower than SGD and correct to more digits.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lincls import (
    batches,
    checks,
    losses,
    passes,
    penalties,
    placement,
    precision,
    preprocessing,
    training,
)
from lincls.objective import Objective
from lincls.structs import Affine, AnyArray, AnyRows, Examples, Hyper, LinearParams, Sharded
from lincls.training import Recipe

_STEPS_PER_LOOK = 10
_FEW_STEPS = 2
_SHARE = 1e-3  # of the loss may still be gained where it converged
_ROUNDING = 1e-13  # of a loss summed in float64


class Optimum(NamedTuple):
    """The best parameters that L-BFGS met, and how near a stationary point they are."""

    params: LinearParams  # acting on preprocessed rows
    affine: Affine  # that preprocessing
    loss: float  # the objective there, summed in float64 like its gradient
    grad_norm: float  # Euclidean norm of the gradient over W and b, there
    num_steps: int
    converged: bool  # whether grad_norm is at most `tol` and `bound` at most 1e-3 of the loss
    bound: float  # grad_norm**2 / (4 reg)


def optimum(
    X: AnyRows,
    y: AnyRows,
    *,
    reg: float,
    loss: Any = losses.softmax,
    num_classes: int | None = None,
    weight: AnyArray | None = None,
    affine: Affine | None = None,
    params: LinearParams | None = None,
    dtype: Any = np.float32,
    tol: float = 1e-5,
    max_steps: int = 2000,
) -> Optimum:
    """The minimum of weighted mean loss + reg * sum(W**2), by L-BFGS on all data.

    With g and h the gradient in W and in b, and (W*, b*) the minimum, convexity says

        loss - least <= g . (W - W*) - reg |W - W*|**2 + h . (b - b*)
                     <= |g|**2 / (4 reg) + |h| |b - b*|

    So the objective is above the minimum by at most `bound`, apart from the term of the bias.  A
    gradient norm alone does not bound it: at reg 1e-6, a norm of 1e-5 allows a difference of
    2.5e-5, which may be many times the least loss.

    Rounding misleads the line search of L-BFGS and its memory of the curvature.  Therefore the
    objective is computed in float64 every few steps, and the best parameters are kept.  Where
    the new ones are no better, L-BFGS restarts from the best without its memory.  It ends when
    restarts bring nothing: then `dtype` allows no more, and float64 may.

    Args:
        X, y: images or rows; labels (N,).
        reg: greater than 0, which makes the optimum of W unique.
        loss: a differentiable convex loss, `losses.softmax` or `losses.squared_hinge`.
        num_classes: C; by default the largest label plus one.
        weight: (N,), default all 1.
        affine: preprocessing of X; default none.
        params: where to start, default 0.
        dtype: float32, or float64 (in a scope of its own) for a tol below about 1e-6 or a reg
            below about 1e-5.
        tol: stop when the norm of the gradient is at most this, and the bound above at most
            1e-3 of the loss.
        max_steps: stop after so many steps, each of which reads all data.

    Raises:
        ValueError: reg that is not one positive number, another dtype, and what
            `training.fit` refuses.

    Source: Liu and Nocedal 1989, as `optax.lbfgs` has it.
    """
    checks.on_host("optimum.optimum", "use training.run", X, y, reg, weight, affine, params)
    reg = checks.positive(reg)
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    X = checks.rows_anywhere(X)
    weight = None if weight is None else checks.example_weights(weight, len(X))
    X = precision.working(X, dtype=dtype, weight=weight)
    y = placement.gathered(checks.labels_anywhere(y, len(X), num_classes, "y"))
    num_classes = int(y.max()) + 1 if num_classes is None else num_classes
    tol, max_steps = checks.number(tol, "tol", least=0), checks.count(max_steps, "max_steps", 0)
    affine = preprocessing.checked(affine, X.shape[1])
    recipe, hyper = Recipe(Objective(loss, penalties.l2), optax.lbfgs, batches.full), Hyper({}, reg)
    # optax's L-BFGS promotes its counts, which a caller may have forbidden.
    with jax.enable_x64(np.dtype(dtype) == np.float64), jax.numpy_dtype_promotion("standard"):
        if params is None:
            params = LinearParams(np.zeros((num_classes, X.shape[1])), np.zeros(num_classes))
        params = jax.tree.map(lambda p: jnp.asarray(p, dtype), checks.params(params))
        weights = np.ones(len(X)) if weight is None else weight
        data = _placed(Examples(X, y, np.asarray(weights, dtype)))
        look = partial(_look, recipe.objective, data=data, affine=affine, hyper=hyper)
        state = training.start(jax.random.key(0), params, recipe, hyper)
        best, num_steps, fails = look(params), 0, 0
        while num_steps < max_steps and fails < 3 and not _is_enough(best, reg, tol):
            # Where the first steps run away, fewer of them may not.
            span = min(_STEPS_PER_LOOK if fails < 2 else _FEW_STEPS, max_steps - num_steps)
            state, _ = training.fit(
                state, data.X, data.y, recipe, hyper, weight=weight, affine=affine, num_steps=span
            )
            num_steps += span
            now = look(state.params)
            if _is_better(now, best):
                best, fails = now, 0
            else:
                state = training.start(jax.random.key(0), best.params, recipe, hyper)
                fails += 1
    params = jax.tree.map(np.asarray, best.params)
    enough = _is_enough(best, reg, tol)
    return Optimum(params, affine, best.loss, best.grad_norm, num_steps, enough, _bound(best, reg))


def _placed(data: Examples) -> Examples:
    """On the device or the mesh once, not at every look."""
    if isinstance(data.X, Sharded):
        return passes.on_mesh(data, data.weight.dtype)
    return jax.tree.map(jnp.asarray, data)


class _Look(NamedTuple):
    """Parameters that were looked at, and the objective and its gradient norm in float64."""

    params: LinearParams
    loss: float
    grad_norm: float


def _look(
    objective: Objective, params: LinearParams, *, data: Examples, affine: Affine, hyper: Hyper
) -> _Look:
    with jax.enable_x64(True):
        double = jax.tree.map(lambda p: jnp.asarray(np.asarray(p), jnp.float64), params)
        if isinstance(data.X, Sharded):
            double = placement.replicated(data.X.mesh, double)
        loss, norm = _measured(objective, double, data, affine, hyper)
        return _Look(params, float(loss), float(norm))


@partial(jax.jit, static_argnames="objective")
def _measured(
    objective: Objective, params: LinearParams, data: Examples, affine: Affine, hyper: Hyper
) -> tuple[jax.Array, jax.Array]:
    """The objective over all data and the norm of its gradient."""
    loss, grads = passes.objective_and_gradient(objective, params, data, affine, hyper)
    return loss, optax.tree.norm(grads)


def _bound(look: _Look, reg: float) -> float:
    return look.grad_norm**2 / (4 * reg)


def _is_enough(look: _Look, reg: float, tol: float) -> bool:
    return look.grad_norm <= tol and _bound(look, reg) <= _SHARE * look.loss


def _is_better(now: _Look, best: _Look) -> bool:
    """Whether the loss is lower or, where rounding hides that, the gradient is smaller."""
    rounding = _ROUNDING * abs(best.loss)
    same = abs(now.loss - best.loss) <= rounding
    return now.grad_norm < best.grad_norm if same else now.loss < best.loss
