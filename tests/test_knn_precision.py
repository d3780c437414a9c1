"""Neighbours of numbers that float32 cannot hold, against exact arithmetic in Python."""

from decimal import Decimal, localcontext
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shares import further

from lincls import distances, knn
from lincls.knn import driver, sketches
from lincls.structs import Neighbors

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(90)
CLOUD = RNG.normal(size=(30, 4))


def largest_difference(a, b):
    return jnp.max(jnp.abs(a - b))


LARGEST = distances.pointwise(largest_difference)
METRICS = [distances.l1, distances.l2, distances.cosine, LARGEST]
by_name = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def exact_distance(metric, a, b):
    a, b = ([Fraction(float(value)) for value in row] for row in (a, b))
    if metric.name == "cosine":
        return exact_cosine(a, b)
    gaps = [abs(x - y) for x, y in zip(a, b, strict=True)]
    return {"l1": sum(gaps), "l2": sum(gap**2 for gap in gaps)}.get(metric.name, max(gaps))


def exact_cosine(a, b):
    with localcontext(prec=90):
        aa, bb, ab = (
            sum((Decimal(p.numerator) / p.denominator for p in map(times, x, y)), Decimal(0))
            for x, y in ((a, a), (b, b), (a, b))
        )
        return Fraction(1) if not aa * bb else Fraction(1 - ab / (aa * bb).sqrt())


def times(x, y):
    return x * y


def assert_exact(found, metric, queries, X, k, rtol=1e-13):
    """The same neighbours; for cosine, neighbours at the same angles to the last digit of 1."""
    for row, query in enumerate(queries):
        exact = [exact_distance(metric, query, x) for x in X]
        order = sorted(range(len(X)), key=lambda i, exact=exact: (exact[i], i))[:k]
        expected, chosen = (
            np.array([float(exact[i]) for i in o]) for o in (order, found.indices[row])
        )
        if metric is distances.cosine:
            for angles in (chosen, found.distances[row]):
                np.testing.assert_allclose(np.sqrt(angles), np.sqrt(expected), rtol=0, atol=2e-15)
        else:
            assert found.indices[row].tolist() == order
            np.testing.assert_allclose(found.distances[row], expected, rtol=rtol)


FAR = {
    "0.001 apart at 50,000": 50_000 + 1e-3 * CLOUD,
    "1 apart at 1e9": 1e9 + np.round(4 * CLOUD),
    "units of 1e-60": 1e-60 * CLOUD,
    "units of 1e60": 1e60 * CLOUD,
    "seven digits and more": np.round(1e9 * CLOUD),
}


@pytest.mark.parametrize("name", FAR)
@by_name
def test_float64_rows_have_the_neighbours_of_exact_arithmetic(metric, name):
    X = FAR[name]
    model = knn.fit(X, metric=metric)
    found = knn.neighbors(model, X[:5], 6)
    assert found.distances.dtype == np.float64
    assert_exact(found, metric, X[:5], X, 6)
    np.testing.assert_allclose(found.distances[:, 0], 0, atol=1e-30)  # each is in the data
    alone = knn.neighbors(model, None, 5)
    np.testing.assert_allclose(alone.distances[:5], found.distances[:, 1:], rtol=1e-13)


@by_name
def test_float64_queries_are_not_cut_to_the_float32_of_the_training_data(metric):
    X = (1 + 2.0**-20 * np.arange(12.0)[:, None] * [1, -1]).astype(np.float32)
    queries = X.astype(np.float64)[3:6] + 2.0**-21 * np.array([[1 + 1e-4, 0], [0, 1], [1e-3, 1]])
    for data in (X, jnp.asarray(X)):
        found = knn.neighbors(knn.fit(data, metric=metric), queries, 4)
        assert_exact(found, metric, queries, X, 4)
    found = knn.neighbors(knn.fit(queries, metric=metric), X, 3)  # and the other way round
    assert_exact(found, metric, X, queries, 3)


