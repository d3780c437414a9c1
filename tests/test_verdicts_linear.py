"""Verdicts on images and linear classifiers follow from the numbers of their records."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments import images, regularisation
from experiments.lab.experiment import Classifier
from experiments.report import images as images_report
from experiments.report import intervals
from experiments.report import regularisation as regularisation_report
from experiments.report import svm_softmax as svm_softmax_report
from experiments.report.findings import AGREES, DIFFERS, ELSEWHERE, MISPRINT, UNDECIDED
from lincls.evaluation import Interval

NAMES = ["cat", "bird", "dog"]


@pytest.mark.parametrize(
    ("ratio", "verdict"), [([0.7, 0.9], AGREES), ([0.4, 0.6], UNDECIDED), ([0.1, 0.3], DIFFERS)]
)
def test_slide_9_asks_whether_a_class_varies_by_much(ratio, verdict):
    record = SimpleNamespace(
        numbers={"variation": {"ratio": ratio, "difference": [1.0, 2.0]}},
        arrays={"within": np.array([np.mean(ratio)]), "between": np.ones(3)},
    )
    assert images_report._of_variation(record).verdict == verdict


def photos(name="cifar10", shape=(32, 32, 3), dtype="uint8", lost=(5, 5), **changed):
    """A record of images of 10 classes, and what two changes cost 20 of 100 images."""
    right = np.ones((3, 100), bool)
    right[1, : lost[0]] = right[2, : lost[1]] = False
    numbers = {"counts": [5000] * 10, "dtype": dtype, "low": 0, "high": 255, "variation": None,
               "num_compared": 5, "changes": ["viewpoint", "clutter"]} | changed  # fmt: skip
    return SimpleNamespace(
        numbers=numbers, arrays={"right": right}, image_shape=shape,
        data={"name": name, "num_train": 50_000, "num_test": 10_000},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("record", "slides", "verdict"),
    [
        (photos(), "12", AGREES),
        (photos(shape=(32, 32, 1)), "12", DIFFERS),
        (photos("mnist"), "12", ELSEWHERE),  # slide 12 speaks of CIFAR-10
        (photos(), "3", AGREES),
        (photos(dtype="float32"), "3", DIFFERS),
        (photos("mine", (1, 32, 1), "float32"), "3", ELSEWHERE),  # vectors are no images
        (photos(), "1-2", AGREES),
        (photos(counts=[5000] * 9), "1-2", DIFFERS),
    ],
)
def test_slides_1_to_12_facts_are_checked_and_never_undecided(record, slides, verdict):
    assert images_report._answers(record)[slides].verdict == verdict


@pytest.mark.parametrize(
    ("lost", "verdict"), [((20, 20), AGREES), ((20, 0), UNDECIDED), ((0, 0), UNDECIDED)]
)
def test_slides_4_to_8_every_change_must_cost_accuracy(lost, verdict):
    assert images_report._of_changes(photos(lost=lost)).verdict == verdict


def test_slides_4_to_8_speak_of_images_that_can_be_changed():
    record = photos("mine", (1, 32, 1), "float32")
    del record.numbers["changes"]
    assert images_report._of_changes(record).verdict == ELSEWHERE


def test_a_change_costs_100_points_at_most():
    assert all(one.high <= 1 for one in images_report._lost(photos(lost=(99, 100))))


def test_variation_of_two_tight_clusters_is_small_and_of_noise_is_all():
    rng = np.random.default_rng(9)
    same = np.arange(60)[:, None] % 2 == np.arange(60) % 2
    noise = rng.normal(size=(60, 5))
    for X, low, high in ((noise, 0.9, 1.1), (noise + 100 * (np.arange(60) % 2)[:, None], 0, 0.1)):
        apart = np.linalg.norm(X[:, None] - X, axis=-1)
        found = images._variation(jax.random.key(0), apart, same)
        assert low < found["ratio"][0] < found["ratio"][1] < high
        assert (found["difference"][0] > 0) == (high < 1)
    assert images._variation(jax.random.key(0), apart, np.ones_like(same)) is None


@pytest.mark.parametrize(
    ("right", "verdict"),
    [
        ([26, 27, 50], AGREES),
        ([26, 27, 31], UNDECIDED),
        ([100, 100, 100], UNDECIDED),
        ([0, 0, 0], UNDECIDED),
    ],
)
def test_slide_29_some_classes_are_harder_if_chance_does_not_explain_it(right, verdict):
    matrix = np.diag(right)
    matrix[:, 1] += 100 - np.array(right) - (np.arange(3) == 1) * (100 - right[1])
    matrix[1, 2] += 100 - right[1]
    assert svm_softmax_report._of_classes(matrix, NAMES).verdict == verdict


def test_slide_29_the_extremes_of_many_equal_classes_are_no_evidence():
    rng = np.random.default_rng(29)
    verdicts = []
    for _ in range(40):
        right = rng.binomial(100, 0.3, size=100)
        matrix = np.diag(right)
        matrix[np.arange(100), np.arange(100) - 1] = 100 - right
        names = list(map(str, range(100)))
        verdicts.append(svm_softmax_report._of_classes(matrix, names).verdict)
    assert verdicts.count(AGREES) <= 6  # of 40, at 5 %


def test_every_class_of_the_least_and_of_the_greatest_accuracy_is_named():
    matrix = np.array([[5, 5, 0], [10, 0, 0], [0, 10, 0]])
    assert svm_softmax_report._by_class(matrix, NAMES).endswith("0.0 % (bird, dog) to 50.0 % (cat)")
    equal = svm_softmax_report._by_class(np.diag([5, 5, 0]), NAMES)  # no dog in the test set
    assert "100.0 %" in equal
    assert not any(name in equal for name in NAMES)


@pytest.mark.parametrize(("second", "stands_out"), [(185, False), (120, True)])
def test_a_confusion_stands_out_if_the_second_is_rarer_beyond_chance(second, stands_out):
    matrix = np.array([[500, 0, 189], [0, 500, 9], [second, 0, 500]])
    found = svm_softmax_report._confusions(matrix, NAMES)
    assert found == [("cat as dog", 189), ("dog as cat", second), ("bird as dog", 9)]
    assert svm_softmax_report._stands_out(found) == stands_out


def test_without_mistakes_no_confusion_is_told():
    assert svm_softmax_report._confusions(np.diag([5, 5, 5]), NAMES) == []
    assert not svm_softmax_report._stands_out([])
    assert not svm_softmax_report._stands_out([("cat as dog", 1)])


@pytest.mark.parametrize(
    ("ended", "correct", "verdict"),
    [(0.5, 900, AGREES), (2.0, 900, DIFFERS), (1.1, 900, UNDECIDED), (0.5, 335, UNDECIDED)],
)
def test_slide_48_both_losses_fall_and_both_are_better_than_chance(ended, correct, verdict):
    scatter = np.array([-0.9, 0.9] * 5)
    record = SimpleNamespace(
        numbers={"svm": {"reg": 0.0}, "softmax": {"reg": 0.1}},
        arrays={"svm_fall": np.stack([np.full(10, 1.1), np.full(10, 0.1)]),
                "softmax_fall": np.stack([np.full(10, 1.1), ended + scatter * (ended == 1.1)]),
                "softmax_confusion": np.full((3, 3), 111)},
        classifiers=[Classifier("", "", 900, 999, 1), Classifier("", "", correct, 999, 1)],
    )  # fmt: skip
    assert svm_softmax_report._of_training(record).verdict == verdict


def regularised(gain, influence):
    """A record of 4 draws and 200 images: what L2 gains and by what it multiplies influence."""
    rng = np.random.default_rng(41)
    settings = {"l2_regs": [1.0], "regs": [1.0], "radii": [1.0], "shares": [0.5]}
    none = rng.random((4, 200)) < 0.5
    with_l2 = none.copy()
    with_l2[:, :20] = gain > 0 if gain else none[:, :20]
    none[:, :20] = gain < 0 if gain else none[:, :20]
    right = np.stack([none, with_l2, none, none, none, none])
    of_none = 1 + 0.01 * np.arange(4.0)[:, None]
    arrays = {
        "right": right, "right_100": right[:2], "best": np.arange(1, 6)[:, None] + np.zeros(4, int),
        "influence": of_none * [1, influence, 1.5, 1, 1, 1], "share": np.full((4, 6), 0.1),
        "zeros": np.zeros((4, 6)),
    }  # fmt: skip
    numbers = {"sizes": [100], "size_regs": [[1.0] * 4], "fitted": 100, "num_draws": 4,
               "chosen_by": 200, "judged_by": 200, "W1": 1.0, "W2": 0.25}  # fmt: skip
    return SimpleNamespace(settings=settings, numbers=numbers, arrays=arrays,
                           data={"levels": [0, 255]})  # fmt: skip


@pytest.mark.parametrize(
    ("gain", "influence", "verdicts"),
    [
        (1, 0.5, [AGREES, AGREES]),
        (0, 1.0, [UNDECIDED, UNDECIDED]),
        (0, 0.97, [UNDECIDED, UNDECIDED]),  # a sure change, but too small to matter
        (-1, 1.5, [DIFFERS, DIFFERS]),
    ],
)
def test_slides_41_and_42_help_and_influence_have_verdicts_of_their_own(gain, influence, verdicts):
    findings = regularisation_report.findings(regularised(gain, influence))
    assert [findings.answers[slides].verdict for slides in ("41", "42")] == verdicts
    rows = {row[0]: row for row in findings.tables[0].rows}
    assert rows["L1"][5] == "1.52"  # the influence of each kind is told, whatever L2 does
    assert rows["L2"][5] == f"{1.015 * influence:.3g}"


def test_slide_42_a_wrong_penalty_is_a_misprint_unless_the_claim_fails():
    for influence, verdict in ((0.5, MISPRINT), (1.5, DIFFERS)):
        record = regularised(0, influence)
        record.numbers["W2"] = 0.5
        assert regularisation_report.findings(record).answers["42"].verdict == verdict


def test_of_equal_gains_none_is_the_best():
    gains = [regularisation_report.Gain(name, 0.0, Interval(0.0, 0.0)) for name in ("L2", "L1")]
    assert "L2" not in regularisation_report._best(gains)
    better = regularisation_report.Gain("dropout", 0.01, Interval(-0.01, 0.03))
    assert "dropout" in regularisation_report._best([*gains, better])


def test_an_interval_over_draws_and_images_covers_both():
    rng = np.random.default_rng(42)
    draws, pictures = rng.normal(size=(8, 1)), rng.normal(size=(1, 50))
    alone = regularisation_report.crossed(draws + np.zeros((1, 50)), 0.95)
    np.testing.assert_allclose(alone, intervals.of_mean(draws[:, 0]))
    both = regularisation_report.crossed(draws + pictures, 0.95)
    assert both.high - both.low > alone.high - alone.low
    assert regularisation_report.crossed(np.zeros((3, 4)), 0.95) == (0, 0)
    assert regularisation_report.crossed(draws[:1], 0.95) == (-np.inf, np.inf), "one has no spread"


def test_the_strength_of_a_draw_is_the_best_of_the_other_draws():
    accuracy = np.array([[0.5, 0.9], [0.6, 0.5], [0.6, 0.5]])
    assert regularisation._chosen(accuracy).tolist() == [0, 1, 1]
