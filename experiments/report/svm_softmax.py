"""What `experiments.svm_softmax` found, in words and figures."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from experiments.lab import choices
from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import AGREES, UNDECIDED, Answer, Findings, Plot, Table, together
from experiments.svm_softmax import LOSSES
from lincls import evaluation
from lincls.evaluation import Interval

SLIDES = "29-48"
QUESTION = "What do the two linear classifiers learn, and how accurate are they?"
CLAIM = (
    "Some classes are harder than others (29). Each row of W is a template of its class and can be "
    "shown as an image (30). f(x, W, b) = Wx + b can be trained with the SVM loss or the softmax "
    "loss (48)."
)
SECONDS = 20
SHOWN = 10.0  # points of accuracy that the figure of the grid spans
MOST_NAMED = 3  # confusions, or classes of the same accuracy


def findings(record: Record) -> Findings:
    """Test accuracies, the hardest and easiest classes, the most frequent confusions."""
    names, confusion = record.class_names, record.arrays["softmax_confusion"]
    accuracies = [
        f"{choices.NAMES[name]} {words.accuracy(tested)}"
        for name, tested in zip(LOSSES, record.classifiers, strict=True)
    ]
    sentences = [f"Test accuracy: {', '.join(accuracies)}.", f"{_by_class(confusion, names)}."]
    if found := _confusions(confusion, names)[:MOST_NAMED]:
        told = ", ".join(f"{named} ({times})" for named, times in found)
        sentences.append(f"Most frequent confusions of softmax: {told}.")
    answers = {"29-31": _of_classes(confusion, names), "48": _of_training(record)}
    return Findings(sentences, answers, (_penalties(record),))


def _by_class(confusion: np.ndarray, names: list[str]) -> str:
    """The least and the greatest accuracy of a class, and whose they are."""
    totals = confusion.sum(axis=1)
    share = np.where(totals, np.diag(confusion) / np.maximum(totals, 1), np.nan)
    low, high = np.nanmin(share), np.nanmax(share)
    if low == high:
        return f"Softmax has the same accuracy in every class: {words.percent(low)}"
    ends = []
    for end in (low, high):
        named = [names[place] for place in np.flatnonzero(share == end)]
        more = ["..."] if len(named) > MOST_NAMED else []
        ends.append(f"{words.percent(end)} ({', '.join(named[:MOST_NAMED] + more)})")
    return f"By class, softmax accuracy ranges from {ends[0]} to {ends[1]}"


def _confusions(confusion: np.ndarray, names: list[str]) -> list[tuple[str, int]]:
    """Every confusion as "3 as 8" and how often it happened, the most frequent first."""
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    pairs = [divmod(int(place), len(wrong)) for place in order]
    return [(f"{names[one]} as {names[two]}", int(wrong[one, two])) for one, two in pairs]


def _stands_out(found: list[tuple[str, int]]) -> bool:
    """Whether the first confusion is more frequent than the second: a sign test at 5 %."""
    most, second = ([times for _, times in found] + [0, 0])[:2]
    return most > 0 and bool(stats.binomtest(most, most + second).pvalue < 0.05)


def _of_classes(confusion: np.ndarray, names: list[str]) -> Answer:
    """Whether classes differ in accuracy: Pearson's chi-squared test of homogeneity."""
    right, totals = np.diag(confusion), confusion.sum(axis=1)
    table = np.stack([right, totals - right])[:, totals > 0]
    p = float(stats.chi2_contingency(table).pvalue) if table.any(axis=1).all() else 1.0
    told = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return Answer(
        AGREES if p < 0.05 else UNDECIDED,
        f"{_by_class(confusion, names)}; chi-squared test of equal accuracy: {told}.",
    )


def _of_training(record: Record) -> Answer:
    """Whether training lowers both losses, and both classifiers beat always naming one class."""
    totals = record.arrays["softmax_confusion"].sum(axis=1)
    chance = float(totals.max() / totals.sum())
    verdicts, told = list[str](), list[str]()
    for name, tested in zip(LOSSES, record.classifiers, strict=True):
        begun, ended = record.arrays[f"{name}_fall"].astype(np.float64)
        fall = intervals.of_mean(begun - ended)
        low, high = evaluation.wilson_interval(tested.correct, tested.total)
        above = Interval(low - chance, high - chance)
        verdicts += [intervals.above_zero(fall), intervals.above_zero(above)]
        told.append(
            f"{words.capital(choices.NAMES[name])} loss falls from {begun.mean():.2f} to "
            f"{ended.mean():.2f}, by {fall.low:.2f} to {fall.high:.2f}; accuracy is "
            f"{words.points(above)} above chance"
        )
    return Answer(together(verdicts), f"{'. '.join(told)} (95 % CI).")


def _penalties(record: Record) -> Table:
    """Each loss with the weakest penalty and with the chosen one."""
    rows = dict[tuple[str, ...], str]()  # two equal ones are one
    for name, tested in zip(LOSSES, record.classifiers, strict=True):
        number, test = record.numbers[name], tested.correct / tested.total
        p = f"{number['p']:.2g}"
        for end, right, p_value in (("_weakest", number["test_weakest"], ""), ("", test, p)):
            shares = map(words.percent, (number[f"validation{end}"], right))
            pair = f"{number[f'reg{end}']:g}", f"× {number[f'rate{end}']:g}"
            rows.setdefault((choices.NAMES[name], *pair, *shares), p_value)
    header = ("loss", "strength", "learning rate", "held-out accuracy", "test accuracy", "p")
    caption = (
        "The weakest penalty and the chosen one, which has the best held-out accuracy. p: "
        "McNemar's test of the two on the test set."
    )
    return Table(caption, header, [(*cells, p) for cells, p in rows.items()])


