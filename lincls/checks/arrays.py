"""Checks of arrays: their kind, their byte order, and numbers that are there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls.checks.values import concrete, is_concrete, is_key
from lincls.structs import AnyArray, AnyRows, Sharded


def as_array(x: Any, name: str) -> AnyArray:
    """Return `x` as a JAX array or a numpy array of this machine's byte order.

    Raises:
        TypeError: ragged lists, sparse matrices, objects, and anything that is no array.
        ValueError: a masked array that hides something.
    """
    if isinstance(x, jax.Array):
        if is_key(x):
            raise TypeError(f"{name} must be an array of numbers, got keys")
        return x
    if isinstance(x, Sharded):
        raise TypeError(f"{name} lies on a mesh, and this function takes arrays of one device only")
    if hasattr(x, "todense"):
        kind = type(x).__name__
        raise TypeError(f"{name} must be an array, got the sparse {kind}; use {name}.toarray()")
    if np.ma.is_masked(x):
        raise ValueError(f"{name} has masked entries; use {name}.filled(...), or leave them out")
    try:
        x = x if isinstance(x, np.memmap) else np.asarray(x)
    except Exception as error:  # of the library whose array this is
        why = "a list of unequal rows is none" if isinstance(error, ValueError) else error
        raise TypeError(f"{name} must be an array; {why}") from error
    if x.dtype.hasobject:
        raise TypeError(f"{name} must be an array of numbers, not of Python objects")
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def floats(x: Any, name: str) -> AnyArray:
    """Return real numbers as a floating array, whole numbers too (TypeError)."""
    x = as_array(x, name)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return x.astype(np.float64 if isinstance(x, np.ndarray) else jnp.result_type(float))
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.itemsize > 8:
        raise TypeError(f"{name} must be real numbers of at most 64 bits, got {x.dtype}")
    return x


def rows(X: Any, name: str = "X", num_features: int | None = None) -> AnyArray:
    """Flatten images (N, H, W, C), or any (N, ...), to rows (N, D), uint8 or floating.

    Raises:
        TypeError: another dtype (int64 pixels: `X.astype(np.uint8)` if they are 0..255), or
            floats of more than 64 bits.
        ValueError: fewer than two axes, no rows, or D other than `num_features`.
    """
    return _rows(as_array(X, name), name, num_features)


def rows_anywhere(X: Any, name: str = "X", num_features: int | None = None) -> AnyRows:
    """As `rows`, for a function that takes rows on a mesh as well."""
    return _rows(X if isinstance(X, Sharded) else as_array(X, name), name, num_features)


def _rows(X: AnyRows, name: str, num_features: int | None) -> Any:
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
    if X.size == 0:
        raise ValueError(f"{name} has no rows or no features (shape {X.shape})")
    X = _flattened(X)
    if num_features is not None and X.shape[1] != num_features:
        raise ValueError(
            f"{name} has {X.shape[1]} features an example, the model was made from {num_features}"
        )
    return X


def _flattened(X: AnyRows) -> AnyRows:
    if X.ndim == 2:
        return X
    if isinstance(X, Sharded):
        return X.with_array(X.array.reshape(X.array.shape[0], -1))
    return X.reshape(X.shape[0], -1)


def finite(X: AnyRows, name: str = "X") -> Any:
    """Return X unless it holds NaN or infinity (ValueError names the first such row)."""
    greatest(X, name)
    return X


def greatest(X: AnyRows, name: str) -> float:
    """The greatest |x|, 0 for none, for pixels and tracers (ValueError for NaN or infinity)."""
    on_mesh, X = isinstance(X, Sharded), X.array if isinstance(X, Sharded) else X
    if X.dtype == np.uint8 or not is_concrete(X) or X.size == 0:
        return 0.0
    if on_mesh:
        with jax.enable_x64(X.dtype.itemsize == 8):
            ends = 0.0, float(_greatest_on_mesh(X))
    elif isinstance(X, np.ndarray):  # two passes, each many times as fast as one in float64
        ends = float(X.min()), float(X.max())
    else:
        with jax.ensure_compile_time_eval():
            ends = 0.0, float(_greatest(X))
    if not np.isfinite(ends).all():
        raise ValueError(f"{name} holds NaN or infinity, first in row {_first_bad_row(X)}")
    return max(-ends[0], ends[1])


def _first_bad_row(X: AnyArray) -> int:
    where = np if isinstance(X, np.ndarray) else jnp  # a mesh finds it without a copy
    bad = ~where.isfinite(X).reshape(len(X) if X.ndim else 1, -1).all(axis=1)
    return int(bad.argmax())


@jax.jit
def _greatest(X: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(X))


@jax.jit
def _greatest_on_mesh(X: jax.Array) -> jax.Array:
    """The same, by sums as well, because a maximum over devices may pass over NaN."""
    return jnp.where(jnp.isfinite(X).all(), jnp.max(jnp.abs(X)), jnp.nan)


def within(x: Any, name: str, low: int, high: int) -> AnyArray:
    """Return whole numbers `low..high` of any shape as an array (TypeError, ValueError)."""
    x = as_array(x, name)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"{name} must be whole numbers {low}..{high}, got {x.dtype}")
    if is_concrete(x) and x.size:
        values = np.asarray(x)
        least, most = int(values.min()), int(values.max())
        if least < low or most > high:
            raise ValueError(f"{name} must lie in {low}..{high}, got {least}..{most}")
    return x


def column(x: Any, name: str, num_examples: int | None = None) -> np.ndarray:
    """Return one value for each example (N,), on the host: numbers or text, none missing.

    Raises:
        TypeError: objects other than text, tracers, and what `as_array` refuses.
        ValueError: another shape, or NaN: examples without a value are not one class or group.
    """
    concrete(x, name)
    x = as_array(x, name) if isinstance(x, jax.Array) else x
    values = np.asarray(x) if hasattr(x, "__array__") else x
    if isinstance(values, np.ndarray) and values.dtype.hasobject:
        x = _text(values, name)
    x = np.asarray(as_array(x, name))
    if x.ndim != 1 or (num_examples is not None and len(x) != num_examples):
        length = "N" if num_examples is None else num_examples
        raise ValueError(f"{name} must have shape ({length},), got {x.shape}")
    if x.dtype.kind not in "biufUSMm":
        raise TypeError(f"{name} must be numbers or text, got {x.dtype}")
    missing = np.not_equal(x, x)
    if missing.any():
        raise ValueError(f"{name} has no value (NaN) in row {int(missing.argmax())}")
    return x


def _text(objects: np.ndarray, name: str) -> np.ndarray:
    """Objects that are all text, as pandas keeps them, as an array of text."""
    other = next((value for value in objects.ravel() if not isinstance(value, str)), "")
    if not isinstance(other, str):
        raise TypeError(f"{name} must be all numbers or all text, got {other!r} among objects")
    return objects.astype(str)
