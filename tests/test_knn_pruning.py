"""Pruned search against the 64-bit oracle, on data where a sloppy bound loses a neighbour."""

from functools import cache

import jax
import numpy as np
import pytest

from lincls import distances, knn
from lincls.knn import directions, driver, feature_groups, pairs, pruning, sketches, threads
from tests import oracles_knn
from tests.shares import further

N, D = 2 * sketches.SAMPLE, 256
exact = pytest.mark.parametrize("metric", [distances.l1, distances.l2], ids=lambda m: m.name)
floating = pytest.mark.parametrize(
    "metric", [further(distances.l2), distances.cosine], ids=lambda m: m.name
)


def smooth(rng):
    """Few directions and a little noise, as images have it: bounds prune much."""
    rows = rng.normal(size=(N, 4)) @ rng.normal(size=(4, D)) * 30 + rng.normal(size=(N, D)) * 4
    return np.clip(rows + 128, 0, 255).astype(np.uint8)


def noise(rng):
    """Nothing to prune: all distances are nearly equal."""
    return rng.integers(0, 256, (N, D), dtype=np.uint8)


def black_or_white(rng):
    """The largest distances there are, and half of the examples duplicates."""
    return np.where(rng.integers(0, 2, (N, 1)) * rng.integers(0, 2, (N, D)), 255, 0).astype(
        np.uint8
    )


def flat(rng):
    """Every row a constant: a sum over features is as good as all of them, so bounds are tight."""
    return np.broadcast_to(rng.integers(0, 256, (N, 1), dtype=np.uint8), (N, D)).copy()


def one_pixel_apart(rng):
    rows = np.full((N, D), 100, np.uint8)
    rows[np.arange(N), rng.integers(0, D, N)] += rng.integers(0, 3, N, dtype=np.uint8)
    return rows


def equal(rng):
    return np.full((N, D), 77, np.uint8)


def an_outlier(rng):
    """One row far outside of the bytes' range that the others span."""
    rows = smooth(rng) // 16
    rows[5], rows[6] = 255, 254
    return rows


DATA = [smooth, noise, black_or_white, flat, one_pixel_apart, equal, an_outlier]
NO_DIRECTIONS = [noise, black_or_white, one_pixel_apart]  # vary in all directions alike
on_data = pytest.mark.parametrize("make", DATA, ids=lambda make: make.__name__)


@cache
def data_and_queries(make):
    X = make(np.random.default_rng(0))
    others = make(np.random.default_rng(1))[:4]
    return X, np.concatenate([X[4:8], others])


@cache
def fitted(metric, make):
    return knn.fit(data_and_queries(make)[0], metric=metric)


@cache
def table_of(metric, make):
    X, queries = data_and_queries(make)
    return oracles_knn.distances(metric.name, queries, X)


def assert_nearest(found, table, k, rtol=0):
    order = np.lexsort((np.broadcast_to(np.arange(table.shape[1]), table.shape), table))[:, :k]
    np.testing.assert_array_equal(found.indices, order)
    expected = np.take_along_axis(table, order, axis=1)
    np.testing.assert_allclose(found.distances, expected, rtol=rtol, atol=0)


@exact
@on_data
def test_pruned_neighbours_equal_the_oracle(metric, make):
    _, queries = data_and_queries(make)
    model = fitted(metric, make)
    assert (model.sketching is None) == (metric is distances.l2 and make in NO_DIRECTIONS)
    for k in (1, 10, 50):
        assert_nearest(knn.neighbors(model, queries, k), table_of(metric, make), k)


@exact
def test_all_of_them(metric):
    _, queries = data_and_queries(smooth)
    found = knn.neighbors(fitted(metric, smooth), queries[:3], N)
    assert_nearest(found, table_of(metric, smooth)[:3], N)


