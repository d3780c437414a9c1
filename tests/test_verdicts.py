"""Verdicts of the experiments follow from the numbers of their records."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import linear_plane
from experiments.lab.experiment import Classifier
from experiments.report import choose_rate as choose_rate_report
from experiments.report import knn_plane as knn_plane_report
from experiments.report import nearest_neighbor as nearest_neighbor_report
from experiments.report import optimum as optimum_report
from experiments.report import words
from experiments.report.findings import AGREES, DIFFERS, UNDECIDED
from lincls import evaluation
from lincls.structs import LinearParams


def timed(power):
    """A record of queries whose time grows like N to a power, with a scatter of some percent."""
    counts = np.array([500, 1000, 2000, 4000])
    scatter = np.random.default_rng(17).uniform(0.98, 1.02, (8, 4))
    return SimpleNamespace(
        numbers={"slide_counts": counts.tolist()},
        arrays={"slide_times": 1e-6 * counts**power * scatter},
    )


@pytest.mark.parametrize(("power", "verdict"), [(1.0, AGREES), (2.0, DIFFERS), (0.5, DIFFERS)])
def test_slide_17_is_linear_if_the_power_of_n_is(power, verdict):
    answer = nearest_neighbor_report._of_time(timed(power))
    assert answer.verdict == verdict
    assert "2,000 to 4,000" in answer.because


def chosen(by_rate):
    """A record of three step sizes and one strength, their accuracies in five folds given."""
    accuracies = np.array(by_rate)[:, None, None] + np.array([0, 0.01, 0.02, 0.01, 0])
    best = {"rate": [1.0, 10.0, 100.0][int(np.argmax(by_rate))], "reg": 0.0}
    return SimpleNamespace(
        settings={"rates": [1.0, 10.0, 100.0], "regs": [0.0], "num_folds": 5, "max_train": 150},
        numbers={"best": best, "one_standard_error": best, "num_folded": 100},
        data={"num_train": 200},
        arrays={"accuracies": accuracies},
        classifiers=[Classifier("linear", "", 90, 100, 1)],
    )


@pytest.mark.parametrize(
    ("by_rate", "verdict"), [([0.5, 0.9, 0.6], AGREES), ([0.5, 0.6, 0.9], UNDECIDED)]
)
def test_slide_21_a_step_size_must_be_better_than_a_lower_and_a_higher_one(by_rate, verdict):
    assert choose_rate_report.findings(chosen(by_rate)).verdict == verdict


@pytest.mark.parametrize(
    ("islands", "own", "verdicts"),
    [
        ([[9, 4], [8, 5], [9, 5]], [100, 70], [AGREES, AGREES]),
        ([[9, 4], [4, 9], [5, 5]], [100, 100], [UNDECIDED, UNDECIDED]),
        ([[4, 9], [5, 8], [5, 9]], [90, 70], [DIFFERS, DIFFERS]),
    ],
)
def test_slides_18_and_19_wait_for_an_interval_on_one_side(islands, own, verdicts):
    numbers = {"islands": islands, "ties": [0.0, 0.1],
               "images": {"own": own, "others": [30, 40], "total": 100}}  # fmt: skip
    record = SimpleNamespace(settings={"ks": [1, 5]}, numbers=numbers, data={"name": "some"})
    answers = knn_plane_report.findings(record).answers
    assert [answers[slide].verdict for slide in ("18", "19")] == verdicts


@pytest.mark.parametrize(("end", "verdict"), [(1.001, AGREES), (1.5, UNDECIDED), (3.0, DIFFERS)])
def test_what_is_on_its_way_down_contradicts_nothing(end, verdict):
    right = np.ones((4, 20), bool)
    record = SimpleNamespace(
        settings={"losses": ["softmax"], "epochs": 1, "reg": 0.1},
        numbers={"softmax": {"least": 1.0, "grad_norm": 0.0, "steps": 3, "converged": True}},
        arrays={"softmax: loss": np.array([[2.0] * 3, [end] * 3]), "softmax: right": right},
    )
    assert optimum_report.findings(record).verdict == verdict


def test_centred_scores_decide_alike_and_have_mean_zero():
    rng = np.random.default_rng(26)
    params = LinearParams(rng.normal(size=(3, 2)), rng.normal(size=3))
    X = rng.normal(size=(50, 2))
    scores, centred = (X @ W.T + b for W, b in (params, linear_plane._centred(params)))
    np.testing.assert_array_equal(centred.argmax(axis=1), scores.argmax(axis=1))
    np.testing.assert_allclose(centred.mean(axis=1), 0, atol=1e-12)


def test_an_interval_of_both_signs_shows_them():
    assert words.signed(evaluation.Interval(-0.012, 0.032)) == "-1.2 to +3.2"
    assert words.signed(evaluation.Interval(-0.0003, 0.032)) == "-0.03 to +3.20"
    assert words.signed(evaluation.Interval(-1e-8, 0.0)) == "+0.000 to +0.000"
