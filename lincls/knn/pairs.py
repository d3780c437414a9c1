"""What compiled programs say of a list of pairs (query, training example), made on the host.

A compiled loop gathers the rows of as many pairs as stay in the cache and stops after the last.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

from lincls import placement
from lincls.distances import Metric
from lincls.knn.model import KNN
from lincls.knn.precision import widened

_PAIRS = 2**15  # in a compiled call, at most
_FROM_HOST = 2**11  # of them, where the rows come from the host
_CACHED = 64  # pairs whose rows stay in a core's cache


def exact_distances(
    model: KNN, queries: Array, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Distances of pairs, whose training rows are on the device or come from the host."""
    if model.points is not None:
        program = partial(_exact, model.metric, queries, model.points)
        return of_pairs(program, rows, columns)

    def from_host(rows: np.ndarray, columns: np.ndarray, count: np.int32) -> Array:
        X, places = placement.taken(model.X, columns), np.arange(len(columns), dtype=np.int32)
        return _exact_of_rows(model.metric, queries, X, rows, places, count)

    return of_pairs(from_host, rows, columns, _FROM_HOST)


def fine_bounds(model: KNN, q: Any, x: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Lower bounds of the distances of pairs of fine sketches."""
    assert model.sketching is not None
    program = partial(_refined, model.sketching.refine, model.learned, q, x)
    return of_pairs(program, rows, columns)


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
    """Lower bounds of the same pairs, from their fine sketches."""
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
