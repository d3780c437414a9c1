"""Where batches come from, and how their objective is summed: on one device, or over a mesh.

On a mesh the data are S blocks, and a batch is B / S rows of each, drawn with a key of the block.
The gradients of the S blocks are added in the order of the blocks (`placement.over_blocks`), so the
bits of W do not depend on the number of devices.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lincls import batches, placement
from lincls import objective as objectives
from lincls.batches import Sampling
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper, Params, Parts

_BLOCK_KEYS = 2**32 - 1  # no step's and no epoch's number


class Engine(NamedTuple):
    """What the loop needs to know of the data.

    Attributes:
        epoch_steps: steps that cover all examples once.
        order: (key, epoch) -> the order of an epoch.
        batch: (order, key, step) -> preprocessed examples, 0 where they are absent.
        drop: (X, key, step, rate) -> X after input dropout.
        value: (objective, params, batch, hyper) -> (loss, Parts).
    """

    epoch_steps: int
    order: Callable[..., Any]
    batch: Callable[..., Examples]
    drop: Callable[..., jax.Array]
    value: Callable[..., tuple[jax.Array, Parts]]


def on_one_device(
    data: Examples, affine: Affine, sampling: Sampling, batch_size: int, dtype: Any
) -> Engine:
    """Batches of rows (B, D).

    Args:
        data: X (N, D), y (N,), weight (N,) or (G, N).
        affine: preprocessing of X.
        sampling, batch_size: how batches are drawn.
        dtype: of the parameters.
    """
    num_examples = data.X.shape[0]

    def order(key: jax.Array, epoch: jax.Array) -> Any:
        return sampling.order(key, epoch, num_examples)

    def batch(order: Any, key: jax.Array, step: jax.Array) -> Examples:
        rows, present = sampling.rows(order, key, step, num_examples, batch_size)
        return batches.zero_absent(batches.take(data, affine, rows, present, dtype))

    epoch_steps = batches.steps_per_epoch(num_examples, batch_size)
    return Engine(epoch_steps, order, batch, batches.drop, objectives.of_present)


def on_mesh(
    data: Examples, affine: Affine, sampling: Sampling, batch_size: int, dtype: Any,
    num_blocks: int, block_rows: int,
) -> Engine:  # fmt: skip
    """Batches (L, B / S, D) of the L blocks of this device; to be called inside `shard_map`.

    Args:
        data: this device's rows, L blocks of `block_rows`.
        affine, sampling, dtype: as in `on_one_device`.
        batch_size: B, of all blocks together.
        num_blocks: S.
        block_rows: rows of a block, with the filling.
    """
    here, of_block = data.X.shape[0] // block_rows, batch_size // num_blocks
    numbers = lax.axis_index(placement.ROWS) * here + jnp.arange(here, dtype=jnp.int32)

    def order(key: jax.Array, epoch: jax.Array) -> Any:
        keys = _block_keys(key, numbers)
        return lax.map(lambda key: sampling.order(key, epoch, block_rows), keys)

    def batch(order: Any, key: jax.Array, step: jax.Array) -> Examples:
        def draw(block: tuple[Any, jax.Array]) -> batches.Rows:
            return sampling.rows(*block, step, block_rows, of_block)

        rows, present = lax.map(draw, (order, _block_keys(key, numbers)))
        places = rows + jnp.arange(here, dtype=jnp.int32)[:, None] * block_rows
        found = batches.take(data, affine, places.ravel(), present.ravel(), dtype)
        X, y, weight = batches.zero_absent(found)
        blocks = rows.shape
        return Examples(
            X.reshape(*blocks, -1), y.reshape(*blocks, *y.shape[1:]),
            weight.reshape(*weight.shape[:-1], *blocks),
        )  # fmt: skip

    def drop(X: jax.Array, key: jax.Array, step: jax.Array, rate: jax.Array) -> jax.Array:
        def of_block(block: tuple[jax.Array, jax.Array]) -> jax.Array:
            return batches.drop(*block, step, rate)

        return lax.map(of_block, (X, _block_keys(key, numbers)))

    epoch_steps = batches.steps_per_epoch(block_rows, of_block)
    return Engine(epoch_steps, order, batch, drop, partial(_value, num_blocks))


def _block_keys(key: jax.Array, numbers: jax.Array) -> jax.Array:
    of_blocks = jax.random.fold_in(key, _BLOCK_KEYS)
    return lax.map(lambda number: jax.random.fold_in(of_blocks, number), numbers)


def _value(
    num_blocks: int, objective: Objective, params: Params, batch: Examples, hyper: Hyper
) -> tuple[jax.Array, Parts]:
    """The objective of a batch that lies in blocks over all devices, and its parts."""
    total, weight = _sums(num_blocks, objective, params, batch, hyper)
    data = total / jnp.where(weight > 0, weight, 1)
    penalty = objectives.penalised(objective, params, hyper)
    return data + penalty, Parts(data, penalty)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _sums(
    num_blocks: int, objective: Objective, params: Params, batch: Examples, hyper: Hyper
) -> tuple[jax.Array, jax.Array]:
    """Sum of weight times loss, and of weight, over all blocks; differentiable in the parameters.

    A derivative by JAX would add the blocks' gradients in an order of the compiler.
    """
    of_block = partial(_block_sums, objective, params, hyper)
    return placement.over_blocks(of_block, batch, num_blocks)


def _sums_and_gradient(
    num_blocks: int, objective: Objective, params: Params, batch: Examples, hyper: Hyper
) -> tuple[tuple[jax.Array, jax.Array], Params]:
    def of_block(block: Examples) -> Any:
        def sums(params: Params) -> Any:
            return _block_sums(objective, params, hyper, block)

        (total, weight), gradient = jax.value_and_grad(sums, has_aux=True)(params)
        return (total, weight), gradient

    return placement.over_blocks(of_block, batch, num_blocks)


def _pulled_back(
    num_blocks: int, objective: Objective, gradient: Params, cotangents: Any
) -> tuple[Params, None, None]:
    return jax.tree.map(lambda leaf: cotangents[0] * leaf, gradient), None, None


_sums.defvjp(_sums_and_gradient, _pulled_back)


def _block_sums(
    objective: Objective, params: Params, hyper: Hyper, block: Examples
) -> tuple[jax.Array, jax.Array]:
    weight = block.weight.astype(objectives.dtype_of(params))
    losses = objectives.example_losses(objective, params, block._replace(weight=weight), hyper)
    return jnp.sum(weight * losses), jnp.sum(weight)
