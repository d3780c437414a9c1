"""Neighbours of a block of queries from the few training examples that a bound leaves.

1. Lower bounds of all distances, by sketches.
2. Exact distances of the training examples with the least bounds; the k-th smallest of them,
   the limit, is no smaller than the k-th smallest of all.
3. Every example whose bound does not exceed the limit is a candidate, and every neighbour is
   one: its distance is at most the limit, and its bound at most its distance.
4. Exact distances of all candidates, and the k smallest by (distance, index).

Steps 2 and 4 work on lists of pairs (query, example), made on the host; a compiled loop gathers
the rows of as many pairs as stay in the cache and stops after the last.  The steps are programs
of their own, because XLA otherwise fuses one into another's inner loop.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

from lincls.distances import Metric
from lincls.knn.model import KNN
from lincls.knn.search import compiled_search_block, smallest
from lincls.structs import AnyArray, Neighbors

_PAIRS = 2**15  # distances in a compiled call, at most
_CACHED = 512  # pairs whose rows stay in a core's cache
_PAIR_COST = 24.0  # of an exact distance of a pair, measured, in units of `Metric.cost`
_ROUNDING = 2.0**-16  # two programs may round a floating distance differently, by less than this


def search_pruned(
    model: KNN, queries: AnyArray, k: int, query_groups: Any, groups: Any
) -> Neighbors:
    """As `search_block`, with host arrays; where bounds leave too many pairs, it is that."""
    queries = jnp.asarray(queries)  # outside of the scope, so in the model's precision
    with jax.enable_x64(True):
        sketch = _sketch(model, queries)
        lower, limit = bounds_and_limit(model, queries, sketch, k, query_groups, groups)
        places = np.flatnonzero(lower <= limit[:, None])
        if len(places) > lower.size * model.metric.cost / _PAIR_COST:
            whole = {"query_groups": query_groups, "groups": groups}
            return compiled_search_block(model, queries, num_seen(k), **whole)
        rows, columns = by_column(*np.divmod(places, lower.shape[1]))
        rows, columns = _still_near(model, sketch, rows, columns, limit)
        exact = of_pairs(partial(_exact, model.metric, queries, model.points), rows, columns)
    near = exact <= limit[rows]
    return _first(rows[near], columns[near], exact[near], k, lower.shape)


def num_seen(k: int) -> int:
    """The least of 32, 64, 128, ... that is at least 1.25 k."""
    return max(32, 1 << (k * 5 // 4 - 1).bit_length())


def bounds_and_limit(
    model: KNN, queries: AnyArray, sketch: Any, k: int, query_groups: Any, groups: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Lower bounds (M, N), infinite where excluded, and the finite limits (M,), on the host."""
    lower, nearest = _bounds(model, sketch, num_seen(k), query_groups=query_groups, groups=groups)
    lower, nearest = np.asarray(lower), np.asarray(nearest)
    rows, ranks = np.nonzero(nearest < lower.shape[1])
    program = partial(_exact, model.metric, queries, model.points)
    exact = of_pairs(program, rows, nearest[rows, ranks])
    seen = np.full(nearest.shape, np.inf)
    seen[rows, ranks] = exact
    limit = np.sort(seen, axis=1)[:, k - 1] * (1 + _ROUNDING)
    return lower, np.minimum(limit, np.finfo(np.float32).max).astype(np.float32)


@jax.jit
def _sketch(model: KNN, queries: Array) -> Any:
    return model.sketching.apply(model.learned, queries)


@partial(jax.jit, static_argnames="num_seen")
def _bounds(
    model: KNN, sketch: Any, num_seen: int, *, query_groups: Any, groups: Any
) -> tuple[Array, Array]:
    """Lower bounds (M, N), and the examples with the least of them in each row; N if none."""
    lower = model.sketching.lower(model.learned, sketch, model.sketch)
    if groups is not None:
        lower = jnp.where(query_groups[:, None] == groups, jnp.inf, lower)
    lower = lax.optimization_barrier(lower)  # else XLA computes it once more for `smallest`
    return lower, smallest(lower, num_seen)[1]


@partial(jax.jit, static_argnames="metric")
def _exact(
    metric: Metric, queries: Array, points: Any, rows: Array, columns: Array, count: Any
) -> Num[Array, "P"]:
    """Distances of the first `count` of the pairs (queries[rows], points[columns])."""
    return _in_chunks(metric.pairs, metric.prepare(queries), points, rows, columns, count)


def _still_near(
    model: KNN, sketch: Any, rows: np.ndarray, columns: np.ndarray, limit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that a better bound leaves, where the sketching has one."""
    refine = model.sketching.refine
    if refine is None:
        return rows, columns
    program = partial(_refined, refine, model.learned, sketch.fine, model.sketch.fine)
    near = of_pairs(program, rows, columns) <= limit[rows]
    return rows[near], columns[near]


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
    size = _CACHED if jax.default_backend() == "cpu" else _PAIRS

    def of_chunk(start: Any) -> Array:
        of_q, of_x = (lax.dynamic_slice(places, (start,), (size,)) for places in (rows, columns))
        return fn(_take(q, of_q), _take(x, of_x))

    def body(i: Any, found: Array) -> Array:
        return lax.dynamic_update_slice(found, of_chunk(i * size), (i * size,))

    nothing = jnp.zeros(rows.shape, jax.eval_shape(of_chunk, 0).dtype)
    return lax.fori_loop(0, -(-count // size), body, nothing)


def _take(points: Any, places: Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[places], points)


def by_column(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same pairs in order of example, so that the training data are read from front to back."""
    order = np.argsort(columns, kind="stable")
    return rows[order], columns[order]


def of_pairs(program: Callable[..., Any], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What a program says of many pairs, in compiled calls of one shape."""
    parts = []
    for start in range(0, max(1, len(rows)), _PAIRS):
        some = [part[start : start + _PAIRS].astype(np.int32) for part in (rows, columns)]
        count = len(some[0])
        some = [np.pad(part, (0, _PAIRS - count)) for part in some]
        parts.append(np.asarray(program(*some, np.int32(count)))[:count])
    return np.concatenate(parts)


def _first(
    rows: np.ndarray, columns: np.ndarray, exact: np.ndarray, k: int, shape: tuple[int, ...]
) -> Neighbors:
    """The k first of each row by (distance, column); empty places as in `Neighbors`."""
    order = np.lexsort((columns, exact, rows))
    rows, columns, exact = rows[order], columns[order], exact[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    chosen = rank < k
    info = np.iinfo if np.issubdtype(exact.dtype, np.integer) else np.finfo
    found = np.full((shape[0], k), info(exact.dtype).max, exact.dtype)
    indices = np.full((shape[0], k), shape[1], np.int32)
    found[rows[chosen], rank[chosen]] = exact[chosen]
    indices[rows[chosen], rank[chosen]] = columns[chosen]
    return Neighbors(found, indices)
