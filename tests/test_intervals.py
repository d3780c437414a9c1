"""Estimates without one example, and the intervals that are made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from lincls import evaluation

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(61)
NUM, CLASSES = 40, 5
LABELS = np.concatenate([RNG.integers(0, 4, NUM - 1), [4]])  # one class has one example
SCORES = np.round(RNG.normal(size=(NUM, CLASSES)) + np.eye(CLASSES)[LABELS], 1)  # with ties
PREDICTED = SCORES.argmax(axis=1)


def class_means(one_class, scores, labels):
    """A metric of sklearn's for two classes, as a mean over the classes that have examples."""
    return np.mean([one_class(labels == c, scores[:, c]) for c in np.unique(labels)])


def recall(predictions, labels):
    return np.mean([np.mean(predictions[labels == c] == c) for c in np.unique(labels)])


ESTIMATES = {
    "mean": (evaluation.mean, (PREDICTED == LABELS,), np.mean),
    "mean_per_class": (evaluation.mean_per_class, (PREDICTED, LABELS, CLASSES), recall),
    "macro_f1": (
        evaluation.macro_f1, (PREDICTED, LABELS, CLASSES),
        lambda p, y: sklearn.metrics.f1_score(y, p, average="macro"),
    ),
    "auroc": (
        evaluation.auroc, (SCORES, LABELS),
        lambda s, y: class_means(sklearn.metrics.roc_auc_score, s, y),
    ),
    "average_precision": (
        evaluation.average_precision, (SCORES, LABELS),
        lambda s, y: class_means(sklearn.metrics.average_precision_score, s, y),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ESTIMATES)
def test_an_estimate_and_its_values_without_each_example_are_sklearns(name):
    ours, arguments, theirs = ESTIMATES[name]
    arrays, more = arguments[:2], arguments[2:]
    found = ours(*arrays, *more)
    assert found.value == pytest.approx(theirs(*arrays))
    for i in range(NUM):
        fewer = [np.delete(array, i, axis=0) for array in arrays]
        assert found.without[i] == pytest.approx(theirs(*fewer)), i
    assert found.share.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_group_is_left_out_as_a_whole(name):
    ours, arguments, theirs = ESTIMATES[name]
    arrays, more = arguments[:2], arguments[2:]
    if name == "mean":
        arrays, more = arguments, ()
    groups = np.arange(NUM) // 8
    found = ours(*arrays, *more, groups=groups)
    expected = [theirs(*(array[groups != g] for array in arrays)) for g in range(5)]
    np.testing.assert_allclose(found.without, expected)


def test_the_variance_of_an_area_is_delongs():
    labels = np.arange(60) % 2
    scores = RNG.normal(size=60) + labels
    found = evaluation.auroc(np.stack([-scores, scores], axis=1), labels)
    pairs = scores[labels == 1][:, None] > scores[labels == 0]
    variance = sum(pairs.mean(axis=axis).var(ddof=1) / 30 for axis in (0, 1))
    jackknife = 59 * np.var(found.without)
    assert jackknife == pytest.approx(variance, rel=0.05)


def test_without_groups_the_interval_of_a_share_is_nearly_wilsons():
    for right, total in ((180, 200), (30, 30), (1, 40)):
        found = evaluation.interval(evaluation.mean(np.arange(total) < right))
        np.testing.assert_allclose(found, evaluation.wilson_interval(right, total), atol=0.01)


@pytest.mark.parametrize("name", ["mean_per_class", "macro_f1"])
def test_no_mistake_is_no_certainty(name):
    labels = np.arange(30) % 3
    found = getattr(evaluation, name)(labels, labels, 3)
    low, high = evaluation.interval(found)
    assert found.value == high == 1
    assert low == pytest.approx(evaluation.wilson_interval(30, 30).low, abs=0.02)


def test_groups_are_left_out_together():
    hits = np.repeat(np.arange(20) % 4 > 0, 10)  # all of a group alike: 20 examples, not 200
    groups = np.repeat(np.arange(20), 10)
    found = evaluation.interval(evaluation.mean(hits, groups))
    alone = evaluation.interval(evaluation.mean(hits[::10]))
    np.testing.assert_allclose(found, alone, atol=1e-12)
    each = evaluation.interval(evaluation.mean(hits))
    assert found.high - found.low > 2.5 * (each.high - each.low)
    with pytest.raises(ValueError, match="groups must be at least 2"):
        evaluation.mean(hits, np.zeros(200))


def test_the_interval_of_a_long_tail_holds_the_truth():
    """100 classes, the most frequent 100 times as frequent as the rarest."""
    rng = np.random.default_rng(62)
    share = 100 ** -np.linspace(0, 1, 100)
    recalls = rng.uniform(0.5, 1, 100)
    held = []
    for _ in range(100):
        labels = rng.choice(100, 2000, p=share / share.sum())
        wrong = rng.random(2000) > recalls[labels]
        predicted = np.where(wrong, (labels + 1) % 100, labels)
        low, high = evaluation.interval(evaluation.mean_per_class(predicted, labels, 100))
        held.append(low <= recalls.mean() <= high)
    assert np.mean(held) >= 0.93


def weighted_mean(weight, values):
    return jnp.sum(weight * values) / jnp.sum(weight)


def test_a_bootstrap_of_groups_draws_whole_groups():
    values = np.repeat(RNG.random(25), 4).astype(np.float32)
    groups = np.repeat(np.arange(25).astype(str), 4)
    found = evaluation.bootstrap(
        jax.random.key(0), weighted_mean, 100, 2000, groups=groups, args=(values,)
    )
    expected = values[::4].std() / np.sqrt(25)
    assert found.std() == pytest.approx(expected, rel=0.06)


def test_a_statistic_of_one_size_is_compiled_once():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, _, **more: compiled.append(name) if "trace" in name else None
    )
    key = jax.random.key(1)
    for values in (np.ones(50, np.float32), np.arange(50, dtype=np.float32)):
        before = len(compiled)
        found = evaluation.bootstrap(key, weighted_mean, 50, 20, args=(values,))
        assert found.mean() == pytest.approx(values.mean(), rel=0.2)
    assert len(compiled) == before


