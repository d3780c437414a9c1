"""What `experiments.svm_loss` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from experiments.lab.record import Record
from experiments.report import style, words
from experiments.report.findings import AGREES, DIFFERS, Answer, Findings, Plot, Printed, Table
from experiments.svm_loss import SCORES

SLIDES = "32-40"
QUESTION = "What does the SVM loss penalise?"
CLAIM = (
    "The correct class should score at least 1 above every other class; the loss adds up what is "
    "missing. The three examples have losses of 2.9, 0 and 10.9, with a mean of 4.6 (36). If the "
    "loss is 0 with W, it is 0 with 2W too (40)."
)
SECONDS = 1
CLASSES = ("cat", "car", "frog")
TOLERANCE = 1e-4  # what float32 may lose in the loss of an example
NEAR = 0.02  # relative difference between the loss at small W and C - 1


def findings(record: Record) -> Findings:
    """The losses beside the slides', the lecture's function beside ours, twice the W."""
    printed, numbers, arrays = _printed(record), record.numbers, record.arrays
    apart, small, expected = numbers["slide_38"], numbers["small"], numbers["num_classes"] - 1
    same = apart < TOLERANCE and abs(small / expected - 1) < NEAR
    unique = arrays["table_hinge"][1] != 0 or arrays["multiplied_hinge"][1] != 0
    function = f"L_i_vectorized (38) and losses.hinge differ by at most {words.power(apart)}"
    start = f"at small W the loss is {small:.3f}, and C − 1 is {expected}"
    multiple = "the car has a loss of {:.3g} with W and {:.3g} with {:g}W".format(
        arrays["table_hinge"][1], arrays["multiplied_hinge"][1], record.settings["factor"]
    )
    sentences = [
        "The losses are {:.3g}, {:.3g} and {:.3g}; ".format(*arrays["table_hinge"])
        + "the slides print 2.9, 0 and 10.9.",
        f"{function}; {start}.",
        f"W is {'unique' if unique else 'not unique'}: {multiple}.",
    ]
    answers = {
        "32-36": Answer(words.agreement(printed), words.compared(printed)),
        "37-38": Answer(AGREES if same else DIFFERS, f"{function}; {start}"),
        "39-40": Answer(DIFFERS if unique else AGREES, multiple),
    }
    return Findings(sentences, answers, (_questions(record),), printed)


def _printed(record: Record) -> tuple[Printed, ...]:
    losses = record.arrays["table_hinge"]
    why = "the 1 is missing in both terms, and 2.5 is misread as 2.3"
    return (
        Printed("33", "loss of the cat", "2.9", float(losses[0])),
        Printed("34", "loss of the car", "0", float(losses[1])),
        Printed("35", "loss of the frog", "10.9", float(losses[2]), why),
        Printed("36", "mean loss", "4.6", float(losses.mean()), "follows from slide 35"),
    )


def _questions(record: Record) -> Table:
    """The questions of slide 37, each with a number and a reason."""
    numbers, mean = record.numbers, record.arrays["table_hinge"].mean()
    squared = "{:.4g}, {:.4g}, {:.4g}".format(*record.arrays["table_squared"])
    rows = [
        ("the sum has all classes", f"{mean:.3f} → {numbers['all_classes']:.3f}",
         "The correct class adds max(0, 0 + 1) = 1. The best W is the same."),
        ("the mean replaces the sum", f"{mean:.3f} → {mean / 2:.3f}",
         "Every loss is divided by C − 1 = 2. The best W is the same."),
        ("the max is squared", squared,
         "A different loss: large violations count more, and the best W can change."),
        ("the scores vary", "0; no maximum",
         "0 once every margin is 1. It grows without bound as the correct score falls."),
        ("W is small", f"{numbers['small']:.3f}",
         "All scores are near 0, so each of the C − 1 wrong classes adds about 1."),
    ]  # fmt: skip
    return Table("The questions of slide 37.", ("what if", "loss", "why"), rows)


def draw(record: Record) -> Iterator[Plot]:
    """The margins of the table as lengths; the loss against the correct score and against c."""
    yield _draw_margins(record)
    yield _draw_curves(record)


def _draw_margins(record: Record) -> Plot:
    losses = record.arrays["table_hinge"]
    title = "Bars past the margin add up: losses {:.3g}, {:.3g} and {:.3g}".format(*losses)
    figure, axes = style.canvas(3, 1, height=4.6, title=title, sharex=True)
    for label, (place, loss) in enumerate(zip(axes, losses, strict=True)):
        _draw_example(place, SCORES[label], label)
        place.set_title(f"loss {loss:.3g}", loc="right", pad=3)
    axes[-1].set_xlabel("score")
    return Plot(
        "margins",
        figure,
        "One panel for each image of slide 32. Ring: the score of the correct class; dashed line: "
        "that score minus 1. A wrong class past the line adds the length of its red bar to the "
        "loss.",
        "Three panels with the scores of cat, car and frog, and a red bar for every score past "
        f"the margin. {title}.",
    )


def _draw_example(axes: Axes, scores: np.ndarray, label: int) -> None:
    """One image: a line per class, and a bar for each wrong score past the margin."""
    margin = scores[label] - 1
    axes.axvline(margin, color=style.INK, ls="--", lw=1.5)
    for line, score in enumerate(scores):
        if line == label:
            axes.plot(score, line, "o", ms=11, mfc="white", mew=2.5, color=style.BLUE)
        elif score > margin:
            axes.barh(line, score - margin, 0.4, margin, color=style.RED)
            axes.text(score + 0.1, line, f"{score - margin:.1f}", va="center", color=style.RED)
        else:
            axes.plot(score, line, "o", ms=7, color=style.FAINT)
    axes.set_yticks(range(3), CLASSES)
    axes.set(ylim=(2.6, -0.6), xlim=(-5, 6.5), ylabel=f"a {CLASSES[label]}")
    axes.grid(False, axis="y")


def _draw_curves(record: Record) -> Plot:
    arrays = record.arrays
    lead = arrays["rights"][arrays["rights_table_hinge"] == 0].min()
    title = f"The loss is 0 once the correct score leads by {lead:.1f}"
    figure, (left, right) = style.canvas(1, 2, height=3.3, title=title)
    left.plot(arrays["rights"], arrays["rights_table_hinge"], color=style.RED, label="hinge")
    left.plot(arrays["rights"], arrays["rights_table_squared"], "--", color=style.PURPLE,
              label="squared hinge")  # fmt: skip
    left.set(xlabel="correct score (the others are 0)", ylabel="loss", ylim=(-1, 42))
    lines = arrays["factors_table_hinge"].reshape(-1, 3).T
    for values, name, marker in zip(lines, CLASSES, style.MARKERS, strict=False):
        right.plot(arrays["factors"], values, marker=marker, markevery=15, label=name)
    right.set(xlabel="factor c", ylabel="loss with cW")
    for axes in (left, right):
        axes.legend()
    return Plot(
        "curves",
        figure,
        "Left: three classes, of which the correct score moves; the squared hinge punishes large "
        "violations more. Right: the losses of slide 32's images when W is multiplied by c.",
        "Two line charts: losses that fall to zero as the correct score rises, and the losses of "
        f"three images against a factor of W. {title}.",
    )
