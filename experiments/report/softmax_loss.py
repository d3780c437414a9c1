"""What `experiments.softmax_loss` found, told and drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.lab import choices
from experiments.lab.record import Record
from experiments.report import style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    Answer,
    Findings,
    Plot,
    Printed,
    Table,
    together,
)
from experiments.softmax_loss import CAT, MOVED
from lincls import evaluation

SLIDES = "43-47"
QUESTION = "What do softmax and SVM make of the same scores?"
CLAIM = (
    "Scores are unnormalised log probabilities; the loss is −log of the right one: 0.89 for the "
    "cat (44). On one example the SVM has a loss of 1.58, softmax 0.452 (46). What becomes of "
    "both losses if a score changes slightly (47)?"
)
SECONDS = 5
NEAR = 0.02  # relative distance of a loss at small W to log C
BASE_10 = "a logarithm to base 10; the loss takes the natural one"


def _shares(scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """e to the scores, and those numbers divided by their sum (slide 43)."""
    powers = np.exp(np.asarray(scores, np.float64))
    return powers, powers / powers.sum()


def findings(record: Record) -> Findings:
    """The worked examples beside the slides, small weights, and slide 47's question."""
    softmax, printed = record.arrays["softmax_examples"], _printed(record)
    classes, small = record.numbers["num_classes"], record.numbers["small"]
    sentences = [
        f"The cat of slide 44 has a loss of {softmax[0]:.4f}, the example of slide 46 one of "
        f"{softmax[1]:.4f}, in nats.",
        f"At small W the loss is {small:.4f} on these data; log C = log {classes} is "
        f"{np.log(classes):.4f}, and any training should begin there.",
        "The least loss is 0, approached but never reached while the scores are finite; there is "
        f"no greatest one. With scores 10, −2, 3 it is {words.power(float(softmax[2]))}.",
        _about_moves(record),
        _about_probabilities(record),
    ]
    tables = (_moves(record), _calibration_table(record))
    of_44, of_46 = ([one for one in printed if one.slide == slide] for slide in ("44", "46"))
    log_classes = float(np.log(classes))
    begins = AGREES if abs(small / log_classes - 1) < NEAR else DIFFERS
    by_slides = {
        "43-45": Answer(
            together([words.agreement(of_44), begins]),
            f"{words.compared(of_44)}; at small W the loss is {small:.4f}, log C {log_classes:.4f}",
        ),
        "46-47": Answer(
            words.agreement(of_46), f"{words.compared(of_46)}; {_about_moves_shortly(record)}"
        ),
    }
    return Findings(sentences, by_slides, tables, printed)


def _printed(record: Record) -> tuple[Printed, ...]:
    """Slides 44 and 46, number by number."""
    (powers, shares), scores = _shares(CAT), record.numbers["scores"]
    of_46, shares_46 = _shares(scores)
    softmax, svm = record.arrays["softmax_examples"], record.arrays["svm_examples"]
    rounded = "computed from rounded exponentials"
    lines = [
        *_row("44", "e^s", ("24.5", "164.0", "0.18"), powers),
        *_row("44", "probability", ("0.13", "0.87", "0.00"), shares),
        Printed("44", "softmax loss", "0.89", float(softmax[0]), BASE_10),
        *_row("46", "score", ("-2.85", "0.86", "0.28"), scores),
        *_row("46", "e^s", ("0.058", "2.36", "1.32"), of_46),
        *_row("46", "probability", ("0.016", "0.631", "0.353"), shares_46, rounded),
        Printed("46", "hinge", "1.58", float(svm[1])),
        Printed("46", "softmax loss", "0.452", float(softmax[1]), BASE_10),
    ]
    return tuple(lines)


def _row(slide: str, what: str, printed: Any, found: Any, why: str = "") -> list[Printed]:
    """One line of an example: a number for each class."""
    return [
        Printed(slide, f"{what}, class {place}", text, float(number), why)
        for place, (text, number) in enumerate(zip(printed, found, strict=True), 1)
    ]


