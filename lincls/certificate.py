"""How far a fit is from the optimum: a bracket of the least objective, by duality.

gap = certificate.duality_gap(params, X, y, reg=1e-3)       softmax + L2
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from lincls import checks, preprocessing
from lincls.passes import sum_over
from lincls.structs import Affine, AnyArray, Examples, LinearParams

_NEWTON_STEPS = 200
_FEW = 8.0  # scores that differ by so much have probabilities that a trust region can follow


class Gap(NamedTuple):
    """A bracket: dual <= least objective <= primal, at the bias that is optimal for the W."""

    primal: float
    dual: float
    bias: np.ndarray  # (C,), of mean 0; -inf for a class without examples

    @property
    def size(self) -> float:
        """At most this much of the objective can still be gained; 0 at the optimum."""
        return self.primal - self.dual


def duality_gap(
    params: LinearParams,
    X: AnyArray,
    y: AnyArray,
    *,
    reg: float,
    weight: AnyArray | None = None,
    affine: Affine | None = None,
) -> Gap:
    """Bound how far the objective of W, with its best bias, is above the minimum.

    The objective is the mean softmax loss + reg * sum(W**2).

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
        params: W (C, D), acting on preprocessed rows.  b is not used: the bracket is of W with
            the bias that is best for it, which may be better than the b of the fit.
        X, y: images or rows; labels (N,).
        reg: greater than 0.
        weight: (N,), default all 1.
        affine: preprocessing of X that W acts behind; default none.

    Returns:
        Gap, computed in float64.

    Raises:
        ValueError: reg that is not one positive number, and data that do not match.
    """
    checks.on_host("duality_gap", "call it with the results", params, X, y, reg, weight, affine)
    reg, params = checks.positive(reg), checks.params(params)
    X = checks.finite(checks.rows(X, num_features=params.W.shape[1]))
    y = np.asarray(checks.labels(y, len(X), params.W.shape[0], "y"))
    weight = checks.example_weights(weight, len(X))
    affine = preprocessing.checked(affine, X.shape[1])
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

    def of_row(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, weight = row
        found = preprocessing.apply(affine, x[None], W.dtype)[0] @ W.T
        return jnp.where(weight > 0, found, 0)  # 0 times a score that overflowed would be NaN

    return jax.lax.map(of_row, (data.X, data.weight), batch_size=1024)


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
    push = sum_over(
        lambda block: (block.y * block.weight[:, None]).T @ block.X,
        data._replace(y=p - of_label), affine, b.dtype,
    )  # fmt: skip
    return p, jnp.sum(push**2)


@jax.jit
def _entropy(u: Any, p: jax.Array, data: Examples) -> jax.Array:
    """Weighted mean entropy of u p + (1 - u) e_y."""
    of_label = jax.nn.one_hot(data.y, p.shape[1], dtype=p.dtype)
    mixed = u * p + (1 - u) * of_label
    return data.weight @ jnp.sum(jax.scipy.special.entr(mixed), axis=1)
