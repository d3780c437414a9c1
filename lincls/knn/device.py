"""The accelerator's search: a function of one query, vmapped over a block of queries.

Everything stays on the device: distances, order and the choice of the k first.  Under `vmap` the
products of one query become one matrix product.  Between pixels it is an int8 product summed in
int32 for L2 and one fused reduction for L1, so the answer has the bits of the CPU's routes.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from lincls import distances
from lincls.distances import Metric, Pixels
from lincls.knn.search import order_keys, search_with, smallest

_FEW = 16  # up to so many of a long row XLA chooses on a GPU without sorting the row
_LONG = 1024


def nearest_of_each(
    metric: Metric, queries: Array, points: Any, k: int, excluded: Any
) -> tuple[Float[Array, "M k"], Int[Array, "M k"], Any]:
    """As `search.nearest`, by a function of one query.

    Args:
        metric, points, k, excluded: as for `search.nearest`.
        queries: (M, D), a block that memory holds (M, N) distances of.
    """
    prepared = metric.prepare(queries)
    one = jax.tree.map(lambda leaf: leaf[0], prepared)
    dtype = jax.eval_shape(partial(to_all, metric), one, points).dtype
    of_one = partial(_nearest, metric, points, k)
    if excluded is None or excluded.ndim == 1:
        return *jax.vmap(lambda query: of_one(query, excluded))(prepared), dtype
    return *jax.vmap(of_one)(prepared, excluded), dtype


def _nearest(metric: Metric, points: Any, k: int, query: Any, excluded: Any) -> tuple[Array, Array]:
    """Keys and places of the k nearest points of one query, by (distance, place)."""
    keys = order_keys(to_all(metric, query, points))
    if excluded is not None:
        keys = jnp.where(excluded, jnp.inf, keys)
    if k <= _FEW and len(keys) >= _LONG:
        negated, places = lax.top_k(-keys, k)  # of equal keys the one further left comes first
        return -negated, jnp.where(jnp.isinf(negated), len(keys), places).astype(jnp.int32)
    return tuple(part[0] for part in smallest(keys[None], k))  # type: ignore[return-value]


def to_all(metric: Metric, query: Any, points: Any) -> Num[Array, "N"]:
    """The distances of one prepared query, without its leading axis, from all prepared points."""
    query = jax.tree.map(lambda leaf: leaf[None], query)
    if isinstance(points, Pixels):
        of_query, of_points = (distances.signed(part.rows) for part in (query, points))
        products = distances.dot(of_query, of_points, points.square_norms.dtype)[0]
        return query.square_norms + points.square_norms - 2 * products
    if metric == distances.l1 and points.dtype == jnp.uint8:
        gap = jnp.maximum(query, points) - jnp.minimum(query, points)
        return jnp.sum(gap, axis=1, dtype=distances.integer_dtype(points))
    if metric in (distances.l1, distances.l2):
        return metric.pairs(query, points)
    return metric.pairwise(query, points)[0]


search_on_device = partial(search_with, nearest_of_each)

compiled_search_on_device = jax.jit(search_on_device, static_argnames="k")
