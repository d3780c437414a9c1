"""Sums over the blocks of all devices, in the order of the blocks.

One exchange brings each device all blocks' values for its share of the sum; it adds them and
spreads the result.  That moves as many bytes as an all-reduce, and no sum depends on which device
holds which block.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lincls.placement.sharding import ROWS


def over_blocks(fn: Callable[[Any], Any], blocks: Any, num_blocks: int) -> Any:
    """The sum of `fn(block)` over all blocks of all devices, in the order of the blocks.

    Args:
        fn: of one block to a tree of floating sums.
        blocks: a tree with a leading axis L, this device's blocks.
        num_blocks: S.
    """
    here = jax.tree.leaves(blocks)[0].shape[0]
    one = jax.tree.map(lambda leaf: leaf[0], blocks)
    if here == 1:  # XLA reads a single block in place, and then rounds otherwise than with several
        blocks = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), blocks)
    like, unravel = ravel_pytree(jax.tree.map(_zeros, jax.eval_shape(fn, one)))

    def of_block(i: jax.Array) -> jax.Array:
        block = jax.tree.map(lambda leaf: leaf[i], blocks)
        return jax.lax.cond(
            i < here, lambda: ravel_pytree(fn(block))[0], lambda: jnp.zeros_like(like)
        )

    # At least two: XLA would unroll a loop of one round, and round otherwise than in a loop.
    vectors = jax.lax.map(of_block, jnp.arange(max(2, here), dtype=jnp.int32))[:here]
    vectors = jnp.pad(vectors, ((0, 0), (0, -like.size % num_blocks)))
    return unravel(_in_order(vectors, num_blocks)[: like.size])


def _zeros(leaf: Any) -> jax.Array:
    return jnp.zeros(leaf.shape, leaf.dtype)


def _in_order(vectors: jax.Array, num_blocks: int) -> jax.Array:
    """The sum of all blocks' vectors, (L, P) on each device, in the order of the blocks."""
    here = len(vectors)
    if here < num_blocks:
        shares = vectors.reshape(here, num_blocks // here, -1)
        shares = jax.lax.all_to_all(shares, ROWS, split_axis=1, concat_axis=0, tiled=True)
        vectors = shares.reshape(num_blocks, -1)
    # A loop, because XLA would fuse sums into what follows, on one device otherwise than on many.
    nothing = jnp.zeros_like(vectors[0])
    total = jax.lax.scan(lambda total, one: (total + one, None), nothing, vectors)[0]
    return jax.lax.all_gather(total, ROWS, tiled=True) if here < num_blocks else total
