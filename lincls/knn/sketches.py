"""Sketches: short rows that stand for long ones, with distances that are never too large.

A `Sketching` turns rows (N, D) into short rows and bounds each distance from below by what
the short rows tell.  `knn.neighbors` computes exact distances only where the bound does not
exceed the k-th smallest distance that it has seen: the answer is that of the full search.

Two ideas carry both bounds.  A map s that stretches no distance bounds it from below, and a
sketch t that is s rounded costs at most what the rounding moved, by the triangle inequality:

    |a - b| >= |s(a) - s(b)| >= |t(a) - t(b)| - r(a) - r(b),    r(x) = |s(x) - t(x)|.

Sketches are made in float64 (under `jax.enable_x64`), so that s itself is as good as exact.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from lincls import distances, placement
from lincls.distances import Metric
from lincls.structs import AnyArray

SAMPLE = 2048  # rows that a sketching learns from
PART = 2**16  # training rows whose bounds are at hand at the same time
_CHUNK = 512  # rows that are sketched at a time
_LANES = 32  # training sketches that are compared side by side
_MOST_AXES = 255
_MOST_GROUPS = 192  # XLA breaks up longer sums of arrays, which costs a factor of ten
_MOST_FINE = 1024
_MOST_FEATURES = 2**24 // 255
_MOST_WIDE = 2**18
_LEAST = 2.0**-40  # a smaller bound on a root says nothing
_TINY = 2.0**-16  # of a row's length: more than float64 loses on any row of _MOST_WIDE features


class Sketching(NamedTuple):
    """How a metric bounds its distances.  Hashable: build it from module-level functions.

    Attributes:
        learn: rows (N, D) to a pytree of numbers, or None where no sketch pays.
        apply: (learned, rows (M, D)) to sketches, a pytree with leading axis M; in float64.
        lay: training sketches to the form that `lower` reads fastest.
        lower: (learned, query sketches, training sketches as laid) to (M, N) float32, each at
            most the distance of that pair as the metric computes it.
        refine: (learned, fine query sketches, fine training sketches) to (P,) better bounds of
            pairs, where sketches are `Levels`, or None.
    """

    learn: Callable[[Any], Any]
    apply: Callable[[Any, Any], Any]
    lay: Callable[[Any], Any]
    lower: Callable[[Any, Any, Any], Any]
    refine: Callable[[Any, Any, Any], Any] | None = None


class Sketch(NamedTuple):
    """Short rows, and how far each may be from what it stands for."""

    rows: Any  # (N, d) uint8
    radii: Any  # (N,) float32
    sums: Any  # (N,) int32, of each row's bytes


def _sample(X: AnyArray, count: int) -> np.ndarray:
    """At most `count` rows, evenly spread, float64."""
    return np.asarray(X[:: -(-X.shape[0] // count)]).astype(np.float64)


def _rounded_up(x: Array) -> Array:
    return (x * (1 + 2.0**-20)).astype(jnp.float32)


# --- L2: the directions in which the data vary most ------------------------------------------


class Directions(NamedTuple):
    """Orthonormal columns `axes` (D, d), or None for all D coordinates, around `shift` (D,)."""

    shift: Any
    axes: Any


def num_axes(num_features: int) -> int:
    """Directions of rows of so many features, at most."""
    return min(_MOST_AXES, num_features // 256 * 32 + 63)


def learn_directions(X: AnyArray) -> Directions | None:
    """The leading principal directions of a sample, by three rounds of subspace iteration.

    A bound needs orthonormal columns, not exact principal directions (Halko, Martinsson and
    Tropp, SIAM Review 53, 2011).  Where they hold less than 3/4 of the sample's variance, all
    coordinates of floating rows are kept, in half their bytes, and of pixels nothing (None).
    """
    rows, num_features = _sample(X, SAMPLE), X.shape[1]
    shift = rows.mean(axis=0)
    rows -= shift
    largest = max(rows.max(), -rows.min(), np.finfo(np.float64).tiny)
    rows /= largest  # neither too large nor too small for float32
    rows = rows.astype(np.float32)  # good enough to find directions with
    axes = rows[: num_axes(num_features)].T
    for _ in range(3):
        axes, _ = np.linalg.qr(rows.T @ (rows @ axes))
    if np.sum((rows @ axes) ** 2) >= 0.75 * np.sum(rows**2):
        axes, _ = np.linalg.qr(axes.astype(np.float64))
        return Directions(jnp.asarray(shift), jnp.asarray(axes))
    return None if X.dtype == np.uint8 else Directions(jnp.asarray(shift), None)


class Measured(NamedTuple):
    """A `Sketch` with the square norms of its rows."""

    rows: Any  # (N, d) bfloat16
    radii: Any  # (N,) float32
    square_norms: Any  # (N,) float32


def apply_directions(directions: Directions, X: AnyArray) -> Measured:
    """s(x) = (A^T z, |z - A A^T z|) with z = x - shift, rounded to bfloat16.

    s stretches nothing: |a - b|^2 = |A^T (a - b)|^2 + |(I - A A^T)(a - b)|^2, and the last term
    is at least the square of the difference of the two rests' lengths.
    """
    z = jnp.asarray(X).astype(jnp.float64) - directions.shift
    length = jnp.sqrt(jnp.sum(jnp.square(z), axis=1))
    s = z
    if directions.axes is not None:
        s = jnp.matmul(z, directions.axes, precision=lax.Precision.HIGHEST)
        rest = jnp.square(length) - jnp.sum(jnp.square(s), axis=1)
        s = jnp.concatenate([s, jnp.sqrt(jnp.maximum(rest, 0))[:, None]], axis=1)
    rows = s.astype(jnp.bfloat16)
    moved = jnp.sqrt(jnp.sum(jnp.square(s - rows.astype(jnp.float64)), axis=1))
    square_norms = jnp.sum(jnp.square(rows.astype(jnp.float32)), axis=1)
    return Measured(rows, _rounded_up(moved + _TINY * length), square_norms)


def lower_l2(directions: Directions, q: Measured, x: Measured) -> Float[Array, "M N"]:
    """(|t(a) - t(b)| - r(a) - r(b))^2 where that is positive, less every rounding.

    Products of bfloat16 numbers are exact in float32.  Their sum of d, in any order, is off by
    at most 2 d 2**-23 |t(a)| |t(b)| <= d 2**-23 (|t(a)|^2 + |t(b)|^2).  `slack` is twice that.
    A sum of D squares in float32 is off by at most (D + 2) 2**-24 of itself.  Where squares are
    too small for it, D 2**-126 comes on top; that is less where the root is above `_LEAST`.
    """
    dims = (((1,), (1,)), ((), ()))
    products = lax.dot_general(q.rows, x.rows, dims, preferred_element_type=jnp.float32)
    slack = (q.rows.shape[1] + 8) * 2.0**-21
    total = (1 - slack) * (q.square_norms[:, None] + x.square_norms)
    root = jnp.sqrt(jnp.maximum(total - 2 * products, 0)) - q.radii[:, None] - x.radii
    rounding = (directions.shift.shape[0] + 8) * 2.0**-22
    bound = jnp.where(root > _LEAST, (1 - rounding) * jnp.square(root), 0)  # 0 where it is NaN
    return jnp.minimum(bound, jnp.finfo(jnp.float32).max)


def as_made(sketch: Measured) -> Measured:
    return sketch


l2_directions = Sketching(learn_directions, apply_directions, as_made, lower_l2)


def learn_cosine(X: AnyArray) -> Directions | None:
    """Directions of the rows scaled to length 1."""
    few = X[:: -(-X.shape[0] // SAMPLE)]
    return learn_directions(np.asarray(distances.cosine.prepare(few)))


def apply_cosine(directions: Directions, X: AnyArray) -> Measured:
    return apply_directions(directions, distances.cosine.prepare(X))


def lower_cosine(directions: Directions, q: Measured, x: Measured) -> Float[Array, "M N"]:
    """Half the bound on |a - b|^2, which is 2 - 2 a . b between rows of length 1.

    Lengths, and the product a . b itself, are off by at most (D + 4) 2**-23 each; a row of
    zeros is at distance 1 from all, which is at least half of |a - b|^2.
    """
    rounding = (directions.shift.shape[0] + 8) * 2.0**-21
    return jnp.maximum(lower_l2(directions, q, x) / 2 - rounding, 0)


cosine_directions = Sketching(learn_cosine, apply_cosine, as_made, lower_cosine)


# --- L1 between pixels: sums over features that rise and fall together -----------------------


class Groups(NamedTuple):
    """Features in groups, and how the sum of a group becomes a byte: (sum - low) / step."""

    members: Any  # (D, G) bfloat16, one-hot rows
    low: Any  # (G,) float32, whole numbers
    step: Any  # () float32, a whole number


class Levels(NamedTuple):
    """The same for few groups, which bound all distances, and for many, which bound some."""

    coarse: Any
    fine: Any


def num_groups(num_features: int) -> tuple[int, int]:
    """Groups that bound all distances, and those that bound some."""
    return min(_MOST_GROUPS, num_features // 256 * 32 + 32), min(_MOST_FINE, num_features // 4)


def learn_groups(X: AnyArray) -> Levels:
    """Groups of features by Lloyd's k-means on their centred values in a sample of 512 rows.

    |sum_g (a - b)| <= sum_g |a - b| is tight where a - b has one sign over the group, so features
    that vary together belong together.
    """
    rows, num_features = _sample(X, 512).astype(np.float32), X.shape[1]
    return Levels(*(_groups(rows, count) for count in num_groups(num_features)))


def _groups(rows: np.ndarray, num_groups: int) -> Groups:
    members = _lloyd((rows - rows.mean(axis=0)).T, num_groups)
    sums = rows @ members
    step = max(1, np.ceil(np.quantile(np.ptp(sums, axis=0), 0.9) / 255))
    low = np.round(sums.mean(axis=0) - 127.5 * step)
    return Groups(*(jnp.asarray(part) for part in (members, low, np.float32(step))))._replace(
        members=jnp.asarray(members, jnp.bfloat16)
    )


def _lloyd(points: np.ndarray, num_groups: int, rounds: int = 6) -> np.ndarray:
    """One-hot groups (N, G) of the points, from evenly spread starts; the first of equals."""
    centres = points[:: len(points) // num_groups][:num_groups]
    for _ in range(rounds):
        nearest = np.argmin(np.sum(centres**2, axis=1) - 2 * points @ centres.T, axis=1)
        members = np.eye(num_groups, dtype=points.dtype)[nearest]
        counts = members.sum(axis=0)[:, None]
        centres = np.where(counts > 0, members.T @ points / np.maximum(counts, 1), centres)
    return members


def apply_groups(groups: Levels, X: AnyArray) -> Levels:
    """s(x) = the sum of every group, rounded to low + step * byte; all of it whole numbers.

    s stretches nothing in L1: sum_g |sum_g (a - b)| <= sum_g sum_g |a - b|.  Sums of bytes are
    exact in float32 below 2**24, which is `_MOST_FEATURES` of them.
    """
    return Levels(*(_rounded_sums(level, X) for level in groups))


def _rounded_sums(groups: Groups, X: AnyArray) -> Sketch:
    pixels = jnp.asarray(X).astype(jnp.bfloat16)
    sums = jnp.matmul(pixels, groups.members, preferred_element_type=jnp.float32)
    rows = jnp.clip(jnp.round((sums - groups.low) / groups.step), 0, 255)
    moved = jnp.abs(sums - (groups.low + groups.step * rows)).astype(jnp.float64)
    return Sketch(
        rows.astype(jnp.uint8), _rounded_up(jnp.sum(moved, axis=1)),
        jnp.sum(rows, axis=1).astype(jnp.int32),
    )  # fmt: skip


def tiled(sketch: Levels) -> Levels:
    """Rows (n, G) as (n / 32, G, 32), n a multiple of 32: the last lie in a register."""
    rows = sketch.coarse.rows
    rows = jnp.swapaxes(rows.reshape(-1, _LANES, rows.shape[1]), 1, 2)
    return Levels(sketch.coarse._replace(rows=rows), sketch.fine)


def lower_l1(groups: Levels, q: Levels, x: Levels) -> Float[Array, "M N"]:
    """step * sum_g |t_g(a) - t_g(b)| - r(a) - r(b).

    |a - b| = 2 max(a, b) - a - b, and a sum of maxima takes the fewest instructions; sums of at
    most 256 bytes fit in 16 bits.
    """
    of_q, of_x = q.coarse, x.coarse

    def maxima(row: Array) -> Array:
        total = jnp.zeros((of_x.rows.shape[0], _LANES), jnp.uint16)
        for group in range(of_x.rows.shape[1]):
            total = total + jnp.maximum(row[group], of_x.rows[:, group]).astype(jnp.uint16)
        return total

    total = lax.map(maxima, of_q.rows).reshape(of_q.rows.shape[0], -1)
    steps = 2 * total.astype(jnp.int32) - of_q.sums[:, None] - of_x.sums
    return _bound(groups.coarse, steps, of_q.radii[:, None] + of_x.radii)


def _bound(groups: Groups, steps: Array, radii: Array) -> Array:
    bound = groups.step * steps.astype(jnp.float32) * (1 - 2.0**-22)
    return jnp.maximum(bound - _rounded_up(radii), 0)


def refine_l1(groups: Levels, q: Sketch, x: Sketch) -> Float[Array, "P"]:
    """The same bound by the fine groups, for pairs of fine sketches."""
    return _bound(groups.fine, distances.l1.pairs(q.rows, x.rows), q.radii + x.radii)


l1_groups = Sketching(learn_groups, apply_groups, tiled, lower_l1, refine_l1)


# --- which sketch --------------------------------------------------------------------------


def for_metric(metric: Metric, X: AnyArray) -> Sketching | None:
    """The sketching of a metric on the rows X, or None where the plain search is the fastest.

    Sketches serve L2 and cosine on any rows and L1 on uint8, from 4,096 rows of 256 features on.
    """
    if X.shape[0] < 2 * SAMPLE or not 256 <= X.shape[1] <= _MOST_WIDE:
        return None
    if metric == distances.l1:
        return l1_groups if X.dtype == np.uint8 and X.shape[1] <= _MOST_FEATURES else None
    return {distances.l2: l2_directions, distances.cosine: cosine_directions}.get(metric)


def sketch_rows(sketching: Sketching, learned: Any, X: AnyArray) -> tuple[Any, ...]:
    """Laid sketches of all training rows, in parts of one size whose bounds stay in the cache.

    Rows of the last part beyond row N are filling.
    """
    num_parts = -(-X.shape[0] // PART)
    size = -(-X.shape[0] // num_parts)
    size = -(-size // _LANES) * _LANES
    return tuple(
        sketching.lay(_sketch_part(sketching, learned, X[start : start + size], size))
        for start in range(0, X.shape[0], size)
    )


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
