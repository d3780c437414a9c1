"""The one neighbour search: all distances of a block of queries, and the k smallest of each."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from lincls import distances
from lincls.knn.model import KNN
from lincls.structs import AnyArray, Neighbors

_GROUP = 64  # training points that share a minimum in `smallest`


def search_block(
    model: KNN,
    queries: Num[AnyArray, "M D"],
    k: int,
    *,
    query_groups: Int[AnyArray, "M"] | None = None,
    groups: Int[AnyArray, "N"] | None = None,
) -> Neighbors:
    """The k nearest training examples of each query: pure, and the one neighbour search.

    Holds (M, N) distances, so M is a block of the queries; `neighbors` chooses it.  A training
    example of a query's own group is no candidate.  Where candidates are fewer than k, the last
    places are empty: the largest distance of the dtype, and index N.
    """
    block = model.metric.pairwise(model.metric.prepare(jnp.asarray(queries)), model.points)
    keys = distances.order_keys(block)
    if groups is not None and query_groups is not None:
        same = jnp.asarray(query_groups)[:, None] == jnp.asarray(groups)
        keys = jnp.where(same, jnp.inf, keys)
    keys, indices = smallest(keys, k)
    return Neighbors(distances.from_keys(keys, block.dtype), indices)


compiled_search_block = jax.jit(search_block, static_argnames="k")


def smallest(keys: Float[Array, "M N"], k: int) -> tuple[Float[Array, "M k"], Int[Array, "M k"]]:
    """The k smallest keys of each row and their columns, by (key, column).

    A minimum over every group of 64 neighbouring columns comes first.  The k smallest lie in the
    k groups that come first by (minimum, group): any other group has k groups before it, and
    each holds an element that precedes all of its own.  Infinite keys get column N.
    """
    num_columns = keys.shape[1]
    if num_columns <= _GROUP * k:
        return _padded(*_top_k(keys, min(k, num_columns)), k, num_columns)
    num_groups = -(-num_columns // _GROUP)
    whole = num_columns // _GROUP * _GROUP
    minima = keys[:, :whole].reshape(keys.shape[0], -1, _GROUP).min(axis=2)
    if whole < num_columns:
        minima = jnp.concatenate([minima, keys[:, whole:].min(axis=1, keepdims=True)], axis=1)
    _, chosen = _top_k(minima, min(k, num_groups))
    columns = jnp.sort(chosen, axis=1)[:, :, None] * _GROUP + jnp.arange(_GROUP, dtype=jnp.int32)
    columns = columns.reshape(keys.shape[0], -1)
    candidates = jnp.take_along_axis(keys, columns, axis=1, mode="fill", fill_value=jnp.inf)
    smallest, places = _top_k(candidates, k)
    return _padded(smallest, jnp.take_along_axis(columns, places, axis=1), k, num_columns)


def _top_k(keys: Array, k: int) -> tuple[Array, Array]:
    """The k smallest and their places; of equal keys the one further left comes first."""
    negated, places = lax.top_k(-keys, k)
    return -negated, places


def _padded(keys: Array, columns: Array, k: int, empty: int) -> tuple[Array, Array]:
    missing = ((0, 0), (0, k - keys.shape[1]))
    keys = jnp.pad(keys, missing, constant_values=jnp.inf)
    columns = jnp.pad(columns, missing, constant_values=empty)
    return keys, jnp.where(jnp.isinf(keys), empty, columns).astype(jnp.int32)


def merge(a: Neighbors, b: Neighbors, k: int) -> Neighbors:
    """The k nearest of two answers for the same queries, with indices into one training set.

    Associative and commutative, by the total order (distance, index).  An answer from a shard
    whose rows begin at `start` has `indices + start`, and its empty places index N of the whole.
    """
    both = [jnp.concatenate(pair, axis=1) for pair in zip(a, b, strict=True)]
    merged = lax.sort(both, dimension=1, num_keys=2)
    return Neighbors(*(part[:, :k] for part in merged))
