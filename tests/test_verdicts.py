"""Verdicts of the experiments follow from the numbers of their records."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import linear_plane
from experiments.lab.experiment import Classifier
from experiments.lab.slide_code import NearestNeighbor
from experiments.report import choose_rate as choose_rate_report
from experiments.report import knn_plane as knn_plane_report
from experiments.report import linear_plane as linear_plane_report
from experiments.report import nearest_neighbor as nearest_neighbor_report
from experiments.report import operations, words
from experiments.report import optimum as optimum_report
from experiments.report import random_search as random_search_report
from experiments.report.findings import AGREES, DIFFERS, ELSEWHERE, MISPRINT, UNDECIDED
from lincls import evaluation
from lincls.structs import LinearParams

COUNTS = [500, 1000, 2000, 4000]


def timed(power):
    """A record of vectors of 3 features, whose measured time grows like N to a power."""
    scatter = np.random.default_rng(17).uniform(0.98, 1.02, (8, 4))
    return SimpleNamespace(
        numbers={"slide_counts": COUNTS},
        arrays={"slide_times": 1e-6 * np.array(COUNTS) ** power * scatter},
        image_shape=(1, 3, 1),
    )


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_slide_17_is_decided_by_the_work_and_not_by_a_busy_machine(power):
    record = timed(power)
    work = nearest_neighbor_report._work(record)
    assert work == [1500, 3000, 6000, 12000]
    assert nearest_neighbor_report._of_work(record, work).verdict == AGREES
    assert f"{power:.1f}" in nearest_neighbor_report._times(record, work).caption  # measured


@pytest.mark.parametrize("work", [[3 * n * n for n in COUNTS], [1500, 3000, 6000, 6000]])
def test_slide_17_differs_if_the_work_is_not_linear(work):
    assert nearest_neighbor_report._of_work(timed(1.0), work).verdict == DIFFERS


class EverySecond(NearestNeighbor):
    """Remembers every second example."""

    def train(self, X, y):
        super().train(X[::2], y[::2])


def test_subtractions_are_counted_while_they_are_made():
    assert operations.subtractions(50, 7) == 350
    assert operations.subtractions(50, 7, EverySecond) == 175


def searched(same=20, wraps=True, correct=180, share=0.9):
    """A record of 200 test images, 20 of them asked of the slides' class."""
    right = np.stack([np.ones(20, bool), np.arange(20) < 12])
    return SimpleNamespace(
        numbers={"chance": 0.1, "wraps": wraps, "slide": {"same": same}, "worked": {"ours": 456}},
        arrays={"slide_right": right[: 1 + wraps], "shares": np.tile([share - 0.1, share], 50)},
        classifiers=[Classifier("nearest neighbour, L1", "", correct, 200, 1)],
        settings={"num_neighbors": 10},
        image_shape=(8, 8, 1),
    )


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (searched(wraps=False), AGREES),
        (searched(), MISPRINT),  # the code is correct on floats, its line is not on uint8
        (searched(same=19, wraps=False), DIFFERS),
        (searched(same=19), DIFFERS),
    ],
)
def test_slides_15_and_16_ask_for_the_same_labels(record, verdict):
    assert nearest_neighbor_report._answers(record)["15-16"].verdict == verdict


@pytest.mark.parametrize(
    ("correct", "share", "verdict"),
    [(180, 0.9, AGREES), (22, 0.155, UNDECIDED), (2, 0.1, DIFFERS)],
)
def test_slides_10_to_13_compare_with_the_most_frequent_class(correct, share, verdict):
    answers = nearest_neighbor_report._answers(searched(correct=correct, share=share))
    assert {answers[slides].verdict for slides in ("10", "11", "13")} == {verdict}
    assert answers["14"].verdict == AGREES


def test_what_uint8_costs_stays_within_100_points():
    record = searched()
    record.arrays["slide_right"] = np.stack([np.ones(20, bool), np.arange(20) < 1])
    lost = nearest_neighbor_report._lost(record)
    assert 0.8 < lost.low < lost.high == 1


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


def test_each_end_of_the_learning_rates_costs_what_it_is_below_the_choice():
    (table,) = choose_rate_report.findings(chosen([0.5, 0.9, 0.6])).tables
    costs = {row[0]: row[-1] for row in table.rows}
    assert costs["lowest learning rate"] == "+40.0 to +40.0 points"
    assert costs["highest learning rate"] == "+30.0 to +30.0 points"
    assert costs["weakest penalty"] == costs["strongest penalty"] == "0 points"  # only one


def drawn_at_random(accuracies, name="cifar10"):
    """A record of random searches that end with these accuracies on 1,000 examples."""
    losses = np.array([9.0, 8.0, 8.5])[None] + np.zeros((len(accuracies), 1))
    other = {"right": 120, "least_loss": 8.9}
    return SimpleNamespace(
        settings={"num_draws": 3},
        numbers={"accuracies": accuracies, "chance": 0.1, "total": 1000, "greatest_pixel": 255.0,
                 "as printed": other, "divided": other},
        arrays={"loss": losses, "best": np.minimum.accumulate(losses, axis=1)},
        data={"name": name}, classifiers=[Classifier("", "", 150, 1000, 1)],
    )  # fmt: skip


