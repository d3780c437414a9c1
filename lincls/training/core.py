"""The pure core of training: a recipe, one step, one loop.

`run` is the only loop: a `lax.scan` that draws a batch, then applies `step`.  Where numbers of
`hyper` have G values, `step` is vmapped inside the scan: a batch is gathered and converted once
for all settings, and their products become one matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

from lincls import batches, checks, optimizers, placement, precision, preprocessing
from lincls import hyper as numbers
from lincls import objective as objectives
from lincls.batches import Sampling
from lincls.objective import Objective
from lincls.structs import (
    Affine,
    Examples,
    Hyper,
    LinearParams,
    Params,
    Sharded,
    StepInfo,
    TrainState,
)
from lincls.training import grids, room
from lincls.training.engines import Engine, on_mesh, on_one_device

Optimizer = Callable[..., optax.GradientTransformation]


def last(state: TrainState) -> Params:
    """The parameters after the last step."""
    return state.params


@dataclass(frozen=True)
class Recipe:
    """How to train.  It is static: its numbers stand in `Hyper`, and equal recipes compile once.

    Attributes:
        objective: what is minimised.
        optimizer: a function of `hyper.optimizer`'s numbers, such as `optimizers.sgd`.
        sampling: how batches are drawn, a value of `batches`.
        batch_size: examples a step.
        params_fn: the parameters of a state that validation and cross-validation measure:
            those after the last step, or their mean (`optimizers.averaged`).

    Raises:
        TypeError, ValueError: a part of another kind, by name.
    """

    objective: Objective = Objective()  # noqa: RUF009 (immutable)
    optimizer: Optimizer = optimizers.sgd
    sampling: Sampling = batches.shuffled
    batch_size: int = 256
    params_fn: Callable[[TrainState], Params] = last

    def __post_init__(self) -> None:
        objectives.checked(self.objective)
        wanted = "optimizers.sgd, a function of the numbers in hyper.optimizer"
        checks.kind(self.optimizer, Callable, "optimizer", wanted)
        checks.kind(self.sampling, Sampling, "sampling", "batches.shuffled")
        checks.kind(self.params_fn, Callable, "params_fn", "optimizers.averaged")
        object.__setattr__(self, "batch_size", checks.count(self.batch_size, "batch_size"))


def start(key: jax.Array, params: Params, recipe: Recipe, hyper: Hyper) -> TrainState:
    """The state before the first step.

    Args:
        key: a typed key; it belongs to the run and is shared by all settings of a grid.
        params: W (C, D), b (C,); for a grid the same start for all, or leaves (G, ...).  Or
            the tree that the recipe's `scores_fn` reads; for a grid the same start for all.
        recipe: how to train.
        hyper: numbers; a number with G values makes a grid, which may lie on a mesh
            (`placement.shard_settings`).

    Returns:
        TrainState, whose params, opt and alive have a leading axis G for a grid.

    Raises:
        TypeError, ValueError: an argument of another kind, by name; numbers that the dtype of
            the parameters does not hold; `optimizers.proximal` after momentum.
    """
    checks.key(key)
    checks.kind(recipe, Recipe, "recipe", "Recipe(Objective(losses.softmax))")
    params = _on_device(objectives.checked_params(recipe.objective, params))
    hyper, layout = numbers.gathered(hyper)
    hyper = numbers.as_arrays(hyper, objectives.dtype_of(params))

    def init(params: Params, hyper: Hyper) -> Any:
        opt = recipe.optimizer(**hyper.optimizer).init(params)
        optimizers.check_proximal(opt)
        return opt

    settings = numbers.num_settings(hyper)
    if settings is None:
        opt, alive = init(params, hyper), jnp.ones((), bool)
    else:
        inits = jax.vmap(init, (0, numbers.axes(hyper)))
        is_shared = not isinstance(params, LinearParams) or params.W.ndim == 2
        room.check_start(
            params, settings, lambda params: inits(params, hyper), is_shared=is_shared,
            devices=1 if layout is None else layout.mesh.size,
        )  # fmt: skip
        if is_shared:
            params = jax.tree.map(lambda p: jnp.broadcast_to(p, (settings, *p.shape)), params)
        opt = inits(params, hyper)
        alive = jnp.ones((settings,), bool)
    # optax's L-BFGS begins with weak types and goes on without: the loop would compile twice.
    opt = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), opt)
    state = TrainState(params, opt, alive, key, jnp.zeros((), jnp.int32))
    return state if layout is None else grids.placed(state, layout)


def _on_device(params: Params) -> Params:
    """Arrays of JAX whose numbers are those that were given."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if isinstance(leaf, np.ndarray):
            name = "params" + jax.tree_util.keystr(path)
            precision.survives(leaf, name, jax.dtypes.canonicalize_dtype(leaf.dtype))
    return jax.tree.map(jnp.asarray, params)


