"""Neighbours of a block of queries from the few training examples that a bound leaves.

1. A key of every pair, by sketches: the less, the nearer the pair may be.
2. Exact distances of the training examples with the least keys; the k-th smallest of them,
   the limit, is no smaller than the k-th smallest of all.
3. Every example whose key is within reach of the limit is a candidate, and every neighbour is
   one (`sketches`).
4. Exact distances of the candidates not yet seen in step 2, and the k smallest of both by
   (distance, index).

The matrix of keys is read once: the least key of every few neighbouring examples is taken, and
steps 2 and 3 read only those groups whose least key is small enough.

Many training examples come in parts, one after the other; the k-th smallest distance in the
parts before is the limit of a part, so step 2 is for the first.

Steps 2 and 4 work on lists of pairs (`pairs`).  The steps are programs of their own, because XLA
otherwise fuses one into another's inner loop.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lincls.knn.model import KNN
from lincls.knn.pairs import exact_distances, fine_bounds
from lincls.knn.sketches import TOGETHER, Part, Sketching, apply, at, part_size
from lincls.structs import AnyArray, Neighbors

_DENSE = 1 / 8  # of the groups; from there on all keys are read faster than some
_PAIR_COST = 32.0  # of an exact distance of a pair, measured, in units of `Metric.cost`
_ROUNDING = 2.0**-16  # two programs may round a floating distance differently, by less than this


class SketchedBlock(NamedTuple):
    """Queries, their sketches, and the groups (M,) and (N,) of queries and examples, or None."""

    queries: Any
    sketch: Any
    query_groups: Any
    groups: Any


class Keys(NamedTuple):
    """Keys of a block with the first rows of a part, those that are no filling, from `start` on."""

    part: Part
    start: int
    num_rows: int
    each: np.ndarray  # (M, n) float32
    least: np.ndarray  # (M, n / TOGETHER), of those that are not excluded


class Pairs(NamedTuple):
    """Places of queries in the block, indices of training examples, and their distances, (P,)."""

    rows: np.ndarray
    columns: np.ndarray
    exact: np.ndarray


def search_pruned(
    model: KNN, queries: AnyArray, k: int, query_groups: Any, groups: Any,
    places: np.ndarray | None = None,
) -> Neighbors | None:  # fmt: skip
    """As `search_block`, with host arrays; None where bounds leave too many pairs for speed.

    Queries that are the training rows at some places have their sketches already.
    """
    queries = jnp.asarray(queries)  # outside of the scope, so pixels stay in 32 bits
    with jax.enable_x64(True):
        sketch = sketch_of(model, queries, places)
        block = SketchedBlock(queries, sketch, query_groups, groups)
        found: list[Pairs] = []
        limit, start = np.full(queries.shape[0], np.inf), 0
        for part in model.sketch:
            keys = keys_of(model, block, part, start)
            seen = [] if np.isfinite(limit).all() else [_least_pairs(model, block, keys, k)]
            limit = _kth_smallest(seen, k, limit)
            near = near_pairs(model, block, keys, limit)
            if near is None:
                return None
            pairs = _exact_pairs(model, block, keys, near, seen, limit)
            found, limit = _first([*found, *seen, pairs], k, limit)
            start += keys.num_rows
    return _as_neighbors(found[0], k, (queries.shape[0], model.X.shape[0]))


def sketch_of(model: KNN, queries: Array, places: np.ndarray | None) -> Any:
    """Sketches of queries, made for them or those of the training rows at some places."""
    known = None
    if places is not None:
        known = at(model.sketching, model.sketch, places, model.X.shape[0])
    return apply(model.sketching, model.learned, queries) if known is None else known


def pays(model: KNN, k: int) -> bool:
    """Whether the distances that set the limits take at most half the time of all distances."""
    return 2 * num_seen(k) * _PAIR_COST <= model.X.shape[0] * model.metric.cost


def num_seen(k: int) -> int:
    """The least of 32, 64, 128, ... that is at least 1.25 k."""
    return max(32, 1 << (k * 5 // 4 - 1).bit_length())


def keys_of(model: KNN, block: SketchedBlock, part: Part, start: int) -> Keys:
    """The keys of the block with a part whose first row is `start`."""
    num_rows = min(part_size(model.X.shape[0]), model.X.shape[0] - start)
    found = _keys(
        model.sketching, model.learned, block, part.sketch, np.int32(start), num_rows=num_rows
    )
    return Keys(part, start, num_rows, *map(np.asarray, found))


@partial(jax.jit, static_argnames=("sketching", "num_rows"))
def _keys(
    sketching: Sketching, learned: Any, block: SketchedBlock, sketch: Any, start: Any,
    *, num_rows: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Keys (M, n), and the least of every few; infinite where all of these are excluded."""
    keys = candidates = sketching.keys(learned, block.sketch, sketch)
    if block.groups is not None:
        indices = start + jnp.arange(keys.shape[1], dtype=jnp.int32)
        groups = jnp.take(jnp.asarray(block.groups), indices, mode="clip")
        same = jnp.asarray(block.query_groups)[:, None] == groups
        candidates = jnp.where(same, jnp.inf, keys)
    return keys, _least_of_groups(candidates, num_rows)


