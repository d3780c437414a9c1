"""Choosing k and the distance by cross-validation, and one test of what was chosen."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes

from experiments.lab import progress, run, style, tuning, words
from experiments.lab.experiment import AGREES, DIFFERS, OPEN, Classifier, Findings, Outcome, Plot
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import crossval, distances, knn, splits

SLIDES = "20-22"
QUESTION = "Which k and which distance?"
CLAIM = (
    "Hyperparameters are tuned by cross-validation: cycle through the folds and average (21). "
    "In the 5-fold example k of about 7 works best for its data (22). The test set is used "
    "once, at the end (20)."
)
SECONDS = 2
SLIDE_K = 7
METRICS = {"l1": distances.l1, "l2": distances.l2, "cosine": distances.cosine}


@dataclass(frozen=True)
class Settings:
    ks: tuple[int, ...] = flag(
        (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100), "numbers of neighbours tried", low=1, smoke=(1, 7)
    )
    metrics: tuple[str, ...] = flag(("l1", "l2"), "distances tried", choices=tuple(METRICS))
    num_folds: int = flag(5, "folds, contiguous in file order", low=2)
    max_folded: int = flag(
        5000, "training examples cross-validated, the first ones", low=2, smoke=300
    )
    max_train: int = flag(60000, "training examples the chosen k votes with", low=1, smoke=300)
    max_test: int = flag(10000, "test examples used, the first ones", low=1, smoke=50)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Accuracy of every k and distance on every fold; the test set for the best pair alone."""
    folded = tuning.rows(data.train, settings.max_folded)
    accuracies = _cross_validated(folded, settings)
    table = np.concatenate(list(accuracies.values()))
    settled = crossval.choose(table, complexity=[-k for _ in accuracies for k in settings.ks])
    best = _pair(settings, settled.best)
    numbers = {
        "best": best,
        "one_standard_error": _pair(settings, settled.one_standard_error),
        "num_folded": len(folded.y),
    }
    return Outcome(numbers, accuracies, [_tested(data, settings, **best)])


def _cross_validated(folded: tuning.Rows, settings: Settings) -> dict[str, np.ndarray]:
    """Accuracies (ks, folds) by the name of the distance."""
    folds = splits.folds(len(folded.y), settings.num_folds)
    return {
        name: crossval.knn_accuracies(
            *folded,
            folds,
            settings.ks,
            METRICS[name],
            on_block=progress.watcher(f"folds by {words.NAMES[name]}"),
        )
        for name in settings.metrics
    }


def _pair(settings: Settings, row: int) -> dict[str, Any]:
    """Distance and k of a row of the table of all pairs."""
    metric, k = divmod(row, len(settings.ks))
    return {"metric": settings.metrics[metric], "k": settings.ks[k]}


def _tested(data: Data, settings: Settings, metric: str, k: int) -> Classifier:
    """The one use of the test set: what was chosen, with the votes of all training examples."""
    train = tuning.rows(data.train, settings.max_train)
    test = tuning.rows(data.open_test("accuracy of the chosen k and distance"), settings.max_test)
    model = knn.fit(*train, metric=METRICS[metric], num_classes=data.num_classes)
    predictions = knn.predict(model, test.X, k, on_block=progress.watcher("test"))
    correct = int(np.sum(np.asarray(predictions) == test.y))
    chosen = f"k = {k}, {words.NAMES[metric]}"
    return Classifier("k nearest neighbours", chosen, correct, len(test.y), train.X.size)


def findings(record: Record) -> Findings:
    """The choice, its test, and how the slide's k compares."""
    best, simplest = record.numbers["best"], record.numbers["one_standard_error"]
    of_best = _of_k(record, best["k"])
    about_slide, verdict = _beside_slide(record)
    sentences = [
        f"{record.settings['num_folds']}-fold cross-validation on "
        f"{record.numbers['num_folded']:,} training images chooses k = {best['k']} with "
        f"{words.NAMES[best['metric']]}: {of_best.mean():.1%} right, with a standard deviation of "
        f"{100 * of_best.std(ddof=1):.1f} points over the folds.",
        "The simplest choice within one standard error of it, the one with the largest k, is "
        f"k = {simplest['k']} with {words.NAMES[simplest['metric']]}.",
        about_slide,
        f"Tested once, with all training images: {words.right(record.classifiers[0])}.",
    ]
    return Findings(sentences, verdict)


def _of_k(record: Record, k: int) -> np.ndarray:
    """The accuracies (folds,) of a k with the chosen distance."""
    return record.arrays[record.numbers["best"]["metric"]][record.settings["ks"].index(k)]


def _beside_slide(record: Record) -> tuple[str, str]:
    """How far the slide's k is from the best one, in a sentence, and the verdict."""
    best = record.numbers["best"]["k"]
    near = min(record.settings["ks"], key=lambda k: abs(k - SLIDE_K))
    loss = _of_k(record, best) - _of_k(record, near)
    error = loss.std(ddof=1) / np.sqrt(len(loss))
    if near == best:
        return "Of the values of k tried, that is the nearest to the slide's.", AGREES
    sentence = (
        f"k = {near} is {100 * loss.mean():.1f} points below the best, with a standard error of "
        f"{100 * error:.1f} over the folds."
    )
    if 5 <= best <= 10:
        return sentence, AGREES
    return sentence, OPEN if loss.mean() < 2 * error else DIFFERS


def draw(record: Record) -> Iterator[Plot]:
    """Slide 22's figure: points, means, standard deviations, one panel for each distance."""
    best, metrics = record.numbers["best"], record.settings["metrics"]
    title = f"Cross-validation chooses k = {best['k']} with {words.NAMES[best['metric']]}"
    figure, axes = style.canvas(
        1, len(metrics), height=3.6, title=title, sharey=True, squeeze=False
    )
    for place, name in zip(axes[0], metrics, strict=True):
        _draw_folds(place, name, record)
    axes[0, 0].set_ylabel("validation accuracy (%)")
    yield Plot(
        "cross_validation",
        figure,
        f"{record.settings['num_folds']}-fold cross-validation on the first "
        f"{record.numbers['num_folded']:,} training images. Each grey point is one fold, the line "
        "goes through the means, bars are one standard deviation; the ring is the choice.",
        "Accuracy against k, one panel for each distance: "
        f"{', '.join(words.NAMES[name] for name in metrics)}. {title}.",
    )


def _draw_folds(place: Axes, name: str, record: Record) -> None:
    """One distance: a point for each fold, the means with their deviations, the choice."""
    best, ks, scores = record.numbers["best"], record.settings["ks"], 100 * record.arrays[name]
    place.plot(ks, scores, ".", color=style.FAINT, ms=5)
    place.errorbar(ks, scores.mean(1), scores.std(1, ddof=1), color=style.COLORS[name], capsize=3)
    if name == best["metric"]:
        mean = scores[ks.index(best["k"])].mean()
        place.plot(best["k"], mean, "o", ms=14, mfc="none", mec=style.RED, mew=2)
    place.set(title=words.NAMES[name], xlabel="neighbours k", xscale="log")
    style.ticks(place, [k for k in ks if k in (1, 3, 7, 20, 50, 100)] or ks)


if __name__ == "__main__":
    sys.exit(run.main(__file__))