def test_the_score_of_brier_is_sklearns():
    found = evaluation.brier(np.array([[0.2, 0.8], [0.6, 0.4], [1, 0]]), np.array([1, 1, 0]))
    theirs = sklearn.metrics.brier_score_loss([1, 1, 0], [0.8, 0.4, 0])
    assert found == pytest.approx(2 * theirs)


def test_where_a_rare_class_decides_the_interval_has_its_degrees_of_freedom():
    """Two of 1,002 examples carry half of the mean: 2 degrees of freedom, not 1,001."""
    labels = np.array([1, 1] + [0] * 1000)
    predicted = np.array([1, 0] + [0] * 1000)
    found = evaluation.mean_per_class(predicted, labels, 2)
    low, high = evaluation.interval(found)
    variance, inverse = 1001**2 * np.var(found.without) / 1001, 2 / 16 + 1000 / 2000**2
    n = (0.75 * 0.25 + inverse) / (variance + inverse**2)
    theirs = [
        end for z in scipy.stats.t.ppf([0.025, 0.975], inverse**2 / (2 / 4**4 + 1000 / 2000**4))
        for end in [(0.75 + z * z / 2 / n + z * np.sqrt(0.75 * 0.25 / n + z * z / 4 / n / n))
                    / (1 + z * z / n)]
    ]  # fmt: skip
    np.testing.assert_allclose((low, high), theirs, rtol=1e-6)


def test_of_many_examples_the_paired_interval_is_that_of_a_paired_t_test():
    a, b = RNG.random(5000) < 0.8, RNG.random(5000) < 0.7
    found = evaluation.paired_difference(a, b)
    theirs = scipy.stats.ttest_rel(a.astype(float), b.astype(float)).confidence_interval(0.95)
    assert found.value == pytest.approx(a.mean() - b.mean())
    np.testing.assert_allclose(found.interval, theirs, atol=2e-4)


def test_the_paired_interval_of_right_and_wrong_is_that_of_bonett_and_price():
    only_a, only_b, num = 7, 2, 60
    a, b = np.arange(num) < only_a, (np.arange(num) >= only_a) & (np.arange(num) < only_a + only_b)
    p, q = (only_a + 1) / (num + 2), (only_b + 1) / (num + 2)
    deviation = np.sqrt((p + q - (p - q) ** 2) / (num + 2))
    found = evaluation.paired_difference(a, b, confidence=0.9).interval
    # Student's t and the unbiased variance instead of the normal distribution's:
    reach = scipy.stats.t.ppf(0.95, num - 1) * deviation * np.sqrt(num / (num - 1))
    np.testing.assert_allclose(found, (p - q - reach, p - q + reach))


def test_equal_classifiers_differ_by_0_within_an_interval_that_is_no_point():
    right = RNG.random(50) < 0.9
    value, (low, high) = evaluation.paired_difference(right, right)
    assert value == 0
    assert -0.1 < low < 0 < high < 0.1


def test_groups_are_the_units_of_a_difference():
    groups = np.repeat(np.arange(40), 25)
    of_group = RNG.random(40) < 0.5  # all or nothing in a group
    a, b = of_group[groups], ~of_group[groups]
    alone, grouped = (evaluation.paired_difference(a, b, g).interval for g in (None, groups))
    assert grouped.high - grouped.low == pytest.approx(5 * (alone.high - alone.low), rel=0.1)


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [([1.0], [0.5], "a must be at least 2"), ([1.0, 2.0], [0.5, 0.5], "a must be"),
     ([1.0, 0.5], [np.nan, 0.5], "b has no value")],
)  # fmt: skip
def test_what_is_no_pair_of_shares_is_refused(a, b, told):
    with pytest.raises(ValueError, match=told):
        evaluation.paired_difference(np.array(a), np.array(b))