def _least_of_groups(keys: Array, num_columns: int) -> Array:
    """The least of every few of the first columns; infinite in groups beyond them."""
    whole = num_columns // TOGETHER * TOGETHER
    least = keys[:, :whole].reshape(keys.shape[0], -1, TOGETHER).min(axis=2)
    if whole < num_columns:
        rest = keys[:, whole:num_columns].min(axis=1, keepdims=True)
        least = jnp.concatenate([least, rest], axis=1)
    filling = keys.shape[1] // TOGETHER - least.shape[1]
    return jnp.pad(least, ((0, 0), (0, filling)), constant_values=jnp.inf)


def _excluded(
    block: SketchedBlock, keys: Keys, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Whether a pair of a query and a place in the part is none: filling, or of one group."""
    excluded = columns >= keys.num_rows
    if block.groups is None:
        return excluded
    groups = np.asarray(block.groups)
    of_columns = groups[np.minimum(columns + keys.start, len(groups) - 1)]
    return excluded | (np.asarray(block.query_groups)[rows] == of_columns)


def _least_pairs(model: KNN, block: SketchedBlock, keys: Keys, k: int) -> Pairs:
    """The pairs of each query with the least keys, and their distances."""
    num_queries, num_groups = keys.least.shape
    groups = _places_of_least(keys.least, num_seen(k))
    columns = (groups[:, :, None] * TOGETHER + np.arange(TOGETHER)).reshape(num_queries, -1)
    every = np.arange(num_queries)[:, None]
    values = keys.each.reshape(-1, TOGETHER)[groups + num_groups * every].reshape(columns.shape)
    values = np.where(_excluded(block, keys, every, columns), np.inf, values)
    chosen = _places_of_least(values, num_seen(k))
    rows, ranks = np.nonzero(np.take_along_axis(values, chosen, axis=1) < np.inf)
    columns = columns[rows, chosen[rows, ranks]] + keys.start
    return Pairs(rows, columns, exact_distances(model, block.queries, rows, columns))


def _places_of_least(values: np.ndarray, count: int) -> np.ndarray:
    """The places of the `count` least of each row, or of all, in no order."""
    count = min(count, values.shape[1])
    return np.argpartition(values, count - 1, axis=1)[:, :count]


def _kth_smallest(seen: list[Pairs], k: int, limit: np.ndarray) -> np.ndarray:
    """The limits (M,), or the k-th smallest of the distances seen where that is less."""
    for rows, _, exact in seen:
        distances = np.full((len(limit), max(k, num_seen(k))), np.inf)
        distances[rows, _rank(rows)] = exact
        limit = np.minimum(limit, np.partition(distances, k - 1, axis=1)[:, k - 1])
    return limit


def near_pairs(
    model: KNN, block: SketchedBlock, keys: Keys, limit: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows and columns of the pairs that may be within the limits (M,); None where too many."""
    most = model.metric.cost / _PAIR_COST * keys.each.size
    reach = model.sketching.reach(model.learned, block.sketch, _float32_above(limit))
    every, radii = np.arange(len(limit))[:, None], keys.part.radii
    rows, groups = _places(~(keys.least > reach.most(every, keys.part.widest)))
    if len(rows) > most:
        return None
    if radii is None and len(rows) > _DENSE * keys.least.size:
        rows, columns = _places(~(keys.each > reach.most(every, None)))
        return _candidates(block, keys, rows, columns, most)
    values = keys.each.reshape(-1, TOGETHER)[rows * keys.least.shape[1] + groups]
    of_groups = reach.most(rows[:, None], None if radii is None else radii[groups])
    places, lanes = _places(~(values > of_groups))
    return _candidates(block, keys, rows[places], groups[places] * TOGETHER + lanes, most)


def _candidates(
    block: SketchedBlock, keys: Keys, rows: np.ndarray, columns: np.ndarray, most: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """The pairs without the excluded ones; None where they are more than the most."""
    if len(rows) > most:
        return None
    kept = ~_excluded(block, keys, rows, columns)
    return rows[kept], columns[kept]


def _places(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of what is true; numpy divides by one number faster than in `divmod`."""
    places = np.flatnonzero(mask)
    rows = places // mask.shape[1]
    return rows, places - rows * mask.shape[1]


def _float32_above(limit: np.ndarray) -> np.ndarray:
    """A finite float32 above the limit as any program may round a distance."""
    return np.minimum(limit * (1 + _ROUNDING), np.finfo(np.float32).max).astype(np.float32)


def _exact_pairs(
    model: KNN, block: SketchedBlock, keys: Keys, near: tuple[np.ndarray, np.ndarray],
    seen: list[Pairs], limit: np.ndarray,
) -> Pairs:  # fmt: skip
    """The pairs of a part up to the limit, among those near (places in the part), but the seen."""
    rows, columns = _by_column(*_without(near, seen, keys.start))
    if model.sketching.refine is not None:
        fine = fine_bounds(model, block.sketch.fine, keys.part.sketch.fine, rows, columns)
        close = fine <= _float32_above(limit)[rows]
        rows, columns = rows[close], columns[close]
    columns = columns + keys.start
    pairs = Pairs(rows, columns, exact_distances(model, block.queries, rows, columns))
    return Pairs(*(part[pairs.exact <= limit[rows]] for part in pairs))


def _without(
    near: tuple[np.ndarray, np.ndarray], seen: list[Pairs], start: int
) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = near
    for pairs in seen:
        number = rows.astype(np.int64) << 32 | columns
        known = pairs.rows.astype(np.int64) << 32 | pairs.columns - start
        fresh = ~np.isin(number, known, assume_unique=True)
        rows, columns = rows[fresh], columns[fresh]
    return rows, columns


def _by_column(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same pairs in order of example, so that the training data are read from front to back.

    Numbers are sorted several times as fast as their places.
    """
    num_rows = int(rows.max(initial=0)) + 1
    numbers = np.sort(columns * num_rows + rows)
    columns = numbers // num_rows
    return numbers - columns * num_rows, columns


def _first(found: list[Pairs], k: int, limit: np.ndarray) -> tuple[list[Pairs], np.ndarray]:
    """The k first of each row by (distance, column), and the limits (M,) that they set."""
    pairs = _sorted(Pairs(*map(np.concatenate, zip(*found, strict=True))))
    rank = _rank(pairs.rows)
    limit, last = limit.copy(), rank == k - 1
    limit[pairs.rows[last]] = pairs.exact[last]
    return [Pairs(*(part[rank < k] for part in pairs))], limit


def _sorted(pairs: Pairs) -> Pairs:
    """By row, distance and column; whole numbers as one of 64 bits, which sorts far faster."""
    rows, columns, exact = pairs
    widths = [int(part.max(initial=0)).bit_length() for part in (exact, columns)]
    of_rows = int(rows.max(initial=0)).bit_length()
    if not np.issubdtype(exact.dtype, np.integer) or of_rows + sum(widths) > 63:
        order = np.lexsort((columns, exact, rows))
        return Pairs(*(part[order] for part in pairs))
    numbers = (rows << widths[0] | exact.astype(np.int64)) << widths[1] | columns
    numbers.sort()
    columns, numbers = numbers & (1 << widths[1]) - 1, numbers >> widths[1]
    exact = (numbers & (1 << widths[0]) - 1).astype(exact.dtype)
    return Pairs(numbers >> widths[0], columns, exact)


def _rank(rows: np.ndarray) -> np.ndarray:
    """The place of each pair in its row; rows ascend."""
    return np.arange(len(rows)) - np.searchsorted(rows, rows)


def _as_neighbors(found: Pairs, k: int, shape: tuple[int, int]) -> Neighbors:
    """Arrays (M, k) of sorted pairs, with the empty places of `Neighbors`."""
    rows, columns, exact = found
    info = np.iinfo if np.issubdtype(exact.dtype, np.integer) else np.finfo
    distances = np.full((shape[0], k), info(exact.dtype).max, exact.dtype)
    indices = np.full((shape[0], k), shape[1], np.int32)
    distances[rows, _rank(rows)] = np.minimum(exact, info(exact.dtype).max)  # of an overflow
    indices[rows, _rank(rows)] = columns
    return Neighbors(distances, indices)
