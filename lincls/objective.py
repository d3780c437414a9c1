"""The objective: weighted mean loss + reg * penalty.  The one place where a mean is taken.

    L = sum_i w_i loss(s_i, y_i) / sum_i w_i + reg * R(W)        (slides 36, 41)

`Objective(loss, penalty)` is a pair of functions; their numbers come from `Hyper`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import batches, linear, losses, penalties
from lincls.structs import Affine, Examples, Hyper, LinearParams, Parts

_BLOCK = 1024  # rows that are floats at the same time in a pass over all data


class Objective(NamedTuple):
    """What is minimised: `loss(scores, labels, **hyper.loss)`, `penalty(W, **hyper.penalty)`.

    Both are module-level functions, so that equal objectives compile once.
    """

    loss: Callable[..., Any] = losses.softmax
    penalty: Callable[..., Any] = penalties.l2


def evaluate(
    objective: Objective, params: LinearParams, batch: Examples, hyper: Hyper
) -> tuple[jax.Array, Parts]:
    """The objective on a batch, and its two parts.

    Args:
        objective: the loss and the penalty.
        params: W (C, D), b (C,); their dtype rules, everything else is cast to it.
        batch: X (B, D), y (B,), weight (B,); weight 2 is the example twice, 0 not there,
            whatever its loss would be.
        hyper: scalars.

    Returns:
        (loss (), Parts(data (), penalty ())).  A batch of zero weight has data loss 0.
    """
    dtype = params.W.dtype
    reg, loss, penalty = as_numbers((hyper.reg, dict(hyper.loss), dict(hyper.penalty)), dtype)
    weight = jnp.asarray(batch.weight, dtype)
    per_example = objective.loss(_scores(params, batch.X, weight), batch.y, **loss)
    data = weighted_mean(per_example, weight)
    penalty = reg * objective.penalty(params.W, **penalty)
    return data + penalty, Parts(data, penalty)


def mean_over(
    fn: Callable[[LinearParams, Examples], jax.Array],
    params: LinearParams,
    data: Examples,
    affine: Affine,
) -> jax.Array:
    """The weighted mean of fn(params, batch) (B,) over all examples, for every setting at once.

    Rows are read and converted once for all settings, a block of them at a time.

    Args:
        fn: per-example values of one setting; they are added in float32 at least.
        params: W (C, D), or (G, C, D).
        data: X (N, D), y (N,), weight (N,), or (G, N) where settings see different examples.
        affine: preprocessing of X.

    Returns:
        () or (G,); 0 for a setting without any weight.
    """

    dtype, wide = params.W.dtype, at_least_float32(params.W.dtype)

    def total(params: LinearParams, batch: Examples) -> jax.Array:
        return jnp.sum(batch.weight.astype(wide) * fn(params, batch).astype(wide))

    if params.W.ndim == 3:
        total = jax.vmap(total, (0, Examples(None, None, 0 if data.weight.ndim == 2 else None)))
    sums = sum_over(lambda batch: total(params, batch), data, affine, dtype)
    weight = jnp.sum(data.weight.astype(wide), axis=-1)
    return sums / jnp.where(weight > 0, weight, 1)


def sum_over(
    fn: Callable[[Examples], jax.Array], data: Examples, affine: Affine, dtype: Any
) -> jax.Array:
    """The sum of fn(block) over blocks of all examples, the rows of a block in `dtype`.

    The last block is filled up with examples of weight 0, so fn has to use the weights.
    """
    num_examples = data.X.shape[0]
    block = min(num_examples, _BLOCK)

    def of_block(i: jax.Array) -> jax.Array:
        rows, present = batches.span(i, num_examples, block)
        return fn(batches.take(data, affine, rows, present, dtype))

    steps = jnp.arange(batches.steps_per_epoch(num_examples, block), dtype=jnp.int32)
    nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(of_block, steps[0]))
    return jax.lax.scan(lambda sums, i: (sums + of_block(i), None), nothing, steps)[0]


def over_all(
    objective: Objective, params: LinearParams, data: Examples, affine: Affine, hyper: Hyper
) -> jax.Array:
    """The objective over all examples, () or (G,), its rows converted a block at a time.

    Args:
        params: W (C, D), or (G, C, D) with the same scalars of `hyper` for each.
    """
    dtype = params.W.dtype
    reg, loss, penalty = as_numbers((hyper.reg, dict(hyper.loss), dict(hyper.penalty)), dtype)

    def per_example(params: LinearParams, batch: Examples) -> jax.Array:
        return objective.loss(_scores(params, batch.X, batch.weight), batch.y, **loss)

    def penalised(W: jax.Array) -> jax.Array:
        return reg * objective.penalty(W, **penalty)

    each = jax.vmap(penalised) if params.W.ndim == 3 else penalised
    data_loss = mean_over(per_example, params, data, affine)
    return data_loss + each(params.W).astype(data_loss.dtype)


def _scores(params: LinearParams, X: Any, weight: Any) -> jax.Array:
    """Scores (B, C), 0 for examples of weight 0: 0 times a loss that overflowed would be NaN."""
    return jnp.where(weight[:, None] > 0, linear.scores(params, X), 0)


def at_least_float32(dtype: Any) -> Any:
    """The dtype in which many values are added: of narrower ones bfloat16 counts to 256."""
    return dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.dtype(jnp.float32)


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """sum(w * v) / sum(w), and 0 where all weights are 0."""
    total = jnp.sum(weight)
    return jnp.sum(weight * values) / jnp.where(total > 0, total, 1.0)


def as_numbers(tree: Any, dtype: Any) -> Any:
    """Every leaf as an array of `dtype`: a float, an int and a numpy scalar trace as one."""
    return jax.tree.map(lambda number: jnp.asarray(number, dtype), tree)


def plain(hyper: Hyper) -> Hyper:
    """Any mapping as a dict, any list as an array, so that the leaves are the numbers.

    Raises:
        ValueError: a number that is None; leave its key out to have the default.
    """

    def array(number: Any) -> Any:
        if number is None:
            raise ValueError("a number of hyper is None; leave its key out instead")
        return number if hasattr(number, "shape") else np.asarray(number)

    def plain(field: Any) -> Any:
        if isinstance(field, Mapping):
            return {name: array(number) for name, number in field.items()}
        return array(field)

    return Hyper(*map(plain, hyper))