def _changes(record: Record, name: str) -> np.ndarray:
    """How much each moved example's loss grows when the right score falls."""
    examples = record.arrays[f"{name}_examples"]
    return examples[5:8] - examples[2:5]


def _about_moves(record: Record) -> str:
    svm, softmax = _changes(record, "svm"), _changes(record, "softmax")
    return (
        f"Let the right score fall by {record.settings['change']:g}: the SVM's loss changes in "
        f"{np.count_nonzero(svm)} of the three examples of slide 47, only where a margin is "
        f"touched; softmax's changes in {np.count_nonzero(softmax)} as far as float32 can tell, "
        "and by little where the right class is far ahead."
    )


def _about_moves_shortly(record: Record) -> str:
    """Slide 47's question, what a datapoint does to the losses when it is jiggled, in a line."""
    svm, softmax = _changes(record, "svm"), _changes(record, "softmax")
    told = ", ".join(
        f"[{', '.join(f'{score:g}' for score in scores)}] by {words.power(float(of_svm))} and "
        f"{words.power(float(of_softmax))}"
        for scores, of_svm, of_softmax in zip(MOVED, svm, softmax, strict=True)
    )
    return (
        f"a datapoint jiggled so that the right score falls by {record.settings['change']:g} "
        f"raises the SVM's and the softmax loss of {told}"
    )


def _moves(record: Record) -> Table:
    """Slide 47: both losses, before and after the right score falls."""
    rows = [
        (
            f"[{', '.join(f'{score:g}' for score in scores)}]",
            *(
                f"{words.power(float(record.arrays[f'{name}_examples'][place + shift]), 3)}"
                for name in ("svm", "softmax")
                for shift in (2, 5)
            ),
        )
        for place, scores in enumerate(MOVED)
    ]
    down = f"10 − {record.settings['change']:g}"
    header = ("scores", "SVM", f"SVM at {down}", "softmax", f"softmax at {down}")
    return Table("The examples of slide 47, the first class the right one.", header, rows)


def _about_probabilities(record: Record) -> str:
    """The strength moves the probabilities: which is nearest to the truth, which farthest."""
    found = record.numbers["calibration"]
    count = int(record.arrays["bin_total"][0].sum())
    nearest, farthest = (pick(found, key=lambda one: one["error"]) for pick in (min, max))
    side = "too sure" if farthest["confidence"] > farthest["accuracy"] else "not sure enough"
    return (
        f"Are the probabilities what they are called? On {count:,} held-out training examples they "
        f"are off by {nearest['error']:.1%} on average at strength {nearest['reg']:g} (expected "
        f"calibration error) and by {farthest['error']:.1%} at {farthest['reg']:g}, where they are "
        f"{side}: {farthest['confidence']:.1%} on average, {farthest['accuracy']:.1%} are right."
    )


