"""Sketches: short rows that stand for long ones, with distances that are never too large.

A `Sketching` turns rows (N, D) into short rows and says which pairs of them may be within a
limit.  `knn.neighbors` computes exact distances only of those pairs, where the limit is the k-th
smallest distance that it has seen: the answer is that of the full search.

Two ideas carry both sketchings.  A map s that stretches no distance bounds it from below, and a
sketch t that is s rounded costs at most what the rounding moved, by the triangle inequality:

    |a - b| >= |s(a) - s(b)| >= |t(a) - t(b)| - r(a) - r(b),    r(x) = |s(x) - t(x)|.

So a pair within the limit L has |t(a) - t(b)| <= L + r(a) + r(b).  A key stands for the left
side, up to what depends on a alone, and no root or radius is computed for a pair.

Sketches are made in float64 (under `jax.enable_x64`), so that s itself is as good as exact.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lincls import placement
from lincls.structs import AnyArray

SAMPLE = 2048  # rows that a sketching learns from
PART = 2**16  # training rows whose keys are at hand at the same time
LANES = 32  # rows of a part are a multiple of this
MOST_WIDE = 2**18
TOGETHER = 16  # training rows that share a least key: those of a line of the cache
_CHUNK = 512  # rows that are sketched at a time


class Sketching(NamedTuple):
    """How a metric bounds its distances.  Hashable: build it from module-level functions.

    Attributes:
        learn: rows (N, D) to a pytree of numbers, or None where no sketch pays.
        apply: (learned, rows (M, D)) to sketches, a pytree with leading axis M; in float64.
        lay: training sketches to the form that `keys` reads fastest.
        at: (training sketches as laid, places (M,)) to the sketches there, as `apply` makes them.
        radii: laid sketches to how far each may be from what it stands for, (N,) float32, or
            None where the keys hold that.
        keys: (learned, query sketches, training sketches as laid) to (M, N) float32, one
            for each pair; of one query in the order of the distances of sketches.
        reach: (learned, query sketches, limits (M,)) to a `Reach`, on the host.
        refine: (learned, fine query sketches, fine training sketches) to (P,) lower bounds of
            distances of pairs, where sketches are `Levels`, or None.
    """

    learn: Callable[[Any], Any]
    apply: Callable[[Any, Any], Any]
    lay: Callable[[Any], Any]
    at: Callable[[Any, Any], Any]
    radii: Callable[[Any], Any] | None
    keys: Callable[[Any, Any, Any], Any]
    reach: Callable[[Any, Any, Any], Any]
    refine: Callable[[Any, Any, Any], Any] | None = None


class Reach(NamedTuple):
    """The greatest key of a pair within a limit: (length + radius)**2 - offset, or length - offset.

    The last is of keys that hold the radii.
    """

    lengths: np.ndarray  # (M,) float32, of queries
    offsets: np.ndarray  # (M,) float32

    def most(self, rows: np.ndarray, radii: np.ndarray | None) -> np.ndarray:
        """The greatest keys of the queries at `rows` with training rows of these radii.

        Where the floating range ends they are infinite or NaN, and say nothing.
        """
        lengths, offsets = self.lengths[rows], self.offsets[rows]
        if radii is None:
            return lengths - offsets
        with np.errstate(over="ignore", invalid="ignore"):
            most = lengths + radii
            most *= most
            most -= offsets
        return most


class Part(NamedTuple):
    """Sketches of some training rows, and their radii where keys do not hold them."""

    sketch: Any  # as laid
    radii: np.ndarray | None  # (n / TOGETHER, TOGETHER) float32
    widest: np.ndarray | None  # (n / TOGETHER,) the largest radius of each group of rows


def sample(X: AnyArray, count: int) -> np.ndarray:
    """At most `count` rows, evenly spread, float64."""
    return np.asarray(X[:: -(-X.shape[0] // count)]).astype(np.float64)


def rounded_up(x: Array) -> Array:
    """Positive numbers as float32, a little larger."""
    return (x * (1 + 2.0**-20)).astype(jnp.float32)


def float32_above(x: np.ndarray) -> np.ndarray:
    """The same on the host, and finite."""
    return np.minimum(x * (1 + 2.0**-20), np.finfo(np.float32).max).astype(np.float32)


def sketch_rows(sketching: Sketching, learned: Any, X: AnyArray) -> tuple[Part, ...]:
    """Sketches of all training rows, in parts of one size whose keys stay in the cache.

    Rows of the last part beyond row N are filling.
    """
    size = part_size(X.shape[0])
    return tuple(
        _as_part(sketching, _sketch_part(sketching, learned, X[start : start + size], size))
        for start in range(0, X.shape[0], size)
    )


def part_size(num_rows: int) -> int:
    """Rows of a part, with filling."""
    size = -(-num_rows // -(-num_rows // PART))
    return -(-size // LANES) * LANES


def _as_part(sketching: Sketching, sketch: Any) -> Part:
    laid = sketching.lay(sketch)
    if sketching.radii is None:
        return Part(laid, None, None)
    radii = np.asarray(sketching.radii(laid)).reshape(-1, TOGETHER)
    return Part(laid, radii, radii.max(axis=1))


def _sketch_part(sketching: Sketching, learned: Any, X: AnyArray, size: int) -> Any:
    """Sketches of `size` rows, one chunk after the other, so that float64 copies stay small."""
    part: Any = None
    for start in range(0, size, _CHUNK):
        rows = X[start : start + _CHUNK]
        padded = jnp.pad(rows, ((0, _CHUNK - rows.shape[0]), (0, 0)))
        chunk = jax.tree.map(np.asarray, apply(sketching, learned, padded))
        if part is None:
            part = jax.tree.map(lambda a: placement.aligned((size, *a.shape[1:]), a.dtype), chunk)
        for whole, some in zip(jax.tree.leaves(part), jax.tree.leaves(chunk), strict=True):
            whole[start : start + _CHUNK] = some[: size - start]
    return jax.tree.map(partial(placement.on_device, lent=True), part)


@partial(jax.jit, static_argnames="sketching")
def apply(sketching: Sketching, learned: Any, X: AnyArray) -> Any:
    """Sketches of rows, not laid."""
    return sketching.apply(learned, X)


def at(sketching: Sketching, parts: tuple[Part, ...], places: np.ndarray, num_rows: int) -> Any:
    """Sketches of the training rows at some places, or None where they lie in several parts."""
    number, places = np.divmod(places.astype(np.int32), np.int32(part_size(num_rows)))
    return None if np.ptp(number) else _at(sketching, parts[number[0]].sketch, places)


@partial(jax.jit, static_argnames="sketching")
def _at(sketching: Sketching, laid: Any, places: Array) -> Any:
    return sketching.at(laid, places)
