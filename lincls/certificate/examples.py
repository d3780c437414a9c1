"""The examples of a bracket: rows in float64, products with W, and what is added up over them.

Matrices of a number for each example and class are worked on in parts that stay in the cache.
One that is larger than `placement.limits().device_bytes` lies in a file.
"""

import math
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lincls import placement
from lincls.structs import Affine, AnyRows, Sharded

_BLOCK = 4096  # rows that are float64 at the same time
_KEPT_BYTES = 2**29  # of rows in float64 that a task keeps for the next parameters
_PART_BYTES = 2**20  # of a matrix that is worked on at a time


class Task(NamedTuple):
    """The examples of weight above 0 and the classes that they have."""

    X: AnyRows  # (N, D)
    kept: list[np.ndarray]  # the rows in float64, preprocessed, or nothing where they are many
    there: np.ndarray  # (N,) bool: weight above 0; n of them
    affine: Affine
    present: np.ndarray  # (C,) bool; P of them
    labels: np.ndarray  # (n,)
    v: np.ndarray  # (n,) weights of sum 1

    @property
    def shares(self) -> np.ndarray:
        """Of each present class (P,), the sum of its weights."""
        return np.bincount(self.labels, self.v, len(self.present))[self.present]


class Part(NamedTuple):
    """Some examples: their place, their row of a matrix, one-hot labels, and weights."""

    place: slice
    values: np.ndarray  # (m, P), or (m, C)
    of_label: np.ndarray  # likewise
    v: np.ndarray  # (m,)


def task(X: AnyRows, y: Any, weight: np.ndarray, affine: Affine, num_classes: int) -> Task:
    """What a bracket needs of checked examples: rows X, labels y (N,), and weights (N,)."""
    there = weight > 0
    labels = np.asarray(y)[there]
    present = np.bincount(labels, minlength=num_classes) > 0
    X = X if isinstance(X, Sharded | np.memmap) else np.asarray(X)
    found = Task(X, [], there, affine, present, labels, weight[there] / weight.sum())
    small = X.size * 8 <= min(_KEPT_BYTES, placement.limits().device_bytes)
    return found._replace(kept=list(_rows(found)) if small else [])


def products(W: np.ndarray, of: Task) -> np.ndarray:
    """W x of every example: (n, P) of the present classes' W, or (n, C) of all."""
    found, start = matrix((len(of.v), len(W))), 0
    for rows in _rows(of):
        found[start : start + len(rows)] = rows @ W.T
        start += len(rows)
    return found


def parts(values: np.ndarray, of: Task) -> Iterator[Part]:
    """A matrix part by part, with what belongs to its examples."""
    classes, size = np.arange(len(of.present)), max(1, _PART_BYTES // values[:1].nbytes)
    if values.shape[1] != len(classes):
        classes = classes[of.present]
    for start in range(0, len(values), size):
        place = slice(start, start + size)
        of_label = (of.labels[place, None] == classes).astype(np.float64)
        yield Part(place, np.asarray(values[place]), of_label, of.v[place])


def pushed(of: Task, residual: Any) -> np.ndarray:
    """sum_i v_i a_i x_i^T (P, D), where residual(place) gives the a (m, P) of some examples."""
    total, start = np.zeros((int(of.present.sum()), of.X.shape[1])), 0
    for rows in _rows(of):
        place = slice(start, start + len(rows))
        total += (residual(place) * of.v[place, None]).T @ rows
        start = place.stop
    return total


def matrix(shape: tuple[int, int]) -> np.ndarray:
    """An empty float64 matrix, in a file that ends with it where it is large."""
    if 8 * math.prod(shape) <= placement.limits().device_bytes:
        return np.empty(shape)
    with tempfile.TemporaryFile() as file:
        found: np.ndarray = np.memmap(file, np.float64, "w+", shape=shape)
    return found


def _rows(of: Task) -> Iterator[np.ndarray]:
    """The rows of weight above 0 in float64, preprocessed, a block at a time."""
    if of.kept:
        yield from of.kept
        return
    shift, scale = (np.asarray(number, np.float64) for number in of.affine)
    for start in range(0, len(of.there), _BLOCK):
        places = start + np.flatnonzero(of.there[start : start + _BLOCK])
        rows = placement.rows_at(of.X, places) if isinstance(of.X, Sharded) else of.X[places]
        yield (np.asarray(rows, np.float64) - shift) * scale
