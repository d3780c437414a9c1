"""The forecast of a neighbour search: its program at full size, and timed on few rows."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from lincls import checks, distances, knn, placement
from lincls.distances import Metric
from lincls.forecast import layout as layouts
from lincls.forecast.layout import Layout, Rows
from lincls.forecast.told import Forecast, size
from lincls.knn import directions, driver, feature_groups, sketches, threads
from lincls.knn.model import sketching_of
from lincls.knn.routes import Route, route, unpruned
from lincls.knn.search import compiled_search_block
from lincls.structs import Sharded

_MOST_DATA = 2**26  # bytes of rows that a block is timed on: more than a cache holds
_FEWEST = 1024  # of these rows


class _Task(NamedTuple):
    """A search: rows and where they will lie, how far apart they are, and blocks of queries."""

    rows: Rows
    layout: Layout
    metric: Metric
    route: Route
    program: Any
    model: knn.KNN  # of shapes
    block: int
    k: int


def neighbors(
    X: Any,
    num_queries: int,
    k: int,
    *,
    metric: Metric = distances.l2,
    num_devices: int | None = None,
    limit_bytes: int | None = None,
) -> Forecast:
    """What `knn.fit(X, metric=metric)` and `knn.neighbors` of so many queries will take.

    Args:
        X: rows (N, D) or images, or their shape and dtype as `jax.ShapeDtypeStruct`.
        num_queries: M.
        k: number of neighbours.
        metric: a value of `lincls.distances`.
        num_devices: over which the rows will lie, default 1, or those on which they lie.  Where
            this process has fewer, they are taken to be as fast as one of its own, and the time
            of their exchange is left out.
        limit_bytes: of each device, where less than all of its memory may be used.

    Returns:
        Forecast.  Its time is that of a search of all pairs.  On a CPU, bounds may spare most.

    Raises:
        TypeError, ValueError: an argument of another kind, by name.
    """
    rows, layout = layouts.described(X), layouts.layout(X, num_devices)
    num_queries = checks.count(num_queries, "num_queries")
    k = checks.count(k, "k", high=rows.num_rows)
    checks.kind(metric, Metric, "metric", "distances.l2")
    left = layouts.room(layout, limit_bytes)
    with distances.exact_scope(layouts.blank(rows)):
        task = _task(X, rows, layout, metric, num_queries, k)
        data, state, work = _memory(X, task)
        seconds = _seconds_a_block(task) * math.ceil(num_queries / task.block)
    work += num_queries * k * (4 + max(4, rows.dtype.itemsize))  # the answer
    among = f"{rows.num_rows:,} x {rows.num_features:,} {rows.dtype}"
    return Forecast(
        f"Search for {k} neighbours of {num_queries:,} queries among {among}, {metric.name}",
        task.route, layout.num_devices, data, state, work, _held(X, task), left,
        2 * num_queries * rows.num_rows * rows.num_features,
        seconds, task.route == "pruned", _advice(task, data + state, work, left),
    )  # fmt: skip


def _task(X: Any, rows: Rows, layout: Layout, metric: Metric, num_queries: int, k: int) -> _Task:
    """The program that will run, with the shapes of its model."""
    in_file, spread = layouts.in_file(X), layout.mesh is not None or layout.num_devices > 1
    num_rows = _rows_of_a_part(rows) if in_file else rows.num_rows
    model = _model(rows, layout, metric, num_rows, bounded=not in_file and not spread)
    which: Route = "parts" if in_file else (
        "shards" if spread else route(model, k, num_queries=num_queries))  # fmt: skip
    runs: Route = "shards" if layout.mesh is not None else unpruned(model, k)
    block = driver.plain_size(model, num_queries, runs)
    program = driver.SEARCHES.get(runs, compiled_search_block)
    return _Task(rows, layout, metric, which, program, model, block, k)


def _model(rows: Rows, layout: Layout, metric: Metric, num_rows: int, *, bounded: bool) -> knn.KNN:
    """The shapes of `knn.fit`'s model."""
    X = layouts.shaped(layout, (num_rows, rows.num_features), rows.dtype)
    array = getattr(X, "array", X)

    def like(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=array.sharding)

    points = jax.tree.map(like, jax.eval_shape(metric.prepare, array))
    bounded = bounded and jax.default_backend() == "cpu"
    sketching = sketching_of(metric, layouts.blank(rows)) if bounded else None
    return knn.KNN(X, None, points, metric, None, sketching)


