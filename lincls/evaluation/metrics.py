"""Metrics of predictions and scores.

Functions of scores or predictions and labels, on the host, in numpy.  An example of weight 0 does
not count.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Bool, Float, Int, Shaped

from lincls import checks
from lincls.evaluation import inputs
from lincls.structs import AnyArray


def accuracy(
    predictions: Shaped[AnyArray, "N"], labels: Shaped[AnyArray, "N"], weight: Any = None
) -> float:
    """The weighted share of predictions that equal their label, in 0..1.

    Args:
        predictions, labels: (N,) classes, both whole numbers or both text.
        weight: (N,) finite and at least 0, not 0 everywhere; default all 1.

    Raises:
        TypeError: text against numbers, numbers that are not whole.
        ValueError: another shape, no examples, missing values, another weight.
    """
    predictions, labels = inputs.pair(predictions, labels)
    return _mean(predictions == labels, weight)


def in_top_k(
    scores: Shaped[AnyArray, "N C"], labels: Int[AnyArray, "N"], k: int
) -> Bool[np.ndarray, "N"]:
    """Whether the label of each example is among the k greatest scores.

    Of equal scores the smaller label comes first, so k = 1 is the accuracy of `linear.predict`.
    A class of score -inf is never among them: use -inf for a class without votes.  A score that
    is NaN is ahead of every other.

    Args:
        scores: (N, C).
        labels: (N,) in 0..C-1.
        k: at least 1.

    Raises:
        TypeError, ValueError: scores that are not numbers, another shape, a label out of range.
    """
    scores, labels = inputs.scored(scores, labels)
    k = checks.count(k, "k")
    scores = np.where(np.isnan(scores), np.inf, scores)
    of_label = np.take_along_axis(scores, labels[:, None], axis=1)
    smaller = np.arange(scores.shape[1]) < labels[:, None]
    ahead = (scores > of_label) | ((scores == of_label) & smaller)
    return (ahead.sum(axis=1) < k) & (of_label[:, 0] > -np.inf)


def top_k_accuracy(
    scores: Shaped[AnyArray, "N C"], labels: Int[AnyArray, "N"], k: int, weight: Any = None
) -> float:
    """The weighted share of examples whose label is among the k greatest scores (`in_top_k`)."""
    return _mean(in_top_k(scores, labels, k), weight)


def confusion(
    predictions: Int[AnyArray, "N"], labels: Int[AnyArray, "N"], num_classes: int
) -> Int[np.ndarray, "C C"]:
    """Counts (C, C): row = the label, column = what was predicted.

    Args:
        predictions, labels: (N,) in 0..C-1.
        num_classes: C.

    Raises:
        TypeError, ValueError: no integers, unequal lengths, or an entry outside 0..C-1.
    """
    predictions, labels = inputs.pair(predictions, labels, checks.count(num_classes, "num_classes"))
    cell = labels.astype(np.int64) * num_classes + predictions.astype(np.int64)
    return np.bincount(cell, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class_accuracy(
    predictions: Int[AnyArray, "N"], labels: Int[AnyArray, "N"], num_classes: int
) -> Float[np.ndarray, "C"]:
    """The accuracy among the examples of each class (recall); NaN for a class without any.

    Args:
        predictions, labels, num_classes: as for `confusion`.
    """
    counts = confusion(predictions, labels, num_classes)
    total = counts.sum(axis=1)
    return np.divide(np.diag(counts), total, out=np.full(num_classes, np.nan), where=total > 0)


def log_loss(
    scores: Shaped[AnyArray, "N C"], labels: Int[AnyArray, "N"], weight: Any = None
) -> float:
    """Weighted mean of -log softmax(scores)[label], in nats, in float64 (slide 43).

    Args:
        scores, labels: as for `in_top_k`.
        weight: as for `accuracy`.
    """
    scores, labels = inputs.scored(scores, labels)
    logs = scipy.special.log_softmax(scores, axis=1)
    return _mean(-np.take_along_axis(logs, labels[:, None], axis=1)[:, 0], weight)


def brier(
    probabilities: Float[AnyArray, "N C"], labels: Int[AnyArray, "N"], weight: Any = None
) -> float:
    """Weighted mean of sum_k (p_k - [k is the label])**2, in 0..2; 0 is best.

    Args:
        probabilities, labels: as for `reliability`.
        weight: as for `accuracy`.

    Source: Brier, Monthly Weather Review 1950.
    """
    probabilities, labels = inputs.scored(probabilities, labels, "probabilities")
    inputs.check_probabilities(probabilities)
    of_label = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return _mean(np.square(probabilities).sum(axis=1) - 2 * of_label + 1, weight)


class Reliability(NamedTuple):
    """Accuracy against confidence, bin by bin."""

    total: Int[np.ndarray, "bins"]  # examples of a bin
    right: Int[np.ndarray, "bins"]  # correct predictions
    confidence: Float[np.ndarray, "bins"]  # mean greatest probability, NaN in an empty bin
    error: float  # expected calibration error, in 0..1


def reliability(
    probabilities: Float[AnyArray, "N C"], labels: Int[AnyArray, "N"], num_bins: int = 10
) -> Reliability:
    """Predictions binned by their probability, in bins (lower, upper] of equal width over 0..1.

    The expected calibration error is the mean over all examples of |accuracy - mean
    probability| of their bin; 0 means that of predictions made with 80 %, 80 % are correct.

    Args:
        probabilities: (N, C) in 0..1; a row sums to 1, or is all 0 where nobody voted.
        labels: (N,) in 0..C-1.
        num_bins: at least 1.

    Raises:
        TypeError: probabilities that are not numbers.
        ValueError: scores that are not probabilities, another shape, a label out of range.

    Source: Guo et al., ICML 2017; Naeini et al., AAAI 2015.
    """
    probabilities, labels = inputs.scored(probabilities, labels, "probabilities")
    inputs.check_probabilities(probabilities)
    predictions, greatest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    hits, num_bins = predictions == labels, checks.count(num_bins, "num_bins")
    upper = np.ceil(np.round(greatest * num_bins, 5))  # 0.6 of float32 is in the bin of 0.6
    place = np.clip(upper.astype(int) - 1, 0, num_bins - 1)
    total, right, summed = (
        np.bincount(place, weights, num_bins) for weights in (None, hits, greatest)
    )
    confidence = np.divide(summed, total, out=np.full(num_bins, np.nan), where=total > 0)
    error = float(np.abs(right - summed).sum() / len(labels))
    return Reliability(total.astype(int), right.astype(int), confidence, error)


def _mean(values: np.ndarray, weight: Any) -> float:
    if not len(values):
        raise ValueError("labels has no examples to take the mean of; give at least one")
    return float(np.average(values, weights=checks.example_weights(weight, len(values))))