def block_and_keys(model, queries):
    """A block of queries, and its keys with the only part."""
    sketch = sketches.apply(model.sketching, model.learned, queries)
    block = pruning.SketchedBlock(queries, sketch, None, None)
    return block, pruning.keys_of(model, block, model.sketch[0], 0)


def within_reach(model, queries, limit):
    """Whether the key of each pair is within reach of its query's limit, (M, N)."""
    with jax.enable_x64(True):
        block, keys = block_and_keys(model, queries)
        reach = model.sketching.reach(model.learned, block.sketch, limit)
    radii = None if keys.part.radii is None else keys.part.radii.ravel()
    most = reach.most(np.arange(len(limit))[:, None], radii)
    return ~(keys.each > most)[:, :N]


@exact
@on_data
def test_every_pair_up_to_a_limit_is_within_its_reach(metric, make):
    _, queries = data_and_queries(make)
    model = fitted(metric, make)
    if model.sketching is None:
        return
    table = table_of(metric, make)
    for rank in (0, 1, 9, 99, N // 2, N - 1):
        limit = np.sort(table, axis=1)[:, rank]
        near = within_reach(model, queries, limit)
        assert np.all(near[table <= limit[:, None]])
        if make is smooth and rank < 99:
            assert near.mean() < 0.3  # and it says something


@on_data
def test_no_fine_bound_exceeds_its_distance(make):
    _, queries = data_and_queries(make)
    model = fitted(distances.l1, make)
    fine = model.sketch[0].sketch.fine
    with jax.enable_x64(True):
        q = model.sketching.apply(model.learned, queries)
        rows, columns = np.divmod(np.arange(len(queries) * N), N)
        refined = pairs.fine_bounds(model, q.fine, fine, rows, columns)
    table = table_of(distances.l1, make)
    assert np.all(refined.reshape(table.shape) <= table)


@exact
def test_bounds_leave_few_candidates_where_data_allow_it(metric):
    _, queries = data_and_queries(smooth)
    model = fitted(metric, smooth)
    limit = np.sort(table_of(metric, smooth), axis=1)[:, 4]
    with jax.enable_x64(True):
        near = pruning.near_pairs(model, *block_and_keys(model, queries), limit)
    left = np.bincount(near[0], minlength=len(queries))
    assert left.min() >= 5
    assert left.mean() < 0.1 * N


def embeddings(num, spread, dtype):
    """Rows around 20 centres, in all directions or in eight."""
    rng = np.random.default_rng(3)
    factors = np.eye(D) if spread else rng.normal(size=(8, D))
    rows = rng.normal(size=(num, len(factors))) @ factors
    return (rows + rng.normal(size=(20, D))[rng.integers(0, 20, num)]).astype(dtype)


@pytest.mark.parametrize(
    ("spread", "dtype"),
    [
        (False, np.float32),
        further(True, np.float16),
        further(True, np.float32),
        further(False, np.float16),
    ],
)
@floating
def test_floating_neighbours_equal_the_oracle_up_to_rounding(metric, spread, dtype):
    rows = embeddings(N + 6, spread, dtype)
    X, queries = rows[:N], np.concatenate([rows[N:], rows[:2]])
    model = knn.fit(X, metric=metric)
    found = knn.neighbors(model, queries, 10)
    table = oracles_knn.distances(metric.name, queries, X)
    expected = np.sort(table, axis=1)[:, :10]
    np.testing.assert_allclose(found.distances, expected, rtol=1e-5, atol=1e-6)
    chosen = np.take_along_axis(table, found.indices, axis=1)
    np.testing.assert_allclose(chosen, expected, rtol=1e-5, atol=1e-6)
    for rank in (0, 9, N - 1):
        limit = np.sort(table, axis=1)[:, rank] * (1 + 1e-5) + 1e-6
        assert np.all(within_reach(model, queries, limit)[table <= limit[:, None]])
    assert (model.learned.axes is None) == spread


@pytest.mark.parametrize("scale", [1e-21, *(further(scale) for scale in (2e-20, 1e-19, 1.0, 1e18))])
@floating
def test_very_small_and_very_large_rows_keep_their_neighbours(metric, scale):
    X = (embeddings(N, False, np.float64) * scale).astype(np.float32)
    pruned, plain = knn.fit(X, metric=metric), knn.fit(X, metric=metric, prune=False)
    found, expected = (knn.neighbors(model, X[:8], 5) for model in (pruned, plain))
    flushed = 1e-35 if metric is distances.l2 else 1e-6  # squares below the floating range; cosines
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-5, atol=flushed)
    assert np.all(found.indices < N)
    if metric is distances.cosine:  # lengths do not count
        whole = knn.neighbors(knn.fit(X / np.float32(scale), metric=metric), X[:8], 5)
        np.testing.assert_allclose(found.distances, whole.distances, atol=1e-6)


