import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lincls import distances, knn, placement
from lincls.knn import driver
from lincls.structs import Neighbors
from tests import oracles_knn
from tests.shares import further

METRICS = [distances.l1, distances.l2, distances.cosine]
by_name = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
exact = pytest.mark.parametrize("metric", METRICS[:2], ids=lambda metric: metric.name)
by_one = pytest.mark.parametrize(
    "metric", [further(distances.l1), distances.l2], ids=lambda metric: metric.name
)


def coarse_pixels(seed, num, levels=3, num_features=6):
    """Rows with many equal distances, and many duplicates."""
    values = np.array([0, 7, 255], np.uint8)[:levels]
    return values[np.random.default_rng(seed).integers(0, levels, (num, num_features))]


def assert_equals_oracle(found, table, k, num_examples, same_group=None):
    for row, pairs in enumerate(oracles_knn.nearest(table, k, same_group)):
        missing = k - len(pairs)
        empty = np.iinfo(found.distances.dtype).max
        assert found.distances[row].tolist() == [pair[0] for pair in pairs] + [empty] * missing
        assert found.indices[row].tolist() == [p[1] for p in pairs] + [num_examples] * missing


@exact
@pytest.mark.parametrize("num_examples", [1, 65, *(further(num) for num in (3, 64, 700, 1281))])
@pytest.mark.parametrize("k", [1, 10, further(3), further(11)])
def test_neighbors_equal_the_oracle_ties_and_all(metric, num_examples, k):
    X, queries = coarse_pixels(0, num_examples), coarse_pixels(1, 7)
    k = min(k, num_examples)
    found = knn.neighbors(knn.fit(X, metric=metric), queries, k)
    table = oracles_knn.distances(metric.name, queries, X)
    assert_equals_oracle(found, table, k, num_examples)


@exact
def test_all_neighbours_of_equal_points_come_in_order_of_index(metric):
    X = np.full((1500, 9), 77, np.uint8)
    found = knn.neighbors(knn.fit(X, metric=metric), X[:2], 1500)
    np.testing.assert_array_equal(found.indices, [np.arange(1500)] * 2)
    assert not found.distances.any()


@exact
def test_queries_one_by_one_have_the_answers_of_all_at_once(metric):
    X, queries = coarse_pixels(2, 300), coarse_pixels(3, 5)
    model = knn.fit(X, metric=metric)
    whole = knn.neighbors(model, queries, 5)
    for row, query in enumerate(queries):
        found = knn.neighbors(model, query[None], 5)
        np.testing.assert_array_equal(found.indices[0], whole.indices[row])
        np.testing.assert_array_equal(found.distances[0], whole.distances[row])


@pytest.mark.parametrize(("metric", "size"), [(distances.l1, 1), (distances.l2, 8)])
def test_a_single_query_is_filled_up_only_for_a_product(metric, size):
    model = knn.fit(coarse_pixels(2, 300), metric=metric)
    assert driver.plain_size(model, 1, "plain") == size


@pytest.mark.parametrize(
    ("shape", "num_queries", "size"),
    [
        ((500, 64), 100, 64),  # not one block of 512 that is filled up
        ((500, 64), 300, 512),
        ((200_000, 768), 1000, 64),  # fewer would copy all points again and again
        ((50_000, 1024), 1000, 128),
        ((2_000_000, 8), 1000, 16),  # 128 MiB of bounds
    ],
)
def test_blocks_of_products_are_neither_half_empty_nor_too_small_nor_too_large(
    shape, num_queries, size
):
    rows = np.broadcast_to(np.float32(0), shape)  # whose values no rule reads
    model = knn.KNN(rows, None, None, distances.l2, None)
    assert driver.plain_size(model, num_queries, "product") == size


@by_name
@pytest.mark.parametrize("block_size", [5, *(further(size) for size in (1, 2, 64))])
def test_the_answer_does_not_depend_on_the_blocks(metric, block_size):
    X, queries = coarse_pixels(2, 300), coarse_pixels(3, 23)
    model = knn.fit(X, metric=metric)
    whole = knn.neighbors(model, queries, 5)
    for some in (knn.neighbors(model, queries, 5, block_size=block_size),):
        np.testing.assert_array_equal(some.indices, whole.indices)
        np.testing.assert_array_equal(some.distances, whole.distances)
    alone = knn.neighbors(model, queries[11:12], 5)
    np.testing.assert_array_equal(alone.indices[0], whole.indices[11])


