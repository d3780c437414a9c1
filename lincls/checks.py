"""What is checked at the door, once, on the host, with errors that say what to type instead.

Public functions call these before anything is traced.  Each returns its argument in the form
that the code behind the door relies on: a native array of a known kind.  Under a caller's own
`jit` the arguments are tracers: shapes and dtypes are still checked, values cannot be.
"""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls.structs import Affine, AnyArray, Examples, LinearParams

_COMMON = 60  # weights are left as they are between 2**-60 and 2**60


def is_concrete(x: Any) -> bool:
    """Whether the values of `x` can be looked at (it is not a tracer of jit, grad or vmap)."""
    return not isinstance(x, jax.core.Tracer)


# --- arrays ----------------------------------------------------------------------------------


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
    greatest(X, name)
    return X


def greatest(X: AnyArray, name: str) -> float:
    """The greatest |x|, 0 for pixels and tracers (ValueError for NaN or infinity)."""
    if X.dtype == np.uint8 or not is_concrete(X):
        return 0.0
    if isinstance(X, np.ndarray):  # two passes, each many times as fast as one in float64
        ends = float(X.min()), float(X.max())
    else:
        with jax.ensure_compile_time_eval():
            ends = 0.0, float(_greatest(X))
    if not np.isfinite(ends).all():
        bad = ~np.isfinite(np.asarray(X)).reshape(len(X) if X.ndim else 1, -1).all(axis=1)
        raise ValueError(f"{name} holds NaN or infinity, first in row {int(bad.argmax())}")
    return max(-ends[0], ends[1])


@jax.jit
def _greatest(X: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(X))


def labels(
    y: Any, num_examples: int, num_classes: int | None = None, name: str = "labels"
) -> AnyArray:
    """Return integer labels (N,) as int32.

    Raises:
        TypeError: labels that are not integers (text labels: `data.from_arrays` numbers them).
        ValueError: another shape than (num_examples,), a negative label, a label that is
            not below `num_classes`.
    """
    y = as_array(y, name)
    num_classes = None if num_classes is None else count(num_classes, "num_classes")
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(
            f"{name} must be integers 0..C-1, got {y.dtype}; data.from_arrays turns text or "
            "other labels into integers and keeps their names"
        )
    if y.shape != (num_examples,):
        raise ValueError(f"{name} must have shape ({num_examples},), got {y.shape}")
    if not is_concrete(y):  # a wider integer that is no label must not become one
        return y.astype(np.int32) if y.dtype.itemsize < 4 else y
    if y.size:
        values = np.asarray(y)
        _check_labels(int(values.min()), int(values.max()), num_classes, name)
    return y.astype(np.int32)


def _check_labels(low: int, high: int, num_classes: int | None, name: str) -> None:
    if low < 0:
        raise ValueError(f"{name} must not be negative, got {low}")
    if high > np.iinfo(np.int32).max:
        raise ValueError(f"{name} must fit into 32 bits, got {high}")
    if num_classes is not None and high >= num_classes:
        raise ValueError(f"{name} must be below num_classes = {num_classes}, got {high}")


def examples(data: Any, num_features: int | None = None) -> Examples:
    """Return examples whose parts fit together: rows X, y (N, ...), and weight (N,) or (G, N).

    Raises:
        TypeError, ValueError: a part of another kind or length, by name.
    """
    kind(data, Examples, "data", "Examples(X, y, weight)")
    X, y, weight = rows(data.X, "X", num_features), as_array(data.y, "y"), data.weight
    if y.shape[:1] != X.shape[:1]:
        raise ValueError(f"y must be of {X.shape[0]} examples, as X is, got shape {y.shape}")
    return Examples(X, y, _weight(weight, X.shape[0]))


def scored(scores: Any, labels_: Any) -> tuple[AnyArray, AnyArray]:
    """Return the arguments of a loss: floating scores (B, C), and labels (B,) in 0..C-1."""
    scores = floats(scores, "scores")
    if scores.ndim != 2:
        raise ValueError(f"scores must have shape (B, C), got {scores.shape}")
    return scores, labels(labels_, *scores.shape)


