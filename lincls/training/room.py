"""Whether the settings of a grid have room, checked before they are allocated."""

import warnings
from collections.abc import Callable
from typing import Any

import jax

from lincls import hyper as numbers
from lincls import placement
from lincls.structs import Hyper, LinearParams, Params

_HELD = 12  # times the parameters in a training; 9 were measured, the rest is for gradients
_MOST_TIMES = 32  # the parameters: no optimiser's state is larger (that of L-BFGS is 22 times)


def check_start(
    params: Params, settings: int, init: Callable[..., Any], *, is_shared: bool, devices: int = 1
) -> None:
    """ValueError where parameters and optimiser state of all settings have no room.

    Args:
        params: of one setting, or of all.
        settings: G.
        init: of the parameters of all settings to the optimiser's state; traced only where
            memory may be too little, so that it costs nothing.
        is_shared: whether they are of one setting, where all settings start.
        devices: over which the settings lie.
    """
    left, axes = together(devices), (settings,) if is_shared else ()
    times = settings if is_shared else 1
    if left is None or _MOST_TIMES * times * placement.bytes_of(params) <= left:
        return
    grid = jax.tree.map(lambda p: jax.ShapeDtypeStruct((*axes, *p.shape), p.dtype), params)
    check((grid, jax.eval_shape(init, grid)), settings, left)


def check(state: Any, settings: int, left: int | None) -> None:
    """ValueError, with how many settings fit, where one more state has no room.

    Args:
        state: the tree of all settings, or its shapes.
        settings: G.
        left: bytes that a device may still allocate, if known.
    """
    needed = placement.bytes_of(state)
    if left is not None and needed > left:
        raise ValueError(
            f"hyper has {settings:,} settings, whose parameters and optimiser state take "
            f"{needed:,} bytes; {left:,} are free, so train at most "
            f"{left * settings // needed:,} settings at once"
        )


def together(devices: int) -> int | None:
    """Bytes that so many devices may still allocate, one part of a whole each."""
    left = placement.available(devices)
    return None if left is None else left * devices


def groups(hyper: Hyper, params: Params, num_folds: int) -> list[Hyper]:
    """The settings in groups whose trainings fit into half of the memory that is left.

    A warning says how many groups there are, if several.  Parameters that are a grid already
    are not cut.

    Args:
        hyper: numbers, of which some may have G values.
        params: where every training starts.
        num_folds: trainings of a setting.
    """
    settings = numbers.num_settings(hyper) or 1
    count = num_groups(settings, num_folds * placement.bytes_of(params))
    if count == 1 or (isinstance(params, LinearParams) and params.W.ndim > 2):
        return [hyper]
    warnings.warn(
        f"the {settings} settings are trained in {count} groups, because memory has no room for "
        "all at once",
        stacklevel=3,
    )
    return numbers.split(hyper, count)


def num_groups(num_settings: int, num_bytes: int) -> int:
    """In how many groups settings are trained, of parameters of so many bytes each."""
    left = placement.available()
    if left is None:
        return 1
    at_once = max(1, left // 2 // (_HELD * num_bytes))
    return -(-num_settings // min(at_once, num_settings))