@exact
def test_the_training_set_without_itself(metric):
    X = coarse_pixels(4, 130)
    found = knn.neighbors(knn.fit(X, metric=metric), None, 4)
    table = oracles_knn.distances(metric.name, X, X)
    assert_equals_oracle(found, table, 4, 130, np.eye(130, dtype=bool))


@by_one
def test_groups_are_the_search_of_every_fold_among_the_others(metric):
    X = coarse_pixels(5, 120)
    groups = np.random.default_rng(6).integers(0, 5, 120)
    found = knn.neighbors(knn.fit(X, metric=metric), None, 7, groups=groups)
    for fold in range(5):
        held, kept = np.flatnonzero(groups == fold), np.flatnonzero(groups != fold)
        one = knn.neighbors(knn.fit(X[kept], metric=metric), X[held], 7)
        np.testing.assert_array_equal(found.indices[held], kept[one.indices])
        np.testing.assert_array_equal(found.distances[held], one.distances)


def test_too_few_candidates_leave_empty_places():
    X = coarse_pixels(7, 5)
    groups = np.array([0, 0, 0, 1, 1])
    found = knn.neighbors(knn.fit(X), None, 4, groups=groups)
    table = oracles_knn.distances("l2", X, X)
    assert_equals_oracle(found, table, 4, 5, groups[:, None] == groups)


def test_wide_images_are_searched_exactly():
    X = np.zeros((3, 150_528), np.uint8)
    X[1], X[2, 0] = 255, 255
    found = knn.neighbors(knn.fit(X), X[:1], 3)
    assert found.indices.tolist() == [[0, 2, 1]]
    assert found.distances.tolist() == [[0, 255**2, 150_528 * 255**2]]


@by_one
def test_merge_of_shards_is_the_search_of_the_whole(metric):
    X, queries = coarse_pixels(8, 90), coarse_pixels(9, 8)
    whole = knn.neighbors(knn.fit(X, metric=metric), queries, 6)

    def shard(start, stop):
        one = knn.neighbors(knn.fit(X[start:stop], metric=metric), queries, 6)
        return Neighbors(one.distances, one.indices + start)

    a, b, c = shard(0, 20), shard(20, 61), shard(61, 90)
    for merged in (
        knn.merge(knn.merge(a, b, 6), c, 6),
        knn.merge(a, knn.merge(b, c, 6), 6),
        knn.merge(knn.merge(c, a, 6), b, 6),
    ):
        np.testing.assert_array_equal(merged.indices, whole.indices)
        np.testing.assert_array_equal(merged.distances, whole.distances)


@pytest.mark.parametrize("queries", ["others", further("itself"), "groups"])
def test_data_that_stay_in_their_file_are_searched_part_by_part(queries, tmp_path):
    X = np.memmap(tmp_path / "X", np.uint8, "w+", shape=(100, 6))
    X[:] = coarse_pixels(30, 100)
    asked = coarse_pixels(31, 9) if queries == "others" else None
    kw = {"groups": np.arange(100) % 3} if queries == "groups" else {}
    expected = knn.neighbors(knn.fit(np.array(X)), asked, 12, **kw)
    seen = []
    with placement.limited(device_bytes=0, part_bytes=6 * 8):  # 8 rows, fewer than neighbours
        model = knn.fit(X)
        found = knn.neighbors(model, asked, 12, on_block=lambda *a: seen.append(a), **kw)
    assert isinstance(model.X, np.memmap)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert len(seen) == 13
    assert seen[-1][0] == seen[-1][1] == len(found.indices)


def test_search_block_composes_under_jit_and_vmap():
    X, queries = coarse_pixels(10, 200), coarse_pixels(11, 12)
    model = knn.fit(X, metric=distances.l1)
    expected = knn.neighbors(model, queries, 5)

    @jax.jit
    def pairs_of_queries(model, queries):
        return jax.vmap(lambda two: knn.search_block(model, two, 5))(queries)

    found = pairs_of_queries(model, queries.reshape(6, 2, -1))
    np.testing.assert_array_equal(found.indices.reshape(12, 5), expected.indices)
    np.testing.assert_array_equal(found.distances.reshape(12, 5), expected.distances)


def test_a_model_is_a_pytree():
    model = knn.fit(coarse_pixels(12, 10), np.zeros(10, int))
    leaves, treedef = jax.tree.flatten(model)
    again = jax.tree.unflatten(treedef, leaves)
    assert again.metric == distances.l2
    assert again.num_classes == 1


def test_images_and_rows_are_the_same_points():
    images = np.random.default_rng(13).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    a = knn.neighbors(knn.fit(images), images[:5], 3)
    b = knn.neighbors(knn.fit(images.reshape(20, -1)), images[:5].reshape(5, -1), 3)
    np.testing.assert_array_equal(a.indices, b.indices)


