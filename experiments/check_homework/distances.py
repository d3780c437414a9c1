"""Distances between images, right and wrong: queries (M, D), images (N, D) -> (M, N)."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Distance = Callable[[Array, Array], Array]  # (M, D), (N, D) -> (M, N)


def l1(queries: Any, X: Any) -> Array:
    return np.abs(queries[:, None] * 1.0 - X).sum(axis=-1)


def squares(queries: Any, X: Any) -> Array:
    return np.square(queries[:, None] * 1.0 - X).sum(axis=-1)


def l2(queries: Any, X: Any) -> Array:
    return np.sqrt(squares(queries, X))


# --- wrong distances ---------------------------------------------------------------------------


def _wrapped(measure: Callable[[Array], Array], turned: bool) -> Distance:
    """Differences in the type of the pixels."""

    def distance(queries: Array, X: Array) -> Array:
        apart = X - queries[:, None] if turned else queries[:, None] - X
        return measure(apart).sum(axis=-1)

    return distance


def _wrapped_root(queries: Array, X: Array) -> Array:
    return np.sqrt(_wrapped(np.square, False)(queries, X))


def _later_float(apart: Array) -> Array:
    return np.square(apart * 1.0)


def _by_product(a: float, both: float, b: float) -> Distance:
    """a |q|^2 + both q.x + b |x|^2, whose right factors are 1, -2, 1."""

    def distance(queries: Array, X: Array) -> Array:
        q, x = queries * 1.0, X * 1.0
        return a * (q**2).sum(axis=1)[:, None] + both * q @ x.T + b * (x**2).sum(axis=1)

    return distance


def _rooted(distance: Distance) -> Distance:
    def root(queries: Array, X: Array) -> Array:
        return np.sqrt(distance(queries, X))

    return root


def _no_axis(distance: Distance) -> Distance:
    """The sum of all training examples in each place of a row."""

    def total(queries: Array, X: Array) -> Array:
        rows = squares(queries, X) if distance is l2 else distance(queries, X)
        whole = np.repeat(rows.sum(axis=1, keepdims=True), len(X), axis=1)
        return np.sqrt(whole) if distance is l2 else whole

    return total


def _mean(distance: Distance) -> Distance:
    return lambda queries, X: distance(queries, X) / X.shape[1]


WRAP = "uint8 pixels wrap around (1 - 2 is 255, 16**2 is 0): convert both images to float first."
ROOT = "This takes a root: the sum of squares is asked for."
NO_ROOT = "The root is missing."
AXIS = "The sum runs over all training images: sum over the pixels (axis=1)."
PRODUCT = "The product counts twice and is subtracted: |q|^2 - 2 q.x + |x|^2."
NO_NORM = "A sum of squares is missing: |q|^2 - 2 q.x + |x|^2."
NO_ABS = "The absolute value is missing: differences cancel."
IS_L1 = "This is the L1 distance: sum the squares of the differences."
IS_L2 = "This is the L2 distance: sum the absolute differences."
AVERAGE = "The sum is divided by the number of pixels."
Wrong = list[tuple[str, Distance]]


def _wrong_products(made: Callable[[Distance], Distance]) -> Wrong:
    factors = [(PRODUCT, (1, -1, 1)), (PRODUCT, (1, 2, 1)), (NO_NORM, (0, -2, 1)),
               (NO_NORM, (1, -2, 0))]  # fmt: skip
    return [(says, made(_by_product(*each))) for says, each in factors]


WRAPPED: Wrong = [
    (WRAP, _wrapped(measure, turned))
    for measure in (np.abs, np.square, _later_float)
    for turned in (False, True)
] + [(WRAP, _wrapped_root)]  # fmt: skip
WRONG_L1: Wrong = [
    (NO_ABS, lambda q, X: (q[:, None] * 1.0 - X).sum(axis=-1)), (AXIS, _no_axis(l1)),
    (AVERAGE, _mean(l1)),
]  # fmt: skip
WRONG_SQUARES: Wrong = [*_wrong_products(lambda f: f), (AXIS, _no_axis(squares)),
                        (AVERAGE, _mean(squares))]  # fmt: skip
WRONG_ROOTS: Wrong = [*_wrong_products(_rooted), (AXIS, _no_axis(l2)), (AVERAGE, _mean(l2))]
