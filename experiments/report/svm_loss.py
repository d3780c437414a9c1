"""What `experiments.svm_loss` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from experiments.lab.record import Record
from experiments.report import style, words
from experiments.report.findings import AGREES, DIFFERS, Answer, Findings, Plot, Printed, Table
from experiments.svm_loss import SCORES

SLIDES = "32-40"
QUESTION = "What does the SVM loss ask of the scores?"
CLAIM = (
    "The score of the right class is to exceed every other by 1; what is missing is added up. On "
    "the table of three examples that gives 2.9, 0 and 10.9, a mean of 4.6 (36). A W without "
    "loss is not the only one: twice the W has no loss either (40)."
)
SECONDS = 1
CLASSES = ("cat", "car", "frog")
TOLERANCE = 1e-4  # what float32 may lose in the scores of an example
NEAR = 0.02  # relative distance of a loss at small W to what it is without any


def findings(record: Record) -> Findings:
    """Slide 36's numbers beside ours, and the questions of slides 37 to 39 with answers."""
    printed = _printed(record)
    hinges = record.arrays["table_hinge"]
    sentences = [
        f"The hinges of the table are {hinges[0]:.3g}, {hinges[1]:.3g} and {hinges[2]:.3g}, their "
        f"mean is {hinges.mean():.4f}.",
        f"L_i_vectorized of slide 38 and lincls.losses.hinge differ by at most "
        f"{words.power(record.numbers['slide_38'])} on {record.numbers['num_examples']} training "
        f"examples, in float32.",
        _about_multiples(record),
    ]
    small, least = record.numbers["small"], record.numbers["num_classes"] - 1
    answered = record.numbers["slide_38"] < TOLERANCE and abs(small / least - 1) < NEAR
    by_slides = {
        "32-36": Answer(words.agreement(printed[:-1]), words.compared(printed[:-1])),
        "37-38": Answer(
            AGREES if answered else DIFFERS,
            f"L_i_vectorized and ours differ by at most {words.power(record.numbers['slide_38'])}; "
            f"at small W the loss is {small:.3f}, C − 1 = {least}",
        ),
        "39-40": Answer(words.agreement(printed[-1:]), words.compared(printed[-1:])),
    }
    tables = (_answers(record),)
    return Findings(sentences, by_slides, tables, printed)


def _printed(record: Record) -> tuple[Printed, ...]:
    hinges, multiplied = record.arrays["table_hinge"], record.arrays["multiplied_hinge"]
    why = "the 1 was left out of both terms, and 2.3 written for 2.5"
    return (
        Printed("33", "hinge of the cat", "2.9", float(hinges[0])),
        Printed("34", "hinge of the car", "0", float(hinges[1])),
        Printed("35", "hinge of the frog", "10.9", float(hinges[2]), why),
        Printed("36", "mean of the hinges", "4.6", float(hinges.mean()), "follows from slide 35"),
        Printed("40", "hinge of the car with 2W", "0", float(multiplied[1])),
    )


def _about_multiples(record: Record) -> str:
    """Slides 39-40: from which factor on the second example has no loss."""
    second = record.arrays["factors_table_hinge"].reshape(-1, 3)[:, 1]
    least = record.arrays["factors"][second == 0].min()
    after = record.arrays["multiplied_hinge"]
    return (
        f"Is a W without loss unique? No: the car of slide 34 has no loss with any multiple of W "
        f"from {least:.2f} upwards. With {record.settings['factor']:g}W the hinges are "
        f"{after[0]:.3g}, {after[1]:.3g} and {after[2]:.3g}."
    )


def _answers(record: Record) -> Table:
    """The questions of slide 37, each with a number and a reason."""
    hinges, squares = record.arrays["table_hinge"], record.arrays["table_squared"]
    swept, numbers = record.arrays["rights_table_hinge"], record.numbers
    mean, count = hinges.mean(), numbers["num_classes"]
    rows = [
        ("sum over all classes", f"{mean:.4f} becomes {numbers['all_classes']:.4f}",
         f"The right class adds max(0, 0 + 1): every loss grows by "
         f"{numbers['all_classes'] - mean:.3g}, the best W stays the best."),
        ("mean instead of sum", f"{mean:.4f} becomes {(hinges / 2).mean():.4f}",
         "All is divided by C − 1: another scale of the loss, the same best W (with a penalty, "
         "one of another strength)."),
        ("square of the max", _several(record, "squared"),
         f"Another loss: the frog's share of it grows from {hinges[2] / hinges.sum():.0%} to "
         f"{squares[2] / squares.sum():.0%}, few bad mistakes count more than many small ones."),
        ("greatest violation instead of sum", _several(record, "crammer_singer"),
         "Crammer and Singer's hinge: of several classes that come too near, only the nearest "
         "costs."),
        ("softmax loss instead", _several(record, "softmax"),
         "It has no margin after which it is content: the car costs something too (slides 43-45)."),
        ("least and greatest", f"{swept.min():.3g}; {swept.max():.3g} in the figure, no greatest",
         "Zero once every margin is kept. It grows without end as the right score falls."),
        ("W small", f"{numbers['small']:.4f}",
         f"All scores are about 0, so each of the C − 1 = {count - 1} wrong classes adds about 1: "
         "what the loss must be at the first step of a training."),
    ]  # fmt: skip
    return Table("The questions of slide 37.", ("what if", "loss", "because"), rows)


