import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from lincls import evaluation

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(60)
SCORES = RNG.normal(size=(200, 5)).astype(np.float32)
LABELS = RNG.integers(0, 5, 200)
PREDICTED = SCORES.argmax(axis=1)
WEIGHT = RNG.random(200)


def test_bootstrap_of_an_accuracy_has_the_binomial_spread_and_scipys_interval():
    right = (np.arange(400) % 5 > 0).astype(np.float32)  # 80 % of 400

    def accuracy(weight):
        return jnp.sum(weight * right) / jnp.sum(weight)

    samples = evaluation.bootstrap(jax.random.key(3), accuracy, 400, 2000)
    assert samples.shape == (2000,)
    assert samples.mean() == pytest.approx(0.8, abs=0.002)
    assert samples.std() == pytest.approx(np.sqrt(0.8 * 0.2 / 400), rel=0.05)
    theirs = scipy.stats.bootstrap(
        (right,), np.mean, method="percentile", n_resamples=2000, rng=np.random.default_rng(4)
    ).confidence_interval
    np.testing.assert_allclose(np.quantile(samples, [0.025, 0.975]), theirs, atol=0.005)
    again = evaluation.bootstrap(jax.random.key(3), accuracy, 400, 100)
    assert (again == samples[:100]).all()


def test_accuracy_and_top_k_are_sklearns():
    for weight in (None, WEIGHT):
        assert evaluation.accuracy(PREDICTED, LABELS, weight) == pytest.approx(
            sklearn.metrics.accuracy_score(LABELS, PREDICTED, sample_weight=weight)
        )
        for k in (1, 2, 5):
            expected = (
                sklearn.metrics.top_k_accuracy_score(
                    LABELS, SCORES, k=k, sample_weight=weight, labels=range(5)
                )
                if k < 5
                else 1.0
            )
            assert evaluation.top_k_accuracy(SCORES, LABELS, k, weight) == pytest.approx(expected)


def test_top_one_of_equal_scores_is_what_predict_says():
    equal = np.zeros((3, 4))
    assert evaluation.top_k_accuracy(equal, np.array([0, 1, 3]), 1) == pytest.approx(1 / 3)


def test_confusion_and_per_class():
    counts = evaluation.confusion(PREDICTED, LABELS, 5)
    assert (counts == sklearn.metrics.confusion_matrix(LABELS, PREDICTED)).all()
    recall = sklearn.metrics.recall_score(LABELS, PREDICTED, average=None)
    np.testing.assert_allclose(evaluation.per_class_accuracy(PREDICTED, LABELS, 5), recall)
    with_empty_class = evaluation.per_class_accuracy(PREDICTED, LABELS, 6)
    assert np.isnan(with_empty_class[5])


def test_log_loss_is_sklearns():
    e = np.exp(SCORES.astype(np.float64))
    expected = sklearn.metrics.log_loss(LABELS, e / e.sum(axis=1, keepdims=True))
    assert evaluation.log_loss(SCORES, LABELS) == pytest.approx(expected)


def test_wilson_interval_by_its_formula():
    correct, total, z = 91, 100, 1.959963984540054
    centre = (correct + z**2 / 2) / (total + z**2)
    half = z / (total + z**2) * np.sqrt(correct * (total - correct) / total + z**2 / 4)
    interval = evaluation.wilson_interval(correct, total)
    np.testing.assert_allclose(interval, [centre - half, centre + half], rtol=1e-9)
    assert evaluation.wilson_interval(100, 100).high == 1


def test_mcnemar_counts_only_where_exactly_one_is_right():
    labels = np.zeros(30, int)
    a, b = np.zeros(30, int), np.zeros(30, int)
    b[:9] = 1  # only a is right on 9
    a[9:10] = 1  # only b on 1
    assert evaluation.mcnemar(a, b, labels) == pytest.approx(2 * 11 / 1024)
    assert evaluation.mcnemar(a, a, labels) == 1


def test_nan_scores_are_never_right():
    scores = np.full((4, 3), np.nan, np.float32)
    assert evaluation.top_k_accuracy(scores, np.array([0, 1, 2, 2]), 1) == 0.25  # as argmax has it
    one = np.array([[0.9, np.nan, 0.1]], np.float32)
    assert evaluation.top_k_accuracy(one, np.array([0]), 1) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: evaluation.confusion(np.array([3, 0]), np.array([0, 1]), 3),
        lambda: evaluation.log_loss(np.zeros((2, 3)), np.array([-1, 0])),
        lambda: evaluation.wilson_interval(5, 4),
    ],
)
def test_what_does_not_match_is_refused(call):
    with pytest.raises(ValueError):
        call()


def test_reliability_counts_by_confidence_and_its_error_is_the_mean_gap():
    probabilities = np.array([[0.95, 0.05], [0.05, 0.95], [0.45, 0.55], [0.6, 0.4]])
    found = evaluation.reliability(probabilities, np.array([0, 0, 1, 0]), num_bins=10)
    # 0.6 closes the sixth bin, so 0.55 and 0.6 share it.
    assert found.total.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert found.right.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    assert found.confidence[[5, 9]] == pytest.approx([0.575, 0.95])
    assert np.isnan(found.confidence[0])
    assert found.error == pytest.approx((abs(1 - 0.575) + abs(0.5 - 0.95)) / 2)


def test_probabilities_that_are_frequencies_have_no_calibration_error():
    probabilities = np.tile([0.75, 0.25], (400, 1))
    labels = np.repeat([0, 0, 0, 1], 100)
    assert evaluation.reliability(probabilities, labels).error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_probability_on_an_edge_is_in_the_bin_below(dtype):
    votes = np.array([[6, 4, 0], [8, 2, 0], [10, 0, 0]], dtype) / 10
    found = evaluation.reliability(votes, np.array([0, 1, 0]))
    assert found.total.nonzero()[0].tolist() == [5, 7, 9]


@pytest.mark.parametrize("weight", [[-1, 2], [np.nan, 1], [1], [0, 0], [[1, 1], [1, 1]]])
def test_a_weight_that_is_none_is_refused_by_name(weight):
    with pytest.raises(ValueError, match="weight must"):
        evaluation.accuracy(np.array([1, 0]), np.array([1, 1]), np.array(weight, float))


def test_no_examples_have_no_accuracy_and_no_bootstrap():
    with pytest.raises(ValueError, match="no examples"):
        evaluation.accuracy(np.zeros(0, int), np.zeros(0, int))
    for sizes in ((0, 10), (10, 0)):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            evaluation.bootstrap(jax.random.key(0), jnp.sum, *sizes)


def test_of_votes_only_classes_that_got_one_are_among_the_first():
    votes = np.array([[2.0, 0, 1, 0], [0, 3, 0, 0], [1, 1, 1, 0]])
    scores = np.where(votes > 0, votes, -np.inf)
    for label, expected in enumerate([[1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]]):
        found = evaluation.in_top_k(scores, np.full(3, label), 2)
        assert found.astype(int).tolist() == expected