def params(params: Any, name: str = "params") -> LinearParams:
    """Return W (C, D) and b (C,), or with the same leading axes (G, ...) on both, as floats.

    Raises:
        TypeError: no LinearParams, or entries that are no real numbers.
        ValueError: W and b whose shapes do not fit together.
    """
    if not hasattr(params, "W") or not hasattr(params, "b"):
        raise TypeError(f"{name} must be LinearParams(W, b), got {type(params).__name__}")
    W, b = floats(params.W, f"{name}.W"), floats(params.b, f"{name}.b")
    if W.ndim < 2 or b.shape != W.shape[:-1]:
        raise ValueError(
            f"{name} must be W (C, D) and b (C,), or (G, C, D) and (G, C) of a grid; "
            f"got {W.shape} and {b.shape}"
        )
    return LinearParams(W, b)


def affine(affine: Any, num_features: int) -> Affine:
    """Return shift (D,) and scale () or (D,) as finite floats (TypeError, ValueError)."""
    kind(affine, Affine, "affine", "preprocessing.fit(X)")
    shift, scale = floats(affine.shift, "affine.shift"), floats(affine.scale, "affine.scale")
    if shift.shape != (num_features,) or scale.shape not in ((), (num_features,)):
        raise ValueError(
            f"affine has shapes {shift.shape} and {scale.shape}, X has {num_features} features"
        )
    if shift.size:
        greatest(shift, "affine.shift")
    greatest(scale, "affine.scale")
    return Affine(shift, scale)


# --- single numbers, functions and keys ---------------------------------------------------------


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
    """Return a strength greater than 0 as float (TypeError, ValueError)."""
    if np.ndim(reg) or not number(reg, "reg") > 0:
        raise ValueError(
            f"reg must be one number greater than 0, got {reg}: without it there is no optimum"
        )
    return float(reg)


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


def on_host(verb: str, instead: str, *arguments: Any) -> None:
    """TypeError if a leaf of the arguments is a tracer, because `verb` works on the host."""
    if not all(is_concrete(leaf) for leaf in jax.tree.leaves(arguments)):
        raise TypeError(f"{verb} cannot run inside jit, grad or vmap; {instead}")


# --- weights and folds ---------------------------------------------------------------------------


def weights(weight: Any, num_examples: int, *, zero: bool = False) -> AnyArray:
    """Return example weights (N,) or (G, N), finite and not negative (ValueError otherwise).

    Only their ratios count.  Where the greatest lies beyond 2**60 or below 2**-60, a power of
    two, which rounds nothing, brings it to 1, so that float32 holds the weights and their sum.

    Args:
        zero: whether all of them may be 0.
    """
    weight = _weight(weight, num_examples)
    if not is_concrete(weight):
        return weight
    values = np.asarray(weight, np.float64)
    if not np.all(np.isfinite(values)) or values.min() < 0:
        raise ValueError("weight must be finite and at least 0")
    if not zero and not values.any(axis=-1).all():
        raise ValueError("weight must not be 0 everywhere")
    exponent = np.frexp(values.max(axis=-1, keepdims=True))[1]
    if (np.abs(exponent) > _COMMON).any():
        weight = values = np.ldexp(values, -exponent)
    if np.any((values > 0) & (values < np.finfo(np.float32).tiny)):
        raise ValueError("weight spans more than float32 holds; its least entry would become 0")
    return weight


def _weight(weight: Any, num_examples: int) -> AnyArray:
    weight = floats(weight, "weight")
    if weight.shape[-1:] != (num_examples,) or weight.ndim > 2:
        raise ValueError(
            f"weight must have shape ({num_examples},) or (G, {num_examples}), got {weight.shape}"
        )
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


def folds(assignment: Any, num_examples: int, *, spared: bool = False) -> np.ndarray:
    """Return fold numbers (N,) int32 in which each of 0..F-1 occurs, F at least 2 (ValueError).

    Args:
        spared: whether -1 is allowed, for an example that is never held out; then F may be 1.
    """
    shift, assignment = int(spared), as_array(assignment, "folds")
    if jnp.issubdtype(assignment.dtype, jnp.integer):
        assignment = np.asarray(assignment).astype(np.int64) + shift
    folds = np.asarray(labels(assignment, num_examples, name="folds")) - shift
    sizes = np.bincount(folds + shift)
    if len(sizes) < 2 or not sizes[shift:].all() or (len(sizes) == 2 and not sizes.all()):
        raise ValueError(
            f"folds must be numbers 0..F-1, each given to some example and F at least 2; got "
            f"{sorted(set(folds.tolist()))}"
        )
    return folds
