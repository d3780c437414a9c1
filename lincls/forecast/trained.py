"""The forecast of a training: its program at full size, and a few steps of it on few rows."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from lincls import batches, checks, placement
from lincls import hyper as numbers
from lincls import training as trainings
from lincls.forecast import layout as layouts
from lincls.forecast.layout import Layout, Rows
from lincls.forecast.told import Forecast, size
from lincls.structs import Affine, Examples, Hyper, LinearParams, Sharded, TrainState
from lincls.training import Recipe, driver
from lincls.training.core import check_on_mesh, compiled_run
from lincls.training.streams import steps_per_piece

_PROBED = 2e9  # multiplications and additions of the steps that are timed
_MOST_STEPS = 64  # that are timed
_MOST_STATE = 2**25  # bytes of their parameters and optimiser's state
_MOST_DATA = 2**26  # bytes of their rows


class _Task(NamedTuple):
    """A training: what `training.fit` makes of its arguments, as shapes."""

    rows: Rows
    layout: Layout
    recipe: Recipe
    hyper: Hyper
    state: TrainState
    data: Examples
    settings: int
    chunk: int


def training(
    X: Any,
    recipe: Recipe,
    hyper: Hyper,
    *,
    num_steps: int,
    num_classes: int,
    targets: bool = False,
    weight_of_each: bool = False,
    num_devices: int | None = None,
    dtype: Any = np.float32,
    limit_bytes: int | None = None,
) -> Forecast:
    """What `training.fit` will take.

    Args:
        X: rows (N, D) or images, or their shape and dtype as `jax.ShapeDtypeStruct`.
        recipe, hyper: how to train, and with which numbers; G values make a grid.
        num_steps: T.
        num_classes: C.
        targets: whether labels are (N, C), as `losses.cross_entropy` takes them.
        weight_of_each: whether settings see different examples, as in a cross-validation: the
            weights are (G, N).
        num_devices: over which the rows will lie, default 1, or those on which they lie.  Where
            this process has fewer, they are taken to be as fast as one of its own, and the time
            of their exchange is left out.
        dtype: of the parameters.
        limit_bytes: of each device, where less than all of its memory may be used.

    Returns:
        Forecast.  Its time includes neither reading a file nor, where a run is a small part of an
        epoch, drawing the order of all rows.

    Raises:
        TypeError, ValueError: an argument of another kind, by name.
    """
    checks.kind(recipe, Recipe, "recipe", "Recipe(Objective(losses.softmax))")
    num_steps = checks.count(num_steps, "num_steps")
    num_classes = checks.count(num_classes, "num_classes")
    if numbers.gathered(hyper)[1] is not None:
        raise ValueError("hyper lies on a mesh; give the settings of one device, which has its own")
    dtype = jax.dtypes.canonicalize_dtype(checks.floating(dtype))
    rows, layout = layouts.described(X), layouts.layout(X, num_devices)
    left, in_file = layouts.room(layout, limit_bytes), layouts.in_file(X)
    recipe, hyper = _of_layout(recipe, layout), numbers.as_arrays(hyper, dtype)
    shapes = _Shapes(rows, layout, num_classes, targets, weight_of_each, dtype)
    task = _task(shapes, recipe, hyper, num_steps, in_file)
    data, state, work = _memory(task, num_steps)
    per_step = driver.rows_a_step(task.data, recipe)
    products = per_step * num_classes * rows.num_features * task.settings
    spread = layout.num_devices if layout.mesh is None else 1
    seconds = num_steps * _seconds_a_step(shapes, task, per_step)
    settings = "" if task.settings == 1 else f"{task.settings} settings and "
    what = f"{settings}{num_steps:,} steps on {rows.num_rows:,} x {rows.num_features:,}"
    return Forecast(
        f"Training of {what} {rows.dtype}", "", layout.num_devices, data, state, work, rows.held,
        left, 4 * num_steps * products * spread, seconds, False,
        _advice(shapes, task, num_steps, data, state + work, left),
    )  # fmt: skip


class _Shapes(NamedTuple):
    """What the shapes of a training follow from."""

    rows: Rows
    layout: Layout
    num_classes: int
    targets: bool
    weight_of_each: bool
    dtype: np.dtype[Any]

    def params(self) -> LinearParams:
        """W and b before they are made."""
        C = self.num_classes
        W = jax.ShapeDtypeStruct((C, self.rows.num_features), self.dtype)
        return LinearParams(W, jax.ShapeDtypeStruct((C,), self.dtype))

    def of_labels(self) -> tuple[tuple[int, ...], Any]:
        """Shape and dtype of an example's label."""
        return ((self.num_classes,), self.dtype) if self.targets else ((), np.int32)

    def examples(self, num_rows: int, settings: int, layout: Layout) -> Examples:
        """X, y and weights before they are laid out."""
        tail, dtype = self.of_labels()
        each = (settings,) if self.weight_of_each else ()
        X = layouts.shaped(layout, (num_rows, self.rows.num_features), self.rows.dtype)
        y = layouts.shaped(layout, (num_rows, *tail), dtype)
        return Examples(X, y, layouts.shaped(layout, (*each, num_rows), self.dtype, len(each)))


