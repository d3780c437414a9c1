"""What the neighbours really are: plain numpy, in 64 bits, and how many answers agree with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

RTOL = 1e-5  # of float32 distances; indices may differ where distances tie within it
_BLOCK = 1024  # training rows at a time


class Truth(NamedTuple):
    """The nearest of some queries by (distance, index): `indices` and `distances` (M, k)."""

    indices: np.ndarray
    distances: np.ndarray


class Right(NamedTuple):
    """Of how many queries every index, and every distance, is right."""

    indices: int
    distances: int


def integer_table(X: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    """L1, or the sum of squares, between uint8 rows: exact integers (M, N)."""
    rows = X.astype(np.int32)
    differences = (rows - q for q in queries.astype(np.int32))
    if metric == "l1":
        return np.stack([np.abs(d).sum(axis=1, dtype=np.int64) for d in differences])
    return np.stack([(d * d).sum(axis=1, dtype=np.int64) for d in differences])


def float_table(X: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    """The sum of squares |x - q|^2, or 1 - x.q / (|x| |q|), in float64, (M, N)."""
    rows, points = X.astype(np.float64), queries.astype(np.float64)
    products = points @ rows.T
    row_norms, norms = (np.einsum("nd,nd->n", each, each) for each in (rows, points))
    if metric == "cosine":
        return 1 - products / np.sqrt(norms[:, None] * row_norms)
    return norms[:, None] + row_norms - 2 * products


def nearest(
    table: Callable[..., np.ndarray], X: np.ndarray, queries: np.ndarray, metric: str, k: int
) -> Truth:
    """The k nearest by (distance, index), training rows taken a block at a time."""
    best: Any = None
    for start in range(0, len(X), _BLOCK):
        part = table(X[start : start + _BLOCK], queries, metric)
        indices = np.broadcast_to(np.arange(start, start + part.shape[1]), part.shape)
        if best is not None:
            indices, part = (np.hstack(pair) for pair in zip(best, (indices, part), strict=True))
        order = np.argsort(part, axis=1, kind="stable")[:, :k]
        best = Truth(*(np.take_along_axis(each, order, axis=1) for each in (indices, part)))
    return best


def equal(truth: Truth, found: Any) -> Right:
    """How many queries have exactly these answers."""
    return Right(*(int((np.asarray(a) == b).all(axis=1).sum())
                   for a, b in zip(found, truth, strict=True)))  # fmt: skip


def close(truth: Truth, found: Any, X: np.ndarray, queries: np.ndarray, metric: str) -> Right:
    """How many queries have these answers up to RTOL.

    A distance is right within RTOL of the true one in its place.  An index is right where its
    point's true distance is, which lets ties within RTOL change places; none may come twice.
    """
    indices, told = (np.asarray(part) for part in found)
    real = np.stack([
        float_table(X[row], query[None], metric)[0]
        for row, query in zip(indices, queries, strict=True)
    ])  # fmt: skip
    twice = np.array([len(set(row)) < len(row) for row in indices.tolist()])
    within = lambda d: (np.abs(d - truth.distances) <= RTOL * truth.distances).all(axis=1)  # noqa: E731
    return Right(int((within(real) & ~twice).sum()), int(within(told).sum()))
