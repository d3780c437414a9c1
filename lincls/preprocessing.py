"""Preprocessing as a value: Affine(shift, scale), fitted on weighted rows.

Pixels stay uint8; `batches.take` applies the affine map to the rows in hand, and
`linear.on_pixels` folds it into W and b at the end.

A shift cannot leak from a held-out fold: with a free bias it changes the path of the
training, not its optimum; a scalar scale is one number, which changes the unit of `reg`
alike in all folds.  So one shift and one scalar scale serve all folds.
`per_feature=True` changes what the penalty means and is to be fitted per fold.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from lincls import checks, placement, precision
from lincls.structs import Affine, AnyArray, AnyRows, Sharded

_ROUNDING = 1e-7  # a deviation of so little of the mean is no variance
_LARGE = 2.0**100
_BLOCK = 4096  # rows that are floats at the same time while sums are made


def fit(
    X: Shaped[AnyArray, "N ..."] | Sharded, weight: Any = None, *, per_feature: bool = False
) -> Affine:
    """Mean image and scale of the weighted rows: x -> (x - mean) / standard deviation.

    Args:
        X: rows (N, D) or images, uint8 or floating.
        weight: (N,) at least 0, default all 1.
        per_feature: False, one scale for all features: the root of the mean variance
            over the features; True, each feature by its own (a constant feature by 1).

    Returns:
        Affine(shift (D,), scale ()), or scale (D,) if `per_feature`; float32, summed in
        float64.  Data without any variance has scale 1.

    Raises:
        ValueError: NaN or infinity in X, a negative weight, or no weight at all; a standard
            deviation beyond 2**100 or below 2**-100; float64 X whose mean is more than 1e5
            standard deviations from 0, because float32 would round its differences away.
    """
    checks.on_host("preprocessing.fit", "call it before, and pass its result", X, weight)
    X = checks.rows_anywhere(X)
    weight = placement.gathered(weight) if isinstance(weight, Sharded) else weight
    weight = checks.example_weights(weight, len(X))
    X = precision.in_range(X, weight=weight)
    mean = _weighted_sum(X, weight, lambda x: x) / weight.sum()
    variance = _weighted_sum(X, weight, lambda x: np.square(x - mean)) / weight.sum()
    if X.dtype == np.float64:
        precision.digits(mean, variance)
    variance = np.where(variance > np.square(_ROUNDING * mean), variance, 0.0)
    if not per_feature:
        variance = variance.mean()
    _check_scale(np.atleast_1d(np.sqrt(variance)))
    deviation = np.sqrt(np.where(variance > 0, variance, 1.0))
    return Affine(mean.astype(np.float32), np.asarray(1 / deviation, np.float32))


def mean_image(X: Shaped[AnyArray, "N ..."] | Sharded, weight: Any = None) -> Affine:
    """Subtract the mean image and leave the scale of the pixels alone (the lecture's way)."""
    return fit(X, weight)._replace(scale=np.float32(1))


def identity(num_features: int) -> Affine:
    """x -> x."""
    num_features = checks.count(num_features, "num_features")
    return Affine(np.zeros(num_features, np.float32), np.float32(1))


def checked(affine: Affine | None, num_features: int) -> Affine:
    """`affine` as arrays, or the identity for None.

    Raises:
        TypeError: no `Affine`, or one of something else than numbers.
        ValueError: another number of features, or numbers that float32 does not hold.
    """
    if affine is None:
        return identity(num_features)
    affine = checks.affine(affine, num_features)
    return Affine(*map(precision.survives, affine, ("affine.shift", "affine.scale")))


def apply(affine: Affine, X: Shaped[AnyArray, "B D"], dtype: Any = jnp.float32) -> Any:
    """(x - shift) * scale for every row, in `dtype`, from uint8 or floating rows.

    Rows of a float64 host array are moved in float64 and rounded afterwards.
    """
    X = checks.rows(X)
    affine = checks.affine(affine, X.shape[1])
    wide = isinstance(X, np.ndarray) and X.dtype == np.float64
    if wide and all(map(checks.is_concrete, affine)):
        moved = (X - np.asarray(affine.shift)) * np.asarray(affine.scale, np.float64)
        return jnp.asarray(moved, dtype)
    shift, scale = (jnp.atleast_2d(jnp.asarray(number, dtype)) for number in affine)
    return (jnp.asarray(X).astype(dtype) - shift) * scale


def _check_scale(deviation: np.ndarray) -> None:
    """ValueError where dividing by the deviation, or multiplying again, would leave float32."""
    outside = (deviation > _LARGE) | ((deviation > 0) & (deviation < 1 / _LARGE))
    if outside.any():
        worst = float(np.extract(outside, deviation)[0])
        raise ValueError(
            f"X has a standard deviation of {worst:.3g}, which float32 cannot undo; "
            f"use X * 2.0**{-math.frexp(worst)[1]}"
        )


def _weighted_sum(X: Any, weight: np.ndarray, fn: Any) -> np.ndarray:
    """sum_i w_i fn(x_i) over the rows, in float64, a block of rows at a time."""
    starts = range(0, len(X), _BLOCK)
    blocks = (slice(start, min(start + _BLOCK, len(X))) for start in starts)
    return np.sum([weight[b] @ fn(_rows(X, b)) for b in blocks], axis=0)


def _rows(X: AnyRows, block: slice) -> np.ndarray:
    if isinstance(X, Sharded):
        X, block = placement.rows_at(X, np.arange(block.start, block.stop)), slice(None)
    return np.asarray(X[block], np.float64)


def principal_axes(X: np.ndarray, affine: Affine) -> np.ndarray:
    """Axes on which preprocessed rows are uncorrelated: orthonormal columns (D, min(N, D)).

    A rotation leaves sum(W**2) as it is.  At an optimum with L2, W is made of the rows, so fewer
    rows than features need no more axes than rows.

    Args:
        X: checked rows (N, D), which may lie in a large file where N >= D.
        affine: preprocessing of X.
    """

    def moved(rows: np.ndarray) -> np.ndarray:
        shift, scale = (np.asarray(leaf, np.float32) for leaf in affine)
        return (np.asarray(rows, np.float32) - shift) * scale

    if len(X) < X.shape[1]:
        rows = moved(X).astype(np.float64)
        return np.linalg.svd(rows, full_matrices=False)[2].T.astype(np.float32)
    blocks = (moved(X[start : start + _BLOCK]) for start in range(0, len(X), _BLOCK))
    products = sum(rows.T @ rows for rows in blocks)
    return np.linalg.eigh(np.asarray(products, np.float64))[1].astype(np.float32)
