"""What `experiments.choose_k` found, in words and figures."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from experiments.lab import choices
from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import (
    DIFFERS,
    ELSEWHERE,
    Answer,
    Findings,
    Plot,
    Table,
    together,
)
from lincls.evaluation import Interval

SLIDES = "20-22"
QUESTION = "Which k and which distance?"
CLAIM = (
    "Choosing hyperparameters on the test set is a very bad idea; it is used once, at the end "
    "(20). In cross-validation each fold validates once, and the results are averaged (21). In "
    "the 5-fold example k of about 7 works best (22)."
)
SECONDS = 3
SLIDE_K = 7
RULES = ("best", "one_standard_error")


def findings(record: Record) -> Findings:
    """The choice, its one test, and by how much choosing on the test set overstates accuracy."""
    best, overstated = _chosen(record), _overstated(record)
    folds = _of(record, -1, best)
    parts, total = record.arrays["flattery_of_parts"], record.arrays["test_right"].shape[-1]
    bias = (
        f"Choosing on {total // len(parts) // 2:,} test examples overstates accuracy by "
        f"{_points(overstated)} (95 % CI)"
    )
    sentences = [
        f"Cross-validation chooses {_named(best)}: {words.percent(folds.mean())} accuracy on "
        f"held-out folds (standard deviation {100 * folds.std(ddof=1):.1f} points).",
        f"Tested once, this choice reaches {words.accuracy(record.classifiers[0])}.",
        f"{bias}.",
    ]
    whole = f"on {total // 2:,}, by {100 * record.arrays['flattery'].mean():.1f} points"
    answers = {
        "20": Answer(intervals.above_zero(overstated), f"{bias}; {whole}."),
        "22": _of_seven(record),
    }
    return Findings(sentences, answers, (_table(record),))


def _chosen(record: Record) -> dict[str, Any]:
    """The pair that cross-validation chose on the most examples."""
    return record.numbers["choices"][-1]["best"]


def _named(pair: dict[str, Any]) -> str:
    return f"k = {pair['k']} with {choices.NAMES[pair['metric']]}"


def _of(record: Record, place: int, pair: dict[str, Any]) -> np.ndarray:
    """The accuracies (folds,) of a pair on one of the sizes."""
    return record.arrays[pair["metric"]][place, record.settings["ks"].index(pair["k"])]


def _overstated(record: Record) -> Interval:
    """By how much a choice on half of a part exceeds the other half, over disjoint parts."""
    return intervals.of_mean(record.arrays["flattery_of_parts"].mean(axis=1))


def _near(record: Record) -> int:
    """The k that was tried nearest to the slide's."""
    return min(record.settings["ks"], key=lambda k: abs(k - SLIDE_K))


def _of_seven(record: Record) -> Answer:
    """Whether the slide's k is better than both ends and no worse than the choice."""
    best, near, ks = _chosen(record), _near(record), record.settings["ks"]
    of_near, minus_choice = _of(record, -1, best | {"k": near}), _minus_choice(record, -1)
    low, high = (intervals.of_mean(of_near - _of(record, -1, best | {"k": k}))
                 for k in (min(ks), max(ks)))  # fmt: skip
    verdict = DIFFERS if minus_choice.high < 0 else together(map(intervals.above_zero, (low, high)))
    return Answer(
        verdict if record.data["name"] == "cifar10" else ELSEWHERE,
        f"Cross-validation chooses {_named(best)}. k = {near} minus the choice: "
        f"{_points(minus_choice)}; minus k = {min(ks)}: {_points(low)}; minus k = {max(ks)}: "
        f"{_points(high)} (95 % CI).",
    )


def _points(difference: Interval) -> str:
    return "0 points" if np.allclose(difference, 0) else words.points(difference)


def _minus_choice(record: Record, place: int) -> Interval:
    """How far the slide's k is above the choice, by the choice's distance.

    For each fold the others choose, and this fold compares.  On the folds that chose, the
    best of many pairs is above any other by chance already.
    """
    near, metrics = record.settings["ks"].index(_near(record)), record.settings["metrics"]
    table = np.stack([record.arrays[name][place] for name in metrics])  # (metrics, ks, folds)
    apart = []
    for fold in range(table.shape[-1]):
        others = np.delete(table, fold, axis=-1).mean(axis=-1)
        metric, k = np.unravel_index(others.argmax(), others.shape)
        apart.append(table[metric, near, fold] - table[metric, k, fold])
    return intervals.of_mean(np.array(apart))


