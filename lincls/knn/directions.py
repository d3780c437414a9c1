"""Sketches for L2 and cosine: the directions in which the data vary most."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from lincls import distances
from lincls.knn import sketches
from lincls.knn.sketches import Reach, Sketching, float32_above, rounded_up
from lincls.structs import AnyArray

_MOST_AXES = 252
_NORM = 3  # columns that hold a square norm: as many bfloat16 numbers have float32's digits
_COLUMNS = 16  # rows of sketches are a multiple of this, for the speed of their products
_LEAST = 2.0**-40  # below this length squares may be too small for float32
_TINY = 2.0**-16  # of a row's length: more than float64 loses on any row of `MOST_WIDE` features


class Directions(NamedTuple):
    """Orthonormal columns `axes` (D, d), or None for all D coordinates, around `shift` (D,)."""

    shift: Any
    axes: Any


def num_axes(num_features: int) -> int:
    """Directions of rows of so many features, at most."""
    return min(_MOST_AXES, num_features // 256 * 32 + 60)


def num_columns(num_coordinates: int) -> int:
    """Numbers of a sketch of so many coordinates."""
    return -(-(num_coordinates + _NORM) // _COLUMNS) * _COLUMNS


def learn_directions(X: AnyArray) -> Directions | None:
    """The leading principal directions of a sample, by three rounds of subspace iteration.

    A bound needs orthonormal columns, not exact principal directions (Halko, Martinsson and
    Tropp, SIAM Review 53, 2011).  Where they hold less than 3/4 of the sample's variance, all
    coordinates of floating rows are kept, in half their bytes, and of pixels nothing (None).
    """
    rows, num_features = sketches.sample(X, sketches.SAMPLE), X.shape[1]
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
    """Coordinates, then 1 - slack of their square norm, then zeros."""

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
    square_norms = jnp.sum(jnp.square(rows.astype(jnp.float64)), axis=1)
    rows = _with_norms(rows, (1 - _slack(rows.shape[1])) * square_norms)
    return Measured(rows, rounded_up(moved + _TINY * length), square_norms.astype(jnp.float32))


def _with_norms(rows: Array, square_norms: Array) -> Array:
    """Rows (N, d) and their norms, each as a sum of bfloat16 numbers."""
    parts, rest = [rows], square_norms.astype(jnp.float32)
    for _ in range(_NORM):
        parts.append(rest.astype(jnp.bfloat16)[:, None])
        rest = rest - parts[-1][:, 0].astype(jnp.float32)
    filling = num_columns(rows.shape[1]) - rows.shape[1] - _NORM
    return jnp.pad(jnp.concatenate(parts, axis=1), ((0, 0), (0, filling)))


def _slack(num_coordinates: int) -> float:
    """Twice the rounding of a key, as a share of |t(a)|^2 + |t(b)|^2.

    Products of bfloat16 numbers are exact in float32.  A sum of d of them, in any order, is off
    by at most d 2**-23 of the sum of their sizes, which is at most 2 (|t(a)|^2 + |t(b)|^2).
    """
    return (num_columns(num_coordinates) + 8) * 2.0**-21


def _num_coordinates(directions: Directions) -> int:
    axes = directions.axes
    return directions.shift.shape[0] if axes is None else axes.shape[1] + 1


def keys_l2(directions: Directions, q: Measured, x: Measured) -> Float[Array, "M N"]:
    """(1 - slack) |t(b)|^2 - 2 t(a) . t(b), by one product of rows that hold the norms."""
    is_coordinate = jnp.arange(q.rows.shape[1]) < _num_coordinates(directions)
    of_q = jnp.where(is_coordinate, -2 * q.rows, 1).astype(jnp.bfloat16)
    dims = (((1,), (1,)), ((), ()))
    return lax.dot_general(of_q, x.rows, dims, preferred_element_type=jnp.float32)


def reach_l2(directions: Directions, q: Measured, limits: np.ndarray) -> Reach:
    """|t(a) - t(b)|^2 <= (sqrt(limit) + r(a) + r(b))^2, less (1 - slack) |t(a)|^2.

    A sum of D squares in float32 is off by at most (D + 2) 2**-24 of itself.  Where squares are
    too small for it, D 2**-126 comes on top; that is less where the length is above `_LEAST`.
    """
    rounding = (directions.shift.shape[0] + 8) * 2.0**-22
    lengths = np.maximum(np.sqrt(limits.astype(np.float64) / (1 - rounding)), _LEAST)
    square_norms = np.asarray(q.square_norms, np.float64)
    offsets = (1 - _slack(_num_coordinates(directions))) * square_norms
    lengths = float32_above(lengths + np.asarray(q.radii))
    return Reach(lengths, offsets.astype(np.float32))


def as_made(sketch: Measured) -> Measured:
    return sketch


def rows_at(sketch: Measured, places: Array) -> Measured:
    return Measured(*(part[places] for part in sketch))


def radii(sketch: Measured) -> Array:
    return sketch.radii


l2 = Sketching(learn_directions, apply_directions, as_made, rows_at, radii, keys_l2, reach_l2)


def learn_cosine(X: AnyArray) -> Directions | None:
    """Directions of the rows scaled to length 1."""
    few = X[:: -(-X.shape[0] // sketches.SAMPLE)]
    return learn_directions(np.asarray(distances.cosine.prepare(few)))


def apply_cosine(directions: Directions, X: AnyArray) -> Measured:
    return apply_directions(directions, distances.cosine.prepare(X))


def reach_cosine(directions: Directions, q: Measured, limits: np.ndarray) -> Reach:
    """The reach of |a - b|^2, which is 2 - 2 a . b between rows of length 1.

    Lengths, and the product a . b itself, are off by at most (D + 4) 2**-23 each; a row of
    zeros is at distance 1 from all, which is at least half of |a - b|^2.
    """
    rounding = (directions.shift.shape[0] + 8) * 2.0**-21
    return reach_l2(directions, q, 2 * (limits.astype(np.float64) + rounding))


cosine = Sketching(learn_cosine, apply_cosine, as_made, rows_at, radii, keys_l2, reach_cosine)
