"""Estimates with the value that each would have without one of the examples.

`interval` turns them into confidence intervals.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from lincls import checks
from lincls.evaluation import inputs
from lincls.structs import AnyArray

Groups = Any  # (N,) names of groups, numbers or text, or None
_MOST_UNITS = 100


class Estimate(NamedTuple):
    """A number about a test set, in 0..1, and the same without each unit.

    A unit is an example, or a group of examples that belong together.  More than 100 groups are
    put together to 100 units.
    """

    value: float
    without: Float[np.ndarray, "U"]  # the value without unit u
    share: Float[np.ndarray, "U"]  # of an example: 1 / N, or 1 / (C * examples of its class)


def mean(values: Shaped[AnyArray, "N"], groups: Groups = None) -> Estimate:
    """The mean of numbers in 0..1, such as of correct predictions (1) and mistakes (0).

    Args:
        values: (N,) bool or numbers in 0..1, at least 2.
        groups: (N,) names of groups, at least 2: examples of one patient, writer or video.

    Raises:
        TypeError, ValueError: values of another kind, shape or range.
    """
    values = inputs.shares(values, "values")
    if groups is not None:
        return without_groups(mean, (values,), np.full(len(values), 1 / len(values)), groups)
    num = len(values)
    total = values.sum()
    return Estimate(float(total / num), (total - values) / (num - 1), np.full(num, 1 / num))


def mean_per_class(
    predictions: Int[AnyArray, "N"], labels: Int[AnyArray, "N"], num_classes: int,
    groups: Groups = None,
) -> Estimate:  # fmt: skip
    """The mean of the accuracies of the classes that have examples (balanced accuracy).

    Args:
        predictions, labels, num_classes: as for `confusion`.
        groups: as for `mean`.
    """
    predictions, labels = inputs.pair(predictions, labels, checks.count(num_classes, "num_classes"))
    if groups is not None:
        each = partial(mean_per_class, num_classes=num_classes)
        return without_groups(each, (predictions, labels), class_shares(labels), groups)
    hits = predictions == labels
    right, total = (np.bincount(labels, w, num_classes) for w in (hits, None))
    recall = _ratio(right, total)
    changed = _ratio(right[labels] - hits, total[labels] - 1) - recall[labels]
    gone = (total[labels] == 1).astype(int)
    return _of_classes(recall, total > 0, changed, gone, labels)


def macro_f1(
    predictions: Int[AnyArray, "N"], labels: Int[AnyArray, "N"], num_classes: int,
    groups: Groups = None,
) -> Estimate:  # fmt: skip
    """The mean of the F1 of the classes that have examples or predictions.

    F1 of a class is 2 * correct / (examples + predictions).

    Args:
        predictions, labels, num_classes: as for `confusion`.
        groups: as for `mean`.
    """
    predictions, labels = inputs.pair(predictions, labels, checks.count(num_classes, "num_classes"))
    if groups is not None:
        each = partial(macro_f1, num_classes=num_classes)
        return without_groups(each, (predictions, labels), class_shares(labels), groups)
    hits = predictions == labels
    right = np.bincount(labels, hits, num_classes)
    total = np.bincount(np.concatenate([labels, predictions]), minlength=num_classes)
    f1 = _ratio(2 * right, total)
    # A correct example leaves one class twice, a wrong one leaves two classes once.
    own = _ratio(2 * (right[labels] - hits), total[labels] - 1 - hits) - f1[labels]
    other = _ratio(2 * right[predictions], total[predictions] - 1) - f1[predictions]
    gone = (total[labels] == 1 + hits).astype(int) + ((total[predictions] == 1) & ~hits)
    return _of_classes(f1, total > 0, own + np.where(hits, 0, other), gone, labels)


def _of_classes(
    values: np.ndarray, there: np.ndarray, changed: np.ndarray, gone: np.ndarray, labels: np.ndarray
) -> Estimate:
    """The mean over the classes that are there.

    Args:
        values: (C,), 0 for a class that is not there.
        there: (C,) bool.
        changed: (N,), how the sum of the values changes without an example.
        gone: (N,), how many classes are not there without it.
        labels: (N,).
    """
    num = int(there.sum())
    value = float(values.sum() / num)
    without = (values.sum() + changed) / np.maximum(num - gone, 1)
    return Estimate(value, np.where(num > gone, without, value), class_shares(labels))


def class_shares(labels: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """How much each example counts in a mean over the classes that occur; the sum is 1."""
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / (len(counts) * counts[members])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def without_groups(
    estimate: Callable[..., Estimate], arrays: Sequence[np.ndarray], share: np.ndarray, groups: Any
) -> Estimate:
    """An estimate whose units are groups: it is computed again without each of them.

    Args:
        estimate: of arrays (N, ...).
        arrays: these.
        share: (N,) of each example.
        groups: (N,) names.
    """
    members, num_groups = units(groups, len(share))
    members %= _MOST_UNITS
    num_units = min(num_groups, _MOST_UNITS)
    kept = (members != unit for unit in range(num_units))
    without = [estimate(*(array[rest] for array in arrays)).value for rest in kept]
    return Estimate(estimate(*arrays).value, np.array(without), np.bincount(members, share))


def units(groups: Any, num_examples: int) -> tuple[np.ndarray, int]:
    """The number of each example's group (N,), and how many groups there are.

    Raises:
        TypeError, ValueError: groups of another length, missing names, a single group.
    """
    groups = checks.column(groups, "groups", num_examples)
    names, members = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError("groups must be at least 2, got 1: one group has no spread")
    return members, len(names)
