"""The rows as the solvers see them: floats on the device, with a 1 for the bias, on few axes."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from lincls import preprocessing
from lincls.structs import Affine, AnyArray

_JITTER = 1e-12  # of the trace, so that rows that depend on each other have a Cholesky factor


def precision(dtype: np.dtype) -> contextlib.ExitStack:
    """A scope in which JAX computes in `dtype`, and promotes as our code expects."""
    scope = contextlib.ExitStack()
    scope.enter_context(jax.enable_x64(dtype == np.float64))
    scope.enter_context(jax.numpy_dtype_promotion("standard"))
    return scope


class Placed(NamedTuple):
    """The examples on the device; parameters are one array theta (P, A + 1), the bias last."""

    Z: jax.Array  # (N, A + 1), the last column 1
    of_label: jax.Array  # (N, P) one-hot
    v: jax.Array  # (N,) weights of sum 1
    y: jax.Array  # (N,) int32


class Axes(NamedTuple):
    """How W (P, D) becomes coordinates (P, A), and back."""

    to_axes: Callable[[np.ndarray], np.ndarray]
    from_axes: Callable[[np.ndarray], np.ndarray]


def placed(
    X: AnyArray, y: np.ndarray, weight: np.ndarray, affine: Affine, dtype: Any, num_classes: int,
    *, num_steps: int,
) -> tuple[Placed, Axes]:  # fmt: skip
    """The examples on the device in `dtype`.

    Args:
        X, y, weight, affine: N examples; labels of P classes, each with an example.
        dtype: of the rows.
        num_classes: P.
        num_steps: about how many steps will be taken, for which fewer axes may be worth their
            making; 0 where the penalty is not the same in all coordinates, as L2 is.
    """
    axes, (num_rows, num_features) = Axes(_same, _same), X.shape
    v = weight / weight.sum()
    if isinstance(X, np.ndarray) and X.dtype == np.float64:
        X, affine = preprocessing.apply(affine, X, dtype), preprocessing.identity(X.shape[1])
    Z = _laid(X, affine, v > 0, dtype)
    saved = 4 * num_classes * (num_features - num_rows) * num_steps  # operations a row
    if saved > num_rows * num_features:
        lower, axes = _on_few_axes(np.asarray(Z[:, :-1], np.float64))
        Z = jnp.asarray(np.concatenate([lower, np.ones((num_rows, 1))], axis=1), dtype)
    of_label = jnp.asarray(np.eye(num_classes)[y], dtype)
    return Placed(Z, of_label, jnp.asarray(v, dtype), jnp.asarray(y)), axes


@partial(jax.jit, static_argnames="dtype")
def _laid(X: jax.Array, affine: Affine, there: jax.Array, dtype: Any) -> jax.Array:
    """The rows as floats, 0 where the weight is, with a 1 for the bias."""
    rows = jnp.where(there[:, None], preprocessing.apply(affine, X, dtype), 0)
    return jnp.concatenate([rows, jnp.ones((len(rows), 1), dtype)], axis=1)


@jax.jit
def scores(placed: Placed, theta: jax.Array) -> jax.Array:
    """(N, P)."""
    return placed.Z @ theta.T


def _same(W: np.ndarray) -> np.ndarray:
    return W


def _on_few_axes(rows: np.ndarray) -> tuple[np.ndarray, Axes]:
    """N rows on N axes.

    At the optimum with L2, W is made of the rows: W = a X.  With X X^T = L L^T the axes are
    L^-1 X, which are orthonormal, the rows on them are L, and sum(W**2) stays what it is.
    """
    products = rows @ rows.T
    jitter = max(_JITTER * float(np.trace(products)), float(np.finfo(np.float32).tiny))
    lower = np.linalg.cholesky(products + jitter * np.eye(len(rows)))

    def to_axes(W: np.ndarray) -> np.ndarray:
        return scipy.linalg.solve_triangular(lower, rows @ W.T, lower=True).T

    def from_axes(V: np.ndarray) -> np.ndarray:
        return scipy.linalg.solve_triangular(lower, V.T, lower=True, trans="T").T @ rows

    return lower, Axes(to_axes, from_axes)
