"""Training: one step, one loop, one host driver.

    state = start(key, params, optimizer=..., hyper=...)
    state, info = step(state, batch, hyper, objective=..., optimizer=...)        one batch
    state, info = run(state, data, affine, hyper, ...)                           one program
    state, history = fit(state, X, y, hyper, ...)                                one verb

`run` is the only loop: a `lax.scan` that draws a batch, then applies `step`.  Where the
leaves of `hyper` are (G,), `step` is vmapped inside the scan, so a batch is gathered and
converted once for all settings and their products become one matrix product.

`fit` checks arguments, puts the data on the device once (or piece by piece from a large
file, see `streams`), and calls the compiled `run` in equal chunks of well under a second.
Progress, validation and stopping live between chunks, and so does Ctrl-C, which leaves what
`on_chunk` was given.  The batch of step t depends on (key, t) alone and everything else that
the next step needs is in the state, so a run that stops and goes on ends in the same bits.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lincls import batches as sampling
from lincls import checks, linear, optimizers, preprocessing, streams
from lincls.objective import (
    Objective,
    as_numbers,
    at_least_float32,
    evaluate,
    mean_over,
    plain,
)
from lincls.structs import (
    Affine,
    AnyArray,
    Examples,
    History,
    Hyper,
    LinearParams,
    StepInfo,
    TrainState,
    Validation,
)

Optimizer = Callable[..., optax.GradientTransformation]

_OPTIMIZER = "optimizers.sgd, a function of the numbers in hyper.optimizer"
_FLOPS_PER_CHUNK = 2e10  # takes about half a second on two CPU cores


def num_settings(hyper: Hyper) -> int | None:
    """G, if any leaf of `hyper` is (G,), None if all are scalars.

    Raises:
        ValueError: leaves of different lengths, or of more than one axis.
    """
    checks.kind(hyper, Hyper, "hyper", "Hyper({'learning_rate': 0.1}, reg=0.01)")
    shapes = {np.shape(leaf) for leaf in jax.tree.leaves(plain(hyper))} - {()}
    if not shapes:
        return None
    if len(shapes) > 1 or len(next(iter(shapes))) != 1 or (0,) in shapes:
        raise ValueError(
            "leaves of hyper must be scalars or share one shape (G,), G at least 1, got "
            f"{sorted(shapes)}; "
            "a grid over two numbers is the list of its pairs: np.meshgrid(..), then .ravel()"
        )
    return int(next(iter(shapes))[0])


def start(
    key: jax.Array, params: LinearParams, *, optimizer: Optimizer, hyper: Hyper
) -> TrainState:
    """The state before the first step.

    Args:
        key: a typed key; it belongs to the run and is shared by all settings of a grid.
        params: W (C, D), b (C,); for a grid the same start for all, or leaves (G, ...).
        optimizer: a function of `hyper.optimizer`'s numbers, such as `optimizers.sgd`.
        hyper: numbers; (G,) leaves make a grid.

    Returns:
        TrainState, whose params, opt and alive have a leading axis G for a grid.
    """
    if not jax.dtypes.issubdtype(getattr(key, "dtype", None), jax.dtypes.prng_key):
        raise TypeError(f"key must be a typed key such as jax.random.key(0), got {key!r}")
    checks.kind(optimizer, Callable, "optimizer", _OPTIMIZER)
    params = jax.tree.map(jnp.asarray, params)
    hyper = _broadcast(hyper, params.W.dtype)

    def init(params: LinearParams, hyper: Hyper) -> Any:
        return optimizer(**hyper.optimizer).init(params)

    settings = num_settings(hyper)
    if settings is None:
        opt, alive = init(params, hyper), jnp.ones((), bool)
    else:
        if params.W.ndim == 2:
            params = jax.tree.map(lambda p: jnp.broadcast_to(p, (settings, *p.shape)), params)
        opt, alive = jax.vmap(init)(params, hyper), jnp.ones((settings,), bool)
    # optax's L-BFGS begins with weak types and goes on without: the loop would compile twice.
    opt = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), opt)
    return TrainState(params, opt, alive, key, jnp.zeros((), jnp.int32))


def step(
    state: TrainState,
    batch: Examples,
    hyper: Hyper,
    *,
    objective: Objective,
    optimizer: Optimizer,
) -> tuple[TrainState, StepInfo]:
    """One setting, one batch: W <- W + update(gradient) (slide 59).

    A setting whose loss, gradient or new parameters are not finite keeps its last finite
    parameters for good: `alive` turns False.

    Args:
        state: of one setting (no axis G).
        batch: X (B, D), y (B,), weight (B,), already preprocessed.
        hyper: scalars.

    Returns:
        The next state, and StepInfo of scalars, measured at the old parameters.
    """
    dtype = state.params.W.dtype
    numbers = as_numbers(dict(hyper.optimizer), dtype)
    transformation = optax.with_extra_args_support(optimizer(**numbers))

    def value_fn(params: LinearParams) -> jax.Array:
        return evaluate(objective, params, batch, hyper)[0]

    (loss, parts), grads = jax.value_and_grad(
        lambda params: evaluate(objective, params, batch, hyper), has_aux=True
    )(state.params)
    updates, opt = transformation.update(
        grads, state.opt, state.params, value=loss, grad=grads, value_fn=value_fn
    )
    params = optax.apply_updates(state.params, updates)
    grad_norm = optax.tree.norm(grads)
    alive = state.alive & jnp.isfinite(loss) & jnp.isfinite(grad_norm) & _all_finite(params)
    kept, kept_opt = _where(alive, (params, opt), (state.params, state.opt))
    info = StepInfo(loss, parts.data, parts.penalty, grad_norm, alive)
    return TrainState(kept, kept_opt, alive, state.key, state.step + 1), info


def run(
    state: TrainState,
    data: Examples,
    affine: Affine,
    hyper: Hyper,
    *,
    objective: Objective,
    optimizer: Optimizer,
    batches: sampling.Sampling,
    batch_size: int,
    num_steps: int,
    dropout: Any = None,
    stop: Any = None,
) -> tuple[TrainState, StepInfo]:
    """The one loop: `num_steps` steps in one program.  Pure; composes under jit and sharding.

    Args:
        state: of `start`, or of an earlier run.
        data: X (N, D) uint8 or floating, y (N,) int32, weight (N,), or (G, N) where
            settings see different examples.
        affine: preprocessing, applied to each batch.
        hyper: scalars, or (G,) leaves.
        batches: how batches are drawn, such as `batches.shuffled`.
        dropout: None, or the share of the features that is dropped, traced (`batches.drop`).
        stop: a step number, traced; steps from there on change nothing (their info is
            to be dropped).  It lets equal chunks end anywhere without a new compile.

    Returns:
        The state after the last step, and StepInfo with leaves (T,) or (T, G).
    """
    num_examples, dtype = data.X.shape[0], state.params.W.dtype
    epoch_steps = sampling.steps_per_epoch(num_examples, batch_size)
    hyper = _broadcast(hyper, dtype)
    take_step = _over_settings(
        partial(step, objective=objective, optimizer=optimizer), hyper, data.weight
    )

    def order_of(step: jax.Array) -> Any:
        return batches.order(state.key, step // epoch_steps, num_examples)

    def body(carry: tuple[TrainState, Any], i: jax.Array) -> tuple[Any, StepInfo]:
        state, order = carry
        begins = (i == 0) | (state.step % epoch_steps == 0)
        order = jax.lax.cond(begins, order_of, lambda _: order, state.step)
        rows, present = batches.rows(order, state.key, state.step, num_examples, batch_size)
        batch = sampling.take(data, affine, rows, present, dtype)
        if dropout is not None:
            rate = jnp.asarray(dropout, dtype)
            batch = batch._replace(X=sampling.drop(batch.X, state.key, state.step, rate))
        new_state, info = take_step(state, batch, hyper)
        if stop is not None:
            new_state = _where(state.step < stop, new_state, state)
        return (new_state, order), info

    # Not yet an order: the first step makes it, so that a sort is compiled once, not twice.
    order = jax.tree.map(jnp.zeros_like, jax.eval_shape(order_of, state.step))
    steps = jnp.arange(num_steps, dtype=jnp.int32)
    (state, _), info = jax.lax.scan(body, (state, order), steps)
    return state, info


_compiled_run = jax.jit(
    run, static_argnames=("objective", "optimizer", "batches", "batch_size", "num_steps")
)


def fit(
    state: TrainState,
    X: AnyArray,
    y: AnyArray,
    hyper: Hyper,
    *,
    objective: Objective,
    optimizer: Optimizer = optimizers.sgd,
    batches: sampling.Sampling = sampling.shuffled,
    batch_size: int = 256,
    num_steps: int,
    weight: AnyArray | None = None,
    affine: Affine | None = None,
    dropout: float | None = None,
    validation: tuple[AnyArray, AnyArray] | None = None,
    every: int | None = None,
    patience: int | None = None,
    params_fn: Callable[[TrainState], LinearParams] | None = None,
    on_chunk: Callable[[TrainState, StepInfo], Any] | None = None,
) -> tuple[TrainState, History]:
    """Train for `num_steps` more steps and record every one of them.

    It goes on from any state, on the same data or on new ones, momentum, schedule and all:

        state, history = fit(state, X, y, hyper, weight=splits.balanced_weights(y), ...)
        state, history = fit(state, more_X, more_y, hyper, ...)

    The step number goes on as well, so that an epoch over other data may begin in its middle.

    Args:
        state: of `start` or of an earlier `fit`, which it continues exactly.
        X, y: images (N, H, W, C) or rows (N, D), uint8 or floating; labels (N,).  Nobody
            may write to them during the call.  A memory-mapped array of more than 1 GiB
            stays in its file and is read in pieces.
        hyper: numbers; with (G,) leaves all G settings train at once.
        weight: (N,), or (G, N) where settings see different examples; default all 1.  What has
            weight 0 is not there, but has to be finite and labelled like all others.
        affine: preprocessing of X; default none.
        dropout: share of the features dropped at random from each example, in [0, 1); the
            settings of a grid share the masks.
        validation: (X, y) on which to measure accuracy after every `every` steps (an epoch
            by default), counted from the start of the run, and after the last; the best
            parameters of each setting in this call are kept.  A large memory-mapped X is read
            block by block.  As with the training data, nobody may write to them during the call.
        patience: a setting that has not improved for so many validations in a row is stopped:
            its best parameters are those so far, as if it trained alone.  Training ends when
            all are.
        params_fn: which parameters of a state the validation measures and keeps, such as
            `optimizers.averaged`; default those of the last step.
        on_chunk: called between chunks with the state and the chunk's StepInfo.

    Returns:
        (state, History); the parameters act on preprocessed rows: `linear.on_pixels(
        state.params, affine)` makes them act on X.  Training ends early when no setting
        is alive.

    Raises:
        ValueError, TypeError: what does not fit together, by name.
    """
    _check_kinds(objective, optimizer, batches)
    data, affine, hyper = _at_the_door(state, X, y, hyper, weight, affine)
    large = streams.is_large(data.X)
    if large and batches is sampling.full:
        raise ValueError(
            f"{data.X.nbytes:,} bytes in a file are not read as one batch; use "
            "batches.sequential, or np.array(X) if they fit into memory"
        )
    batch_size = checks.count(batch_size, "batch_size")
    num_steps = checks.count(num_steps, "num_steps")
    rows_a_step = len(data.y) if batches is sampling.full else batch_size
    every = sampling.steps_per_epoch(len(data.y), rows_a_step) if every is None else every
    every = int(state.step) + num_steps if validation is None else checks.count(every, "every")
    span = min(num_steps, every)
    limit = streams.steps_per_piece(data.X, batch_size) if large else num_steps
    chunk = _chunk_length(span, rows_a_step * state.params.W.size, limit)
    if large:
        pieces = streams.Pieces(data, state.key, batches, batch_size, chunk)
    program = partial(
        _compiled_run,
        objective=objective,
        optimizer=optimizer,
        batches=sampling.sequential if large else batches,
        batch_size=batch_size,
        num_steps=chunk,
        dropout=None if dropout is None else checks.share(dropout, "dropout"),
    )
    if patience is not None and checks.count(patience, "patience") and validation is None:
        raise ValueError("patience counts validations: give validation=(X, y) as well")
    held_out = None if validation is None else _held_out(state, validation)
    infos, looks = [], []
    best = None
    for begin, stop, at_boundary in _stretches(int(state.step), num_steps, chunk, every):
        piece = pieces.piece(begin, stop) if large else data
        state, info = program(state, piece, affine, hyper, stop=stop)
        infos.append(jax.tree.map(lambda leaf, n=stop - begin: np.asarray(leaf)[:n], info))
        if held_out is not None and at_boundary:
            params = state.params if params_fn is None else params_fn(state)
            looks.append((stop, accuracies_by_block(params, held_out, affine)))
            best = _better(best, *looks[-1], params, patience)
        if on_chunk is not None:
            on_chunk(state, infos[-1])
        if not np.any(state.alive) or (best is not None and np.all(_stopped(best, patience))):
            break
    return state, _history(infos, looks, best)


@jax.jit
def accuracies(params: LinearParams, data: Examples, affine: Affine) -> jax.Array:
    """Weighted accuracy of every setting; rows are read and converted once for all.

    Args:
        params: W (C, D), or (G, C, D) for a grid, acting on preprocessed rows.
        data: X (N, D), y (N,), weight (N,), or (G, N) where settings see different examples.
        affine: preprocessing.

    Returns:
        () or (G,) in 0..1; 0 for a setting without any weight.
    """

    def hits(params: LinearParams, batch: Examples) -> jax.Array:
        predictions = jnp.argmax(linear.scores(params, batch.X), axis=-1)
        return predictions == batch.y

    return mean_over(hits, params, data, affine)


def accuracies_by_block(params: LinearParams, data: Examples, affine: Affine) -> np.ndarray:
    """`accuracies` on the host; data in a large file are read block by block (`streams`)."""
    if not streams.is_large(data.X):
        return np.asarray(accuracies(params, data, affine))
    right = weight = np.zeros(())
    for block in streams.blocks(data):
        of_block = np.asarray(block.weight, np.float64).sum(axis=-1)
        right = right + of_block * np.asarray(accuracies(params, block, affine))
        weight = weight + of_block
    return np.asarray(right / np.where(weight > 0, weight, 1), at_least_float32(params.W.dtype))


def _broadcast(hyper: Hyper, dtype: Any) -> Hyper:
    """Leaves as arrays of `dtype`, all () or all (G,)."""
    settings = num_settings(hyper)
    hyper = as_numbers(plain(hyper), dtype)
    if settings is None:
        return hyper
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (settings,)), hyper)


def _over_settings(take_step: Callable[..., Any], hyper: Hyper, weight: jax.Array) -> Any:
    """`take_step` for one setting or, vmapped, for all; key, step and batch are shared."""
    if num_settings(hyper) is None:
        return take_step
    state_axes = TrainState(params=0, opt=0, alive=0, key=None, step=None)
    batch_axes = Examples(None, None, 0 if weight.ndim == 2 else None)
    return jax.vmap(take_step, (state_axes, batch_axes, 0), (state_axes, 0))


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _where(condition: Any, new: Any, old: Any) -> Any:
    """Leaf by leaf `new` where the condition, () or (G,), holds, `old` elsewhere."""

    def pick(new: Any, old: Any) -> jax.Array:
        axes = tuple(range(condition.ndim, new.ndim))
        return jnp.where(jnp.expand_dims(condition, axes), new, old)

    return jax.tree.map(pick, new, old)


def _check_kinds(objective: Any, optimizer: Any, batches: Any) -> None:
    """TypeError for what is no function, or no tuple of functions, of the kind that is wanted."""
    checks.kind(objective, Objective, "objective", "Objective(losses.softmax, penalties.l2)")
    checks.kind(optimizer, Callable, "optimizer", _OPTIMIZER)
    checks.kind(batches, sampling.Sampling, "batches", "batches.shuffled")


def _at_the_door(
    state: TrainState, X: Any, y: Any, hyper: Hyper, weight: Any, affine: Affine | None
) -> tuple[Examples, Affine, Hyper]:
    """The arguments of `fit`, checked, on the device and in the parameters' dtype."""
    num_classes, num_features = state.params.W.shape[-2:]
    X = checks.finite(checks.rows(X, num_features=num_features))
    y = checks.labels(y, len(X), num_classes, "y")
    weight = np.ones(len(X)) if weight is None else checks.weights(weight, len(X))
    hyper = _broadcast(hyper, state.params.W.dtype)
    settings, of_state = num_settings(hyper), state.alive.shape
    if of_state != (() if settings is None else (settings,)):
        raise ValueError(
            f"hyper has {settings or 'no'} settings, the state was started with "
            f"{of_state or 'none'}; call training.start with the hyper of training.fit"
        )
    if weight.ndim == 2 and weight.shape[0] != settings:
        raise ValueError(f"weight has {weight.shape[0]} rows, hyper has {settings} settings")
    affine = preprocessing.identity(num_features) if affine is None else affine
    if np.shape(affine.shift) != (num_features,):
        raise ValueError(
            f"affine has {np.shape(affine.shift)} shifts, X has {num_features} features"
        )
    data = Examples(X, y, np.array(weight, state.params.W.dtype))
    if not streams.is_large(X):
        data = streams.lend(data)
    return data, jax.tree.map(_typed, affine), hyper


