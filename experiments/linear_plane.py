"""Linear classification in the plane: lines and their directions, and what no line divides."""

import sys
from dataclasses import dataclass

import jax
import numpy as np
from scipy import optimize

from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import batches, linear, losses, optimizers, penalties, training
from lincls.data import toy
from lincls.data.dataset import Split
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams
from lincls.training import Recipe

W = ((0.2, -0.5, 0.1, 2.0), (1.5, 1.3, 2.1, 0.0), (0.0, 0.25, 0.2, -0.3))  # slide 28
X, B = (56, 231, 24, 2), (1.1, 3.2, -1.2)
RECIPE = Recipe(Objective(losses.softmax, penalties.l2), optimizers.nesterov, batches.full)
TOYS = ("blobs", "rings", "xor", "stripes")


@dataclass(frozen=True)
class Settings:
    toys: tuple[str, ...] = flag(TOYS, "sets of points in the plane", choices=TOYS)
    num_points: int = flag(300, "points trained on, and as many tested", low=10)
    num_steps: int = flag(300, "steps, each on all points", low=1)
    rate: float = flag(0.5, "step size", low=0)
    reg: float = flag(1e-4, "strength of the L2 penalty", low=0)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """A softmax classifier for every set of points; slide 28; numbers that models store."""
    of_slide = LinearParams(np.array(W, np.float32), np.array(B, np.float32))
    numbers = {
        "scores": np.asarray(linear.scores(of_slide, np.array([X], np.uint8)))[0],
        "kept_by_knn": data.train.images.size,
        "kept_by_linear": data.num_classes * (data.train.images[0].size + 1),
    }
    outcome, rng = Outcome(numbers), np.random.default_rng(np.asarray(jax.random.key_data(key)))
    count = settings.num_points
    sets = {name: toy(name, rng, num_train=count, num_test=count) for name in settings.toys}
    trained = _trained(key, [points.train for points in sets.values()], settings)
    for (name, points), W_of, b_of in zip(sets.items(), *trained, strict=True):
        classes = len(points.class_names)
        params = _centred(LinearParams(W_of[:classes], b_of[:classes]))
        outcome.numbers[name] = _tested(params, points.test)
        outcome.numbers[name]["divided"] = _divided(*points.train) if classes == 2 else None
        parts = {"points": points.train.images, "labels": points.train.labels}
        parts |= {"W": params.W, "b": params.b}
        outcome.arrays |= {f"{name}_{part}": array for part, array in parts.items()}
    return outcome


def _trained(key: jax.Array, sets: list[Split], settings: Settings) -> LinearParams:
    """One softmax classifier per set (G, C, 2), in one program: a set is a row of weights."""
    X, y = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    weight = np.kron(np.eye(len(sets)), np.ones(settings.num_points))
    hyper = Hyper(
        {"learning_rate": np.full(len(sets), settings.rate), "momentum": 0.9}, settings.reg
    )
    start = linear.init(key, 2, int(y.max()) + 1)
    state = training.start(key, start, RECIPE, hyper)
    state, _ = training.fit(state, X, y, RECIPE, hyper, num_steps=settings.num_steps, weight=weight)
    return LinearParams(*map(np.asarray, state.params))


def _divided(X: np.ndarray, y: np.ndarray) -> bool:
    """Whether any straight line has all points (N, 2) of class 0 on one side, those of 1 beyond.

    It does if w and b exist with s_i (w . x_i + b) >= 1 for all i, where s_i is -1 or 1: a linear
    program without an objective, feasible or not.
    """
    sign = np.where(y == 1, 1.0, -1.0)[:, None]
    rows = sign * np.column_stack([X, np.ones(len(X))])
    found = optimize.linprog(np.zeros(rows.shape[1]), -rows, -np.ones(len(rows)),
                             bounds=(None, None), method="highs")  # fmt: skip
    if found.status not in (0, 2):  # solved, infeasible
        raise RuntimeError(f"the linear program was not decided: {found.message}")
    return found.status == 0


def _centred(params: LinearParams) -> LinearParams:
    """The same classifier, its scores less their mean: softmax sees only their differences."""
    return jax.tree.map(lambda leaf: leaf - leaf.mean(axis=0), params)


def _tested(params: LinearParams, test: Split) -> dict[str, float]:
    right = np.argmax(test.images @ params.W.T + params.b, axis=1) == test.labels
    chance = np.bincount(test.labels).max() / len(right)
    return {"right": int(right.sum()), "total": len(right), "chance": float(chance)}


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
