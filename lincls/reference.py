"""Where the optimum is: found by L-BFGS, and certificates of how far a fit is from it.

    best = reference.optimum(X, y, reg=1e-3)                  softmax or squared hinge + L2
    gap = reference.duality_gap(params, X, y, reg=1e-3)       softmax + L2

An accuracy that disappoints has two possible reasons: the training has not arrived
(optimisation error), or the best linear model is no better (model error).  These functions
tell the one from the other.  They read the data in full at every step, so they are slower
than SGD and right to more digits.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

from lincls import batches, checks, losses, penalties, preprocessing, training
from lincls.objective import Objective, over_all, sum_over
from lincls.structs import Affine, AnyArray, Examples, Hyper, LinearParams

_STEPS_PER_LOOK = 10
_FEW_STEPS = 2
_SHARE = 1e-3  # of the loss may still be gained where it converged
_ROUNDING = 1e-13  # of a loss summed in float64
_NEWTON_STEPS = 200
_FEW = 8.0  # scores that differ by so much have probabilities that a trust region can follow


class Optimum(NamedTuple):
    """The best parameters that L-BFGS met, and how near a stationary point they are."""

    params: LinearParams  # acting on preprocessed rows
    loss: float  # the objective there, summed in float64 like its gradient
    grad_norm: float  # Euclidean norm of the gradient over W and b, there
    num_steps: int
    converged: bool  # whether grad_norm is at most `tol` and `bound` at most 1e-3 of the loss
    bound: float  # grad_norm**2 / (4 reg)


class Gap(NamedTuple):
    """A bracket: dual <= least objective <= primal, at the bias that is optimal for the W."""

    primal: float
    dual: float
    bias: np.ndarray  # (C,), of mean 0; -inf for a class without examples

    @property
    def size(self) -> float:
        """At most this much of the objective can still be gained; 0 at the optimum."""
        return self.primal - self.dual


def optimum(
    X: AnyArray,
    y: AnyArray,
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

    so that what is still to be gained is at most `bound`, apart from what the bias still has to
    go.  A gradient norm alone says nothing: at reg 1e-6 one of 1e-5 leaves room for 2.5e-5,
    which may be many times the least loss.

    Rounding misleads the line search of L-BFGS and the curvature that it remembers.  Therefore
    the parameters are looked at in float64 every few steps, the best are kept, and L-BFGS begins
    anew from them, without its memory, where a look was no better.  It ends where that brings
    nothing either: then `dtype` has no more to give, and float64 has.

    Args:
        X, y: images or rows; labels (N,).
        reg: greater than 0, which makes the optimum of W unique.
        loss: a differentiable convex loss, `losses.softmax` or `losses.squared_hinge`.
        weight: (N,), default all 1; affine: as in `training.fit`, default preprocessing.fit(X).
        params: where to start, default 0.
        dtype: float32, or float64 (in a scope of its own) for a tol below about 1e-6 or a reg
            below about 1e-5.
        tol: stop when the norm of the gradient is at most this, and the bound above at most
            1e-3 of the loss.

    Raises:
        ValueError: reg that is not one positive number, another dtype, and what
            `training.fit` refuses.

    Source: Liu and Nocedal 1989, as `optax.lbfgs` has it.
    """
    _check_positive(reg)
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    X = checks.rows(X)
    y = checks.labels(y, len(X), num_classes, "y")
    num_classes = int(y.max()) + 1 if num_classes is None else num_classes
    affine = preprocessing.fit(X, weight) if affine is None else affine
    hyper, how = Hyper({}, reg), {"optimizer": optax.lbfgs}
    # optax's L-BFGS promotes its counts, which a caller may have forbidden.
    with jax.enable_x64(np.dtype(dtype) == np.float64), jax.numpy_dtype_promotion("standard"):
        if params is None:
            params = LinearParams(np.zeros((num_classes, X.shape[1])), np.zeros(num_classes))
        params = jax.tree.map(lambda p: jnp.asarray(p, dtype), params)
        weights = np.ones(len(X)) if weight is None else weight
        # On the device once, not at every look.
        data = jax.tree.map(jnp.asarray, Examples(X, y, np.asarray(weights, dtype)))
        objective = Objective(loss, penalties.l2)
        look = partial(_look, objective, data=data, affine=affine, hyper=hyper)
        state = training.start(jax.random.key(0), params, hyper=hyper, **how)
        best, num_steps, fails = look(params), 0, 0
        while num_steps < max_steps and fails < 3 and not _is_enough(best, reg, tol):
            # Where the first steps run away, fewer of them may not.
            span = min(_STEPS_PER_LOOK if fails < 2 else _FEW_STEPS, max_steps - num_steps)
            state, _ = training.fit(
                state, data.X, data.y, hyper, objective=objective, weight=weight, affine=affine,
                batches=batches.full, num_steps=span, **how,
            )  # fmt: skip
            num_steps += span
            now = look(state.params)
            if _is_better(now, best):
                best, fails = now, 0
            else:
                state = training.start(jax.random.key(0), best.params, hyper=hyper, **how)
                fails += 1
    params = jax.tree.map(np.asarray, best.params)
    enough = _is_enough(best, reg, tol)
    return Optimum(params, best.loss, best.grad_norm, num_steps, enough, _bound(best, reg))


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
        loss, norm = _measured(objective, double, data, affine, hyper)
        return _Look(params, float(loss), float(norm))


