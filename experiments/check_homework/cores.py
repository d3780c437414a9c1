"""Losses of scores, right and wrong: scores (N, C), labels (N,) -> each loss (N,), slopes (N, C).

Slopes are the derivatives of each example's own loss by its scores.  A wrong one stands with the
sentence that names its mistake.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Pair = tuple[Array, Array]
Core = Callable[..., Pair]
Table = Sequence[tuple[str, Core]]


class Mistakes(NamedTuple):
    """Wrong cores by what is wrong in them: the loss, its slopes, or both."""

    both: Table
    loss: Table = ()
    slopes: Table = ()
    beside_loss: Table = ()  # slopes that another mistake has too, where the loss is wrong as well

    def all(self) -> Table:
        return [*self.both, *self.loss, *self.slopes, *self.beside_loss]

    def of_loss(self) -> Table:
        return [*self.both, *self.loss]

    def of_slopes(self) -> Table:
        return [*self.both, *self.slopes]


def gaps(scores: Array, y: Array, margin: float = 1.0) -> Array:
    """max(0, s_j - s_y + margin), and 0 at the true class."""
    rows = np.arange(len(y))
    found = np.maximum(0, scores - scores[rows, y][:, None] + margin)
    found[rows, y] = 0
    return found


def balanced(slopes: Array, y: Array) -> Array:
    """The true class gets minus the sum of the others."""
    rows = np.arange(len(y))
    slopes[rows, y] = 0
    slopes[rows, y] = -slopes.sum(axis=1)
    return slopes


def hinge(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    found = gaps(scores, y, margin)
    return found.sum(axis=1), balanced((found > 0) * 1.0, y)


def squared_hinge(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    found = gaps(scores, y, margin)
    return (found**2).sum(axis=1), balanced(2 * found, y)


def crammer_singer(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    found = gaps(scores, y, margin)
    largest = (np.arange(scores.shape[1]) == found.argmax(axis=1)[:, None]) & (found > 0)
    return found.max(axis=1), balanced(largest * 1.0, y)


def softmax(scores: Array, y: Array) -> Pair:
    moved = scores - scores.max(axis=1, keepdims=True)
    logs = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
    return _of_logs(logs, np.exp(logs), y)


def _of_logs(logs: Array, shares: Array, y: Array) -> Pair:
    rows = np.arange(len(y))
    slopes = shares.copy()
    slopes[rows, y] -= 1
    return -logs[rows, y], slopes


# --- wrong hinges ------------------------------------------------------------------------------


def _true_class_counted(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    each, slopes = hinge(scores, y, margin)
    return each + margin, slopes


def _true_class_counted_twice(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    """In the gradient too: the true class's own term is subtracted as one of the others."""
    each, slopes = hinge(scores, y, margin)
    slopes[np.arange(len(y)), y] -= 1
    return each + margin, slopes


