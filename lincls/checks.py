"""What is checked at the door, once, on the host, with errors that say what to type instead.

Public verbs call these before anything is traced.  Each function returns its argument
in the form that the code behind the door relies on.  Under a caller's own `jit` the
arguments are tracers: shapes and dtypes are still checked, values cannot be.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls.structs import AnyArray


def is_concrete(x: Any) -> bool:
    """Whether the values of `x` can be looked at (it is not a tracer of jit, grad or vmap)."""
    return not isinstance(x, jax.core.Tracer)


def as_array(x: Any, name: str) -> AnyArray:
    """Return `x` as an array; TypeError for ragged lists and for anything that is no array."""
    if isinstance(x, jax.Array | np.ndarray):
        return x
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise TypeError(f"{name} must be an array; a list of unequal rows is none") from error
    if x.dtype == object:
        raise TypeError(f"{name} must be an array, not {type(x).__name__} of objects")
    return x


def rows(X: Any, name: str = "X", num_features: int | None = None) -> AnyArray:
    """Flatten images (N, H, W, C), or any (N, ...), to rows (N, D), uint8 or floating.

    Raises:
        TypeError: another dtype (int64 pixels: `X.astype(np.uint8)` if they are 0..255), or
            floats of more than 64 bits.
        ValueError: fewer than two axes, no rows, or D other than `num_features`.
    """
    X = as_array(X, name)
    if X.ndim < 2:
        raise ValueError(
            f"{name} must be images (N, H, W, C) or rows (N, D), got shape {X.shape}; "
            f"for one example use {name}[None]"
        )
    if X.dtype != np.uint8 and not jnp.issubdtype(X.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be uint8 or floating, got {X.dtype}; use {name}.astype(np.uint8) "
            f"if its values are 0..255, {name}.astype(np.float32) otherwise"
        )
    if X.dtype.itemsize > 8:
        raise TypeError(f"{name} must have at most 64 bits a number, got {X.dtype}")
    X = X.astype(X.dtype.newbyteorder("="), copy=False) if isinstance(X, np.ndarray) else X
    if X.size == 0:
        raise ValueError(f"{name} has no rows or no features (shape {X.shape})")
    X = X.reshape(X.shape[0], -1)
    if num_features is not None and X.shape[1] != num_features:
        raise ValueError(
            f"{name} has {X.shape[1]} features an example, the model was made from {num_features}"
        )
    return X


def finite(X: AnyArray, name: str = "X") -> AnyArray:
    """Return X unless it holds NaN or infinity (ValueError names the first such row)."""
    if X.dtype != np.uint8 and is_concrete(X):
        # A sum is one pass over the data and is finite only if all terms are,
        # unless finite terms overflow: then the exact test decides.
        total = X.sum(dtype=np.float64) if isinstance(X, np.ndarray) else X.sum()
        if not np.isfinite(total):
            bad = ~np.isfinite(np.asarray(X)).reshape(X.shape[0], -1).all(axis=1)
            if bad.any():
                raise ValueError(f"{name} holds NaN or infinity, first in row {int(bad.argmax())}")
    return X


def labels(
    y: Any, num_examples: int, num_classes: int | None = None, name: str = "labels"
) -> AnyArray:
    """Return integer labels (N,) as int32.

    Raises:
        TypeError: labels that are not integers (text labels: `data.from_arrays` numbers them).
        ValueError: another length than `num_examples`, a negative label, a label that is
            not below `num_classes`.
    """
    y = as_array(y, name)
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(
            f"{name} must be integers 0..C-1, got {y.dtype}; data.from_arrays turns text or "
            "other labels into integers and keeps their names"
        )
    if y.shape != (num_examples,):
        raise ValueError(f"{name} must have shape ({num_examples},), got {y.shape}")
    if is_concrete(y):
        low, high = int(y.min()), int(y.max())
        if low < 0:
            raise ValueError(f"{name} must not be negative, got {low}")
        if high > np.iinfo(np.int32).max:
            raise ValueError(f"{name} must fit into 32 bits, got {high}")
        if num_classes is not None and high >= num_classes:
            raise ValueError(f"{name} must be below num_classes = {num_classes}, got {high}")
    return y.astype(np.int32)


def positive(reg: Any) -> float:
    """Return a strength greater than 0 as float (ValueError)."""
    if np.ndim(reg) or not reg > 0:
        raise ValueError(
            f"reg must be one number greater than 0, got {reg}: without it there is no optimum"
        )
    return float(reg)


def folds(assignment: Any, num_examples: int, *, spared: bool = False) -> np.ndarray:
    """Return fold numbers (N,) int32 in which each of 0..F-1 occurs, F at least 2 (ValueError).

    Args:
        spared: whether -1 is allowed, for an example that is never held out; then F may be 1.
    """
    shift = int(spared)
    folds = np.asarray(labels(np.asarray(assignment) + shift, num_examples, name="folds")) - shift
    sizes = np.bincount(folds + shift)
    if len(sizes) < 2 or not sizes[shift:].all() or (len(sizes) == 2 and not sizes.all()):
        raise ValueError(
            f"folds must be numbers 0..F-1, each given to some example and F at least 2; got "
            f"{sorted(set(folds.tolist()))}"
        )
    return folds


def count(value: Any, name: str, low: int = 1, high: int | None = None) -> int:
    """Return a whole number `low <= value <= high` as int (TypeError, ValueError)."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    value = value.__index__()
    if value < low or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high}"
        raise ValueError(f"{name} must be at least {low}{upper}, got {value}")
    return value


def kind(value: Any, of: Any, name: str, example: str) -> None:
    """TypeError unless `value` is of a type, with an example of what to give."""
    if not isinstance(value, of):
        raise TypeError(f"{name} must be such as {example}, got {value!r}")


def share(value: Any, name: str) -> np.ndarray:
    """Return numbers in [0, 1) as float64 (ValueError)."""
    shares = np.asarray(value, np.float64)
    if not np.all((shares >= 0) & (shares < 1)):
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value}")
    return shares


def weights(weight: Any, num_examples: int) -> AnyArray:
    """Return example weights (N,) or (G, N), finite and not negative (ValueError otherwise)."""
    weight = as_array(weight, "weight")
    if weight.shape[-1:] != (num_examples,) or weight.ndim > 2:
        raise ValueError(
            f"weight must have shape ({num_examples},) or (G, {num_examples}), got {weight.shape}"
        )
    if is_concrete(weight):
        values = np.asarray(weight)
        if not np.all(np.isfinite(values)) or values.min() < 0:
            raise ValueError("weight must be finite and at least 0")
        if not np.all(values.sum(axis=-1) > 0):
            raise ValueError("weight must not be 0 everywhere")
    return weight


def example_weights(weight: Any, num_examples: int) -> np.ndarray:
    """One weight an example as float64, default all 1 (ValueError for anything else)."""
    if weight is None:
        return np.ones(num_examples)
    weight = np.asarray(weights(weight, num_examples), np.float64)
    if weight.ndim != 1:
        raise ValueError(
            f"weight must be one number an example, shape ({num_examples},), got {weight.shape}; "
            "take one row of it: weight[0]"
        )
    return weight
