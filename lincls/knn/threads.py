"""Answers of block after block, by a few threads of the host.

Blocks are independent, and most of a pruned search is many small programs that use one core
each, so a few threads search a block each.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np

from lincls.structs import Neighbors

_MOST_THREADS = 4
B = TypeVar("B")  # a block of queries


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


def one_by_one(
    search: Callable[[B], Neighbors | None], blocks: Iterator[B]
) -> Generator[tuple[B, Any], None, None]:
    """As `in_threads`, in this thread: for one block, which another thread would only delay.

    Also for rows on a mesh, because all of its processes must call in the same order.
    """
    for block in blocks:
        answer = search(block)
        yield block, None if answer is None else Neighbors(*map(np.asarray, answer))


def in_threads(
    search: Callable[[B], Neighbors | None], blocks: Iterator[B]
) -> Generator[tuple[B, Any], None, None]:
    """Every block with its answer on the host, in their order, a few at a time.

    The next block is asked for when an answer has been taken; an exception ends the others.
    """
    settings, pending = _settings(), deque[tuple[B, Future[Any]]]()

    def search_one(block: B) -> Neighbors | None:
        with settings():
            answer = search(block)
            return None if answer is None else Neighbors(*map(np.asarray, answer))

    pool = ThreadPoolExecutor(max_workers=(threads := num_threads()))
    try:
        for block in blocks:
            pending.append((block, pool.submit(search_one, block)))
            if len(pending) > threads:
                block, future = pending.popleft()
                yield block, future.result()
        while pending:
            block, future = pending.popleft()
            yield block, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def num_threads() -> int:
    """As many as there are cores to use, at most 4: each holds the distances of a block."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _MOST_THREADS)
