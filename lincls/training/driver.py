"""The host's side of training: checks, places the data, cuts the work into chunks, validates.

`fit` puts the data on the device once, or reads a large file piece by piece, and calls the
compiled `run` in equal chunks of about half a second.  Progress, validation and stopping take
place between chunks, and so does saving.  The batch of step t depends on (key, t) alone.
Everything else that the next step needs is in the state.  So a run that stops and goes on ends in
the same bits.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import batches, checks, passes, placement, precision, preprocessing
from lincls import hyper as numbers
from lincls import objective as objectives
from lincls.structs import (
    Affine,
    AnyRows,
    Examples,
    History,
    Hyper,
    Params,
    Sharded,
    StepInfo,
    TrainState,
    Validation,
)
from lincls.training import room, saving
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
    checkpoint: str | os.PathLike[str] | None = None,
    on_chunk: OnChunk | None = None,
) -> tuple[TrainState, History]:
    """Train for `num_steps` more steps and record every one of them.

    It continues any state, on the same data or on new ones:

        state, history = fit(state, X, y, recipe, hyper, num_steps=100)
        state, history = fit(state, more_X, more_y, recipe, hyper, num_steps=100)

    The step number continues too, so an epoch over other data may begin in its middle.

    Args:
        state: of `start` or of an earlier `fit`.
        X, y: images (N, H, W, C) or rows (N, D), uint8 or floating; labels (N,), or what else
            the loss takes, such as targets (N, C) of `losses.cross_entropy`.  Do not write to
            them until the call returns.  A memory-mapped array of more than 1 GiB stays in
            its file and is read in pieces.  Rows of `placement.shard` stay on
            their devices.
        recipe: how to train.
        hyper: numbers; with G values all G settings train at once.  Settings of
            `placement.shard_settings` train on the devices where they lie.
        weight: (N,), or (G, N) where settings see different examples; default all 1.  Only
            their ratios count.  An example of weight 0 does not count; it may be too large for
            float32, but it must be finite and have a valid label.
        affine: preprocessing of X; default none.
        validation: (X, y) to measure accuracy on after every `every` steps (default: an epoch),
            counted from the start of the run, and after the last.  The best parameters of each
            setting in this call are kept.
        patience: a setting has stopped after so many validations in a row without a better
            accuracy.  Its best parameters are final; training goes on until all have stopped.
        checkpoint: a file to save the run to between chunks, at most every 10 s
            (`placement.limits`) and for at most 2 % of the time, and at the end.  The same call
            goes on from it, whenever the process ended, and returns the same bits as a run that
            nothing disturbed.
        on_chunk: called between chunks with the state and the chunk's StepInfo.

    Returns:
        (state, History).  The parameters act on preprocessed rows: `linear.on_pixels(
        state.params, affine)` makes them act on X.  Training ends early when no setting
        is alive.

    Raises:
        ValueError, TypeError: arguments that do not fit together, by name; float64 numbers
            that do not survive in the dtype of the parameters; a checkpoint of another run; more
            settings than memory holds a second time.
        OSError: the checkpoint cannot be read or written.
    """
    data, affine, hyper = _at_the_door(state, X, y, recipe, hyper, weight, affine)
    begin = int(state.step)
    num_steps = checks.count(num_steps, "num_steps", high=_MOST_STEPS - begin)
    if every is None:
        every = batches.steps_per_epoch(len(data.y), rows_a_step(data, recipe))
    every = begin + num_steps if validation is None else checks.count(every, "every")
    if patience is not None and checks.count(patience, "patience") and validation is None:
        raise ValueError("patience counts validations: give validation=(X, y) as well")
    held_out = None if validation is None else _HeldOut(state, validation, affine, recipe, patience)
    program = _Program(state, data, affine, recipe, hyper, min(num_steps, every))
    progress = saving.Progress(state, _no_steps(state), held_out and held_out.nothing_seen(state))
    file = None if checkpoint is None else saving.File(checkpoint, saving.described(
        recipe=recipe, hyper=hyper, state=state, X=data.X, y=data.y, weight=data.weight,
        affine=affine, validation=held_out and held_out.data, steps=(num_steps, every, patience),
    ))  # fmt: skip
    progress = _train(progress, begin + num_steps, program, held_out, every, file, on_chunk)
    seen = None if held_out is None else progress.held_out.validation
    return progress.state, History(*progress.info, seen)


def _train(
    progress: saving.Progress, end: int, program: "_Program", held_out: "_HeldOut | None",
    every: int, file: saving.File | None, on_chunk: OnChunk | None,
) -> saving.Progress:  # fmt: skip
    """The chunks from where the run is, or where its file says it was, to its end."""
    state, info, seen = progress if file is None else file.restore(progress)
    infos = [info]

    def so_far() -> saving.Progress:
        steps = StepInfo(*map(np.concatenate, zip(*infos, strict=True)))
        return saving.Progress(program.here(state), steps, seen)

    for begin, stop, at_boundary in _stretches(int(state.step), end, program.chunk, every):
        if not np.any(state.alive) or (held_out is not None and held_out.has_stopped(seen).all()):
            break
        state, info = program(state, begin, stop)
        infos.append(info)
        if held_out is not None and at_boundary:
            seen = held_out.measured(seen, stop, program.here(held_out.params_fn(state)))
        if file is not None:
            file.save(so_far)
        if on_chunk is not None:
            on_chunk(state, info)
    if file is not None:
        file.save(so_far, last=True)
    return so_far()


def _no_steps(state: TrainState) -> StepInfo:
    numbers = np.zeros((0, *state.alive.shape), objectives.dtype_of(state.params))
    return StepInfo(numbers, numbers, numbers, numbers, numbers.astype(bool))


class _Program:
    """The compiled loop over data on the device, or over pieces of a file."""

    def __init__(
        self, state: TrainState, data: Examples, affine: Affine, recipe: Recipe, hyper: Hyper,
        span: int,
    ) -> None:  # fmt: skip
        large = placement.is_large(data.X)
        rows = rows_a_step(data, recipe)
        if large and rows != recipe.batch_size:
            raise ValueError(
                f"{data.X.nbytes:,} bytes in a file are not read as one batch; use "
                "batches.sequential, or np.array(X) if they fit into memory"
            )
        limit = steps_per_piece(data.X, recipe.batch_size) if large else span
        size = max(leaf.size for leaf in jax.tree.leaves(state.params))  # of W
        self.chunk = chunk_length(span, rows * size, limit)
        self._data, self._pieces = data, None
        if large:
            self._pieces = Pieces(data, state.key, recipe, self.chunk)
            recipe = dataclasses.replace(recipe, sampling=batches.sequential)
        self._run = partial(compiled_run, recipe=recipe, num_steps=self.chunk)
        self._rows = data.X.mesh if isinstance(data.X, Sharded) else None
        layout = numbers.gathered(hyper)[1]
        self._mesh = self._rows if layout is None else layout.mesh
        if layout is not None and not large:
            self._data = placement.replicated(layout.mesh, data)
        self._affine, self._hyper = self._everywhere((affine, hyper))

    def _everywhere(self, tree: Any) -> Any:
        return tree if self._rows is None else placement.replicated(self._rows, tree)

    def here(self, tree: Any) -> Any:
        """State or parameters that came from the mesh as arrays of this process."""
        return tree if self._mesh is None else placement.unreplicated(tree)

    def __call__(self, state: TrainState, begin: int, stop: int) -> tuple[TrainState, StepInfo]:
        state = self._everywhere(state)
        data = self._data if self._pieces is None else self._pieces.piece(begin, stop)
        state, info = self._run(state, data, self._affine, hyper=self._hyper, stop=stop)
        return state, jax.tree.map(lambda leaf: np.asarray(leaf)[: stop - begin], info)


class _Seen(NamedTuple):
    """What validation has found so far."""

    validation: Validation
    since: Any  # () or (G,), validations since the best one


class _HeldOut:
    """Accuracies on held-out examples between chunks, and the best parameters of each setting."""

    def __init__(
        self, state: TrainState, validation: Any, affine: Affine, recipe: Recipe,
        patience: int | None,
    ) -> None:  # fmt: skip
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise TypeError(f"validation must be a pair (X, y), got {type(validation).__name__}")
        X, y = validation
        dtype = objectives.dtype_of(state.params)
        X = checks.rows_anywhere(X, "validation X", len(affine.shift))
        X = precision.working(X, "validation X", dtype)
        num_classes = _num_classes(state, recipe, X)
        y = checks.labels_anywhere(y, len(X), num_classes, "validation y")
        data = Examples(X, y, np.ones(len(X), dtype))
        stays = placement.is_large(X) or isinstance(X, Sharded)
        self.data = data if stays else placement.lend(data)
        self.params_fn, self._affine = recipe.params_fn, affine
        self._scores_fn, self._is_grid = recipe.objective.scores_fn, state.alive.ndim == 1
        self._patience = np.inf if patience is None else patience

    def nothing_seen(self, state: TrainState) -> _Seen:
        """Before the first validation: any accuracy is better."""
        steps, none = np.zeros(0, int), np.zeros(state.alive.shape, np.int32)
        accuracy = np.zeros(
            (0, *none.shape), passes.at_least_float32(objectives.dtype_of(state.params))
        )
        worst = np.full(none.shape, -1, accuracy.dtype)
        return _Seen(Validation(steps, accuracy, none, worst, state.params), none)

    def measured(self, seen: _Seen, step: int, params: Params) -> _Seen:
        """Measure the parameters after a step."""
        before = seen.validation
        accuracy = np.asarray(passes.accuracies(
            params, self.data, self._affine, scores_fn=self._scores_fn, is_grid=self._is_grid
        ))  # fmt: skip
        now = (
            np.full(accuracy.shape, step, np.int32), accuracy, params,
            np.zeros(accuracy.shape, np.int32),
        )  # fmt: skip
        better = (accuracy > before.best_accuracy) & ~self.has_stopped(seen)
        *best, since = where(better, now, (*before[2:], seen.since + 1))
        best_step, best_accuracy, best_params = best
        steps = np.append(before.steps, step)
        accuracies = np.concatenate([before.accuracy, accuracy[None]])
        found = Validation(
            steps, accuracies, np.asarray(best_step), np.asarray(best_accuracy), best_params
        )
        return _Seen(found, np.asarray(since))

    def has_stopped(self, seen: _Seen) -> np.ndarray:
        """Which settings have not improved for so many validations in a row."""
        return np.asarray(np.asarray(seen.since) >= self._patience)


def rows_a_step(data: Examples, recipe: Recipe) -> int:
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
    dtype = objectives.dtype_of(state.params)
    X = checks.rows_anywhere(X, num_features=objectives.num_features(state.params))
    num_classes = _num_classes(state, recipe, X)
    hyper, layout = numbers.gathered(hyper)
    hyper = numbers.as_arrays(hyper, dtype)
    if isinstance(y, Sharded):
        y = checks.labels_anywhere(y, len(X), num_classes, "y")
    else:
        y = objectives.labels(recipe.objective, y, len(X), num_classes, hyper)
    weight = placement.gathered(weight) if isinstance(weight, Sharded) else weight
    weight = np.ones(len(X)) if weight is None else checks.weights(weight, len(X))
    weight = np.array(precision.survives(weight, "weight", dtype), dtype)
    X = precision.working(X, dtype=dtype, weight=weight)
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
    affine = preprocessing.checked(affine, X.shape[1])
    if settings is not None:
        left = placement.available(X.mesh.size if isinstance(X, Sharded) else 1)
        left = left if layout is None else room.together(layout.mesh.size)
        room.check((state.params, state.opt), settings, left)
    data = _placed(Examples(X, y, weight), recipe)
    if layout is not None:
        hyper = placement.shard_settings(layout.mesh, hyper, layout.num_blocks)
    return data, jax.tree.map(_typed, affine), hyper


def _num_classes(state: TrainState, recipe: Recipe, X: AnyRows) -> int:
    params = jax.tree.map(lambda leaf: leaf[0], state.params) if state.alive.ndim else state.params
    return objectives.num_classes(recipe.objective, params, X.shape[1])


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


def chunk_length(span: int, products_a_step: int, limit: int) -> int:
    """Steps a compiled call takes: `span` cut into equal parts of a bounded amount of work.

    At least 2 of them where there are as many: a loop of one step is compiled as one of two.
    """
    limit = max(2, min(limit, int(placement.limits().call_flops / (6 * products_a_step))))
    return -(-span // -(-span // limit))


def _stretches(begin: int, end: int, chunk: int, every: int) -> Iterator[tuple[int, int, bool]]:
    """(first step, stop, whether `every` steps or the whole end there) of every compiled call."""
    while begin < end:
        boundary = min(end, (begin // every + 1) * every)
        stop = min(begin + chunk, boundary)
        yield begin, stop, stop == boundary
        begin = stop
