"""Sums, means and accuracies over all data, a block of rows at a time, wherever they lie."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec

from lincls import batches, checks, linear, placement, preprocessing
from lincls import objective as objectives
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper, LinearParams, Params, Sharded

BLOCK = 1024  # rows that are floats at the same time


def sum_over(
    fn: Callable[[Examples], jax.Array], data: Examples, affine: Affine, dtype: Any,
    block: int = BLOCK,
) -> jax.Array:  # fmt: skip
    """The sum of fn(block) over blocks of all examples, the rows of a block in `dtype`.

    Args:
        fn: a function of a block of examples.  The last block is filled up with examples of
            weight 0, so it has to use the weights.
        data: X (N, D), y (N, ...), weight (N,) or (G, N).
        affine: preprocessing of X.
        dtype: of the rows.
        block: rows that are floats at the same time.
    """
    if isinstance(data.X, Sharded):
        return _sum_over_mesh(fn, data, affine, dtype, block)
    data = jax.tree.map(jnp.asarray, checks.examples(data))
    num_examples = data.X.shape[0]
    block = min(num_examples, block)

    def of_block(i: jax.Array) -> jax.Array:
        rows, present = batches.span(i, num_examples, block)
        return fn(batches.zero_absent(batches.take(data, affine, rows, present, dtype)))

    steps = jnp.arange(batches.steps_per_epoch(num_examples, block), dtype=jnp.int32)
    nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(of_block, steps[0]))
    return jax.lax.scan(lambda sums, i: (sums + of_block(i), None), nothing, steps)[0]


def _sum_over_mesh(
    fn: Callable[[Examples], jax.Array], data: Examples, affine: Affine, dtype: Any, block: int
) -> jax.Array:
    """The same over rows on a mesh, in the order of its blocks."""
    num_blocks, block_rows = data.X.num_blocks, data.X.block_rows

    def in_blocks(part: jax.Array, axis: int) -> jax.Array:
        shape = (*part.shape[:axis], -1, block_rows, *part.shape[axis + 1 :])
        return jnp.moveaxis(part.reshape(shape), axis, 0)

    def of_device(*parts: jax.Array) -> jax.Array:
        blocks = Examples(*(in_blocks(*part) for part in zip(parts, axes, strict=True)))
        of_block = partial(sum_over, fn, affine=affine, dtype=dtype, block=block)
        return placement.over_blocks(of_block, blocks, num_blocks)

    axes = [part.axis for part in data]
    specs = tuple(PartitionSpec(*(None,) * axis, placement.ROWS) for axis in axes)
    run = placement.over_devices(data.X.mesh, of_device, specs)
    return run(*(part.array for part in data))


def mean_over(
    fn: Callable[[Params, Examples], jax.Array],
    params: Params,
    data: Examples,
    affine: Affine,
    block: int = BLOCK,
    is_grid: bool | None = None,
) -> jax.Array:
    """The weighted mean of fn(params, batch) (B,) over all examples, for every setting at once.

    Rows are read and converted once for all settings, a block of them at a time.

    Args:
        fn: per-example values of one setting; they are added in float32 at least.
        params: W (C, D), or (G, C, D); or another tree.
        data: X (N, D), y (N,), weight (N,), or (G, N) where settings see different examples.
        affine: preprocessing of X.
        block: rows that are floats at the same time.
        is_grid: whether the leaves have an axis G; by default, whether W has it.

    Returns:
        () or (G,); 0 for a setting without any weight.
    """
    dtype = objectives.dtype_of(params)
    wide = at_least_float32(dtype)

    def total(params: Params, batch: Examples) -> jax.Array:
        return jnp.sum(batch.weight.astype(wide) * fn(params, batch).astype(wide))

    if _is_grid(params, is_grid):
        total = jax.vmap(total, (0, Examples(None, None, 0 if data.weight.ndim == 2 else None)))
    sums = sum_over(lambda batch: total(params, batch), data, affine, dtype, block)
    weight = _total_weight(data, affine, wide)
    return sums / jnp.where(weight > 0, weight, 1)


def _is_grid(params: Params, said: bool | None) -> bool:
    return bool(params.W.ndim == 3) if said is None else said


def _total_weight(data: Examples, affine: Affine, dtype: Any) -> jax.Array:
    if isinstance(data.X, Sharded):
        return sum_over(lambda batch: jnp.sum(batch.weight, axis=-1), data, affine, dtype)
    return jnp.sum(data.weight.astype(dtype), axis=-1)


def objective(
    objective: Objective, params: LinearParams, data: Examples, affine: Affine, hyper: Hyper
) -> jax.Array:
    """The objective over all examples, () or (G,).

    Args:
        objective: the loss and the penalty.
        params: W (C, D), or (G, C, D) with the same scalars of `hyper` for each.
        data: X (N, D), y (N,), weight (N,), or (G, N).
        affine: preprocessing of X.
        hyper: scalars.
    """

    def per_example(params: LinearParams, batch: Examples) -> jax.Array:
        return objectives.example_losses(objective, params, batch, hyper)

    def penalised(params: LinearParams) -> jax.Array:
        return objectives.penalised(objective, params, hyper)

    each = jax.vmap(penalised) if params.W.ndim == 3 else penalised
    data_loss = mean_over(per_example, params, data, affine)
    return data_loss + each(params).astype(data_loss.dtype)


def objective_and_gradient(
    of: Objective, params: LinearParams, data: Examples, affine: Affine, hyper: Hyper
) -> tuple[jax.Array, LinearParams]:
    """The objective of one setting over all examples, and its gradient in the parameters.

    Args:
        of: the loss and the penalty.
        params, data, affine, hyper: as for `objective`.
    """
    if not isinstance(data.X, Sharded):
        return jax.value_and_grad(objective, argnums=1)(of, params, data, affine, hyper)
    unravel = ravel_pytree((params.b[0], params.b[0], params))[1]

    def sums(batch: Examples) -> jax.Array:
        def total(params: LinearParams) -> jax.Array:
            return jnp.sum(batch.weight * objectives.example_losses(of, params, batch, hyper))

        value, gradient = jax.value_and_grad(total)(params)
        return ravel_pytree((value, jnp.sum(batch.weight), gradient))[0]

    total, weight, gradient = unravel(sum_over(sums, data, affine, params.W.dtype))
    penalty, of_penalty = jax.value_and_grad(objectives.penalised, argnums=1)(of, params, hyper)
    gradient = jax.tree.map(lambda leaf, more: leaf / weight + more, gradient, of_penalty)
    return total / weight + penalty, gradient


def accuracies(
    params: Params, data: Examples, affine: Affine, *,
    scores_fn: Callable[..., Any] = linear.scores, is_grid: bool | None = None,
) -> Any:  # fmt: skip
    """The weighted accuracy of every setting; rows are read and converted once for all.

    Args:
        params: W (C, D), or (G, C, D) for a grid, acting on preprocessed rows.
        data: X (N, D), which may stay in a large file, y (N,), weight (N,) or (G, N).
        affine: preprocessing.
        scores_fn: `(params, X) -> (B, C)`, of other parameters than LinearParams.
        is_grid: whether the leaves have an axis G; by default, whether W has it.

    Returns:
        () or (G,) in 0..1; 0 for a setting without any weight.

    Raises:
        TypeError, ValueError: data that do not fit the parameters, by name.
    """
    scored = Objective(scores_fn=scores_fn)
    params = objectives.checked_params(scored, params)
    is_grid = _is_grid(params, is_grid)
    checks.kind(data, Examples, "data", "Examples(X, y, weight)")
    X = checks.rows_anywhere(data.X, num_features=objectives.num_features(params))
    one = jax.tree.map(lambda leaf: leaf[0], params) if is_grid else params
    num_classes = objectives.num_classes(scored, one, X.shape[1])
    y = checks.labels_anywhere(data.y, len(X), num_classes, "y")
    affine = preprocessing.checked(affine, X.shape[1])
    of = partial(_accuracies, scores_fn=scores_fn, is_grid=is_grid)
    if isinstance(X, Sharded):
        data = on_mesh(data._replace(X=X, y=y), objectives.dtype_of(params))
        return np.asarray(of(*placement.replicated(X.mesh, (params,)), data, affine))
    data = Examples(X, y, checks.weights(data.weight, len(X), zero=True))
    if not placement.is_large(data.X):
        return of(params, data, affine)
    found = mean_of_file(lambda block: of(params, block, affine), data)
    return np.asarray(found, at_least_float32(objectives.dtype_of(params)))


def mean_of_file(of_block: Callable[[Examples], Any], data: Examples) -> np.ndarray:
    """A weighted mean over all examples of a large file, read block by block, in float64.

    Args:
        of_block: a block of examples to their weighted mean, () or (G,).
        data: X (N, D) in its file, y (N,), weight (N,) or (G, N).

    Returns:
        () or (G,); 0 where there is no weight.
    """
    total = weight = np.zeros(())
    for block in placement.blocks(data):
        here = np.asarray(block.weight, np.float64).sum(axis=-1)
        total = total + here * np.asarray(of_block(block), np.float64)
        weight = weight + here
    return total / np.where(weight > 0, weight, 1)


def on_mesh(data: Examples, dtype: Any) -> Examples:
    """Examples whose labels and weights lie as their rows X do, on a mesh.

    Args:
        data: X on a mesh; y and weight there or on the host.
        dtype: of the weights.
    """
    X, y, weight = data
    if not isinstance(weight, Sharded):
        weight = np.asarray(checks.weights(weight, len(X), zero=True), dtype)
    weight = placement.like(X, weight, "weight", axis=weight.ndim - 1)
    return Examples(X, placement.like(X, y, "y"), weight)


@partial(jax.jit, static_argnames=("scores_fn", "is_grid"))
def _accuracies(
    params: Params, data: Examples, affine: Affine, scores_fn: Callable[..., Any], is_grid: bool
) -> jax.Array:
    def hits(params: Params, batch: Examples) -> jax.Array:
        found = jnp.argmax(scores_fn(params, batch.X), axis=-1)
        return found.astype(batch.y.dtype) == batch.y

    return mean_over(hits, params, data, affine, is_grid=is_grid)


def at_least_float32(dtype: Any) -> Any:
    """The dtype of long sums: bfloat16 cannot count past 256, so narrow dtypes use float32."""
    return dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.dtype(jnp.float32)
