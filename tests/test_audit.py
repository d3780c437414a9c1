"""The audit of data: duplicates, contradicted labels and Shapley values against brute force."""

import itertools
import math

import jax
import numpy as np
import pytest

from lincls import audit, distances, knn, placement
from lincls.audit import values as values_of_audit
from lincls.structs import Neighbors
from tests import oracles_knn

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(80)


def on_few_points(num, num_features=2, values=3):
    """Rows of few different values: many ties and equal rows."""
    return RNG.integers(0, values, (num, num_features)).astype(np.uint8)


# --- Shapley values ----------------------------------------------------------------------------


def utility(subset, apart, y, label, k):
    """Of a set of training examples for one test example: ties go to the smaller index."""
    nearest = sorted(subset, key=lambda i: (apart[i], i))[:k]
    return sum(y[i] == label for i in nearest) / k


def by_coalitions(apart, y, label, k):
    """The definition: the mean gain over all coalitions, weighted by the number of orders."""
    num, values = len(y), np.zeros(len(y))
    for i in range(num):
        others = [j for j in range(num) if j != i]
        for size in range(num):
            share = math.factorial(size) * math.factorial(num - size - 1) / math.factorial(num)
            for subset in itertools.combinations(others, size):
                with_i, without = ((*subset, i), subset)
                gain = utility(with_i, apart, y, label, k) - utility(without, apart, y, label, k)
                values[i] += share * gain
    return values


def by_permutations(apart, y, label, k):
    """The same over all orders in which the examples can arrive."""
    values = np.zeros(len(y))
    orders = list(itertools.permutations(range(len(y))))
    for order in orders:
        worth = [utility(order[:size], apart, y, label, k) for size in range(len(y) + 1)]
        values[list(order)] += np.diff(worth)
    return values / len(orders)


CASES = [(1, 1), (1, 4), (2, 1), (5, 1), (5, 2), (5, 5), (5, 9), (7, 3), (7, 7), (7, 12)]


@pytest.mark.parametrize(("num", "k"), CASES)
@pytest.mark.parametrize("metric", [distances.l2, distances.l1])
def test_shapley_values_are_those_of_all_coalitions(num, k, metric):
    X, queries = on_few_points(num), on_few_points(4)
    y, labels = RNG.integers(0, 3, num), RNG.integers(0, 3, 4)
    weight = np.array([1.0, 0.0, 2.5, 4.0])
    found = audit.shapley(knn.fit(X, y, metric=metric), queries, labels, k, weight=weight)
    apart = oracles_knn.distances(metric.name, queries, X)
    each = [by_coalitions(row, y, label, k) for row, label in zip(apart, labels, strict=True)]
    np.testing.assert_allclose(found.values, weight @ each / weight.sum(), rtol=0, atol=1e-14)
    order = np.array([np.lexsort((np.arange(num), row)) for row in apart])
    alone = audit.shapley_by_query(order, y, labels, k)
    np.testing.assert_allclose(alone, each, rtol=0, atol=1e-14)


def test_values_do_not_depend_on_how_the_weights_lie_in_memory():
    X, queries = on_few_points(40), on_few_points(200)
    y, labels, weight = RNG.integers(0, 3, 40), RNG.integers(0, 3, 200), RNG.random(200)
    model = knn.fit(X, y)
    values = audit.shapley(model, queries, labels, 3, weight=weight).values
    turned = np.ascontiguousarray(weight[::-1])[::-1]
    found = audit.shapley(model, queries, labels, 3, weight=turned).values
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_shapley_values_are_those_of_all_orders_of_arrival(k):
    X, query, y = on_few_points(6), on_few_points(1), np.array([0, 1, 1, 0, 1, 2])
    found = audit.shapley(knn.fit(X, y), query, np.array([1]), k)
    expected = by_permutations(oracles_knn.distances("l2", query, X)[0], y, 1, k)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-13)  # 720 roundings


@pytest.fixture(scope="module")
def task():
    """150 training and 40 test examples with many ties, and unequal classes."""
    y, labels = (RNG.choice(4, num, p=[0.6, 0.2, 0.15, 0.05]) for num in (150, 40))
    return on_few_points(150, 3, 5), y, on_few_points(40, 3, 5), labels


def values(task, k=5, **how):
    X, y, queries, labels = task
    return audit.shapley(knn.fit(X, y), queries, labels, k, **how).values


@pytest.mark.parametrize("k", [1, 5, 150, 400])
def test_values_sum_to_the_utility_of_the_whole_set(task, k):
    X, y, queries, labels = task
    near = knn.neighbors(knn.fit(X), queries, min(k, 150)).indices
    whole = (y[near] == labels[:, None]).sum(axis=1) / k
    assert values(task, k).sum() == pytest.approx(whole.mean(), abs=1e-13)
    weight = 1 / np.bincount(labels)[labels]
    per_class = np.mean([whole[labels == c].mean() for c in np.unique(labels)])
    assert values(task, k, weight=weight).sum() == pytest.approx(per_class, abs=1e-13)


