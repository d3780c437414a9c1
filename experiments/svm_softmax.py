"""SVM and softmax: two losses on one linear score function, tuned, tested once, looked at."""

import dataclasses
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.axes import Axes
from scipy import stats

from experiments.lab import intervals, run, style, tuning, words
from experiments.lab.experiment import (
    AGREES,
    OPEN,
    Answer,
    Classifier,
    Findings,
    Outcome,
    Plot,
)
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import evaluation, linear, losses, penalties
from lincls.objective import Objective
from lincls.structs import LinearParams

SLIDES = "29-48"
QUESTION = "What do the two linear classifiers learn, and how good are they?"
CLAIM = (
    "f(x, W, b) = Wx + b can be trained with the multiclass SVM loss or with the softmax loss. "
    "Some classes are harder than others (29). Each row of W is a template of its class that can "
    "be shown as an image (30). "
    "Recap: a score function, two losses and regularisation, all of which can be trained (48)."
)
SECONDS = 20
LOSSES = {"svm": losses.hinge, "softmax": losses.softmax}
TITLES = {name: f"linear, {words.NAMES[name]}" for name in LOSSES}
SHOWN = 10.0  # points of accuracy that the figure of the grid spans
MOST_NAMED = 3  # classes or mistakes that cannot be told apart from the greatest
NUM_MEASURED = 5000  # training examples on which the loss is told
SIGNIFICANT = 0.05 / len(LOSSES)  # one test for each


