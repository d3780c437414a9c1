"""The test of the chosen probes: every score is kept."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.lab import gate
from experiments.lab.parts import Parts
from experiments.probe import choosing, features
from experiments.probe.choosing import Task, View
from experiments.probe.measures import Outcome
from experiments.probe.probing import PROBES, Chosen
from experiments.probe.sets import EvaluationSet
from experiments.probe.settings import Settings
from lincls import linear


class Tested(NamedTuple):
    """A chosen probe, and what it said of the test set."""

    chosen: Chosen
    outcome: Outcome


def test(
    test: EvaluationSet, data: gate.Data, task: Task, chosen: Sequence[Chosen], settings: Settings,
    parts: Parts,
) -> Iterator[Tested]:  # fmt: skip
    """Each chosen probe with its predictions and scores on an opened test set."""
    labels = np.asarray(test.split.labels)
    queries = choosing.prepared(test.split.images, choosing.power_of(data), settings)
    scoring = Scoring(task, queries, settings)
    for one in chosen:
        kept = parts.kept(f"{test.part}-{one.name}", partial(scoring.arrays, one))
        scores = kept["scores"]
        predictions = scores.argmax(axis=1).astype(np.int32)
        outcome = Outcome(predictions, labels, data.num_classes, scores, not one.is_linear)
        yield Tested(one, outcome)


class Scoring:
    """Scores of the test examples; a search serves all probes in a row that ask for the same."""

    def __init__(self, task: Task, queries: np.ndarray, settings: Settings) -> None:
        self._task, self._queries, self._settings = task, queries, settings
        self._last: tuple[Any, features.Near | None] = (None, None)

    def arrays(self, one: Chosen) -> dict[str, np.ndarray]:
        """The scores (M, C) float32 of a chosen probe."""
        if one.is_linear:
            found = np.asarray(linear.scores(one.model, self._queries))
        else:
            near, num_classes = self._near(one), self._task.num_classes
            found = choosing.vote(one.probe, near, num_classes, [int(one.value)])[0]
        return {"scores": np.asarray(found, np.float32)}

    def _near(self, one: Chosen) -> features.Near:
        metric = PROBES[one.probe][1] or ""
        name = (metric, one.model.tobytes())
        if self._last[0] != name:
            weights, settings = one.model[None], self._settings
            view: View = next(choosing.views(self._task, weights, settings))
            queries = self._queries
            if view.affine is not None:
                queries = features.moved(queries, view.affine)
            self._last = (
                name, choosing.nearest(metric, view.task, one.model, queries, settings)
            )  # fmt: skip
        assert self._last[1] is not None
        return self._last[1]