def _several(record: Record, kind: str) -> str:
    """Another loss of the table's examples, and its mean."""
    values = record.arrays[f"table_{kind}"]
    return f"{', '.join(f'{value:.4g}' for value in values)}: mean {values.mean():.4g}"


def draw(record: Record) -> Iterator[Plot]:
    """The margins of the table as lengths; the loss against the right score and against c."""
    yield _draw_margins(record)
    yield _draw_curves(record)


def _draw_margins(record: Record) -> Plot:
    hinges = record.arrays["table_hinge"]
    title = "Hinges of {:.3g}, {:.3g} and {:.3g}: the length that reaches past the margin"
    title = title.format(*hinges)
    figure, axes = style.canvas(3, 1, height=4.6, title=title, sharex=True)
    for label, (place, hinge) in enumerate(zip(axes, hinges, strict=True)):
        _draw_example(place, SCORES[label], label, hinge)
    axes[-1].set_xlabel("score")
    return Plot(
        "margins",
        figure,
        "One panel per image of slide 32. Ring: the score of the right class. Dashed line: that "
        "score less 1, the margin. Wrong classes left of it cost nothing (grey); one that "
        "reaches past it costs the length of its red bar, and the lengths add up to the hinge.",
        "Three panels with the scores of cat, car and frog as bars from a margin line, red where "
        f"they reach past it. {title}.",
    )


def _draw_example(axes: Axes, scores: np.ndarray, label: int, hinge: float) -> None:
    """One image: a line per class, and a bar for what reaches past the margin."""
    margin = scores[label] - 1
    axes.axvline(margin, color=style.INK, ls="--", lw=1.5)
    for line, score in enumerate(scores):
        past = line != label and score > margin
        color = style.RED if past else style.FAINT
        if past:
            axes.plot([margin, score], [line, line], color=color, lw=9, solid_capstyle="butt")
            axes.text(score + 0.15, line, f"{score - margin:.1f}", va="center", color=style.RED)
        right: dict = {"ms": 11, "mfc": "white", "mew": 2.5, "color": style.BLUE}
        axes.plot(score, line, "o", **(right if line == label else {"color": color, "ms": 7}))
    axes.set_yticks(range(3), CLASSES)
    axes.set(ylim=(2.6, -0.6), xlim=(-5, 6.5), ylabel=f"a {CLASSES[label]}")
    axes.grid(False, axis="y")
    axes.set_title(f"hinge {hinge:.3g}", loc="right", pad=3)


def _draw_curves(record: Record) -> Plot:
    arrays = record.arrays
    kept = arrays["rights"][arrays["rights_table_hinge"] == 0].min()
    title = f"No loss once the right score is {kept:.1f} above the others; no greatest loss"
    figure, (left, right) = style.canvas(1, 2, height=3.3, title=title)
    names = (("hinge", "hinge", "-"), ("squared", "squared hinge", "--"))
    for (kind, label, line), color in zip(names, (style.RED, style.PURPLE), strict=True):
        left.plot(arrays["rights"], arrays[f"rights_table_{kind}"], line, color=color, label=label)
    left.set(xlabel="score of the right class", ylabel="loss (other scores 0)", ylim=(-1, 42))
    left.legend()
    lines = arrays["factors_table_hinge"].reshape(-1, 3).T
    for values, name, marker in zip(lines, CLASSES, style.MARKERS, strict=False):
        right.plot(arrays["factors"], values, marker=marker, markevery=15, label=f"the {name}")
    right.set(xlabel="factor c", ylabel="hinge with cW")
    right.legend()
    return Plot(
        "curves",
        figure,
        "Left: three classes, two scores at 0, the third and right one moved; squaring punishes "
        "great violations more and small ones less. Right: the hinge of the table's three images "
        "with W multiplied by c; once an image has none, no greater W gives it one.",
        "Two line charts: losses that fall to zero as the right score rises, and the hinges of "
        f"three images against a factor of W. {title}.",
    )
