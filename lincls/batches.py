"""From (key, step) to the rows of a batch, and from rows to floats.

A sampling says which rows step t trains on, as a function of (key, t) alone, so a run can
stop and go on anywhere.  An epoch's permutation is made once an epoch, by a function of its own:

    order = sampling.order(key, epoch, num_examples)            once an epoch (or () )
    rows, present = sampling.rows(order, key, step, num_examples, batch_size)

`rows` is (B,) int32 and `present` (B,) bool: False marks the filling of a short last batch,
whose weight becomes 0.  `num_examples` and `batch_size` are Python ints.  A sampling of your
own that needs no permutation is `stateless(fn)` with `fn(key, step, num_examples, batch_size)`.
If its B is not the batch size, `num_rows(num_examples, batch_size)` says what it is.

`take` is the one place where rows are gathered and become floats; `drop` is input dropout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from lincls import preprocessing
from lincls.structs import Affine, Examples

Rows = tuple[Int[jax.Array, "B"], Bool[jax.Array, "B"]]


_DROPOUT = 2**31 - 1  # no step's and no epoch's number: masks share no bits with batches


def _batch_size(num_examples: int, batch_size: int) -> int:
    return batch_size


class Sampling(NamedTuple):
    """How batches are drawn: module-level functions, see the top of the file."""

    order: Callable[..., Any]
    rows: Callable[..., Any]
    num_rows: Callable[[int, int], int] = _batch_size


def stateless(
    fn: Callable[..., Rows], num_rows: Callable[[int, int], int] = _batch_size
) -> Sampling:
    """A sampling from `fn(key, step, num_examples, batch_size) -> (rows, present)`.

    Args:
        fn: what step t trains on.
        num_rows: `num_rows(num_examples, batch_size)`, how many rows `fn` returns.
    """
    return Sampling(_no_order, _Stateless(fn), num_rows)


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Batches that cover all examples once; the last may be short."""
    return -(-num_examples // batch_size)


def _no_order(key: jax.Array, epoch: jax.Array, num_examples: int) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class _Stateless:
    """Adapter that drops the order; a dataclass, so that equal functions compare equal."""

    fn: Callable[..., Rows]

    def __call__(self, order: Any, *arguments: Any) -> Rows:
        return self.fn(*arguments)


def _with_replacement(key: jax.Array, step: jax.Array, num_examples: int, batch_size: int) -> Rows:
    key = jax.random.fold_in(key, step)
    rows = jax.random.randint(key, (batch_size,), 0, num_examples, jnp.int32)
    return rows, jnp.ones((batch_size,), bool)


def span(step: jax.Array, num_examples: int, batch_size: int) -> Rows:
    """Batch `step` of passes over all examples in file order, the last of a pass short."""
    start = step % steps_per_epoch(num_examples, batch_size) * batch_size
    position = start + jnp.arange(batch_size, dtype=jnp.int32)
    return jnp.minimum(position, num_examples - 1), position < num_examples


def _sequential(key: jax.Array, step: jax.Array, num_examples: int, batch_size: int) -> Rows:
    return span(step, num_examples, batch_size)


def _permutation(key: jax.Array, epoch: jax.Array, num_examples: int) -> jax.Array:
    return jax.random.permutation(
        jax.random.fold_in(key, epoch), jnp.arange(num_examples, dtype=jnp.int32)
    )


def _from_permutation(
    order: jax.Array, key: jax.Array, step: jax.Array, num_examples: int, batch_size: int
) -> Rows:
    position, present = span(step, num_examples, batch_size)
    return order[position], present


def _all_rows(num_examples: int, batch_size: int) -> int:
    return num_examples


def _all(key: jax.Array, step: jax.Array, num_examples: int, batch_size: int) -> Rows:
    return jnp.arange(num_examples, dtype=jnp.int32), jnp.ones((num_examples,), bool)


replacement = stateless(_with_replacement)
"""Each example of each batch drawn from all, as the lecture samples (slide 59)."""

sequential = stateless(_sequential)
"""File order, over and over, the last batch of a pass short."""

full = stateless(_all, _all_rows)
"""All examples at every step, whatever the batch size: gradient descent (slide 58)."""

shuffled = Sampling(_permutation, _from_permutation)
"""Epochs: every example once in a fresh random order, the last batch short."""


def take(
    data: Examples, affine: Affine, rows: jax.Array, present: jax.Array, dtype: Any
) -> Examples:
    """Gather the rows of a batch and turn them into floats of `dtype`: (x - shift) * scale.

    Args:
        data: X (N, D) uint8 or floating, y (N,), weight (N,) or (G, N).
        rows, present: (B,), of a sampling.

    Returns:
        Examples(X (B, D), y (B,), weight (B,) or (G, B)), weight 0 where not present.
    """
    X = preprocessing.apply(affine, data.X[rows], dtype)
    weight = jnp.where(present, data.weight[..., rows].astype(dtype), 0)
    return Examples(X, data.y[rows], weight)


def drop(X: jax.Array, key: jax.Array, step: jax.Array, rate: jax.Array) -> jax.Array:
    """Input dropout: each feature of each row becomes 0 with probability `rate`.

    What remains is divided by 1 - rate, so that the mean of a score stays what it was and
    nothing changes at test time.  The mask of step t is a function of (key, t); one mask
    serves all settings of a grid.

    Args:
        X: (B, D) preprocessed rows, where 0 is the mean image.
        rate: scalar in [0, 1).

    Source: slide 41; Srivastava et al., JMLR 2014, in the inverted form.
    """
    of_step = jax.random.fold_in(jax.random.fold_in(key, _DROPOUT), step)
    kept = jax.random.uniform(of_step, X.shape, X.dtype) >= rate
    return jnp.where(kept, X / (1 - rate), 0)
