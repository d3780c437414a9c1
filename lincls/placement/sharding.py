"""Rows over the devices of a mesh, on one host or on several.

The rows are cut into S blocks of equal length; the last ones may be shorter or empty and are filled
up with zeros.  Device i holds the S / n blocks from i S / n on, so row r of the whole stands at
place r of the array.  S is 8 unless told otherwise, whatever the number of devices: a sum in the
order of the blocks has the same bits on 1, 2, 4 and 8 devices.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lincls import checks
from lincls.structs import AnyArray, AnyRows, Hyper, Sharded

ROWS = "rows"  # the axis of a mesh
_BLOCKS = 8
_WHOLE = PartitionSpec()


def mesh(devices: int | Sequence[Any] | None = None) -> Mesh:
    """A mesh with one axis, `rows`.

    Args:
        devices: a list of devices, or how many; default all devices of all hosts.

    Raises:
        TypeError: something that is no device.
        ValueError: more devices than there are, or none.
    """
    known = jax.devices()
    if devices is None:
        devices = known
    elif not isinstance(devices, Sequence):
        devices = known[: checks.count(devices, "devices", high=len(known))]
    if not len(devices):
        raise ValueError("devices must hold at least one device, got []")
    for device in devices:
        checks.kind(device, jax.Device, "devices", "jax.devices()")
    return Mesh(np.array(devices), (ROWS,))


def shard(
    mesh: Mesh, *arrays: AnyArray, num_blocks: int = _BLOCKS, axis: int = 0
) -> tuple[Sharded, ...]:
    """Lay arrays out over a mesh: each device gets its own rows and no others.

    On several hosts all give the same arrays.  Of a memory-mapped array each reads its rows only.

    Args:
        mesh: made by `mesh`.
        arrays: X (N, ...), y (N,), weight (N,): any with the same number of rows.
        num_blocks: S, a multiple of the number of devices.
        axis: of the rows; 1 for weights (G, N).

    Returns:
        One `Sharded` for each array.

    Raises:
        ValueError: arrays of different lengths or without rows, or S that does not divide by the
            devices.
        TypeError: no mesh, or something that is no array.
    """
    checks.kind(mesh, Mesh, "mesh", "placement.mesh()")
    found = [_with_rows(array, axis) for array in arrays]
    num_rows = _common_length([array.shape[axis] for array in found])
    return tuple(_laid(mesh, array, 0, num_rows, num_blocks, axis) for array in found)


def from_processes(mesh: Mesh, *arrays: AnyArray, num_blocks: int = _BLOCKS) -> tuple[Sharded, ...]:
    """Lay arrays out of which each process has its own rows, those of `rows_here`.

    Args:
        mesh: over the devices of all processes.
        arrays: this process's rows of X, y, weight.
        num_blocks: as in `shard`.

    Raises:
        ValueError: a process has another number of rows than its devices hold.
    """
    checks.kind(mesh, Mesh, "mesh", "placement.mesh()")
    found = [_with_rows(array, 0) for array in arrays]
    mine = _common_length([len(array) for array in found])
    lengths = np.ravel(multihost_utils.process_allgather(np.int32(mine)))
    num_rows = int(lengths.sum())
    for process, length in enumerate(lengths.tolist()):
        rows = _rows_of(mesh, num_rows, num_blocks, process)
        if length != rows.stop - rows.start:
            raise ValueError(
                f"process {process} has {length} of {num_rows} rows, and its devices hold "
                f"{rows.stop - rows.start}; give X[placement.rows_here(mesh, {num_rows})]"
            )
    start = rows_here(mesh, num_rows, num_blocks).start
    return tuple(_laid(mesh, array, start, num_rows, num_blocks, 0) for array in found)


def rows_here(mesh: Mesh, num_rows: int, num_blocks: int = _BLOCKS) -> slice:
    """Which rows of N the devices of this process hold.

    Args:
        mesh, num_blocks: as in `shard`.
        num_rows: N, of all processes together.
    """
    num_rows = checks.count(num_rows, "num_rows", 0)
    return _rows_of(mesh, num_rows, num_blocks, jax.process_index())


def _rows_of(mesh: Mesh, num_rows: int, num_blocks: int, process: int) -> slice:
    of_device = _block_rows(mesh, num_rows, num_blocks) * num_blocks // mesh.size
    mine = [i for i, device in enumerate(mesh.devices.flat) if device.process_index == process]
    ends = (of_device * min(mine), of_device * (max(mine) + 1)) if mine else (0, 0)
    return slice(*(min(end, num_rows) for end in ends))


def _block_rows(mesh: Mesh, num_rows: int, num_blocks: int) -> int:
    checks.kind(mesh, Mesh, "mesh", "placement.mesh()")
    if mesh.axis_names != (ROWS,):
        raise ValueError(f"mesh must have the one axis {ROWS!r}, got {mesh.axis_names}")
    if checks.count(num_blocks, "num_blocks") % mesh.size:
        raise ValueError(
            f"{num_blocks} blocks do not divide over {mesh.size} devices; use num_blocks="
            f"{-(-num_blocks // mesh.size) * mesh.size}"
        )
    return -(-num_rows // num_blocks)


def _common_length(lengths: list[int]) -> int:
    if len(set(lengths)) != 1:
        raise ValueError(f"arrays must have the same number of rows, got {sorted(set(lengths))}")
    return lengths[0]


def _with_rows(array: Any, axis: int) -> AnyArray:
    """An array to lay out, which has the axis of the rows."""
    array = checks.as_array(array, "array")
    if not 0 <= axis < array.ndim:
        raise ValueError(f"array must have rows along axis {axis}, got shape {array.shape}")
    return _native(array)


def _native(array: AnyArray) -> AnyArray:
    """Whole numbers in 32 bits, as labels and groups have them; everything else as it is."""
    if array.dtype.itemsize < 8 or not jnp.issubdtype(array.dtype, jnp.integer):
        return array
    limits = np.iinfo(np.int32)
    return np.asarray(checks.within(array, "array", limits.min, limits.max)).astype(np.int32)


def _laid(
    mesh: Mesh, array: AnyArray, start: int, num_rows: int, num_blocks: int, axis: int
) -> Sharded:
    """Rows of which `array` has those from `start` on; what is not asked for is not read."""
    size = _block_rows(mesh, num_rows, num_blocks) * num_blocks
    before, shape = (slice(None),) * axis, list(array.shape)
    shape[axis] = size

    def part(index: Any) -> np.ndarray:
        low, high, _ = index[axis].indices(size)
        end = max(low, min(high, num_rows))
        rows = np.asarray(array[(*before, slice(low - start, end - start))])
        missing = [(0, 0)] * rows.ndim
        missing[axis] = (0, high - low - rows.shape[axis])
        return np.pad(rows, missing)

    sharding = NamedSharding(mesh, PartitionSpec(*(None,) * axis, ROWS))
    with jax.enable_x64(array.dtype.itemsize == 8):  # float64 rows keep their digits
        laid = jax.make_array_from_callback(tuple(shape), sharding, part)
    return Sharded(laid, num_rows, num_blocks, mesh, axis)


def shard_settings(mesh: Mesh, hyper: Hyper, num_blocks: int = _BLOCKS) -> Hyper:
    """Lay the settings of a grid over a mesh: each device trains its own on a copy of the data.

    The settings are S blocks on any number of devices, so W has the same bits on all of them.

    Args:
        mesh: made by `mesh`, of devices of this process.
        hyper: numbers; those with G values are laid out.
        num_blocks: S, a multiple of the number of devices that divides G.

    Returns:
        Hyper, for `training.start`, `run` and `fit`, and `crossval.linear`.

    Raises:
        TypeError: no mesh or no hyper.
        ValueError: no number has G values, or S does not divide G or by the devices; devices of
            other processes.
    """
    checks.kind(hyper, Hyper, "hyper", "Hyper({'learning_rate': [0.1, 0.01]}, reg=0.01)")
    counts = {np.shape(leaf)[0] for leaf in jax.tree.leaves(_as_arrays(hyper)) if np.ndim(leaf)}
    _block_rows(mesh, 0, num_blocks)
    if not counts or any(count % num_blocks for count in counts):
        raise ValueError(
            f"hyper has {sorted(counts) or 'no'} settings, which must be a multiple of the "
            f"{num_blocks} blocks; add settings, or give another num_blocks"
        )
    if any(device.process_index != jax.process_index() for device in mesh.devices.flat):
        raise ValueError("mesh has devices of other processes; settings lie on those of one")
    return jax.tree.map(
        lambda leaf: shard(mesh, leaf, num_blocks=num_blocks)[0] if np.ndim(leaf) else leaf,
        _as_arrays(hyper),
    )


def _as_arrays(hyper: Hyper) -> Hyper:
    """Lists as arrays, so that the leaves are the numbers."""
    return jax.tree.map(np.asarray, hyper, is_leaf=lambda leaf: isinstance(leaf, list | tuple)
                        and not isinstance(leaf, Hyper))  # fmt: skip


def like(X: Sharded, array: Any, name: str, axis: int = 0) -> Sharded:
    """An array laid out as the rows X are (ValueError if it lies otherwise already)."""
    if not isinstance(array, Sharded):
        return shard(X.mesh, array, num_blocks=X.num_blocks, axis=axis)[0]
    layout = (array.num_rows, array.num_blocks, array.mesh)
    if layout != (X.num_rows, X.num_blocks, X.mesh):
        raise ValueError(
            f"{name} lies on another mesh than X, or in other blocks; shard them alike"
        )
    return array


def replicated(mesh: Mesh, tree: Any) -> Any:
    """A tree of small arrays with a copy on every device; all processes give the same."""

    def copied(leaf: Any) -> jax.Array:
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            data = copied(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        if isinstance(leaf, jax.Array) and leaf.sharding == NamedSharding(mesh, _WHOLE):
            return leaf
        host = np.asarray(leaf)
        return jax.make_array_from_callback(
            host.shape, NamedSharding(mesh, _WHOLE), lambda index: host[index]
        )

    return jax.tree.map(copied, tree)


def unreplicated(tree: Any) -> Any:
    """A tree of `replicated` as arrays of this process, which any computation takes."""

    def own(leaf: Any) -> jax.Array:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = own(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jnp.asarray(np.asarray(leaf))

    return jax.tree.map(own, tree)


def per_shard(fn: Callable[[jax.Array], Any], X: Sharded) -> Any:
    """A tree of arrays (n, ...) that `fn` makes of each device's rows (n, D), over the same mesh.

    What `fn` passes through is not copied.

    Args:
        fn: a module-level function, so that it compiles once.
        X: the rows.
    """
    of_device = jax.ShapeDtypeStruct((X.device_rows, *X.shape[1:]), X.dtype)
    tree = jax.tree.structure(jax.eval_shape(fn, of_device))
    made = [X.array if leaf is None else leaf for leaf in _per_shard(fn, X)]
    return jax.tree.unflatten(tree, made)


@partial(jax.jit, static_argnames="fn")
def _per_shard(fn: Callable[[jax.Array], Any], X: Sharded) -> list[Any]:
    """The leaves, None for those that are the rows themselves: a result would be a copy."""

    def of_device(rows: jax.Array) -> list[Any]:
        return [None if leaf is rows else leaf for leaf in jax.tree.leaves(fn(rows))]

    rows = PartitionSpec(ROWS)
    made = jax.shard_map(of_device, mesh=X.mesh, in_specs=rows, out_specs=rows, check_vma=False)
    return made(X.array)


def rows_at(X: Sharded, places: np.ndarray) -> np.ndarray:
    """The rows X[places] as a host array, the same in every process."""
    with jax.enable_x64(X.dtype.itemsize == 8):
        return np.asarray(_rows_at(X, places.astype(np.int32)))


def gathered(column: AnyRows) -> np.ndarray:
    """One number an example, such as labels, as a host array."""
    if isinstance(column, Sharded):
        return rows_at(column, np.arange(column.num_rows))
    return np.asarray(column)


@jax.jit
def _rows_at(X: Sharded, places: jax.Array) -> jax.Array:
    """Each device gives the rows that it has and zeros for the others; the sum is exact."""

    def of_device(rows: jax.Array, places: jax.Array) -> jax.Array:
        inside = places - jax.lax.axis_index(ROWS) * len(rows)
        here = (inside >= 0) & (inside < len(rows))
        found = rows[jnp.clip(inside, 0, len(rows) - 1)]
        found = jnp.where(jnp.expand_dims(here, range(1, found.ndim)), found, 0)
        return jax.lax.psum(found, ROWS)

    return over_devices(X.mesh, of_device, (PartitionSpec(ROWS), _WHOLE))(X.array, places)


def over_devices(
    mesh: Mesh, fn: Callable[..., Any], in_specs: Any, out_specs: Any = _WHOLE
) -> Callable[..., Any]:
    """`fn` of each device's part; its results are the same on all devices, or parts of a whole."""
    return jax.shard_map(fn, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
