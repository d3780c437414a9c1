"""How well the scores of a class rank its examples before all others: AUROC and AP."""

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

from lincls import checks
from lincls.evaluation import inputs
from lincls.evaluation.estimates import Estimate, Groups, class_shares, without_groups
from lincls.structs import AnyArray

OfClass = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]


def auroc(
    scores: Float[AnyArray, "N C"], labels: Int[AnyArray, "N"], groups: Groups = None
) -> Estimate:
    """Area under the ROC curve, each class against the others, as a mean over the classes.

    For one class it is the probability that an example of it has a higher score than another
    example; equal scores count one half.  A class without examples is left out.

    Args:
        scores: (N, C), comparable between examples: probabilities, not raw scores.
        labels: (N,) in 0..C-1, of at least 2 classes.
        groups: as for `mean`.

    Raises:
        TypeError, ValueError: scores that are no finite numbers, another shape, one class only.

    Source: DeLong et al., Biometrics 1988.
    """
    return _over_classes(scores, labels, groups, _auroc)


def average_precision(
    scores: Float[AnyArray, "N C"], labels: Int[AnyArray, "N"], groups: Groups = None
) -> Estimate:
    """Average precision of each class against the others, as a mean over the classes (mAP).

    For one class it is the mean, over its examples, of the precision among all examples that
    score at least as high.

    Args:
        scores, labels, groups: as for `auroc`.
    """
    return _over_classes(scores, labels, groups, class_average_precision)


def _over_classes(
    scores: AnyArray, labels: AnyArray, groups: Groups, of_class: OfClass
) -> Estimate:
    scores, labels = inputs.scored(scores, labels)
    checks.finite(scores, "scores")
    if len(np.unique(labels)) < 2:
        raise ValueError("labels must be of at least 2 classes, to rank one before the others")
    each = partial(_each_class, of_class=of_class)
    if groups is None:
        return each(scores, labels)
    return without_groups(each, (scores, labels), class_shares(labels), groups)


def _each_class(scores: np.ndarray, labels: np.ndarray, of_class: OfClass) -> Estimate:
    counts = np.bincount(labels, minlength=scores.shape[1])
    there = np.flatnonzero(counts)
    total, without, num = 0.0, np.zeros(len(labels)), np.full(len(labels), len(there))
    for number in there:
        is_class = labels == number
        value, changed = of_class(scores[:, number], is_class)
        total += value
        if counts[number] == 1:  # without its only example the class is left out
            changed, num = np.where(is_class, 0, changed), num - is_class
        without += changed
    return Estimate(float(total / len(there)), without / num, class_shares(labels))


def _auroc(scores: np.ndarray, is_class: np.ndarray) -> tuple[float, np.ndarray]:
    """The area, and the areas (N,) without each example."""
    ranks = scipy.stats.rankdata(scores)
    within = np.zeros(len(scores))
    for part in (is_class, ~is_class):
        within[part] = scipy.stats.rankdata(scores[part])
    num, num_others = is_class.sum(), (~is_class).sum()
    others_below = (ranks - within)[is_class]
    pairs = others_below.sum()
    above = num - (ranks - within)  # examples of the class above, for an example of the others
    left = pairs - np.where(is_class, ranks - within, above)
    others = num_others - ~is_class
    return pairs / max(num * num_others, 1), left / np.maximum((num - is_class) * others, 1)


def class_average_precision(scores: np.ndarray, is_class: np.ndarray) -> tuple[float, np.ndarray]:
    """The average precision, and those (N,) without each example."""
    order = np.argsort(-scores, kind="stable")
    hits = is_class[order]
    _, start, place, sizes = np.unique(
        -scores[order], return_index=True, return_inverse=True, return_counts=True
    )
    begin, rank = start[place], (start + sizes)[place]  # of all that score the same
    right = np.cumsum(hits)[rank - 1]
    num, fewer = hits.sum(), np.maximum(rank - 1, 1)
    before = np.concatenate([[0], np.cumsum(hits * right / rank)])[begin]
    after_other = np.cumsum((hits * right / fewer)[::-1])[::-1][begin]
    after_own = np.cumsum((hits * (right - 1) / fewer)[::-1])[::-1][begin] - (right - 1) / fewer
    without = np.empty(len(scores))
    without[order] = np.where(
        hits, (before + after_own) / np.maximum(num - 1, 1), (before + after_other) / num
    )
    return float((right / rank)[hits].sum() / num), without
