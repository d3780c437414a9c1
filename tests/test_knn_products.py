"""L2 between floats by a product: the neighbours of float64's table, and of the plain search."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles_knn
import pytest

from lincls import distances, knn
from lincls.knn import products
from lincls.knn.search import nearest

RNG = np.random.default_rng(61)


def clouds(count, num_features, dtype=np.float32, offset=0.0):
    centres = np.random.default_rng(5).normal(size=(10, num_features))
    rows = centres[RNG.integers(10, size=count)] + RNG.normal(size=(count, num_features))
    return (rows + offset).astype(dtype)


def assert_nearest(found, queries, X, rtol, excluded=None):
    """Distances are those of numpy in float64, and indices are where they do not tie."""
    table = oracles_knn.distances("l2", queries, X)
    table = np.where(False if excluded is None else excluded, np.inf, table)
    k = found.indices.shape[1]
    want = np.sort(table, axis=1)[:, :k]
    np.testing.assert_allclose(found.distances, want, rtol=rtol, atol=1e-30)
    real = np.take_along_axis(table, found.indices, axis=1)
    np.testing.assert_allclose(real, want, rtol=rtol, atol=1e-30)
    assert all(len(set(row)) == k for row in found.indices.tolist())


def first(X, queries, k):
    return products._first(distances.l2, products.Block(*map(jnp.asarray, (queries, X)), None), k)


@pytest.mark.parametrize("shape", [(500, 2), (700, 64), (300, 1100), (3000, 17)])
def test_neighbours_are_those_of_float64(shape):
    X, queries = clouds(*shape), clouds(70, shape[1])
    model = knn.fit(X)
    assert knn.route(model, 10) == "product"
    assert_nearest(knn.neighbors(model, queries, 10), queries, X, 1e-5)
    assert first(X, queries, 10).certain.all(), "the product decided all of them"


def test_rows_of_float64_are_compared_in_float64():
    X = clouds(400, 8, np.float64, offset=1e6)
    X[1] = X[0] + 1e-7
    found = knn.neighbors(knn.fit(X), X[:20], 3)
    assert_nearest(found, X[:20], X, 1e-9)
    assert found.indices[0].tolist()[:2] == [0, 1]


@pytest.mark.parametrize("apart", [0.0, 6e4])
def test_where_the_product_cannot_tell_all_differences_are_taken(apart):
    """Copies of a point in order of index, and clouds so far apart that the centre is in none."""
    X, queries = clouds(600, 5), clouds(9, 5)
    X[100:200], queries[0] = X[100], X[100]
    X[:50] -= apart
    certain = first(X, queries, 10).certain
    assert not certain[0]
    assert certain[1:].all() == (apart == 0.0)
    found = knn.neighbors(knn.fit(X), queries, 10)
    assert found.indices[0].tolist() == list(range(100, 110))
    assert found.distances[0].tolist() == [0] * 10
    assert_nearest(found, queries, X, 1e-5)


def test_ties_are_in_order_of_index_as_in_the_plain_search():
    X = RNG.integers(0, 3, (900, 4)).astype(np.float32)
    queries = RNG.integers(0, 3, (40, 4)).astype(np.float32)
    found = knn.neighbors(knn.fit(X), queries, 20)
    keys, indices, _ = nearest(distances.l2, jnp.asarray(queries), jnp.asarray(X), 20, None)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.distances, keys)


def test_ties_that_the_product_decides_are_in_order_of_index():
    """Permutations of (1, 2, 3) times 1, 2, 3, whose bounds round otherwise, far from others."""
    X = RNG.integers(100, 200, (300, 3)).astype(np.float32)
    near = [a * np.array(p) for a in (1, 2, 3) for p in itertools.permutations((1, 2, 3))]
    X[RNG.permutation(300)[:18]] = near
    query = np.zeros((1, 3), np.float32)
    assert first(X, query, 10).certain.all()
    found = knn.neighbors(knn.fit(X), query, 10)
    order = np.lexsort((np.arange(300), (X**2).sum(axis=1)))[:10]
    np.testing.assert_array_equal(found.indices[0], order)


def test_folds_by_groups_and_places_that_stay_empty():
    X, groups = clouds(500, 6), np.arange(500) % 5
    excluded = groups[:, None] == groups
    found = knn.neighbors(knn.fit(X), None, 7, groups=groups)
    assert_nearest(found, X, X, 1e-5, excluded)
    few = np.where(np.arange(500) < 496, 0, 1)
    found = knn.neighbors(knn.fit(X), None, 7, groups=few)
    assert (found.indices[:496, 4:] == 500).all()
    assert (found.distances[:496, 4:] == np.finfo(np.float32).max).all()
    assert (found.indices[:496, :4] >= 496).all()
    assert (found.indices[496:] < 496).all()


@pytest.mark.parametrize("far", [3e18, 1e20, -3e38])
def test_a_query_whose_squares_pass_float32(far):
    X, queries = clouds(300, 3), np.float32([[far, 0, 0], [0, 0, 0]])
    found = knn.neighbors(knn.fit(X), queries, 4)
    assert_nearest(found, queries, X, 1e-5)


def test_a_query_whose_length_passes_float32_and_whose_distances_do_not():
    X = np.zeros((300, 1), np.float32)
    X[280:, 0] = 9e18 + 1e16 * np.arange(20)
    found = knn.neighbors(knn.fit(X), np.float32([[2.5e19]]), 4)
    assert found.indices.tolist() == [[299, 298, 297, 296]]
    assert np.isfinite(found.distances).all()


def test_products_that_become_zero_are_no_distance():
    """Squares beside the least normal number: of 1.2e-19 it is kept, of 0.95e-19 it is 0."""
    X = np.float32([[1.2e-19], [-1.2e-19], [0.95e-19], [-0.95e-19]])
    bounds, offsets = products._bounds(products.Block(jnp.asarray(X), jnp.asarray(X), None))
    table = oracles_knn.distances("l2", X, X)
    assert (np.asarray(bounds, np.float64) + np.asarray(offsets)[:, None] <= table).all()


def test_numbers_near_the_least_of_float32():
    X, queries = 1e-12 * clouds(300, 3), 1e-12 * clouds(20, 3)
    X[:30], queries[0] = 1e-25 * X[:30], 0
    found = knn.neighbors(knn.fit(X.astype(np.float32)), queries.astype(np.float32), 4)
    assert_nearest(found, queries.astype(np.float32), X.astype(np.float32), 1e-5)


def test_the_bounds_are_no_more_than_the_distances():
    """By rows whose lengths differ by a thousand, in sums of one product and of several."""
    for num_features in (3, 600, 1300):
        X, queries = clouds(200, num_features), clouds(30, num_features)
        X[::3] *= 1000
        queries[::2] *= 1000
        bounds, offsets = products._bounds(products.Block(*map(jnp.asarray, (queries, X)), None))
        table = oracles_knn.distances("l2", queries, X)
        bounds = np.asarray(bounds, np.float64) + np.asarray(offsets, np.float64)[:, None]
        assert (bounds <= table).all()
        of_queries, of_X = (((rows - X.mean(axis=0)) ** 2).sum(axis=1) for rows in (queries, X))
        scale = of_queries[:, None] + of_X
        assert (table - bounds <= 2 * products._slack(jnp.asarray(X)) * scale).all(), "close"


def test_it_runs_inside_of_jit_and_vmap():
    X, queries = clouds(200, 4), clouds(8, 4)
    model = knn.fit(X)
    whole = products.search_by_product(model, queries, 3)
    each = jax.vmap(lambda query: products.search_by_product(model, query[None], 3))(queries)
    np.testing.assert_array_equal(each.indices[:, 0], whole.indices)


def test_which_points_it_serves():
    X = clouds(100, 3)
    assert knn.route(knn.fit(X), 25) == "product"
    assert knn.route(knn.fit(X), 26) == "plain", "most distances would be computed anyway"
    assert knn.route(knn.fit(X, metric=distances.l1), 5) == "plain"
    assert knn.route(knn.fit(np.zeros((100, 3), np.uint8)), 5) == "plain", "a product decides"
    assert knn.route(knn.fit(X), 5, "gpu") == "device"


@pytest.mark.parametrize(
    ("rows", "features", "many"),
    [(4096, 256, "product"), (8192, 256, "pruned"), (4096, 2304, "pruned")],
)
def test_blocks_of_queries_among_few_rows_take_the_product_and_a_single_one_bounds(
    rows, features, many
):
    X = clouds(rows, features)
    model = knn.fit(X)
    assert model.sketching is not None
    assert knn.route(model, 5) == knn.route(model, 5, num_queries=255) == "pruned"
    assert knn.route(model, 5, num_queries=256) == many
    queries = X[:256] + 0.01
    found = knn.neighbors(model, queries, 5)
    np.testing.assert_array_equal(found.indices[:9], knn.neighbors(model, queries[:9], 5).indices)
