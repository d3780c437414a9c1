"""The search over training data on a mesh: each device searches its rows, the answers are merged.

No device gets rows of another.  What travels is a block of queries, and k candidates of every
device.  They are merged in the total order (distance, index), so the answer is that of one device:
to the bit between pixels, and up to rounding between floats.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Int, Num

from lincls import checks, distances, placement
from lincls.knn.device import nearest_of_each
from lincls.knn.model import KNN
from lincls.knn.search import from_keys, like_training, nearest
from lincls.structs import AnyArray, Neighbors, Sharded

_ROWS, _WHOLE = PartitionSpec(placement.ROWS), PartitionSpec()


def search_shards(
    model: KNN,
    queries: Num[AnyArray, "M D"],
    k: int,
    *,
    query_groups: Int[AnyArray, "M"] | None = None,
    groups: Sharded | None = None,
) -> Neighbors:
    """As `search_block`, for a model whose rows lie on a mesh: pure, the same on all devices.

    Args:
        model: made by `fit` from rows of `placement.shard`.
        queries: (M, D), the same on all devices.
        k: number of neighbours.
        query_groups, groups: (M,), and (N,) laid out as the rows are; an example of a query's
            own group is no candidate.

    Raises:
        TypeError: a model whose rows lie elsewhere, queries of another kind.
        ValueError: queries of another width, k less than 1.
    """
    checks.kind(model, KNN, "model", "knn.fit(*placement.shard(mesh, X, y))")
    checks.kind(model.X, Sharded, "model.X", "placement.shard(mesh, X)[0]")
    queries = like_training(model, checks.as_array(queries, "queries"))
    k = checks.count(k, "k")
    of_device = partial(_search_device, model.metric, model.X.num_rows, k)
    of_rows = None if groups is None else groups.array
    specs = (_ROWS, _WHOLE, _WHOLE, _WHOLE if groups is None else _ROWS)
    with distances.exact_scope(model.X):
        search = placement.over_devices(model.X.mesh, of_device, specs)
        return search(model.points, jnp.asarray(queries, model.X.dtype), query_groups, of_rows)


compiled_search_shards = jax.jit(search_shards, static_argnames="k")


def _search_device(
    metric: distances.Metric, num_rows: int, k: int, points: Any, queries: Array,
    query_groups: Any, groups: Any,
) -> Neighbors:  # fmt: skip
    """The k nearest of all devices, from the k nearest of this device's rows."""
    rows_here = jax.tree.leaves(points)[0].shape[0]
    start = lax.axis_index(placement.ROWS) * rows_here
    excluded = start + jnp.arange(rows_here, dtype=jnp.int32) >= num_rows  # the filling
    if groups is not None:
        excluded = excluded | (query_groups[:, None] == groups)
    find = nearest if jax.default_backend() == "cpu" else nearest_of_each
    keys, places, dtype = find(metric, queries, points, k, excluded)
    indices = jnp.where(places < rows_here, places + start, num_rows)
    candidates = lax.all_gather((keys, indices), placement.ROWS, axis=1, tiled=True)
    keys, indices = (part[:, :k] for part in lax.sort(candidates, dimension=1, num_keys=2))
    return Neighbors(from_keys(keys, dtype), indices)


def labels_at(y: Sharded, indices: Int[AnyArray, "M K"]) -> Int[np.ndarray, "M K"]:
    """Labels of training examples on a mesh, -1 in empty places."""
    indices = np.asarray(indices)
    found = placement.rows_at(y, indices.ravel()).reshape(indices.shape)
    return np.where(indices < y.num_rows, found, np.int32(-1))