@dataclasses.dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = flag(
        (0.4, 2.0, 10.0, 50.0, 250.0, 1000.0),
        "step sizes tried, as multiples of the one derived from data and loss",
        low=0,
        smoke=(0.4, 2.0),
    )
    regs: tuple[float, ...] = flag(
        (0.0, 1e-3, 1e-2, 1e-1, 1.0), "strengths lambda tried, rising", low=0, smoke=(0.0, 1e-3)
    )
    num_folds: int = flag(5, "folds of the training examples that choose", low=2)
    num_validated: int = flag(
        1000, "held-out examples that choose: as many folds as bring them", low=1, smoke=50
    )
    num_steps: int = flag(2000, "minibatches, all the way to step size 0", smoke=20, low=1)
    batch_size: int = flag(256, "examples in a minibatch", low=1, smoke=32)
    max_train: int = flag(60000, "training examples used, the first ones", low=2, smoke=300)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Tune on held-out folds, train again on all, open the test set once for all that is tested."""
    outcome, trained = Outcome({}), {}
    examples = tuning.rows(data.train, settings.max_train)
    for name, loss in LOSSES.items():
        plan = tuning.Plan(Objective(loss, penalties.l2), settings.batch_size, settings.num_steps)
        began = time.perf_counter()
        grid = tuning.search(key, examples, data.num_classes, plan, settings)
        outcome.seconds[f"{name}: tuned"] = time.perf_counter() - began
        outcome.numbers[name] = _chosen(grid)
        outcome.arrays[f"{name}_grid"] = grid.accuracy
        trained[name] = _trained(outcome, key, examples, data.num_classes, plan, name)
        outcome.arrays[f"{name}_fall"] = _fall(trained[name][1], loss, examples)
    test = tuning.rows(data.open_test("the two chosen classifiers, and both without a penalty"))
    for name, (weakest, chosen) in trained.items():
        outcome.classifiers.append(_tested(outcome, name, chosen, weakest, test))
        outcome.arrays[f"{name}_templates"] = linear.templates(chosen, data.image_shape)
    return outcome


def _chosen(grid: tuning.Grid) -> dict[str, float]:
    """The best pair on the held-out folds, and the weakest strength at its own best step size."""
    weakest = (int(grid.accuracy[:, 0].argmax()), 0)
    return {
        "rate": grid.rates[grid.best[0]],
        "reg": grid.regs[grid.best[1]],
        "rate_weakest": grid.rates[weakest[0]],
        "reg_weakest": grid.regs[0],
        "validation": float(grid.accuracy[grid.best]),
        "validation_weakest": float(grid.accuracy[weakest]),
        "num_validated": len(grid.labels),
    }


def _fall(params: LinearParams, loss: Any, examples: tuning.Rows) -> np.ndarray:
    """Losses (2, n) of training examples: at scores of 0, where training begins, and at its end."""
    X, y = examples.X[:NUM_MEASURED], examples.y[:NUM_MEASURED]
    scores = linear.scores(params, X)
    return np.stack([loss(0 * scores, y), loss(scores, y)])


def _trained(
    outcome: Outcome, key: jax.Array, examples: tuning.Rows, num_classes: int, plan: tuning.Plan,
    name: str,
) -> tuple[LinearParams, LinearParams]:  # fmt: skip
    """On all examples: with the weakest strength, which compiles, and as chosen, which is timed."""
    chosen = outcome.numbers[name]
    weakest, _ = tuning.refit(
        key, examples, num_classes, plan, chosen["rate_weakest"], chosen["reg_weakest"]
    )
    params, seconds = tuning.refit(key, examples, num_classes, plan, chosen["rate"], chosen["reg"])
    outcome.seconds[f"training: {TITLES[name]}"] = seconds
    return weakest, params


def _tested(
    outcome: Outcome, name: str, params: LinearParams, weakest: LinearParams, test: tuning.Rows
) -> Classifier:
    """What the chosen classifier does on the test set, and whether the penalty changed it."""
    by_weakest = linear.predict(weakest, test.X)  # compiles
    began = time.perf_counter()
    predictions = np.asarray(linear.predict(params, test.X))
    outcome.seconds[f"a test image: {TITLES[name]}"] = (time.perf_counter() - began) / len(test.y)
    confusion = evaluation.confusion(predictions, test.y, len(params.b))
    outcome.arrays[f"{name}_confusion"] = confusion
    chosen = outcome.numbers[name]
    chosen["test_weakest"] = evaluation.accuracy(by_weakest, test.y)
    chosen["p"] = evaluation.mcnemar(predictions, by_weakest, test.y)
    return Classifier(
        TITLES[name],
        f"step size × {chosen['rate']:g}, strength {chosen['reg']:g}",
        correct=int(np.trace(confusion)),
        total=int(confusion.sum()),
        stored=params.W.size + params.b.size,
        memory=params.W.nbytes + params.b.nbytes,
    )


def findings(record: Record) -> Findings:
    """Test accuracies, what is confused most and told best, and what the penalty changed."""
    sentences = []
    for name, tested in zip(LOSSES, record.classifiers, strict=True):
        confusion = record.arrays[f"{name}_confusion"]
        sentences += [
            f"{words.NAMES[name]}: {words.right(tested)}, with {tested.chosen}. Its most frequent "
            f"mistake: {_confused(confusion, record.class_names)}. "
            f"{words.capital(_hardest(confusion, record.class_names))}.",
            _of_penalty(name, record),
        ]
    answers = {"29-31": _of_classes(record), "48": _of_training(record)}
    verdict = intervals.together(answer.verdict for answer in answers.values())
    return Findings(sentences, verdict, by_slides=answers)


def _of_training(record: Record) -> Answer:
    """Whether training lowers both losses, and both then tell classes better than naming one."""
    chance, ends = _above_chance(record)
    verdicts, told = list[str](), list[str]()
    for name, tested, end in zip(LOSSES, record.classifiers, ends, strict=True):
        begun, ended = record.arrays[f"{name}_fall"].astype(np.float64)
        fall = intervals.of_mean(begun - ended)
        verdicts += [intervals.above_zero(fall), intervals.above_zero(end)]
        told.append(
            f"{words.NAMES[name]} with strength {record.numbers[name]['reg']:g}: loss "
            f"{begun.mean():.3g} at scores of 0, {ended.mean():.3g} after training, "
            f"{fall.low:.3g} to {fall.high:.3g} less (95%); test accuracy "
            f"{tested.correct / tested.total:.1%}, {words.signed(end)} points above chance"
        )
    return Answer(intervals.together(verdicts), f"{'; '.join(told)} ({chance:.1%})")


def _above_chance(record: Record) -> tuple[float, list[evaluation.Interval]]:
    """The accuracy of naming one class, and the intervals of what each classifier is above it."""
    totals = record.arrays["softmax_confusion"].sum(axis=1)
    chance = float(totals.max() / totals.sum())
    ends = [evaluation.wilson_interval(one.correct, one.total) for one in record.classifiers]
    return chance, [evaluation.Interval(end.low - chance, end.high - chance) for end in ends]


def _of_classes(record: Record) -> Answer:
    """Whether both tell the classes better than naming one does, and some better than others."""
    confusion, names = record.arrays["softmax_confusion"], record.class_names
    chance, ends = _above_chance(record)
    low, high = (_of_class(confusion, place) for place in _extremes(confusion))
    above = intervals.together(map(intervals.above_zero, ends))
    told = ", ".join(
        f"{words.NAMES[name]} {words.signed(end)}" for name, end in zip(LOSSES, ends, strict=True)
    )
    told = f"points above naming one class ({chance:.1%}): {told}. Of softmax, "
    harder = AGREES if low.high < high.low else OPEN
    return Answer(intervals.together([above, harder]), told + _hardest(confusion, names))


def _extremes(confusion: np.ndarray) -> tuple[int, int]:
    """The classes of the least and of the greatest accuracy, of those with test examples."""
    totals = confusion.sum(axis=1)
    share = np.where(totals, np.diag(confusion) / np.maximum(totals, 1), np.nan)
    return int(np.nanargmin(share)), int(np.nanargmax(share))


def _of_class(confusion: np.ndarray, place: int) -> evaluation.Interval:
    """The interval of a class's accuracy."""
    return evaluation.wilson_interval(int(confusion[place, place]), int(confusion[place].sum()))


