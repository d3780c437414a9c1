"""Verdicts on the losses (slides 32-47) follow from the numbers of their records."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.report import softmax_loss as softmax_report
from experiments.report import svm_loss as svm_report
from experiments.report.findings import AGREES, DIFFERS, MISPRINT


def hinges(apart=1e-6, small=9.01, doubled=0.0, frog=12.9):
    """A record of the SVM loss: the slide's function beside ours, small W, the car with 2W."""
    return SimpleNamespace(
        settings={"factor": 2.0},
        numbers={"slide_38": apart, "small": small, "num_classes": 10, "all_classes": 6.3},
        arrays={
            "table_hinge": np.array([2.9, 0.0, frog]),
            "table_squared": np.array([8.41, 0.0, 83.25]),
            "multiplied_hinge": np.array([4.8, doubled, 23.8]),
        },
    )


@pytest.mark.parametrize(
    ("how", "verdicts"),
    [
        ({}, [MISPRINT, AGREES, AGREES]),
        ({"frog": 10.9}, [AGREES, AGREES, AGREES]),
        ({"apart": 0.01}, [MISPRINT, DIFFERS, AGREES]),
        ({"small": 8.0}, [MISPRINT, DIFFERS, AGREES]),
        ({"doubled": 0.1}, [MISPRINT, AGREES, DIFFERS]),
    ],
)
def test_slides_32_to_40_misprints_the_same_function_and_twice_the_w(how, verdicts):
    answers = svm_report.findings(hinges(**how)).answers
    assert [answer.verdict for answer in answers.values()] == verdicts


def entropies(small=2.3, right=0.45):
    """A record of the softmax loss: its value at small W, and on slide 46's example."""
    cat = float(-np.log(np.exp(3.2) / np.exp([3.2, 5.1, -1.7]).sum()))
    moved = [1e-3, 0.5, 0.0, 2e-3, 0.8, 0.0]
    judged = {"reg": 0.0, "error": 0.01, "confidence": 0.9, "accuracy": 0.9, "log_loss": 0.3}
    return SimpleNamespace(
        settings={"change": 0.5},
        numbers={"small": small, "num_classes": 10, "scores": [-2.85, 0.86, 0.28],
                 "calibration": [judged]},
        arrays={
            "softmax_examples": np.array([cat, right, *moved]),
            "svm_examples": np.array([2.9, 1.58, 0, 0, 0, 0, 1, 0]),
            "bin_right": np.array([[0, 9]]), "bin_total": np.array([[0, 10]]),
        },
    )  # fmt: skip


@pytest.mark.parametrize(("small", "verdict"), [(2.3, MISPRINT), (1.5, DIFFERS)])
def test_slides_43_to_45_a_wrong_number_is_a_misprint_unless_training_begins_elsewhere(
    small, verdict
):
    answers = softmax_report.findings(entropies(small)).answers
    assert [answer.verdict for answer in answers.values()] == [verdict, MISPRINT]


def test_slide_47_each_loss_is_counted_where_it_changes():
    told = softmax_report.findings(entropies()).answers["46-47"].because
    assert "SVM loss in 1 of 3" in told
    assert "softmax loss in 2" in told
