"""Metrics of several labels a row: average precision and F1, each with the same without an example.

Labels are a matrix (N, C) of 0 and 1.  `interval` turns an estimate into a confidence interval.
"""

import numpy as np
from jaxtyping import Bool, Float, Shaped

from lincls import checks
from lincls.evaluation.estimates import Estimate, Groups, without_groups
from lincls.evaluation.ranking import class_average_precision
from lincls.structs import AnyArray


def per_class_average_precision(scores: AnyArray, labels: AnyArray) -> Float[np.ndarray, "C"]:
    """The average precision of each class: how well its scores rank its examples before others.

    It is the mean, over the examples of the class, of the precision among all examples that score
    at least as high.

    Args:
        scores: (N, C).
        labels: (N, C) of 0 and 1.

    Returns:
        (C,), NaN for a class that all examples have, or none.

    Raises:
        TypeError, ValueError: scores that are no finite numbers, labels other than 0 and 1,
            another shape.

    Source: `sklearn.metrics.average_precision_score`.
    """
    scores, labels = _scored(scores, labels)
    found = np.full(labels.shape[1], np.nan)
    for c in np.flatnonzero(_have_both(labels)):
        found[c] = _ranked(scores[:, c], labels[:, c])
    return found


def multilabel_average_precision(
    scores: AnyArray, labels: AnyArray, groups: Groups = None
) -> Estimate:
    """The mean of the average precisions of the classes (mAP, macro).

    A class that all examples have, or none, is left out.

    Args:
        scores, labels: as for `per_class_average_precision`.
        groups: as for `mean`.

    Raises:
        TypeError, ValueError: as `per_class_average_precision`; fewer than 2 examples, no class
            that some examples have and others do not.
    """
    scores, labels = _scored(scores, labels)
    _check_size(labels)
    if groups is not None:
        share = _shares(labels[:, _have_both(labels)])
        return without_groups(_mean_average_precision, (scores, labels), share, groups)
    return _mean_average_precision(scores, labels)


def multilabel_micro_f1(predictions: AnyArray, labels: AnyArray, groups: Groups = None) -> Estimate:
    """F1 over all pairs of an example and a class: 2 * correct / (labels + predictions).

    Args:
        predictions, labels: (N, C) of 0 and 1.
        groups: as for `mean`.

    Raises:
        TypeError, ValueError: entries other than 0 and 1, another shape, fewer than 2 examples,
            no 1 in both.

    Source: `sklearn.metrics.f1_score`.
    """
    predictions, labels = _predicted(predictions, labels)
    if groups is not None:
        share = _shares(_counted(predictions, labels).sum(axis=1, keepdims=True))
        return without_groups(_micro_f1, (predictions, labels), share, groups)
    return _micro_f1(predictions, labels)


def multilabel_macro_f1(predictions: AnyArray, labels: AnyArray, groups: Groups = None) -> Estimate:
    """The mean of the F1 of the classes that have examples or predictions.

    scikit-learn counts a class that has neither as 0.

    Args:
        predictions, labels, groups: as for `multilabel_micro_f1`.
    """
    predictions, labels = _predicted(predictions, labels)
    if groups is not None:
        share = _shares(_counted(predictions, labels))
        return without_groups(_macro_f1, (predictions, labels), share, groups)
    return _macro_f1(predictions, labels)


def _scored(scores: AnyArray, labels: AnyArray) -> tuple[np.ndarray, np.ndarray]:
    labels = checks.label_matrix(labels, "labels")
    scores = np.asarray(checks.floats(scores, "scores"), np.float64)
    if scores.shape != labels.shape:
        raise ValueError(f"scores must have the shape {labels.shape} of labels, got {scores.shape}")
    return checks.finite(scores, "scores"), labels


def _predicted(predictions: AnyArray, labels: AnyArray) -> tuple[np.ndarray, np.ndarray]:
    labels = checks.label_matrix(labels, "labels")
    predictions = checks.label_matrix(predictions, "predictions")
    if predictions.shape != labels.shape:
        raise ValueError(
            f"predictions must have the shape {labels.shape} of labels, got {predictions.shape}"
        )
    _check_size(labels)
    if not labels.any() and not predictions.any():
        raise ValueError("labels and predictions are 0 everywhere, where F1 has no value")
    return predictions, labels


def _check_size(labels: np.ndarray) -> None:
    if len(labels) < 2:
        raise ValueError(f"labels must be of at least 2 examples, got {len(labels)}")


def _have_both(labels: Bool[np.ndarray, "N C"]) -> Bool[np.ndarray, "C"]:
    """Which classes some examples have and others do not."""
    counts = labels.sum(axis=0)
    return (counts > 0) & (counts < len(labels))


def _shares(counts: Shaped[np.ndarray, "N C"]) -> Float[np.ndarray, "N"]:
    """How much each example counts in a mean over the classes; the sum is 1."""
    total = counts.sum(axis=0)
    return (counts[:, total > 0] / total[total > 0]).mean(axis=1)


def _ranked(scores: np.ndarray, is_class: np.ndarray) -> float:
    """The average precision of one class; examples that score the same stand at one rank."""
    order = np.argsort(-scores, kind="stable")
    ordered, right = scores[order], np.cumsum(is_class[order])
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    right = right[last]
    return float((np.diff(right, prepend=0) * right / (last + 1)).sum() / right[-1])


def _mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> Estimate:
    there = np.flatnonzero(_have_both(labels))
    if not len(there):
        raise ValueError("labels must have a class that some examples have and others do not")
    value, without, num = 0.0, np.zeros(len(labels)), np.full(len(labels), len(there))
    for c in there:
        is_class = labels[:, c]
        of_class, changed = class_average_precision(scores[:, c], is_class)
        value += of_class / len(there)
        lone = np.zeros(len(labels), bool)  # without the only one of its kind a class is left out
        for kind in (is_class, ~is_class):
            lone |= kind & (kind.sum() == 1)
        without, num = without + np.where(lone, 0, changed), num - lone
    without = np.where(num > 0, without / np.maximum(num, 1), value)
    return Estimate(float(value), without, _shares(labels[:, there]))


def _counted(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often each pair counts in the divisor of F1: as a label and as a prediction (N, C)."""
    return predictions.astype(np.int64) + labels


def _without(hits: np.ndarray, counted: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """F1, F1 without each example (N,), and whether anything is left without it (N,)."""
    rest = counted.sum() - counted
    left = 2 * (hits.sum() - hits)
    f1 = np.divide(left, rest, out=np.zeros(len(hits)), where=rest > 0)
    return 2 * hits.sum() / max(1, counted.sum()), f1, rest > 0


def _micro_f1(predictions: np.ndarray, labels: np.ndarray) -> Estimate:
    counted = _counted(predictions, labels).sum(axis=1)
    value, without, left = _without((predictions & labels).sum(axis=1), counted)
    return Estimate(float(value), np.where(left, without, value), _shares(counted[:, None]))


def _macro_f1(predictions: np.ndarray, labels: np.ndarray) -> Estimate:
    counted, hits = _counted(predictions, labels), predictions & labels
    there = np.flatnonzero(counted.any(axis=0))
    total, without, num = 0.0, np.zeros(len(labels)), np.zeros(len(labels), np.int64)
    for c in there:
        value, changed, left = _without(hits[:, c], counted[:, c])
        total, without, num = total + value, without + changed, num + left
    value = total / max(1, len(there))
    without = np.where(num > 0, without / np.maximum(num, 1), value)
    return Estimate(float(value), without, _shares(counted))
