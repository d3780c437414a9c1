"""Numbers as leaves: what people type as `Hyper` becomes arrays here, and nowhere else.

A number is a scalar, or a list of G values; then all G settings of the grid train together.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks
from lincls.structs import Hyper


def plain(hyper: Hyper) -> Hyper:
    """Any mapping as a dict and any list as an array, so that the leaves are the numbers.

    Raises:
        TypeError: something that is no Hyper.
        ValueError: a number that is None.
    """
    checks.kind(hyper, Hyper, "hyper", "Hyper({'learning_rate': 0.1}, reg=0.01)")
    fields = hyper._asdict()
    dropout = fields.pop("dropout")
    found = {name: _plain(field) for name, field in fields.items()}
    return Hyper(**found, dropout=None if dropout is None else _array(dropout))


def _plain(field: Any) -> Any:
    if isinstance(field, Mapping):
        return {name: _array(number) for name, number in field.items()}
    return _array(field)


def _array(number: Any) -> Any:
    if number is None:
        raise ValueError("a number of hyper is None; leave its key out instead")
    return number if hasattr(number, "shape") else np.asarray(number)


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
    """
    settings = num_settings(hyper)
    hyper = as_numbers(plain(hyper), dtype)
    if settings is None:
        return hyper
    grid = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (settings,)), hyper)
    return grid._replace(dropout=hyper.dropout)


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
