from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lincls import distances
from lincls.knn import search
from tests import oracles_knn
from tests.shares import further

pytestmark = pytest.mark.usefixtures("quick_compiles")

METRICS = [distances.l1, distances.l2, distances.cosine]


@partial(jax.jit, static_argnums=0)
def in_one_program(metric, queries, X):
    return metric.pairwise(metric.prepare(queries), metric.prepare(X))


def all_distances(metric, queries, X):
    with distances.exact_scope(X):
        return np.asarray(in_one_program(metric, queries, X))


def pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_the_lecture_s_456():
    test = np.array([[56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220]])
    train = np.array([[10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112]])
    a, b = test.astype(np.uint8), train.astype(np.uint8)
    assert all_distances(distances.l1, a, b).tolist() == [[456]]


@pytest.mark.parametrize("metric", METRICS[:2], ids=lambda metric: metric.name)
@pytest.mark.parametrize(
    "num_features", [1, 129, 33_000, *(further(num) for num in (64, 128, 192, 193, 784, 3072))]
)
def test_pixels_are_exact(metric, num_features):
    queries, X = pixels(0, 4, num_features), pixels(1, 9, num_features)
    found = all_distances(metric, queries, X)
    np.testing.assert_array_equal(found, oracles_knn.distances(metric.name, queries, X))


def test_products_of_as_many_points_as_the_cache_holds_are_those_of_all(monkeypatch):
    monkeypatch.setattr(distances, "_CACHED", 4 * 197)  # four points, the last four overlap
    monkeypatch.setattr(distances, "_POINTS_AT_ONCE", 4)
    queries, X = pixels(0, 3, 197), pixels(1, 11, 197)
    distances._square_norms.clear_cache()  # compiled for points of another number at once
    found = distances.l2.pairwise(distances.l2.prepare(queries), distances.l2.prepare(X))
    distances._square_norms.clear_cache()
    np.testing.assert_array_equal(found, oracles_knn.distances("l2", queries, X))


@pytest.mark.parametrize("metric", METRICS[:2], ids=lambda metric: metric.name)
@pytest.mark.parametrize(
    "num_features", [32_767, 33_026, *(further(num) for num in (192, 32_768, 33_025, 150_528))]
)
def test_black_against_white_does_not_wrap(metric, num_features):
    X = np.stack([np.zeros(num_features, np.uint8), np.full(num_features, 255, np.uint8)])
    largest = num_features * (255 if metric is distances.l1 else 255**2)
    found = all_distances(metric, X, X)
    assert found.tolist() == [[0, largest], [largest, 0]]
    assert found.dtype == (np.int32 if num_features <= 32_767 else np.int64)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("dtype", [further(np.float16), np.float32, np.float64])
def test_floating_points(metric, dtype):
    rng = np.random.default_rng(2)
    queries = rng.normal(size=(5, 300)).astype(dtype)
    X = rng.normal(size=(7, 300)).astype(dtype)
    X[3] = 0
    expected = oracles_knn.distances(metric.name, queries, X)
    with jax.enable_x64(dtype == np.float64):
        found = all_distances(metric, queries, X)
    assert found.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-12 if dtype == np.float64 else 3e-6)


@pytest.mark.parametrize("metric", METRICS[:2], ids=lambda metric: metric.name)
def test_far_from_the_origin_nothing_cancels(metric):
    X = np.float32(1e4) + np.random.default_rng(3).normal(size=(6, 50)).astype(np.float32)
    expected = oracles_knn.distances(metric.name, X, X)
    np.testing.assert_allclose(all_distances(metric, X, X), expected, rtol=1e-5, atol=0)


def test_cosine_of_pixels():
    queries, X = pixels(4, 3, 500), pixels(5, 4, 500)
    found = all_distances(distances.cosine, queries, X)
    np.testing.assert_allclose(
        found, oracles_knn.distances("cosine", queries, X), rtol=0, atol=1e-6
    )


def chebyshev(a, b):
    return jnp.max(jnp.abs(a - b))


def test_pointwise_takes_any_function_of_two_points():
    metric = distances.pointwise(chebyshev)
    queries, X = pixels(6, 3, 20), pixels(7, 5, 20)
    expected = np.abs(queries[:, None].astype(float) - X.astype(float)).max(axis=2)
    np.testing.assert_array_equal(all_distances(metric, queries, X), expected)
    assert metric.name == "chebyshev"


def test_the_same_function_is_the_same_metric():
    assert distances.pointwise(chebyshev) == distances.pointwise(chebyshev)
    assert hash(distances.pointwise(chebyshev)) == hash(distances.pointwise(chebyshev))
    assert distances.pointwise(chebyshev) != distances.pointwise(jnp.vdot)


def test_keys_keep_the_order_and_come_back():
    limit = 2**31 - 2**24
    values = np.array([0, 1, 2, 2**23, 2**24, 2**24 + 1, 2**30, limit - 2, limit - 1], np.int32)
    keys = search.order_keys(values)
    assert np.all(np.diff(np.asarray(keys)) > 0)
    assert np.isfinite(keys[-1])
    np.testing.assert_array_equal(search.from_keys(keys, np.dtype(np.int32)), values)


def test_the_key_of_an_empty_place_is_the_largest_distance():
    infinity = jnp.full((1,), jnp.inf)
    assert search.from_keys(infinity, np.dtype(np.int32)) == 2**31 - 1
    assert search.from_keys(infinity, np.dtype(np.float32)) == np.finfo(np.float32).max


def test_wide_rows_outside_64_bits_say_what_to_do():
    with pytest.raises(ValueError, match="enable_x64"):
        distances.l2.prepare(np.zeros((2, 32_768), np.uint8))
