"""How good predictions are, and how sure that number is.

Functions of scores or predictions and labels, on the host, in numpy: they see each
example once.  The bootstrap, which sees each a thousand times, is in JAX.  Where they take
a weight, weight 0 means "not there", as everywhere.
Intervals and tests come from scipy.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Bool, Float, Int, Shaped

from lincls import checks
from lincls.structs import AnyArray


class Interval(NamedTuple):
    """A confidence interval for a proportion, both ends in 0..1."""

    low: float
    high: float


def accuracy(
    predictions: Int[AnyArray, "N"], labels: Int[AnyArray, "N"], weight: Any = None
) -> float:
    """The weighted share of predictions that equal their label, in 0..1.

    Raises:
        ValueError: unequal lengths, no examples, and a weight that is not one finite number at
            least 0 for each, or is 0 everywhere.
    """
    predictions, labels = _pair(predictions, labels)
    return _mean(predictions == labels, weight)


def in_top_k(
    scores: Shaped[AnyArray, "N C"], labels: Int[AnyArray, "N"], k: int
) -> Bool[np.ndarray, "N"]:
    """Whether the label of each example is among the k greatest scores.

    Of equal scores the smaller label comes first, so k = 1 is the accuracy of `linear.predict`.
    A class of score -inf is never among them: use -inf for a class without votes.  A score that
    is NaN is ahead of every other.
    """
    scores = np.where(np.isnan(scores), np.inf, scores)
    _, labels = _pair(scores[:, 0], labels, scores.shape[1])
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

    Raises:
        ValueError: unequal lengths, or an entry outside 0..C-1.
    """
    predictions, labels = _pair(predictions, labels, num_classes)
    _pair(labels, predictions, num_classes)
    cell = labels.astype(np.int64) * num_classes + predictions
    return np.bincount(cell, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class_accuracy(
    predictions: Int[AnyArray, "N"], labels: Int[AnyArray, "N"], num_classes: int
) -> Float[np.ndarray, "C"]:
    """The accuracy among the examples of each class (recall); NaN for a class without any."""
    counts = confusion(predictions, labels, num_classes)
    total = counts.sum(axis=1)
    return np.divide(np.diag(counts), total, out=np.full(num_classes, np.nan), where=total > 0)


def log_loss(
    scores: Shaped[AnyArray, "N C"], labels: Int[AnyArray, "N"], weight: Any = None
) -> float:
    """Weighted mean of -log softmax(scores)[label], in nats, in float64 (slide 43)."""
    logs = scipy.special.log_softmax(np.asarray(scores, np.float64), axis=1)
    _, labels = _pair(logs[:, 0], labels, logs.shape[1])
    return _mean(-np.take_along_axis(logs, labels[:, None], axis=1)[:, 0], weight)


class Reliability(NamedTuple):
    """How often predictions made with a certain confidence are right, bin by bin."""

    total: Int[np.ndarray, "bins"]  # examples of a bin
    right: Int[np.ndarray, "bins"]  # those predicted right
    confidence: Float[np.ndarray, "bins"]  # mean greatest probability, NaN in an empty bin
    error: float  # expected calibration error, in 0..1


def reliability(
    probabilities: Float[AnyArray, "N C"], labels: Int[AnyArray, "N"], num_bins: int = 10
) -> Reliability:
    """Predictions binned by their probability, in bins (lower, upper] of equal width over 0..1.

    The expected calibration error is the mean over all examples of |accuracy - mean
    probability| of their bin; 0 means that of predictions made with 80 %, 80 % are right.

    Source: Guo et al., ICML 2017; Naeini et al., AAAI 2015.
    """
    probabilities = np.asarray(probabilities, np.float64)
    predictions, labels = _pair(probabilities.argmax(axis=1), labels)
    greatest, hits = probabilities.max(axis=1), predictions == labels
    num_bins = checks.count(num_bins, "num_bins")
    upper = np.ceil(np.round(greatest * num_bins, 5))  # 0.6 of float32 is in the bin of 0.6
    place = np.clip(upper.astype(int) - 1, 0, num_bins - 1)
    total, right, summed = (
        np.bincount(place, weights, num_bins) for weights in (None, hits, greatest)
    )
    confidence = np.divide(summed, total, out=np.full(num_bins, np.nan), where=total > 0)
    error = float(np.abs(right - summed).sum() / len(labels))
    return Reliability(total.astype(int), right.astype(int), confidence, error)


def wilson_interval(num_correct: int, num_examples: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for the accuracy behind `num_correct` of `num_examples`.

    It speaks of other test examples from the same source, not of other training sets.

    Source: Wilson, JASA 1927; `scipy.stats.binomtest`.
    """
    num_examples = checks.count(num_examples, "num_examples")
    num_correct = checks.count(num_correct, "num_correct", 0, num_examples)
    result = scipy.stats.binomtest(num_correct, num_examples)
    interval = result.proportion_ci(confidence, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def bootstrap(
    key: jax.Array,
    statistic: Callable[[jax.Array], jax.Array],
    num_examples: int,
    num_samples: int = 1000,
) -> np.ndarray:
    """A statistic of the test set on `num_samples` test sets drawn from it with replacement.

    A drawn test set is a weight per example: how often it was drawn.  The spread speaks of
    other test examples from the same source, not of other training sets.

    Args:
        key: sample i is a function of (key, i).
        statistic: weight (N,) float -> scalar, in JAX; it is vmapped over samples.
        num_examples: N.

    Returns:
        (num_samples, ...); `np.quantile(.., [0.025, 0.975], axis=0)` is the 95 % interval.

    Raises:
        ValueError: fewer than 1 example or sample.

    Source: Efron, Annals of Statistics 1979; the interval is his percentile interval.
    """

    num_examples = checks.count(num_examples, "num_examples")
    num_samples = checks.count(num_samples, "num_samples")

    def sample(number: jax.Array) -> jax.Array:
        of_sample = jax.random.fold_in(key, number)
        drawn = jax.random.randint(of_sample, (num_examples,), 0, num_examples)
        return statistic(jnp.zeros(num_examples).at[drawn].add(1.0))

    numbers = jnp.arange(num_samples, dtype=jnp.int32)
    return np.asarray(jax.jit(lambda n: jax.lax.map(sample, n, batch_size=64))(numbers))


def mcnemar(a: Int[AnyArray, "N"], b: Int[AnyArray, "N"], labels: Int[AnyArray, "N"]) -> float:
    """McNemar's exact test: the p-value that classifiers a and b are equally often right.

    Two-sided, from the examples on which exactly one of the two is right; 1 if there are none.

    Source: McNemar, Psychometrika 1947.
    """
    right_a, right_b = (np.equal(*_pair(x, labels)) for x in (a, b))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue)


def _pair(
    predictions: Any, labels: Any, num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (N,) of one length, the labels inside 0..C-1 if C is given."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.ndim != 1 or predictions.shape != labels.shape:
        raise ValueError(f"{predictions.shape} predictions do not match {labels.shape} labels")
    if num_classes is not None:
        checks.labels(labels, len(labels), num_classes)
    return predictions, labels


def _mean(values: np.ndarray, weight: Any) -> float:
    if not len(values):
        raise ValueError("there are no examples to take the mean of; give at least one")
    return float(np.average(values, weights=checks.example_weights(weight, len(values))))