def test_fewer_draws_than_slide_49_prints_are_told_beside_as_many_of_them(monkeypatch):
    monkeypatch.setattr(random_search_report, "SLIDE_LOSSES", (9.4, 8.9, 9.0, 8.7))
    rows = random_search_report._printout(drawn_at_random([0.14, 0.15])).rows
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[2][1:] == ("8.500000", "8.000000", "9.000000", "8.900000")


@pytest.mark.parametrize(
    ("accuracies", "name", "verdict"),
    [
        ([0.14, 0.15, 0.17], "cifar10", AGREES),
        ([0.25, 0.26, 0.27], "cifar10", DIFFERS),
        ([0.14, 0.15, 0.17], "digits", ELSEWHERE),
    ],
)
def test_slide_50_is_one_more_search_on_cifar10(accuracies, name, verdict, monkeypatch):
    monkeypatch.setattr(random_search_report, "SLIDE_LOSSES", (9.4, 8.9, 9.0))
    findings = random_search_report.findings(drawn_at_random(accuracies, name))
    assert findings.verdict == verdict
    assert [row[1:] for row in findings.tables[0].rows[:2]] == [
        ("8.000", "15.0 % (95 % CI 12.9 to 17.3)"),
        ("8.900", "12.0 % (95 % CI 10.1 to 14.2)"),
    ]


def test_the_interval_of_one_more_search_stays_within_0_and_1():
    low, high = random_search_report._another(np.array([0.02, 0.9, 0.5]))
    assert (low, high) == (0, 1)
    narrow = random_search_report._another(np.array([0.14, 0.15, 0.17]))
    assert 0 < narrow.low < 0.14 < 0.17 < narrow.high < 1


@pytest.mark.parametrize(
    ("islands", "own", "ks", "verdicts"),
    [
        ([[9, 4], [8, 5], [9, 5]], [100, 70], [1, 5], [AGREES, AGREES]),
        ([[9, 4], [4, 9], [5, 5]], [100, 100], [1, 5], [UNDECIDED, AGREES]),  # 19 is a fact
        ([[4, 9], [5, 8], [5, 9]], [99, 100], [1, 5], [DIFFERS, DIFFERS]),
        ([[9, 4], [8, 5], [9, 5]], [80, 70], [3, 5], [AGREES, UNDECIDED]),  # k = 1 was not run
    ],
)
def test_slide_18_waits_for_its_interval_and_slide_19_is_checked(islands, own, ks, verdicts):
    numbers = {"islands": islands, "ties": [0.0, 0.1],
               "images": {"own": own, "others": [30, 40], "total": 100}}  # fmt: skip
    record = SimpleNamespace(settings={"ks": ks}, numbers=numbers, data={"name": "some"})
    answers = knn_plane_report.findings(record).answers
    assert [answers[slide].verdict for slide in ("18", "19")] == verdicts


def in_the_plane(blobs=99, rings=52, divided=False, stored=10):
    """A record of two sets of 100 points, half of each of one class."""
    sets = {"blobs": (blobs, None), "rings": (rings, divided)}
    numbers = {name: {"right": right, "total": 100, "chance": 0.5, "divided": line}
               for name, (right, line) in sets.items()}  # fmt: skip
    numbers |= {"kept_by_knn": 100, "kept_by_linear": stored, "scores": [-96.8, 437.9, 60.75]}
    return SimpleNamespace(settings={"toys": list(sets)}, numbers=numbers)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, AGREES),
        ({"blobs": 60}, DIFFERS),
        ({"rings": 90}, DIFFERS),
        ({"divided": True}, DIFFERS),
        ({"stored": 200}, DIFFERS),
    ],
)
def test_slides_26_and_27_a_line_separates_blobs_alone_and_stores_less(changed, verdict):
    answers = linear_plane_report.findings(in_the_plane(**changed)).answers
    assert answers["26-27"].verdict == verdict


def test_slide_28_prints_one_score_wrong():
    found = linear_plane_report.findings(in_the_plane())
    assert found.answers["28"].verdict == MISPRINT
    assert [one.computed for one in found.printed if not one.right] == ["60.75"]
    assert "60.75" in found.answers["28"].because


def descended(end, converged=True, right=None):
    """A record of three runs of SGD from a loss of 2 towards a minimum of 1."""
    right = np.ones((4, 20), bool) if right is None else right
    return SimpleNamespace(
        settings={"losses": ["softmax"], "epochs": 1, "reg": 0.1},
        numbers={"softmax": {"least": 1.0, "grad_norm": 0.0, "steps": 3, "converged": converged}},
        arrays={"softmax: loss": np.array([[2.0] * 3, [end] * 3]), "softmax: right": right},
    )


@pytest.mark.parametrize(
    ("end", "converged", "verdict"),
    [
        (1.001, True, AGREES),
        (1.001, False, UNDECIDED),  # the minimum lies lower than what was found
        (1.5, True, UNDECIDED),
        (3.0, True, DIFFERS),
    ],
)
def test_what_is_on_its_way_down_contradicts_nothing(end, converged, verdict):
    assert optimum_report.findings(descended(end, converged)).verdict == verdict


@pytest.mark.parametrize(("wrong", "differs"), [(0, False), (3, False), (12, True)])
def test_accuracies_differ_if_the_least_of_all_p_values_is_small_for_so_many(wrong, differs):
    right = np.ones((4, 20), bool)
    right[0, :wrong] = False
    told = optimum_report.findings(descended(1.001, right=right)).sentences[-1]
    assert ("do not differ" not in told) == differs


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
