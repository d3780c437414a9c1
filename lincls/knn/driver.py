"""The host's driver: blocks of queries of a few shapes, with progress between them."""

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks, distances, placement
from lincls.knn import precision
from lincls.knn.device import compiled_search_on_device
from lincls.knn.model import KNN, remember
from lincls.knn.products import compiled_search_by_product
from lincls.knn.pruning import search_pruned
from lincls.knn.routes import Route, route, unpruned
from lincls.knn.search import compiled_search_block, merge
from lincls.knn.shards import compiled_search_shards
from lincls.knn.threads import in_threads, one_by_one
from lincls.structs import AnyRows, Neighbors, Sharded

OnBlock = Callable[[int, int], Any]

_KEYS_BYTES = 2**26  # of the (block, N) matrix of distances
_CACHED_KEYS_BYTES = 2**24  # of that of bounds, which is read again
_MOST_KEYS_BYTES = 2**27  # of that of bounds, where more queries share a pass over the points
_BLOCK_WORK = 2**36  # features compared in a block: a few tenths of a second on two cores
_BOUNDS = 64  # queries whose bounds stay in the cache
_DEVICE_BLOCKS = 16  # times the memory of a block, on an accelerator
_MOST_ON_DEVICE = 4096  # queries in a block there
SEARCHES = {
    "shards": compiled_search_shards,
    "device": compiled_search_on_device,
    "product": compiled_search_by_product,
}
_MISSES = 4  # bounds are given up once so many more blocks were missed than answered
_IN_JIT = (
    "call it outside, or use knn.search_block inside, then knn.neighbor_labels and "
    "knn.predictions_by_k"
)


class Queries(NamedTuple):
    """Rows (M, D), their groups (M,) or None, which of them are asked, and in which dtype."""

    rows: Any
    groups: Any
    places: np.ndarray  # (Q,)
    dtype: Any
    own: bool  # whether the rows are those of the training set


class Block(NamedTuple):
    """Queries (B, D) with their groups (B,) or None; the first are those at `places`.

    `own` says where all of them are among the training rows, if they are of them.
    """

    rows: Any
    groups: Any
    places: np.ndarray
    own: np.ndarray | None


def neighbors(
    model: KNN,
    queries: Any,
    k: int,
    *,
    block_size: int | None = None,
    on_block: OnBlock | None = None,
    groups: Any = None,
) -> Neighbors:
    """The k nearest training examples of every query, nearest first, as host arrays (M, k).

    L1 and L2 between uint8 images are integers, so the answer is exact.  Ties are in order of
    training index, so the answer depends on neither the block size nor the number of queries;
    of floating rows that is so up to the rounding of a distance.

    Args:
        model: made by `fit`.
        queries: images (M, H, W, C) or rows (M, D), uint8 or floating as the training data, or
            None for the training set itself, each example without itself (leave-one-out).
            Distances are float64 where training data or queries are, or where those to a far
            query pass float32.
        k: number of neighbours, 1..N.
        block_size: queries in a block; the default bounds memory, a larger value may not.
        on_block: called as `on_block(done, total)` with numbers of queries, for a progress bar.
        groups: (N,) integers, only with `queries=None`: each example is searched for among the
            examples of other groups.  With fold numbers this is cross-validation for every k in
            one pass; examples of the same subject are kept from voting for each other.

    Returns:
        Neighbors of numpy arrays (M, k).

    Raises:
        TypeError: an argument of another kind; a call inside of jit, grad or vmap.
        ValueError: another shape, NaN, a number out of range, distances that pass float64.
    """
    checks.kind(model, KNN, "model", "knn.fit(X, y)")
    checks.on_host("the search of knn", _IN_JIT, model, queries)
    k = checks.count(k, "k", high=model.X.shape[0])
    rows, query_groups, groups = _rows_and_groups(model, queries, groups)
    if block_size is not None:  # no more than there are, because blocks are filled up
        block_size = min(checks.count(block_size, "block_size", high=sys.maxsize), rows.shape[0])
    on_block = checks.function(on_block, "on_block") or _ignore
    places, dtype = np.arange(rows.shape[0]), precision.common(model.X, rows)
    asked = Queries(rows, query_groups, places, dtype, own=queries is None)
    found = _search(model, asked, k, groups, block_size, on_block)
    if precision.overflowed(model, found) and dtype != np.float64:
        asked = asked._replace(dtype=np.dtype(np.float64))
        found = _search(model, asked, k, groups, block_size, on_block)
    return precision.survived(model, found)


