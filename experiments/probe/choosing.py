"""What a probe chooses without the test set: a number of the linear probe, and the k of kNN."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lab import gate, progress
from experiments.lab.parts import NOWHERE, Arrays, Parts
from experiments.probe import features, fits, least_squares, probing
from experiments.probe.probing import PROBES, Chosen
from experiments.probe.settings import Settings
from lincls import checks, knn, linear, splits
from lincls.structs import Affine, LinearParams


class Task(NamedTuple):
    """The training set of one seed, and what is held out of it to choose on."""

    seed: int
    key: jax.Array
    X: np.ndarray  # (N, D), unit rows if so chosen
    rotated: probing.Rotated
    y: np.ndarray
    num_classes: int
    held: np.ndarray  # (P, N) bool: P = 1 validation part, or the folds
    folder: Path | None = None  # where large arrays lie

    def weights(self, shots: int | float | None, *, to_choose: bool) -> np.ndarray:
        """(P, N) of the trainings that choose, (1, N) of the last one."""
        present = ~self.held if to_choose else np.ones((1, len(self.y)), bool)
        return features.shot_weights(jax.random.fold_in(self.key, 1), self.y, present, shots)


def tasks(
    data: gate.Data, settings: Settings, seed: int, groups: np.ndarray | None = None,
    folder: Path | None = None,
) -> Iterator[Task]:  # fmt: skip
    """One task per seed; the features are prepared once, those of a large file in the folder."""
    y = np.asarray(data.train.labels)
    X = prepared(data.train.images, power_of(data), settings, folder)
    if settings.normalise != "none":
        features.warn_of_far_rows(X, settings.normalise)
    rotated = rows_of(X, settings, folder)
    for number in range(seed, seed + settings.seeds):
        key = jax.random.key(number)
        held = held_out(key, y, settings, groups)
        yield Task(number, key, X, rotated, y, data.num_classes, held, folder)


def rows_of(X: np.ndarray, settings: Settings, folder: Path | None) -> probing.Rotated:
    """The rows of the linear probe; SGD from random weights takes them on their own axes."""
    axes = probing.kept if settings.fit == "sgd" else probing.rotate
    return axes(X, folder, scaled=settings.normalise != "none")


def prepared(
    images: np.ndarray, power: int, settings: Settings, folder: Path | None = None
) -> np.ndarray:
    """Rows (N, D) as the probes take them."""
    return features.prepared(images, power, settings.normalise == "unit", folder)


def power_of(data: gate.Data) -> int:
    return features.exponent(checks.rows(data.train.images, "features"))


def held_out(
    key: jax.Array, y: np.ndarray, settings: Settings, groups: np.ndarray | None = None
) -> np.ndarray:
    """(P, N) bool: the validation part, or fold after fold."""
    if settings.grouped:
        if groups is None:
            raise ValueError("grouped folds need the groups of the training examples")
        return splits.train_weights(splits.grouped_folds(key, groups, settings.num_folds)) == 0
    if settings.num_folds:
        return splits.train_weights(splits.stratified_folds(key, y, settings.num_folds)) == 0
    return splits.validation_mask(key, y, settings.validation)[None]


class View(NamedTuple):
    """Trainings that share one preprocessing."""

    task: Task
    weights: np.ndarray  # (p, N)
    affine: Affine | None  # from the features to those of `task`, None where they are the same


def views(task: Task, weights: np.ndarray, settings: Settings) -> Iterator[View]:
    """All trainings at once; scaled by feature, each fold alone, with a scale of its own."""
    if settings.normalise != "standard":
        yield View(task, weights, None)
        return
    for part, weight in enumerate(weights):
        affine = features.standard(task.X, weight)
        X = features.moved(task.X, affine, task.folder)
        rotated = rows_of(X, settings, task.folder)
        own = task._replace(X=X, rotated=rotated, held=task.held[part : part + 1])
        yield View(own, weight[None], affine)


# --- the linear probe --------------------------------------------------------------------------


def choose_linear(task: Task, shots: str, settings: Settings, parts: Parts = NOWHERE) -> Chosen:
    """Train every number of the search on every part; refit the best, the simplest of equals.

    Raises:
        probing.Diverged: every training, or the last one, left what has a meaning.
    """
    name = f"linear-{shots.replace('%', 'percent')}-seed{task.seed}"
    found = parts.kept(f"chosen-{name}", lambda: _linear(task, shots, settings, parts, name))
    (axis, values, flags), best = settings.search, int(found["best"])
    at_edge = len(values) > 1 and best in (0, len(values) - 1)
    if at_edge:
        flag = flags[best > 0]
        progress.say(
            f"    {shots} shots, seed {task.seed}: the chosen {axis} {values[best]:.1e} is at the "
            f"edge of the grid; widen it with {flag}"
        )
    model, epochs = LinearParams(found["W"], found["b"]), found["epochs"]
    return Chosen(
        "linear", shots, task.seed, float(values[best]), float(found["accuracy"]), model, axis,
        float(found["gap"]), str(found["fit"]), float(epochs[found["length"]]),
        tuple(map(float, np.unique(epochs))), float(found["power"]), at_edge,
    )  # fmt: skip


def _linear(task: Task, shots: str, settings: Settings, parts: Parts, name: str) -> Arrays:
    count, values = settings.shot_counts[shots], settings.search.values
    last_weights = task.weights(count, to_choose=False)
    num_examples = int((last_weights > 0).sum())
    settings = replace(settings, fit=settings.fit_of(num_examples))
    plans, accuracies, lost = _searched(task, shots, settings, parts, name)
    place = np.where(lost, -1, accuracies).argmax()  # the shortest, then simplest, of equals
    length, best = map(int, np.unravel_index(place, accuracies.shape))
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
        "best": best, "length": length, "accuracy": accuracies[length, best],
        "gap": _gap(view, params, settings, values[best]), "fit": settings.fit,
        "epochs": [fits.epochs(settings.fit, num_examples, each) for each in plans],
        "power": plan.power if settings.fit == "early" else np.nan,
        "W": model.W, "b": model.b, "accuracies": accuracies,
    }  # fmt: skip
    return {key: np.asarray(n) for key, n in numbers.items()}


def _searched(
    task: Task, shots: str, settings: Settings, parts: Parts, name: str
) -> tuple[list[fits.Plan], np.ndarray, np.ndarray]:
    """What was tried; mean accuracies (L, G) on the parts; (L, G) where a training diverged."""
    weights = task.weights(settings.shot_counts[shots], to_choose=True)
    folds = list(views(task, weights, settings))

    def of_plan(place: int, plan: fits.Plan) -> tuple[np.ndarray, np.ndarray]:
        grids = [
            _grid(view, settings, plan, parts.path(f"training-{name}-{place}-{fold}"))
            for fold, view in enumerate(folds)
        ]
        accuracies = np.concatenate([found for found, _ in grids], axis=1).mean(axis=1)
        return accuracies, np.any([diverged for _, diverged in grids], axis=0)

    plans = settings.plans
    found = [of_plan(place, plan) for place, plan in enumerate(plans)]
    best = int(np.argmax([np.where(lost, -1, accuracies).max() for accuracies, lost in found]))
    longer = settings.longer(plans[best])
    found += [of_plan(place, plan) for place, plan in enumerate(longer, len(plans))]
    accuracies, lost = map(np.stack, zip(*found, strict=True))
    return [*plans, *longer], accuracies, lost


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
    """Accuracies (G, p) of every number of the search on every part, and (G,) where one diverged.

    Trainings that have no room in memory together run one group after another.
    """
    task, (axis, values, _) = view.task, settings.search
    size = len(view.weights) * task.num_classes * task.rotated.Z.shape[1]
    groups = np.array_split(values, probing.num_groups(len(values), size))
    if len(groups) > 1:
        progress.say(f"    {len(values)} {axis}s in {len(groups)} groups, for memory")
    found = [
        _of_values(view, settings, plan, group, saved and saved.with_suffix(f".{place}.npz"))
        for place, group in enumerate(groups)
    ]
    accuracies, diverged = map(np.concatenate, zip(*found, strict=True))
    return accuracies, diverged


def _of_values(
    view: View, settings: Settings, plan: fits.Plan, values: np.ndarray, saved: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """`_grid` of some values: only what they are judged by is kept."""
    num_parts = len(view.weights)
    params, diverged = _train(view, settings, plan, values, saved)
    grid = LinearParams(*(np.reshape(leaf, (len(values), num_parts, *leaf.shape[1:]))
                          for leaf in params))  # fmt: skip
    task = view.task
    accuracy = probing.linear_accuracies(grid, task.rotated, task.y, task.held)
    return accuracy, np.any(np.reshape(diverged, (len(values), num_parts)), axis=1)


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
        trainings = zip(task.weights(count, to_choose=True), task.held, strict=True)
        right = [
            np.mean(np.asarray(linear.predict(fitted(weight), task.X[held])) == task.y[held])
            for weight, held in trainings
        ]
        W, b = fitted(task.weights(count, to_choose=False)[0])
        return {"W": np.asarray(W), "b": np.asarray(b), "accuracy": np.asarray(np.mean(right))}

    found = parts.kept(f"chosen-{name}", compute)
    model = LinearParams(found["W"], found["b"])
    return Chosen("lsr", shots, task.seed, settings.lsr_strength, float(found["accuracy"]), model,
                  "strength")  # fmt: skip


# --- the kNN probes ----------------------------------------------------------------------------


def choose_knn(task: Task, shots: str, settings: Settings, parts: Parts = NOWHERE) -> list[Chosen]:
    """The k of every kNN probe."""
    return [
        one for metric in metrics(settings)
        for one in choose_knn_of(metric, task, shots, settings, parts)
    ]  # fmt: skip


def choose_knn_of(
    metric: str, task: Task, shots: str, settings: Settings, parts: Parts = NOWHERE
) -> list[Chosen]:
    """Every k of every probe of a metric from one search a part; the smallest of equals."""
    count = settings.shot_counts[shots]
    weights = task.weights(count, to_choose=True)
    remembered = task.weights(count, to_choose=False)[0]
    name = f"{metric}-{shots.replace('%', 'percent')}-seed{task.seed}"
    each_part = [
        parts.kept(f"chosen-{name}-{place}", partial(_of_part, metric, view, settings))
        for place, view in enumerate(_one_by_one(task, weights, settings))
    ]
    found = []
    ks = settings.tried(min(int(part["greatest"]) for part in each_part))
    for probe in (each for each in settings.probes if PROBES[each][1] == metric):
        accuracy = np.mean([part[probe][: len(ks)] for part in each_part], axis=0)
        best = int(accuracy.argmax())
        found.append(Chosen(probe, shots, task.seed, int(ks[best]), float(accuracy[best]),
                            remembered))  # fmt: skip
    return found


def _one_by_one(task: Task, weights: np.ndarray, settings: Settings) -> Iterator[View]:
    for part, weight in enumerate(weights):
        alone = task._replace(held=task.held[part : part + 1])
        yield from views(alone, weight[None], settings)


def _of_part(metric: str, view: View, settings: Settings) -> Arrays:
    """The accuracies (K,) of each probe of a metric on the held-out part, for every k tried."""
    task, (held,) = view.task, view.task.held
    near = nearest(metric, task, view.weights[0], task.X[held], settings)
    ks = settings.tried(near.labels.shape[1])
    found = {
        probe: (vote(probe, near, task.num_classes, ks)[1] == task.y[held]).mean(axis=1)
        for probe in PROBES if PROBES[probe][1] == metric
    }  # fmt: skip
    return found | {"greatest": np.asarray(near.labels.shape[1])}


def metrics(settings: Settings) -> list[str]:
    """The metrics that are searched with, each once."""
    return list(dict.fromkeys(m for p in settings.probes if (m := PROBES[p][1]) is not None))


def nearest(
    metric: str, task: Task, weight: np.ndarray, queries: np.ndarray, settings: Settings
) -> features.Near:
    """The nearest of the rows of weight above 0."""
    there = slice(None) if (weight > 0).all() else weight > 0
    watch = progress.watcher(f"{metric}, {len(queries):,} queries")
    return features.search(
        metric, task.X[there], task.y[there], queries, settings.num_neighbors,
        settings.temperature, watch,
    )  # fmt: skip


def vote(
    probe: str, near: features.Near, num_classes: int, ks: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Votes (M, C) of the greatest k, and predictions (len(ks), M) of each."""
    greatest = int(max(ks))
    labels = near.labels[:, :greatest]
    weights = near.weights[:, :greatest] if probe == "exp" else None
    predictions = knn.predictions_by_k(labels, [int(k) for k in ks], num_classes, weights)
    return np.asarray(knn.votes(labels, num_classes, weights)), np.asarray(predictions)


