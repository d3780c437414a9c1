"""The one neighbour search: all distances of a block of queries, and the k smallest of each."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Num

from lincls import checks, distances
from lincls.knn.model import KNN
from lincls.knn.precision import widened
from lincls.structs import AnyArray, Neighbors, Sharded

_GROUP = 16  # training points that share a minimum in `smallest`: those of a line of the cache
_FEW = 32  # times k; so many columns are sorted at once


def order_keys(distances: Num[AnyArray, "..."]) -> Float[Array, "..."]:
    """Floating keys in the order of the distances, because `top_k` of floats is far faster.

    A floating distance is its own key.  An int32 distance d in 0..2**31 - 2**24 - 1 becomes the
    float whose bits are d + 2**23: positive floats are ordered as their bits are, the shift keeps
    clear of the denormals, which XLA flushes to zero, and the limit of the bits of infinity
    (2**31 - 2**23).  An int64 distance below 2**53 is exact as a float64.
    """
    if distances.dtype == jnp.int32:
        return lax.bitcast_convert_type(distances + (1 << 23), jnp.float32)
    if distances.dtype == jnp.int64:
        return jnp.asarray(distances, jnp.float64)
    # An overflow to infinity must stay before the empty places, whose key is infinity.
    distances = jnp.asarray(distances)
    keys = jnp.minimum(distances, jnp.finfo(distances.dtype).max)
    return jnp.where(jnp.isnan(keys), -jnp.inf, keys)  # so that a NaN is found, not passed over


def from_keys(keys: Float[Array, "..."], dtype: Any) -> Num[Array, "..."]:
    """The distances of finite keys; the largest distance of `dtype` where a key is infinite."""
    if not jnp.issubdtype(dtype, jnp.integer):
        return jnp.where(keys == -jnp.inf, jnp.nan, jnp.minimum(keys, jnp.finfo(dtype).max))
    if dtype == jnp.int32:
        distances = lax.bitcast_convert_type(keys, jnp.int32) - (1 << 23)
    else:
        distances = jnp.where(jnp.isinf(keys), 0, keys).astype(dtype)
    return jnp.where(jnp.isinf(keys), jnp.iinfo(dtype).max, distances)


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
    places are empty: the largest distance of the dtype, and index N.  A distance that is NaN
    stands first, with index N.

    Raises:
        TypeError: queries that are not of the kind of the training data.
        ValueError: a model whose rows stay on the host.
    """
    return search_with(nearest, model, queries, k, query_groups=query_groups, groups=groups)


def search_with(
    nearest_fn: Callable[..., Any], model: KNN, queries: Any, k: int, *, query_groups: Any = None,
    groups: Any = None,
) -> Neighbors:  # fmt: skip
    """`search_block` by `nearest`, or by another function of its arguments."""
    checks.kind(model, KNN, "model", "knn.fit(X)")
    if isinstance(model.X, Sharded):
        raise ValueError("the rows of the model lie on a mesh; use knn.search_shards")
    k, queries = checks.count(k, "k"), like_training(model, checks.as_array(queries, "queries"))
    with distances.exact_scope(model.X):
        queries = jnp.asarray(widened(queries, model.X.dtype))
        excluded = None
        if groups is not None and query_groups is not None:
            excluded = jnp.asarray(query_groups)[:, None] == jnp.asarray(groups)[None]
        keys, indices, dtype = nearest_fn(model.metric, queries, model.points, k, excluded)
        return Neighbors(from_keys(keys, dtype), indices)


def nearest(
    metric: distances.Metric, queries: Array, points: Any, k: int, excluded: Any
) -> tuple[Float[Array, "M k"], Int[Array, "M k"], Any]:
    """Keys and places of the k nearest points that are not excluded, and the distances' dtype.

    Args:
        metric, queries, k: as for `search_block`.
        points: what the metric prepared of n rows.
        excluded: bool, (n,) or (M, n), or None.
    """
    block = metric.pairwise(metric.prepare(queries), points)
    keys = order_keys(block)
    if excluded is not None:
        keys = jnp.where(excluded, jnp.inf, keys)
    return *smallest(keys, k), block.dtype


