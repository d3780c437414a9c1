"""Random search: draw many W, keep the one of least loss, and see how good it is."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import jax
import numpy as np
from matplotlib.axes import Axes

from experiments.lab import progress, run, style, tuning, words
from experiments.lab.experiment import (
    AGREES,
    DIFFERS,
    OPEN,
    Classifier,
    Findings,
    Outcome,
    Plot,
    Table,
)
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import linear, losses, penalties, preprocessing, random_search
from lincls.objective import Objective
from lincls.structs import LinearParams

SLIDES = "49-50"
QUESTION = "How far does random search get?"
CLAIM = (
    "Of 1,000 random W, entries normal with standard deviation 0.0001, the one of least SVM "
    "loss on the training set classifies 15.5% of CIFAR-10's test set right."
)
SECONDS = 3
SLIDE_ACCURACY = 0.155
OBJECTIVE = Objective(losses.hinge, penalties.none)


@dataclass(frozen=True)
class Settings:
    num_draws: int = flag(1000, "random W drawn in each search", low=1, smoke=20)
    num_seeds: int = flag(5, "searches, each with draws of its own", low=1, smoke=2)
    scale: float = flag(1e-4, "standard deviation of the entries of W and b", low=0)
    max_train: int = flag(5000, "training examples the loss is taken over", low=1, smoke=300)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Search on pixels minus the mean image; test the best W of every search."""
    examples = tuning.rows(data.train, settings.max_train)
    keys = progress.bar(jax.random.split(key, settings.num_seeds), "searches", settings.num_seeds)
    found = [_searched(key, examples, data.num_classes, settings) for key in keys]
    best, searches = zip(*found, strict=True)
    test = tuning.rows(data.open_test("accuracy of the best W of every search"))
    tested = [_tested(params, test, settings.num_draws) for params in best]
    numbers = {
        "accuracies": [one.correct / one.total for one in tested],
        "chance": float(np.bincount(test.y).max() / len(test.y)),
        "num_examples": len(examples.y),
    }
    arrays = {name: np.stack([getattr(s, name) for s in searches]) for name in ("loss", "best")}
    return Outcome(numbers, arrays, tested[:1])


def _searched(
    key: jax.Array, examples: tuning.Rows, num_classes: int, settings: Settings
) -> tuple[LinearParams, random_search.Search]:
    """One search: its best parameters, acting on pixels, and the losses of all draws."""
    affine = preprocessing.mean_image(examples.X)
    params, search = random_search.search(
        key, *examples, num_classes=num_classes, num_draws=settings.num_draws,
        scale=settings.scale, objective=OBJECTIVE, affine=affine,
    )  # fmt: skip
    return linear.on_pixels(params, affine), search


def _tested(params: LinearParams, test: tuning.Rows, num_draws: int) -> Classifier:
    correct = int(np.sum(np.asarray(linear.predict(params, test.X)) == test.y))
    chosen = f"least loss of {num_draws:,} random W"
    stored = params.W.size + params.b.size
    return Classifier("random search", chosen, correct, len(test.y), stored)


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
    ]
    inside = low <= SLIDE_ACCURACY <= high
    verdict = (AGREES if inside else DIFFERS) if record.data["name"] == "cifar10" else OPEN
    return Findings(sentences, verdict, (_printout(record),))


def _printout(record: Record) -> Table:
    """The first draws as slide 49 prints them."""
    pairs = zip(record.arrays["loss"][0][:7], record.arrays["best"][0][:7], strict=True)
    rows = [(str(draw), f"{loss:.6f}", f"{best:.6f}") for draw, (loss, best) in enumerate(pairs)]
    return Table("The first attempts, as slide 49 prints them.", ("attempt", "loss", "best"), rows)


def draw(record: Record) -> Iterator[Plot]:
    """The running minimum of every search, and the test accuracies they end with."""
    accuracies = record.numbers["accuracies"]
    title = (
        f"The best of {record.settings['num_draws']:,} random W has "
        f"{np.mean(accuracies):.1%} of the test set right"
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
        "pixels minus the mean image. Right: what the best W of each search gets on the test set.",
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
    for place, accuracy, color in zip(searches, accuracies, cycle(style.CYCLE), strict=False):
        axes.plot(place, accuracy, "o", color=color)
    levels = (("slide 50", SLIDE_ACCURACY, "--"), ("chance", record.numbers["chance"], ":"))
    for label, level, line in levels:
        axes.axhline(100 * level, color=style.INK, ls=line, lw=1.5, label=label, zorder=1)
    axes.set(xlabel="search", ylabel="test accuracy (%)")
    axes.set(ylim=(0, None), xlim=(0.5, len(accuracies) + 0.5))
    style.ticks(axes, searches)
    axes.legend(loc="lower left")


if __name__ == "__main__":
    sys.exit(run.main(__file__))
