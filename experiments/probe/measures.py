"""The measures of a tested probe, each with a 95 % interval where there is one."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from lincls import evaluation
from lincls.evaluation import Estimate

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


def log_losses(outcome: Outcome) -> np.ndarray:
    """-log of the label's probability (M,), infinite where a label got no vote."""
    if not outcome.are_votes:
        logs = scipy.special.log_softmax(np.asarray(_scores(outcome), np.float64), axis=1)
        return -np.take_along_axis(logs, outcome.labels[:, None], axis=1)[:, 0]
    of_label = np.take_along_axis(probabilities(outcome), outcome.labels[:, None], axis=1)
    with np.errstate(divide="ignore"):
        return -np.log(of_label[:, 0])


def brier_scores(outcome: Outcome) -> np.ndarray:
    """The sum of the squared differences of the probabilities from 0 or 1, (M,)."""
    wanted = np.arange(outcome.num_classes) == outcome.labels[:, None]
    return np.square(probabilities(outcome) - wanted).sum(axis=1)


MEANS: dict[str, Callable[[Outcome], np.ndarray]] = {
    "log_loss": log_losses,
    "brier": brier_scores,
}


def _weighted_mean(weight: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.sum(weight * values) / jnp.sum(weight)


def _of_mean(values: np.ndarray, groups: np.ndarray | None, num_samples: int, seed: int) -> "Found":
    """A mean over the examples with the bootstrap's percentile interval."""
    if not np.isfinite(values).all():
        return Found(float(values.mean()))
    drawn = evaluation.bootstrap(
        jax.random.key(seed), _weighted_mean, len(values), num_samples, groups=groups,
        args=(values.astype(np.float32),),
    )  # fmt: skip
    return Found(float(values.mean()), *map(float, np.quantile(drawn, [0.025, 0.975])))


def reliability(outcome: Outcome) -> evaluation.Reliability:
    """Accuracy against confidence in `_BINS` bins."""
    return evaluation.reliability(probabilities(outcome), outcome.labels, _BINS)


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


def with_interval(
    name: str, outcome: Outcome, groups: np.ndarray | None = None, num_samples: int = 1000,
    seed: int = 0,
) -> Found:  # fmt: skip
    """A measure with its interval.

    Top-k without groups has Wilson's interval; log loss and Brier score that of the bootstrap; the
    calibration error, which is biased in small samples, has none; all others the jackknife's.

    Args:
        name: of `TITLES`, or top1, top2, ..
        outcome: the predictions and, where the measure needs them, the scores.
        groups: (M,), or None where the test examples are independent.
        num_samples: test sets that the bootstrap draws.
        seed: of these draws.
    """
    if name == "ece":
        return Found(reliability(outcome).error)
    if name in MEANS:
        return _of_mean(MEANS[name](outcome), groups, num_samples, seed)
    if name in ("auroc", "ap") and len(np.unique(outcome.labels)) < 2:
        return Found(np.nan)
    if not is_share(name):
        estimate = ESTIMATES[name](outcome, groups)
        return Found(estimate.value, *evaluation.interval(estimate))
    hits = _hits(name, outcome)
    if groups is None:
        return Found(float(hits.mean()), *evaluation.wilson_interval(int(hits.sum()), len(hits)))
    return Found(float(hits.mean()), *evaluation.interval(evaluation.mean(hits, groups)))