def _table(record: Record) -> Table:
    """What is chosen on how many training examples, and the slide's k beside it."""
    rows = []
    for place, size in enumerate(record.numbers["sizes"]):
        best, simplest = (record.numbers["choices"][place][how] for how in RULES)
        accuracy = words.percent(_of(record, place, best).mean())
        difference = _points(_minus_choice(record, place))
        rows.append((f"{size:,}", _named(best), accuracy, _named(simplest), difference))
    header = ("training examples", "choice", "held-out folds", "one-standard-error rule",
              f"k = {_near(record)} minus the choice (95 % CI)")  # fmt: skip
    caption = (
        "Cross-validation by the number of training examples. The rule takes the largest k within "
        "one standard error of the best."
    )
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The folds (slide 21), the accuracy of every k (slide 22), and the test set beside them."""
    yield _draw_split(record)
    yield _draw_choice(record)
    yield _draw_test(record)


def _draw_split(record: Record) -> Plot:
    """What is trained on, what validates, and what is kept for the test."""
    folds, labels = record.arrays["folds"], record.arrays["labels"]
    counts, size, num_test = np.bincount(folds), len(folds), record.data["num_test"]
    rounds, last = range(len(counts)), counts[-1]
    of_class = [np.bincount(labels[folds == n], minlength=labels.max() + 1) for n in rounds]
    bars: list[tuple[str, Any, int | None, list[str]]] = [
        ("all data", [size], None, ["training set"]),
        ("one split", [size - last, last], 1, ["train", "validate"]),
        *((f"round {n + 1}", counts, n, [f"fold {m + 1}" for m in rounds]) for n in rounds),
    ]
    title = f"Each training example validates once in {len(counts)} rounds"
    figure, axes = style.canvas(height=2.9, title=title)
    for row, (_, widths, held_out, texts) in enumerate(bars):
        colors = [style.ORANGE if n == held_out else style.SKY for n in range(len(widths))]
        parts = axes.barh(row, widths, 0.76, np.cumsum(widths) - widths, color=colors)
        axes.bar_label(parts, texts, label_type="center", size=8.5)
        kept = axes.barh(row, num_test, 0.76, 1.03 * size, color="#D0D0D0")
        axes.bar_label(kept, ["" if row else "test set"], label_type="center", size=8.5)
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.set(ylim=(len(bars) - 0.5, -0.5), xlim=(0, 1.03 * size + num_test))
    axes.set_xlabel("training example, in file order", x=0.5 * size / (1.03 * size + num_test))
    style.ticks(axes, [*(np.cumsum(counts) - counts).tolist(), size])
    axes.grid(False)
    axes.tick_params(axis="y", length=0)
    return Plot(
        "folds",
        figure,
        "Blue trains, orange validates; grey is the test set, which no round touches. One split "
        f"is the last round alone. Each fold holds {np.min(of_class):,} to {np.max(of_class):,} "
        "examples of each class.",
        f"Bars of training, validation and test examples. {title}.",
    )


def _draw_choice(record: Record) -> Plot:
    """Slide 22's figure: points, means, standard deviations, a panel for each distance."""
    title = f"Cross-validation chooses {_named(_chosen(record))}"
    figure, places = _panels(record, title)
    for axes, name in zip(places, record.settings["metrics"], strict=True):
        _draw_folds(axes, name, record)
    style.legend(figure, "training examples")
    return Plot(
        "cross_validation",
        figure,
        f"{record.settings['num_folds']}-fold cross-validation on the first training examples. "
        "Points: single folds of the largest run; bars: one standard deviation. The ring marks the "
        "choice.",
        f"Accuracy against k, one panel for each distance. {title}.",
    )


def _panels(record: Record, title: str) -> tuple[Any, Any]:
    """A panel of accuracy against k for each distance."""
    metrics, ks = record.settings["metrics"], record.settings["ks"]
    figure, places = style.canvas(
        1, len(metrics), height=3.2, title=title, sharey=True, squeeze=False
    )
    for axes, name in zip(places[0], metrics, strict=True):
        axes.set(title=choices.NAMES[name], xlabel="neighbours k", xscale="log")
        style.ticks(axes, [k for k in ks if k in (1, 3, 7, 20, 50, 100)] or ks)
        axes.margins(y=0.09)  # room for a ring at the top
    places[0, 0].set_ylabel("accuracy (%)")
    return figure, places[0]


def _draw_folds(axes: Axes, name: str, record: Record) -> None:
    """One panel: a line for each size, the folds of the largest, the choice."""
    ks, sizes = record.settings["ks"], record.numbers["sizes"]
    best, scores = _chosen(record), 100 * record.arrays[name]
    for place, size in enumerate(sizes[:-1]):
        grey = mpl.colormaps["Greys"](0.35 + 0.3 * place / len(sizes))
        axes.plot(ks, scores[place].mean(1), color=grey, label=f"{size:,}")
    mean, color = scores[-1].mean(1), style.COLORS[name]
    axes.plot(ks, scores[-1], ".", color=style.FAINT, ms=5)
    axes.plot(ks, mean, color=color, label=f"{sizes[-1]:,}, {choices.NAMES[name]}")
    axes.errorbar(ks, mean, scores[-1].std(1, ddof=1), fmt="none", color=color, capsize=3)
    if name == best["metric"]:
        _ring(axes, best["k"], 100 * _of(record, -1, best).mean(), style.RED, 14)


def _ring(axes: Axes, k: int, accuracy: float, color: str, size: float) -> None:
    axes.plot(k, accuracy, "o", ms=size, mfc="none", mec=color, mew=2)


def _draw_test(record: Record) -> Plot:
    """The means of the folds and the test accuracy of every k, and what either would choose."""
    ks, best, on_test = record.settings["ks"], _chosen(record), record.numbers["on_test"]
    title = f"The test set would choose {_named(on_test)}"
    figure, places = _panels(record, title)
    shares = 100 * record.arrays["test_right"].mean(axis=-1)
    for axes, name, share in zip(places, record.settings["metrics"], shares, strict=True):
        axes.plot(ks, 100 * record.arrays[name][-1].mean(axis=1), color=style.COLORS[name],
                  marker="o", ms=4, label="mean of the folds")  # fmt: skip
        axes.plot(ks, share, "--", color=style.INK, marker="s", ms=4, label="test set")
        if name == best["metric"]:
            _ring(axes, best["k"], 100 * _of(record, -1, best).mean(), style.RED, 14)
        if name == on_test["metric"]:
            _ring(axes, on_test["k"], share[ks.index(on_test["k"])], style.PURPLE, 9)
    places[-1].legend()
    return Plot(
        "test_set",
        figure,
        "Every k on the test set, shown on purpose after the choice. The large red ring is the "
        "choice of cross-validation, the small purple one that of the test set.",
        f"Accuracy on the folds and on the test set against k. {title}.",
    )
