"""The host's driver: blocks of queries of a few shapes, with progress between them.

Blocks are independent, and most of a pruned search is many small programs that use one core
each, so a few threads of the host search a block each.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks, distances
from lincls.knn.model import KNN, fit
from lincls.knn.pruning import search_pruned
from lincls.knn.search import compiled_search_block, merge
from lincls.structs import AnyArray, Neighbors

OnBlock = Callable[[int, int], Any]

_KEYS_BYTES = 2**26  # of the (block, N) matrix of distances
_PART_BYTES = 2**26  # of training rows that leave their file at a time
_BLOCK_WORK = 2**36  # features compared in a block: a few tenths of a second on two cores
_BOUNDS = 64  # queries whose bounds stay in the cache
_MOST_THREADS = 4


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

    Exact: L1 and L2 between uint8 images are integers.  Ties are in order of training index, so
    the answer depends on neither the block size nor the number of queries; of floating rows that
    is so up to the rounding of a distance.

    Args:
        queries: images (M, H, W, C) or rows (M, D) of the training data's kind, or None for the
            training set itself, each example without itself (leave-one-out).
        k: number of neighbours, 1..N.
        block_size: queries in a block; by default from the shapes, with bounded memory.
        on_block: called as `on_block(done, total)` with numbers of queries, for a progress bar.
        groups: (N,) integers, only with `queries=None`: each example is searched for among the
            examples of other groups.  With fold numbers this is cross-validation for every k in
            one pass; examples of the same subject are kept from voting for each other.

    Raises:
        TypeError, ValueError: an argument of another kind, shape or range.
    """
    k = checks.count(k, "k", high=model.X.shape[0])
    rows, query_groups, groups = _rows_and_groups(model, queries, groups)
    if block_size is not None:
        checks.count(block_size, "block_size")
    search = _by_parts if model.points is None and model.sketching is None else _by_blocks
    with distances.exact_scope(model.X):
        return search(model, rows, k, query_groups, groups, block_size, on_block or _ignore)


