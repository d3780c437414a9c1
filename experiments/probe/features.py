"""Rows before a probe sees them: their size and norm, and who is drawn for a few shots."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lab import choices, progress
from lincls import checks, knn, placement, preprocessing
from lincls.structs import Affine, AnyArray

_BLOCK = 4096  # rows of a large array that are made at a time
_ROOM = 32  # float32 has room for squares and their sums between 2**-32 and 2**32
_FAR = 1000  # times the median


def prepared(images: AnyArray, power: int, unit: bool, folder: Path | None = None) -> np.ndarray:
    """Rows (N, D) over 2**power, of norm 1 if so chosen, in the byte order of this machine."""
    X = checks.rows(images, "features")
    if X.dtype.isnative and not power and not unit:
        return np.asanyarray(X)

    def of_block(rows: AnyArray) -> np.ndarray:
        rows = scaled(rows.astype(rows.dtype.newbyteorder("="), copy=False), power)
        return unit_rows(rows) if unit else rows

    return by_blocks(X, of_block, folder)


def by_blocks(
    X: AnyArray, of_block: Callable[[Any], np.ndarray], folder: Path | None = None
) -> np.ndarray:
    """What a function makes of X (N, D), block after block of rows.

    Args:
        X: rows; what is made of a large file lies in a file as well.
        of_block: of rows (n, D), gives rows (n, A).
        folder: of that file, which nobody else sees and which ends with the array.
    """
    first = of_block(X[:1])
    shape = (len(X), first.shape[1])
    made: np.ndarray
    if placement.is_large(X):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            made = np.memmap(file, first.dtype, "w+", shape=shape)
    else:
        made = np.empty(shape, first.dtype)
    for start in range(0, len(X), _BLOCK):
        made[start : start + _BLOCK] = of_block(X[start : start + _BLOCK])
    return made


def warn_of_far_rows(X: AnyArray, normalise: str) -> None:
    """A line that names rows that decide the scale of all others."""
    if not len(far := far_rows(X)):
        return
    named = ", ".join(map(str, far[:5])) + (", .." if len(far) > 5 else "")
    more = "" if normalise == "unit" else " or use --normalise unit"
    progress.say(
        f"warning: {len(far)} of {len(X):,} training rows are over {_FAR} times as large as the "
        f"median row: row {named}.  They decide the scale; leave them out{more}"
    )


def standard(X: np.ndarray, weight: np.ndarray) -> Affine:
    """The shift and scale of each feature (D,) among the rows of weight above 0."""
    return preprocessing.fit(X, weight, per_feature=True)


def moved(X: np.ndarray, affine: Affine, folder: Path | None = None) -> np.ndarray:
    """(X - shift) * scale in float32."""

    def of_block(rows: AnyArray) -> np.ndarray:
        return (np.asarray(rows, np.float32) - affine.shift) * affine.scale

    return by_blocks(X, of_block, folder)


def far_rows(X: AnyArray) -> np.ndarray:
    """The rows whose greatest value is more than `_FAR` times that of the median row."""
    greatest = np.maximum(np.max(X, axis=1), -np.min(X, axis=1).astype(np.float64))
    return np.flatnonzero(greatest > _FAR * np.median(greatest))


def exponent(X: AnyArray) -> int:
    """The power of two that brings a usual row's greatest value to 1/2 .. 1; 0 if none is needed.

    Squares of features of size 1e20 or 1e-25 leave float32.  A power of two changes neither
    digits nor ranks, and the median over the rows is blind to a few that stand out.
    """
    if X.dtype == np.uint8:
        return 0
    greatest = np.maximum(np.max(X, axis=1), -np.min(X, axis=1)).astype(np.float64)
    found = greatest[greatest > 0]
    power = int(np.frexp(np.median(found))[1]) if len(found) else 0
    return power if abs(power) > _ROOM else 0


def scaled(X: AnyArray, power: int) -> np.ndarray:
    """X / 2**power, in float32 if it is not X as it is."""
    if not power:
        return np.asarray(X)
    wide = np.asarray(X, np.float64 if X.dtype == np.float64 else np.float32)
    return np.ldexp(wide, -power).astype(np.float32)


def unit_rows(X: AnyArray) -> np.ndarray:
    """Rows (N, D) of Euclidean norm 1, float32; a row of zeros stays as it is."""
    rows = np.asarray(X, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length == 0, 1, length)


def shot_weights(
    key: jax.Array, y: np.ndarray, present: np.ndarray, shots: int | float | None
) -> np.ndarray:
    """1 on `shots` examples of each class among those present, 0 elsewhere; None is all.

    A share such as 0.1 is that part of each class, at least one example.

    One random order of the examples serves every number of shots, so the smaller subsets are
    parts of the greater; a class with fewer examples gives what it has.

    Args:
        y: (N,) labels.
        present: (P, N) bool, who may be drawn in each of P trainings.

    Returns:
        (P, N) float32.
    """
    if shots is None:
        return present.astype(np.float32)
    shuffled = np.asarray(jax.random.permutation(key, np.arange(len(y), dtype=np.int32)))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    drawn = present[:, by_class]
    count = np.cumsum(drawn, axis=1)
    _, starts, sizes = np.unique(y[by_class], return_index=True, return_counts=True)
    before = np.repeat((count - drawn)[:, starts], sizes, axis=1)
    limit: Any = shots
    if isinstance(shots, float):
        of_class = np.add.reduceat(drawn, starts, axis=1, dtype=np.int64)
        limit = np.repeat(np.maximum(1, np.round(shots * of_class)), sizes, axis=1)
    weights = np.zeros(present.shape, np.float32)
    weights[:, by_class] = drawn & (count - before <= limit)
    return weights


# --- neighbours --------------------------------------------------------------------------------


class Near(NamedTuple):
    """The nearest training examples of each query."""

    labels: Any  # (M, K) int32
    weights: Any  # (M, K) of their exponential votes, None for other metrics than cosine


def search(
    metric: str,
    X: np.ndarray,
    y: np.ndarray,
    queries: np.ndarray,
    k: int,
    temperature: float,
    on_block: Callable[[int, int], Any] | None = None,
) -> Near:
    """The min(k, N) nearest of each query: one search, of which every k is a prefix."""
    model = knn.fit(X, y, metric=choices.METRICS[metric])
    found = knn.neighbors(model, queries, min(k, len(y)), on_block=on_block)
    weights = knn.exp_cosines(model, found, temperature) if metric == "cosine" else None
    return Near(knn.neighbor_labels(model, found), weights)
