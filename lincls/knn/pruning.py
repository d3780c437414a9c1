"""Neighbours of a block of queries from the few training examples that a bound leaves.

1. Lower bounds of all distances, by sketches.
2. Exact distances of the training examples with the least bounds; the k-th smallest of them,
   the limit, is no smaller than the k-th smallest of all.
3. Every example whose bound does not exceed the limit is a candidate, and every neighbour is
   one: its distance is at most the limit, and its bound at most its distance.
4. Exact distances of the candidates not yet seen in step 2, and the k smallest of both by
   (distance, index).

Many training examples come in parts, one after the other; the k-th smallest distance in the
parts before is the limit of a part, so step 2 is for the first.

Steps 2 and 4 work on lists of pairs (query, example), made on the host; a compiled loop gathers
the rows of as many pairs as stay in the cache and stops after the last.  The steps are programs
of their own, because XLA otherwise fuses one into another's inner loop.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

from lincls import placement
from lincls.distances import Metric
from lincls.knn.model import KNN
from lincls.knn.precision import widened
from lincls.knn.search import smallest
from lincls.knn.sketches import Sketching, apply
from lincls.structs import AnyArray, Neighbors

_PAIRS = 2**15  # distances in a compiled call, at most
_FROM_HOST = 2**11  # of them, where the rows come from the host
_CACHED = 64  # pairs whose rows stay in a core's cache
_PAIR_COST = 32.0  # of an exact distance of a pair, measured, in units of `Metric.cost`
_ROUNDING = 2.0**-16  # two programs may round a floating distance differently, by less than this


class SketchedBlock(NamedTuple):
    """Queries, their sketches, and the groups (M,) and (N,) of queries and examples, or None."""

    queries: Any
    sketch: Any
    query_groups: Any
    groups: Any


class Pairs(NamedTuple):
    """Places of queries in the block, indices of training examples, and their distances, (P,)."""

    rows: np.ndarray
    columns: np.ndarray
    exact: np.ndarray


def search_pruned(
    model: KNN, queries: AnyArray, k: int, query_groups: Any, groups: Any
) -> Neighbors | None:
    """As `search_block`, with host arrays; None where bounds leave too many pairs for speed."""
    queries = jnp.asarray(queries)  # outside of the scope, so pixels stay in 32 bits
    with jax.enable_x64(True):
        sketch = apply(model.sketching, model.learned, queries)
        block = SketchedBlock(queries, sketch, query_groups, groups)
        found: list[Pairs] = []
        limit, start = np.full(queries.shape[0], np.inf), 0
        for part in model.sketch:
            lower, seen, limit = bounds_and_limit(model, block, part, start, k, limit)
            near = _near(lower, _float32_above(limit), model.metric.cost / _PAIR_COST)
            if near is None:
                return None
            pairs = _exact_pairs(model, block, part, start, near, seen, limit)
            found, limit = _first([*found, *seen, pairs], k, limit)
            start += lower.shape[1]
    return _as_neighbors(found[0], k, (queries.shape[0], model.X.shape[0]))


def pays(model: KNN, k: int) -> bool:
    """Whether the distances that set the limits take at most half the time of all distances."""
    return 2 * num_seen(k) * _PAIR_COST <= model.X.shape[0] * model.metric.cost


def num_seen(k: int) -> int:
    """The least of 32, 64, 128, ... that is at least 1.25 k."""
    return max(32, 1 << (k * 5 // 4 - 1).bit_length())


def bounds_and_limit(
    model: KNN, block: SketchedBlock, part: Any, start: int, k: int, limit: np.ndarray
) -> tuple[np.ndarray, list[Pairs], np.ndarray]:
    """Lower bounds (M, n) of the part from row `start` on, the pairs seen, and limits (M,).

    The bound of an excluded example is infinite.  An infinite limit becomes the k-th smallest
    distance among the examples with the least bounds, whose pairs are then seen.
    """
    count = num_seen(k) if np.isinf(limit).any() else 0
    lower, nearest = _bounds(
        model.sketching, model.learned, block, part, np.int32(start),
        np.int32(model.X.shape[0]), num_seen=count,
    )  # fmt: skip
    lower, nearest = np.asarray(lower), np.asarray(nearest)
    if not count:
        return lower, [], limit
    rows, ranks = np.nonzero(nearest < lower.shape[1])
    columns = nearest[rows, ranks] + start
    exact = np.full(nearest.shape, np.inf)
    seen = Pairs(rows, columns, _distances(model, block, rows, columns))
    exact[rows, ranks] = seen.exact
    return lower, [seen], np.minimum(limit, np.sort(exact, axis=1)[:, k - 1])


@partial(jax.jit, static_argnames=("sketching", "num_seen"))
def _bounds(
    sketching: Sketching, learned: Any, block: SketchedBlock, part: Any, start: Any,
    num_examples: Any, *, num_seen: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Lower bounds (M, n), and the places of the least of them, if any; n where excluded."""
    lower = sketching.lower(learned, block.sketch, part)
    indices = start + jnp.arange(lower.shape[1], dtype=jnp.int32)
    excluded = indices >= num_examples
    if block.groups is not None:
        groups = jnp.take(jnp.asarray(block.groups), indices, mode="clip")
        excluded = excluded | (jnp.asarray(block.query_groups)[:, None] == groups)
    lower = jnp.where(excluded, jnp.inf, lower)
    if not num_seen:
        return lower, jnp.zeros((lower.shape[0], 0), jnp.int32)
    lower = lax.optimization_barrier(lower)  # else XLA computes it once more for `smallest`
    return lower, smallest(lower, num_seen)[1]