def _by_blocks(
    model: KNN, rows: AnyArray, k: int, query_groups: Any, groups: Any, block_size: int | None,
    on_block: OnBlock,
) -> Neighbors:  # fmt: skip
    """Block after block of the queries among all training examples."""
    size = _block_size(model, rows.shape[0]) if block_size is None else block_size
    settings, found, done = _settings(), [], 0

    def search(block: AnyArray, block_groups: Any, count: int) -> list[np.ndarray]:
        with settings():
            answer = _search(model, block, k, block_groups, groups)
            return [np.asarray(array)[:count, :k] for array in answer]

    calls = _blocks(rows, query_groups, size)
    with contextlib.closing(_in_threads(search, calls)) as answers:
        for one in answers:
            found.append(one)
            done += len(one[0])
            on_block(done, rows.shape[0])
    return Neighbors(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def _settings() -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """What this thread was told about precision and device, for a thread that was not.

    Other settings of JAX's contexts do not reach the threads.
    """
    wide, device = jax.config.jax_enable_x64, jax.config.jax_default_device  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        with jax.enable_x64(wide), jax.default_device(device):
            yield

    return scope


def _in_threads(
    fn: Callable[..., Any], calls: Iterator[tuple[Any, ...]]
) -> Generator[Any, None, None]:
    """fn(*call) of every call in their order, a few at a time; an exception ends the others."""
    pool = ThreadPoolExecutor(max_workers=(threads := _num_threads()))
    pending: deque[Future[Any]] = deque()
    try:
        for call in calls:
            pending.append(pool.submit(fn, *call))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _num_threads() -> int:
    """As many as there are cores to use, at most 4: each holds the distances of a block."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _MOST_THREADS)


def _by_parts(
    model: KNN, rows: AnyArray, k: int, query_groups: Any, groups: Any, block_size: int | None,
    on_block: OnBlock,
) -> Neighbors:  # fmt: skip
    """All queries among part after part of training data that stay in their file, merged."""
    num_examples, whole = model.X.shape[0], None
    size = max(1, _PART_BYTES // model.X[:1].nbytes)
    for start in range(0, num_examples, size):
        part = fit(np.asarray(model.X[start : start + size]), metric=model.metric, prune=False)
        of_part = None if groups is None else groups[start : start + size]
        num_rows = part.X.shape[0]
        found = _by_blocks(part, rows, min(k, num_rows), query_groups, of_part, block_size, _ignore)
        indices = np.where(found.indices < num_rows, found.indices + start, num_examples)
        found = Neighbors(found.distances, indices.astype(np.int32))
        whole = found if whole is None else Neighbors(*map(np.asarray, merge(whole, found, k)))
        on_block(rows.shape[0] * (start + num_rows) // num_examples, rows.shape[0])
    assert whole is not None
    return whole


def _ignore(done: int, total: int) -> None:
    """No progress is shown."""


def _search(
    model: KNN, block: AnyArray, k: int, block_groups: np.ndarray | None, groups: Any
) -> Neighbors:
    if model.sketching is not None:
        found = search_pruned(model, block, k, block_groups, groups)
        if found is not None:
            return found
    if model.points is None:
        return _by_parts(model, block, k, block_groups, groups, None, _ignore)
    parts = [
        compiled_search_block(model, some, _bucket(k), query_groups=of_some, groups=groups)
        for some, of_some, _ in _blocks(block, block_groups, _plain_size(model, len(block)))
    ]
    return Neighbors(*(np.concatenate(arrays)[: len(block)] for arrays in zip(*parts, strict=True)))


def _rows_and_groups(model: KNN, queries: Any, groups: Any) -> tuple[AnyArray, Any, Any]:
    """Rows of queries, their groups, and the groups of the training examples (or None)."""
    num_examples, num_features = model.X.shape
    if queries is None:
        if groups is None:
            groups = np.arange(num_examples)
        groups = np.asarray(checks.labels(groups, num_examples, name="groups"))
        return model.X, groups, groups
    if groups is not None:
        raise ValueError("groups are for queries=None, the training set; got queries as well")
    rows = checks.finite(checks.rows(queries, "queries", num_features), "queries")
    if (rows.dtype == jnp.uint8) != (model.X.dtype == jnp.uint8):
        raise TypeError(
            f"queries are {rows.dtype} and the training data {model.X.dtype}; give both as uint8 "
            f"(exact) or both as floating, for instance queries.astype(np.{model.X.dtype})"
        )
    return rows, None, None


def _block_size(model: KNN, num_queries: int) -> int:
    """Queries in a block: few shapes, bounded memory, well under a second."""
    if model.sketching is None:
        return _plain_size(model, num_queries)
    return _few_sizes(min(_BOUNDS, _BLOCK_WORK // model.X.size), num_queries)


def _plain_size(model: KNN, num_queries: int) -> int:
    """The same where all distances are computed."""
    by_memory = _KEYS_BYTES // (4 * model.X.shape[0])
    by_time = _BLOCK_WORK / (model.X.size * model.metric.cost)
    return _few_sizes(min(by_memory, int(by_time), 512), num_queries)


def _few_sizes(largest: int, num_queries: int) -> int:
    """A power of two up to the largest, or 8 or 64 where that holds all queries."""
    largest = 1 << (max(1, largest).bit_length() - 1)
    return next((size for size in (8, 64) if num_queries <= size <= largest), largest)


def _bucket(k: int) -> int:
    """The least of 10, 20, 40, ... that is at least k, so that few values of k compile."""
    return 10 << max(0, (-(-k // 10) - 1).bit_length())


def _blocks(
    rows: AnyArray, query_groups: np.ndarray | None, size: int
) -> Iterator[tuple[AnyArray, np.ndarray | None, int]]:
    """Blocks of exactly `size` queries with their groups, and how many of them are real."""
    for start in range(0, rows.shape[0], size):
        count = min(size, rows.shape[0] - start)
        places = start + np.minimum(np.arange(size), count - 1)
        yield rows[places], None if query_groups is None else query_groups[places], count
