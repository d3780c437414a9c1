"""The intervals of the difference of two embeddings on the same test examples.

An example is hard or easy for both, and so is a group.  Each embedding adds a part of its own.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats

from experiments.report import words
from lincls import evaluation

HEAD = (
    "| examples | group size | accuracies | coverage | mean length, points |",
    "| ---: | ---: | --- | --- | ---: |",
)
_SHARED, _OF_GROUP = 0.6, 0.5  # shares of the variance: of both embeddings; of that, of the groups


class Cell(NamedTuple):
    """One line of the table."""

    examples: int
    group: int  # examples in a group
    accuracies: tuple[float, float]


CELLS = [
    *(
        Cell(examples, 1, accuracies)
        for examples, accuracies in (
            (50, (0.9, 0.9)), (100, (0.98, 0.98)), (100, (0.99, 0.97)), (500, (0.92, 0.9)),
            (500, (0.995, 0.995)), (2000, (0.82, 0.8)),
        )
    ),
    *(
        Cell(examples, group, (0.82, 0.8))
        for examples, group in ((100, 10), (500, 10), (500, 50), (2000, 50))
    ),
]  # fmt: skip


def hits(rng: np.random.Generator, cell: Cell) -> np.ndarray:
    """Which answers are right: (2, N), of both embeddings."""
    groups = np.arange(cell.examples) // cell.group

    def difficulties(count: int) -> np.ndarray:
        of_group = np.sqrt(_OF_GROUP) * rng.normal(size=(count, groups[-1] + 1))[:, groups]
        return of_group + np.sqrt(1 - _OF_GROUP) * rng.normal(size=(count, cell.examples))

    difficulty = np.sqrt(_SHARED) * difficulties(1) + np.sqrt(1 - _SHARED) * difficulties(2)
    return difficulty < scipy.stats.norm.ppf(cell.accuracies)[:, None]


def line(cell: Cell, num_tests: int) -> str:
    """A line of the table."""
    rng, truth = np.random.default_rng(0), cell.accuracies[0] - cell.accuracies[1]
    groups = np.arange(cell.examples) // cell.group
    drawn = (hits(rng, cell) for _ in range(num_tests))
    found = [evaluation.paired_difference(a, b, groups) for a, b in drawn]
    held = sum(each.interval.low <= truth <= each.interval.high for each in found)
    length = np.mean([each.interval.high - each.interval.low for each in found])
    cells = [
        f"{cell.examples:,}", cell.group if cell.group > 1 else "none",
        " and ".join(map(words.percent, cell.accuracies)), words.of_count(held, num_tests),
        f"{100 * length:.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"
