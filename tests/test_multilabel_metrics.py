"""Metrics of several labels a row, and their intervals: scikit-learn's, also without an example."""

import warnings

import numpy as np
import pytest
import sklearn.metrics

from lincls import evaluation

RNG = np.random.default_rng(225)
N, C = 80, 4


def mean_ap(scores, labels):
    both = labels.any(axis=0) & ~labels.all(axis=0)
    each = sklearn.metrics.average_precision_score
    return np.mean([each(labels[:, c], scores[:, c]) for c in np.flatnonzero(both)])


SCORES = np.round(RNG.normal(size=(N, C + 3)), 1)  # with ties
LABELS = np.column_stack([
    SCORES[:, :C] + RNG.normal(size=(N, C)) > [0, 0.5, 1, 2], np.arange(N) == 3,
    np.arange(N) != 5, np.zeros(N),
]).astype(bool)  # fmt: skip
PREDICTED = (SCORES > 0.5) & (np.arange(C + 3) != C)


def f1(average):
    def score(predictions, labels):
        there = labels.any(axis=0) | predictions.any(axis=0)
        return sklearn.metrics.f1_score(labels[:, there], predictions[:, there], average=average)

    return score


METRICS = {
    "ap": (evaluation.multilabel_average_precision, SCORES, mean_ap),
    "micro": (evaluation.multilabel_micro_f1, PREDICTED, f1("micro")),
    "macro": (evaluation.multilabel_macro_f1, PREDICTED & LABELS.any(axis=0), f1("macro")),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_and_its_values_without_each_example_are_sklearns(name):
    ours, said, theirs = METRICS[name]
    found = ours(said, LABELS)
    assert found.value == pytest.approx(theirs(said, LABELS))
    expected = [theirs(np.delete(said, i, axis=0), np.delete(LABELS, i, axis=0)) for i in range(N)]
    np.testing.assert_allclose(found.without, expected)
    assert found.share.sum() == pytest.approx(1)
    low, high = evaluation.interval(found)
    assert 0 <= low < found.value < high <= 1


@pytest.mark.parametrize("name", METRICS)
def test_a_group_is_left_out_as_a_whole(name):
    ours, said, theirs = METRICS[name]
    groups = np.arange(N) // 20
    found = ours(said, LABELS, groups)
    expected = [theirs(said[groups != g], LABELS[groups != g]) for g in range(4)]
    np.testing.assert_allclose(found.without, expected)


def test_average_precision_of_each_class():
    found = evaluation.per_class_average_precision(SCORES, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sklearn.metrics.average_precision_score(LABELS, SCORES, average=None)
    np.testing.assert_allclose(found[:-1], expected[:-1])
    assert np.isnan(found[-1])


def test_one_hot_rows_have_the_metrics_of_one_label():
    labels = RNG.integers(0, C, N)
    rows, scores = np.eye(C)[labels], SCORES[:, :C]
    assert evaluation.multilabel_average_precision(scores, rows).value == pytest.approx(
        evaluation.average_precision(scores, labels).value
    )
    said = np.eye(C)[scores.argmax(axis=1)]
    assert evaluation.multilabel_micro_f1(said, rows).value == pytest.approx(
        evaluation.accuracy(scores.argmax(axis=1), labels)
    )
    assert evaluation.multilabel_macro_f1(said, rows).value == pytest.approx(
        evaluation.macro_f1(scores.argmax(axis=1), labels, C).value
    )


@pytest.mark.parametrize(
    ("fn", "arguments", "named"),
    [
        ("multilabel_average_precision", (SCORES[:, :2], LABELS), "scores must have the shape"),
        ("multilabel_average_precision", (SCORES * np.nan, LABELS), "scores holds NaN"),
        ("multilabel_average_precision", (SCORES, LABELS * 2), r"labels must be 0 and 1, got 2"),
        ("multilabel_average_precision", (SCORES, LABELS * 0), "labels must have a class"),
        ("multilabel_average_precision", (SCORES[:1], LABELS[:1]), "labels must be of at least 2"),
        ("per_class_average_precision", (SCORES, LABELS[:, 0]), r"labels must have shape \(N, C\)"),
        ("multilabel_micro_f1", (SCORES, LABELS), "predictions must be 0 and 1"),
        ("multilabel_micro_f1", (LABELS[:, :2], LABELS), "predictions must have the shape"),
        ("multilabel_macro_f1", (LABELS * 0, LABELS * 0), "are 0 everywhere"),
    ],
)
def test_what_a_metric_must_not_be_given_is_named(fn, arguments, named):
    with pytest.raises((TypeError, ValueError), match=named):
        getattr(evaluation, fn)(*arguments)
