"""What `experiments.softmax_loss` found, told and drawn."""

from collections.abc import Iterator

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
QUESTION = "How do the softmax and SVM losses judge the same scores?"
CLAIM = (
    "Scores are unnormalised log probabilities, and the loss is −log of the correct class's "
    "probability: 0.89 for the cat (44). On one example the SVM loss is 1.58 and the softmax loss "
    "0.452 (46). What do both losses do when the scores change slightly (47)?"
)
SECONDS = 5
NEAR = 0.02  # relative difference between the loss at small W and log C
BASE_10 = "a logarithm to base 10; the loss takes the natural one"


def findings(record: Record) -> Findings:
    """The worked examples beside the slides, slide 47's question, small weights, calibration."""
    printed, losses = _printed(record), record.arrays["softmax_examples"]
    of_44, of_46 = ([one for one in printed if one.slide == slide] for slide in ("44", "46"))
    small, log_classes = record.numbers["small"], float(np.log(record.numbers["num_classes"]))
    begins = AGREES if abs(small / log_classes - 1) < NEAR else DIFFERS
    moved = _about_moves(record)
    sentences = [
        f"The losses are {losses[0]:.2f} (44) and {losses[1]:.2f} (46); the slides print base-10 "
        "logarithms, 0.89 and 0.452.",
        f"{words.capital(moved)}.",
        _about_calibration(record),
    ]
    answers = {
        "43-45": Answer(
            together([words.agreement(of_44), begins]),
            f"{words.compared(of_44)}; at small W the loss is {small:.3f}, and log C is "
            f"{log_classes:.3f}",
        ),
        "46-47": Answer(words.agreement(of_46), f"{words.compared(of_46)}; {moved}"),
    }
    return Findings(sentences, answers, (_calibration_table(record),), printed)


def _printed(record: Record) -> tuple[Printed, ...]:
    """Slides 44 and 46, number by number."""
    softmax, svm = record.arrays["softmax_examples"], record.arrays["svm_examples"]
    scores = np.array(record.numbers["scores"], np.float64)
    cat, example = np.exp(np.array(CAT)), np.exp(scores)
    rounded = "computed from rounded exponentials"
    rows = (
        ("44", "e^s, class {}", "24.5 164.0 0.18", cat, ""),
        ("44", "probability, class {}", "0.13 0.87 0.00", cat / cat.sum(), ""),
        ("44", "softmax loss", "0.89", softmax[:1], BASE_10),
        ("46", "score, class {}", "-2.85 0.86 0.28", scores, ""),
        ("46", "e^s, class {}", "0.058 2.36 1.32", example, ""),
        ("46", "probability, class {}", "0.016 0.631 0.353", example / example.sum(), rounded),
        ("46", "hinge", "1.58", svm[1:2], ""),
        ("46", "softmax loss", "0.452", softmax[1:2], BASE_10),
    )
    return tuple(
        Printed(slide, what.format(place), text, float(number), why)
        for slide, what, texts, found, why in rows
        for place, (text, number) in enumerate(zip(texts.split(), found, strict=True), 1)
    )


def _about_moves(record: Record) -> str:
    """Slide 47: in how many of its examples each loss changes when the correct score falls."""
    examples = (record.arrays[f"{name}_examples"] for name in ("svm", "softmax"))
    svm, softmax = (np.count_nonzero(of[5:8] - of[2:5]) for of in examples)
    return (
        f"lowering the correct score by {record.settings['change']:g} changes the SVM loss in "
        f"{svm} of 3 examples and the softmax loss in {softmax} (47)"
    )


def _about_calibration(record: Record) -> str:
    errors = [f"{words.percent(one['error'])} at {one['reg']:g}"
              for one in record.numbers["calibration"]]  # fmt: skip
    return f"The calibration error by strength of L2 is {', '.join(errors)}."


def _calibration_table(record: Record) -> Table:
    arrays = record.arrays
    counts = zip(arrays["bin_right"].sum(axis=1), arrays["bin_total"].sum(axis=1), strict=True)
    rows = [
        (f"{one['reg']:g}", words.percent(one["confidence"]),
         words.of_count(int(right), int(total)), words.percent(one["error"]),
         f"{one['log_loss']:.3f}")
        for one, (right, total) in zip(record.numbers["calibration"], counts, strict=True)
    ]  # fmt: skip
    header = ("strength", "mean probability", "accuracy", "calibration error", "softmax loss")
    caption = "Probabilities of the predicted class on held-out examples, by strength of L2."
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """Both losses on moved scores; the calibration of the probabilities."""
    yield _draw_losses(record)
    yield _draw_reliability(record)


