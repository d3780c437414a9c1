"""What `experiments.svm_softmax` found, told and drawn."""

from collections.abc import Iterator
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from scipy import stats

from experiments.lab import choices
from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import AGREES, UNDECIDED, Answer, Findings, Plot, together
from experiments.svm_softmax import LOSSES
from lincls import evaluation

SLIDES = "29-48"
QUESTION = "What do the two linear classifiers learn, and how good are they?"
CLAIM = (
    "f(x, W, b) = Wx + b can be trained with the multiclass SVM loss or with the softmax loss. "
    "Some classes are harder than others (29). Each row of W is a template of its class that can "
    "be shown as an image (30). "
    "Recap: a score function, two losses and regularisation, all of which can be trained (48)."
)
SECONDS = 20
SHOWN = 10.0  # points of accuracy that the figure of the grid spans
MOST_NAMED = 3  # classes or mistakes that cannot be told apart from the greatest


def findings(record: Record) -> Findings:
    """Test accuracies, what is confused most and told best, and what the penalty changed."""
    sentences = []
    for name, tested in zip(LOSSES, record.classifiers, strict=True):
        confusion = record.arrays[f"{name}_confusion"]
        sentences += [
            f"{choices.NAMES[name]}: {words.right(tested)}, with {tested.chosen}. Its most "
            f"frequent mistake: {_confused(confusion, record.class_names)}. "
            f"{words.capital(_hardest(confusion, record.class_names))}.",
            _of_penalty(name, record),
        ]
    answers = {"29-31": _of_classes(record), "48": _of_training(record)}
    return Findings(sentences, answers)


def _of_training(record: Record) -> Answer:
    """Whether training lowers both losses, and both then tell classes better than naming one."""
    chance, ends = _above_chance(record)
    verdicts, told = list[str](), list[str]()
    for name, tested, end in zip(LOSSES, record.classifiers, ends, strict=True):
        begun, ended = record.arrays[f"{name}_fall"].astype(np.float64)
        fall = intervals.of_mean(begun - ended)
        verdicts += [intervals.above_zero(fall), intervals.above_zero(end)]
        told.append(
            f"{choices.NAMES[name]} with strength {record.numbers[name]['reg']:g}: loss "
            f"{begun.mean():.3g} at scores of 0, {ended.mean():.3g} after training, "
            f"{fall.low:.3g} to {fall.high:.3g} less (95%); test accuracy "
            f"{tested.correct / tested.total:.1%}, {words.signed(end)} points above chance"
        )
    return Answer(together(verdicts), f"{'; '.join(told)} ({chance:.1%})")


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
    above = together(map(intervals.above_zero, ends))
    told = ", ".join(
        f"{choices.NAMES[name]} {words.signed(end)}" for name, end in zip(LOSSES, ends, strict=True)
    )
    told = f"points above naming one class ({chance:.1%}): {told}. Of softmax, "
    harder = AGREES if low.high < high.low else UNDECIDED
    return Answer(together([above, harder]), told + _hardest(confusion, names))


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
        return f"{choices.NAMES[name]}: no strength above {weakest:g} does better {by_folds}."
    points = 100 * (number["validation"] - number["validation_weakest"])
    return (
        f"{choices.NAMES[name]}: beside the strength {weakest:g}, {number['reg']:g} gains "
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
    style.tiles(axes, style.weights(templates), [choices.NAMES[name] for name in LOSSES], names)
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
        title = f"{choices.NAMES[name]}, {tested.correct / tested.total:.1%} right"
        style.matrix(place, record.arrays[f"{name}_confusion"], record.class_names, title)
    mistakes = [
        f"{choices.NAMES[name]}: "
        f"{_confused(record.arrays[f'{name}_confusion'], record.class_names)}."
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
        told.append(f"{choices.NAMES[name]}, {pairs if 0 < len(found) <= 2 else 'none stands out'}")
    if all(one.endswith("none stands out") for one in told):
        return "No mistake is more frequent than all others beyond chance"
    return f"Most frequent mistakes: {'; '.join(told)}"


def _draw_grid(record: Record) -> Plot:
    regs = record.settings["regs"]
    title = "Best on held-out examples: " + ", ".join(
        f"{choices.NAMES[name]} {record.numbers[name]['validation']:.1%} at "
        f"λ = {record.numbers[name]['reg']:g}"
        for name in LOSSES
    )
    figure, axes = style.canvas(1, 2, height=3.2, title=title, sharey=True)
    for place, name in zip(axes, LOSSES, strict=True):
        _draw_interval(place, record, name)
        lines = zip(record.settings["rates"], record.arrays[f"{name}_grid"], strict=True)
        for (rate, row), marker in zip(lines, cycle(style.MARKERS), strict=False):
            place.plot(range(len(regs)), 100 * row, marker=marker, label=f"× {rate:g}")
        place.set(title=choices.NAMES[name], xlabel="strength λ of the L2 penalty")
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