def _alike(confusion: np.ndarray, place: int) -> list[int]:
    """Other classes whose accuracy may be that of a class: 95% by Newcombe's interval of the
    difference of two independent shares (method 10 of Newcombe, 1998)."""
    totals, right = confusion.sum(axis=1), np.diag(confusion)
    share, one = right / np.maximum(totals, 1), _of_class(confusion, place)
    found = list[int]()
    for other in np.flatnonzero(totals):
        two = _of_class(confusion, int(other))
        (less, of_less), (more, of_more) = sorted([(share[place], one), (share[other], two)])
        reach = np.hypot(more - of_more.low, of_less.high - less)
        if other != place and more - less <= reach:
            found.append(int(other))
    return sorted(found, key=lambda other: abs(share[other] - share[place]))


def _hardest(confusion: np.ndarray, names: list[str]) -> str:
    """The classes of the least and of the greatest accuracy, with intervals (slide 29)."""
    least, greatest = (_with_alike(confusion, names, place) for place in _extremes(confusion))
    return f"the hardest class is {least}; the easiest is {greatest}"


def _with_alike(confusion: np.ndarray, names: list[str], place: int) -> str:
    """A class with its accuracy, and those that cannot be told apart from it."""
    share = np.diag(confusion) / np.maximum(confusion.sum(axis=1), 1)
    told = (
        f"{names[place]} ({share[place]:.1%}, 95% interval "
        f"{words.between(_of_class(confusion, place))}%)"
    )
    alike = [f"{names[other]} ({share[other]:.1%})" for other in _alike(confusion, place)]
    if len(alike) > MOST_NAMED:
        alike = [*alike[:MOST_NAMED], f"{len(alike) - MOST_NAMED} more"]
    return f"{told}, not to be told apart from {', '.join(alike)}" if alike else told


def _gain(record: Record, name: str) -> float:
    """Points of test accuracy that the chosen strength is above the weakest."""
    tested = record.classifiers[list(LOSSES).index(name)]
    return 100 * (tested.correct / tested.total - record.numbers[name]["test_weakest"])


def _of_penalty(name: str, record: Record) -> str:
    number, weakest = record.numbers[name], record.settings["regs"][0]
    by_folds = f"on {number['num_validated']:,} held-out training examples"
    if number["reg"] == weakest:
        return f"{words.NAMES[name]}: no strength above {weakest:g} does better {by_folds}."
    points = 100 * (number["validation"] - number["validation_weakest"])
    return (
        f"{words.NAMES[name]}: beside the strength {weakest:g}, {number['reg']:g} gains "
        f"{points:.2f} points {by_folds}, which chose it, and {_gain(record, name):+.2f} points on "
        f"the test set (McNemar's test: p = {number['p']:.2g})."
    )


class Mistake(NamedTuple):
    """What is taken for what, by names, and how often."""

    label: str
    predicted: str
    times: int


def _mistakes(confusion: np.ndarray, names: list[str]) -> list[Mistake]:
    """The most frequent mistake, then those that cannot be told apart from it at 5% (sign test)."""
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = [divmod(int(place), len(wrong)) for place in order]
    found = [Mistake(names[one], names[two], int(wrong[one, two])) for one, two in pairs]
    most = found[0].times
    return [
        each
        for each in found
        if each.times and stats.binomtest(most, most + each.times).pvalue >= 0.05
    ]


def _confused(confusion: np.ndarray, names: list[str]) -> str:
    """The most frequent mistake, and which are as frequent, in words."""
    if not (found := _mistakes(confusion, names)):
        return "none"
    first, *alike = found
    told = f"{first.label} is taken for {first.predicted} ({first.times} times)"
    others = [f"{each.label} for {each.predicted} ({each.times})" for each in alike[:MOST_NAMED]]
    if len(alike) > MOST_NAMED:
        others.append(f"{len(alike) - MOST_NAMED} more")
    return f"{told}, not to be told apart from {', '.join(others)}" if others else told


def draw(record: Record) -> Iterator[Plot]:
    """Templates, confusion matrices, the validation grid."""
    yield _draw_templates(record)
    yield _draw_confusion(record)
    yield _draw_grid(record)


