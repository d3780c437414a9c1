"""Numbers as leaves: what people type as `Hyper` becomes arrays here, and nowhere else.

A number is a scalar, or a list of G values; then all G settings of the grid train together.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks
from lincls.structs import Hyper, Sharded


def plain(hyper: Hyper) -> Hyper:
    """Any mapping as a dict and any list as an array, so that the leaves are the numbers.

    Raises:
        TypeError: something that is no Hyper, or a number that is none, by name.
        ValueError: a number that is None or NaN, by name.
    """
    checks.kind(hyper, Hyper, "hyper", "Hyper({'learning_rate': 0.1}, reg=0.01)")
    named = {name: _named(getattr(hyper, name), name) for name in ("optimizer", "loss", "penalty")}
    dropout = None if hyper.dropout is None else _array(hyper.dropout, "dropout")
    return Hyper(**named, reg=_array(hyper.reg, "reg"), dropout=dropout)


def _named(field: Any, name: str) -> dict[str, Any]:
    checks.kind(field, Mapping, f"hyper.{name}", "{'learning_rate': 0.1}, a name for each number")
    return {key: _array(number, f"{name}[{key!r}]") for key, number in field.items()}


def _array(number: Any, name: str) -> Any:
    if number is None:
        raise ValueError(f"hyper.{name} is None; leave its key out instead")
    if any(not checks.is_concrete(value) for value in jax.tree.leaves(number)):
        return jnp.asarray(number)  # a list, of which a caller's jit made tracers
    values = checks.as_array(number, f"hyper.{name}")
    is_number = jnp.issubdtype(values.dtype, jnp.integer) | jnp.issubdtype(
        values.dtype, jnp.floating
    )
    if not is_number:
        raise TypeError(
            f"hyper.{name} must be a number or a list of numbers, got {checks.shown(number)}"
        )
    if np.isnan(np.asarray(values)).any():
        raise ValueError(f"hyper.{name} is NaN")
    return values


def gathered(hyper: Any) -> tuple[Hyper, Sharded | None]:
    """Numbers of `placement.shard_settings` as arrays, and one of them as it lies on the mesh."""
    if not isinstance(hyper, Hyper):
        return hyper, None
    leaves = jax.tree.leaves(hyper, is_leaf=_is_sharded)
    layout = next((leaf for leaf in leaves if _is_sharded(leaf)), None)
    if layout is None:
        return hyper, None
    return jax.tree.map(_here, hyper, is_leaf=_is_sharded), layout


def _here(leaf: Any) -> Any:
    """A leaf as an array of this process; a tracer stays one."""
    if not _is_sharded(leaf):
        return leaf
    return np.asarray(leaf.array) if checks.is_concrete(leaf.array) else leaf.array


def _is_sharded(leaf: Any) -> bool:
    return isinstance(leaf, Sharded)


def num_settings(hyper: Hyper) -> int | None:
    """G if a number of `hyper` has G values, None if all are scalars.

    Raises:
        ValueError: lists of different lengths, or of more than one axis.
    """
    shapes = {np.shape(leaf) for leaf in jax.tree.leaves(plain(hyper))} - {()}
    if not shapes:
        return None
    if len(shapes) > 1 or len(next(iter(shapes))) != 1 or (0,) in shapes:
        raise ValueError(
            "leaves of hyper must be scalars or share one shape (G,), G at least 1, got "
            f"{sorted(shapes)}; "
            "a grid over two numbers is the list of its pairs: np.meshgrid(..), then .ravel()"
        )
    return int(next(iter(shapes))[0])


def as_arrays(hyper: Hyper, dtype: Any) -> Hyper:
    """Leaves as arrays of `dtype`, all () or all (G,); a scalar dropout stays ().

    All settings share the mask of a scalar dropout, and so the batch that it is applied to.

    Raises:
        TypeError, ValueError: as `plain` and `num_settings`; a number that `dtype` does not hold.
    """
    settings = num_settings(hyper)
    hyper = plain(hyper)
    for path, number in jax.tree_util.tree_leaves_with_path(hyper):
        _check_held(number, "hyper" + jax.tree_util.keystr(path), dtype)
    hyper = as_numbers(hyper, dtype)
    if settings is None:
        return hyper
    grid = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (settings,)), hyper)
    return grid._replace(dropout=hyper.dropout)


def _check_held(number: Any, name: str, dtype: Any) -> None:
    """ValueError for a number that becomes 0 or infinite in `dtype` and was neither."""
    if not checks.is_concrete(number):
        return
    given = np.asarray(number, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        held = given.astype(dtype)
    lost = ((held == 0) & (given != 0)) | (np.isinf(held) & ~np.isinf(given))
    if lost.any():
        raise ValueError(f"{name} holds {given[lost][0]:.3g}, which {jnp.dtype(dtype)} cannot")


def as_numbers(tree: Any, dtype: Any) -> Any:
    """Every leaf as an array of `dtype`: a float, an int and a numpy scalar trace as one."""
    return jax.tree.map(lambda number: jnp.asarray(number, dtype), tree)


def axes(hyper: Hyper) -> Hyper:
    """For `jax.vmap`: 0 where a leaf of `as_arrays` has an axis of settings, None elsewhere."""
    return jax.tree.map(lambda leaf: 0 if leaf.ndim else None, hyper)


def repeated(hyper: Hyper, times: int) -> Hyper:
    """The grid in which each setting of `hyper` occurs `times` times in a row, (G * times,)."""
    settings = num_settings(hyper) or 1

    def repeat(leaf: Any) -> np.ndarray:
        return np.repeat(np.broadcast_to(np.asarray(leaf), settings), times)

    hyper = plain(hyper)
    grid = jax.tree.map(repeat, hyper)
    shared = hyper.dropout is not None and np.ndim(hyper.dropout) == 0
    return grid._replace(dropout=hyper.dropout) if shared else grid


def split(hyper: Hyper, num_groups: int) -> list[Hyper]:
    """The grid in groups of about equally many settings, in their order; scalars stay."""
    settings = num_settings(hyper) or 1
    hyper = plain(hyper)

    def part(places: np.ndarray) -> Hyper:
        return jax.tree.map(lambda leaf: leaf if np.ndim(leaf) == 0 else leaf[places], hyper)

    return [part(places) for places in np.array_split(np.arange(settings), num_groups)]
