"""Choosing a learning rate and a strength together by cross-validation, and one test of them."""

import sys
import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.lab import choices, progress, tuning
from experiments.lab.experiment import Classifier, Outcome, flag
from experiments.lab.gate import Data
from lincls import crossval, linear, penalties, preprocessing, quick, splits
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams


@dataclass(frozen=True)
class Settings:
    loss: str = flag("softmax", "which loss", choices=tuple(choices.LOSSES))
    rates: tuple[float, ...] = flag(
        (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0),
        "learning rates tried, rising, as multiples of the one derived from data and loss",
        low=0,
        smoke=(0.3, 3.0),
    )
    regs: tuple[float, ...] = flag(
        (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), "strengths tried, rising", low=0, smoke=(0.0, 1e-2, 1.0)
    )
    num_folds: int = flag(5, "folds, stratified", low=2, smoke=3)
    num_steps: int = flag(500, "minibatches, all the way to learning rate 0", low=1, smoke=30)
    batch_size: int = flag(256, "examples in a minibatch", low=1, smoke=64)
    max_folded: int = flag(
        5000, "training examples cross-validated, the first ones", low=2, smoke=300
    )
    max_train: int = flag(60000, "training examples of the last training", low=2, smoke=300)

    @property
    def plan(self) -> tuning.Plan:
        objective = Objective(choices.LOSSES[self.loss], penalties.l2)
        return tuning.Plan(objective, self.batch_size, self.num_steps)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Every pair on every fold as one program; the best pair on everything; one test."""
    fold_key, cross_key, last_key = jax.random.split(key, 3)
    folded = tuning.rows(data.train, settings.max_folded)
    folds = splits.stratified_folds(fold_key, folded.y, settings.num_folds)
    accuracies, alive = _cross_validated(cross_key, folded, folds, data.num_classes, settings)
    regs = np.tile(settings.regs, len(settings.rates))
    settled = crossval.choose(accuracies, complexity=-regs)
    best, simplest = (_pair(settings, row) for row in (settled.best, settled.one_standard_error))
    examples = tuning.rows(data.train, settings.max_train)
    for _ in range(2):  # the first compiles, the second is timed
        params, seconds = tuning.refit(
            last_key, examples, data.num_classes, settings.plan, best["rate"], best["reg"]
        )
    numbers = {"best": best, "one_standard_error": simplest, "num_folded": len(folded.y)}
    shape = (len(settings.rates), len(settings.regs), settings.num_folds)
    arrays = {"accuracies": accuracies.reshape(shape), "alive": alive.reshape(shape)}
    tested, of_image = _tested(data, params, best, settings)
    times = {f"training: {tested.name}": seconds, f"a test image: {tested.name}": of_image}
    return Outcome(numbers, arrays, [tested], times)


def _cross_validated(
    key: jax.Array, folded: tuning.Rows, folds: np.ndarray, num_classes: int, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies (rates * strengths, folds), strength by strength, and which stayed finite."""
    affine = preprocessing.fit(folded.X)
    derived = quick.step_size(folded.X, affine, choices.LOSSES[settings.loss], num_classes)
    rates, regs = map(np.ravel, np.meshgrid(settings.rates, settings.regs, indexing="ij"))
    hyper = Hyper({"learning_rate": derived * rates, "num_steps": settings.num_steps}, regs)
    watch = progress.watcher(f"{len(rates) * settings.num_folds} trainings")
    alive = [np.ones(1, bool)]

    def on_chunk(state: Any, _: Any) -> None:
        watch(int(state.step), settings.num_steps)
        alive[0] = np.asarray(state.alive)

    accuracies = crossval.linear_accuracies(
        key, *folded, folds, hyper, objective=settings.plan.objective, optimizer=quick.annealed,
        num_steps=settings.num_steps, batch_size=settings.batch_size, affine=affine,
        params=linear.init(key, folded.X.shape[1], num_classes),
        on_chunk=on_chunk,
    )  # fmt: skip
    return accuracies, alive[0]


def _pair(settings: Settings, row: int) -> dict[str, float]:
    """Learning rate and strength of a row of the table of all pairs."""
    rate, reg = divmod(row, len(settings.regs))
    return {"rate": settings.rates[rate], "reg": settings.regs[reg]}


def _tested(
    data: Data, params: LinearParams, best: dict[str, float], settings: Settings
) -> tuple[Classifier, float]:
    """The one use of the test set, and the seconds for an image of it."""
    test = tuning.rows(data.open_test("accuracy of the chosen learning rate and strength"))
    linear.predict(params, test.X)  # compiles
    began = time.perf_counter()
    predicted = np.asarray(linear.predict(params, test.X))
    seconds = (time.perf_counter() - began) / len(test.y)
    correct = int(np.sum(predicted == test.y))
    chosen = f"learning rate × {best['rate']:g}, strength {best['reg']:g}"
    found = Classifier(
        f"linear, {choices.NAMES[settings.loss]}, cross-validated", chosen, correct, len(test.y),
        params.W.size + params.b.size, params.W.nbytes + params.b.nbytes,
    )  # fmt: skip
    return found, seconds


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
