"""Where training data lie: on the device, or in their file.

`on_device` puts an array there.  Data larger than memory stay in their file, and `training.fit`
hands `run` a piece instead of all: T batches gathered on the host, laid out so that the batch
of step t stands at place t mod T.  `batches.sequential` over a piece reads exactly those, so
the loop, its steps and its bits are those of data on the device, and memory holds a piece.
The rows of a piece are read in the order of the file.

`blocks` is for one pass over such data, without a training: what measures reads them so.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import batches
from lincls.structs import ALIGNMENT, AnyArray, Examples

DEVICE_BYTES = 2**30  # of X; larger memory-mapped arrays stay in their file
COPY_BYTES = 2**29  # of a host array; a larger one is not held a second time
PIECE_BYTES = 2**27  # of the rows of a piece
_COPIERS = 4  # threads
_LARGE_PAGES = 2**22  # bytes from which numpy asks the system for large pages


def on_device(X: AnyArray, lent: bool = False) -> jax.Array:
    """X as a device array; `lent` for a call's duration, in which nobody writes to X.

    On a CPU, JAX takes over the memory of a host array whose address is a multiple of 64, as
    those of the cache's files are.  What is lent is taken as it is.  Else numpy makes the copy,
    in large pages: JAX's own is in small ones, and takes five times as long (measured, 150 MB).
    """
    if not isinstance(X, np.ndarray) or jax.default_backend() != "cpu":
        return jnp.asarray(X)
    if lent and X.flags.c_contiguous and X.ctypes.data % ALIGNMENT == 0:
        return jax.device_put(X)
    if X.nbytes < _LARGE_PAGES or jax.dtypes.canonicalize_dtype(X.dtype) != X.dtype:
        return jnp.asarray(X)
    return jax.device_put(_aligned_copy(X))


def lend(data: Examples) -> Examples:
    """Examples on the device, lent (see `on_device`) as far as they are host arrays."""
    return jax.tree.map(partial(on_device, lent=True), data)


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty host array at an address that JAX takes over on a CPU."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + num_bytes].view(dtype).reshape(shape)


def taken(X: np.ndarray, places: np.ndarray) -> jax.Array:
    """The rows X[places] of a host array on the device."""
    rows = aligned((len(places), *X.shape[1:]), X.dtype)
    if X.flags.c_contiguous and X.flags.aligned:
        np.take(X, places, axis=0, out=rows, mode="clip")  # copies them once, not twice
    else:
        rows[...] = X[places]  # because `take` makes a copy of all of X first
    return jax.device_put(rows)


def _aligned_copy(X: np.ndarray) -> np.ndarray:
    copy = aligned(X.shape, X.dtype)
    size = -(-len(X) // _COPIERS)
    with ThreadPoolExecutor(_COPIERS) as pool:  # what takes time is that the memory is fresh
        parts = [slice(start, start + size) for start in range(0, len(X), size)]
        list(pool.map(lambda part: np.copyto(copy[part], X[part]), parts))
    return copy


def is_large(X: AnyArray) -> bool:
    """Whether X is memory-mapped from a file and takes more than DEVICE_BYTES."""
    return isinstance(X, np.memmap) and X.nbytes > DEVICE_BYTES


def stays_on_host(X: AnyArray) -> bool:
    """Whether X is a host array of more than COPY_BYTES that a CPU would hold a second time."""
    if not isinstance(X, np.ndarray) or X.nbytes <= COPY_BYTES:
        return False
    return jax.default_backend() == "cpu" and jax.dtypes.canonicalize_dtype(X.dtype) == X.dtype


def steps_per_piece(X: AnyArray, batch_size: int) -> int:
    """How many batches fit into a piece, at least one."""
    return max(1, PIECE_BYTES // (batch_size * X[:1].nbytes))


def blocks(data: Examples) -> Iterator[Examples]:
    """All examples in the order of the file, in blocks of at most PIECE_BYTES, on the device.

    Blocks have one size, so that what reads them compiles once: the last one is filled up with
    places of weight 0.
    """
    num_examples = len(data.y)
    size = min(num_examples, max(1, PIECE_BYTES // data.X[:1].nbytes))
    for start in range(0, num_examples, size):
        places = np.arange(start, start + size)
        yield _read(data, np.minimum(places, num_examples - 1), places < num_examples)


class Pieces:
    """The batches of one run, piece by piece; keeps the order of the epoch at hand."""

    def __init__(
        self, data: Examples, key: jax.Array, sampling: batches.Sampling, batch_size: int,
        num_steps: int,
    ) -> None:  # fmt: skip
        """Args: data on the host; the run's key, sampling and batch size; T steps a piece."""
        self.data, self.num_steps, self.batch_size = data, num_steps, batch_size
        sizes = {"num_examples": len(data.y), "batch_size": batch_size}
        self._epoch_steps = batches.steps_per_epoch(**sizes)
        self._order_of = jax.jit(lambda epoch: sampling.order(key, epoch, len(data.y)))
        self._rows = partial(_rows, key=key, sampling=sampling, **sizes)
        self._epoch, self._order = -1, ()

    def piece(self, begin: int, stop: int) -> Examples:
        """The batches of steps begin..stop-1, at most T, and places of weight 0 for the rest."""
        rows = np.zeros((self.num_steps, self.batch_size), np.int32)
        present = np.zeros(rows.shape, bool)
        steps = np.arange(begin, stop, dtype=np.int32)
        for epoch in np.unique(steps // self._epoch_steps).tolist():
            here = steps[steps // self._epoch_steps == epoch]
            found = self._rows(self._order_in(epoch), np.resize(here, self.num_steps))
            for mine, theirs in zip((rows, present), found, strict=True):
                mine[here % self.num_steps] = np.asarray(theirs)[: len(here)]
        return self._gathered(rows.ravel(), present.ravel())

    def _order_in(self, epoch: int) -> Any:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._order_of(np.int32(epoch))
        return self._order

    def _gathered(self, rows: np.ndarray, present: np.ndarray) -> Examples:
        return _read(self.data, rows, present)


def _read(data: Examples, rows: np.ndarray, present: np.ndarray) -> Examples:
    """Rows of a file, read in its order, on the device; weight 0 where not present."""
    ascending = np.argsort(rows, kind="stable")
    X = np.empty((len(rows), data.X.shape[1]), data.X.dtype)
    X[ascending] = data.X[rows[ascending]]
    weight = np.where(present, data.weight[..., rows], 0)
    return jax.tree.map(jnp.asarray, Examples(X, data.y[rows], weight))


@partial(jax.jit, static_argnames=("sampling", "num_examples", "batch_size"))
def _rows(
    order: Any, steps: jax.Array, *, key: jax.Array, sampling: batches.Sampling,
    num_examples: int, batch_size: int,
) -> Any:  # fmt: skip
    """Rows and presence of the batches of steps (T,) of one epoch, (T, B) each."""
    return jax.vmap(lambda step: sampling.rows(order, key, step, num_examples, batch_size))(steps)
