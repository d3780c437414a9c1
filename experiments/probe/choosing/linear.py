"""What a linear probe chooses without the test set: a number of its search, and its length."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from experiments.lab import progress
from experiments.lab.parts import NOWHERE, Arrays, Parts
from experiments.probe import fits, least_squares, probing
from experiments.probe.choosing import judging
from experiments.probe.choosing.tasks import Task, View, to_choose, views
from experiments.probe.probing import Chosen
from experiments.probe.settings import Settings
from lincls import linear, probe
from lincls.structs import LinearParams
from lincls.training import room


def choose_linear(task: Task, shots: str, settings: Settings, parts: Parts = NOWHERE) -> Chosen:
    """Train every number of the search on every part; refit the best, the simplest of equals.

    Raises:
        probing.Diverged: every training, or the last one, left what has a meaning.
    """
    name = f"linear-{shots.replace('%', 'percent')}-seed{task.seed}"
    found = parts.kept(f"chosen-{name}", lambda: _linear(task, shots, settings, parts, name))
    (axis, values, flags), best = settings.search, int(found["best"])
    at_edge = probe.at_edge(values, best)
    if at_edge:
        flag = flags[best > 0]
        progress.say(
            f"    {shots} shots, seed {task.seed}: the chosen {axis} {values[best]:.1e} is at the "
            f"edge of the grid; widen it with {flag}"
        )
    model, epochs = LinearParams(found["W"], found["b"]), found["epochs"]
    return Chosen(
        "linear", shots, task.seed, float(values[best]), float(found["selection"]), model, axis,
        float(found["gap"]), str(found["fit"]), float(epochs[found["length"]]),
        tuple(map(float, np.unique(epochs))), float(found["power"]), at_edge,
    )  # fmt: skip


def _linear(task: Task, shots: str, settings: Settings, parts: Parts, name: str) -> Arrays:
    count, values = settings.shot_counts[shots], settings.search.values
    last_weights = task.weights(count, to_choose=False)
    num_examples = int((last_weights > 0).sum())
    settings = replace(settings, fit=settings.fit_of(num_examples))
    plans, scores, lost = _searched(task, shots, settings, parts, name)
    place = np.where(lost, -np.inf, scores).argmax()  # the shortest, then simplest, of equals
    length, best = map(int, np.unravel_index(place, scores.shape))
    view, plan = next(views(task, last_weights, settings)), plans[length]
    last, failed = _train(view, settings, plan, values[best : best + 1], None)
    _check_diverged(lost, failed, settings)
    params = LinearParams(last.W[0], last.b[0])
    model = view.task.rotated.on_rows(params)
    model = model if view.affine is None else linear.on_pixels(model, view.affine)
    if parts.folder:
        for file in parts.folder.glob(f"training-{name}-*"):
            file.unlink(missing_ok=True)
    numbers = {
        "best": best, "length": length, "selection": abs(scores[length, best]),
        "gap": _gap(view, params, settings, values[best]), "fit": settings.fit,
        "epochs": [fits.epochs(settings.fit, num_examples, each) for each in plans],
        "power": plan.power if settings.fit == "early" else np.nan,
        "W": model.W, "b": model.b,
    }  # fmt: skip
    return {key: np.asarray(n) for key, n in numbers.items()}


def _searched(
    task: Task, shots: str, settings: Settings, parts: Parts, name: str
) -> tuple[list[fits.Plan], np.ndarray, np.ndarray]:
    """What was tried; mean scores (L, G) on the parts; (L, G) where a training diverged."""
    task, weights = to_choose(task, settings.shot_counts[shots], settings)
    folds = list(views(task, weights, settings))

    def of_plan(place: int, plan: fits.Plan) -> tuple[np.ndarray, np.ndarray]:
        grids = [
            _grid(view, settings, plan, parts.path(f"training-{name}-{place}-{fold}"))
            for fold, view in enumerate(folds)
        ]
        scores = np.concatenate([found for found, _ in grids], axis=1).mean(axis=1)
        return scores, np.any([diverged for _, diverged in grids], axis=0)

    plans = settings.plans
    found = [of_plan(place, plan) for place, plan in enumerate(plans)]
    best = int(np.argmax([np.where(lost, -np.inf, scores).max() for scores, lost in found]))
    longer = settings.longer(plans[best])
    found += [of_plan(place, plan) for place, plan in enumerate(longer, len(plans))]
    scores, lost = map(np.stack, zip(*found, strict=True))
    return [*plans, *longer], scores, lost


def _check_diverged(lost: np.ndarray, failed: np.ndarray, settings: Settings) -> None:
    """Say which trainings of the search diverged; Diverged if no head is left."""
    axis, values, _ = settings.search
    if lost.all() or failed.any():
        flag = "--rates are" if settings.fit == "sgd" else (
            f"--learning-rate {settings.learning_rate:g} is"
        )  # fmt: skip
        raise probing.Diverged(f"the linear probe diverged; {flag} too great for these features")
    if lost.any():
        these = values[lost.any(axis=0)]
        progress.say(f"{len(these)} of {len(values)} {axis}s diverged and are left out, from "
                     f"{these.min():.1e} to {these.max():.1e}")  # fmt: skip


def _gap(view: View, params: LinearParams, settings: Settings, value: float) -> float:
    """The relative duality gap at a strength; without a penalty there is none."""
    if settings.fit == "sgd":
        return np.nan
    task = view.task
    return probing.relative_gap(params, task.rotated, task.y, view.weights[0], value)


def _grid(
    view: View, settings: Settings, plan: fits.Plan, saved: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (G, p) of every number of the search on every part, and (G,) where one diverged.

    Trainings that have no room in memory together run one group after another.
    """
    task, (axis, values, _) = view.task, settings.search
    size = len(view.weights) * task.num_classes * task.rotated.Z[:1].nbytes
    groups = np.array_split(values, room.num_groups(len(values), size))
    if len(groups) > 1:
        progress.say(f"    {len(values)} {axis}s in {len(groups)} groups, for memory")
    found = [
        _of_values(view, settings, plan, group, saved and saved.with_suffix(f".{place}.npz"))
        for place, group in enumerate(groups)
    ]
    scores, diverged = map(np.concatenate, zip(*found, strict=True))
    return scores, diverged