def _near(
    lower: np.ndarray, limit: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows and columns of the bounds up to the limits (M,); None where they are over the share."""
    near = np.flatnonzero(lower <= limit[:, None])
    return None if len(near) > share * lower.size else np.divmod(near, lower.shape[1])


def _float32_above(limit: np.ndarray) -> np.ndarray:
    """A finite float32 that no lower bound of a distance up to the limit exceeds."""
    return np.minimum(limit * (1 + _ROUNDING), np.finfo(np.float32).max).astype(np.float32)


def _exact_pairs(
    model: KNN, block: SketchedBlock, part: Any, start: int, near: tuple[np.ndarray, np.ndarray],
    seen: list[Pairs], limit: np.ndarray,
) -> Pairs:  # fmt: skip
    """The pairs of a part up to the limit, among those near (places in the part), but the seen."""
    rows, columns = _by_column(*_without(near, seen, start))
    refine = model.sketching.refine
    if refine is not None:
        program = partial(_refined, refine, model.learned, block.sketch.fine, part.fine)
        close = of_pairs(program, rows, columns) <= _float32_above(limit)[rows]
        rows, columns = rows[close], columns[close]
    pairs = Pairs(rows, columns + start, _distances(model, block, rows, columns + start))
    return Pairs(*(part[pairs.exact <= limit[rows]] for part in pairs))


def _distances(
    model: KNN, block: SketchedBlock, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Distances of pairs, whose training rows are on the device or come from the host."""
    if model.points is not None:
        program = partial(_exact, model.metric, block.queries, model.points)
        return of_pairs(program, rows, columns)

    def from_host(rows: np.ndarray, columns: np.ndarray, count: np.int32) -> Array:
        X, places = placement.taken(model.X, columns), np.arange(len(columns), dtype=np.int32)
        return _exact_of_rows(model.metric, block.queries, X, rows, places, count)

    return of_pairs(from_host, rows, columns, _FROM_HOST)


@partial(jax.jit, static_argnames="metric")
def _exact(
    metric: Metric, queries: Array, points: Any, rows: Array, columns: Array, count: Any
) -> Num[Array, "P"]:
    """Distances of the first `count` of the pairs (queries[rows], points[columns])."""
    return _in_chunks(metric.pairs, metric.prepare(queries), points, rows, columns, count)


@partial(jax.jit, static_argnames="metric")
def _exact_of_rows(
    metric: Metric, queries: Array, X: Array, rows: Array, columns: Array, count: Any
) -> Num[Array, "P"]:
    """The same where the rows X are not prepared; what pairs do not need is not computed."""
    points = metric.prepare(widened(X, queries.dtype))
    return _exact(metric, queries, points, rows, columns, count)


@partial(jax.jit, static_argnames="refine")
def _refined(
    refine: Callable[..., Any], learned: Any, q: Any, x: Any, rows: Array, columns: Array,
    count: Any,
) -> Float[Array, "P"]:  # fmt: skip
    """Better lower bounds of the same pairs, from their fine sketches."""
    return _in_chunks(partial(refine, learned), q, x, rows, columns, count)


def _in_chunks(
    fn: Callable[..., Any], q: Any, x: Any, rows: Array, columns: Array, count: Any
) -> Array:
    """fn(q[rows], x[columns]) of the first `count` pairs, zeros after them."""
    size = _CACHED if jax.default_backend() == "cpu" else rows.shape[0]

    def of_chunk(start: Any) -> Array:
        of_q, of_x = (lax.dynamic_slice(places, (start,), (size,)) for places in (rows, columns))
        return fn(_take(q, of_q), _take(x, of_x))

    def body(i: Any, found: Array) -> Array:
        return lax.dynamic_update_slice(found, of_chunk(i * size), (i * size,))

    nothing = jnp.zeros(rows.shape, jax.eval_shape(of_chunk, 0).dtype)
    return lax.fori_loop(0, -(-count // size), body, nothing)


def _take(points: Any, places: Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[places], points)


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
    """The same pairs in order of example, so that the training data are read from front to back."""
    order = np.argsort(columns, kind="stable")
    return rows[order], columns[order]


def of_pairs(
    program: Callable[..., Any], rows: np.ndarray, columns: np.ndarray, size: int = _PAIRS
) -> np.ndarray:
    """What a program says of many pairs, in compiled calls of one shape."""
    parts = []
    for start in range(0, max(1, len(rows)), size):
        some = [part[start : start + size].astype(np.int32) for part in (rows, columns)]
        count = len(some[0])
        some = [np.pad(part, (0, size - count)) for part in some]
        parts.append(np.asarray(program(*some, np.int32(count)))[:count])
    return np.concatenate(parts)


def _first(found: list[Pairs], k: int, limit: np.ndarray) -> tuple[list[Pairs], np.ndarray]:
    """The k first of each row by (distance, column), and the limits (M,) that they set."""
    pairs = Pairs(*map(np.concatenate, zip(*found, strict=True)))
    order = np.lexsort((pairs.columns, pairs.exact, pairs.rows))
    pairs = Pairs(*(part[order] for part in pairs))
    rank = _rank(pairs.rows)
    limit, last = limit.copy(), rank == k - 1
    limit[pairs.rows[last]] = pairs.exact[last]
    return [Pairs(*(part[rank < k] for part in pairs))], limit


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
