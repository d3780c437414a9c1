"""A grid whose settings lie on a mesh: each device trains its own on a copy of the data.

The settings are S blocks of equal size, whatever the number of devices, and a device trains its
blocks one after the other by the same program.  So the bits do not depend on their number.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from lincls import placement
from lincls.structs import Affine, Examples, Hyper, Sharded, StepInfo, TrainState

_WHOLE, _SETTINGS = PartitionSpec(), PartitionSpec(placement.ROWS)
_HISTORY = PartitionSpec(None, placement.ROWS)  # (T, G)
_STATE = TrainState(_SETTINGS, _SETTINGS, _SETTINGS, _WHOLE, _WHOLE)


def over_settings(
    run: Callable[..., tuple[TrainState, StepInfo]], layout: Sharded, state: TrainState,
    data: Examples, affine: Affine, hyper: Hyper, stop: Any,
) -> tuple[TrainState, StepInfo]:  # fmt: skip
    """`run` of every block of settings, on the device that holds it.

    Args:
        run: (state, data, affine, hyper, stop) -> state and StepInfo of some settings.
        layout: one of the numbers as it lies on the mesh.
        state, hyper: of all G settings.
        data, affine: the same for all; the weights may be (G, N).
        stop: as in `training.run`.
    """
    here = layout.num_blocks // layout.mesh.size
    of_hyper = jax.tree.map(lambda leaf: _SETTINGS if leaf.ndim else _WHOLE, hyper)
    of_data = Examples(_WHOLE, _WHOLE, _SETTINGS if data.weight.ndim == 2 else _WHOLE)

    def of_device(
        state: TrainState, data: Examples, affine: Affine, hyper: Hyper, stop: Any
    ) -> Any:
        def of_block(parts: tuple[Any, ...]) -> Any:
            own, weight, numbers = parts
            mine = _with_grid(hyper, numbers)
            own = state._replace(params=own[0], opt=own[1], alive=own[2])
            weight = data.weight if weight is None else weight
            return run(own, data._replace(weight=weight), affine, mine, stop)

        weight = data.weight if data.weight.ndim == 2 else None
        own = (state.params, state.opt, state.alive)
        states, infos = lax.map(of_block, _in_blocks((own, weight, _grid(hyper)), here))
        params, opt, alive = _joined((states.params, states.opt, states.alive))
        last = TrainState(params, opt, alive, state.key, states.step[0])
        return last, jax.tree.map(lambda leaf: _joined(jnp.moveaxis(leaf, 1, 2)).T, infos)

    specs = (_STATE, of_data, _WHOLE, of_hyper, _WHOLE)
    return placement.over_devices(layout.mesh, of_device, specs, (_STATE, _HISTORY))(
        state, data, affine, hyper, stop
    )


def placed(state: TrainState, layout: Sharded) -> TrainState:
    """The state of a grid with the settings of each device on it."""
    sharding = jax.sharding.NamedSharding(layout.mesh, _SETTINGS)
    return state._replace(
        **{
            name: jax.device_put(getattr(state, name), sharding)
            for name in ("params", "opt", "alive")
        }
    )


def _grid(hyper: Hyper) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(hyper) if leaf.ndim]


def _with_grid(hyper: Hyper, grid: list[jax.Array]) -> Hyper:
    """The numbers of a block in the place of those of all settings; a scalar dropout stays."""
    rest = iter(grid)
    return jax.tree.map(lambda leaf: next(rest) if leaf.ndim else leaf, hyper)


def _in_blocks(tree: Any, blocks: int) -> Any:
    """Leaves (G, ...) as (L, G / L, ...)."""
    return jax.tree.map(lambda leaf: leaf.reshape(blocks, -1, *leaf.shape[1:]), tree)


def _joined(tree: Any) -> Any:
    """Leaves (L, G / L, ...) as (G, ...)."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)
