"""Confidence intervals of a test set's numbers.

An interval covers the draw of the test examples, not that of the training set.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Shaped

from lincls import checks
from lincls.evaluation.estimates import Estimate, units
from lincls.structs import AnyArray


class Interval(NamedTuple):
    """A confidence interval: in 0..1 for a proportion, in -1..1 for a difference of two."""

    low: float
    high: float


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


def interval(estimate: Estimate, confidence: float = 0.95) -> Interval:
    """A confidence interval for an estimate in 0..1, by the jackknife.

    Wilson's formula with an effective number of examples n = (v (1 - v) + d) / (s**2 + d**2),
    where v is the value and s**2 the jackknife's variance.  d = sum(share**2), the inverse of
    the number of examples that count, keeps the interval from shrinking to a point where no
    example was wrong.  The jackknife's correction of the bias is an estimate of its own, so the
    interval reaches over both values, with the correction and without.  Student's t has
    sum(share**2)**2 / sum(share**4) degrees of freedom, because in a mean over classes the rare
    ones decide.

    Args:
        estimate: of `mean`, `mean_per_class`, `macro_f1`, `auroc` or `average_precision`.
        confidence: between 0 and 1.

    Raises:
        TypeError, ValueError: no estimate, a confidence outside of 0..1.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11; Wilson, JASA
    1927.  Its coverage was simulated: `python -m experiments.probe.coverage`.
    """
    checks.kind(estimate, Estimate, "estimate", "evaluation.macro_f1(predictions, labels, 10)")
    confidence = checks.number(confidence, "confidence", above=0, below=1)
    share, num_units = np.asarray(estimate.share), len(estimate.without)
    bias = (num_units - 1) * (np.mean(estimate.without) - estimate.value)
    variance = (num_units - 1) * np.var(estimate.without)
    inverse = float(np.square(share).sum())
    freedom = min(num_units - 1, inverse**2 / (share**4).sum())
    z = float(scipy.stats.t.ppf((1 + confidence) / 2, max(1, freedom)))
    ends = [_wilson(v, variance, inverse, z) for v in (estimate.value, estimate.value - bias)]
    return Interval(min(low for low, _ in ends), max(high for _, high in ends))


def _wilson(value: float, variance: float, inverse: float, z: float) -> Interval:
    value = min(1.0, max(0.0, value))
    effective = (value * (1 - value) + inverse) / (variance + inverse**2)
    centre = (value + z**2 / (2 * effective)) / (1 + z**2 / effective)
    spread = value * (1 - value) / effective + z**2 / (4 * effective**2)
    reach = z / (1 + z**2 / effective) * float(np.sqrt(spread))
    return Interval(float(max(0.0, centre - reach)), float(min(1.0, centre + reach)))


def bootstrap(
    key: jax.Array,
    statistic: Callable[..., jax.Array],
    num_examples: int,
    num_samples: int = 1000,
    *,
    groups: Shaped[AnyArray, "N"] | None = None,
    args: tuple[Any, ...] = (),
) -> np.ndarray:
    """A statistic of the test set on `num_samples` test sets drawn from it with replacement.

    A drawn test set is a weight for each example: how often it was drawn.  The function is
    compiled once for each statistic and size.  Like `jax.jit`, it reads what the statistic closes
    over only then: give what changes as `args`.

    Args:
        key: sample i is a function of (key, i).
        statistic: (weight (N,) float, *args) -> array, in JAX; it is vmapped over samples.
        num_examples: N.
        num_samples: at least 1.
        groups: (N,) names of groups; whole groups are drawn instead of examples.
        args: arrays, or trees of arrays.

    Returns:
        (num_samples, ...); `np.quantile(.., [0.025, 0.975], axis=0)` is the 95 % interval.  It is
        too narrow for few examples and for means over many classes; see `interval`.

    Raises:
        TypeError: no key, no function.
        ValueError: fewer than 1 example or sample, groups of another length.

    Source: Efron, Annals of Statistics 1979; the interval is his percentile interval.
    """
    key, statistic = checks.key(key), checks.function(statistic, "statistic", needed=True)
    num_examples = checks.count(num_examples, "num_examples")
    num_samples = checks.count(num_samples, "num_samples")
    members, num_units = np.arange(num_examples), num_examples
    if groups is not None:
        members, num_units = units(groups, num_examples)
    numbers = jnp.arange(num_samples, dtype=jnp.int32)
    members = members.astype(np.int32)
    return np.asarray(_statistics(key, numbers, members, tuple(args), statistic, num_units))


@partial(jax.jit, static_argnames=("statistic", "num_units"))
def _statistics(
    key: jax.Array, numbers: jax.Array, members: jax.Array, args: Any,
    statistic: Callable[..., jax.Array], num_units: int,
) -> jax.Array:  # fmt: skip
    def sample(number: jax.Array) -> jax.Array:
        of_sample = jax.random.fold_in(key, number)
        drawn = jax.random.randint(of_sample, (num_units,), 0, num_units)
        times = jnp.zeros(num_units).at[drawn].add(1.0)
        return statistic(times[members], *args)

    return jax.lax.map(sample, numbers, batch_size=64)