def _no_margin(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    return hinge(scores, y, 0.0)


def _no_maximum(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    rows = np.arange(len(y))
    found = scores - scores[rows, y][:, None] + margin
    found[rows, y] = 0
    return found.sum(axis=1), balanced(np.ones_like(scores), y)


def _turned(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    return hinge(-scores, y, margin)


def _no_true_slope(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    return hinge(scores, y, margin)[0], (gaps(scores, y, margin) > 0) * 1.0


def _true_slope_once(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    each, slopes = _no_true_slope(scores, y, margin)
    slopes[np.arange(len(y)), y] = -1.0
    return each, slopes


def _true_slope_added(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    each, slopes = hinge(scores, y, margin)
    slopes[np.arange(len(y)), y] *= -1
    return each, slopes


def _slopes_of_size(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    found = gaps(scores, y, margin)
    return found.sum(axis=1), balanced(found, y)


def _square_of_sum(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    each, slopes = hinge(scores, y, margin)
    return each**2, 2 * each[:, None] * slopes


def _half_slopes(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    each, slopes = squared_hinge(scores, y, margin)
    return each, slopes / 2


def _margins_at_0(more: int) -> Core:
    """Every class counts; the true one gets minus their number, itself counted or not."""

    def core(scores: Array, y: Array, margin: float = 1.0) -> Pair:
        slopes = balanced(np.ones_like(scores), y)
        slopes[np.arange(len(y)), y] -= more
        return hinge(scores, y, margin)[0], slopes

    return core


def _true_slope_always(scores: Array, y: Array, margin: float = 1.0) -> Pair:
    each, slopes = _no_true_slope(scores, y, margin)
    slopes[np.arange(len(y)), y] = 1.0 - scores.shape[1]
    return each, slopes


COUNTED = "The true class is counted too: leave out j == y, its term is always the margin."
NO_MARGIN = "The margin is missing: max(0, s_j - s_y + 1)."
NO_MAXIMUM = "max(0, ...) is missing: a term below 0 counts as 0."
TURNED = "The difference is the wrong way round: s_j - s_y, not s_y - s_j."
NO_TRUE = "The true class gets no gradient: it gets minus the number of classes above the margin."
ONCE = "The true class's gradient is counted once: it counts once for each class above the margin."
AT_0 = "The gradient counts margins of 0 too: take margins > 0, not >= 0."
ALWAYS = "The true class's gradient is subtracted for each class: only for those above the margin."
ADDED = "The true class's gradient is added: subtract it."
SIZES = "The gradient is weighted by the size of the margin: a class above the margin counts 1."
SQUARED = "This is the squared hinge: do not square the margins."
NOT_SQUARED = "The margins are not squared."
SUMMED = "This sums over the wrong classes: take the largest margin only."
LARGEST = "Only the largest margin counts here: sum over all wrong classes."
SQUARED_SUM = "The sum is squared: square each margin, then sum."
NO_TWO = "The gradient of a square lacks its factor 2."

WRONG_HINGES = Mistakes(
    both=[(NO_MARGIN, _no_margin), (NO_MAXIMUM, _no_maximum), (TURNED, _turned),
          (SQUARED, squared_hinge), (LARGEST, crammer_singer),
          (COUNTED, _true_class_counted_twice)],
    loss=[(COUNTED, _true_class_counted)],
    slopes=[(NO_TRUE, _no_true_slope), (ONCE, _true_slope_once), (ADDED, _true_slope_added),
            (SIZES, _slopes_of_size), (AT_0, _margins_at_0(1)), (ALWAYS, _true_slope_always)],
    beside_loss=[(AT_0, _margins_at_0(0))],
)  # fmt: skip
WRONG_SQUARES = Mistakes(
    both=[(NOT_SQUARED, hinge), (SQUARED_SUM, _square_of_sum),
          (NO_MARGIN, lambda scores, y, margin=1.0: squared_hinge(scores, y, 0.0))],
    slopes=[(NO_TWO, _half_slopes)],
)  # fmt: skip
WRONG_LARGEST = Mistakes(
    both=[
        (SUMMED, hinge),
        (NO_MARGIN, lambda scores, y, margin=1.0: crammer_singer(scores, y, 0.0)),
    ]
)

# --- wrong softmaxes ---------------------------------------------------------------------------


def _of_shares(shares: Array, y: Array) -> Pair:
    return _of_logs(np.log(shares), shares, y)


def _shifted(shift: Callable[[Array], Any], axis: int | None = 1) -> Core:
    """The softmax with another number subtracted from the scores: the same until exp fails.

    Over another axis than 1, or over all of the matrix, the shares are wrong as well.
    """

    def core(scores: Array, y: Array) -> Pair:
        powers = np.exp(scores - shift(scores))
        return _of_shares(powers / powers.sum(axis=axis, keepdims=True), y)

    return core


def _shifted_logs(shift: Callable[[Array], Any]) -> Core:
    """The same with the logarithm of the sum."""

    def core(scores: Array, y: Array) -> Pair:
        moved = scores - shift(scores)
        powers = np.exp(moved)
        total = powers.sum(axis=1, keepdims=True)
        return _of_logs(moved - np.log(total), powers / total, y)

    return core


def _lowest(scores: Array) -> Array:
    return scores.min(axis=1, keepdims=True)


def _rows(scores: Array) -> Array:
    return scores.max(axis=1, keepdims=True)


def shares_first(scores: Array, y: Array) -> Pair:
    """The logarithm of the share: the same until the share is rounded to 0."""
    return _shifted(_rows)(scores, y)


def _half_shifted(scores: Array, y: Array) -> Pair:
    total = np.exp(scores - _rows(scores)).sum(axis=1, keepdims=True)
    return _of_shares(np.exp(scores) / total, y)


def _in_base(base: int) -> Core:
    def core(scores: Array, y: Array) -> Pair:
        each, slopes = softmax(scores, y)
        return each / np.log(base), slopes

    return core


def _with_epsilon(epsilon: float) -> Core:
    def core(scores: Array, y: Array) -> Pair:
        each, slopes = softmax(scores, y)
        return -np.log(np.exp(-each) + epsilon), slopes

    return core


def _no_minus_one(scores: Array, y: Array) -> Pair:
    each, slopes = softmax(scores, y)
    slopes[np.arange(len(y)), y] += 1
    return each, slopes


def _no_logarithm(scores: Array, y: Array) -> Pair:
    each, slopes = softmax(scores, y)
    return np.exp(-each), slopes


def _minus_share(scores: Array, y: Array) -> Pair:
    each, slopes = softmax(scores, y)
    return -np.exp(-each), slopes


def _no_sign(scores: Array, y: Array) -> Pair:
    each, slopes = softmax(scores, y)
    return -each, slopes


def _only_true_slope(scores: Array, y: Array) -> Pair:
    each, slopes = softmax(scores, y)
    return each, slopes * (np.arange(scores.shape[1]) == y[:, None])


def _whole_columns(scores: Array, y: Array) -> Pair:
    each, slopes = softmax(scores, y)
    slopes[np.arange(len(y)), y] += 1
    slopes[:, y] -= 1
    return each, slopes


HALF_SHIFTED = "The largest score is subtracted above or below the line only: do it in both."
OVER_EXAMPLES = "exp is summed over the examples (axis=0): sum over the classes (axis=1)."
OVER_ALL = "exp is summed over the whole matrix: sum over the classes of each row (axis=1)."
EPSILON = (
    "A small number is added inside the logarithm and bounds the loss: subtract the largest score "
    "of each row instead."
)
WHOLE = "The largest score of the whole matrix is subtracted: subtract each row's own (axis=1)."
AT_LEAST_0 = "max(0, largest score) is subtracted: scores far below 0 then all underflow to 0."
NO_SHIFT = "exp overflows: subtract each row's largest score first."
LEAST = "Each row's least score is subtracted, so exp overflows: subtract the largest."
COLUMNS = "Each column's largest score is subtracted: subtract each row's (axis=1)."
ZERO_SHARE = (
    "The logarithm of a probability that was rounded to 0: compute log(sum(exp(s))) - s_y instead."
)
WRONG_SOFTMAXES = Mistakes(
    both=[
        (NO_SHIFT, _shifted(lambda scores: 0.0)),
        (NO_SHIFT, _shifted_logs(lambda scores: 0.0)),
        (WHOLE, _shifted(np.max)),
        (AT_LEAST_0, _shifted(lambda scores: np.maximum(0, _rows(scores)))),
        (COLUMNS, _shifted(lambda scores: scores.max(axis=0))),
        (HALF_SHIFTED, _half_shifted),
        (OVER_EXAMPLES, _shifted(_rows, axis=0)),
        (OVER_ALL, _shifted(np.max, axis=None)),
        (OVER_ALL, _shifted(_rows, axis=None)),
        (LEAST, _shifted(_lowest)),
        (LEAST, _shifted_logs(_lowest)),
    ],
    loss=[
        ("The logarithm has base 10: use np.log.", _in_base(10)),
        ("The logarithm has base 2: use np.log.", _in_base(2)),
        ("The logarithm is missing: the loss is -log(p_y).", _no_logarithm),
        ("The logarithm is missing: the loss is -log(p_y).", _minus_share),
        ("The minus sign is missing: the loss is -log(p_y).", _no_sign),
        *((EPSILON, _with_epsilon(10.0**-power)) for power in range(5, 17)),
    ],
    slopes=[
        ("The true class's 1 is not subtracted: the gradient is p - 1 at y, p elsewhere.",
         _no_minus_one),
        ("Only the true class gets a gradient: the other classes get their probability.",
         _only_true_slope),
        ("p[:, y] -= 1 subtracts from whole columns: write p[np.arange(N), y] -= 1.",
         _whole_columns),
    ],
)  # fmt: skip