def _search(
    model: KNN, queries: Queries, k: int, groups: Any, block_size: int | None, on_block: OnBlock
) -> Neighbors:
    """All queries in their dtype, with bounds where they pay."""
    wide = queries.dtype == np.float64
    if wide and model.X.dtype != np.float64:
        model = _widened(model)
    which = route(model, k, num_queries=max(1, len(queries.places)))
    search = _pruned if which == "pruned" else _plainly
    with jax.enable_x64(True) if wide else distances.exact_scope(model.X):
        return search(model, queries, k, groups, block_size, on_block)


def _widened(model: KNN) -> KNN:
    """A model of float64 rows on a mesh; elsewhere of rows that are widened part by part."""
    if isinstance(model.X, Sharded):
        wide = dataclasses.replace(model, X=precision.in_float64(model.X))
        return remember(wide, prune=False)
    return dataclasses.replace(model, X=np.asarray(model.X), points=None)


def _pruned(
    model: KNN, queries: Queries, k: int, groups: Any, block_size: int | None, on_block: OnBlock
) -> Neighbors:
    """Block after block with bounds; what they leave too much of is searched plainly, at once.

    Where blocks are missed again and again, bounds are not tried on the others.
    """
    total = len(queries.places)
    size = _sketched_size(model, total) if block_size is None else block_size
    found: list[tuple[np.ndarray, Neighbors]] = []
    left, missed, done = np.full(total, True), 0, 0

    def worth_trying(_: Block) -> bool:
        return missed < len(found) + _MISSES

    def search(block: Block) -> Neighbors | None:
        return search_pruned(model, block.rows, k, block.groups, groups, block.own)

    blocks = itertools.takewhile(worth_trying, _blocks(queries, size))
    in_turn = one_by_one if total <= size else in_threads
    with contextlib.closing(in_turn(search, blocks)) as answers:
        for block, answer in answers:
            if answer is None:
                missed += 1
                continue
            found.append((block.places, answer))
            left[block.places] = False
            done += len(block.places)
            on_block(done, total)
    if done < total:
        queries = queries._replace(places=np.flatnonzero(left))
        answer = _plainly(
            model, queries, k, groups, block_size, lambda now, _: on_block(done + now, total)
        )
        found.append((queries.places, answer))
    return _in_order(found)


def _plainly(
    model: KNN, queries: Queries, k: int, groups: Any, block_size: int | None, on_block: OnBlock
) -> Neighbors:
    """All distances, block after block of the queries or part after part of the data."""
    if model.points is None:
        return _by_parts(model, queries, k, groups, block_size, on_block)
    total, which = len(queries.places), unpruned(model, k)
    size = plain_size(model, total, which) if block_size is None else block_size
    search_block, sharded = SEARCHES.get(which, compiled_search_block), which == "shards"
    if sharded and groups is not None:
        groups = placement.like(model.X, groups, "groups")
    found, done = [], 0

    def search(block: Block) -> Neighbors:
        return search_block(model, block.rows, bucket(k), query_groups=block.groups, groups=groups)

    blocks = _blocks(queries, size)
    in_turn = one_by_one if sharded or total <= size else in_threads
    with contextlib.closing(in_turn(search, blocks)) as answers:
        for block, answer in answers:
            found.append((block.places, Neighbors(*(part[:, :k] for part in answer))))
            done += len(block.places)
            on_block(done, total)
    return _in_order(found)


def _in_order(found: list[tuple[np.ndarray, Neighbors]]) -> Neighbors:
    """One answer of the answers at some places each; blocks may be longer than their places."""
    order = np.argsort(np.concatenate([places for places, _ in found]), kind="stable")
    answers = [[part[: len(places)] for part in answer] for places, answer in found]
    return Neighbors(*(np.concatenate(parts)[order] for parts in zip(*answers, strict=True)))