def test_progress_counts_queries():
    seen = []
    model = knn.fit(coarse_pixels(14, 30))
    knn.neighbors(model, coarse_pixels(15, 10), 2, block_size=4, on_block=lambda *a: seen.append(a))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_ctrl_c_between_blocks_ends_the_search_and_its_threads():
    def interrupt(done, total):
        seen.append((done, time.perf_counter(), threading.active_count()))
        raise KeyboardInterrupt

    seen, before = [], threading.active_count()
    X = np.random.default_rng(17).integers(0, 256, (20_000, 784), dtype=np.uint8)
    model = knn.fit(X, prune=False)
    with pytest.raises(KeyboardInterrupt):
        knn.neighbors(model, None, 5, block_size=8, on_block=interrupt)  # half a minute of work
    ((done, when, during),) = seen
    assert done == 8
    assert during > before
    assert time.perf_counter() - when < 1
    assert threading.active_count() == before


def test_threads_have_the_precision_of_their_caller():
    rng = np.random.default_rng(18)
    with jax.enable_x64(True):
        X = rng.normal(size=(300, 6))
        found = knn.neighbors(knn.fit(X), X[:40], 3, block_size=8)
    assert found.distances.dtype == np.float64
    table = oracles_knn.distances("l2", X[:40], X)
    np.testing.assert_allclose(found.distances, np.sort(table, axis=1)[:, :3], rtol=1e-13)


def test_few_shapes_are_compiled():
    X = np.random.default_rng(16).normal(size=(333, 5)).astype(np.float32)
    model = knn.fit(X)
    before = knn.search.compiled_search_block._cache_size()
    for num_queries in [*range(1, 12), 60, 63, 64, 65, 127, 128, 299, 300]:
        for k in (1, 2, 9, 10, 11, 19, 20):
            knn.neighbors(model, X[:num_queries], k)
    assert knn.search.compiled_search_block._cache_size() - before <= 6


def test_votes_and_their_ties():
    labels = np.array([[2, 1, 1, 2, 0], [0, -1, -1, -1, -1], [1, 0, 2, 2, 0]])
    predicted = knn.predictions_by_k(labels, [1, 2, 3, 4, 5], 3)
    assert predicted.T.tolist() == [[2, 1, 1, 1, 1], [0] * 5, [1, 0, 0, 2, 0]]


def test_predictions_for_every_k_equal_the_oracle():
    rng = np.random.default_rng(17)
    X, queries, y = coarse_pixels(18, 80), coarse_pixels(19, 8), rng.integers(0, 4, 80)
    model = knn.fit(X, y, metric=distances.l1)
    ks = [1, 2, 3, 8, 20, 80]
    nearest = oracles_knn.nearest(oracles_knn.distances("l1", queries, X), 80)
    expected = [
        [oracles_knn.majority([y[i] for _, i in pairs[:k]], 4) for pairs in nearest] for k in ks
    ]
    assert knn.predict_by_k(model, queries, ks).tolist() == expected
    assert knn.predict(model, queries, 8).tolist() == expected[3]
    truth = rng.integers(0, 4, 8)
    accuracy = knn.accuracy_by_k(model, queries, truth, ks)
    np.testing.assert_allclose(accuracy, np.mean(np.array(expected) == truth, axis=1))


def test_votes_are_counts_or_weights():
    labels = jnp.array([[0, 2, 2, -1]])
    assert knn.votes(labels, 3).tolist() == [[1, 0, 2]]
    weights = jnp.array([[1.0, 0.25, 0.5, 9.0]])
    assert knn.votes(labels, 3, weights).tolist() == [[1.0, 0.0, 0.75]]


def test_votes_of_many_classes_take_the_memory_of_their_answer():
    M, K, C = 1000, 200, 1000
    labels, weights = (jax.ShapeDtypeStruct((M, K), dtype) for dtype in (np.int32, np.float32))
    for program in (knn.voting._counted, knn.voting._majorities):
        used = program.lower(labels, weights, C).compile().memory_analysis()
        assert used.temp_size_in_bytes < 10 * 4 * M * C  # a twentieth of (M, K, C)


def test_a_block_larger_than_the_queries_takes_no_memory():
    model = knn.fit(coarse_pixels(24, 30), np.arange(30) % 3)
    found = knn.neighbors(model, coarse_pixels(25, 4), 2, block_size=10**12)
    np.testing.assert_array_equal(found.indices, knn.neighbors(model, coarse_pixels(25, 4), 2)[1])


