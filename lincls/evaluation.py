"""Metrics of predictions, and their uncertainty.

Functions of scores or predictions and labels, on the host, in numpy.  The bootstrap is in JAX.
An example of weight 0 does not count.  Intervals and tests come from scipy.
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

_ROUNDING = 0.01  # of a sum of probabilities, in bfloat16


class Interval(NamedTuple):
    """A confidence interval for a proportion, both ends in 0..1."""

    low: float
    high: float


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
    predictions, labels = _pair(predictions, labels)
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
    scores, labels = _scored(scores, labels)
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
    predictions, labels = _pair(predictions, labels, checks.count(num_classes, "num_classes"))
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
    scores, labels = _scored(scores, labels)
    logs = scipy.special.log_softmax(scores, axis=1)
    return _mean(-np.take_along_axis(logs, labels[:, None], axis=1)[:, 0], weight)


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
    probabilities, labels = _scored(probabilities, labels, "probabilities")
    _check_probabilities(probabilities)
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


def wilson_interval(num_correct: int, num_examples: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for the accuracy behind `num_correct` of `num_examples`.

    It covers the draw of the test examples, not that of the training set.

    Args:
        num_correct: 0..num_examples.
        num_examples: at least 1.
        confidence: between 0 and 1.

    Raises:
        TypeError, ValueError: an argument of another kind or range.

    Source: Wilson, JASA 1927; `scipy.stats.binomtest`.
    """
    confidence = checks.number(confidence, "confidence", above=0, below=1)
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

    A drawn test set is a weight for each example: how often it was drawn.  The spread covers
    the draw of the test examples, not that of the training set.

    Args:
        key: sample i is a function of (key, i).
        statistic: weight (N,) float -> scalar, in JAX; it is vmapped over samples.
        num_examples: N.
        num_samples: at least 1.

    Returns:
        (num_samples, ...); `np.quantile(.., [0.025, 0.975], axis=0)` is the 95 % interval.

    Raises:
        TypeError: no key, no function.
        ValueError: fewer than 1 example or sample.

    Source: Efron, Annals of Statistics 1979; the interval is his percentile interval.
    """
    key, statistic = checks.key(key), checks.function(statistic, "statistic", needed=True)
    num_examples = checks.count(num_examples, "num_examples")
    num_samples = checks.count(num_samples, "num_samples")

    def sample(number: jax.Array) -> jax.Array:
        of_sample = jax.random.fold_in(key, number)
        drawn = jax.random.randint(of_sample, (num_examples,), 0, num_examples)
        return statistic(jnp.zeros(num_examples).at[drawn].add(1.0))

    numbers = jnp.arange(num_samples, dtype=jnp.int32)
    return np.asarray(jax.jit(lambda n: jax.lax.map(sample, n, batch_size=64))(numbers))


def mcnemar(
    a: Shaped[AnyArray, "N"], b: Shaped[AnyArray, "N"], labels: Shaped[AnyArray, "N"]
) -> float:
    """McNemar's exact test: the p-value that classifiers a and b have the same accuracy.

    Two-sided, from the examples on which exactly one of the two is correct; 1 if there are none.

    Args:
        a, b: (N,) predictions of the two.
        labels: (N,), as for `accuracy`.

    Source: McNemar, Psychometrika 1947.
    """
    hits_a, hits_b = (np.equal(*_pair(x, labels, name=name)) for x, name in ((a, "a"), (b, "b")))
    only_a, only_b = int((hits_a & ~hits_b).sum()), int((hits_b & ~hits_a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue)


def _pair(
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


def _scored(scores: Any, labels: Any, name: str = "scores") -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, C) as float64 and labels (N,) in 0..C-1."""
    if not checks.is_concrete(scores):
        raise TypeError(f"{name} must hold values; call this outside of jit, grad and vmap")
    scores = np.asarray(checks.as_array(scores, name))
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"{name} must have shape (N, C), got {scores.shape}")
    if not any(jnp.issubdtype(scores.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"{name} must be real numbers, got {scores.dtype}")
    labels = np.asarray(checks.labels(labels, *scores.shape)) if len(scores) else np.zeros(0, int)
    return scores.astype(np.float64), labels


def _check_probabilities(probabilities: np.ndarray) -> None:
    total = probabilities.sum(axis=1)
    inside = (probabilities >= 0).all() and (probabilities <= 1 + _ROUNDING).all()
    if not inside or ((np.abs(total - 1) > _ROUNDING) & (total != 0)).any():
        raise ValueError(
            "probabilities must lie in 0..1 and sum to 1 in each row; for scores use "
            "jax.nn.softmax(scores, axis=1)"
        )


def _mean(values: np.ndarray, weight: Any) -> float:
    if not len(values):
        raise ValueError("labels has no examples to take the mean of; give at least one")
    return float(np.average(values, weights=checks.example_weights(weight, len(values))))