@partial(jax.jit, static_argnames="objective")
def _measured(
    objective: Objective, params: LinearParams, data: Examples, affine: Affine, hyper: Hyper
) -> tuple[jax.Array, jax.Array]:
    """The objective over all data and the norm of its gradient."""
    loss, grads = jax.value_and_grad(over_all, argnums=1)(objective, params, data, affine, hyper)
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


def _check_positive(reg: float) -> None:
    if np.ndim(reg) or not reg > 0:
        raise ValueError(
            f"reg must be one number greater than 0, got {reg}: without it there is no optimum"
        )


def duality_gap(
    params: LinearParams,
    X: AnyArray,
    y: AnyArray,
    *,
    reg: float,
    weight: AnyArray | None = None,
    affine: Affine | None = None,
) -> Gap:
    """How far W is from the optimum of mean softmax loss + reg * sum(W**2), for certain.

        primal(W, b) = sum_i v_i (log sum_k e^{s_ik} - s_iy) + reg * sum(W**2)
        dual(p) = -sum_i v_i sum_k p_ik log p_ik - |sum_i v_i (p_i - e_y) x_i^T|**2 / (4 reg)

    with v = weight / sum(weight).  Any probabilities p with sum_i v_i (p_i - e_y) = 0 give a
    dual value that is at most the least primal one (Fenchel duality; the conjugate of the
    log-sum-exp is the negative entropy).  The softmax probabilities of W satisfy that
    condition where the bias is optimal for W, so the bias is brought there first, by Newton's
    method in a trust region, on c W for c = .., 1/4, 1/2, 1, each from twice the bias of the
    one before.  Three steps make every p feasible and the dual great:

    - Where the bias is not optimal to the last digit, sum_i v_i p_i = m and not the share f of
      each class.  t p + (f - t m), with the greatest t <= 1 that leaves it positive, is.
    - p + (1 - u)(e_y - p) is feasible for every u in [0, 1]; the best u is taken.  At u = 0 the
      dual is 0, so it is never below that.
    - The p are those of W or of the c W with the least primal value, whichever is better.

    A class without examples (or without weight) is left out.  Its b_k enters every loss only
    through e^{s_ik} > 0, so a lower b_k lowers all of them, down to the loss without the class;
    there its row of W costs reg |W_k|**2 and serves nothing.  So the least objective is that of
    the other classes, and so is its dual; the primal value here is at b_k = -inf.

    Args:
        params: W (C, D), acting on preprocessed rows; b is not used.
        X, y, affine: what it was trained on; weight: (N,), default all 1.
        reg: greater than 0.

    Returns:
        Gap, computed in float64.

    Raises:
        ValueError: reg that is not one positive number, and data that do not match.
    """
    _check_positive(reg)
    X = checks.rows(X, num_features=params.W.shape[1])
    y = np.asarray(checks.labels(y, len(X), params.W.shape[0], "y"))
    weight = checks.example_weights(weight, len(X))
    affine = preprocessing.identity(X.shape[1]) if affine is None else affine
    W = np.asarray(params.W, np.float64)
    shares = np.bincount(y, weight, len(W)) / weight.sum()
    present = shares > 0
    numbers = np.maximum(np.cumsum(present, dtype=np.int32) - 1, 0)
    with jax.enable_x64(True):
        data = jax.tree.map(jnp.asarray, Examples(X, numbers[y], weight / weight.sum()))
        primal, dual, bias = _bracket(
            jnp.asarray(W[present]), shares[present], data, jax.tree.map(jnp.asarray, affine), reg
        )
    everywhere = np.full(len(W), -np.inf)
    everywhere[present] = bias
    return Gap(primal + reg * float(np.sum(W[~present] ** 2)), dual, everywhere)


def _bracket(
    W: jax.Array, shares: np.ndarray, data: Examples, affine: Affine, reg: float
) -> tuple[float, float, np.ndarray]:
    """primal, dual and bias of `duality_gap` where every class has examples."""
    products = _products(W, data, affine)
    square = reg * float(jnp.sum(W**2))
    bias, met = np.log(shares) - np.log(shares).mean(), []
    for scale in _scales(products):
        bias = _best_bias(scale * products, data, bias)
        loss = float(_of_bias(jnp.asarray(bias), scale * products, data)[0])
        met.append((loss + scale**2 * square, scale, bias))
        bias = 2 * bias
    primal, _, bias = met[-1]
    tried = {scale: at for _, scale, at in (met[-1], min(met, key=lambda one: one[0]))}
    dual = max(
        _best_dual(c * products, jnp.asarray(b), data, affine, reg) for c, b in tried.items()
    )
    return primal, dual, bias


