"""An upper bound on how far each class is from its optimum, by duality, in float64.

With t in {0, 1}, scores s_i = x_i.w + b and weights v of sum 1, the objective of a class is

    primal(w, b) = sum_i v_i (log(1 + e^{s_i}) - t_i s_i) + reg |w|**2

Every q in [0, 1]**N with sum_i v_i (q_i - t_i) = 0 bounds it from below:

    dual(q) = sum_i v_i H(q_i) - |g|**2 / (4 reg),   g = sum_i v_i (q_i - t_i) x_i

with the entropy H(q) = -q log q - (1 - q) log(1 - q).  Proof: log(1 + e^s) >= q s + H(q), so

    primal(w, b) >= sum_i v_i H(q_i) + g.w + b sum_i v_i (q_i - t_i) + reg |w|**2 >= dual(q)

because the sum at b is 0 and g.w + reg |w|**2 >= -|g|**2 / (4 reg).  At the optimum both are equal
for q_i = 1 / (1 + e^{-s_i}).  So q is taken there, at the bias whose sum is 0.

It is `certificate.duality_gap` of two classes (`solver`), for all classes at once.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import entr, expit

from lincls import preprocessing
from lincls.optimum import rows as scopes
from lincls.structs import Affine

_FLOAT = np.dtype(np.float64)
_BLOCK = 4096  # rows that are float64 at the same time
_NEWTON_STEPS = 20
_BALANCED = 1e-9  # a mean so near its share is mended without Newton's method


def objective_and_gap(
    X: np.ndarray, affine: Affine, Y: np.ndarray, v: np.ndarray, W: np.ndarray, b: np.ndarray,
    reg: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The objective (C,) of each class, and how far it is above its minimum at most (C,).

    Args:
        X, affine: rows (N, D) and their preprocessing.
        Y: (N, C) bool.
        v: (N,) weights of sum 1.
        W, b: (C, D), (C,).
        reg: greater than 0.
    """
    W, b = np.asarray(W, _FLOAT), np.asarray(b, _FLOAT)
    with scopes.precision(_FLOAT):
        scores = jnp.concatenate([_scores(rows, affine, W, b) for rows in _blocks(X)])
        loss, entropy, residual = _of_scores(scores, jnp.asarray(Y), jnp.asarray(v, _FLOAT))
        parts = zip(_blocks(X), _blocks(residual), strict=True)
        push = sum(np.asarray(_push(rows, affine, part)) for rows, part in parts)
    loss, entropy = np.asarray(loss), np.asarray(entropy)
    loss = loss + reg * np.square(W).sum(axis=1)
    least = np.maximum(entropy - np.square(push).sum(axis=1) / (4 * reg), 0)
    return loss, np.maximum(loss - least, 0)


def _blocks(X: Any) -> Iterator[Any]:
    for start in range(0, len(X), _BLOCK):
        yield X[start : start + _BLOCK]


@jax.jit
def _scores(X: jax.Array, affine: Affine, W: jax.Array, b: jax.Array) -> jax.Array:
    return preprocessing.apply(affine, X, _FLOAT) @ W.T + b


@jax.jit
def _push(X: jax.Array, affine: Affine, residual: jax.Array) -> jax.Array:
    """sum_i r_i x_i^T, (C, D)."""
    return residual.T @ preprocessing.apply(affine, X, _FLOAT)


@jax.jit
def _of_scores(
    scores: jax.Array, Y: jax.Array, v: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean loss and mean entropy (C,), and v_i (q_i - t_i) (N, C)."""
    loss = v @ jnp.logaddexp(0.0, jnp.where(Y, -scores, scores))
    q, rest = _balanced(scores, v @ Y.astype(v.dtype), v)
    return loss, v @ (entr(q) + entr(rest)), v[:, None] * jnp.where(Y, -rest, q)


def _balanced(scores: jax.Array, share: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """q and 1 - q (N, C) near 1 / (1 + e^-s), whose weighted mean is `share`.

    Newton's method moves the bias for as long as that helps.  What is left is mended exactly: where
    the mean is too large, q is made smaller by a factor, else 1 - q is.  Both keep their digits.
    """
    moved = scores + _best_move(scores, share, v)
    q, rest, tiny = expit(moved), expit(-moved), jnp.finfo(scores.dtype).tiny
    down = jnp.minimum(1, share / jnp.maximum(v @ q, tiny))
    up = jnp.minimum(1, (1 - share) / jnp.maximum(v @ rest, tiny))
    return down * q + (1 - up) * rest, up * rest + (1 - down) * q


def _best_move(scores: jax.Array, share: jax.Array, v: jax.Array) -> jax.Array:
    """What is added to the bias (C,) so that the mean of q is `share`, nearly."""

    def error(move: jax.Array) -> tuple[jax.Array, jax.Array]:
        q = expit(scores + move)
        return v @ q - share, v @ (q * (1 - q))

    def goes_on(state: tuple[jax.Array, ...]) -> jax.Array:
        step, _, off, _, is_better = state
        return (step < _NEWTON_STEPS) & jnp.any(is_better & (jnp.abs(off) > _BALANCED))

    def newton(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        step, move, off, curvature, _ = state
        further = move - off / jnp.maximum(curvature, jnp.finfo(off.dtype).tiny)
        there, curved = error(further)
        is_better = jnp.abs(there) < jnp.abs(off)
        taken = (further, there, curved), (move, off, curvature)
        return (
            step + 1,
            *(jnp.where(is_better, *pair) for pair in zip(*taken, strict=True)),
            is_better,
        )

    start = jnp.zeros_like(share)
    state: tuple[jax.Array, ...] = (jnp.zeros((), jnp.int32), start, *error(start), share >= 0)
    return lax.while_loop(goes_on, newton, state)[1]