def _draw_losses(record: Record) -> Plot:
    """Slide 47: both losses against the correct score, one panel per example."""
    svm, softmax = (record.arrays[f"{name}_examples"][3] for name in ("svm", "softmax"))
    title = f"At scores 10, 9, 9 the SVM loss is {svm:.0f}, softmax {softmax:.2f}"
    figure, axes = style.canvas(1, 3, height=3.1, title=title, sharey=True)
    for place, scores in enumerate(MOVED):
        _draw_moves(axes[place], record, place)
        axes[place].set_title("others {:g} and {:g}".format(*scores[1:]).replace("-", "−"))
    axes[0].set_ylabel("loss")
    style.legend(figure)
    return Plot(
        "moved_scores",
        figure,
        "The three examples of slide 47: the correct score moves, the others stay. Dots: the "
        "scores of the slide. The SVM loss is 0 right of its kink; the softmax loss stays above 0.",
        "Three line charts of the SVM and softmax losses against the correct score: kinked lines "
        f"beside smooth ones. {title}.",
    )


def _draw_moves(axes: Axes, record: Record, place: int) -> None:
    for name, line, size in (("svm", "-", 9), ("softmax", "--", 5)):
        color, losses = style.COLORS[name], record.arrays[f"{name}_swept"][place]
        axes.plot(record.arrays["rights"], losses, line, color=color, label=choices.NAMES[name])
        loss = record.arrays[f"{name}_examples"][2 + place]
        axes.plot(10, loss, "o", ms=size, color=color, zorder=3)
    axes.set(xlabel="correct score", ylim=(-0.4, 8))
    style.ticks(axes, (0, 5, 10, 15))


def _draw_reliability(record: Record) -> Plot:
    found, arrays = record.numbers["calibration"], record.arrays
    first, last = (words.percent(found[at]["error"]) for at in (0, -1))
    regs = found[0]["reg"], found[-1]["reg"]
    title = f"Calibration error: {first} at strength {regs[0]:g}, {last} at {regs[1]:g}"
    figure, axes = style.canvas(
        2, len(found), height=3.8, title=title, sharex=True, sharey="row", squeeze=False,
        gridspec_kw={"height_ratios": [3, 1]},
    )  # fmt: skip
    bins = (arrays[f"bin_{name}"] for name in ("total", "right", "confidence"))
    for column, one, *of_one in zip(axes.T, found, *bins, strict=True):
        _draw_bins(*column, *of_one)
        column[0].set_title(f"λ = {one['reg']:g}\nECE {words.percent(one['error'])}")
    axes[0, 0].set_ylabel("accuracy (%)")
    axes[1, 0].set_ylabel("examples\n(%)")
    figure.supxlabel("probability of the predicted class (%)", size=11)
    return Plot(
        "reliability",
        figure,
        f"Top: accuracy by probability with 95 % CI, on {int(arrays['bin_total'][0].sum()):,} "
        "held-out examples. Below the dotted line the classifier is overconfident; ECE, the "
        "expected calibration error, is the mean distance from the line. Bottom: the share of the "
        "examples in each bin.",
        "Reliability diagrams, one per strength of L2: accuracy against probability, above "
        f"histograms. {title}.",
    )


def _draw_bins(
    top: Axes, bottom: Axes, count: np.ndarray, right: np.ndarray, confidence: np.ndarray
) -> None:
    """One reliability diagram over its histogram."""
    seen = count > 0
    share = right[seen] / count[seen]
    pairs = zip(right[seen], count[seen], strict=True)
    ends = np.array([evaluation.wilson_interval(int(hits), int(total)) for hits, total in pairs])
    top.plot([0, 100], [0, 100], ":", color=style.INK, lw=1.5)
    top.errorbar(100 * confidence[seen], 100 * share, 100 * np.abs(ends.T - share), fmt="o-", ms=4,
                 lw=1.5, capsize=2, color=style.BLUE)  # fmt: skip
    width = 100 / len(count)
    places = width * (np.arange(len(count)) + 0.5)
    bottom.bar(places, 100 * count / count.sum(), 0.9 * width, color=style.SKY)
    top.set(xlim=(0, 104), ylim=(-4, 104))
    style.ticks(bottom, (0, 50, 100))
