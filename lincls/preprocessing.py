"""Preprocessing as a value: Affine(shift, scale), fitted on weighted rows.

Pixels stay uint8; `batches.take` applies the affine map to the rows in hand, and
`linear.on_pixels` folds it into W and b at the end.

A shift cannot leak from a held-out fold: with a free bias it changes the path of the
training, not its optimum; a scalar scale is one number, which changes the unit of `reg`
alike in all folds.  So one shift and one scalar scale serve all folds.
`per_feature=True` changes what the penalty means and is to be fitted per fold.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from lincls import checks
from lincls.structs import Affine, AnyArray

_ROUNDING = 1e-7  # a deviation of so little of the mean is no variance
_ROUNDING_OF_64 = 1e-12
_FAR = 1e5  # deviations from 0 at which float32 keeps two digits of a difference
_BLOCK = 4096  # rows that are floats at the same time while the moments are summed


def fit(X: Shaped[AnyArray, "N ..."], weight: Any = None, *, per_feature: bool = False) -> Affine:
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
        ValueError: NaN or infinity in X, a negative weight, or no weight at all; float64 X
            whose mean is more than 1e5 standard deviations from 0, because `apply` would round
            its differences away in float32.
    """
    X = checks.finite(checks.rows(X))
    weight = checks.example_weights(weight, len(X))
    mean = _weighted_sum(X, weight, lambda x: x) / weight.sum()
    variance = _weighted_sum(X, weight, lambda x: np.square(x - mean)) / weight.sum()
    if X.dtype == np.float64:
        _check_digits(mean, variance)
    variance = np.where(variance > np.square(_ROUNDING * mean), variance, 0.0)
    if not per_feature:
        variance = variance.mean()
    deviation = np.sqrt(np.where(variance > 0, variance, 1.0))
    return Affine(mean.astype(np.float32), np.asarray(1 / deviation, np.float32))


def mean_image(X: Shaped[AnyArray, "N ..."], weight: Any = None) -> Affine:
    """Subtract the mean image and leave the scale of the pixels alone (the lecture's way)."""
    return fit(X, weight)._replace(scale=np.float32(1))


def identity(num_features: int) -> Affine:
    """x -> x."""
    return Affine(np.zeros(num_features, np.float32), np.float32(1))


def checked(affine: Affine | None, num_features: int) -> Affine:
    """`affine`, or the identity for None.

    Raises:
        ValueError: an affine map of another number of features.
    """
    if affine is None:
        return identity(num_features)
    if np.shape(affine.shift) != (num_features,):
        raise ValueError(
            f"affine has {np.shape(affine.shift)} shifts, X has {num_features} features"
        )
    return affine


def apply(affine: Affine, X: Shaped[AnyArray, "B D"], dtype: Any = jnp.float32) -> Any:
    """(x - shift) * scale for every row, in `dtype`, from uint8 or floating rows."""
    shift, scale = (jnp.asarray(number, dtype) for number in affine)
    return (jnp.asarray(X).astype(dtype) - shift) * scale


def _check_digits(mean: np.ndarray, variance: np.ndarray) -> None:
    """ValueError where float32, 6e-8 of the value, has few digits left of the differences."""
    deviation = np.sqrt(variance)
    varies = deviation > _ROUNDING_OF_64 * np.abs(mean)  # else it is a constant
    far = varies & (np.abs(mean) > _FAR * deviation)
    if far.any():
        worst = int(far.argmax())
        raise ValueError(
            f"X is float64 and its feature {worst} lies at {mean[worst]:.3g} with a standard "
            f"deviation of only {deviation[worst]:.3g}, which float32 cannot tell apart; "
            "use X - X.mean(axis=0), and subtract the same numbers from what is to be predicted"
        )


def _weighted_sum(X: Any, weight: np.ndarray, fn: Any) -> np.ndarray:
    """sum_i w_i fn(x_i) over the rows, in float64, a block of rows at a time."""
    starts = range(0, len(X), _BLOCK)
    blocks = (slice(start, start + _BLOCK) for start in starts)
    return np.sum([weight[b] @ fn(np.asarray(X[b], np.float64)) for b in blocks], axis=0)
