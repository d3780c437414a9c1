"""What kNN probes choose without the test set: their k."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from experiments.lab import progress
from experiments.lab.parts import NOWHERE, Arrays, Parts
from experiments.probe import features
from experiments.probe.choosing import judging
from experiments.probe.choosing.tasks import Task, View, to_choose, views
from experiments.probe.probing import PROBES, Chosen
from experiments.probe.settings import Settings
from lincls import knn


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
    remembered = task.weights(count, to_choose=False)[0]
    task, weights = to_choose(task, count, settings)
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
        probe: judging.of_predictions(
            vote(probe, near, task.num_classes, ks)[1], task.y[held], settings.select
        )
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
