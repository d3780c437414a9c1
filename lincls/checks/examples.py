"""Checks of examples: labels, weights, folds, parameters, and whether they fit together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls.checks.arrays import as_array, floats, greatest, rows
from lincls.checks.values import concrete, count, is_concrete, kind
from lincls.structs import Affine, AnyArray, AnyRows, Examples, LinearParams, Params, Sharded

_COMMON = 60  # weights are left as they are between 2**-60 and 2**60


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
    num_classes = _check_column(y, num_examples, num_classes, name)
    if not is_concrete(y):  # a wider integer that is no label must not become one
        return y.astype(np.int32) if y.dtype.itemsize < 4 else y
    if y.size:
        values = np.asarray(y)
        _check_labels(int(values.min()), int(values.max()), num_classes, name)
    return y.astype(np.int32)


def labels_anywhere(
    y: Any, num_examples: int, num_classes: int | None = None, name: str = "labels"
) -> AnyRows:
    """As `labels`, for a function that takes labels on a mesh as well."""
    if not isinstance(y, Sharded):
        return labels(y, num_examples, num_classes, name)
    num_classes = _check_column(y, num_examples, num_classes, name)
    _check_labels(int(y.array.min()), int(y.array.max()), num_classes, name)  # 0 fills it up
    return y.with_array(y.array.astype(np.int32))


def _check_column(y: AnyRows, num_examples: int, num_classes: Any, name: str) -> int | None:
    """The number of classes, if it is known, for integers of one axis (TypeError, ValueError)."""
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(
            f"{name} must be integers 0..C-1, got {y.dtype}; data.from_arrays turns text or "
            "other labels into integers and keeps their names"
        )
    if y.shape != (num_examples,):
        raise ValueError(f"{name} must have shape ({num_examples},), got {y.shape}")
    return None if num_classes is None else count(num_classes, "num_classes")


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
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"scores must have shape (B, C), got {scores.shape}")
    return scores, labels(labels_, *scores.shape)


def targeted(scores: Any, targets: Any) -> tuple[AnyArray, AnyArray]:
    """Return floating scores (B, C), and as many targets in 0..1 (TypeError, ValueError)."""
    scores, targets = floats(scores, "scores"), as_array(targets, "targets")
    if targets.dtype != bool:
        targets = floats(targets, "targets")
    if scores.ndim != 2 or targets.shape != scores.shape:
        raise ValueError(
            f"scores and targets must both have shape (B, C), got {scores.shape} and "
            f"{targets.shape}; for labels (B,) use losses.softmax"
        )
    if is_concrete(targets) and targets.size:
        values = np.asarray(targets)
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"targets must lie in 0..1, got {values.min()}..{values.max()}")
    return scores, targets


def label_matrix(Y: Any, name: str = "Y", num_examples: int | None = None) -> np.ndarray:
    """Return several labels a row as bool (N, C): entry (i, c) says whether row i has class c.

    Raises:
        TypeError: a tracer, text, or what is no array.
        ValueError: another shape, no examples or classes, an entry other than 0 and 1.
    """
    Y = np.asarray(as_array(concrete(Y, name), name))
    if Y.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be 0 and 1, got {Y.dtype}")
    length = "N" if num_examples is None else num_examples
    if Y.ndim != 2 or not Y.size or (num_examples is not None and len(Y) != num_examples):
        raise ValueError(
            f"{name} must have shape ({length}, C), a column of 0 and 1 for each class, got "
            f"{Y.shape}"
        )
    other = ~((Y == 0) | (Y == 1))
    if other.any():
        raise ValueError(
            f"{name} must be 0 and 1, got {Y[other][0]} in row {int(other.any(axis=1).argmax())}"
        )
    return Y.astype(bool)


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


def tree(params: Any, name: str = "params") -> Params:
    """Return a tree whose leaves are real arrays of one floating dtype (TypeError)."""
    leaves = [
        (floats(leaf, name + jax.tree_util.keystr(path)))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    dtypes = sorted({str(leaf.dtype) for leaf in leaves})
    if len(dtypes) != 1:
        raise TypeError(f"{name} must be a tree of arrays of one dtype, got {dtypes or 'none'}")
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def affine(affine: Any, num_features: int) -> Affine:
    """Return shift (D,) and scale () or (D,) as finite floats (TypeError, ValueError)."""
    kind(affine, Affine, "affine", "preprocessing.fit(X)")
    shift, scale = floats(affine.shift, "affine.shift"), floats(affine.scale, "affine.scale")
    if shift.shape != (num_features,) or scale.shape not in ((), (num_features,)):
        raise ValueError(
            f"affine has shapes {shift.shape} and {scale.shape}, X has {num_features} features"
        )
    greatest(shift, "affine.shift")
    greatest(scale, "affine.scale")
    return Affine(shift, scale)


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
    weight = np.asarray(weights(weight, num_examples))
    if weight.ndim != 1:
        raise ValueError(
            f"weight must be one number an example, shape ({num_examples},), got {weight.shape}; "
            "take one row of it: weight[0]"
        )
    return np.ascontiguousarray(weight, np.float64)  # sums round by how numbers lie in memory


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
    if weights.dtype.itemsize > 8:
        raise TypeError(f"weights must have at most 64 bits a number, got {weights.dtype}")
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
