"""What the metrics are given, checked: predictions, labels, scores."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lincls import checks

_ROUNDING = 0.01  # of a sum of probabilities, in bfloat16


def pair(
    predictions: Any, labels: Any, num_classes: int | None = None, name: str = "predictions"
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (N,) of one length and kind, integers in 0..C-1 if C is given."""
    classes = [checks.column(x, n) for x, n in ((predictions, name), (labels, "labels"))]
    if classes[0].shape != classes[1].shape:
        raise ValueError(f"{len(classes[0])} {name} do not match {len(classes[1])} labels")
    for values, of in zip(classes, (name, "labels"), strict=True):
        _check_classes(values, of, num_classes)
    kinds = ["number" if values.dtype.kind in "biuf" else values.dtype.kind for values in classes]
    if kinds[0] != kinds[1]:
        raise TypeError(
            f"{name} and labels must both be numbers or both be text, got {classes[0].dtype} and "
            f"{classes[1].dtype}"
        )
    return classes[0], classes[1]


def _check_classes(values: np.ndarray, name: str, num_classes: int | None) -> None:
    if num_classes is not None and len(values):
        checks.labels(values, len(values), num_classes, name)
    if values.dtype.kind == "f" and (parts := values != np.round(values)).any():
        raise TypeError(f"{name} must be classes, got {values.dtype} such as {values[parts][0]}")


def shares(values: Any, name: str) -> np.ndarray:
    """Values (N,) in 0..1 as float64, at least 2 of them; bool counts as 0 and 1."""
    values = checks.column(values, name)
    if values.dtype == bool:
        values = values.astype(np.float64)
    values = np.asarray(checks.floats(values, name), np.float64)
    if len(values) < 2 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{name} must be at least 2 numbers in 0..1")
    return values


def scored(scores: Any, labels: Any, name: str = "scores") -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, C) as float64 and labels (N,) in 0..C-1."""
    scores = np.asarray(checks.as_array(checks.concrete(scores, name), name))
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"{name} must have shape (N, C), got {scores.shape}")
    if not any(jnp.issubdtype(scores.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"{name} must be real numbers, got {scores.dtype}")
    labels = np.asarray(checks.labels(labels, *scores.shape)) if len(scores) else np.zeros(0, int)
    return scores.astype(np.float64), labels


def check_probabilities(probabilities: np.ndarray) -> None:
    total = probabilities.sum(axis=1)
    inside = (probabilities >= 0).all() and (probabilities <= 1 + _ROUNDING).all()
    if not inside or ((np.abs(total - 1) > _ROUNDING) & (total != 0)).any():
        raise ValueError(
            "probabilities must lie in 0..1 and sum to 1 in each row; for scores use "
            "jax.nn.softmax(scores, axis=1)"
        )
