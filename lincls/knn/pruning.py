"""Neighbours of a block of queries from the few training examples that a bound leaves.

1. Lower bounds of all distances, by sketches.
2. Exact distances of the training examples with the least bounds; the k-th smallest of them,
   the limit, is no smaller than the k-th smallest of all.
3. Every example whose bound does not exceed the limit is a candidate, and every neighbour is
   one: its distance is at most the limit, and its bound at most its distance.
4. Exact distances of all candidates, and the k smallest by (distance, index).

Step 4 works on a list of pairs (query, candidate), compacted on the host.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Num

from lincls.knn.model import KNN
from lincls.knn.search import compiled_search_block, smallest
from lincls.structs import AnyArray, Neighbors

_PAIRS = 2048  # distances in a compiled call
_PAIR_COST = 64.0  # of an exact distance of a pair, in units of `Metric.cost`


def search_pruned(
    model: KNN, queries: AnyArray, k: int, query_groups: Any, groups: Any
) -> Neighbors:
    """As `search_block`, with host arrays; where bounds leave too many pairs, it is that."""
    with jax.enable_x64(True):
        bucket = seen_bucket(k)
        mask, limit = _candidates(
            model, queries, np.int32(k), bucket, query_groups=query_groups, groups=groups
        )
        mask = np.asarray(mask)
        places = np.flatnonzero(mask)
        if len(places) > mask.size * model.metric.cost / _PAIR_COST:
            return compiled_search_block(
                model, queries, bucket, query_groups=query_groups, groups=groups
            )
        rows, columns = np.divmod(places, mask.shape[1])
        exact = _of_pairs(model, queries, rows, columns)
    near = exact <= np.asarray(limit)[rows]
    return _first(rows[near], columns[near], exact[near], k, mask.shape)


def seen_bucket(k: int) -> int:
    """The least of 32, 64, 128, ... that is at least 1.5 k."""
    return max(32, 1 << (k * 3 // 2 - 1).bit_length())


@partial(jax.jit, static_argnames="num_seen")
def _candidates(
    model: KNN, queries: Array, k: Array, num_seen: int, *, query_groups: Any, groups: Any
) -> tuple[Array, Array]:
    """Which training examples may be among the k nearest (M, N), and the limit (M,) of each."""
    q = model.sketching.apply(model.learned, queries)
    lower = model.sketching.lower(model.learned, q, model.sketch)
    lower = jnp.where(jnp.isnan(lower), 0, lower)  # NaN: an overflow, of which nothing is known
    if groups is not None:
        lower = jnp.where(query_groups[:, None] == groups, jnp.inf, lower)
    lower = lax.optimization_barrier(lower)
    num_seen = min(num_seen, lower.shape[1])
    _, nearest = smallest(lower, num_seen)
    rows = jnp.repeat(jnp.arange(nearest.shape[0], dtype=jnp.int32), num_seen)
    exact = _distances(model, queries, rows, nearest.reshape(-1)).reshape(nearest.shape)
    largest = _largest(exact.dtype)
    exact = jnp.sort(jnp.where(nearest == lower.shape[1], largest, exact), axis=1)
    limit = _above(jnp.take(exact, k - 1, axis=1))
    return (lower <= limit[:, None]) & (lower < jnp.inf), limit


def _largest(dtype: Any) -> Any:
    return jnp.iinfo(dtype).max if jnp.issubdtype(dtype, jnp.integer) else jnp.finfo(dtype).max


def _above(distances: Array) -> Array:
    """float32 just above the distances: two programs may round a floating one differently."""
    return distances.astype(jnp.float32) * (1 + 2.0**-16)


def _take(points: Any, places: Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[places], points)


def _distances(model: KNN, queries: Array, rows: Array, columns: Array) -> Num[Array, "P"]:
    """Exact distances of the pairs (queries[rows], X[columns])."""
    q = model.metric.prepare(queries)
    return model.metric.pairs(_take(q, rows), _take(model.points, columns))


_compiled_distances = jax.jit(_distances)


def _of_pairs(model: KNN, queries: AnyArray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Exact distances of many pairs, in compiled calls of one shape."""
    count = len(rows)
    padding = (0, _PAIRS - count % _PAIRS)
    rows, columns = (np.pad(part.astype(np.int32), padding) for part in (rows, columns))
    parts = [
        _compiled_distances(model, queries, rows[s : s + _PAIRS], columns[s : s + _PAIRS])
        for s in range(0, len(rows), _PAIRS)
    ]
    return np.concatenate([np.asarray(part) for part in parts])[:count]


def _first(
    rows: np.ndarray, columns: np.ndarray, exact: np.ndarray, k: int, shape: tuple[int, ...]
) -> Neighbors:
    """The k first of each row by (distance, column); empty places as in `Neighbors`."""
    order = np.lexsort((columns, exact, rows))
    rows, columns, exact = rows[order], columns[order], exact[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    chosen = rank < k
    found = np.full((shape[0], k), _largest(exact.dtype), exact.dtype)
    indices = np.full((shape[0], k), shape[1], np.int32)
    found[rows[chosen], rank[chosen]] = exact[chosen]
    indices[rows[chosen], rank[chosen]] = columns[chosen]
    return Neighbors(found, indices)