def _draw_templates(record: Record) -> Plot:
    names = record.class_names[:10]
    templates = np.stack([record.arrays[f"{name}_templates"][: len(names)] for name in LOSSES])
    height = 12 / len(names) * record.image_shape[0] / record.image_shape[1] + 0.3
    title = "Each row of W is a picture of what its class looks for"
    figure, axes = style.canvas(height=height, title=title)
    style.tiles(axes, style.weights(templates), [words.NAMES[name] for name in LOSSES], names)
    colour = (
        "A channel that speaks for the class is bright, one that speaks against it dark, "
        "and grey does not matter."
        if record.image_shape[-1] == 3
        else "Red pixels speak for the class, blue ones against it, white ones do not matter."
    )
    return Plot(
        "templates",
        figure,
        f"The rows of W as images, each scaled by its own greatest weight. {colour}",
        f"Two rows of {len(names)} small images, the weights that the SVM (top) and the softmax "
        f"classifier (bottom) learned for {', '.join(names)}.",
    )


def _draw_confusion(record: Record) -> Plot:
    figure, axes = style.canvas(1, 2, height=4.05, title=_confusion_title(record))
    for place, name, tested in zip(axes, LOSSES, record.classifiers, strict=True):
        title = f"{words.NAMES[name]}, {tested.correct / tested.total:.1%} right"
        style.matrix(place, record.arrays[f"{name}_confusion"], record.class_names, title)
    mistakes = [
        f"{words.NAMES[name]}: {_confused(record.arrays[f'{name}_confusion'], record.class_names)}."
        for name in LOSSES
    ]
    return Plot(
        "confusion",
        figure,
        "Numbers of test examples, by their label (row) and what was predicted (column). What "
        "is on the diagonal is right; the darker a square, the greater its share of the row.",
        " ".join(["Two confusion matrices on the test set.", *mistakes]),
    )


def _confusion_title(record: Record) -> str:
    """The mistake that each makes most often, or that none stands out."""
    told = []
    for name in LOSSES:
        found = _mistakes(record.arrays[f"{name}_confusion"], record.class_names)
        pairs = " or ".join(f"{each.label} for {each.predicted}" for each in found)
        told.append(f"{words.NAMES[name]}, {pairs if 0 < len(found) <= 2 else 'none stands out'}")
    if all(one.endswith("none stands out") for one in told):
        return "No mistake is more frequent than all others beyond chance"
    return f"Most frequent mistakes: {'; '.join(told)}"


def _draw_grid(record: Record) -> Plot:
    regs = record.settings["regs"]
    title = "Best on held-out examples: " + ", ".join(
        f"{words.NAMES[name]} {record.numbers[name]['validation']:.1%} at "
        f"λ = {record.numbers[name]['reg']:g}"
        for name in LOSSES
    )
    figure, axes = style.canvas(1, 2, height=3.2, title=title, sharey=True)
    for place, name in zip(axes, LOSSES, strict=True):
        _draw_interval(place, record, name)
        lines = zip(record.settings["rates"], record.arrays[f"{name}_grid"], strict=True)
        for (rate, row), marker in zip(lines, cycle(style.MARKERS), strict=False):
            place.plot(range(len(regs)), 100 * row, marker=marker, label=f"× {rate:g}")
        place.set(title=words.NAMES[name], xlabel="strength λ of the L2 penalty")
        place.set_xticks(range(len(regs)), [f"{reg:g}" for reg in regs])
    best = 100 * max(record.arrays[f"{name}_grid"].max() for name in LOSSES)
    axes[0].set(ylabel="held-out accuracy (%)", ylim=(best - SHOWN, best + 0.05 * SHOWN))
    style.legend(figure, "step size")
    return Plot(
        "validation",
        figure,
        f"Accuracy on {record.numbers['svm']['num_validated']:,} held-out training examples of "
        "every pair of a step size and a strength, all trained as one program. Step sizes are "
        "multiples of the one that lincls derives from data and loss. Grey: the 95% interval of "
        "the best pair; what lies inside is hardly worse. What is more than "
        f"{SHOWN:g} points below the best lies below the picture.",
        "Two line charts of validation accuracy against penalty strength, one line per step "
        f"size, for the SVM and the softmax classifier. {title}.",
    )


def _draw_interval(axes: Axes, record: Record, name: str) -> None:
    """The interval of the best held-out accuracy, across the panel."""
    number = record.numbers[name]
    right = round(number["validation"] * number["num_validated"])
    low, high = evaluation.wilson_interval(right, number["num_validated"])
    axes.axhspan(100 * low, 100 * high, color=style.FAINT, alpha=0.2, lw=0)


if __name__ == "__main__":
    sys.exit(run.main(__file__))