def test_a_query_too_far_for_float32_has_the_neighbours_of_float64():
    X = embeddings(N, False, np.float32)
    queries = np.concatenate([X[:3], np.full((1, D), 1e20, np.float32)])
    queries[3, 0] = -3e38
    found = knn.neighbors(knn.fit(X), queries, 4)
    assert_nearest(found, oracles_knn.distances("l2", queries, X), 4, rtol=1e-13)


@exact
@pytest.mark.parametrize("num_features", [33_026, further(33_025)])
def test_wide_rows_are_pruned_exactly(metric, num_features, monkeypatch):
    monkeypatch.setattr(sketches, "SAMPLE", 16)
    monkeypatch.setattr(feature_groups, "_MOST_FINE", 64)
    X = np.zeros((32, num_features), np.uint8)
    X[::2] = 255
    X[np.arange(32), np.arange(32)] ^= np.arange(32, dtype=np.uint8)
    model = knn.fit(X, metric=metric)
    assert model.sketching is not None
    table = oracles_knn.distances(metric.name, X[:6], X)
    assert_nearest(knn.neighbors(model, X[:6], 20), table, 20)


def test_where_bounds_rule_out_little_the_block_is_searched_whole(monkeypatch):
    whole, calls = driver.compiled_search_block, []
    monkeypatch.setattr(
        driver, "compiled_search_block", lambda *args, **kw: calls.append(1) or whole(*args, **kw)
    )
    for make, expected in ((noise, 1), (smooth, 0)):
        _, queries = data_and_queries(make)
        calls.clear()
        knn.neighbors(fitted(distances.l1, make), queries, 3)
        assert len(calls) == expected


def test_bounds_are_tried_where_what_they_cost_can_come_back(monkeypatch):
    tried, pruned = [], driver.search_pruned
    monkeypatch.setattr(driver, "search_pruned", lambda *args: tried.append(1) or pruned(*args))
    X, queries = data_and_queries(smooth)
    for metric, k, expected in (
        (distances.l2, 5, 1),
        (distances.l2, 100, 0),
        (distances.l1, 100, 1),
    ):
        tried.clear()
        knn.neighbors(knn.fit(X, metric=metric), queries, k)
        assert len(tried) == expected


