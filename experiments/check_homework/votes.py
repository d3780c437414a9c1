"""Votes of the nearest neighbours, right and wrong: a row of distances, labels, k -> a label."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Vote = Callable[[Array, Array, int], Any]  # one row of distances (N,), labels (N,), k -> a label


def majority(row: Array, y: Array, k: int) -> Any:
    """The most votes, then the smaller label; equal distances in the order of the examples."""
    return np.bincount(y[_nearest(row)[:k]]).argmax()


def _nearest(row: Array) -> Array:
    return np.argsort(row, kind="stable")


def _larger(row: Array, y: Array, k: int) -> Any:
    counts = np.bincount(y[_nearest(row)[:k]])
    return len(counts) - 1 - counts[::-1].argmax()


def _met_first(row: Array, y: Array, k: int) -> Any:
    votes = y[_nearest(row)[:k]]
    return max(votes, key=lambda label: (votes == label).sum())


def _rounded_mean(row: Array, y: Array, k: int) -> Any:
    return np.round(y[_nearest(row)[:k]].mean())


def _with_k(fixed: int) -> Vote:
    return lambda row, y, k: majority(row, y, fixed)


def _among(chosen: Callable[[Array, int], Array]) -> Vote:
    return lambda row, y, k: np.bincount(y[chosen(row, k)]).argmax()


TIE_LARGER = "A tied vote goes to the larger label: it goes to the smaller one."
TIE_NEAREST = (
    "A tied vote goes to the nearest of the tied labels: it goes to the smallest (np.bincount "
    "and argmax)."
)
ONE = "k is not used: only the nearest example votes."
FIXED = "k is fixed inside: use the argument k."
INDICES = "The places of the nearest examples vote: their labels do, y[order[:k]]."
MORE = "One example too many votes: the k nearest are order[:k]."
SKIPPED = "The nearest example is left out: the k nearest are order[:k]."
FARTHEST = "The farthest examples vote: sort by increasing distance."
INDEX = "An index is returned: return the label y[index]."
MEAN_VOTE = "Labels are averaged: they are names, so count their votes."
LAST_EQUAL = "Of equal distances the last counts: the first one does."
UNSTABLE = (
    "Equal distances are in no fixed order: with np.argsort(..., kind='stable') the first counts."
)
VOTES: list[tuple[str, Vote]] = [
    (TIE_LARGER, _larger),
    (TIE_NEAREST, _met_first),
    (ONE, lambda row, y, k: y[_nearest(row)[0]]),
    *((FIXED, _with_k(k)) for k in (3, 5, 7, 10)),
    (MORE, _among(lambda row, k: _nearest(row)[: k + 1])),
    (SKIPPED, _among(lambda row, k: _nearest(row)[1 : k + 1])),
    (FARTHEST, _among(lambda row, k: _nearest(-row)[:k])),
    (FARTHEST, _among(lambda row, k: _nearest(row)[-k:])),
    (INDEX, lambda row, y, k: _nearest(row)[0]),
    (INDICES, lambda row, y, k: np.bincount(_nearest(row)[:k]).argmax()),
    (MEAN_VOTE, _rounded_mean),
    (LAST_EQUAL, _among(lambda row, k: (len(row) - 1 - _nearest(row[::-1]))[:k])),
    (UNSTABLE, _among(lambda row, k: np.argsort(row)[:k])),
    (UNSTABLE, _among(lambda row, k: np.argpartition(row, k - 1)[:k])),
]