def like_training(model: KNN, queries: AnyArray) -> AnyArray:
    """Return queries of the kind and width of the training data (TypeError, ValueError)."""
    if model.points is None:
        raise ValueError("the rows of the model stay on the host; use knn.neighbors")
    if queries.ndim != 2 or queries.shape[1] != model.X.shape[1]:
        raise ValueError(
            f"queries must have shape (M, {model.X.shape[1]}), got {queries.shape}; use "
            "knn.neighbors for images"
        )
    floating = jnp.issubdtype(queries.dtype, jnp.floating) and queries.dtype.itemsize <= 8
    if queries.dtype != jnp.uint8 and not floating:
        raise TypeError(f"queries must be uint8 or floating, got {queries.dtype}")
    if (queries.dtype == jnp.uint8) != (model.X.dtype == jnp.uint8):
        raise TypeError(f"queries are {queries.dtype} and the training data {model.X.dtype}")
    if queries.dtype == np.float64 and model.X.dtype != np.float64:
        raise TypeError(
            f"queries are float64 and the training data {model.X.dtype}; use knn.neighbors, or "
            f"queries.astype(np.float32)"
        )
    return queries


compiled_search_block = jax.jit(search_block, static_argnames="k")


def smallest(keys: Float[Array, "M N"], k: int) -> tuple[Float[Array, "M k"], Int[Array, "M k"]]:
    """The k smallest keys of each row and their columns, by (key, column).

    A minimum over every group of 16 neighbouring columns comes first.  The k smallest lie in the
    k groups that come first by (minimum, group): any other group has k groups before it, and
    each holds an element that precedes all of its own.  Infinite keys get column N.
    """
    num_columns = keys.shape[1]
    if num_columns <= _FEW * k:
        return _padded(*_top_k(keys, min(k, num_columns)), k, num_columns)
    whole = num_columns // _GROUP * _GROUP
    minima = keys[:, :whole].reshape(keys.shape[0], -1, _GROUP).min(axis=2)
    if whole < num_columns:
        minima = jnp.concatenate([minima, keys[:, whole:].min(axis=1, keepdims=True)], axis=1)
    _, chosen = smallest(minima, k)
    columns = jnp.sort(chosen, axis=1)[:, :, None] * _GROUP + jnp.arange(_GROUP, dtype=jnp.int32)
    columns = columns.reshape(keys.shape[0], -1)
    candidates = jnp.take_along_axis(keys, columns, axis=1, mode="fill", fill_value=jnp.inf)
    least, places = _top_k(candidates, k)
    return _padded(least, jnp.take_along_axis(columns, places, axis=1), k, num_columns)


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

    Args:
        a, b: (M, K) each, of one metric; K may differ.
        k: places of the result, at least 1.

    Raises:
        TypeError: integer distances and floating ones.
        ValueError: other shapes, k less than 1.
    """
    checks.count(k, "k")
    a, b = (checked_neighbors(part, name) for part, name in ((a, "a"), (b, "b")))
    kinds = [jnp.issubdtype(part.distances.dtype, jnp.floating) for part in (a, b)]
    if kinds[0] != kinds[1] or len(a.indices) != len(b.indices):
        raise TypeError(
            f"a and b must be answers of one metric for the same queries, got {a.distances.dtype}"
            f"{a.distances.shape} and {b.distances.dtype}{b.distances.shape}"
        )
    with distances.exact_scope(a.distances, b.distances):
        dtype = max(a.distances.dtype, b.distances.dtype, key=lambda dtype: dtype.itemsize)
        dtypes = Neighbors(dtype, jnp.int32)
        both = [
            jnp.concatenate([jnp.asarray(part).astype(dtype) for part in pair], axis=1)
            for *pair, dtype in zip(a, b, dtypes, strict=True)
        ]
        merged = lax.sort(both, dimension=1, num_keys=2)
        return Neighbors(*(part[:, :k] for part in merged))


def checked_neighbors(found: Any, name: str = "found") -> Neighbors:
    """Return neighbours as arrays (M, K) of one shape, with integer indices.

    Raises:
        TypeError: no Neighbors, or indices that are not integers.
        ValueError: other shapes.
    """
    checks.kind(found, Neighbors, name, "knn.neighbors(model, queries, k)")
    found = Neighbors(*(checks.as_array(part, name) for part in found))
    if found.distances.ndim != 2 or found.distances.shape != found.indices.shape:
        shapes = f"{found.distances.shape} and {found.indices.shape}"
        raise ValueError(f"{name} must hold (M, K) each, got {shapes}")
    if not jnp.issubdtype(found.indices.dtype, jnp.integer):
        raise TypeError(f"{name}.indices must be integers, got {found.indices.dtype}")
    return found
