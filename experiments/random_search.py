"""Random search: draw many W, keep the one of least loss, and see how good it is."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import jax
import numpy as np

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

SLIDES = "49-50"
QUESTION = "How far does random search get?"
CLAIM = (
    "Of 1,000 random W, entries normal with standard deviation 0.0001, the one of least SVM "
    "loss on the training set classifies 15.5% of CIFAR-10's test set right."
)
SECONDS = 4
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
    test = tuning.rows(data.open_test("accuracy of the best W of every search"))
    affine, outcome = preprocessing.mean_image(examples.X), Outcome({})
    searches, accuracies = [], []
    for seed in progress.bar(range(settings.num_seeds), "searches"):
        params, search = random_search.search(
            jax.random.fold_in(key, seed),
            *examples,
            num_classes=data.num_classes,
            num_draws=settings.num_draws,
            scale=settings.scale,
            objective=OBJECTIVE,
            affine=affine,
        )
        searches.append(search)
        right = np.asarray(linear.predict(linear.on_pixels(params, affine), test.X)) == test.y
        accuracies.append(right.mean())
        if seed == 0:
            chosen = f"least loss of {settings.num_draws:,} random W"
            stored = params.W.size + params.b.size
            outcome.classifiers.append(
                Classifier("random search", chosen, int(right.sum()), len(right), stored)
            )
    outcome.arrays = {
        "loss": np.stack([search.loss for search in searches]),
        "best": np.stack([search.best for search in searches]),
    }
    outcome.numbers = {
        "accuracies": accuracies,
        "chance": float(np.bincount(test.y).max() / len(test.y)),
        "num_examples": len(examples.y),
    }
    return outcome


def findings(record: Record) -> Findings:
    """Accuracies over the searches beside the slide's, and the slide's printout."""
    accuracies = np.array(record.numbers["accuracies"])
    mean, low, high = accuracies.mean(), accuracies.min(), accuracies.max()
    tested = record.classifiers[0]
    sentences = [
        f"The best of {record.settings['num_draws']:,} draws classifies {mean:.1%} of the test "
        f"set right, mean over {len(accuracies)} searches ({low:.1%} to {high:.1%}); the slide "
        f"has {SLIDE_ACCURACY:.1%}, the most frequent class {record.numbers['chance']:.1%}.",
        f"The first search: {words.share(tested.correct, tested.total)}; its loss goes from "
        f"{record.arrays['loss'][0, 0]:.5f} at the first draw to "
        f"{record.arrays['best'][0, -1]:.5f} at the best one.",
    ]
    inside = low <= SLIDE_ACCURACY <= high
    verdict = (AGREES if inside else DIFFERS) if record.data["name"] == "cifar10" else OPEN
    return Findings(sentences, verdict, (_printout(record),))


def _printout(record: Record) -> Table:
    """The first draws as slide 49 prints them."""
    pairs = zip(record.arrays["loss"][0][:7], record.arrays["best"][0][:7], strict=True)
    rows = [(str(draw), f"{loss:.6f}", f"{best:.6f}") for draw, (loss, best) in enumerate(pairs)]
    return Table("The first attempts, as slide 49 prints them", ("attempt", "loss", "best"), rows)


def draw(record: Record) -> Iterator[Plot]:
    """The running minimum of every search, and the test accuracies they end with."""
    accuracies = 100 * np.array(record.numbers["accuracies"])
    title = (
        f"The best of {record.settings['num_draws']:,} random W is right in "
        f"{accuracies.mean():.1f}% of the test set; the slide has {SLIDE_ACCURACY:.1%}"
    )
    figure, (left, right) = style.canvas(
        1, 2, height=3.4, title=title, gridspec_kw={"width_ratios": [2, 1]}
    )
    draws = np.arange(1, record.arrays["loss"].shape[1] + 1)
    left.plot(draws, record.arrays["loss"][0], ".", ms=3, color=style.FAINT, alpha=0.5)
    for best, color in zip(record.arrays["best"], cycle(style.CYCLE), strict=False):
        left.step(draws, best, where="post", color=color)
    left.set(xscale="log", xlabel="W drawn so far", ylabel="SVM loss, the best so far")
    right.scatter(range(1, len(accuracies) + 1), accuracies, color=style.CYCLE[0], zorder=3)
    right.axhline(100 * SLIDE_ACCURACY, color=style.RED, ls="--", lw=1.5, label="slide 50")
    right.axhline(
        100 * record.numbers["chance"],
        color=style.INK,
        ls=":",
        lw=1.5,
        label="chance",
    )
    right.set(xlabel="search", ylabel="test accuracy (%)", ylim=(0, None))
    right.legend(loc="lower left")
    right.set(xticks=range(1, len(accuracies) + 1), xlim=(0.5, len(accuracies) + 0.5))
    yield Plot(
        "random_search",
        figure,
        f"Left: the least loss so far in each of {len(accuracies)} searches; grey, every draw of "
        f"the first. Loss over {record.numbers['num_examples']:,} training examples, pixels minus "
        "the mean image. Right: what the best W of each search gets on the test set.",
        f"Falling staircases of the best loss against the number of draws, and a dot per search "
        f"for its test accuracy. {title}.",
    )


if __name__ == "__main__":
    sys.exit(run.main(__file__))