@pytest.mark.parametrize("on_host", [False, True])
@pytest.mark.parametrize("hits", [0, 1], ids=["all missed", "every other"])
def test_missed_blocks_are_searched_at_once_and_bounds_given_up(
    hits, on_host, monkeypatch, limited
):
    if on_host:
        limited(copy_bytes=2**10)
    pruned, plainly, tried, searched = driver.search_pruned, driver._plainly, [], []

    def some_missed(model, rows, *rest):
        missed = int(np.asarray(rows)[0, 0]) % 2 >= hits
        tried.append(len(rows))
        return None if missed else pruned(model, rows, *rest)

    monkeypatch.setattr(driver, "search_pruned", some_missed)
    monkeypatch.setattr(
        driver, "_plainly", lambda *args: searched.append(len(args[1].places)) or plainly(*args)
    )
    X = smooth(np.random.default_rng(0)).astype(np.float32)
    queries, told = X[:160].copy(), []
    queries[:, 0] = np.repeat(np.arange(20), 8)  # so block b is a miss where b is odd
    model = knn.fit(X)
    found = knn.neighbors(model, queries, 3, block_size=8, on_block=lambda *n: told.append(n))
    q, x = queries.astype(np.float64), X.astype(np.float64)  # whole numbers, so all is exact
    table = np.sum(q**2, axis=1)[:, None] + np.sum(x**2, axis=1) - 2 * q @ x.T
    assert_nearest(found, table, 3)
    assert searched[0] == (80 if hits else 160)
    assert len(searched) == 1 + on_host  # on the host once more, for the only part
    assert len(tried) == 20 if hits else len(tried) <= driver._MISSES + threads._MOST_THREADS + 1
    assert told[-1] == (160, 160)
    assert sorted(told) == told


class Watched(np.memmap):
    """Rows, as if of a file, that remember how many of them were fetched at a time."""

    fetched = ()

    def __getitem__(self, places):
        found = np.asarray(self)[places]
        Watched.fetched += (len(found),)
        return found


def test_missed_queries_are_fetched_block_by_block(monkeypatch):
    pruned, calls = driver.search_pruned, []
    monkeypatch.setattr(
        driver,
        "search_pruned",
        lambda *args: None if calls.append(1) or calls[1:] else pruned(*args),
    )
    monkeypatch.setattr(Watched, "fetched", ())
    X = smooth(np.random.default_rng(0)).astype(np.float32)
    found = knn.neighbors(knn.fit(X), X[:160].view(Watched), 3, block_size=8)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(160))
    assert max(Watched.fetched) == 8
    assert len(Watched.fetched) <= 20 + driver._MISSES + threads._MOST_THREADS + 2


