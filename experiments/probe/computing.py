"""A job of the probe from its data to its numbers: choose, test once, measure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.lab import progress
from experiments.lab.parts import Parts
from experiments.probe import choosing, measures, results, sets, testing
from experiments.probe.choosing import Task
from experiments.probe.jobs import Job
from experiments.probe.probing import Chosen
from experiments.probe.sets import EvaluationSet
from experiments.probe.settings import Settings

Named = dict[str, np.ndarray]


class Found(NamedTuple):
    """What a job found.

    Attributes:
        numbers: what results.json has.
        arrays: by the name of the .npz file that has them.
    """

    numbers: dict[str, Any]
    arrays: dict[str, Named]


def compute(job: Job, parts: Parts) -> Found:
    """Choose for all seeds, then open the test sets once each."""
    settings, data = job.settings, job.data
    tell = Progress(job)
    task, chosen = choosing.choose(data, settings, job.common.seed, job.groups.train, parts, tell)
    tell(f"the test of {len(chosen)} probes")
    opened = data.open_test(f"{len(chosen)} chosen probes")
    main = EvaluationSet(sets.MAIN, opened, job.groups.test)
    numbers, said = tested(job, main, task, chosen, parts)
    arrays = {"predictions": said} | _heads(job, chosen)
    further = {}
    for one in job.further:
        further[one.name], of_one = tested(job, one, task, chosen, parts)
        arrays[f"predictions-{one.name}"] = of_one
    examples = {shots: _examples(task, shots, settings) for shots in settings.shot_counts}
    short = _short(task, settings)
    return Found(numbers | {"further": further, "examples": examples, "short": short}, arrays)


def _examples(task: Task, shots: str, settings: Settings) -> float:
    """Training examples of a class, the mean over the classes."""
    weights = task.weights(settings.shot_counts[shots], to_choose=False)
    return float((weights > 0).sum()) / len(np.unique(task.y))


def _short(task: Task, settings: Settings) -> dict[str, int]:
    """How many classes have fewer examples than a number of shots asks for."""
    counts = np.bincount(task.y)
    asked = {shots: n for shots, n in settings.shot_counts.items() if isinstance(n, int)}
    return {shots: int(np.sum((counts > 0) & (counts < n))) for shots, n in asked.items()}


def tested(
    job: Job, test: EvaluationSet, task: Task, chosen: Sequence[Chosen], parts: Parts
) -> tuple[dict[str, Any], Named]:
    """The results on one test set, and the predictions."""
    settings, data = job.settings, job.data
    rows, said, reliable = list[dict[str, Any]](), [], {}
    for one, outcome in testing.test(test, data, task, chosen, settings, parts):
        rows.append(results.row(one, outcome, settings.metrics, test.groups, settings.samples))
        said.append(outcome.predictions)
        if "ece" in settings.metrics and one.seed == job.common.seed:
            bins = measures.reliability(outcome)
            reliable[one.name] = {"total": bins.total, "right": bins.right,
                                  "confidence": np.nan_to_num(bins.confidence)}  # fmt: skip
    predictions, unseen = np.stack(said), np.setdiff1d(test.split.labels, data.train.labels)
    names = {key: np.array([getattr(one, key) for one in chosen])
             for key in ("name", "probe", "shots", "seed")}  # fmt: skip
    numbers = {
        "results": rows, "spread": results.spread(rows, predictions, settings.metrics),
        "num_test": len(test.split.labels), "only_in_test": [data.class_names[c] for c in unseen],
        "test_groups": test.groups is not None, "reliability": reliable,
    }  # fmt: skip
    grouped = {} if test.groups is None else {"groups": _numbered(test.groups)}
    return numbers, names | grouped | {
        "predictions": predictions, "labels": np.asarray(test.split.labels),
        "class_names": np.array(data.class_names),
    }  # fmt: skip


def _numbered(groups: np.ndarray) -> np.ndarray:
    """A number (M,) for each group: its names may be of a kind that files do not hold."""
    return np.unique(groups, return_inverse=True)[1]


def _heads(job: Job, chosen: Sequence[Chosen]) -> dict[str, Named]:
    """The linear probes, for raw features; nothing where there are none."""
    heads = [one for one in chosen if one.is_linear]
    if not heads:
        return {}
    return {"heads": {
        "W": np.stack([one.model.W for one in heads]),
        "b": np.stack([one.model.b for one in heads]),
        "name": np.array([one.name for one in heads]),
        "class_names": np.array(job.data.class_names),
        "normalise": np.array(job.settings.normalise),
        "exponent": np.array(choosing.power_of(job.data)),
    }}  # fmt: skip


class Progress:
    """Says which part begins, and the time left."""

    def __init__(self, job: Job) -> None:
        settings = job.settings
        size = progress.scale(job.data.train.images.size)
        names = [
            (choosing.part_name(seed, shots, kind), kind)
            for seed in range(job.common.seed, job.common.seed + settings.seeds)
            for shots in settings.shot_counts for kind in choosing.kinds(settings)
        ]  # fmt: skip
        self._clock = progress.Clock({
            name: progress.Expected(size * (10.0 if kind == "linear" else 2.0), measured=False)
            for name, kind in names
        })  # fmt: skip
        self._place, self._num, self._now = 0, len(names) + 1, ""

    def __call__(self, name: str) -> None:
        if self._now:
            self._clock.done(self._now)
        self._place, self._now = self._place + 1, name
        left = self._clock.left()
        time_left = "" if left is None else f" ({progress.told(left)} left)"
        what = "" if name.startswith("the test") else ": choosing"
        progress.say(f"[{self._place}/{self._num}] {name}{what}{time_left}")
