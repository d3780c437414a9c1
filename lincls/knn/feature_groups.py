"""Sketches for L1 between pixels: sums over features that rise and fall together."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from lincls import distances
from lincls.knn.sketches import LANES, Reach, Sketching, float32_above, rounded_up, sample
from lincls.structs import AnyArray

_MOST_GROUPS = 192  # XLA breaks up longer sums of arrays, which costs a factor of ten
_MOST_FINE = 1024
MOST_FEATURES = 2**24 // 255


class Sketch(NamedTuple):
    """Short rows, and how far each may be from what it stands for."""

    rows: Any  # (N, d) uint8
    radii: Any  # (N,) float32
    sums: Any  # (N,) int32, of each row's bytes


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
    rows, num_features = sample(X, 512).astype(np.float32), X.shape[1]
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
    exact in float32 below 2**24, which is `MOST_FEATURES` of them.
    """
    return Levels(*(_rounded_sums(level, X) for level in groups))


def _rounded_sums(groups: Groups, X: AnyArray) -> Sketch:
    pixels = jnp.asarray(X).astype(jnp.bfloat16)
    sums = jnp.matmul(pixels, groups.members, preferred_element_type=jnp.float32)
    rows = jnp.clip(jnp.round((sums - groups.low) / groups.step), 0, 255)
    moved = jnp.abs(sums - (groups.low + groups.step * rows)).astype(jnp.float64)
    return Sketch(
        rows.astype(jnp.uint8), rounded_up(jnp.sum(moved, axis=1)),
        jnp.sum(rows, axis=1).astype(jnp.int32),
    )  # fmt: skip


def tiled(sketch: Levels) -> Levels:
    """Rows (n, G) as (n / 32, G, 32), n a multiple of 32: the last lie in a register."""
    rows = sketch.coarse.rows
    rows = jnp.swapaxes(rows.reshape(-1, LANES, rows.shape[1]), 1, 2)
    return Levels(sketch.coarse._replace(rows=rows), sketch.fine)


def rows_at(sketch: Levels, places: Array) -> Levels:
    """The sketches at some places of those that `tiled` made, not tiled."""
    coarse, fine = sketch
    rows = coarse.rows[places // LANES, :, places % LANES]
    return Levels(
        Sketch(rows, coarse.radii[places], coarse.sums[places]),
        Sketch(*(part[places] for part in fine)),
    )


def keys_l1(groups: Levels, q: Levels, x: Levels) -> Float[Array, "M N"]:
    """step * sum_g (|t_g(a) - t_g(b)| + t_g(a)) - r(b).

    |a - b| = 2 max(a, b) - a - b, and a sum of maxima takes the fewest instructions; sums of at
    most 256 bytes fit in 16 bits.
    """
    of_q, of_x = q.coarse, x.coarse

    def maxima(row: Array) -> Array:
        total = jnp.zeros((of_x.rows.shape[0], LANES), jnp.uint16)
        for group in range(of_x.rows.shape[1]):
            total = total + jnp.maximum(row[group], of_x.rows[:, group]).astype(jnp.uint16)
        return total

    total = lax.map(maxima, of_q.rows).reshape(of_q.rows.shape[0], -1)
    steps = (2 * total.astype(jnp.int32) - of_x.sums).astype(jnp.float32)
    return groups.coarse.step * steps - of_x.radii


def reach_l1(groups: Levels, q: Levels, limits: np.ndarray) -> Reach:
    """step * sum_g |t_g(a) - t_g(b)| - r(b) <= limit + r(a), and step * sum_g t_g(a)."""
    sums = np.float64(groups.coarse.step) * np.asarray(q.coarse.sums)
    lengths = limits.astype(np.float64) + np.asarray(q.coarse.radii)
    return Reach(float32_above(lengths), -float32_above(sums))


def refine_l1(groups: Levels, q: Sketch, x: Sketch) -> Float[Array, "P"]:
    """step * sum_g |t_g(a) - t_g(b)| - r(a) - r(b) by the fine groups, for pairs of sketches."""
    steps = distances.l1.pairs(q.rows, x.rows).astype(jnp.float32)
    bound = groups.fine.step * steps * (1 - 2.0**-22)
    return jnp.maximum(bound - rounded_up(q.radii + x.radii), 0)


l1 = Sketching(learn_groups, apply_groups, tiled, rows_at, None, keys_l1, reach_l1, refine_l1)