def _of_layout(recipe: Recipe, layout: Layout) -> Recipe:
    """The recipe of a device that stands for all, where this process has not as many."""
    if layout.mesh is not None or layout.num_devices == 1:
        return recipe
    return dataclasses.replace(recipe, batch_size=-(-recipe.batch_size // layout.num_devices))


def _task(shapes: _Shapes, recipe: Recipe, hyper: Hyper, num_steps: int, in_file: bool) -> _Task:
    """The program that `fit` will run, chunk after chunk."""
    settings, rows = numbers.num_settings(hyper) or 1, shapes.rows
    data = shapes.examples(rows.num_rows, settings, shapes.layout)
    if isinstance(data.X, Sharded):
        check_on_mesh(data, recipe)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(lambda key, params: trainings.start(key, params, recipe, hyper),
                           key, shapes.params())  # fmt: skip
    row = layouts.blank(rows, 1)
    limit = steps_per_piece(row, recipe.batch_size) if in_file else num_steps
    products = driver.rows_a_step(data, recipe) * math.prod(state.params.W.shape)
    chunk = driver.chunk_length(num_steps, products, limit)
    if in_file:
        recipe = dataclasses.replace(recipe, sampling=batches.sequential)
        data = shapes.examples(chunk * recipe.batch_size, settings, shapes.layout)
    return _Task(rows, shapes.layout, recipe, hyper, state, data, settings, chunk)


def _memory(task: _Task, num_steps: int) -> tuple[int, int, int]:
    """Bytes on a device: examples, states, intermediate results."""
    stop, dtype = jax.ShapeDtypeStruct((), np.int32), task.state.params.W.dtype
    affine = Affine(jax.ShapeDtypeStruct((task.rows.num_features,), dtype), np.zeros((), dtype))
    compiled = compiled_run.lower(
        task.state, task.data, affine, recipe=task.recipe, hyper=task.hyper,
        num_steps=task.chunk, stop=stop,
    ).compile()  # fmt: skip
    planned: Any = compiled.memory_analysis()
    work = int(planned.temp_size_in_bytes)
    history = num_steps * task.settings * (4 * np.dtype(dtype).itemsize + 1)
    parts = task.layout.num_devices if task.layout.mesh is not None else 1
    data = placement.bytes_of(task.data) // parts
    states = 2 if num_steps <= task.chunk else 3  # the caller's, and those around a chunk
    return data, states * placement.bytes_of(task.state), work + history


def _seconds_a_step(shapes: _Shapes, task: _Task, per_step: int) -> float:
    """Seconds of a step of all settings: some steps of some settings on few rows are timed."""
    of_each = placement.bytes_of(task.state) // task.settings
    settings = min(task.settings, max(2, _MOST_STATE // of_each))
    data = _drawn(shapes, settings, task.recipe.batch_size)
    rows = driver.rows_a_step(data, task.recipe)
    W = task.state.params.W
    products = 4 * rows * settings * W.shape[-2] * W.shape[-1]
    num_steps = min(_MOST_STEPS, max(2, int(_PROBED / products)))
    hyper = _first(task.hyper, settings)
    params = LinearParams(*(np.zeros(part.shape, part.dtype) for part in shapes.params()))
    state = trainings.start(jax.random.key(0), params, task.recipe, hyper)
    affine = Affine(np.zeros(W.shape[-1], W.dtype), np.ones((), W.dtype))
    if task.layout.mesh is not None:
        state, affine, hyper = placement.replicated(task.layout.mesh, (state, affine, hyper))

    def run() -> Any:
        return compiled_run(
            state,
            data,
            affine,
            recipe=task.recipe,
            hyper=hyper,
            num_steps=num_steps,
            stop=num_steps,
        )

    more = per_step / rows * task.settings / settings
    return layouts.shortest(run) / num_steps * more


def _drawn(shapes: _Shapes, settings: int, batch_size: int) -> Examples:
    """Examples of noise, as many as stay small, where the program wants them."""
    row = shapes.rows.num_features * shapes.rows.dtype.itemsize
    most = max(batch_size, _MOST_DATA // row)
    num_rows = min(layouts.rows_of_program(shapes.layout, shapes.rows.num_rows), most)
    dtype = shapes.of_labels()[1]
    y: np.ndarray = np.random.default_rng(0).integers(0, shapes.num_classes, num_rows)
    if shapes.targets:
        y = np.eye(shapes.num_classes)[y]
    each = (settings,) if shapes.weight_of_each else ()
    weight = np.ones((*each, num_rows), shapes.dtype)
    layout = shapes.layout
    X = layouts.laid(layout, layouts.noise(num_rows, shapes.rows))
    return Examples(
        X, layouts.laid(layout, y.astype(dtype)), layouts.laid(layout, weight, len(each))
    )


def _advice(
    shapes: _Shapes, task: _Task, num_steps: int, data: int, rest: int, left: int | None
) -> str:
    """What to do where a device holds less than its examples and its settings."""
    if left is None or left >= data + rest:
        return ""
    if left > data and task.settings > 1:
        settings = _settings_that_fit(shapes, task, num_steps, rest, left - data)
        return f"Train at most {settings:,} settings at once."
    if left <= rest:
        return "Not one setting fits beside its intermediate results; use a smaller batch_size."
    devices = math.ceil(data * task.layout.num_devices / (left - rest))
    return (
        f"Lay the rows over at least {devices} devices (placement.shard), or give them as a "
        f"memory-mapped file of more than {size(placement.limits().device_bytes)}, which is read "
        "in pieces."
    )


def _settings_that_fit(shapes: _Shapes, task: _Task, num_steps: int, rest: int, left: int) -> int:
    """How many settings so many bytes hold: bytes grow with their number, from a fixed part on."""
    half = max(1, task.settings // 2)
    fewer = _task(shapes, task.recipe, _first(task.hyper, half), num_steps, in_file=False)
    of_half = sum(_memory(fewer, num_steps)[1:])
    each = (rest - of_half) / (task.settings - half)
    return max(1, int((left - of_half) / each) + half)


def _first(hyper: Hyper, settings: int) -> Hyper:
    return jax.tree.map(lambda leaf: leaf[:settings] if leaf.ndim else leaf, hyper)
