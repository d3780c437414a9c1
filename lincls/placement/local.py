"""Arrays of one process: in host memory, in a file, on its device; what is copied or lent."""

import contextlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls.structs import ALIGNMENT, AnyArray, AnyRows, Examples

_COPIERS = 4  # threads
_LARGE_PAGES = 2**22  # bytes from which numpy asks the system for large pages


class Limits(NamedTuple):
    """What lincls holds in memory, or computes, at once."""

    device_bytes: int = 2**30  # of X; a larger memory-mapped array stays in its file
    copy_bytes: int = 2**29  # of a host array; a larger one is not held a second time
    piece_bytes: int = 2**27  # of rows that are read from a file for a training or a pass
    part_bytes: int = 2**26  # of rows that are read from a file for a neighbour search
    call_flops: int | float = 2e10  # of a compiled call of training: half a second on two CPU cores
    saving_seconds: float | int = 10.0  # between two saves of a training, at least
    saving_share: float | int = 0.02  # of the time of a training that saving may take


_LIMITS: ContextVar[Limits] = ContextVar("limits", default=Limits())  # noqa: B039 (immutable)


def limits() -> Limits:
    """The limits in force."""
    return _LIMITS.get()


@contextlib.contextmanager
def limited(**numbers: int | float) -> Iterator[None]:
    """Other limits within a `with` block, by the names of `Limits`."""
    token = _LIMITS.set(limits()._replace(**numbers))  # type: ignore[arg-type]
    try:
        yield
    finally:
        _LIMITS.reset(token)


def on_device(X: AnyArray, lent: bool = False) -> jax.Array:
    """X as a device array.

    On a CPU, JAX can use the memory of a host array whose address is a multiple of 64, as those
    of the cache's files are.  Such an array is used in place if it is lent; do not write to it
    until the call returns.  Otherwise it is copied, by numpy and in large pages: JAX's own copy
    takes five times as long (150 MB).

    Args:
        X: any array.
        lent: whether nobody writes to X while the result is in use.
    """
    if not isinstance(X, np.ndarray) or jax.default_backend() != "cpu":
        return jnp.asarray(X)
    if lent and X.flags.c_contiguous and X.ctypes.data % ALIGNMENT == 0:
        return jax.device_put(X)
    if X.nbytes < _LARGE_PAGES or jax.dtypes.canonicalize_dtype(X.dtype) != X.dtype:
        return jnp.asarray(X)
    return jax.device_put(_aligned_copy(X))


def lend(data: Examples) -> Examples:
    """Examples on the device; their host arrays are lent (see `on_device`)."""
    return jax.tree.map(partial(on_device, lent=True), data)


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty host array at an address that JAX can use in place on a CPU."""
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


def is_large(X: AnyRows) -> bool:
    """Whether X is memory-mapped and takes more than `limits().device_bytes`."""
    return isinstance(X, np.memmap) and X.nbytes > limits().device_bytes


def stays_on_host(X: AnyArray) -> bool:
    """Whether X is a host array over `limits().copy_bytes` that a CPU would hold a second time."""
    if not isinstance(X, np.ndarray) or X.nbytes <= limits().copy_bytes:
        return False
    return jax.default_backend() == "cpu" and jax.dtypes.canonicalize_dtype(X.dtype) == X.dtype


def blocks(data: Examples) -> Iterator[Examples]:
    """All examples in the order of the file, in blocks of `limits().piece_bytes`, on the device.

    Blocks have one size, so that what reads them compiles once: the last one is filled up with
    examples of weight 0.
    """
    num_examples = len(data.y)
    size = min(num_examples, max(1, limits().piece_bytes // data.X[:1].nbytes))
    for start in range(0, num_examples, size):
        places = np.arange(start, start + size)
        yield read(data, np.minimum(places, num_examples - 1), places < num_examples)


def read(data: Examples, rows: np.ndarray, present: np.ndarray) -> Examples:
    """Some rows of a file on the device, read in the order of the file; weight 0 if not present."""
    ascending = np.argsort(rows, kind="stable")
    X = np.empty((len(rows), data.X.shape[1]), data.X.dtype)
    X[ascending] = data.X[rows[ascending]]
    weight = np.where(present, data.weight[..., rows], 0)
    return jax.tree.map(jnp.asarray, Examples(X, data.y[rows], weight))
