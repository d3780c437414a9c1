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

from lincls import distances
from lincls.distances import Metric
from lincls.structs import AnyArray

SAMPLE = 2048  # rows that a sketching learns from
_LANES = 32  # training sketches that are compared side by side
_TINY = 2.0**-16  # of a row's length: more than float64 loses on any row below 2**18 features


class Sketching(NamedTuple):
    """How a metric bounds its distances.  Hashable: build it from module-level functions.

    Attributes:
        learn: rows (N, D) to a pytree of numbers.
        apply: (learned, rows (M, D)) to sketches, a pytree with leading axis M; in float64.
        lay: training sketches to the form that `lower` reads fastest.
        lower: (learned, query sketches, training sketches as laid) to (M, N) float32, each at
            most the distance of that pair as the metric computes it.
    """

    learn: Callable[[Any], Any]
    apply: Callable[[Any, Any], Any]
    lay: Callable[[Any], Any]
    lower: Callable[[Any, Any, Any], Any]


class Sketch(NamedTuple):
    """Short rows, and how far each may be from what it stands for."""

    rows: Any  # (N, d) bfloat16 or uint8
    radii: Any  # (N,) float32


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


def learn_directions(X: AnyArray) -> Directions:
    """The leading principal directions of a sample, by two rounds of subspace iteration.

    A bound needs orthonormal columns, not exact principal directions (Halko, Martinsson and
    Tropp, SIAM Review 53, 2011).
    """
    num_features = X.shape[1]
    num_axes = min(127, num_features // 256 * 32 + 63)
    rows = _sample(X, SAMPLE)
    shift = rows.mean(axis=0)
    rows -= shift
    axes = rows[:num_axes].T
    for _ in range(3):
        axes, _ = np.linalg.qr(rows.T @ (rows @ axes))
    return Directions(jnp.asarray(shift), jnp.asarray(axes))


def apply_directions(directions: Directions, X: AnyArray) -> Sketch:
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
    return Sketch(rows, _rounded_up(moved + _TINY * length))


class Measured(NamedTuple):
    """Sketches with their square norms in float32."""

    sketch: Sketch
    square_norms: Any  # (N,) float32


def measured(sketch: Sketch) -> Measured:
    return Measured(sketch, jnp.sum(jnp.square(sketch.rows.astype(jnp.float32)), axis=1))


def lower_l2(directions: Directions, q: Sketch, x: Measured) -> Float[Array, "M N"]:
    """(|t(a) - t(b)| - r(a) - r(b))^2 where that is positive, less every rounding.

    Products of bfloat16 numbers are exact in float32, and their sum of d, in any order, is off
    by at most 2 d 2**-23 |t(a)| |t(b)| <= d 2**-23 (|t(a)|^2 + |t(b)|^2); `slack` is twice that.
    A sum of D squares in float32 is off by at most (D + 2) 2**-24 of itself.
    """
    dims = (((1,), (1,)), ((), ()))
    products = lax.dot_general(q.rows, x.sketch.rows, dims, preferred_element_type=jnp.float32)
    slack = (q.rows.shape[1] + 8) * 2.0**-21
    total = (1 - slack) * (measured(q).square_norms[:, None] + x.square_norms)
    root = jnp.sqrt(jnp.maximum(total - 2 * products, 0)) - q.radii[:, None] - x.sketch.radii
    rounding = (directions.shift.shape[0] + 8) * 2.0**-22
    return (1 - rounding) * jnp.square(jnp.maximum(root, 0))


l2_directions = Sketching(learn_directions, apply_directions, measured, lower_l2)


# --- L1 between pixels: sums over features that rise and fall together -----------------------


class Groups(NamedTuple):
    """Features in groups, and how the sum of a group becomes a byte: (sum - low) / step."""

    members: Any  # (D, G) float64, one-hot rows
    low: Any  # (G,) float64 integers
    step: Any  # () float64, a whole number


def learn_groups(X: AnyArray) -> Groups:
    """Groups of features by Lloyd's k-means on their centred values in a sample of 512 rows.

    |sum_g (a - b)| <= sum_g |a - b| is tight where a - b has one sign over the group, so features
    that vary together belong together.
    """
    num_groups = min(192, X.shape[1] // 256 * 32 + 64)
    rows = _sample(X, 512)
    group = _lloyd((rows - rows.mean(axis=0)).T.astype(np.float32), num_groups)
    members = np.eye(num_groups)[group]
    sums = rows @ members
    step = max(1, np.ceil(np.quantile(np.ptp(sums, axis=0), 0.9) / 255))
    low = np.round(sums.mean(axis=0) - 127.5 * step)
    return Groups(jnp.asarray(members), jnp.asarray(low), jnp.asarray(step, jnp.float64))


def _lloyd(points: np.ndarray, num_groups: int, rounds: int = 6) -> np.ndarray:
    """The group of each point, from evenly spread starts; the lower group of equals."""
    centres = points[:: len(points) // num_groups][:num_groups]
    for _ in range(rounds):
        group = np.argmin(np.sum(centres**2, axis=1) - 2 * points @ centres.T, axis=1)
        members = np.eye(len(centres), dtype=points.dtype)[group]
        counts = members.sum(axis=0)[:, None]
        centres = np.where(counts > 0, members.T @ points / np.maximum(counts, 1), centres)
    return group


def apply_groups(groups: Groups, X: AnyArray) -> Sketch:
    """s(x) = the sum of every group, rounded to low + step * byte; all of it whole numbers.

    s stretches nothing in L1: sum_g |sum_g (a - b)| <= sum_g sum_g |a - b|.
    """
    sums = jnp.matmul(jnp.asarray(X).astype(jnp.float64), groups.members)
    rows = jnp.clip(jnp.round((sums - groups.low) / groups.step), 0, 255)
    moved = jnp.sum(jnp.abs(sums - (groups.low + groups.step * rows)), axis=1)
    return Sketch(rows.astype(jnp.uint8), _rounded_up(moved))


def tiled(sketch: Sketch) -> Sketch:
    """Rows (N, G) as (N / 32, G, 32), zeros at the end: 32 of them side by side in a register."""
    rows = jnp.pad(sketch.rows, ((0, -sketch.rows.shape[0] % _LANES), (0, 0)))
    rows = rows.reshape(-1, _LANES, rows.shape[1])
    return Sketch(jnp.swapaxes(rows, 1, 2), sketch.radii)


def lower_l1(groups: Groups, q: Sketch, x: Sketch) -> Float[Array, "M N"]:
    """step * sum_g |t_g(a) - t_g(b)| - r(a) - r(b): sums of at most 256 bytes fit in 16 bits."""
    num_tiles, num_groups, _ = x.rows.shape

    def from_query(row: Array) -> Array:
        total = jnp.zeros((num_tiles, _LANES), jnp.uint16)
        for group in range(num_groups):
            here, there = row[group], x.rows[:, group]
            gap = jnp.maximum(here, there) - jnp.minimum(here, there)
            total = total + gap.astype(jnp.uint16)
        return total

    steps = lax.map(from_query, q.rows).reshape(q.rows.shape[0], -1)[:, : x.radii.shape[0]]
    bound = groups.step.astype(jnp.float32) * steps.astype(jnp.float32) * (1 - 2.0**-22)
    return jnp.maximum(bound - _rounded_up(q.radii[:, None] + x.radii), 0)


l1_groups = Sketching(learn_groups, apply_groups, tiled, lower_l1)


# --- which sketch --------------------------------------------------------------------------


def for_metric(metric: Metric, X: AnyArray) -> Sketching | None:
    """The sketching of a metric on the rows X, or None where the plain search is the fastest.

    Sketches serve L2 on any rows and L1 on uint8, from 4,096 rows of 256 features on.
    """
    if X.shape[0] < 2 * SAMPLE or X.shape[1] < 256:
        return None
    if metric == distances.l1:
        return l1_groups if X.dtype == np.uint8 else None
    return {distances.l2: l2_directions}.get(metric)


def sketch_rows(sketching: Sketching, learned: Any, X: AnyArray, chunk: int = SAMPLE) -> Any:
    """Laid sketches of all training rows, a chunk at a time, so that float64 copies stay small."""
    parts = []
    for start in range(0, X.shape[0], chunk):
        rows = X[start : start + chunk]
        padded = jnp.pad(rows, ((0, chunk - rows.shape[0]), (0, 0)))
        sketch = _apply(sketching, learned, padded)
        parts.append(jax.tree.map(lambda leaf, count=rows.shape[0]: leaf[:count], sketch))
    return sketching.lay(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts))


@partial(jax.jit, static_argnames="sketching")
def _apply(sketching: Sketching, learned: Any, X: AnyArray) -> Sketch:
    return sketching.apply(learned, X)