# --- all of them -------------------------------------------------------------------------------


def choose(
    data: gate.Data, settings: Settings, seed: int, groups: np.ndarray | None = None,
    parts: Parts = NOWHERE, clock: Any = None,
) -> tuple[Task, list[Chosen]]:  # fmt: skip
    """The last task, and every probe of every seed: seed by seed, shots by shots.

    Args:
        clock: called before each part with its name, such as "seed 0, shots all: linear".
    """
    chosen: list[Chosen] = []
    tell = clock or (lambda name: progress.say(f"{name}: choosing"))
    for task in tasks(data, settings, seed, groups, parts.folder):
        for shots in settings.shot_counts:
            for kind in kinds(settings):
                tell(part_name(task.seed, shots, kind))
                if kind == "linear":
                    chosen.append(choose_linear(task, shots, settings, parts))
                elif kind == "lsr":
                    chosen.append(choose_least_squares(task, shots, settings, parts))
                else:
                    chosen += choose_knn_of(kind, task, shots, settings, parts)
    return task, chosen


def kinds(settings: Settings) -> list[str]:
    """What is chosen apart: each linear probe, and the kNN probes of each metric."""
    return [*(each for each in ("linear", "lsr") if each in settings.probes), *metrics(settings)]


def part_name(seed: int, shots: str, kind: str) -> str:
    """What progress calls a part."""
    return f"seed {seed}, shots {shots}: {kind}"