def test_values_follow_a_permutation_of_the_training_set():
    """Without ties, which go by index."""
    X, queries = (RNG.normal(size=(num, 3)).astype(np.float32) for num in (60, 9))
    y, labels, order = RNG.integers(0, 3, 60), RNG.integers(0, 3, 9), RNG.permutation(60)
    given = values((X, y, queries, labels))
    moved = values((X[order], y[order], queries, labels))
    np.testing.assert_allclose(moved, given[order], rtol=0, atol=1e-14)


def test_the_test_set_twice_and_any_block_size_give_the_same_values(task):
    X, y, queries, labels = task
    once = values(task)
    twice = values((X, y, np.concatenate([queries, queries]), np.concatenate([labels, labels])))
    np.testing.assert_allclose(twice, once, rtol=0, atol=1e-14)
    for size in (1, 7, 1000):
        np.testing.assert_allclose(values(task, block_size=size), once, rtol=0, atol=1e-14)


def test_the_full_order_begins_with_the_neighbours(task):
    X, y, queries, labels = task
    model = knn.fit(X, y)
    done = []
    found = audit.shapley(
        model, queries, labels, 5, block_size=16, on_block=lambda *now: done.append(now)
    )
    for one, other in zip(found.neighbors, knn.neighbors(model, queries, 5), strict=True):
        np.testing.assert_array_equal(one, other)
    assert done == [(16, 40), (32, 40), (40, 40)]


def test_rows_on_a_mesh_and_in_64_bits_have_the_same_values(task):
    X, y, queries, labels = task
    once = values(task)
    model = knn.fit(*placement.shard(placement.mesh(), X, y))
    np.testing.assert_array_equal(audit.shapley(model, queries, labels, 5).values, once)
    wide = values((X.astype(np.float64), y, queries.astype(np.float64), labels))
    np.testing.assert_array_equal(wide, once)


def test_a_label_that_no_training_example_has_adds_nothing(task):
    X, y, queries, _ = task
    assert not values((X, y, queries, np.full(40, 9))).any()


def test_a_flipped_label_has_the_least_value():
    y = np.arange(80) % 2
    X, queries = (y[:n, None] * 6 + RNG.normal(size=(n, 2)) for n in (80, 40))
    flipped = np.where(np.arange(80) == 13, 1 - y, y)
    assert values((X, flipped, queries, y[:40])).argmin() == 13


def test_each_number_of_neighbours_runs_the_same_program(task):
    values(task, 3)
    before = values_of_audit._values._cache_size()
    values(task, 4)
    assert values_of_audit._values._cache_size() == before


# --- duplicates --------------------------------------------------------------------------------


def all_pairs(queries, X, at_most, skip_same):
    """All pairs of a loop over both sets, by (query, distance, index)."""
    pairs = []
    for i, query in enumerate(queries.astype(int)):
        of_query = [
            (int(((query - row) ** 2).sum()), j)
            for j, row in enumerate(X.astype(int)) if not skip_same or i < j
        ]  # fmt: skip
        pairs += [(i, j, apart) for apart, j in sorted(of_query) if apart <= at_most]
    return pairs


def as_pairs(found):
    return list(zip(found.queries.tolist(), found.indices.tolist(), found.distances.tolist(),
                    strict=True))  # fmt: skip


@pytest.mark.parametrize("at_most", [0, 1, 3])
def test_duplicates_are_those_of_a_loop(task, at_most):
    X, y, queries, labels = task
    model = knn.fit(X, y)
    across = audit.duplicates(knn.neighbors(model, queries, 150), y, labels, at_most=at_most)
    assert as_pairs(across) == all_pairs(queries, X, at_most, False)
    np.testing.assert_array_equal(across.agree, labels[across.queries] == y[across.indices])
    assert across.complete
    within = audit.duplicates(knn.neighbors(model, None, 149), y, at_most=at_most)
    assert as_pairs(within) == all_pairs(X, X, at_most, True)
    np.testing.assert_array_equal(within.agree, y[within.queries] == y[within.indices])
    assert within.complete


def test_all_of_few_neighbours_that_near_are_said_not_to_be_all():
    X = np.repeat(np.arange(3, dtype=np.uint8), 4)[:, None]
    y = np.arange(12) % 2
    model = knn.fit(X, y)
    for k, complete in ((2, False), (3, False), (4, True)):
        assert audit.duplicates(knn.neighbors(model, None, k), y).complete is complete
    every = audit.duplicates(knn.neighbors(model, None, 4), y)
    pairs = knn.duplicates(model, None, 0.5)
    assert 2 * len(every.queries) == len(pairs.queries) == 3 * 4 * 3