def _of_values(
    view: View, settings: Settings, plan: fits.Plan, values: np.ndarray, saved: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """`_grid` of some values: only what they are judged by is kept."""
    num_parts = len(view.weights)
    params, diverged = _train(view, settings, plan, values, saved)
    grid = LinearParams(*(np.reshape(leaf, (len(values), num_parts, *leaf.shape[1:]))
                          for leaf in params))  # fmt: skip
    task = view.task
    scores = judging.of_linear(grid, task.rotated, task.y, task.held, settings.select)
    return scores, np.any(np.reshape(diverged, (len(values), num_parts)), axis=1)


def _train(
    view: View, settings: Settings, plan: fits.Plan, values: np.ndarray, saved: Path | None
) -> tuple[LinearParams, np.ndarray]:
    """Every value on every part, value by value."""
    task, num = view.task, len(view.weights)
    return fits.FITS[settings.fit](
        jax.random.fold_in(task.key, 2), task.rotated, task.y, task.num_classes,
        np.tile(view.weights, (len(values), 1)), np.repeat(values, num), plan,
        progress.watcher(f"linear, {len(values) * num} trainings"), saved,
    )  # fmt: skip


def choose_least_squares(
    task: Task, shots: str, settings: Settings, parts: Parts = NOWHERE
) -> Chosen:
    """Fit at the fixed strength; nothing is chosen, and the held-out accuracy is told."""
    count = settings.shot_counts[shots]
    name = f"lsr-{shots.replace('%', 'percent')}-seed{task.seed}"

    def fitted(weight: np.ndarray) -> LinearParams:
        X, y = task.X[weight > 0], task.y[weight > 0]
        return least_squares.fit(X, y, task.num_classes, settings.lsr_strength)

    def compute() -> Arrays:
        cut, weights = to_choose(task, count, settings)
        trainings = zip(weights, cut.held, strict=True)
        right = [
            judging.of_predictions(
                np.asarray(linear.predict(fitted(weight), task.X[held])), task.y[held],
                settings.select,
            )
            for weight, held in trainings
        ]  # fmt: skip
        W, b = fitted(task.weights(count, to_choose=False)[0])
        return {"W": np.asarray(W), "b": np.asarray(b), "selection": np.asarray(np.mean(right))}

    found = parts.kept(f"chosen-{name}", compute)
    model = LinearParams(found["W"], found["b"])
    return Chosen("lsr", shots, task.seed, settings.lsr_strength, float(found["selection"]), model,
                  "strength")  # fmt: skip