def _by_parts(
    model: KNN, queries: Queries, k: int, groups: Any, block_size: int | None, on_block: OnBlock
) -> Neighbors:
    """All queries among part after part of training data that stay in their file, merged."""
    num_examples, total, whole = model.X.shape[0], len(queries.places), None
    size = max(1, placement.limits().part_bytes // model.X[:1].nbytes)
    for start in range(0, num_examples, size):
        rows = precision.widened(np.asarray(model.X[start : start + size]), queries.dtype)
        part = remember(KNN(rows, None, None, model.metric, None), prune=False)
        of_part = None if groups is None else groups[start : start + size]
        num_rows = part.X.shape[0]
        found = _plainly(part, queries, min(k, num_rows), of_part, block_size, _ignore)
        indices = np.where(found.indices < num_rows, found.indices + start, num_examples)
        found = Neighbors(found.distances, indices.astype(np.int32))
        whole = found if whole is None else Neighbors(*map(np.asarray, merge(whole, found, k)))
        on_block(total * (start + num_rows) // num_examples, total)
    assert whole is not None
    return whole


def _ignore(done: int, total: int) -> None:
    """No progress is shown."""


def _rows_and_groups(model: KNN, queries: Any, groups: Any) -> tuple[AnyRows, Any, Any]:
    """Rows of queries, their groups, and the groups of the training examples (or None)."""
    num_examples, num_features = model.X.shape
    if queries is None:
        if groups is None:
            groups = np.arange(num_examples)
        groups = placement.gathered(checks.labels_anywhere(groups, num_examples, name="groups"))
        return model.X, groups, groups
    if groups is not None:
        raise ValueError("groups are for queries=None, the training set; got queries as well")
    rows = checks.rows_anywhere(queries, "queries", num_features)
    if (rows.dtype == jnp.uint8) != (model.X.dtype == jnp.uint8):
        raise TypeError(
            f"queries are {rows.dtype} and the training data {model.X.dtype}; give both as uint8, "
            "if the values are whole numbers 0..255, or both as floating"
        )
    return checks.finite(rows, "queries"), None, None


def _sketched_size(model: KNN, num_queries: int) -> int:
    """Queries in a block with bounds: few shapes, bounded memory, well under a second."""
    return _few_sizes(model, min(_BOUNDS, _BLOCK_WORK // model.X.size), num_queries)


def plain_size(model: KNN, num_queries: int, which: Route) -> int:
    """The same where all distances are computed."""
    num_rows = model.X.device_rows if isinstance(model.X, Sharded) else model.X.shape[0]
    row_bytes = max(4, model.X.dtype.itemsize) * num_rows  # of the matrix of distances
    by_memory = _KEYS_BYTES // row_bytes
    if which == "device":
        return _few_sizes(model, min(_DEVICE_BLOCKS * by_memory, _MOST_ON_DEVICE), num_queries)
    if which == "product":  # it copies the points in each block, and reads its bounds again
        sharing = min(max(64, model.X.shape[1] // 8), 256)  # an eighth of wide data
        cached, most = (num // row_bytes for num in (_CACHED_KEYS_BYTES, _MOST_KEYS_BYTES))
        by_memory = min(max(sharing, cached), most)
    by_time = _BLOCK_WORK / (model.X.size * model.metric.cost)
    return _few_sizes(model, min(by_memory, int(by_time), 512), num_queries)


def _few_sizes(model: KNN, largest: int, num_queries: int) -> int:
    """A power of two up to the largest, or less where that would be filled up by half.

    A product of 8 rows takes no longer than one of a single row.  Without products, one row takes
    an eighth, so a single query is not filled up.
    """
    sizes = (1, 8, 64) if model.metric.cost > 1 else (8, 64)
    largest = 1 << (max(1, largest).bit_length() - 1)
    if 64 < 2 * num_queries <= largest:
        return 64
    return next((size for size in sizes if num_queries <= size <= largest), largest)


def bucket(k: int) -> int:
    """The least of 10, 20, 40, ... that is at least k, so that few values of k compile."""
    return 10 << max(0, (-(-k // 10) - 1).bit_length())


def _blocks(queries: Queries, size: int) -> Iterator[Block]:
    """Blocks of exactly `size` queries; the last one repeats its last."""
    rows, groups, places, dtype, own = queries
    for start in range(0, len(places), size):
        some = places[start : start + size]
        filled = np.pad(some, (0, size - len(some)), mode="edge")
        of_block = placement.rows_at(rows, filled) if isinstance(rows, Sharded) else rows[filled]
        of_block = precision.widened(of_block, dtype)
        of_groups = None if groups is None else groups[filled]
        yield Block(of_block, of_groups, some, filled if own else None)
