"""The intervals of the measures, on populations of known accuracy or of known order."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from experiments.probe import measures
from experiments.report import words

HEAD = (
    "| measure | classes | examples | frequencies | accuracy | group size | coverage "
    "| mean length, points |",
    "| --- | ---: | ---: | --- | ---: | ---: | --- | ---: |",
)
_LARGE = 200_000  # examples that stand for the whole population of scores
_POPULATIONS = 20  # drawn for a line, where classes differ


class Cell(NamedTuple):
    """One line of the table."""

    measure: str
    classes: int
    examples: int
    accuracy: float  # in 0..1; of scores, the distance of the classes
    tail: float = 1  # how many times as frequent the most frequent class is as the rarest
    falling: bool = False  # whether rare classes have the lower accuracies
    group: int = 1  # examples in a group


class EvaluationSet(NamedTuple):
    """What a measure is computed from, and its true value."""

    outcome: measures.Outcome
    groups: np.ndarray | None
    truth: float


CELLS = [
    *(Cell("top1", 10, n, accuracy) for n in (50, 100, 500) for accuracy in (0.9, 0.98, 0.995)),
    *(Cell("top1", 10, n, 0.9, group=size) for n in (500, 2000) for size in (10, 50)),
    *(
        Cell(measure, *cell)
        for measure in ("per_class", "macro_f1")
        for cell in (
            (100, 500, 0.8), (100, 2000, 0.8), (100, 2000, 0.8, 100), (100, 2000, 0.7, 100, True),
            (20, 500, 0.9, 50, True), (10, 100, 0.98), (10, 500, 0.9, 1, False, 10),
            (10, 2000, 0.9, 1, False, 50),
        )
    ),
    *(
        Cell(measure, *cell)
        for measure in ("auroc", "ap")
        for cell in (
            (2, 100, 1.0), (2, 100, 3.0), (2, 500, 2.0, 10), (10, 200, 2.0), (20, 1000, 2.0, 50),
            (2, 500, 2.0, 1, False, 10), (5, 1000, 2.0, 1, False, 50),
        )
    ),
]  # fmt: skip


# --- predictions of known accuracy -------------------------------------------------------------


def class_shares(cell: Cell) -> np.ndarray:
    """The frequencies (C,) of the classes."""
    share = cell.tail ** -np.linspace(0, 1, cell.classes)
    return share / share.sum()


def accuracies(rng: np.random.Generator, cell: Cell) -> np.ndarray:
    """The accuracy (C,) of each class."""
    drawn = rng.beta(6 * cell.accuracy, 6 * (1 - cell.accuracy), cell.classes)
    return np.sort(drawn)[::-1] if cell.falling else drawn


def mistakes(rng: np.random.Generator, cell: Cell) -> np.ndarray:
    """What a mistake on a class is taken for: (C, C), the rows sum to 1."""
    drawn = rng.dirichlet(np.full(cell.classes, 0.1), cell.classes) + 1e-9
    np.fill_diagonal(drawn, 0)
    return drawn / drawn.sum(axis=1, keepdims=True)


def true_value(cell: Cell, accuracy: np.ndarray, mistaken: np.ndarray) -> float:
    share = class_shares(cell)
    if cell.measure == "top1":
        return float(share @ accuracy)
    if cell.measure == "per_class":
        return float(accuracy.mean())
    right = share * accuracy
    predicted = right + (share * (1 - accuracy)) @ mistaken
    return float(np.mean(2 * right / (share + predicted)))


def of_predictions(rng: np.random.Generator, cell: Cell, num_tests: int) -> Iterator[EvaluationSet]:
    """Test sets.  A group has one class, and an accuracy of its own around that of the class."""
    cumulated = np.zeros(0)
    for number in range(num_tests):
        if number % max(1, num_tests // _POPULATIONS) == 0:
            accuracy, mistaken = accuracies(rng, cell), mistakes(rng, cell)
            if cell.measure == "top1":
                accuracy = np.full(cell.classes, cell.accuracy)
            cumulated = mistaken.cumsum(axis=1)
            truth = true_value(cell, accuracy, mistaken)
        num_groups = cell.examples // cell.group
        of_group = rng.choice(cell.classes, num_groups, p=class_shares(cell))
        chance = accuracy[of_group]
        if cell.group > 1:
            chance = rng.beta(2 * chance + 1e-9, 2 * (1 - chance) + 1e-9)
        labels, chance = (np.repeat(x, cell.group) for x in (of_group, chance))
        draws = rng.random(len(labels))[:, None]
        taken = np.minimum((draws > cumulated[labels]).sum(axis=1), cell.classes - 1)
        predicted = np.where(rng.random(len(labels)) < chance, labels, taken)
        groups = np.repeat(np.arange(num_groups), cell.group) if cell.group > 1 else None
        yield EvaluationSet(measures.Outcome(predicted, labels, cell.classes), groups, truth)


# --- scores of known order ---------------------------------------------------------------------


def scored(rng: np.random.Generator, cell: Cell, num_examples: int) -> measures.Outcome:
    """Normal scores; that of the own class lies higher, and a group shares half the variance."""
    num_groups = num_examples // cell.group
    of_group = rng.choice(cell.classes, num_groups, p=class_shares(cell))
    shared = rng.normal(size=(num_groups, cell.classes)) * np.sqrt(0.5 * (cell.group > 1))
    labels, shared = (np.repeat(x, cell.group, axis=0) for x in (of_group, shared))
    own = rng.normal(size=shared.shape) * np.sqrt(1 - 0.5 * (cell.group > 1))
    scores = shared + own + cell.accuracy * np.eye(cell.classes)[labels]
    return measures.Outcome(scores.argmax(axis=1), labels, cell.classes, scores)


def of_scores(rng: np.random.Generator, cell: Cell, num_tests: int) -> Iterator[EvaluationSet]:
    large = scored(rng, cell, _LARGE)
    truth = measures.ESTIMATES[cell.measure](large).value
    for _ in range(num_tests):
        outcome = scored(rng, cell, cell.examples)
        groups = np.arange(len(outcome.labels)) // cell.group if cell.group > 1 else None
        yield EvaluationSet(outcome, groups, truth)


# --- the table ---------------------------------------------------------------------------------


def simulate(cell: Cell, num_tests: int, seed: int = 0) -> tuple[int, float]:
    """How many of the intervals contain the true value, and their mean length."""
    rng = np.random.default_rng(seed)
    draw: Callable[..., Iterator[EvaluationSet]] = of_predictions
    if cell.measure in ("auroc", "ap"):
        draw = of_scores
    held, length = 0, 0.0
    for test in draw(rng, cell, num_tests):
        found = measures.with_interval(cell.measure, test.outcome, test.groups)
        held += found.low <= test.truth <= found.high
        length += found.high - found.low
    return held, length / num_tests


def line(cell: Cell, num_tests: int) -> str:
    """A line of the table."""
    held, length = simulate(cell, num_tests)
    tail = "equal" if cell.tail == 1 else f"1 to {cell.tail:g}"
    what = f"distance {cell.accuracy:g}" if cell.measure in ("auroc", "ap") else (
        words.percent(cell.accuracy)
    )  # fmt: skip
    cells = [
        measures.TITLES[cell.measure], cell.classes, f"{cell.examples:,}",
        tail + (", rare ones worse" if cell.falling else ""), what,
        cell.group if cell.group > 1 else "none", words.of_count(held, num_tests),
        f"{100 * length:.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"
