"""How often the 95 % intervals of several labels a row contain the truth, by simulation.

    python -m experiments.probe.multilabel.coverage --tests 400

Classes are independent.  The scores of a class are normal, and those of its examples lie higher by
a distance.  The truth is that of 200,000 examples.  It prints a table in Markdown.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.lab import options
from experiments.probe.multilabel.computing import METRICS
from experiments.report import words
from lincls import evaluation
from lincls.evaluation import Estimate

_LARGE = 200_000


class Cell(NamedTuple):
    """A population, and the size of the test sets drawn from it."""

    classes: int
    examples: int
    rarest: float  # share of the examples that have the rarest class
    commonest: float
    distance: float  # of the scores of examples with and without a class


CELLS = (
    Cell(5, 100, 0.1, 0.5, 2.0), Cell(10, 200, 0.1, 0.3, 1.5), Cell(20, 300, 0.02, 0.4, 2.0),
    Cell(20, 1000, 0.02, 0.4, 1.5),
)  # fmt: skip


def estimates(rng: np.random.Generator, cell: Cell, num_examples: int) -> list[Estimate]:
    """The metrics of one test set, with predictions at probability one half."""
    share = np.geomspace(cell.rarest, cell.commonest, cell.classes)
    labels = rng.random((num_examples, cell.classes)) < share
    scores = rng.normal(size=labels.shape) + cell.distance * labels
    predicted = scores > cell.distance / 2 + np.log((1 - share) / share) / cell.distance
    return [
        evaluation.multilabel_average_precision(scores, labels),
        evaluation.multilabel_micro_f1(predicted, labels),
        evaluation.multilabel_macro_f1(predicted, labels),
    ]


def lines(cell: Cell, num_tests: int) -> list[str]:
    """A line for each metric."""
    rng = np.random.default_rng(0)
    truth = [one.value for one in estimates(rng, cell, _LARGE)]
    ends = np.array([
        [evaluation.interval(one) for one in estimates(rng, cell, cell.examples)]
        for _ in range(num_tests)
    ])  # fmt: skip
    held = ((ends[..., 0] <= truth) & (truth <= ends[..., 1])).sum(axis=0)
    length = 100 * np.diff(ends)[..., 0].mean(axis=0)
    shares = f"{words.percent(cell.rarest)} to {words.percent(cell.commonest)}"
    return [
        f"| {title} | {cell.classes} | {cell.examples:,} | {shares} | {cell.distance:g} "
        f"| {words.with_ci(num / num_tests, evaluation.wilson_interval(int(num), num_tests))} "
        f"| {points:.1f} |"
        for title, num, points in zip(METRICS.values(), held, length, strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = options.Parser(prog="python -m experiments.probe.multilabel.coverage")
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tests", type=options.whole(1), default=400, metavar="N")
    num_tests = parser.parse_args(argv).tests
    print("| measure | classes | examples | share of a class | distance | coverage "
          "| mean length, points |")  # fmt: skip
    print("| --- | ---: | ---: | --- | ---: | --- | ---: |")
    for cell in CELLS:
        print("\n".join(lines(cell, num_tests)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
