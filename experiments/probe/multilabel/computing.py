"""Several labels a row, from the data to the numbers: choose, test once, measure."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lab import choices, gate, progress
from experiments.lab.parts import Arrays, Parts
from experiments.probe import features, results
from experiments.probe.multilabel.settings import Settings
from lincls import checks, evaluation, knn, linear, multilabel, preprocessing, splits
from lincls.structs import Affine, LinearParams

METRICS = {"ap": "mAP", "micro_f1": "micro F1", "macro_f1": "macro F1"}


class Found(NamedTuple):
    """What was found: the numbers of results.json, and arrays by the name of their file."""

    numbers: dict[str, Any]
    arrays: dict[str, dict[str, np.ndarray]]


class Chosen(NamedTuple):
    """A probe that is ready for the test set."""

    probe: str
    seed: int
    arrays: Arrays  # of `_linear` or `_knn`

    @property
    def name(self) -> str:
        return f"{self.probe}-seed{self.seed}"


def compute(
    data: gate.Data, groups: np.ndarray | None, settings: Settings, seed: int, parts: Parts
) -> Found:
    """Choose for all seeds, then open the test set once.

    Args:
        data: labels (N, C) bool in place of class numbers.
        groups: (M,) of the test examples, for intervals; or None.
        settings, seed: what was asked for.
        parts: what is finished.
    """
    X, Y = prepared(data.train.images, settings), np.asarray(data.train.labels)
    seeds = range(seed, seed + settings.seeds)
    chosen = [one for number in seeds for one in _of_seed(X, Y, settings, number, parts)]
    progress.say(f"the test of {len(chosen)} probes")
    opened = data.open_test(f"{len(chosen)} chosen probes")
    queries, labels = prepared(opened.images, settings), np.asarray(opened.labels)
    scores = [scored(one, X, Y, queries, settings) for one in chosen]
    said = [said > threshold(one.probe) for one, said in zip(chosen, scores, strict=True)]
    rows = [
        row(one, scores[place], said[place], labels, groups) for place, one in enumerate(chosen)
    ]
    class_ap = [evaluation.per_class_average_precision(one, labels) for one in scores]
    spread = results.spread(rows, np.stack(said), list(METRICS))
    untested = np.flatnonzero(np.isnan(class_ap[0]))
    numbers = {
        "results": rows, "spread": spread, "num_test": len(labels),
        "test_groups": groups is not None, "labels_a_row": float(Y.sum(axis=1).mean()),
        "untested": [data.class_names[c] for c in untested], **_not_judged(chosen, settings),
    }  # fmt: skip
    names = {
        key: np.array([getattr(one, key) for one in chosen]) for key in ("name", "probe", "seed")
    }
    predictions = names | {
        "scores": np.stack(scores), "predictions": np.stack(said), "labels": labels,
        "class_ap": np.stack(class_ap), "class_names": np.array(data.class_names),
    }  # fmt: skip
    return Found(numbers, {"predictions": predictions} | _heads(chosen, data, settings))


def prepared(images: np.ndarray, settings: Settings) -> np.ndarray:
    """Rows (N, D), of norm 1 if so chosen."""
    X = np.asarray(checks.rows(images, "features"))
    return features.unit_rows(X) if settings.normalise == "unit" else X


def threshold(probe: str) -> float:
    """The score above which the answer is yes: a probability or a share of one half."""
    return 0.0 if probe == "linear" else 0.5


# --- choosing ----------------------------------------------------------------------------------


def _of_seed(
    X: np.ndarray, Y: np.ndarray, settings: Settings, seed: int, parts: Parts
) -> Iterator[Chosen]:
    folds = drawn(Y, settings, seed)
    for probe in settings.probes:
        progress.say(f"seed {seed}: {probe}: choosing")
        fit = partial(_linear if probe == "linear" else _knn, X, Y, folds, settings, probe)
        found = Chosen(probe, seed, parts.kept(f"multilabel-{probe}-seed{seed}", fit))
        if found.arrays["at_edge"]:
            flags = "--weakest and --strongest" if probe == "linear" else "--num-neighbors"
            progress.say(f"    the chosen value is at the edge of what was tried; see {flags}")
        yield found


def drawn(Y: np.ndarray, settings: Settings, seed: int) -> np.ndarray:
    """Fold numbers (N,), stratified by the rarest label; of a validation part 0, others -1."""
    strata, key = multilabel.rarest(Y), jax.random.key(seed)
    if settings.folds:
        return splits.stratified_folds(key, strata, settings.folds)
    return np.where(splits.validation_mask(key, strata, settings.validation), 0, -1)


def _linear(X: np.ndarray, Y: np.ndarray, folds: np.ndarray, settings: Settings, _: str) -> Arrays:
    found = multilabel.fit_linear(
        X, Y, folds, regs=settings.regs, per_feature=settings.normalise == "standard",
        tol=settings.gap,
    )  # fmt: skip
    return _common(found, found.reg) | {
        "gap": np.asarray(found.gap), "W": np.asarray(found.params.W),
        "b": np.asarray(found.params.b),
    }  # fmt: skip


def _knn(X: np.ndarray, Y: np.ndarray, folds: np.ndarray, settings: Settings, probe: str) -> Arrays:
    sizes = np.bincount(folds[folds >= 0])
    ks = range(1, min(settings.num_neighbors, len(X) - int(sizes.max())) + 1)
    found = multilabel.fit_knn(
        X, Y, folds, ks, choices.METRICS[probe], per_feature=settings.normalise == "standard"
    )
    return _common(found, found.k)


def _common(found: Any, value: float) -> dict[str, np.ndarray]:
    tried = found.regs if hasattr(found, "regs") else found.ks
    selection = found.mean_ap.mean(axis=1)[np.flatnonzero(tried == value)[0]]
    return {
        "value": np.asarray(value), "selection": np.asarray(selection), "judges": found.judges,
        "at_edge": np.asarray(found.at_edge), "mean_ap": found.mean_ap,
    }  # fmt: skip


# --- the test ----------------------------------------------------------------------------------


def scored(
    one: Chosen, X: np.ndarray, Y: np.ndarray, queries: np.ndarray, settings: Settings
) -> np.ndarray:
    """Scores (M, C) float32: w.x + b, or the share of the k nearest that have a class."""
    if one.probe == "linear":
        params = LinearParams(one.arrays["W"], one.arrays["b"])
        return np.asarray(linear.scores(params, queries), np.float32)
    affine: Affine | None = None
    if settings.normalise == "standard":
        affine = preprocessing.fit(X, per_feature=True)
        X = np.asarray(preprocessing.apply(affine, X))
    model, k = knn.fit(X, metric=choices.METRICS[one.probe]), int(one.arrays["value"])
    found = multilabel.KNNProbe(
        model, Y, affine, k, np.array([k]), one.arrays["mean_ap"], one.arrays["judges"], False
    )
    return multilabel.shares(found, queries)


def row(
    one: Chosen, scores: np.ndarray, said: np.ndarray, labels: np.ndarray,
    groups: np.ndarray | None,
) -> dict[str, Any]:  # fmt: skip
    """A result as JSON has it."""
    is_linear, arrays = one.probe == "linear", one.arrays
    found: dict[str, Any] = {
        "name": one.name, "probe": one.probe, "shots": "all", "seed": one.seed,
        "strength": float(arrays["value"]) if is_linear else None,
        "k": None if is_linear else int(arrays["value"]), "selection": float(arrays["selection"]),
        "gap": float(arrays["gap"]) if is_linear else None, "at_edge": bool(arrays["at_edge"]),
    }  # fmt: skip
    estimates = {
        "ap": evaluation.multilabel_average_precision(scores, labels, groups),
        "micro_f1": evaluation.multilabel_micro_f1(said, labels, groups),
        "macro_f1": evaluation.multilabel_macro_f1(said, labels, groups),
    }
    for name, estimate in estimates.items():
        low, high = evaluation.interval(estimate)
        found |= {name: estimate.value, f"{name}_low": low, f"{name}_high": high}
    return found


def _not_judged(chosen: list[Chosen], settings: Settings) -> dict[str, int]:
    """In how many of the folds of all seeds a class had one answer only, so it did not judge."""
    judges = np.concatenate([one.arrays["judges"] for one in chosen
                             if one.probe == settings.probes[0]])  # fmt: skip
    return {"pairs": judges.size, "not_judged": int((~judges).sum())}


def _heads(
    chosen: list[Chosen], data: gate.Data, settings: Settings
) -> dict[str, dict[str, np.ndarray]]:
    heads = [one for one in chosen if one.probe == "linear"]
    if not heads:
        return {}
    return {"heads": {
        "W": np.stack([one.arrays["W"] for one in heads]),
        "b": np.stack([one.arrays["b"] for one in heads]),
        "name": np.array([one.name for one in heads]),
        "class_names": np.array(data.class_names), "normalise": np.array(settings.normalise),
    }}  # fmt: skip
