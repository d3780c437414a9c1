"""The host's side of training: checks, places the data, cuts the work into chunks, validates.

`fit` puts the data on the device once, or reads a large file piece by piece, and calls the
compiled `run` in equal chunks of about half a second.  Progress, validation and stopping take
place between chunks, and so does Ctrl-C, after which `on_chunk` has the last state.  The batch of
step t depends on (key, t) alone and everything else that the next step needs is in the state, so a
run that stops and goes on ends in the same bits.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import batches, checks, passes, placement, precision, preprocessing
from lincls import hyper as numbers
from lincls.structs import (
    Affine,
    AnyRows,
    Examples,
    History,
    Hyper,
    LinearParams,
    Sharded,
    StepInfo,
    TrainState,
    Validation,
)
from lincls.training.core import Recipe, check_kinds, check_on_mesh, compiled_run, where
from lincls.training.streams import Pieces, steps_per_piece

_MOST_STEPS = 2**31 - 1  # their number is an int32
OnChunk = Callable[[TrainState, StepInfo], Any]


def fit(
    state: TrainState,
    X: AnyRows,
    y: AnyRows,
    recipe: Recipe,
    hyper: Hyper,
    *,
    num_steps: int,
    weight: AnyRows | None = None,
    affine: Affine | None = None,
    validation: tuple[AnyRows, AnyRows] | None = None,
    every: int | None = None,
    patience: int | None = None,
    on_chunk: OnChunk | None = None,
) -> tuple[TrainState, History]:
    """Train for `num_steps` more steps and record every one of them.

    It continues any state, on the same data or on new ones:

        state, history = fit(state, X, y, recipe, hyper, num_steps=100)
        state, history = fit(state, more_X, more_y, recipe, hyper, num_steps=100)

    The step number continues too, so an epoch over other data may begin in its middle.

    Args:
        state: of `start` or of an earlier `fit`.
        X, y: images (N, H, W, C) or rows (N, D), uint8 or floating; labels (N,).  Do not write
            to them until the call returns.  A memory-mapped array of more than 1 GiB stays in
            its file and is read in pieces.  Rows of `placement.shard` stay on their devices.
        recipe: how to train.
        hyper: numbers; with G values all G settings train at once.
        weight: (N,), or (G, N) where settings see different examples; default all 1.  Only
            their ratios count.  An example of weight 0 does not count; it may be too large for
            float32, but it must be finite and have a valid label.
        affine: preprocessing of X; default none.
        validation: (X, y) to measure accuracy on after every `every` steps (default: an epoch),
            counted from the start of the run, and after the last.  The best parameters of each
            setting in this call are kept.
        patience: a setting that has not improved for so many validations in a row stops.
            Training ends when all have stopped.
        on_chunk: called between chunks with the state and the chunk's StepInfo.

    Returns:
        (state, History).  The parameters act on preprocessed rows: `linear.on_pixels(
        state.params, affine)` makes them act on X.  Training ends early when no setting
        is alive.

    Raises:
        ValueError, TypeError: arguments that do not fit together, by name; float64 numbers
            that do not survive in the dtype of the parameters.
    """
    data, affine, hyper = _at_the_door(state, X, y, recipe, hyper, weight, affine)
    num_steps = checks.count(num_steps, "num_steps", high=_MOST_STEPS - int(state.step))
    rows_a_step = _rows_a_step(data, recipe)
    every = batches.steps_per_epoch(len(data.y), rows_a_step) if every is None else every
    every = int(state.step) + num_steps if validation is None else checks.count(every, "every")
    if patience is not None and checks.count(patience, "patience") and validation is None:
        raise ValueError("patience counts validations: give validation=(X, y) as well")
    held_out = None if validation is None else _HeldOut(state, validation, affine, patience)
    program = _Program(state, data, affine, recipe, hyper, min(num_steps, every))
    infos = []
    for begin, stop, at_boundary in _stretches(int(state.step), num_steps, program.chunk, every):
        state, info = program(state, begin, stop)
        infos.append(info)
        if held_out is not None and at_boundary:
            held_out.measure(stop, program.here(recipe.params_fn(state)))
        if on_chunk is not None:
            on_chunk(state, info)
        if not np.any(state.alive) or (held_out is not None and held_out.all_stopped):
            break
    steps = StepInfo(*map(np.concatenate, zip(*infos, strict=True)))
    return program.here(state), History(*steps, None if held_out is None else held_out.result())


class _Program:
    """The compiled loop over data on the device, or over pieces of a file."""

    def __init__(
        self, state: TrainState, data: Examples, affine: Affine, recipe: Recipe, hyper: Hyper,
        span: int,
    ) -> None:  # fmt: skip
        large = placement.is_large(data.X)
        rows = _rows_a_step(data, recipe)
        if large and rows != recipe.batch_size:
            raise ValueError(
                f"{data.X.nbytes:,} bytes in a file are not read as one batch; use "
                "batches.sequential, or np.array(X) if they fit into memory"
            )
        limit = steps_per_piece(data.X, recipe.batch_size) if large else span
        self.chunk = _chunk_length(span, rows * state.params.W.size, limit)
        self._data, self._pieces = data, None
        if large:
            self._pieces = Pieces(data, state.key, recipe, self.chunk)
            recipe = dataclasses.replace(recipe, sampling=batches.sequential)
        self._run = partial(compiled_run, recipe=recipe, num_steps=self.chunk)
        self._mesh = data.X.mesh if isinstance(data.X, Sharded) else None
        self._affine, self._hyper = self._everywhere((affine, hyper))

    def _everywhere(self, tree: Any) -> Any:
        return tree if self._mesh is None else placement.replicated(self._mesh, tree)

    def here(self, tree: Any) -> Any:
        """State or parameters that came from the mesh as arrays of this process."""
        return tree if self._mesh is None else placement.unreplicated(tree)

    def __call__(self, state: TrainState, begin: int, stop: int) -> tuple[TrainState, StepInfo]:
        state = self._everywhere(state)
        data = self._data if self._pieces is None else self._pieces.piece(begin, stop)
        state, info = self._run(state, data, self._affine, hyper=self._hyper, stop=stop)
        return state, jax.tree.map(lambda leaf: np.asarray(leaf)[: stop - begin], info)


class _HeldOut:
    """Accuracies on held-out examples between chunks, and the best parameters of each setting."""

    def __init__(
        self, state: TrainState, validation: Any, affine: Affine, patience: int | None
    ) -> None:
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise TypeError(f"validation must be a pair (X, y), got {type(validation).__name__}")
        X, y = validation
        num_classes, num_features = state.params.W.shape[-2:]
        X = checks.rows_anywhere(X, "validation X", num_features)
        X = precision.working(X, "validation X", state.params.W.dtype)
        y = checks.labels_anywhere(y, len(X), num_classes, "validation y")
        data = Examples(X, y, np.ones(len(X), state.params.W.dtype))
        stays = placement.is_large(X) or isinstance(X, Sharded)
        self._data = data if stays else placement.lend(data)
        self._affine = affine
        self._patience = np.inf if patience is None else patience
        self._measured: list[tuple[int, np.ndarray]] = []
        self._best: Any = None  # step, accuracy, params of the best; validations since then

    def measure(self, step: int, params: LinearParams) -> None:
        """Measure the parameters after a step."""
        accuracy = np.asarray(passes.accuracies(params, self._data, self._affine))
        self._measured.append((step, accuracy))
        now = (np.full(accuracy.shape, step), accuracy, params, np.zeros(accuracy.shape, int))
        if self._best is not None:
            better = (accuracy > self._best[1]) & ~self._stopped
            now = where(better, now, (*self._best[:3], self._best[3] + 1))
        self._best = now

    @property
    def _stopped(self) -> Any:
        return np.asarray(self._best[3]) >= self._patience

    @property
    def all_stopped(self) -> bool:
        """Whether no setting has improved for so many validations."""
        return self._best is not None and bool(np.all(self._stopped))

    def result(self) -> Validation:
        """All accuracies and the best parameters."""
        steps, accuracies = zip(*self._measured, strict=True)
        step, accuracy, params, _ = self._best
        return Validation(
            np.array(steps), np.stack(accuracies), np.asarray(step), np.asarray(accuracy), params
        )


def _rows_a_step(data: Examples, recipe: Recipe) -> int:
    if not isinstance(data.X, Sharded):
        return recipe.sampling.num_rows(len(data.y), recipe.batch_size)
    num_blocks = data.X.num_blocks
    of_block = recipe.batch_size // num_blocks
    return num_blocks * recipe.sampling.num_rows(data.X.block_rows, of_block)


def _at_the_door(
    state: TrainState, X: Any, y: Any, recipe: Recipe, hyper: Hyper, weight: Any,
    affine: Affine | None,
) -> tuple[Examples, Affine, Hyper]:  # fmt: skip
    """The arguments of `fit`, checked, on the device and in the parameters' dtype."""
    checks.on_host("training.fit", "use training.run", state, X, y, weight, affine)
    check_kinds(state, recipe)
    (num_classes, num_features), dtype = state.params.W.shape[-2:], state.params.W.dtype
    X = checks.rows_anywhere(X, num_features=num_features)
    y = checks.labels_anywhere(y, len(X), num_classes, "y")
    weight = placement.gathered(weight) if isinstance(weight, Sharded) else weight
    weight = np.ones(len(X)) if weight is None else checks.weights(weight, len(X))
    weight = np.array(precision.survives(weight, "weight", dtype), dtype)
    X = precision.working(X, dtype=dtype, weight=weight)
    hyper = numbers.as_arrays(hyper, dtype)
    if hyper.dropout is not None:
        checks.share(hyper.dropout, "dropout")
    settings, of_state = numbers.num_settings(hyper), state.alive.shape
    if of_state != (() if settings is None else (settings,)):
        raise ValueError(
            f"hyper has {settings or 'no'} settings, the state was started with "
            f"{of_state or 'none'}; call training.start with the hyper of training.fit"
        )
    if weight.ndim == 2 and weight.shape[0] != settings:
        raise ValueError(f"weight has {weight.shape[0]} rows, hyper has {settings} settings")
    affine = preprocessing.checked(affine, num_features)
    data = _placed(Examples(X, y, weight), recipe)
    return data, jax.tree.map(_typed, affine), hyper


