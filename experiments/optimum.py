"""How far from the minimum SGD ends, and whose the errors are: the training's or the model's."""

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lab import choices, tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import (
    batches,
    certificate,
    linear,
    losses,
    optimizers,
    optimum,
    passes,
    penalties,
    preprocessing,
    splits,
    training,
)
from lincls.objective import Objective, step_size
from lincls.structs import Affine, Examples, Hyper, LinearParams
from lincls.training import Recipe

SMOOTH = ("softmax", "squared hinge")  # L-BFGS needs gradients without jumps
RUNS = ("constant rate", "falling rate", "mean iterate")


@dataclass(frozen=True)
class Settings:
    losses: tuple[str, ...] = flag(
        SMOOTH,
        "losses, each with L2",
        choices=SMOOTH,
        smoke=("softmax",),
    )
    reg: float = flag(1e-2, "strength of the L2 penalty, for features of variance 1", low=1e-9)
    rate: float = flag(
        20.0, "learning rate, as a multiple of the one derived from data and loss", low=0
    )
    epochs: int = flag(40, "passes of SGD over the training examples", low=1, smoke=3)
    batch_size: int = flag(64, "examples in a minibatch", low=1)
    tol: float = flag(1e-7, "relative duality gap that ends L-BFGS", low=0, smoke=1e-3)
    max_steps: int = flag(3000, "steps of L-BFGS at most", low=1, smoke=50)
    validation: float = flag(0.2, "share of the examples that no training sees", above=0, below=1)
    max_train: int = flag(4000, "training examples used, the first ones", low=10, smoke=300)


class Task(NamedTuple):
    """One loss on the examples to train on and on those held out."""

    recipe: Recipe
    reg: float
    affine: Affine
    fitted: tuning.Rows
    held_out: tuning.Rows
    num_classes: int


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """For each loss the optimum and its certificate, and SGD beside it, epoch by epoch."""
    split_key, key = jax.random.split(key)
    examples = tuning.rows(data.train, settings.max_train)
    mask = splits.validation_mask(split_key, examples.y, settings.validation)
    fitted, held_out = examples.where(~mask), examples.where(mask)
    affine = preprocessing.fit(fitted.X)
    outcome = Outcome({"fitted": len(fitted.y), "held_out": len(held_out.y)})
    for name in settings.losses:
        objective = Objective(choices.LOSSES[name], penalties.l2)
        recipe = Recipe(objective, descent, batch_size=settings.batch_size)
        task = Task(recipe, settings.reg, affine, fitted, held_out, data.num_classes)
        numbers, arrays = _beside_the_optimum(key, task, settings)
        outcome.numbers[name] = numbers
        outcome.arrays |= {f"{name}: {what}": array for what, array in arrays.items()}
    return outcome


def descent(learning_rate: Any, fall: Any, num_steps: Any, start: Any) -> Any:
    """SGD whose rate stays (fall = 0) or falls to 0 as a cosine (1), and its mean iterate."""
    end = learning_rate * (1 - fall)
    rate = optimizers.warmup_cosine(learning_rate, 0, num_steps, end=end)
    return optax.chain(optimizers.sgd(rate), optimizers.averaging(start))


def _beside_the_optimum(
    key: jax.Array, task: Task, settings: Settings
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Numbers of the optimum, and of every run after every epoch: arrays (epochs, runs)."""
    best = optimum.optimum(
        *task.fitted, reg=task.reg, loss=task.recipe.objective.loss, num_classes=task.num_classes,
        affine=task.affine, dtype=np.float64, tol=settings.tol, max_steps=settings.max_steps,
    )  # fmt: skip
    runs = _runs(key, task, settings)
    every = jax.tree.map(lambda met, least: np.concatenate([met, least[None]]), runs, best.params)
    loss, right = _measured(every, task)
    shape = (settings.epochs + 1, len(RUNS))
    arrays = {
        "loss": loss[:-1].reshape(shape),
        "accuracy": right[:-1].mean(axis=1).reshape(shape),
        "right": right[[*range(-1 - len(RUNS), -1), -1]],
    }
    numbers = {
        "least": loss[-1], "steps": best.num_steps,
        "converged": best.converged, "accuracy": right[-1].mean(),
    }  # fmt: skip
    if task.recipe.objective.loss is losses.softmax:
        gap = _gap(best.params, task)
        numbers |= {"least": gap.primal, "gap": gap.size}
        last = [jax.tree.map(lambda p, i=i: p[i - 1 - len(RUNS)], every) for i in range(len(RUNS))]
        arrays["certificates"] = np.array([_gap(one, task).size for one in last])
    return numbers, arrays


def _runs(key: jax.Array, task: Task, settings: Settings) -> LinearParams:
    """The parameters of every run before the first and after every epoch, one after another."""
    X, y = map(jnp.asarray, task.fitted)
    epoch = batches.steps_per_epoch(len(y), settings.batch_size)
    rate = settings.rate * step_size(
        task.fitted.X, task.affine, task.recipe.objective.loss, task.num_classes, task.reg
    )
    hyper = Hyper(
        {"learning_rate": rate, "fall": [0.0, 1.0], "num_steps": settings.epochs * epoch,
         "start": epoch}, task.reg,
    )  # fmt: skip
    params = linear.init(key, X.shape[1], task.num_classes)
    state = training.start(key, params, task.recipe, hyper)
    met = [_candidates(state)]
    for _ in range(settings.epochs):
        state, _ = training.fit(
            state, X, y, task.recipe, hyper, num_steps=epoch, affine=task.affine
        )
        met.append(_candidates(state))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *met)


def _candidates(state: Any) -> LinearParams:
    """The parameters of RUNS: both settings' last ones, and the constant rate's mean."""
    return jax.tree.map(
        lambda last, mean: np.concatenate([last, mean[:1]]),
        state.params, optimizers.averaged(state),
    )  # fmt: skip


def _measured(params: LinearParams, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The objective (G,), in float64, and who of the held out is classified right (G, M)."""
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        X, y = map(jnp.asarray, task.fitted)
        data = Examples(X, y, jnp.ones(len(y)))
        affine = jax.tree.map(jnp.asarray, task.affine)
        loss = np.asarray(_objective(task.recipe.objective, double, data, affine, task.reg))
    rows = np.asarray(preprocessing.apply(task.affine, task.held_out.X))
    products = rows @ params.W.reshape(-1, rows.shape[1]).T.astype(rows.dtype)
    scores = products.reshape(len(rows), *params.b.shape) + params.b
    return loss, task.held_out.y == scores.argmax(axis=-1).T


@partial(jax.jit, static_argnums=0)
def _objective(
    objective: Objective, params: LinearParams, data: Examples, affine: Affine, reg: Any
) -> jax.Array:
    return passes.objective(objective, params, data, affine, Hyper({}, reg))


def _gap(params: LinearParams, task: Task) -> certificate.Gap:
    return certificate.duality_gap(params, *task.fitted, reg=task.reg, affine=task.affine)


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
