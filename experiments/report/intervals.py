"""Intervals of means, for verdicts that wait until the numbers bear them out."""

import numpy as np
from scipy import stats

from experiments.report.findings import AGREES, DIFFERS, UNDECIDED
from lincls.evaluation import Interval


def of_mean(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean of independent values (n,): mean ± t s / sqrt(n).

    Of pairs, give the differences.  It needs two values; of equal ones it is a point.
    """
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * error)
    return Interval(float(values.mean()) - reach, float(values.mean()) + reach)


def of_shares(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """`of_mean` of shares 0..1, with ends that stay within 0..1."""
    return Interval(*(min(1.0, max(0.0, end)) for end in of_mean(values, confidence)))


def of_another(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Where one more value of the same kind falls: mean ± t s sqrt(1 + 1/n), of normal ones."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) * np.sqrt(1 + 1 / len(values))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * error)
    return Interval(float(values.mean()) - reach, float(values.mean()) + reach)


def above_zero(interval: Interval) -> str:
    """The verdict on "this is greater than 0": open while the interval has both signs."""
    return AGREES if interval.low > 0 else DIFFERS if interval.high < 0 else UNDECIDED


def inside(interval: Interval, low: float, high: float) -> str:
    """The verdict on "this is between low and high"."""
    if low <= interval.low and interval.high <= high:
        return AGREES
    return DIFFERS if interval.high < low or interval.low > high else UNDECIDED