@pytest.mark.parametrize(("metric", "power"), [(distances.l2, 2), (distances.l1, 1)])
def test_the_near_distance_is_a_share_of_the_median_length(metric, power):
    X = np.array([0, 0, 10, 20, 50, 90], np.uint8)[:, None]  # nearest: 0 0 10 10 30 40
    model = knn.fit(X, metric=metric)
    found = knn.neighbors(model, None, 2)
    assert audit.near_distance(model, found, 0.5) == 0.5**power * np.median(
        np.array([10.0, 10, 30, 40]) ** power
    )
    same = knn.fit(np.zeros((3, 2), np.uint8))
    assert audit.near_distance(same, knn.neighbors(same, None, 1)) == 0


def test_chance_is_below_the_near_distance_as_often_as_the_docstring_says():
    X = np.random.default_rng(1).random((4000, 2)).astype(np.float32)
    model = knn.fit(X)
    found = knn.neighbors(model, None, 1)
    share = np.mean(found.distances[:, 0] <= audit.near_distance(model, found, 0.3))
    assert share == pytest.approx(1 - 2 ** -(0.3**2), abs=0.01)


# --- contradictions ----------------------------------------------------------------------------


def contradicted(found, y, own):
    """A loop: rows, labels of most votes, their number, and the distance of the last neighbour."""
    findings = []
    for row, (length, indices) in enumerate(zip(*found, strict=True)):
        voted = [int(y[i]) for i in indices if i < len(y)]
        if voted and own[row] not in voted:
            label = oracles_knn.majority(voted, max(y) + 1)
            findings.append((-voted.count(label), length[len(voted) - 1], row, label))
    return [(row, label, -votes, radius) for votes, radius, row, label in sorted(findings)]


def as_told(found):
    return list(zip(*(part.tolist() for part in found), strict=True))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_contradictions_are_those_of_a_loop(task, k):
    X, y, queries, labels = task
    model = knn.fit(X, y)
    for found, own in (
        (knn.neighbors(model, None, k), None),
        (knn.neighbors(model, queries, k), labels),
    ):
        expected = contradicted(found, y, y if own is None else own)
        assert as_told(audit.contradictions(found, y, own)) == expected
        assert expected


def test_empty_places_do_not_vote():
    X, y = np.array([[0], [1], [9], [11]], np.float32), np.array([0, 1, 2, 3])
    found = knn.neighbors(knn.fit(X, y), None, 3, groups=np.array([0, 0, 0, 1]))
    told = audit.contradictions(found, y)
    assert told.rows.tolist() == [2, 1, 0, 3]  # the last one has votes of three classes
    assert told.votes.tolist() == [1, 1, 1, 1]
    assert told.radius.tolist() == [4, 100, 121, 121]
    alone = knn.neighbors(knn.fit(X, y), None, 3, groups=np.zeros(4, int))
    assert not len(audit.contradictions(alone, y).rows)
    pixels = knn.neighbors(knn.fit(X.astype(np.uint8)), None, 3, groups=np.zeros(4, int))
    assert not len(audit.duplicates(pixels, y, at_most=1e30).queries)


def test_labels_that_agree_contradict_nothing():
    X = np.arange(8, dtype=np.float32)[:, None]
    found = knn.neighbors(knn.fit(X), None, 2)
    assert not len(audit.contradictions(found, np.zeros(8, int)).rows)


# --- doors -------------------------------------------------------------------------------------


def test_what_does_not_fit_together_is_refused(task):
    X, y, queries, labels = task
    found = knn.neighbors(knn.fit(X, y), queries, 3)
    with pytest.raises(ValueError, match="y must have shape"):
        audit.duplicates(found, y)  # neighbours of the queries, and labels of 150
    with pytest.raises(ValueError, match=r"found.indices must lie in 0..20"):
        audit.contradictions(found, y[:20], labels)
    with pytest.raises(ValueError, match="the model has no labels"):
        audit.shapley(knn.fit(X), queries, labels, 3)
    with pytest.raises(ValueError, match=r"indices must hold each of 0..2 once"):
        audit.shapley_by_query(np.array([[0, 1, 1]]), np.arange(3), np.arange(1), 1)
    with pytest.raises(TypeError, match=r"audit.shapley cannot run inside jit"):
        jax.jit(lambda rows: audit.shapley(knn.fit(X, y), rows, labels, 3))(queries)
    with pytest.raises(ValueError, match="found must hold neighbours"):
        audit.contradictions(Neighbors(np.zeros((4, 0)), np.zeros((4, 0), int)), y[:4])