def _scales(products: jax.Array) -> list[float]:
    """.., 1/4, 1/2, 1: from where the scores of an example differ by no more than a few."""
    spread = float(jnp.max(jnp.max(products, axis=1) - jnp.min(products, axis=1)))
    halvings = max(0, int(np.ceil(np.log2(max(spread, 1.0) / _FEW))))
    return [0.5**i for i in range(halvings, -1, -1)]


@jax.jit
def _products(W: jax.Array, data: Examples, affine: Affine) -> jax.Array:
    """W x of every example, (N, C); a row at a time is in the dtype of W."""
    return jax.lax.map(
        lambda x: preprocessing.apply(affine, x[None], W.dtype)[0] @ W.T, data.X, batch_size=1024
    )


def _best_bias(products: jax.Array, data: Examples, bias: np.ndarray) -> np.ndarray:
    """The bias of least mean softmax loss for given W x, of sum 0; `bias` is where to begin."""

    def value(b: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient, _ = _of_bias(jnp.asarray(b), products, data)
        return float(loss), np.asarray(gradient)

    def curvature(b: np.ndarray) -> np.ndarray:
        return np.asarray(_of_bias(jnp.asarray(b), products, data)[2])

    bias = scipy.optimize.minimize(
        value, bias, jac=True, hess=curvature, method="trust-exact",
        options={"gtol": 1e-10, "maxiter": _NEWTON_STEPS},
    ).x  # fmt: skip
    gradient = value(bias)[1]
    for _ in range(3):  # near the optimum the loss is flat to its last digit; its gradient is not
        step = np.linalg.lstsq(curvature(bias), gradient)[0]
        there = value(bias - step)[1]
        if not np.abs(there).max() < np.abs(gradient).max():
            break
        bias, gradient = bias - step, there
    return bias - bias.mean()


@jax.jit
def _of_bias(
    b: jax.Array, products: jax.Array, data: Examples
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean softmax loss, its gradient and its curvature in b; the weights sum to 1.

    Moving all biases alike changes nothing; (sum b)**2 / (2 C) fixes that direction at 0.
    """
    logs = jax.nn.log_softmax(products + b)
    p, of_label = jnp.exp(logs), jax.nn.one_hot(data.y, len(b), dtype=b.dtype)
    loss = -data.weight @ jnp.sum(logs * of_label, axis=1) + jnp.sum(b) ** 2 / (2 * len(b))
    gradient = data.weight @ (p - of_label) + jnp.mean(b)
    curvature = jnp.diag(data.weight @ p) - (p * data.weight[:, None]).T @ p + 1 / len(b)
    return loss, gradient, curvature


def _best_dual(
    products: jax.Array, b: jax.Array, data: Examples, affine: Affine, reg: float
) -> float:
    """The greatest dual value of the residuals of these scores, and of parts of them."""
    p, push = _feasible(products, b, data, affine)
    cost = float(push) / (4 * reg)

    def lost(u: float) -> float:
        return u**2 * cost - float(_entropy(u, p, data))

    found = scipy.optimize.minimize_scalar(lost, bounds=(0, 1), method="bounded")
    return -min(0.0, lost(1.0), float(found.fun))


@jax.jit
def _feasible(
    products: jax.Array, b: jax.Array, data: Examples, affine: Affine
) -> tuple[jax.Array, jax.Array]:
    """Probabilities (N, C) whose mean is the share of each class, and the square of their push."""
    of_label = jax.nn.one_hot(data.y, len(b), dtype=b.dtype)
    p, shares = jax.nn.softmax(products + b), data.weight @ of_label
    means = data.weight @ p
    part = jnp.minimum(1.0, jnp.min(shares / jnp.maximum(means, jnp.finfo(b.dtype).tiny)))
    p = part * p + jnp.maximum(shares - part * means, 0)
    residuals = (p - of_label) * data.weight[:, None]
    push = sum_over(
        lambda block: (block.y * block.weight[:, None]).T @ block.X,
        Examples(data.X, residuals, jnp.ones_like(data.weight)), affine, b.dtype,
    )  # fmt: skip
    return p, jnp.sum(push**2)


@jax.jit
def _entropy(u: Any, p: jax.Array, data: Examples) -> jax.Array:
    """Weighted mean entropy of u p + (1 - u) e_y."""
    of_label = jax.nn.one_hot(data.y, p.shape[1], dtype=p.dtype)
    mixed = u * p + (1 - u) * of_label
    return data.weight @ jnp.sum(jax.scipy.special.entr(mixed), axis=1)
