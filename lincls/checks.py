"""What is checked at the door, once, on the host, with errors that say what to type instead.

Public verbs call these before anything is traced.  Each function returns its argument
in the form that the code behind the door relies on.  Under a caller's own `jit` the
arguments are tracers: shapes and dtypes are still checked, values cannot be.
"""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls.structs import AnyArray


def is_concrete(x: Any) -> bool:
    """Whether the values of `x` can be looked at (it is not a tracer of jit, grad or vmap)."""
    return not isinstance(x, jax.core.Tracer)


def as_array(x: Any, name: str) -> AnyArray:
    """Return `x` as a JAX array or a numpy array of this machine's byte order.

    Raises:
        TypeError: ragged lists, sparse matrices, objects, and anything that is no array.
        ValueError: a masked array that hides something.
    """
    if isinstance(x, jax.Array):
        return x
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


def number(
    value: Any, name: str, *,
    least: float | int = -np.inf, above: float | int = -np.inf, below: float | int = np.inf,
) -> Any:  # fmt: skip
    """Return one real number between the given ones as float (TypeError, ValueError)."""
    if not is_concrete(value):
        return value
    if isinstance(value, AnyArray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be one number, got {value!r}")
    value = float(value)
    if not (value >= least and above < value < below):
        bounds = {"at least": least, "greater than": above, "less than": below}
        wanted = " and ".join(f"{k} {v:g}" for k, v in bounds.items() if np.isfinite(v))
        raise ValueError(f"{name} must be {wanted or 'finite'}, got {value}")
    return value


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


def key(key: Any) -> jax.Array:
    """Return one typed key of JAX's random numbers (TypeError, ValueError)."""
    if not jax.dtypes.issubdtype(getattr(key, "dtype", None), jax.dtypes.prng_key):
        raise TypeError(f"key must be a typed key such as jax.random.key(0), got {key!r}")
    if key.shape != ():
        raise ValueError(f"key must be one key, got {key.shape} of them; take key[0]")
    return key


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


def column(x: Any, name: str, num_examples: int | None = None) -> np.ndarray:
    """Return one value for each example (N,), on the host: numbers or text, none missing.

    Raises:
        TypeError: objects other than text, tracers, and what `as_array` refuses.
        ValueError: another shape, or NaN: examples without a value are not one class or group.
    """
    if not is_concrete(x):
        raise TypeError(f"{name} must hold values; call this outside of jit, grad and vmap")
    values = np.asarray(x) if hasattr(x, "__array__") else x
    if isinstance(values, np.ndarray) and values.dtype.hasobject:
        x = _text(values, name)
    x = np.asarray(as_array(x, name))
    if x.ndim != 1 or (num_examples is not None and len(x) != num_examples):
        length = "N" if num_examples is None else num_examples
        raise ValueError(f"{name} must have shape ({length},), got {x.shape}")
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


def counts(values: Any, name: str, high: int | None = None) -> list[int]:
    """Return a list of whole numbers, each at least 1 and at most `high`, at least one of them."""
    if not hasattr(values, "__iter__"):
        raise TypeError(f"{name} must be a list of whole numbers, such as [1, 5], got {values!r}")
    values = [count(value, name, high=high) for value in values]
    if not values:
        raise ValueError(f"{name} must hold at least one number, got []")
    return values


def on_host(verb: str, instead: str, *arguments: Any) -> None:
    """TypeError if a leaf of the arguments is a tracer, because `verb` works on the host."""
    if not all(is_concrete(leaf) for leaf in jax.tree.leaves(arguments)):
        raise TypeError(f"{verb} cannot run inside jit, grad or vmap; {instead}")


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


def vote_weights(weights: Any, shape: tuple[int, ...]) -> AnyArray:
    """Return a weight for each vote (M, K), in a dtype of at least 32 bits in which they add up.

    Raises:
        TypeError: weights that are not numbers.
        ValueError: another shape; a weight that is negative, NaN or infinite; a row whose sum
            is too large or whose weights are too small for the dtype.
    """
    weights = as_array(weights, "weights")
    if weights.shape != shape:
        raise ValueError(f"weights must have the shape {shape} of the labels, got {weights.shape}")
    floating = jnp.issubdtype(weights.dtype, jnp.floating)
    if not floating and not jnp.issubdtype(weights.dtype, jnp.integer):
        raise TypeError(f"weights must be numbers, got {weights.dtype}")
    if weights.dtype.itemsize < 4:
        weights = weights.astype(np.float32 if floating else np.int32)
    if is_concrete(weights) and weights.size:
        values = np.asarray(weights)
        if not (np.isfinite(values).all() and values.min() >= 0):
            raise ValueError("weights must be finite and at least 0")
        with np.errstate(over="ignore"):
            total, largest = values.sum(axis=1), values.max(axis=1)
        tiny = np.finfo(values.dtype).tiny if floating else 1
        if not np.isfinite(total).all() or ((largest > 0) & (largest < tiny)).any():
            raise ValueError(f"weights of a row do not add up in {values.dtype}; use weights / c")
    return weights


def function(value: Any, name: str, *, needed: bool = False) -> Any:
    """Return a function, or None unless it is needed (TypeError)."""
    if not callable(value) and (needed or value is not None):
        raise TypeError(f"{name} must be a function, got {value!r}")
    return value