def _typed(leaf: Any) -> jax.Array:
    """A float or an integer as the array that it stands for, so that it compiles nothing anew."""
    leaf = jnp.asarray(leaf)
    dtype = leaf.dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.result_type(float)
    return jax.lax.convert_element_type(leaf, dtype)


def _held_out(state: TrainState, validation: Any) -> Examples:
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise TypeError(f"validation must be a pair (X, y), got {type(validation).__name__}")
    X, y = validation
    num_classes, num_features = state.params.W.shape[-2:]
    X = checks.finite(checks.rows(X, "validation X", num_features), "validation X")
    y = checks.labels(y, len(X), num_classes, "validation y")
    data = Examples(X, y, np.ones(len(X), state.params.W.dtype))
    return data if streams.is_large(X) else streams.lend(data)


def _chunk_length(span: int, products_a_step: int, limit: int) -> int:
    """Steps a compiled call takes: `span` cut into equal parts of a bounded amount of work."""
    limit = min(limit, max(1, int(_FLOPS_PER_CHUNK / (6 * products_a_step))))
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


def _better(
    best: tuple | None, step: int, accuracy: np.ndarray, params: LinearParams, patience: int | None
) -> tuple:
    """(step, accuracy, params, looks waited since) of the greatest accuracy, setting by setting."""
    now = (np.full(accuracy.shape, step), accuracy, params, np.zeros(accuracy.shape, int))
    if best is None:
        return now
    waited = (*best[:3], best[3] + 1)
    return _where((accuracy > best[1]) & ~_stopped(best, patience), now, waited)


def _stopped(best: tuple, patience: int | None) -> Any:
    """Which settings have waited for so many validations."""
    return np.asarray(best[3]) >= (np.inf if patience is None else patience)


def _history(infos: list[StepInfo], looks: list, best: tuple | None) -> History:
    steps = StepInfo(*map(np.concatenate, zip(*infos, strict=True)))
    if best is None:
        return History(*steps)
    at, accuracy = zip(*looks, strict=True)
    found = Validation(
        np.array(at), np.stack(accuracy), np.asarray(best[0]), np.asarray(best[1]), best[2]
    )
    return History(*steps, found)