def test_labels_that_are_names_are_no_numbers_of_classes():
    with pytest.raises(ValueError, match=r"np\.unique"):
        knn.fit(coarse_pixels(26, 3), [20240101, 20240102, 20240101])


def test_weights_of_votes():
    X = np.array([[0, 0], [3, 4], [0, 2], [9, 9]], np.float32)
    model = knn.fit(X, np.array([1, 0, 2, 0]))
    found = knn.neighbors(model, np.array([[0, 0], [0, 1]], np.float32), 4)
    weights = knn.inverse_distances(model, found)
    np.testing.assert_allclose(weights[0], [1, 0, 0, 0])
    lengths = [1, 1, 18**0.5, 145**0.5]
    np.testing.assert_allclose(weights[1], 1 / np.array(lengths), rtol=1e-6)
    shares = knn.probabilities(model, found, weights)
    assert shares[0].tolist() == [0, 1, 0]
    votes = np.array([1 / lengths[2] + 1 / lengths[3], 1, 1])
    np.testing.assert_allclose(shares[1], votes / votes.sum(), rtol=1e-6)
    empty = Neighbors(np.float32([[1, 3]]), np.array([[2, 4]]))
    assert knn.inverse_distances(model, empty).tolist() == [[1, 0]]
    assert knn.probabilities(model, empty).tolist() == [[0, 0, 1]]


@pytest.mark.slow
def test_votes_by_the_exponential_of_the_cosine():
    X, y = np.random.default_rng(21).normal(size=(30, 8)), np.arange(30) % 3
    model = knn.fit(X.astype(np.float32), y, metric=distances.cosine)
    queries = X[:4] + 0.1
    found = knn.neighbors(model, queries, 5)
    cosines = 1 - np.take_along_axis(
        oracles_knn.distances("cosine", queries, X), np.asarray(found.indices), axis=1
    )
    expected = np.zeros((4, 3))
    for row in range(4):
        np.add.at(expected[row], y[found.indices[row]], np.exp(cosines[row] / 0.1))
    shares = knn.probabilities(model, found, knn.exp_cosines(model, found, 0.1))
    np.testing.assert_allclose(shares, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)
    with pytest.raises(ValueError, match="cosine"):
        knn.exp_cosines(knn.fit(X), found)


def test_ties_are_told():
    labels = np.array([[2, 1, 1, 2, 0], [0, -1, -1, -1, -1], [1, 0, 2, 2, 0]])
    decided = knn.ties_by_k(labels, [1, 2, 3, 4, 5], 3)
    assert decided.T.astype(int).tolist() == [[0, 1, 0, 1, 1], [0] * 5, [0, 1, 1, 0, 1]]


def test_duplicates():
    X = coarse_pixels(22, 200, levels=2, num_features=8)
    queries = coarse_pixels(23, 9, levels=2, num_features=8)
    table = oracles_knn.distances("l2", queries, X)
    for below in (1, 50, 200):
        pairs = knn.duplicates(knn.fit(X), queries, below)
        rows, columns = np.nonzero(table < below)
        assert sorted(zip(pairs.queries.tolist(), pairs.indices.tolist(), strict=True)) == sorted(
            zip(rows.tolist(), columns.tolist(), strict=True)
        )
        np.testing.assert_array_equal(pairs.distances, table[pairs.queries, pairs.indices])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: knn.neighbors(m, np.zeros((2, 3), np.uint8), 1), "3 features"),
        (lambda m: knn.neighbors(m, np.zeros((2, 6), np.uint8), 0), "k must be at least 1"),
        (lambda m: knn.neighbors(m, np.zeros((2, 6), np.uint8), 11), "at most 10"),
        (lambda m: knn.neighbors(m, np.zeros((2, 6), np.float32), 1), "both as uint8"),
        (
            lambda m: knn.neighbors(m, np.zeros((2, 6), np.uint8), 1, groups=np.zeros(10, int)),
            "queries=None",
        ),
        (lambda m: knn.neighbors(m, None, 1, groups=np.zeros(9, int)), "groups must have shape"),
        (lambda m: knn.predict(m, np.zeros((2, 6), np.uint8), 1), "no labels"),
        (lambda m: knn.fit(np.full((2, 3), np.nan)), "NaN"),
        (lambda m: knn.fit(np.zeros((2, 3), int)), "uint8"),
        (lambda m: knn.fit(np.zeros((2, 3)), np.array([0, 5]), num_classes=2), "num_classes"),
    ],
)
def test_errors_say_what_to_do(call, message):
    model = knn.fit(coarse_pixels(20, 10))
    with pytest.raises((TypeError, ValueError), match=message):
        call(model)