def _calibration_table(record: Record) -> Table:
    rows = [
        (f"{one['reg']:g}", f"{one['confidence']:.1%}", f"{one['accuracy']:.1%}",
         f"{one['error']:.1%}", f"{one['log_loss']:.3f}")
        for one in record.numbers["calibration"]
    ]  # fmt: skip
    header = ("strength", "mean probability", "right", "calibration error", "softmax loss")
    return Table("Probabilities of the predicted class on held-out examples.", header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """Both losses on moved scores; how far the probabilities can be believed."""
    yield _draw_losses(record)
    yield _draw_reliability(record)


def _draw_reliability(record: Record) -> Plot:
    found, arrays = record.numbers["calibration"], record.arrays
    first, last = found[0], found[-1]
    title = (
        f"Strength {last['reg']:g} makes softmax less sure: {last['confidence']:.0%} on average, "
        f"{first['confidence']:.0%} at {first['reg']:g}"
    )
    if first["confidence"] <= last["confidence"]:
        title = f"Probabilities are {first['confidence']:.0%} on average at {first['reg']:g}"
    figure, axes = style.canvas(
        2, len(found), height=3.8, title=title, sharex=True, sharey="row",
        gridspec_kw={"height_ratios": [3, 1]},
    )  # fmt: skip
    for column, one, *bins in zip(
        axes.T, found, *(arrays[f"bin_{name}"] for name in ("total", "right", "confidence")),
        strict=True,
    ):  # fmt: skip
        _draw_bins(column, one, *bins)
    axes[0, 0].set_ylabel("right (%)")
    axes[1, 0].set_ylabel("examples\n(%)")
    figure.supxlabel("probability of the predicted class (%)", size=11)
    return Plot(
        "reliability",
        figure,
        f"Top: of the predictions made with a probability, how many are right, in "
        f"{record.settings['num_bins']} bins of equal width with 95% intervals, on "
        f"{int(arrays['bin_total'][0].sum()):,} held-out training examples. On the dotted line "
        "probabilities are frequencies; below it the classifier is too sure, above it not sure "
        "enough. ECE, the expected calibration error, is the mean distance from that line. "
        "Bottom: the share of the examples in each bin.",
        "Reliability diagrams, one per strength of the L2 penalty: accuracy against probability "
        f"beside the diagonal, above histograms. {title}.",
    )


def _draw_bins(
    column: Any, one: Any, count: np.ndarray, right: np.ndarray, confidence: np.ndarray
) -> None:
    """One reliability diagram over its histogram."""
    top, bottom = column
    seen = count > 0
    share = right[seen] / count[seen]
    pairs = zip(right[seen], count[seen], strict=True)
    ends = np.array([evaluation.wilson_interval(int(hits), int(total)) for hits, total in pairs])
    top.plot([0, 100], [0, 100], ":", color=style.INK, lw=1.5)
    top.errorbar(100 * confidence[seen], 100 * share, 100 * np.abs(ends.T - share), fmt="o-", ms=4,
                 lw=1.5, capsize=2, color=style.BLUE)  # fmt: skip
    top.set_title(f"λ = {one['reg']:g}\nECE {one['error']:.1%}")
    width = 100 / len(count)
    places = width * (np.arange(len(count)) + 0.5)
    bottom.bar(places, 100 * count / count.sum(), 0.9 * width, color=style.SKY)
    top.set(xlim=(0, 104), ylim=(0, 104))
    style.ticks(bottom, (0, 50, 100))


def _draw_losses(record: Record) -> Plot:
    """Slide 47: both losses against the right score, one panel per example."""
    loss = record.arrays["softmax_examples"][3]
    title = f"At 10 against 9 and 9 the SVM is content, softmax still has a loss of {loss:.2f}"
    figure, axes = style.canvas(1, 3, height=3.1, title=title, sharey=True)
    for place, scores in enumerate(MOVED):
        _draw_moves(axes[place], record, place)
        axes[place].set_title("others {:g} and {:g}".format(*scores[1:]).replace("-", "−"))
    axes[0].set_ylabel("loss")
    style.legend(figure)
    return Plot(
        "moved_scores",
        figure,
        "The three examples of slide 47: the score of the right class moves, the others stay. "
        "Dots: the scores of the slide, with 10 for the right class. The SVM's loss is exactly 0 "
        "right of its kink (at 10 in the middle panel); softmax's falls on and on.",
        "Three line charts of the SVM's and the softmax loss against the right score: kinked "
        f"lines beside smooth ones. {title}.",
    )


def _draw_moves(axes: Axes, record: Record, place: int) -> None:
    for name, line in (("svm", "-"), ("softmax", "--")):
        color, label = style.COLORS[name], choices.NAMES[name]
        swept = record.arrays[f"{name}_swept"][place]
        axes.plot(record.arrays["rights"], swept, line, color=color, label=label)
        axes.plot(10, record.arrays[f"{name}_examples"][2 + place], "o", color=color, zorder=3)
    axes.set(xlabel="right score", ylim=(-0.4, 8))
    style.ticks(axes, (0, 5, 10, 15))