def draw(record: Record) -> Iterator[Plot]:
    """Templates, confusion matrices, the validation grid."""
    yield _draw_templates(record)
    yield _draw_tested_templates(record)
    yield _draw_confusion(record)
    yield _draw_grid(record)


def _draw_templates(record: Record) -> Plot:
    """Slide 30's figure, with a penalty that makes the templates smooth."""
    reg, chosen = record.settings["template_reg"], record.numbers["softmax"]["reg"]
    colours = (
        "A bright channel speaks for the class, a dark one against it."
        if record.image_shape[-1] == 3
        else "Red speaks for the class, blue against it."
    )
    title = "Each row of W is a template of its class"
    templates = record.arrays["softmax_templates"][None]
    return Plot(
        "templates",
        _pictures(record, templates, [f"softmax\nλ = {reg:g}"], title),
        f"W of a softmax classifier with strength {reg:g}, set for this figure; validation chose "
        f"{chosen:g}. {colours} Each template has its own scale.",
        f"The weights of a softmax classifier as images, one for each class. {title}.",
    )


def _draw_tested_templates(record: Record) -> Plot:
    title = "Templates of the two tested classifiers"
    rows = [f"{choices.NAMES[name]}\nλ = {record.numbers[name]['reg']:g}" for name in LOSSES]
    return Plot(
        "tested_templates",
        _pictures(record, record.arrays["tested_templates"], rows, title),
        "W of the two tested classifiers, with the strengths λ that validation chose.",
        f"The weights of the SVM and of the softmax classifier as images. {title}.",
    )


def _pictures(record: Record, templates: np.ndarray, rows: list[str], title: str) -> Figure:
    """Templates (R, C, H, W, 1 or 3) as pictures; of vectors of features, as heat maps of W."""
    names = record.class_names[:10]
    colours = style.weights(templates[:, : len(names)])
    height, width = record.image_shape[:2]
    if height > 1:
        figure, axes = style.canvas(
            height=6.2 / len(names) * len(rows) * height / width + 0.3, title=title
        )
        style.tiles(axes, colours, rows, names)
        return figure
    figure, places = style.canvas(
        1, len(rows), height=1 + 0.25 * len(names), title=title, sharey=True, squeeze=False
    )
    for place, picture, row in zip(places[0], colours, rows, strict=True):
        place.imshow(picture[:, 0], aspect="auto", interpolation="nearest")
        place.set(title=row, xlabel="feature")
        place.grid(False)
    places[0, 0].set_yticks(range(len(names)), names)
    return figure


def _draw_confusion(record: Record) -> Plot:
    title = _confusion_title(record)
    figure, axes = style.canvas(1, 2, height=4.05, title=title)
    for place, name, tested in zip(axes, LOSSES, record.classifiers, strict=True):
        share = words.percent(tested.correct / tested.total)
        matrix = record.arrays[f"{name}_confusion"]
        style.matrix(place, matrix, record.class_names, f"{choices.NAMES[name]}, {share} accuracy")
    return Plot(
        "confusion",
        figure,
        "Numbers of test examples by label (row) and prediction (column). The darker a square, the "
        "greater its share of the row.",
        f"Two confusion matrices on the test set. {title}.",
    )


def _confusion_title(record: Record) -> str:
    """The most frequent confusion of each loss, where one stands out."""
    told = []
    for name in LOSSES:
        found = _confusions(record.arrays[f"{name}_confusion"], record.class_names)
        if _stands_out(found):
            told.append(f"{found[0][0]} ({choices.NAMES[name]})")
    return f"Most frequent confusion: {', '.join(told)}" if told else "No confusion stands out"


def _draw_grid(record: Record) -> Plot:
    regs = record.settings["regs"]
    bests = [f"{choices.NAMES[name]} {words.percent(record.numbers[name]['validation'])}"
             for name in LOSSES]  # fmt: skip
    title = f"Best held-out accuracy: {', '.join(bests)}"
    figure, axes = style.canvas(1, 2, height=3.2, title=title, sharey=True)
    for place, name in zip(axes, LOSSES, strict=True):
        _draw_interval(place, record.numbers[name])
        lines = zip(record.settings["rates"], record.arrays[f"{name}_grid"], strict=True)
        for (rate, row), marker in zip(lines, cycle(style.MARKERS), strict=False):
            place.plot(range(len(regs)), 100 * row, marker=marker, label=f"× {rate:g}")
        place.set(title=choices.NAMES[name], xlabel="strength λ of the L2 penalty")
        place.set_xticks(range(len(regs)), [f"{reg:g}" for reg in regs])
    best = 100 * max(record.arrays[f"{name}_grid"].max() for name in LOSSES)
    axes[0].set(ylabel="held-out accuracy (%)", ylim=(best - SHOWN, best + 0.05 * SHOWN))
    style.legend(figure, "learning rate")
    return Plot(
        "validation",
        figure,
        f"Accuracy on {record.numbers['svm']['num_validated']:,} held-out training examples; "
        "learning rates are multiples of the one derived from data and loss. Grey: 95 % CI of the "
        f"best pair. Points more than {SHOWN:g} below the best are off the chart.",
        "Two line charts of held-out accuracy against penalty strength, one line per learning "
        f"rate. {title}.",
    )


def _draw_interval(axes: Axes, number: dict[str, Any]) -> None:
    """The interval of the best held-out accuracy, across the panel."""
    right = round(number["validation"] * number["num_validated"])
    low, high = evaluation.wilson_interval(right, number["num_validated"])
    axes.axhspan(100 * low, 100 * high, color=style.FAINT, alpha=0.2, lw=0)