@pytest.mark.parametrize("scale", [1e-25, 1e-20, 1e19, 3e37])
@pytest.mark.parametrize("metric", [*METRICS[:2], LARGEST], ids=lambda metric: metric.name)
def test_float32_rows_keep_their_neighbours_in_any_unit(metric, scale):
    X = (scale * np.clip(CLOUD, -2, 2)).astype(np.float32)
    assert_exact(knn.neighbors(knn.fit(X, metric=metric), X[:5], 6), metric, X[:5], X, 6, 1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cosine_sees_the_direction_of_the_least_numbers(dtype):
    tiny = float(np.finfo(dtype).smallest_subnormal)
    X = np.array([[3, 4], [4, 3], [-3, 4], [0, 0], [1e30, 0]], dtype)
    X[:3] *= dtype(tiny)
    assert X[0, 1] == 4 * tiny
    expected = np.array([[0, 0.04, 1 - 7 / 25, 1, 0.4]])
    order = np.argsort(expected)
    forms = [X, jnp.asarray(X), X.astype(np.float64)] if dtype is np.float32 else [X]
    for data in forms:
        model = knn.fit(data, metric=distances.cosine)
        for queries in forms:
            found = knn.neighbors(model, queries[:1], 5)
            np.testing.assert_array_equal(found.indices, order)
            np.testing.assert_allclose(found.distances, np.sort(expected), rtol=1e-6, atol=1e-7)
        if data.dtype != X.dtype:  # inside of jit XLA widens numbers below `tiny` to 0
            continue
        with jax.enable_x64(dtype is np.float64):
            inside = jax.jit(lambda q, model=model: knn.search_block(model, q, 5))(X[:1])
        np.testing.assert_array_equal(inside.indices, order)


@pytest.mark.parametrize(
    ("metric", "X", "unit"),
    [
        (distances.l2, 1e300 * CLOUD, "X / 1e"),
        (distances.l2, 1e-170 * CLOUD, "X / 1e-1"),
        (distances.l1, 1e-305 * CLOUD, "X / 1e-30"),
        (distances.l1, np.array([[-1.7e308], [1.7e308]]), "X / 1e"),
    ],
)
def test_distances_that_float64_cannot_hold_are_refused_by_name(metric, X, unit):
    with pytest.raises(ValueError, match=unit):
        knn.fit(X, metric=metric)


def test_a_query_too_far_away_is_refused_by_name():
    model = knn.fit(CLOUD)
    with pytest.raises(ValueError, match="queries"):
        knn.neighbors(model, np.full((1, 4), 1e200), 1)


def test_a_memory_mapped_file_beyond_float32_is_refused_by_name(tmp_path, limited):
    X = np.memmap(tmp_path / "X", np.float32, "w+", shape=(30, 4))
    X[:] = 1e-25 * CLOUD
    limited(device_bytes=0)
    with pytest.raises(ValueError, match="X / 1e-25"):
        knn.fit(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_files_are_searched_in_float64_part_by_part(dtype, tmp_path, limited):
    rows = (50_000 + 1e-1 * CLOUD).astype(dtype)
    X = np.memmap(tmp_path / "X", dtype, "w+", shape=(30, 4))
    X[:] = rows
    queries = rows[:5].astype(np.float64) + 1e-9
    limited(device_bytes=0, part_bytes=7 * rows[:1].nbytes)
    found = knn.neighbors(knn.fit(X), queries, 6)
    assert_exact(found, distances.l2, queries, rows, 6)


N, D = 2 * sketches.SAMPLE, 256


def table_of(metric, queries, X):
    """Squares of differences (M, N), for cosine half those between rows of length 1."""
    if metric is distances.cosine:
        queries, X = (x / np.sqrt((x**2).sum(axis=1, keepdims=True)) for x in (queries, X))
    table = np.stack([((X - query) ** 2).sum(axis=1) for query in queries])
    return table / 2 if metric is distances.cosine else table


@pytest.mark.parametrize(
    ("metric", "on_host", "dtype"),
    [
        (distances.l2, False, np.float32),
        (distances.cosine, True, np.float64),
        further(distances.l2, False, np.float64),
        *(further(distances.l2, True, dtype) for dtype in (np.float32, np.float64)),
        *(further(distances.cosine, False, dtype) for dtype in (np.float32, np.float64)),
        further(distances.cosine, True, np.float32),
    ],
)
def test_pruned_search_in_float64_is_the_search_of_all(
    metric, on_host, dtype, limited, monkeypatch
):
    calls, pruned = [], driver.search_pruned
    monkeypatch.setattr(driver, "search_pruned", lambda *args: calls.append(1) or pruned(*args))
    rng = np.random.default_rng(91)
    X = (1e3 + rng.normal(size=(N, 4)) @ rng.normal(size=(4, D)) + 0.1).astype(dtype)
    queries = X[:3].astype(np.float64) + 1e-6 * rng.normal(size=(3, D))
    if on_host:
        limited(copy_bytes=2**10)
    model = knn.fit(X, metric=metric)
    assert (model.points is None) == on_host
    found = knn.neighbors(model, queries, 5)
    table = table_of(metric, queries.astype(np.longdouble), X.astype(np.longdouble))
    order = np.argsort(table, axis=1)[:, :5]
    np.testing.assert_array_equal(found.indices, order)
    expected = np.take_along_axis(table, order, axis=1)
    np.testing.assert_allclose(np.sqrt(found.distances), np.sqrt(expected), rtol=1e-13, atol=1e-15)
    assert calls


def test_what_follows_a_search_keeps_the_digits():
    X, y = 1e-30 * np.arange(1.0, 7.0)[:, None], np.array([0, 1, 1, 0, 1, 0])
    model, queries = knn.fit(X, y), np.zeros((1, 1))
    found = knn.neighbors(model, queries, 4)
    weights = knn.inverse_distances(model, found)
    np.testing.assert_allclose(weights, [1e30 / np.arange(1.0, 5.0)], rtol=1e-12)
    small = np.asarray(weights) * 1e-90
    np.testing.assert_allclose(
        knn.votes(y[None, :4], 2, small), [[1.25e-60, 5e-60 / 6]], rtol=1e-12
    )
    np.testing.assert_allclose(knn.probabilities(model, found, small), [[0.6, 0.4]], rtol=1e-6)
    assert knn.predictions_by_k(y[None, 1:4], [3], 2, np.array([[1e-50, 3e-50, 3e-50]])) == 1

    def shard(start, stop):
        part = knn.neighbors(knn.fit(X[start:stop]), queries, 3)
        return Neighbors(part.distances, part.indices + start)

    merged = knn.merge(shard(3, 6), shard(0, 3), 4)
    np.testing.assert_array_equal(merged.indices, found.indices)
    np.testing.assert_array_equal(merged.distances, found.distances)


def test_wide_integers_are_merged_and_weighted_without_wrapping():
    far = np.array([[2**33 + 5]])
    a, b = Neighbors(far, np.array([[1]])), Neighbors(far + 1, np.array([[0]]))
    merged = knn.merge(b, a, 2)
    assert np.asarray(merged.distances).tolist() == [[2**33 + 5, 2**33 + 6]]
    X = np.zeros((2, 150_528), np.uint8)
    X[1] = 255
    model = knn.fit(X, [0, 1])
    weights = knn.inverse_distances(model, knn.neighbors(model, X[:1] + 1, 2))
    expected = 1 / np.sqrt(150_528.0) / np.array([[1, 254]])
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_search_block_takes_float64_in_its_own_precision():
    X = FAR["0.001 apart at 50,000"]
    model = knn.fit(X)
    expected = knn.neighbors(model, X[:5], 6)
    found = knn.search_block(model, X[:5], 6)
    np.testing.assert_array_equal(found.indices, expected.indices)
    inside = jax.jit(lambda q: knn.search_block(model, q, 6))(jnp.asarray(np.float32(X[:5])))
    rounded = knn.neighbors(model, np.float32(X[:5]), 6)
    np.testing.assert_array_equal(inside.indices, rounded.indices)
    with pytest.raises(TypeError, match="float64"):
        knn.search_block(knn.fit(np.float32(X)), X[:5], 6)


def test_distances_of_float64_are_not_narrowed_in_silence():
    with pytest.raises(ValueError, match="enable_x64"):
        distances.l2.prepare(CLOUD)
