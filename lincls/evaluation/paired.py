"""Two classifiers on the same examples: how far apart they are, and whether by chance."""

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Shaped

from lincls import checks
from lincls.evaluation import inputs
from lincls.evaluation.estimates import Groups, units
from lincls.evaluation.intervals import Interval
from lincls.structs import AnyArray


class Difference(NamedTuple):
    """The mean of a less that of b, in -1..1, and its confidence interval."""

    value: float
    interval: Interval


def paired_difference(
    a: Shaped[AnyArray, "N"],
    b: Shaped[AnyArray, "N"],
    groups: Groups = None,
    confidence: float = 0.95,
) -> Difference:
    """How much better classifier a is than b on the same examples, with an interval.

    Student's interval of the mean of a - b, whose units are examples or groups.  Two made examples,
    one that only a has right and one that only b has right, keep it from shrinking to a point where
    few examples tell the two apart.

    Args:
        a, b: (N,) bool or numbers in 0..1, at least 2: how right each was on each example, such as
            `predictions == labels`, or the mean of that over seeds.
        groups: (N,) names of groups, at least 2: examples of one patient, writer or video.
        confidence: between 0 and 1.

    Raises:
        TypeError, ValueError: values of another kind, shape or range.

    Source: Bonett and Price, Journal of Educational and Behavioral Statistics 2012, for examples
    that are right or wrong.  Its coverage was simulated: `python -m experiments.probe.coverage`.
    """
    confidence = checks.number(confidence, "confidence", above=0, below=1)
    a, b = inputs.shares(a, "a"), inputs.shares(b, "b")
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values of a do not match {len(b)} of b")
    members, num_units = np.arange(len(a)), len(a)
    if groups is not None:
        members, num_units = units(groups, len(a))
    gains = np.append(np.bincount(members, a - b), [1, -1])
    sizes = np.append(np.bincount(members), [1, 1])
    mean, share = gains.sum() / sizes.sum(), sizes / sizes.sum()
    variance = np.square(gains / sizes.sum() - share * mean).sum() * num_units / (num_units - 1)
    freedom = min(num_units - 1, np.square(share).sum() ** 2 / (share**4).sum())
    reach = scipy.stats.t.ppf((1 + confidence) / 2, max(1, freedom)) * np.sqrt(variance)
    ends = Interval(float(max(-1.0, mean - reach)), float(min(1.0, mean + reach)))
    return Difference(float(np.mean(a - b)), ends)


def mcnemar(
    a: Shaped[AnyArray, "N"], b: Shaped[AnyArray, "N"], labels: Shaped[AnyArray, "N"]
) -> float:
    """McNemar's exact test: the p-value that classifiers a and b have the same accuracy.

    Two-sided, from the examples on which exactly one of the two is correct; 1 if there are none.
    It takes the examples to be independent.

    Args:
        a, b: (N,) predictions of the two.
        labels: (N,), as for `accuracy`.

    Source: McNemar, Psychometrika 1947.
    """
    hits_a, hits_b = (
        np.equal(*inputs.pair(x, labels, name=name)) for x, name in ((a, "a"), (b, "b"))
    )
    only_a, only_b = int((hits_a & ~hits_b).sum()), int((hits_b & ~hits_a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue)