def _placed(data: Examples, recipe: Recipe) -> Examples:
    """Examples on the device or on X's mesh; those of a large file stay there."""
    if isinstance(data.X, Sharded):
        data = passes.on_mesh(data, data.weight.dtype)
        check_on_mesh(data, recipe)
        return data
    return data if placement.is_large(data.X) else placement.lend(data)


def _typed(leaf: Any) -> jax.Array:
    """A float or an integer as the array that it stands for, so that it compiles nothing anew."""
    leaf = jnp.asarray(leaf)
    dtype = leaf.dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.result_type(float)
    return jax.lax.convert_element_type(leaf, dtype)


def _chunk_length(span: int, products_a_step: int, limit: int) -> int:
    """Steps a compiled call takes: `span` cut into equal parts of a bounded amount of work.

    At least 2 of them where there are as many: a loop of one step is compiled as one of two.
    """
    limit = max(2, min(limit, int(placement.limits().call_flops / (6 * products_a_step))))
    return -(-span // -(-span // limit))


def _stretches(
    begin: int, num_steps: int, chunk: int, every: int
) -> Iterator[tuple[int, int, bool]]:
    """(first step, stop, whether `every` steps or the whole end there) of every compiled call."""
    end = begin + num_steps
    while begin < end:
        boundary = min(end, (begin // every + 1) * every)
        stop = min(begin + chunk, boundary)
        yield begin, stop, stop == boundary
        begin = stop
