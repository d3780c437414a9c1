"""How a linear probe is fitted: one program for a whole grid over one number of `Hyper`.

early: so many steps of SGD, a grid over the strength of L2.  optimum: L-BFGS, the same grid.
sgd: SGD with momentum from random weights, a grid over the learning rate, without a penalty.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.probe.probing import Rotated, cut
from lincls import batches, optimizers, optimum, training
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams, TrainState
from lincls.training import Recipe

OnStep = Callable[[int, int], Any]
_USUAL_REG = 1e-3  # where `Plan.learning_rate` is the step size; weaker penalties take longer ways
_RATIO = 30  # of the step sizes of powers 1/8 and 1/2
_DECAY, _EPSILON = 0.99, 1e-16  # of the mean square that `early` divides by
_STEADY = 3000  # examples on which `Plan.steps` are taken; more examples take fewer
_MOST_STEPS = 400  # of L-BFGS a strength
_RISEN = 1.5  # a loss so many times that of W = 0 belongs to a training that diverged
_MOMENTUM = 0.9
_RATED_BATCH = 256  # examples of the batch that a learning rate of `sgd` is meant for
_DEVIATION = 0.01  # of the first W of `sgd`
_FIRST_W = 2**31 - 2  # no epoch's number: W shares no bits with batches


class Search(NamedTuple):
    """The numbers of a linear probe that are tried, on one axis of `Hyper`."""

    axis: str  # what tables call them: strength, or learning rate
    values: np.ndarray  # (G,), the simplest first
    flags: tuple[str, str]  # that take the search beyond its first and its last number


class Plan(NamedTuple):
    """How the linear probe trains, apart from what is searched.

    `early` takes as many steps as the greatest of epochs, examples and steps asks for.
    """

    epochs: float  # passes over the examples that have weight in any training
    examples: int  # how many a training sees at least, one over and over
    batch_size: int  # at most; a set that is no greater is a full batch
    learning_rate: float  # of power 1/2 at strength 1e-3, for features of variance 1
    steps: int = 2000  # at least, on up to 3,000 examples; on N more, 3,000 / N of them
    gap: float = 1e-3  # of the optimum, relative to the objective
    power: float = 0.125  # of the mean square gradient that `early` divides by

    def shorter(self, share: float) -> "Plan":
        """Trainings of a share of the length."""
        return self._replace(epochs=share * self.epochs, examples=round(share * self.examples),
                             steps=round(share * self.steps))  # fmt: skip


class MeanSquare(NamedTuple):
    """Steps taken, and the running mean of squared gradients (a tree like the parameters)."""

    step: jax.Array
    mean: Any


class Training(NamedTuple):
    """A grid of trainings of one length."""

    recipe: Recipe
    hyper: Hyper
    steps: int
    deviation: float = 0.0  # of the first W
    limit: float = _RISEN  # times the loss of W = 0: who ends above it has diverged

    def epochs(self, num_examples: int) -> float:
        """Passes over so many examples."""
        return self.steps * self.recipe.batch_size / num_examples


# --- recipes: values of a search -> a grid of trainings ------------------------------------------


def early(regs: np.ndarray, num_examples: int, plan: Plan) -> Training:
    """SGD over a grid of strengths, each with its step size."""
    size, steps = schedule(num_examples, plan)
    sampling = batches.full if size == num_examples else batches.shuffled
    numbers = {"learning_rate": step_sizes(regs, plan), "num_steps": steps, "power": plan.power}
    hyper = Hyper(numbers, regs)
    return Training(Recipe(Objective(), partly_adaptive, sampling, size), hyper, steps)


def partly_adaptive(learning_rate: Any, num_steps: Any, power: Any) -> optax.GradientTransformation:
    """Gradients over a power of their mean square, then the short form's momentum and cosine.

    Power 1/2 is RMSprop (Tieleman and Hinton 2012).  It is fast on features of unequal scale, and
    fits those without information as fast as others.  1/8 does neither.

    Source: Chen et al., IJCAI 2020 (Padam).
    """
    return optax.chain(
        scaled_by_power(_DECAY, power), optimizers.annealed(learning_rate, num_steps)
    )


def scaled_by_power(decay: float, power: Any) -> optax.GradientTransformation:
    """g <- g / (v + epsilon)**power, v the running mean of g**2 with its bias corrected."""

    def init(params: Any) -> MeanSquare:
        return MeanSquare(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(grads: Any, state: MeanSquare, params: Any = None) -> tuple[Any, MeanSquare]:
        step = state.step + 1
        mean = jax.tree.map(lambda v, g: decay * v + (1 - decay) * g * g, state.mean, grads)
        share = 1 - decay ** step.astype("float32")

        def scaled(g: jax.Array, v: jax.Array) -> jax.Array:
            return g * (v / share + _EPSILON) ** -power

        return jax.tree.map(scaled, grads, mean), MeanSquare(step, mean)

    return optax.GradientTransformation(init, update)


def schedule(num_examples: int, plan: Plan) -> tuple[int, int]:
    """Batch size and number of steps of `early` on so many examples."""
    size = min(plan.batch_size, num_examples)
    of_epochs = plan.epochs * batches.steps_per_epoch(num_examples, size)
    steps = plan.steps * min(1, _STEADY / num_examples)
    return size, max(1, round(of_epochs), round(plan.examples / size), round(steps))


def step_sizes(regs: np.ndarray, plan: Plan) -> np.ndarray:
    """A step size for every strength, found for powers 1/2 and 1/8, and between them smooth."""
    of_power = _RATIO ** ((0.5 - plan.power) / 0.375)
    return plan.learning_rate * of_power * (regs / _USUAL_REG) ** -(0.05 + 0.4 * plan.power)


def sgd(rates: np.ndarray, num_examples: int, plan: Plan) -> Training:
    """SGD over a grid of learning rates for batches of 256, in proportion for others; no penalty.

    Source: facebookresearch/dinov2, eval/linear.py.
    """
    steps = max(1, round(plan.examples / plan.batch_size))
    hyper = Hyper({"learning_rate": rates * (plan.batch_size / _RATED_BATCH), "num_steps": steps},
                  reg=0.0)  # fmt: skip
    size = min(plan.batch_size, num_examples)
    recipe = Recipe(Objective(), annealed_sgd, batches.shuffled, size)
    return Training(recipe, hyper, steps, _DEVIATION, limit=np.inf)


def annealed_sgd(learning_rate: Any, num_steps: Any) -> optax.GradientTransformation:
    """SGD with momentum 0.9 and a learning rate that falls to 0 as a cosine."""
    return optimizers.sgd(optimizers.warmup_cosine(learning_rate, 0, num_steps), _MOMENTUM)


RECIPES = {"early": early, "sgd": sgd}


# --- fits: all trainings of a grid -------------------------------------------------------------


def trained(
    recipe_of: Callable[[np.ndarray, int, Plan], Training],
    key: jax.Array,
    data: Rotated,
    y: np.ndarray,
    num_classes: int,
    weights: np.ndarray,
    values: np.ndarray,
    plan: Plan,
    on_step: OnStep | None = None,
    saved: Path | None = None,
) -> tuple[LinearParams, np.ndarray]:
    """Softmax for S pairs of weights and a searched value, in one program.

    Args:
        recipe_of: one of `RECIPES`.
        weights: (S, N); examples without weight in any training are left out.
        values: (S,) strengths, for features of average variance 1, or learning rates.
        on_step: called with (steps done, steps in all).
        saved: a file that the state of a long training is saved to, and goes on from.

    Returns:
        LinearParams (S, C, A), (S, C) that act on rotated rows, and (S,) bool: which trainings
        diverged, so that their parameters mean nothing.
    """
    rows = cut(data, y, weights)
    recipe, hyper, steps, deviation, limit = recipe_of(values, len(rows.y), plan)
    start = first(key, num_classes, rows.Z.shape[1], deviation)
    if saved is not None:
        saved.parent.mkdir(parents=True, exist_ok=True)

    def told(state: TrainState, _: Any) -> None:
        if on_step is not None:
            on_step(int(state.step), steps)

    state, history = training.fit(
        training.start(key, start, recipe, hyper), rows.Z, rows.y, recipe, hyper,
        num_steps=steps, weight=rows.weights, checkpoint=saved, on_chunk=told,
    )  # fmt: skip
    loss = history.loss[-1]
    W, b = map(np.asarray, state.params)
    diverged = ~np.asarray(state.alive) | (loss > limit * np.log(num_classes))
    return LinearParams(rows.back(W), b), diverged


def first(key: jax.Array, num_classes: int, num_axes: int, deviation: float) -> LinearParams:
    """The parameters before the first step: W (C, A) drawn from a normal distribution, b = 0."""
    W = np.zeros((num_classes, num_axes), np.float32)
    if deviation:
        drawn = jax.random.normal(jax.random.fold_in(key, _FIRST_W), W.shape, "float32")
        W = np.asarray(deviation * drawn)
    return LinearParams(W, np.zeros(num_classes, np.float32))


def at_optimum(
    key: jax.Array,
    data: Rotated,
    y: np.ndarray,
    num_classes: int,
    weights: np.ndarray,
    regs: np.ndarray,
    plan: Plan,
    on_step: OnStep | None = None,
    saved: Path | None = None,
) -> tuple[LinearParams, np.ndarray]:
    """The optimum of each pair by L-BFGS, a path of strengths for each row of weights.

    Arguments and result as for `trained`; nothing diverges.
    """
    rows = cut(data, y, weights)
    W = np.zeros((len(regs), num_classes, rows.Z.shape[1]), np.float32)
    b, done = np.zeros(W.shape[:2], np.float32), 0
    for weight in np.unique(rows.weights, axis=0):
        places = np.flatnonzero((rows.weights == weight).all(axis=1))
        path = optimum.optimum(
            rows.Z, rows.y, reg=regs[places], num_classes=num_classes, weight=weight,
            tol=plan.gap, max_steps=_MOST_STEPS,
        )  # fmt: skip
        W[places], b[places] = path.params
        done += len(places)
        if on_step is not None:
            on_step(done, len(regs))
    return LinearParams(rows.back(W), b), np.zeros(len(regs), bool)


FITS: dict[str, Callable[..., tuple[LinearParams, np.ndarray]]] = {
    name: partial(trained, recipe_of) for name, recipe_of in RECIPES.items()
} | {"optimum": at_optimum}


def epochs(fit: str, num_examples: int, plan: Plan) -> float:
    """Passes over so many examples by one training; none are counted of the optimum."""
    if fit not in RECIPES:
        return np.nan
    return RECIPES[fit](np.ones(1), num_examples, plan).epochs(num_examples)
