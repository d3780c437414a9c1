"""What `experiments.random_search` found, told and drawn."""

from collections.abc import Iterator
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import AGREES, DIFFERS, UNDECIDED, Answer, Findings, Plot, Table
from lincls import evaluation

SLIDES = "49-50"
QUESTION = "How far does random search get?"
CLAIM = (
    "Of 1,000 random W, entries normal with standard deviation 0.0001, the one of least SVM "
    "loss on the training set classifies 15.5% of CIFAR-10's test set right."
)
SECONDS = 3
SLIDE_ACCURACY = 0.155
STATE_OF_THE_ART = "about 95%"  # slide 50's words
SLIDE_LOSSES = (9.401632, 8.959668, 9.044034, 9.278948, 8.857370, 8.943151, 8.605604)  # slide 49


def findings(record: Record) -> Findings:
    """Accuracies over the searches beside the slide's, and the slide's printout."""
    accuracies, losses = np.array(record.numbers["accuracies"]), record.arrays["loss"]
    least = losses.min(axis=1).mean()
    mean, low, high = accuracies.mean(), accuracies.min(), accuracies.max()
    sentences = [
        f"The best of {record.settings['num_draws']:,} draws has {mean:.1%} of the test set right, "
        f"the mean over {len(accuracies)} searches ({low:.1%} to {high:.1%}). The slide has "
        f"{SLIDE_ACCURACY:.1%} on CIFAR-10; always naming the most frequent class has "
        f"{record.numbers['chance']:.1%} here.",
        f"The first search: {words.right(record.classifiers[0])}.",
        f"The loss of a draw is {losses.mean():.3f} on average, with a standard deviation of "
        f"{losses.std():.3f}; the best draw of a search has {least:.3f}, which is "
        f"{1 - least / losses.mean():.1%} less.",
        _without_mean(record),
        f"Slide 50 calls {STATE_OF_THE_ART} the state of the art; that is printed in the lecture "
        "and not computed here.",
    ]
    another = intervals.of_another(accuracies)
    sentences.insert(1, f"One more search would have {words.between(another)}% (95% interval).")
    inside = another.low <= SLIDE_ACCURACY <= another.high
    verdict = (AGREES if inside else DIFFERS) if record.data["name"] == "cifar10" else UNDECIDED
    told = (
        f"a search has {words.between(another)}% of the test set right; slide 50 has "
        f"{SLIDE_ACCURACY:.1%} on CIFAR-10, naming one class {record.numbers['chance']:.1%} here"
    )
    answers = {"49-50": Answer(verdict, told)}
    return Findings(sentences, answers, (_printout(record),))


def _without_mean(record: Record) -> str:
    """What the first search ends with where the mean image is not subtracted."""
    numbers, chance = record.numbers, record.numbers["chance"]
    told = []
    for name, how in (("as printed", "as they are"), ("divided", "divided by")):
        right, total = numbers[name]["right"], numbers["total"]
        interval = evaluation.wilson_interval(right, total)
        level = "above" if interval.low > chance else "below" if interval.high < chance else "at"
        units = how if how == "as they are" else f"{how} {numbers['greatest_pixel']:g}"
        told.append(f"{right / total:.1%} ({words.between(interval)}%), {level} chance, on "
                    f"pixels {units}")  # fmt: skip
    return (
        "Slide 49's code does not subtract the mean image, which the numbers above do. Without "
        f"it the best of the same draws as in the first search has {' and '.join(told)}; chance "
        f"is the {chance:.1%} of naming one class."
    )


def _printout(record: Record) -> Table:
    """The first draws as slide 49 prints them, beside what it prints."""
    count = len(SLIDE_LOSSES)
    ours = record.arrays["loss"][0][:count], record.arrays["best"][0][:count]
    slide = SLIDE_LOSSES, np.minimum.accumulate(SLIDE_LOSSES)
    rows = [
        (str(draw), *(f"{number:.6f}" for number in numbers))
        for draw, numbers in enumerate(zip(*ours, *slide, strict=True))
    ]
    header = ("attempt", "loss", "best", "loss on slide 49", "best on slide 49")
    caption = "The first attempts of the first search, and those that slide 49 prints for CIFAR-10."
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The running minimum of every search, and the test accuracies they end with."""
    accuracies = record.numbers["accuracies"]
    title = (
        f"The best of {record.settings['num_draws']:,} random W: {np.mean(accuracies):.1%} of the "
        f"test set, mean of {len(accuracies)} searches"
    )
    figure, (left, right) = style.canvas(
        1, 2, height=3.4, title=title, gridspec_kw={"width_ratios": [2, 1]}
    )
    _draw_losses(left, record)
    _draw_accuracies(right, record)
    yield Plot(
        "random_search",
        figure,
        f"Left: the least loss so far in each of {len(accuracies)} searches; grey, every draw of "
        f"the first. The loss is over {record.numbers['num_examples']:,} training examples, "
        "pixels minus the mean image. Right: what the best W of each search gets on the test "
        "set, with its 95% interval.",
        "Falling staircases of the best loss against the number of draws, and a dot per search "
        f"for its test accuracy. {title}.",
    )


def _draw_losses(axes: Axes, record: Record) -> None:
    losses = record.arrays["loss"]
    draws = np.arange(1, losses.shape[1] + 1)
    axes.plot(draws, losses[0], ".", ms=3, color=style.FAINT, alpha=0.5, rasterized=True)
    for best, color in zip(record.arrays["best"], cycle(style.CYCLE), strict=False):
        axes.step(draws, best, where="post", color=color)
    axes.set(xscale="log", xlabel="W drawn so far", ylabel="SVM loss, the least so far")
    style.ticks(axes, [10**power for power in range(7) if 10**power <= len(draws)])


def _draw_accuracies(axes: Axes, record: Record) -> None:
    accuracies = 100 * np.array(record.numbers["accuracies"])
    searches = range(1, len(accuracies) + 1)
    count = record.classifiers[0].total
    rights = np.rint(accuracies * count / 100).astype(int).tolist()
    ends = 100 * np.array([evaluation.wilson_interval(right, count) for right in rights])
    for place, accuracy, each, color in zip(searches, accuracies, ends, cycle(style.CYCLE)):
        reach = np.abs(each[:, None] - accuracy)
        axes.errorbar(place, accuracy, reach, fmt="o", color=color, capsize=3)
    levels = (("slide 50", SLIDE_ACCURACY, "--"), ("chance", record.numbers["chance"], ":"))
    for label, level, line in levels:
        axes.axhline(100 * level, color=style.INK, ls=line, lw=1.5, label=label, zorder=1)
    axes.set(xlabel="search", ylabel="test accuracy (%)")
    axes.set(ylim=(0, 1.05 * ends.max()), xlim=(0.5, len(accuracies) + 0.5))
    style.ticks(axes, searches)
    axes.legend(loc="lower left")
