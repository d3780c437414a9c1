"""SVM and softmax: two losses on one linear score function, tuned, tested once, looked at."""

import dataclasses
import sys
import time
from typing import Any

import jax
import numpy as np

from experiments.lab import choices, tuning
from experiments.lab.experiment import Classifier, Outcome, flag
from experiments.lab.gate import Data
from experiments.lab.parts import NOWHERE, Parts
from lincls import evaluation, linear, losses
from lincls.structs import LinearParams

LOSSES = {"svm": losses.hinge, "softmax": losses.softmax}
TITLES = {name: f"linear, {choices.NAMES[name]}" for name in LOSSES}
TEMPLATE_RATE = 1.0  # a low learning rate: it is stable at any strength that one would show
NUM_MEASURED = 5000  # training examples on which the loss is measured


@dataclasses.dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = flag(
        (0.4, 2.0, 10.0, 50.0, 250.0, 1000.0),
        "learning rates tried, as multiples of the one derived from data and loss",
        low=0,
        smoke=(0.4, 2.0),
    )
    regs: tuple[float, ...] = flag(
        (0.0, 1e-3, 1e-2, 1e-1, 1.0), "strengths lambda tried, rising", low=0, smoke=(0.0, 1e-3)
    )
    num_folds: int = flag(5, "folds of the training examples that choose", low=2)
    num_validated: int = flag(
        1000, "held-out examples that choose: as many folds as bring them", low=1, smoke=50
    )
    num_steps: int = flag(2000, "minibatches, all the way to learning rate 0", smoke=20, low=1)
    batch_size: int = flag(256, "examples in a minibatch", low=1, smoke=32)
    max_train: int = flag(60000, "training examples used, the first ones", low=10, smoke=300)
    template_reg: float = flag(
        1.0, "strength for the templates that are shown: a strong penalty smooths them", low=0
    )

    def problem(self, name: str, examples: tuning.Rows, num_classes: int) -> tuning.Problem:
        recipe = tuning.recipe(name, self.batch_size)
        return tuning.problem(examples, num_classes, recipe, self.num_steps)


def compute(data: Data, key: jax.Array, settings: Settings, parts: Parts = NOWHERE) -> Outcome:
    """Tune on held-out folds, train again on all, open the test set once for all that is tested.

    `tested_templates` are those of the two tested classifiers.  `softmax_templates`, to be shown,
    are of one more softmax classifier with the strength `template_reg`; it is not tested.
    """
    outcome, trained = Outcome({}), {}
    examples = tuning.rows(data.train, settings.max_train)
    for name, loss in LOSSES.items():
        problem = settings.problem(name, examples, data.num_classes)
        grid = tuning.search(key, problem, settings, parts, name)
        outcome.numbers[name] = _chosen(grid)
        outcome.arrays[f"{name}_grid"] = grid.accuracy
        trained[name] = _trained(outcome, key, problem, name)
        outcome.arrays[f"{name}_fall"] = _fall(trained[name][1], loss, examples)
    test = tuning.rows(data.open_test("the two chosen classifiers, and both without a penalty"))
    for name, (weakest, chosen) in trained.items():
        outcome.classifiers.append(_tested(outcome, name, chosen, weakest, test))
    tested = [linear.templates(chosen, data.image_shape) for _, chosen in trained.values()]
    outcome.arrays["tested_templates"] = np.stack(tested)
    problem = settings.problem("softmax", examples, data.num_classes)
    smooth, _ = tuning.refit(key, problem, TEMPLATE_RATE, settings.template_reg)
    outcome.arrays["softmax_templates"] = linear.templates(smooth, data.image_shape)
    return outcome


def _chosen(grid: tuning.Grid) -> dict[str, float]:
    """The best pair on the held-out folds, and the weakest strength at its own best rate."""
    weakest = (int(grid.accuracy[:, 0].argmax()), 0)
    return {
        "rate": grid.rates[grid.best[0]],
        "reg": grid.regs[grid.best[1]],
        "rate_weakest": grid.rates[weakest[0]],
        "reg_weakest": grid.regs[0],
        "validation": float(grid.accuracy[grid.best]),
        "validation_weakest": float(grid.accuracy[weakest]),
        "num_validated": len(grid.labels),
    }


def _fall(params: LinearParams, loss: Any, examples: tuning.Rows) -> np.ndarray:
    """Losses (2, n) of training examples: at scores of 0, where training begins, and at its end."""
    X, y = examples.X[:NUM_MEASURED], examples.y[:NUM_MEASURED]
    scores = linear.scores(params, X)
    return np.stack([loss(0 * scores, y), loss(scores, y)])


def _trained(
    outcome: Outcome, key: jax.Array, problem: tuning.Problem, name: str
) -> tuple[LinearParams, LinearParams]:
    """On all examples: with the weakest strength, which compiles, and as chosen, which is timed."""
    chosen = outcome.numbers[name]
    weakest, _ = tuning.refit(key, problem, chosen["rate_weakest"], chosen["reg_weakest"])
    params, seconds = tuning.refit(key, problem, chosen["rate"], chosen["reg"])
    outcome.seconds[f"training: {TITLES[name]}"] = seconds
    return weakest, params


def _tested(
    outcome: Outcome, name: str, params: LinearParams, weakest: LinearParams, test: tuning.Rows
) -> Classifier:
    """What the chosen classifier does on the test set, and whether the penalty changed it."""
    by_weakest = linear.predict(weakest, test.X)  # compiles
    began = time.perf_counter()
    predictions = np.asarray(linear.predict(params, test.X))
    outcome.seconds[f"a test image: {TITLES[name]}"] = (time.perf_counter() - began) / len(test.y)
    confusion = evaluation.confusion(predictions, test.y, len(params.b))
    outcome.arrays[f"{name}_confusion"] = confusion
    chosen = outcome.numbers[name]
    chosen["test_weakest"] = evaluation.accuracy(by_weakest, test.y)
    chosen["p"] = evaluation.mcnemar(predictions, by_weakest, test.y)
    return Classifier(
        TITLES[name],
        f"learning rate × {chosen['rate']:g}, strength {chosen['reg']:g}",
        correct=int(np.trace(confusion)),
        total=int(confusion.sum()),
        stored=params.W.size + params.b.size,
        memory=params.W.nbytes + params.b.nbytes,
    )


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
