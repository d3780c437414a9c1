"""Verdicts on images and linear classifiers follow from the numbers of their records."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments import images, svm_softmax
from experiments.lab.experiment import AGREES, DIFFERS, OPEN, Classifier

NAMES = ["cat", "bird", "dog"]


@pytest.mark.parametrize(
    ("ratio", "verdict"), [([0.7, 0.9], AGREES), ([0.4, 0.6], OPEN), ([0.1, 0.3], DIFFERS)]
)
def test_slide_9_asks_whether_a_class_varies_by_much(ratio, verdict):
    numbers = {"variation": {"ratio": ratio, "difference": [1.0, 2.0]}, "num_compared": 50}
    assert images._of_variation(SimpleNamespace(numbers=numbers)).verdict == verdict


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


def test_classes_that_cannot_be_told_apart_are_named():
    matrix = np.array([[260, 740, 0], [731, 269, 0], [0, 500, 500]])
    close = svm_softmax._hardest(matrix, NAMES)
    assert "is cat (26.0%, 95% interval 23.4 to 28.8%), not to be told apart from bird (" in close
    assert close.endswith("the easiest is dog (50.0%, 95% interval 46.9 to 53.1%)")
    matrix[1] = [600, 400, 0]
    assert "bird" not in svm_softmax._hardest(matrix, NAMES)


@pytest.mark.parametrize(("second", "alike"), [(185, True), (120, False)])
def test_a_mistake_as_frequent_as_the_first_is_named(second, alike):
    matrix = np.array([[500, 0, 189], [0, 500, 9], [second, 0, 500]])
    told = svm_softmax._confused(matrix, NAMES)
    assert told.startswith("cat is taken for dog (189 times)")
    assert (f"dog for cat ({second})" in told) == alike
    assert len(svm_softmax._mistakes(matrix, NAMES)) == 1 + alike
    assert svm_softmax._confused(np.diag([5, 5, 5]), NAMES) == "none"


@pytest.mark.parametrize(
    ("ended", "correct", "verdict"),
    [(0.5, 900, AGREES), (2.0, 900, DIFFERS), (1.1, 900, OPEN), (0.5, 335, OPEN)],
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
    assert svm_softmax._of_training(record).verdict == verdict