def _rows_of_a_part(rows: Rows) -> int:
    """Rows of a file that are read at a time."""
    return min(rows.num_rows, max(1, placement.limits().part_bytes // _row_bytes(rows)))


def _row_bytes(rows: Rows) -> int:
    return rows.num_features * rows.dtype.itemsize


def _memory(X: Any, task: _Task) -> tuple[int, int, int]:
    """Bytes on a device: of its rows, of what is remembered of them, and of the blocks at work."""
    queries = jax.ShapeDtypeStruct((task.block, task.rows.num_features), task.rows.dtype)
    compiled = task.program.lower(task.model, queries, driver.bucket(task.k)).compile()
    planned = compiled.memory_analysis()
    num_rows = _device_rows(task.model.X)
    state = num_rows * _prepared_bytes(task.metric, task.rows)
    if task.model.sketching is not None:
        state += _sketch_bytes(task)
    at_once = 1 if task.route == "shards" else threads.num_threads()
    of_block = int(planned.temp_size_in_bytes + planned.output_size_in_bytes)
    return num_rows * _row_bytes(task.rows), state, at_once * of_block


def _sketch_bytes(task: _Task) -> int:
    """Bytes of the sketches of all rows, and of what is learned for them, at most."""
    num_features = task.rows.num_features
    if task.metric == distances.l1:
        groups = sum(feature_groups.num_groups(num_features))
        row, learned = groups + 2 * 8, (2 * num_features + 8) * groups
    else:
        axes = directions.num_axes(num_features)
        kept = axes + 1 if task.rows.dtype == np.uint8 else max(axes + 1, num_features)
        row, learned = 2 * directions.num_columns(kept) + 8, 8 * num_features * (axes + 1)
    filling = 32 * math.ceil(task.rows.num_rows / sketches.PART)
    return (task.rows.num_rows + filling) * (row + 1) + learned


def _prepared_bytes(metric: Metric, rows: Rows) -> int:
    """Bytes a row of what `metric.prepare` makes, without rows that it passes through."""
    one = jax.ShapeDtypeStruct((1, rows.num_features), rows.dtype)
    program = jax.make_jaxpr(metric.prepare)(one).jaxpr
    made = [part.aval for part in program.outvars if part not in program.invars]
    return placement.bytes_of(made)


def _seconds_a_block(task: _Task) -> float:
    """Seconds of a block of queries: those that it takes among few rows, times how many more."""
    most = max(_FEWEST, _MOST_DATA // _row_bytes(task.rows))
    fewer = min(_device_rows(task.model.X), most)
    parts = 1 if task.layout.mesh is None else task.layout.num_devices
    X = layouts.noise(fewer * parts, task.rows)
    sample = X if task.layout.mesh is None else layouts.laid(task.layout, X)
    model = knn.fit(sample, metric=task.metric, prune=False)
    queries, k = X[np.arange(task.block) % len(X)], driver.bucket(task.k)
    seconds = layouts.shortest(lambda: task.program(model, queries, k))
    return seconds * layouts.device_rows(task.layout, task.rows.num_rows) / fewer


def _device_rows(X: Any) -> int:
    return X.device_rows if isinstance(X, Sharded) else X.shape[0]


def _held(X: Any, task: _Task) -> int:
    """Bytes of rows that need no further memory: on the device, or used where they are."""
    in_place = isinstance(X, np.ndarray) and placement.stays_on_host(X) and task.route == "pruned"
    return _row_bytes(task.rows) * task.rows.num_rows if in_place else task.rows.held


def _advice(task: _Task, rows: int, work: int, left: int | None) -> str:
    """What to do where a device holds less than its rows and the work on them."""
    if left is None or left >= rows + work:
        return ""
    if task.block > 1 and left <= 2 * work:
        return f"Search with a block_size below {task.block}."
    share = (rows + work) / left if task.block == 1 else rows / (left - work)
    devices = math.ceil(share * task.layout.num_devices)
    return (
        f"Lay the rows over at least {devices} devices (placement.shard), or give them as a "
        f"memory-mapped file of more than {size(placement.limits().device_bytes)}, which is read "
        "in parts."
    )
