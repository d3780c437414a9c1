"""What an audit of a data set finds: duplicates, contradicted labels, values of examples.

Each training example is searched for once among the others, and each test example once among the
training examples.  The test set is opened once, and nothing is chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lab import gate, progress
from experiments.probe import choosing, features
from experiments.probe.settings import Settings
from lincls import audit, knn
from lincls.data.dataset import Split
from lincls.knn import KNN
from lincls.structs import Neighbors

EXACT, NEAR, CONTRADICTED = "exact duplicate", "near duplicate", "contradicted label"
TRAIN, TEST = "train", "test"
PURPOSE = "an audit: duplicates of training rows, contradicted test labels, Shapley values"


@dataclass(frozen=True)
class Asked:
    """What an audit is asked for.

    Attributes:
        normalise: as the probes take it: scale, unit or standard.
        k: neighbours that are looked at, and that vote.
        near: the share of the median nearest distance below which a pair is nearly equal.
        tests: test examples that values are averaged over, at most; 0 for none.
    """

    normalise: str
    k: int
    near: float
    tests: int


class Finding(NamedTuple):
    """A line of audit.csv: a row of one set, and the row of another or the same that shows it."""

    kind: str
    set: str
    row: int
    other_set: str
    other_row: int
    distance: float  # Euclidean, between the two rows
    label: int
    other_label: int  # of the other row; where a label is contradicted, that of most neighbours
    votes: int | None  # how many of the k neighbours have it


class Audit(NamedTuple):
    """The findings, and what they were read from."""

    findings: list[Finding]
    complete: dict[str, bool]  # by set: whether every pair that near is among the findings
    near: float  # the Euclidean distance up to which pairs are nearly equal
    neighbors: dict[str, np.ndarray]  # by set: (rows, K) training rows, N for none
    shapley: np.ndarray | None  # (N,)
    tests: np.ndarray  # rows of the test set that the values are averaged over


def compute(data: gate.Data, opened: Split, settings: Settings, asked: Asked, seed: int) -> Audit:
    """Search both sets once, and read everything off the neighbours; `opened` is the test part."""
    y, labels = (np.asarray(part.labels) for part in (data.train, opened))
    X, queries, unit = _rows(data, opened.images, settings)
    model = knn.fit(X, y, num_classes=data.num_classes)
    k = min(asked.k, max(1, len(y) - 1))
    within = knn.neighbors(model, None, k, on_block=progress.watcher("audit, training set"))
    across, values, tests = _of_tests(model, queries, labels, asked, seed)
    at_most = audit.near_distance(model, within, asked.near)
    found, complete = list[Finding](), dict[str, bool]()
    for name, near, own in ((TEST, across, labels), (TRAIN, within, y)):
        of_queries = None if name == TRAIN else own
        pairs = audit.duplicates(near, y, of_queries, at_most=at_most)
        doubtful = audit.contradictions(near, y, of_queries)
        found += [*_pairs(pairs, name, own, y, unit), *_labels(doubtful, near, name, own, unit)]
        complete[name] = pairs.complete
    kinds = (EXACT, NEAR, CONTRADICTED)
    found.sort(key=lambda one: kinds.index(one.kind))  # stable: test before train, surest first
    indices = {TRAIN: within.indices, TEST: across.indices}
    return Audit(found, complete, unit * at_most**0.5, indices, values, tests)


def _rows(
    data: gate.Data, images: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray, float]:
    """Both sets as the probes take them, and the length of 1 of them in units of the data."""
    power = choosing.power_of(data)
    X, queries = (choosing.prepared(part, power, settings) for part in (data.train.images, images))
    if settings.normalise == "standard":
        affine = features.standard(X, np.ones(len(X), np.float32))
        X, queries = features.moved(X, affine), features.moved(queries, affine)
    return X, queries, 2.0**power if settings.normalise == "scale" else 1.0


def _of_tests(
    model: KNN, queries: np.ndarray, labels: np.ndarray, asked: Asked, seed: int
) -> tuple[Neighbors, np.ndarray | None, np.ndarray]:
    """Neighbours of all test examples, values, and the rows that these are averaged over.

    The full order that a value needs begins with the neighbours, so only the others are searched.
    """
    total = len(labels)
    shuffled = np.asarray(jax.random.permutation(jax.random.key(seed), total))
    drawn, others = np.sort(shuffled[: asked.tests]), np.sort(shuffled[asked.tests :])
    parts, values = list[Neighbors](), None
    if len(drawn):
        watch = progress.watcher(f"audit, values on {len(drawn):,} test examples")
        values, near = audit.shapley(
            model, queries[drawn], labels[drawn], asked.k, on_block=watch
        )  # fmt: skip
        parts.append(near)
    if len(others):
        watch, k = progress.watcher("audit, test set"), min(asked.k, model.X.shape[0])
        parts.append(knn.neighbors(model, queries[others], k, on_block=watch))
    order = np.argsort(np.concatenate([drawn, others]))
    joined = (np.concatenate(each)[order] for each in zip(*parts, strict=True))
    return Neighbors(*joined), values, drawn


def _pairs(
    pairs: audit.Duplicates, name: str, own: np.ndarray, y: np.ndarray, unit: float
) -> Iterator[Finding]:
    """Exact and near duplicates, the nearest first."""
    length = unit * np.sqrt(pairs.distances.astype(np.float64))
    for place in np.argsort(length, kind="stable"):
        row, other = int(pairs.queries[place]), int(pairs.indices[place])
        kind = EXACT if pairs.distances[place] == 0 else NEAR
        yield Finding(kind, name, row, TRAIN, other, float(length[place]), int(own[row]),
                      int(y[other]), None)  # fmt: skip


def _labels(
    doubtful: audit.Contradictions, near: Neighbors, name: str, own: np.ndarray, unit: float
) -> Iterator[Finding]:
    """Contradicted labels, the surest first, each with its nearest neighbour."""
    for row, label, votes in zip(*doubtful[:3], strict=True):
        length = unit * float(near.distances[row, 0]) ** 0.5
        yield Finding(CONTRADICTED, name, int(row), TRAIN, int(near.indices[row, 0]), length,
                      int(own[row]), int(label), int(votes))  # fmt: skip


def counts(found: Audit) -> list[dict[str, Any]]:
    """How many findings of each kind there are in each set, and in how many pairs labels differ."""
    told = []
    for kind in (EXACT, NEAR, CONTRADICTED):
        for name in (TEST, TRAIN):
            of_kind = [one for one in found.findings if (one.kind, one.set) == (kind, name)]
            differ = sum(one.label != one.other_label for one in of_kind)
            pairs = kind != CONTRADICTED
            told.append({"kind": kind, "set": name, "found": len(of_kind),
                         "labels_differ": differ if pairs else None,
                         "complete": found.complete[name] if pairs else True})  # fmt: skip
    return told


def of_values(found: Audit, most: int = 10) -> dict[str, Any] | None:
    """The values in short: their sum, how many are below 0, and the least of them."""
    if found.shapley is None:
        return None
    least = np.argsort(found.shapley, kind="stable")[:most]
    return {
        "num_tests": len(found.tests), "sum": float(found.shapley.sum()),
        "below_zero": int((found.shapley < 0).sum()),
        "least": [{"row": int(row), "value": float(found.shapley[row])} for row in least],
    }  # fmt: skip
