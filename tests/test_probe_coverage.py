"""The simulation of the probe's intervals: what it draws, and that they contain the truth."""

import numpy as np
import pytest
import scipy.stats

from experiments.probe.coverage import __main__ as program
from experiments.probe.coverage import of_differences, of_seeds

RNG = np.random.default_rng(5)


def test_the_accuracies_of_drawn_probes_have_the_mean_and_the_deviation_of_the_cell():
    cell = of_seeds.Cell(seeds=6000, examples=1, accuracy=0.6, deviation=0.1)
    accuracies = scipy.stats.norm.cdf(of_seeds.thresholds(RNG, cell))
    assert np.mean(accuracies) == pytest.approx(0.6, abs=0.005)
    assert np.std(accuracies) == pytest.approx(0.1, abs=0.005)


def test_the_interval_of_a_mean_over_seeds_contains_the_mean_over_all_draws():
    cell = of_seeds.Cell(seeds=3, examples=2000, accuracy=0.6, deviation=0.1)
    ends = np.array([of_seeds.interval(RNG, cell) for _ in range(200)])
    assert 0.9 < np.mean((ends[:, 0] <= 0.6) & (ends[:, 1] >= 0.6)) < 0.99


def test_examples_of_a_group_are_right_together_and_embeddings_have_their_accuracies():
    cell = of_differences.Cell(200_000, 50, (0.9, 0.7))
    right = of_differences.hits(RNG, cell)
    np.testing.assert_allclose(right.mean(axis=1), cell.accuracies, atol=0.01)
    of_groups = right[1].reshape(-1, 50).mean(axis=1)
    assert of_groups.std() > 2 * np.sqrt(0.7 * 0.3 / 50)


def test_the_program_prints_a_table_for_each_kind_of_interval(capsys, monkeypatch):
    for table in program.TABLES:
        monkeypatch.setattr(table, "CELLS", table.CELLS[:2])
    assert program.main(["--tests", "3"]) == 0
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert [len(each.splitlines()) for each in tables] == [4, 4, 4]
    assert [len({line.count("|") for line in each.splitlines()}) for each in tables] == [1, 1, 1]
