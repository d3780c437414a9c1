"""L2 between floating rows on a CPU: one product chooses, differences decide.

|a - b|^2 = |a|^2 + |b|^2 - 2 a . b makes all distances of a block by one matrix product, many
times as fast as differences.  Near a centre c of the data its rounding is bounded:

    |a - b|^2 >= (1 - s) (|a - c|^2 + |b - c|^2) - 2 (a - c) . (b - c),    s = `_slack`.

A few more than k points of the least bounds get their distances by differences.  Where the next
bound is beyond the k-th of them, these are the neighbours.  Other queries are compared with all
points by differences: those near many copies of one point, or far from the centre.  So the answer
is that of `search.nearest` up to rounding.
"""

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lincls import distances
from lincls.distances import Metric
from lincls.knn.search import nearest, order_keys, search_with, smallest

_WIDTH = 512  # features in a product; longer sums round more
_TILE = 2**20  # numbers of the points that are centred at a time
_CENTRE = 1024  # points whose mean is the centre, at least
_AT_ONCE = 16  # queries whose first points are gathered


class Block(NamedTuple):
    """Queries (M, D), points (n, D), and what is excluded, bool (n,) or (M, n), or None."""

    queries: Array
    points: Array
    excluded: Any


class First(NamedTuple):
    """The k first of each query, and whether they are certain to be the nearest."""

    keys: Float[Array, "M k"]
    indices: Int[Array, "M k"]
    certain: Bool[Array, "M"]


def serves(metric: Metric, points: Any, k: int) -> bool:
    """Whether a product chooses among these points: L2 between floats, enough of them."""
    floating = not isinstance(points, distances.Pixels)
    return metric == distances.l2 and floating and 4 * k <= points.shape[0]


def num_chosen(k: int) -> int:
    """Points of which distances are computed: half as many again as are asked for."""
    return k + max(6, k // 2)


def nearest_by_product(
    metric: Metric, queries: Array, points: Any, k: int, excluded: Any
) -> tuple[Float[Array, "M k"], Int[Array, "M k"], Any]:
    """As `search.nearest` for L2 between floats."""
    block = Block(metric.prepare(queries), points, excluded)
    first = _searched_again(metric, block, _first(metric, block, k))
    return first.keys, first.indices, first.keys.dtype


def _first(metric: Metric, block: Block, k: int) -> First:
    """The k nearest among the points of the least bounds."""
    num_points = len(block.points)
    bounds, offsets = _bounds(block)
    if block.excluded is not None:
        bounds = jnp.where(block.excluded, jnp.inf, bounds)
    least, chosen = smallest(bounds, min(num_chosen(k), num_points))
    keys = jnp.where(chosen < num_points, order_keys(_distances(metric, block, chosen)), jnp.inf)
    keys, indices = lax.sort((keys, chosen), dimension=1, num_keys=2)
    # Differences are summed over all D features: off by at most (D + 2) eps / 2, here and there.
    rounding = (block.points.shape[1] + 2) * float(jnp.finfo(keys.dtype).eps)
    beyond = least[:, -1] + offsets > keys[:, k - 1] * (1 + rounding)
    certain = (beyond & jnp.isfinite(offsets)) | jnp.isinf(least[:, -1])
    return First(keys[:, :k], indices[:, :k], certain)


def _bounds(block: Block) -> tuple[Float[Array, "M n"], Float[Array, "M"]]:
    """Two parts, whose sum bounds the distance of each pair from below."""
    queries, points, _ = block
    centre = jnp.mean(points[:: max(1, len(points) // _CENTRE)], axis=0, keepdims=True)
    queries = queries - centre
    share, size = 1 - _slack(points), min(len(points), max(1, _TILE // points.shape[1]))

    def of_some(start: Any) -> Array:
        some = lax.dynamic_slice_in_dim(points, start, size) - centre
        lengths = _square_lengths(some)[None]
        # Finite, so that only the excluded are infinite; where a query overflows it is not certain.
        return jnp.nan_to_num(share * lengths - 2 * _dot(queries, some))

    empty = jnp.zeros((len(queries), len(points)), points.dtype)
    # Products that round to zero lose less than this.
    tiny = 8 * points.shape[1] * float(jnp.finfo(points.dtype).tiny)
    offsets = share * _square_lengths(queries) - tiny
    return distances.filled(empty, size, of_some), offsets


def _dot(a: Array, b: Array) -> Array:
    """Products of rows (M, D) with rows (N, D)."""
    pairs = zip(_few_features(a), _few_features(b), strict=True)
    products = [jnp.matmul(x, y.T, precision=lax.Precision.HIGHEST) for x, y in pairs]
    return reduce(jnp.add, products)


def _square_lengths(rows: Array) -> Array:
    sums = [jnp.sum(jnp.square(some), axis=1) for some in _few_features(rows)]
    return reduce(jnp.add, sums)


def _few_features(rows: Array) -> list[Array]:
    """Rows in parts, because longer sums round more."""
    return [rows[:, start : start + _WIDTH] for start in range(0, rows.shape[1], _WIDTH)]


def _slack(points: Array) -> float:
    """More than what rounding moves a bound by, as a share of both squared lengths.

    A sum of d products is off by at most d u of the sum of their sizes, in any order, with u half
    of eps; there are min(D, 512) in a product, and D / 512 products.  Subtracting the centre
    moves a point by u of its length, and the bound is a sum of three terms.
    """
    num_features = points.shape[1]
    terms = min(num_features, _WIDTH) + num_features // _WIDTH + 16
    return 2 * terms * float(jnp.finfo(points.dtype).eps)


def _distances(metric: Metric, block: Block, chosen: Int[Array, "M K"]) -> Float[Array, "M K"]:
    """Distances of each query from its chosen points."""

    def of_one(one: tuple[Array, Array]) -> Array:
        query, places = one
        return metric.pairs(query[None], block.points.at[places].get(mode="clip"))

    return lax.map(of_one, (block.queries, chosen), batch_size=_AT_ONCE)


def _searched_again(metric: Metric, block: Block, first: First) -> First:
    """The same, where what is not certain comes from all distances, query after query."""
    places = jnp.argsort(first.certain, stable=True)  # the uncertain ones first

    def body(i: Any, found: First) -> First:
        place = places[i]
        excluded = block.excluded
        if excluded is not None and excluded.ndim == 2:
            excluded = lax.dynamic_slice_in_dim(excluded, place, 1)
        query = lax.dynamic_slice_in_dim(block.queries, place, 1)
        keys, indices, _ = nearest(metric, query, block.points, found.keys.shape[1], excluded)
        return found._replace(
            keys=lax.dynamic_update_slice_in_dim(found.keys, keys, place, axis=0),
            indices=lax.dynamic_update_slice_in_dim(found.indices, indices, place, axis=0),
        )

    return lax.fori_loop(0, jnp.sum(~first.certain), body, first)


search_by_product = partial(search_with, nearest_by_product)

compiled_search_by_product = jax.jit(search_by_product, static_argnames="k")
