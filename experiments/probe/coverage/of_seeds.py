"""The intervals of means over seeds.

A seed draws the training examples, and so the accuracy of the probe.  All seeds are tested on one
test set.  The truth is the mean accuracy over all draws and all test examples.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats

from experiments.probe import measures, results
from experiments.report import words

_SHARED = 0.5  # of the variance of what decides an answer: the example's, not the draw's
HEAD = (
    "| seeds | examples | accuracy | deviation of a draw, points | coverage "
    "| mean length, points |",
    "| ---: | ---: | ---: | ---: | --- | ---: |",
)


class Cell(NamedTuple):
    """One line of the table."""

    seeds: int
    examples: int
    accuracy: float  # in 0..1, the mean over the draws
    deviation: float  # of the accuracy of a draw, in 0..1


CELLS = [
    Cell(seeds, examples, accuracy, deviation)
    for seeds in (2, 3, 10)
    for examples, accuracy, deviation in (
        (500, 0.9, 0.005), (500, 0.6, 0.05), (10_000, 0.9, 0.005), (10_000, 0.6, 0.1),
    )
]  # fmt: skip


def thresholds(rng: np.random.Generator, cell: Cell) -> np.ndarray:
    """What decides (S,) in each draw: an answer is right where a normal number lies below it.

    The normal distribution function of them has the mean and, to first order, the deviation of the
    cell.
    """
    centre = scipy.stats.norm.ppf(cell.accuracy)
    spread = cell.deviation / scipy.stats.norm.pdf(centre)
    return rng.normal(centre * np.sqrt(1 + spread**2), spread, cell.seeds)


def interval(rng: np.random.Generator, cell: Cell) -> tuple[float, float]:
    """That of the mean over the seeds, on a test set that is drawn with them."""
    of_example = np.sqrt(_SHARED) * rng.normal(size=cell.examples)
    of_draw = np.sqrt(1 - _SHARED) * rng.normal(size=(cell.seeds, cell.examples))
    right = (of_example + of_draw < thresholds(rng, cell)[:, None]).astype(np.int64)
    labels, rows = np.ones(cell.examples, np.int64), []
    for said in right:
        found = measures.with_interval("top1", measures.Outcome(said, labels, 2))
        rows.append({"probe": "linear", "shots": "all", "top1": found.value,
                     "top1_low": found.low, "top1_high": found.high})  # fmt: skip
    (mean,) = results.spread(rows, right, ("top1",))
    return mean["top1_low"], mean["top1_high"]


def line(cell: Cell, num_tests: int) -> str:
    """A line of the table."""
    rng = np.random.default_rng(0)
    ends = np.array([interval(rng, cell) for _ in range(num_tests)])
    held = int(np.sum((ends[:, 0] <= cell.accuracy) & (cell.accuracy <= ends[:, 1])))
    cells = [
        cell.seeds, f"{cell.examples:,}", words.percent(cell.accuracy),
        f"{100 * cell.deviation:g}", words.of_count(held, num_tests),
        f"{100 * np.mean(ends[:, 1] - ends[:, 0]):.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"