@pytest.mark.parametrize("metric", [further(distances.l1), distances.l2], ids=lambda m: m.name)
def test_parts_of_the_training_data_are_one_search(metric, monkeypatch):
    monkeypatch.setattr(sketches, "PART", 1000)
    X = smooth(np.random.default_rng(0))
    X[N // 2 :] = X[: N // 2]  # every distance twice, far apart
    model = knn.fit(X, metric=metric)
    assert len(model.sketch) == 5
    table = oracles_knn.distances(metric.name, X[:6], X)
    assert_nearest(knn.neighbors(model, X[:6], 7), table, 7)
    groups = np.repeat(np.arange(5), -(-N // 5))[:N]  # a part and more is a query's own group
    found = knn.neighbors(model, None, 7, groups=groups, block_size=100)  # some are in two parts
    plain = knn.neighbors(knn.fit(X, metric=metric, prune=False), None, 7, groups=groups)
    np.testing.assert_array_equal(found.indices, plain.indices)
    np.testing.assert_array_equal(found.distances, plain.distances)


@exact
def test_training_rows_have_their_sketches_already(metric, monkeypatch):
    monkeypatch.setattr(sketches, "PART", 1000)
    X = smooth(np.random.default_rng(0))
    model, size = knn.fit(X, metric=metric), sketches.part_size(N)
    places = np.array([size, size + 3, size + 3, 2 * size - 1])
    with jax.enable_x64(True):
        known = sketches.at(model.sketching, model.sketch, places, N)
        made = sketches.apply(model.sketching, model.learned, X[places])
        assert sketches.at(model.sketching, model.sketch, places - 1, N) is None
    rtol = 0 if metric is distances.l1 else 0.01  # sums of another order, then rounded
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol), known, made)


@pytest.mark.parametrize(
    ("metric", "make"),
    [
        (distances.l1, smooth),
        (distances.l2, noise),
        *(further(metric, smooth) for metric in (distances.l2, distances.cosine)),
        *(further(metric, noise) for metric in (distances.l1, distances.cosine)),
    ],
)
def test_a_large_host_array_is_not_copied(metric, make, limited):
    X = make(np.random.default_rng(0))
    X = X if metric is distances.l1 else X.astype(np.float32)
    copied = knn.neighbors(knn.fit(X, metric=metric), X[:8], 7)
    limited(copy_bytes=2**10)
    model = knn.fit(X, metric=metric)
    assert np.shares_memory(model.X, X)
    assert model.points is None
    found = knn.neighbors(model, X[:8], 7)
    np.testing.assert_array_equal(found.indices, copied.indices)
    np.testing.assert_array_equal(found.distances, copied.distances)
    if metric is not distances.l1:
        assert np.shares_memory(knn.fit(wide := X.astype(np.float64), metric=metric).X, wide)
    alone = knn.neighbors(model, None, 3, groups=np.arange(N) % 2)
    assert np.all(alone.indices % 2 != np.arange(N)[:, None] % 2)


def test_directions_of_a_large_host_array_are_sought_once(monkeypatch, limited):
    sought, learn = [], directions.learn_directions
    counting = directions.l2._replace(learn=lambda X: sought.append(1) or learn(X))
    monkeypatch.setattr(directions, "l2", counting)
    limited(copy_bytes=2**10)
    model = knn.fit(noise(np.random.default_rng(0)))
    assert model.sketching is None
    assert model.points is not None
    assert len(sought) == 1


@pytest.mark.slow
@exact
def test_groups_and_leave_one_out(metric):
    X, _ = data_and_queries(smooth)
    pruned, plain = knn.fit(X, metric=metric), knn.fit(X, metric=metric, prune=False)
    for groups in (None, np.random.default_rng(2).integers(0, 5, N), np.zeros(N, int)):
        a = knn.neighbors(pruned, None, 3, groups=groups)
        b = knn.neighbors(plain, None, 3, groups=groups)
        np.testing.assert_array_equal(a.indices, b.indices)
        np.testing.assert_array_equal(a.distances, b.distances)


@pytest.mark.parametrize("largest", [50, 2**31 - 1, 2**52, 0.5])
def test_pairs_are_sorted_by_row_distance_and_column(largest):
    rng = np.random.default_rng(0)
    exact = rng.integers(0, 5, 300) * (largest / 4 if largest < 1 else largest // 4)
    found = pruning._sorted(
        pruning.Pairs(rng.integers(0, 4, 300), rng.integers(0, 2**20, 300), exact)
    )
    expected = np.lexsort((found.columns, found.exact, found.rows))
    np.testing.assert_array_equal(expected, np.arange(300))
    assert found.exact.dtype == exact.dtype
    np.testing.assert_array_equal(np.sort(found.exact), np.sort(exact))


def test_which_models_have_sketches():
    few, narrow = np.zeros((N - 1, D), np.uint8), np.zeros((N, D - 1), np.uint8)
    assert knn.fit(few).sketching is None
    assert knn.fit(narrow).sketching is None
    rows = np.zeros((N, D), np.uint8)
    assert knn.fit(rows).sketching == directions.l2
    assert knn.fit(rows, prune=False).sketching is None
    assert knn.fit(rows, metric=distances.l1).sketching == feature_groups.l1
    assert knn.fit(rows.astype(np.float32), metric=distances.l1).sketching is None


def test_few_shapes_are_compiled():
    X, _ = data_and_queries(smooth)
    model = fitted(distances.l2, smooth)
    programs = [sketches.apply, pruning._keys, pairs._exact, pairs._refined]
    before = sum(program._cache_size() for program in programs)
    for num_queries in (1, 7, 8, 9, 64, 65, 299, 300):
        for k in (1, 2, 10, 11, 20):
            knn.neighbors(model, X[:num_queries], k)
    assert sum(program._cache_size() for program in programs) - before <= 6
