"""Shapes of rows as they will lie: on one device, or over the devices of a mesh."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lincls import checks, placement
from lincls.structs import Sharded

_FEWEST_BLOCKS = 8  # as `placement.shard` makes them
_TRIES = 5  # of a measured call; the shortest counts
_ENOUGH = 0.5  # seconds after which it is not tried again


class Layout(NamedTuple):
    """How many devices there will be, and the mesh of them where this process has as many."""

    num_devices: int
    num_blocks: int
    mesh: Mesh | None


class Rows(NamedTuple):
    """Shape and dtype of rows (N, D), and bytes of them that a device has already."""

    num_rows: int
    num_features: int
    dtype: np.dtype[Any]
    held: int


def described(X: Any) -> Rows:
    """Rows (N, D) or images (N, ...) by their shape and dtype (TypeError, ValueError)."""
    if not hasattr(X, "shape") or not hasattr(X, "dtype"):
        raise TypeError(
            "X must be an array or such as jax.ShapeDtypeStruct((50_000, 3072), 'uint8'), got "
            f"{checks.shown(X)}"
        )
    dtype, shape = np.dtype(X.dtype).newbyteorder("="), tuple(X.shape)
    if dtype != np.uint8 and not jax.dtypes.issubdtype(dtype, np.floating):
        raise TypeError(f"X must be uint8 or floating, got {dtype}")
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"X must have shape (N, D) or (N, H, W, C), got {shape}")
    held = 0
    if isinstance(X, Sharded):
        held = X.array.nbytes // X.mesh.size
    elif isinstance(X, jax.Array):
        held = X.nbytes
    return Rows(shape[0], math.prod(shape[1:]), dtype, held)


def layout(X: Any, num_devices: int | None) -> Layout:
    """Where the rows lie or will lie (TypeError, ValueError)."""
    if isinstance(X, Sharded):
        if num_devices is not None and num_devices != X.mesh.size:
            raise ValueError(f"num_devices is {num_devices}, and X lies on {X.mesh.size} devices")
        return Layout(X.mesh.size, X.num_blocks, X.mesh)
    num_devices = 1 if num_devices is None else checks.count(num_devices, "num_devices")
    num_blocks = -(-_FEWEST_BLOCKS // num_devices) * num_devices
    at_hand = 1 < num_devices <= jax.device_count()
    return Layout(num_devices, num_blocks, placement.mesh(num_devices) if at_hand else None)


def in_file(X: Any) -> bool:
    """Whether rows stay in their file and are read part after part."""
    return isinstance(X, np.ndarray) and placement.is_large(X)


def blank(rows: Rows, num_rows: int | None = None) -> np.ndarray:
    """An array of the shape of the rows that takes no memory."""
    shape = (rows.num_rows if num_rows is None else num_rows, rows.num_features)
    return np.broadcast_to(np.zeros((), rows.dtype), shape)


def device_rows(layout: Layout, num_rows: int) -> int:
    """Rows of a device with their filling."""
    if layout.num_devices == 1 and layout.mesh is None:
        return num_rows
    return -(-num_rows // layout.num_blocks) * layout.num_blocks // layout.num_devices


def shaped(layout: Layout, shape: tuple[int, ...], dtype: Any, axis: int = 0) -> Any:
    """The shape of an array of all rows as a program takes it: on the mesh, or on one device."""
    shape, num_rows = tuple(shape), shape[axis]
    of_device, mesh = device_rows(layout, num_rows), layout.mesh
    if mesh is None:
        return jax.ShapeDtypeStruct((*shape[:axis], of_device, *shape[axis + 1 :]), dtype)
    padded = (*shape[:axis], of_device * layout.num_devices, *shape[axis + 1 :])
    sharding = NamedSharding(mesh, PartitionSpec(*(None,) * axis, placement.ROWS))
    array = jax.ShapeDtypeStruct(padded, dtype, sharding=sharding)
    return Sharded(array, num_rows, layout.num_blocks, mesh, axis)


def rows_of_program(layout: Layout, num_rows: int) -> int:
    """Rows that a program of this process is given: all, or those of one device of many."""
    return num_rows if layout.mesh is not None else device_rows(layout, num_rows)


def noise(num_rows: int, rows: Rows) -> np.ndarray:
    """Rows of noise; a few are repeated, because drawing takes longer than copying."""
    few = np.random.default_rng(0).integers(0, 256, (min(num_rows, 256), rows.num_features))
    return np.resize(few.astype(rows.dtype), (num_rows, rows.num_features))


def laid(layout: Layout, array: np.ndarray, axis: int = 0) -> Any:
    """An array of few rows where those of `layout` will be."""
    if layout.mesh is None:
        return placement.on_device(array)
    return placement.shard(layout.mesh, array, num_blocks=layout.num_blocks, axis=axis)[0]


def room(layout: Layout, limit_bytes: int | None) -> int | None:
    """Bytes that a device may still allocate; devices that are not here have as many."""
    here = min(layout.num_devices, jax.local_device_count())
    limit = None if limit_bytes is None else checks.count(limit_bytes, "limit_bytes", high=2**62)
    known = [each for each in (placement.available(here), limit) if each is not None]
    return min(known) if known else None


def shortest(call: Callable[[], Any]) -> float:
    """Seconds of a call: the shortest of a few, after one that compiles."""
    jax.block_until_ready(call())
    found: list[float] = []
    alone = jax.process_count() == 1  # else all must call equally often
    while len(found) < (_TRIES if alone else 2) and (sum(found) < _ENOUGH or not alone):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        found.append(time.perf_counter() - begin)
    return min(found)
