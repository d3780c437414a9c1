"""Random search: draw many W, keep the one of least loss, and see how good it is."""

import sys
import time
from dataclasses import dataclass

import jax
import numpy as np

from experiments.lab import progress, tuning
from experiments.lab.experiment import Classifier, Outcome, flag
from experiments.lab.gate import Data
from lincls import linear, losses, penalties, preprocessing, random_search
from lincls.objective import Objective
from lincls.structs import Affine, LinearParams

OBJECTIVE = Objective(losses.hinge, penalties.none)


@dataclass(frozen=True)
class Settings:
    num_draws: int = flag(1000, "random W drawn in each search", low=1, smoke=20)
    num_seeds: int = flag(5, "searches, each with draws of its own", low=2, smoke=2)
    scale: float = flag(1e-4, "standard deviation of the entries of W and b", above=0, high=1e6)
    max_train: int = flag(5000, "training examples the loss is taken over", low=1, smoke=300)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Search on pixels minus the mean image; test the best W of every search.

    The first search runs twice more, on the same draws: on pixels as they are, which is the
    slide's code as printed, and on pixels divided by the greatest one.
    """
    examples = tuning.rows(data.train, settings.max_train)
    keys_of = jax.random.split(key, settings.num_seeds)
    keys = progress.bar(keys_of, "searches", settings.num_seeds)
    found, times = [], []
    for of_search in keys:
        began = time.perf_counter()
        centred = preprocessing.mean_image(examples.X)
        found.append(_searched(of_search, examples, data.num_classes, settings, centred))
        times.append(time.perf_counter() - began)
    best, searches = zip(*found, strict=True)
    plain = preprocessing.identity(examples.X.shape[1])
    scaled = plain._replace(scale=plain.scale / max(1.0, data.levels[1]))
    others = {
        name: _searched(keys_of[0], examples, data.num_classes, settings, affine)
        for name, affine in (("as printed", plain), ("divided", scaled))
    }
    outcome = Outcome({})
    test = tuning.rows(data.open_test("accuracy of the best W of every search"))
    tested = [_tested(outcome, params, test, settings) for params in best]
    outcome.numbers = {
        "accuracies": [one.correct / one.total for one in tested],
        "chance": float(np.bincount(test.y).max() / len(test.y)),
        "num_examples": len(examples.y),
        "greatest_pixel": data.levels[1],
        "total": len(test.y),
    }
    for name, (params, search) in others.items():
        right = int(np.sum(np.asarray(linear.predict(params, test.X)) == test.y))
        outcome.numbers[name] = {"right": right, "least_loss": float(search.loss.min())}
    outcome.arrays = {
        name: np.stack([getattr(s, name) for s in searches]) for name in ("loss", "best")
    }
    outcome.classifiers = tested[:1]
    outcome.seconds[f"training: {tested[0].name}"] = min(times)  # the first one compiles
    return outcome


def _searched(
    key: jax.Array, examples: tuning.Rows, num_classes: int, settings: Settings, affine: Affine
) -> tuple[LinearParams, random_search.Search]:
    """One search: its best parameters, acting on pixels, and the losses of all draws."""
    params, search = random_search.search(
        key, *examples, num_classes=num_classes, num_draws=settings.num_draws,
        scale=settings.scale, objective=OBJECTIVE, affine=affine,
    )  # fmt: skip
    return linear.on_pixels(params, affine), search


def _tested(
    outcome: Outcome, params: LinearParams, test: tuning.Rows, settings: Settings
) -> Classifier:
    """How the best W of a search does; the time of the last one, when all is compiled, stays."""
    began = time.perf_counter()
    predictions = np.asarray(linear.predict(params, test.X))
    name = f"random search, first of {settings.num_seeds}"
    outcome.seconds[f"a test image: {name}"] = (time.perf_counter() - began) / len(test.y)
    return Classifier(
        name,
        f"least loss of {settings.num_draws:,} random W",
        correct=int(np.sum(predictions == test.y)),
        total=len(test.y),
        stored=params.W.size + params.b.size,
        memory=params.W.nbytes + params.b.nbytes,
    )


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
