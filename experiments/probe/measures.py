"""The measures of a tested probe, each with a 95 % interval where there is one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.special

from lincls import evaluation
from lincls.evaluation import Estimate, Interval

TITLES = {  # name in files -> title in tables
    "top1": "top-1", "top5": "top-5", "per_class": "mean per class", "macro_f1": "macro F1",
    "auroc": "AUROC", "ap": "mAP", "log_loss": "log loss", "brier": "Brier score",
    "ece": "calibration error",
}  # fmt: skip
USUAL = ("top1", "top5", "per_class", "macro_f1")
_BINS = 15  # of the calibration error, as Guo et al. 2017 have


class Outcome(NamedTuple):
    """What a probe said of the test examples."""

    predictions: np.ndarray  # (M,)
    labels: np.ndarray  # (M,)
    num_classes: int
    scores: np.ndarray | None = None  # (M, C), needed by all but the measures of predictions
    are_votes: bool = False  # then a class of score 0 is not among the first k


class Found(NamedTuple):
    """A measure and the ends of its interval, NaN where it has none."""

    value: float
    low: float = np.nan
    high: float = np.nan


def _scores(outcome: Outcome) -> np.ndarray:
    if outcome.scores is None:
        raise ValueError("this measure needs the scores")
    return outcome.scores


def probabilities(outcome: Outcome) -> np.ndarray:
    """Softmax of the scores, or the shares of the votes; rows (M, C) that sum to 1."""
    scores = np.asarray(_scores(outcome), np.float64)
    if not outcome.are_votes:
        return scipy.special.softmax(scores, axis=1)
    total = scores.sum(axis=1, keepdims=True)
    return np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)


def in_top(outcome: Outcome, k: int) -> np.ndarray:
    """Whether the label is among the k first (M,); of votes, only classes with votes count."""
    scores = _scores(outcome)
    scores = np.where(scores > 0, scores, -np.inf) if outcome.are_votes else scores
    return evaluation.in_top_k(scores, outcome.labels, k)


def _hits(name: str, outcome: Outcome) -> np.ndarray:
    if name == "top1":
        return outcome.predictions == outcome.labels
    return in_top(outcome, int(name.removeprefix("top")))


def _of_predictions(fn: Callable[..., Estimate]) -> Callable[..., Estimate]:
    return lambda o, groups=None: fn(o.predictions, o.labels, o.num_classes, groups)


def _of_ranks(fn: Callable[..., Estimate]) -> Callable[..., Estimate]:
    return lambda o, groups=None: fn(probabilities(o), o.labels, groups)


ESTIMATES: dict[str, Callable[..., Estimate]] = {  # of an outcome, and groups or None
    "per_class": _of_predictions(evaluation.mean_per_class),
    "macro_f1": _of_predictions(evaluation.macro_f1),
    "auroc": _of_ranks(evaluation.auroc),
    "ap": _of_ranks(evaluation.average_precision),
}


def log_loss(outcome: Outcome) -> float:
    """Mean of -log of the label's probability, infinite where a label got no vote."""
    if not outcome.are_votes:
        return evaluation.log_loss(_scores(outcome), outcome.labels)
    of_label = np.take_along_axis(probabilities(outcome), outcome.labels[:, None], axis=1)
    with np.errstate(divide="ignore"):
        return float(-np.log(of_label).mean())


WITHOUT_INTERVAL: dict[str, Callable[[Outcome], float]] = {
    "log_loss": log_loss,
    "brier": lambda o: evaluation.brier(probabilities(o), o.labels),
    "ece": lambda o: evaluation.reliability(probabilities(o), o.labels, _BINS).error,
}


def is_share(name: str) -> bool:
    """Whether a measure is top-k: a share of the examples."""
    return name.startswith("top") and name[3:].isdecimal() and int(name[3:]) > 0


def title(name: str) -> str:
    return TITLES.get(name, f"top-{name.removeprefix('top')}")


def check(names: tuple[str, ...]) -> None:
    """Raise ValueError for a name that is no measure."""
    for name in names:
        if name not in TITLES and not is_share(name):
            raise ValueError(
                f"--metrics must be topK such as top1 and top10, or of {', '.join(TITLES)}; "
                f"got {name!r}"
            )


def with_interval(name: str, outcome: Outcome, groups: np.ndarray | None = None) -> Found:
    """A measure with its interval: Wilson's for a share, of groups and of others the jackknife's.

    Args:
        name: of `TITLES`, or top1, top2, ..
        outcome: the predictions and, where the measure needs them, the scores.
        groups: (M,), or None where the test examples are independent.
    """
    if name in WITHOUT_INTERVAL:
        return Found(WITHOUT_INTERVAL[name](outcome))
    if name in ("auroc", "ap") and len(np.unique(outcome.labels)) < 2:
        return Found(np.nan)
    if not is_share(name):
        estimate = ESTIMATES[name](outcome, groups)
        return Found(estimate.value, *evaluation.interval(estimate))
    hits = _hits(name, outcome)
    if groups is None:
        ends: Interval = evaluation.wilson_interval(int(hits.sum()), len(hits))
    else:
        ends = evaluation.interval(evaluation.mean(hits, groups))
    return Found(float(hits.mean()), *ends)
