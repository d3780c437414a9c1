"""What all estimators check: rows, labels of any kind, weights, seeds."""

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from lincls import checks

_MOST = 2**31 - 1
_DTYPES = [np.float64, np.float32, np.uint8]  # other numbers become float64


class Labelled(NamedTuple):
    """Rows, the number of each one's class, and the classes."""

    X: np.ndarray  # (N, D) float64, float32 or uint8
    y: np.ndarray  # (N,) in 0..C-1
    classes: np.ndarray  # (C,)


def labelled(estimator: Any, X: Any, y: Any) -> Labelled:
    """Check the arguments of `fit`, and remember features and their names in the estimator."""
    X, y = validate_data(estimator, _of_this_machine(X), checks.concrete(y, "y"), dtype=_DTYPES)
    if y.dtype.kind == "V":
        raise TypeError(f"y must be numbers or text, got {y.dtype}")
    try:
        check_classification_targets(y)
        classes, numbers = np.unique(y, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"y must be numbers or text, {error}") from error
    return Labelled(X, numbers, classes)


def rows(estimator: Any, X: Any) -> np.ndarray:
    """Check the rows that a fitted estimator is asked about."""
    check_is_fitted(estimator)
    return validate_data(estimator, _of_this_machine(X), reset=False, dtype=_DTYPES)


def steps(max_iter: Any) -> int:
    """Check how many steps a solver may take."""
    return checks.count(max_iter, "max_iter", low=0, high=_MOST)


def choice_of(value: Any, known: Collection[str], name: str) -> str:
    """One of several texts (ValueError)."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {checks.shown(value)}")
    return value


def _of_this_machine(X: Any) -> Any:
    """scikit-learn would widen float32 of the other byte order to float64."""
    checks.concrete(X, "X")
    if isinstance(X, np.ndarray) and not X.dtype.isnative:
        return X.astype(X.dtype.newbyteorder("="))
    return X


def weights(sample_weight: Any, class_weight: Any, data: Labelled) -> np.ndarray | None:
    """How much each example counts (N,), or None where all count the same.

    "balanced" gives every class the same total, of the examples as `sample_weight` counts them.

    Raises:
        ValueError: weights of another shape, negative, all zero, or on one class alone.
    """
    if sample_weight is None and class_weight is None:
        return _of_two_classes(None, data)
    weight = np.ones(len(data.y))
    if sample_weight is not None:
        weight = np.asarray(sample_weight, np.float64)
        if weight.shape == data.y.shape and not weight.any():
            raise ValueError("sample_weight is zero for all examples; leave it out")
        weight = checks.example_weights(weight, len(data.y))
    return _of_two_classes(weight * _class_weights(class_weight, weight, data)[data.y], data)


def _class_weights(class_weight: Any, weight: np.ndarray, data: Labelled) -> np.ndarray:
    if class_weight != "balanced":
        return compute_class_weight(class_weight, classes=data.classes, y=data.classes[data.y])
    totals = np.bincount(data.y, weight, len(data.classes))
    present = totals > 0
    return np.where(present, weight.sum() / (present.sum() * np.where(present, totals, 1)), 0)


def _of_two_classes(weight: np.ndarray | None, data: Labelled) -> np.ndarray | None:
    found = np.bincount(data.y, weight, len(data.classes)) > 0
    if found.sum() < 2:
        raise ValueError(
            f"y has one class, {data.classes[found].tolist()[0]!r}, among the examples that count; "
            "a classifier needs two classes"
        )
    return weight


def is_number(value: Any) -> bool:
    """Whether a value stands for a whole number; arrays have `__index__` too."""
    return hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0


def key(random_state: Any) -> jax.Array:
    """`jax.random.key(random_state)` for a whole number; else a seed is drawn."""
    try:
        if is_number(random_state):
            return jax.random.key(random_state.__index__())
        drawn = check_random_state(random_state)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"random_state must be a whole number or None: {error}") from error
    return jax.random.key(drawn.randint(_MOST))
