"""Optimisers: hand-written SGD in optax's protocol, and projections as links of a chain.

An optimiser is a function of numbers that returns an `optax.GradientTransformation`; it
is called inside the traced step with `hyper.optimizer` as its keywords, so that no value
recompiles.  Therefore any of optax's drops in as it is (`optax.adam`), and one of your own
is a module-level function that builds a chain:

    def sgd_l1(learning_rate, strength):
        return optax.chain(optimizers.sgd(learning_rate),
                           optimizers.proximal(penalties.soft_threshold, learning_rate * strength))

    def sgd_in_balls(learning_rate, radius):
        return optax.chain(optimizers.sgd(learning_rate), optimizers.max_norm(radius))

A schedule is a function of the step, and any of optax's drops in where its numbers are fixed.
Where they are to be swept they arrive traced, and optax looks at some of them in Python.  Traced
works the first value of `optax.cosine_decay_schedule` and its alpha, both ends of
`linear_schedule`, and the first value of `exponential_decay`.  Any other schedule can be made once
with a peak of 1 and multiplied:

    UNIT = optax.warmup_cosine_decay_schedule(0.0, 1.0, 20, 100)

    def warmed_sgd(learning_rate):
        return optimizers.sgd(lambda step: learning_rate * UNIT(step))

Numbers of steps and of decay cannot be swept like that: `warmup_cosine` and `exponential` here
take every number traced.  What changes gradients on their way, such as clipping, is optax's:

    def clipped_sgd(learning_rate, limit, num_warmup, num_steps):
        schedule = optimizers.warmup_cosine(learning_rate, num_warmup, num_steps)
        return optax.chain(optax.clip_by_global_norm(limit), optimizers.sgd(schedule))

The mean of the iterates is kept by `averaging`, a last link, and read by `averaged`; where
training differs as well, as in `optax.contrib.schedule_free_sgd`, optax has its own function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lincls import penalties
from lincls.structs import LinearParams, Params

Schedule = Callable[[jax.Array], Any]
_MOMENTUM = 0.9


class AverageState(NamedTuple):
    """Steps taken, and the mean of the iterates so far (a tree like the parameters)."""

    step: jax.Array
    average: Any


class ProximalState(NamedTuple):
    """The parameters before the last step (() without momentum), and the number of steps."""

    before: Any
    step: jax.Array


class SgdState(NamedTuple):
    """Steps taken, and the velocity (a tree like the parameters; () without momentum)."""

    step: jax.Array
    velocity: Any


def sgd(learning_rate: Any, momentum: Any = None) -> optax.GradientTransformation:
    """Stochastic gradient descent (slides 58-60), with momentum if a number is given.

        v <- momentum * v + gradient
        W <- W - learning_rate * v                       (v = gradient without momentum)

    Args:
        learning_rate: scalar, or a schedule of the step number (0 at the first step).
        momentum: None, or a scalar in [0, 1).

    Source: slide 59; Polyak 1964 in the form of Sutskever et al., ICML 2013, that
    optax and torch use.
    """
    return _descent(learning_rate, momentum, look_ahead=False)


def nesterov(learning_rate: Any, momentum: Any) -> optax.GradientTransformation:
    """SGD with Nesterov's momentum: the gradient counts once more on top of the velocity.

        v <- momentum * v + gradient
        W <- W - learning_rate * (momentum * v + gradient)

    Source: Sutskever et al., ICML 2013, in the form without a look-ahead point.
    """
    return _descent(learning_rate, momentum, look_ahead=True)


def warmup_cosine(
    peak: Any, num_warmup: Any, num_steps: Any, start: Any = 0.0, end: Any = 0.0
) -> Schedule:
    """From `start` to `peak` in a straight line, then to `end` as half a cosine; all may be traced.

        t < w    start + (peak - start) t / w
        else     end + (peak - end) (1 + cos(pi (t - w) / (T - w))) / 2,    `end` from t = T on

    Args:
        peak, start, end: step sizes.
        num_warmup: w at least 0; 0 is a plain cosine.
        num_steps: T greater than w, the warm-up included.

    Source: Loshchilov and Hutter, ICLR 2017; `optax.warmup_cosine_decay_schedule` with fixed
    numbers.
    """

    def rate(step: jax.Array) -> jax.Array:
        first, top, last, w, total, t = _floats(start, peak, end, num_warmup, num_steps, step)
        rising = first + (top - first) * t / jnp.maximum(w, 1)
        part = jnp.clip((t - w) / (total - w), 0, 1)
        falling = last + (top - last) * 0.5 * (1 + jnp.cos(jnp.pi * part))
        return jnp.where(t < w, rising, falling)

    return rate


def exponential(start: Any, num_steps: Any, factor: Any) -> Schedule:
    """start * factor**(t / num_steps): multiplied by `factor` every `num_steps`; all traced.

    Source: `optax.exponential_decay` with fixed numbers.
    """

    def rate(step: jax.Array) -> jax.Array:
        first, each, falls, t = _floats(start, num_steps, factor, step)
        return first * falls ** (t / each)

    return rate


def annealed(learning_rate: Any, num_steps: Any) -> optax.GradientTransformation:
    """Nesterov SGD with momentum 0.9 and a learning rate that falls to 0 as a cosine.

    It begins at `learning_rate` and arrives at 0 after `num_steps`.

    Source of the schedule: Loshchilov and Hutter, ICLR 2017, without restarts.
    """
    return nesterov(warmup_cosine(learning_rate, 0, num_steps), _MOMENTUM)


def annealed_l1(learning_rate: Any, num_steps: Any, strength: Any) -> optax.GradientTransformation:
    """Proximal SGD for an objective plus strength * sum|W|, with exact zeros in W.

    The momentum is 0.9, and the step size falls as in `annealed`.
    """
    rate = warmup_cosine(learning_rate, 0, num_steps)
    link = proximal(penalties.soft_threshold, lambda step: rate(step) * strength, _MOMENTUM)
    return optax.chain(sgd(rate), link)


def proximal(
    fn: Callable[[jax.Array, Any], jax.Array], amount: Any, momentum: Any = None
) -> optax.GradientTransformation:
    """Replace W by fn(W, amount) after each step; the last link of an `optax.chain`.

        W <- fn(W + update + momentum * (W - W before the last step), amount)

    It returns new - old, so an exact zero of `fn` stays an exact zero.  The bias is left
    alone.  With `penalties.soft_threshold` and amount = learning_rate * strength it is the
    proximal step for `strength * sum|W|`; the objective's penalty is then `penalties.none`.

    Momentum belongs here and not before it.  After `optimizers.sgd(learning_rate, momentum)` the
    steps are 1 / (1 - momentum) times as long, and the same `amount` would solve the problem of
    strength (1 - momentum) * strength; `training.start` refuses that.

    Args:
        fn: such as `penalties.soft_threshold`.
        amount: its second argument, or a schedule of the step number.
        momentum: None, or a scalar in [0, 1).

    Source: Parikh and Boyd, Proximal Algorithms, 2014; with momentum Ochs et al., SIAM J. Imaging
    Sciences 2014 (iPiano).
    """

    def init(params: Params) -> ProximalState:
        return ProximalState(() if momentum is None else params, jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if momentum is not None and params is not None:
            moved = jax.tree.map(jnp.subtract, params, state.before)
            updates = jax.tree.map(lambda u, v: u + momentum * v, updates, moved)
            state = state._replace(before=params)
        now = amount(state.step) if callable(amount) else amount
        return _through(fn, now, updates, params), state._replace(step=state.step + 1)

    return optax.GradientTransformation(init, update)


def check_proximal(state: Any) -> None:
    """ValueError where `proximal` follows a link that remembers gradients, such as momentum.

    Args:
        state: of an optimiser, before the first step.
    """
    links = jax.tree.leaves(state, is_leaf=lambda leaf: isinstance(leaf, ProximalState))
    places = [i for i, link in enumerate(links) if isinstance(link, ProximalState)]
    if places and any(jnp.ndim(link) for link in links[: places[-1]] if hasattr(link, "shape")):
        raise ValueError(
            "optimizers.proximal after momentum, or after a rate for each weight, solves another "
            "problem; use optax.chain(optimizers.sgd(learning_rate), "
            "optimizers.proximal(fn, amount, momentum))"
        )


def max_norm(radius: Any) -> optax.GradientTransformation:
    """Keep the Euclidean norm of every class row at most `radius` (slide 41); a last link."""

    # A projection is the same for steps of any length, so momentum may stand before it.
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return _through(penalties.max_norm, radius, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _through(
    fn: Callable[[jax.Array, Any], jax.Array], amount: Any, updates: Any, params: Any
) -> LinearParams:
    """The updates after which W is fn(W + update, amount); those of the bias are as they were."""
    if params is None:
        raise ValueError("proximal needs the parameters: call update(grads, state, params)")
    if not isinstance(params, LinearParams):
        raise TypeError("proximal and max_norm change W of LinearParams(W, b), and no other tree")
    return updates._replace(W=fn(params.W + updates.W, amount) - params.W)


def averaging(start: Any = 0, decay: Any = None) -> optax.GradientTransformation:
    """Keep the mean of the parameters after each step from step `start` on; a last link.

        a_n <- a_{n-1} + w_n (W_n - a_{n-1}),    w_n = 1 / n,    or (1 - d) / (1 - d^n)

    counts n from `start`; before that, and at n = 1, a is the last W.  Without a decay d it is
    the plain mean (Polyak-Ruppert), with one the exponential mean with its bias corrected.
    The mean is kept in float32 at least.  The steps themselves are not changed, and
    `averaged(state)` are the parameters to use:

        def averaged_sgd(learning_rate, start):
            return optax.chain(optimizers.sgd(learning_rate), optimizers.averaging(start))

    Args:
        start: scalar, how many steps are left out; such as the length of an epoch.
        decay: None, or a scalar in [0, 1); about the last 1 / (1 - decay) iterates count.

    Source: Polyak and Juditsky, SIAM J. Control Optim. 1992; Ruppert 1988.
    """

    def wide(params: Any) -> Any:
        return jax.tree.map(lambda p: p if p.dtype.itemsize >= 4 else p.astype("float32"), params)

    def init(params: Any) -> AverageState:
        return AverageState(jnp.zeros((), jnp.int32), wide(params))

    def update(updates: Any, state: AverageState, params: Any = None) -> tuple[Any, AverageState]:
        if params is None:
            raise ValueError("averaging needs the parameters: call update(grads, state, params)")
        moved = wide(optax.apply_updates(params, updates))
        dtype = jax.tree.leaves(moved)[0].dtype
        count = jnp.maximum((state.step + 1).astype(dtype) - jnp.asarray(start, dtype), 1)
        share = 1 / count
        if decay is not None:
            d = jnp.asarray(decay, dtype)
            share = (1 - d) / (1 - d**count)
        average = optax.incremental_update(moved, state.average, share)
        return updates, AverageState(state.step + 1, average)

    return optax.GradientTransformation(init, update)


def averaged(state: Any) -> Params:
    """The mean that `averaging` keeps, of a TrainState or an optimiser's state, also of a grid.

    As `params_fn` of a `Recipe` it is what training and cross-validation measure.

    Raises:
        ValueError: an optimiser without `averaging`.
    """
    average = optax.tree.get(state, "average")
    if average is None:
        raise ValueError("the optimiser keeps no mean: end its chain with optimizers.averaging")
    return average


def _floats(*numbers: Any) -> list[jax.Array]:
    """All as arrays of one floating dtype, that of the traced ones."""
    floating = [n for n in numbers if jnp.issubdtype(jnp.result_type(n), jnp.floating)]
    dtype = jnp.result_type(*floating) if floating else jnp.result_type(float)
    return [jnp.asarray(n, dtype) for n in numbers]


def _descent(learning_rate: Any, momentum: Any, look_ahead: bool) -> optax.GradientTransformation:
    def init(params: Any) -> SgdState:
        velocity = () if momentum is None else jax.tree.map(jnp.zeros_like, params)
        return SgdState(jnp.zeros((), jnp.int32), velocity)

    def update(grads: Any, state: SgdState, params: Any = None) -> tuple[Any, SgdState]:
        direction, velocity = grads, state.velocity
        if momentum is not None:
            velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, grads)
            direction = velocity
        if look_ahead:
            direction = jax.tree.map(lambda v, g: momentum * v + g, velocity, grads)
        rate = learning_rate(state.step) if callable(learning_rate) else learning_rate
        updates = jax.tree.map(lambda d: -rate * d, direction)
        return updates, SgdState(state.step + 1, velocity)

    return optax.GradientTransformation(init, update)
