"""What `experiments.random_search` found, in words and a figure."""

from collections.abc import Iterator
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import AGREES, DIFFERS, ELSEWHERE, Answer, Findings, Plot, Table
from lincls import evaluation
from lincls.evaluation import Interval

SLIDES = "49-50"
QUESTION = "How far does random search get?"
CLAIM = (
    "Draw 1,000 random W with standard deviation 0.0001 and keep the one of least SVM loss on the "
    "training set (49). It reaches 15.5 % test accuracy on CIFAR-10 (50)."
)
SECONDS = 3
SLIDE_ACCURACY = 0.155
SLIDE_LOSSES = (9.401632, 8.959668, 9.044034, 9.278948, 8.857370, 8.943151, 8.605604)  # slide 49


def findings(record: Record) -> Findings:
    """The accuracy of a search beside chance and the slide's, and how little the loss falls."""
    accuracies, losses = np.array(record.numbers["accuracies"]), record.arrays["loss"]
    least, mean, another = losses.min(axis=1).mean(), losses.mean(), _another(accuracies)
    sentences = [
        f"Random search reaches {words.percent(accuracies.mean())} test accuracy (mean of "
        f"{len(accuracies)} searches); always predicting the most frequent class reaches "
        f"{words.percent(record.numbers['chance'])}.",
        f"One more search would reach {words.between(another)} % (95 % prediction interval); slide "
        f"50 has {words.percent(SLIDE_ACCURACY)} on CIFAR-10.",
        f"The best of {record.settings['num_draws']:,} draws has {words.percent(1 - least / mean)} "
        f"less SVM loss than the average draw ({least:.3f}, not {mean:.3f}).",
    ]
    verdict = AGREES if another.low <= SLIDE_ACCURACY <= another.high else DIFFERS
    answer = Answer(verdict if record.data["name"] == "cifar10" else ELSEWHERE, sentences[1])
    return Findings(sentences, {"49-50": answer}, (_inputs(record), _printout(record)))


def _another(accuracies: np.ndarray) -> Interval:
    """Where the accuracy of one more search falls, within 0 to 1."""
    return Interval(*np.clip(intervals.of_another(accuracies), 0, 1).tolist())


def _inputs(record: Record) -> Table:
    """The first search on centred pixels, and on pixels as slide 49's code has them."""
    numbers, total = record.numbers, record.numbers["total"]
    divided = f"divided by {numbers['greatest_pixel']:g}"
    rows = [
        (
            "minus the mean image",
            f"{record.arrays['loss'][0].min():.3f}",
            words.accuracy(record.classifiers[0]),
        )
    ]
    for pixels, name in (("as they are (slide 49)", "as printed"), (divided, "divided")):
        right, loss = numbers[name]["right"], numbers[name]["least_loss"]
        rows.append((pixels, f"{loss:.3f}", words.of_count(right, total)))
    caption = (
        "The first search, with the same draws on three inputs. Always predicting the most "
        f"frequent class reaches {words.percent(numbers['chance'])}."
    )
    return Table(caption, ("pixels", "least loss", "test accuracy"), rows)


def _printout(record: Record) -> Table:
    """The first draws as slide 49 prints them, beside what it prints."""
    count = len(SLIDE_LOSSES)
    ours = record.arrays["loss"][0][:count], record.arrays["best"][0][:count]
    printed = SLIDE_LOSSES[: len(ours[0])]  # few draws
    slide = printed, np.minimum.accumulate(printed)
    rows = [
        (str(draw), *(f"{number:.6f}" for number in numbers))
        for draw, numbers in enumerate(zip(*ours, *slide, strict=True))
    ]
    header = ("attempt", "loss", "best", "loss on slide 49", "best on slide 49")
    caption = "The first attempts of the first search, and those that slide 49 prints for CIFAR-10."
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The running minimum of every search, and the test accuracies they end with."""
    mean = words.percent(np.mean(record.numbers["accuracies"]))
    title = f"The best of {record.settings['num_draws']:,} random W reaches {mean} test accuracy"
    figure, (left, right) = style.canvas(
        1, 2, height=3.4, title=title, gridspec_kw={"width_ratios": [2, 1]}
    )
    _draw_losses(left, record)
    _draw_accuracies(right, record)
    yield Plot(
        "random_search",
        figure,
        f"Left: the least loss so far in each search, over {record.numbers['num_examples']:,} "
        "training examples; grey: every draw of the first search. Right: the test accuracy of each "
        "search's best W with its 95 % CI.",
        "Falling staircases of the least loss against the number of draws, and a dot per search "
        f"for its test accuracy. {title}.",
    )


def _draw_losses(axes: Axes, record: Record) -> None:
    losses = record.arrays["loss"]
    draws = np.arange(1, losses.shape[1] + 1)
    axes.plot(draws, losses[0], ".", ms=3, color=style.FAINT, alpha=0.5, rasterized=True)
    for best, color in zip(record.arrays["best"], cycle(style.CYCLE), strict=False):
        axes.step(draws, best, where="post", color=color)
    axes.set(xscale="log", xlabel="W drawn so far", ylabel="least SVM loss so far")
    style.ticks(axes, [10**power for power in range(7) if 10**power <= len(draws)])


def _draw_accuracies(axes: Axes, record: Record) -> None:
    accuracies, total = np.array(record.numbers["accuracies"]), record.numbers["total"]
    searches = range(1, len(accuracies) + 1)
    for place, accuracy, color in zip(searches, accuracies, cycle(style.CYCLE)):
        interval = evaluation.wilson_interval(round(accuracy * total), total)
        reach = 100 * np.abs(np.array(interval) - accuracy)[:, None]
        axes.errorbar(place, 100 * accuracy, reach, fmt="o", color=color, capsize=3)
    for label, level, line in (
        ("slide 50", SLIDE_ACCURACY, "--"),
        ("chance", record.numbers["chance"], ":"),
    ):
        axes.axhline(100 * level, color=style.INK, ls=line, lw=1.5, label=label, zorder=1)
    axes.set(xlabel="search", ylabel="test accuracy (%)", xlim=(0.5, len(accuracies) + 0.5))
    axes.set_ylim(bottom=0)
    style.ticks(axes, searches)
    axes.legend()
