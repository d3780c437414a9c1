"""Choosing a learning rate and a strength together by cross-validation, and one test of them."""

import sys
import time
from dataclasses import dataclass

import jax
import numpy as np

from experiments.lab import choices, progress, tuning
from experiments.lab.experiment import Classifier, Outcome, flag
from experiments.lab.gate import Data
from lincls import crossval, linear, splits
from lincls.structs import LinearParams


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
        5000, "training examples cross-validated, the first ones", low=10, smoke=300
    )
    max_train: int = flag(60000, "training examples of the last training", low=2, smoke=300)

    def problem(self, examples: tuning.Rows, num_classes: int) -> tuning.Problem:
        recipe = tuning.recipe(self.loss, self.batch_size)
        return tuning.problem(examples, num_classes, recipe, self.num_steps)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Every pair on every fold as one program; the best pair on everything; one test."""
    fold_key, cross_key, last_key = jax.random.split(key, 3)
    folded = tuning.rows(data.train, settings.max_folded)
    folds = splits.stratified_folds(fold_key, folded.y, settings.num_folds)
    found = _cross_validated(cross_key, settings.problem(folded, data.num_classes), folds, settings)
    accuracies = found.accuracies
    regs = np.tile(settings.regs, len(settings.rates))
    settled = crossval.choose(accuracies, complexity=-regs)
    best, simplest = (_pair(settings, row) for row in (settled.best, settled.one_standard_error))
    last = settings.problem(tuning.rows(data.train, settings.max_train), data.num_classes)
    for _ in range(2):  # the first compiles, the second is timed
        params, seconds = tuning.refit(last_key, last, best["rate"], best["reg"])
    numbers = {"best": best, "one_standard_error": simplest, "num_folded": len(folded.y)}
    shape = (len(settings.rates), len(settings.regs), settings.num_folds)
    arrays = {"accuracies": accuracies.reshape(shape), "alive": found.alive.reshape(shape)}
    tested, of_image = _tested(data, params, best, settings)
    times = {f"training: {tested.name}": seconds, f"a test image: {tested.name}": of_image}
    return Outcome(numbers, arrays, [tested], times)


def _cross_validated(
    key: jax.Array, problem: tuning.Problem, folds: np.ndarray, settings: Settings
) -> crossval.Folded:
    """Every pair on every fold, strength by strength."""
    rates, regs = map(np.ravel, np.meshgrid(settings.rates, settings.regs, indexing="ij"))
    watch = progress.watcher(f"{len(rates) * settings.num_folds} trainings")
    return crossval.linear(
        key, *problem.examples, folds, problem.recipe, problem.hyper(rates, regs),
        num_steps=settings.num_steps, affine=problem.affine, params=problem.start(key),
        on_chunk=lambda state, _: watch(int(state.step), settings.num_steps),
    )  # fmt: skip


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