def step(
    state: TrainState, batch: Examples, recipe: Recipe, hyper: Hyper
) -> tuple[TrainState, StepInfo]:
    """One setting, one batch: W <- W + update(gradient) (slide 59).

    A setting whose loss, gradient or new parameters are not finite keeps its last finite
    parameters for good: `alive` turns False.

    Args:
        state: of one setting (no axis G).
        batch: X (B, D), y (B,), weight (B,), already preprocessed.  A row of weight 0 is not
            there, whatever it holds.
        recipe: how to train.
        hyper: scalars.

    Returns:
        The next state, and StepInfo of scalars, measured at the old parameters.
    """
    check_kinds(state, recipe)
    return _step(state, batches.zero_absent(batch), recipe, numbers.plain(hyper))


def _step(
    state: TrainState, batch: Examples, recipe: Recipe, hyper: Hyper,
    value: Callable[..., Any] = objectives.of_present, drop: Callable[..., Any] = batches.drop,
) -> tuple[TrainState, StepInfo]:  # fmt: skip
    """As `step`, for a batch that went through `batches.zero_absent`, or one of an `Engine`."""
    dtype = objectives.dtype_of(state.params)
    given = numbers.as_numbers(dict(hyper.optimizer), dtype)
    transformation = optax.with_extra_args_support(recipe.optimizer(**given))
    if hyper.dropout is not None:
        rate = jnp.asarray(hyper.dropout, dtype)
        batch = batch._replace(X=drop(batch.X, state.key, state.step, rate))

    def value_fn(params: Params) -> jax.Array:
        return value(recipe.objective, params, batch, hyper)[0]

    (loss, parts), grads = jax.value_and_grad(
        lambda params: value(recipe.objective, params, batch, hyper), has_aux=True
    )(state.params)
    updates, opt = transformation.update(
        grads, state.opt, state.params, value=loss, grad=grads, value_fn=value_fn
    )
    params = optax.apply_updates(state.params, updates)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, state.params)
    grad_norm = optax.tree.norm(grads)
    alive = state.alive & jnp.isfinite(loss) & jnp.isfinite(grad_norm) & _all_finite(params)
    kept, kept_opt = where(alive, (params, opt), (state.params, state.opt))
    info = StepInfo(loss, parts.data, parts.penalty, grad_norm, alive)
    return TrainState(kept, kept_opt, alive, state.key, state.step + 1), info


def run(
    state: TrainState,
    data: Examples,
    affine: Affine,
    recipe: Recipe,
    hyper: Hyper,
    *,
    num_steps: int,
    stop: Any = None,
) -> tuple[TrainState, StepInfo]:
    """The one loop: `num_steps` steps in one program.  Pure; composes under jit and sharding.

    Args:
        state: of `start`, or of an earlier run.
        data: X (N, D) uint8 or floating, y (N,) int32, weight (N,), or (G, N) where
            settings see different examples; all of one device, or all of `placement.shard`.
        affine: preprocessing, applied to each batch.
        recipe: how to train (static).
        hyper: numbers, scalars or (G,).
        num_steps: T (static).
        stop: a step number, traced.  Steps from that number on leave the state as it is; drop
            their StepInfo.  So chunks of one compiled length can end at any step.

    Returns:
        The state after the last step, and StepInfo with leaves (T,) or (T, G).

    Raises:
        TypeError, ValueError: an argument of another kind or shape, by name.
    """
    check_kinds(state, recipe)
    checks.kind(data, Examples, "data", "Examples(X, y, weight)")
    num_steps = checks.count(num_steps, "num_steps", 0)
    dtype = objectives.dtype_of(state.params)
    hyper, layout = numbers.gathered(hyper)
    hyper = numbers.as_arrays(hyper, dtype)
    loop = partial(_loop, recipe=recipe, num_steps=num_steps)
    if isinstance(data.X, Sharded):
        if layout is not None:
            raise ValueError("X and hyper both lie on a mesh; lay out the rows or the settings")
        affine = preprocessing.checked(affine, data.X.shape[1])
        return _run_on_mesh(loop, state, data, affine, recipe, hyper, stop)
    data = checks.examples(data, objectives.num_features(state.params))
    affine = preprocessing.checked(affine, data.X.shape[1])
    data = jax.tree.map(jnp.asarray, data)

    def here(state: TrainState, data: Examples, affine: Affine, hyper: Hyper, stop: Any) -> Any:
        engine = on_one_device(data, affine, recipe.sampling, recipe.batch_size, dtype)
        return loop(engine, state, hyper, stop, grid_of_weights=data.weight.ndim == 2)

    if layout is None:
        return here(state, data, affine, hyper, stop)
    return grids.over_settings(here, layout, state, data, affine, hyper, stop)


def _run_on_mesh(
    loop: Callable[..., Any], state: TrainState, data: Examples, affine: Affine, recipe: Recipe,
    hyper: Hyper, stop: Any,
) -> tuple[TrainState, StepInfo]:  # fmt: skip
    """The loop on all devices of a mesh, each with its own rows and the whole state."""
    check_on_mesh(data, recipe)
    X, dtype = data.X, objectives.dtype_of(state.params)
    split = (recipe.sampling, recipe.batch_size, dtype, X.num_blocks, X.block_rows)

    def of_device(data: Examples, affine: Affine, *rest: Any) -> Any:
        engine = on_mesh(data, affine, *split)
        return loop(engine, *rest, grid_of_weights=data.weight.ndim == 2)

    specs = Examples(*(PartitionSpec(*(None,) * part.axis, placement.ROWS) for part in data))
    everywhere = (PartitionSpec(),) * 4
    run = placement.over_devices(X.mesh, of_device, (specs, *everywhere))
    return run(Examples(*(part.array for part in data)), affine, state, hyper, stop)


def check_on_mesh(data: Examples, recipe: Recipe) -> None:
    """TypeError, ValueError for examples that do not lie alike, or a batch without equal parts."""
    for name, part in data._asdict().items():
        checks.kind(part, Sharded, name, "placement.shard(mesh, X, y, weight), as X is")
        placement.like(data.X, part, name)
    if recipe.batch_size % data.X.num_blocks:
        parts = data.X.num_blocks
        raise ValueError(
            f"batch_size {recipe.batch_size} has no equal parts for {parts} blocks of the data; "
            f"use {-(-recipe.batch_size // parts) * parts}"
        )


def _loop(
    engine: Engine, state: TrainState, hyper: Hyper, stop: Any, *, recipe: Recipe, num_steps: int,
    grid_of_weights: bool,
) -> tuple[TrainState, StepInfo]:  # fmt: skip
    """`run` behind the door: the steps of an engine."""
    take_step = _over_settings(recipe, hyper, engine, grid_of_weights)
    if num_steps < 2:  # XLA inlines a loop of one step, which then rounds otherwise
        end = state.step + num_steps
        stop = end if stop is None else jnp.minimum(stop, end)

    def order_of(step: jax.Array) -> Any:
        return engine.order(state.key, step // engine.epoch_steps)

    def body(carry: tuple[TrainState, Any], i: jax.Array) -> tuple[Any, StepInfo]:
        state, order = carry
        begins = (i == 0) | (state.step % engine.epoch_steps == 0)
        order = jax.lax.cond(begins, order_of, lambda _: order, state.step)
        batch = engine.batch(order, state.key, state.step)
        new_state, info = take_step(state, batch, hyper)
        if stop is not None:
            new_state = where(state.step < stop, new_state, state)
        return (new_state, order), info

    # Not yet an order: the first step makes it, so that a sort is compiled once, not twice.
    order = jax.tree.map(jnp.zeros_like, jax.eval_shape(order_of, state.step))
    steps = jnp.arange(max(num_steps, 2), dtype=jnp.int32)
    (state, _), info = jax.lax.scan(body, (state, order), steps)
    return state, jax.tree.map(lambda leaf: leaf[:num_steps], info)


compiled_run = jax.jit(run, static_argnames=("recipe", "num_steps"))


def check_kinds(state: Any, recipe: Any) -> None:
    """TypeError for a state or a recipe of another kind."""
    checks.kind(state, TrainState, "state", "training.start(key, params, recipe, hyper)")
    checks.kind(recipe, Recipe, "recipe", "Recipe(Objective(losses.softmax))")


def _over_settings(
    recipe: Recipe, hyper: Hyper, engine: Engine, grid_of_weights: bool
) -> Callable[..., Any]:
    """`_step` for one setting or, vmapped, for all; key, step and batch are shared."""

    def take_step(state: TrainState, batch: Examples, hyper: Hyper) -> Any:
        return _step(state, batch, recipe, hyper, engine.value, engine.drop)

    if numbers.num_settings(hyper) is None:
        return take_step
    state_axes = TrainState(params=0, opt=0, alive=0, key=None, step=None)
    batch_axes = Examples(None, None, 0 if grid_of_weights else None)
    return jax.vmap(take_step, (state_axes, batch_axes, numbers.axes(hyper)), (state_axes, 0))


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def where(condition: Any, new: Any, old: Any) -> Any:
    """Leaf by leaf `new` where the condition, () or (G,), holds, `old` elsewhere."""

    def pick(new: Any, old: Any) -> jax.Array:
        axes = tuple(range(condition.ndim, new.ndim))
        return jnp.where(jnp.expand_dims(condition, axes), new, old)

    return jax.tree.map(pick, new, old)
