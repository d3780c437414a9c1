"""Neighbours among rows on 1, 2 and 8 simulated devices: those of numpy, ties included."""

import jax
import numpy as np
import oracles_knn
import pytest

from lincls import checks, distances, knn, placement
from lincls.knn.shards import compiled_search_shards

pytestmark = pytest.mark.usefixtures("quick_compiles")
DEVICES = [1, 2, 8]
exact = pytest.mark.parametrize("metric", [distances.l1, distances.l2], ids=lambda m: m.name)


def coarse_pixels(seed, num_rows, num_features=6):
    """Few values, so that many distances are equal, within a device and across devices."""
    return np.random.default_rng(seed).integers(0, 4, (num_rows, num_features), dtype=np.uint8)


def fitted(devices, X, y=None, metric=distances.l2, **kw):
    mesh = placement.mesh(devices)
    sharded = placement.shard(mesh, X, *([] if y is None else [y]), **kw)
    return knn.fit(*sharded, metric=metric)


def assert_equals_oracle(found, X, queries, k, metric):
    table = oracles_knn.distances(metric.name, queries, X)
    answer = [
        list(zip(*row, strict=True))
        for row in zip(found.distances.tolist(), found.indices.tolist(), strict=True)
    ]
    assert answer == oracles_knn.nearest(table, k)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("devices", DEVICES)
def test_rows_that_do_not_divide_with_ties_across_devices(devices):
    X, queries = coarse_pixels(1, 8191), coarse_pixels(2, 5)
    found = knn.neighbors(fitted(devices, X), queries, 12)
    assert_equals_oracle(found, X, queries, 12, distances.l2)
    ends = found.distances[:, [0, -1]]
    assert (ends[:, 0] == ends[:, 1]).any(), "the data must have ties"


@exact
def test_k_larger_than_the_rows_of_a_device(metric):
    X, queries = coarse_pixels(3, 130), coarse_pixels(4, 5)
    found = knn.neighbors(fitted(8, X, metric=metric), queries, 60)
    assert_equals_oracle(found, X, queries, 60, metric)


@exact
def test_devices_without_any_row(metric):
    X, queries = coarse_pixels(5, 5), coarse_pixels(6, 5)
    found = knn.neighbors(fitted(8, X, metric=metric), queries, 5)
    assert_equals_oracle(found, X, queries, 5, metric)


def test_the_training_set_itself_and_folds_by_groups():
    X = coarse_pixels(7, 130)
    groups = np.random.default_rng(8).integers(0, 5, 130)
    alone, model = knn.fit(X), fitted(8, X)
    assert_same(knn.neighbors(model, None, 4), knn.neighbors(alone, None, 4))
    expected = knn.neighbors(alone, None, 7, groups=groups)
    assert_same(knn.neighbors(model, None, 7, groups=groups), expected)
    on_mesh = placement.shard(placement.mesh(8), groups)[0]
    assert_same(knn.neighbors(model, None, 7, groups=on_mesh), expected)


def test_too_few_candidates_leave_empty_places_with_the_index_of_the_whole():
    X, groups = coarse_pixels(9, 5), np.array([0, 0, 0, 1, 1])
    found = knn.neighbors(fitted(8, X), None, 4, groups=groups)
    assert_same(found, knn.neighbors(knn.fit(X), None, 4, groups=groups))
    assert (found.indices[:3, 2:] == 5).all()


def test_votes_and_accuracies_are_those_of_one_device():
    X, queries, y = coarse_pixels(10, 130), coarse_pixels(11, 40), np.arange(130) % 3
    model, alone = fitted(8, X, y), knn.fit(X, y)
    on_mesh = placement.shard(placement.mesh(8), queries)[0]
    for asked in (queries, on_mesh):
        found = knn.predict_by_k(model, asked, [1, 4, 60])
        np.testing.assert_array_equal(found, knn.predict_by_k(alone, queries, [1, 4, 60]))
    labels = placement.shard(placement.mesh(8), np.arange(40) % 3)[0]
    accuracy = knn.accuracy_by_k(model, on_mesh, labels, [4])
    assert accuracy == knn.accuracy_by_k(alone, queries, np.arange(40) % 3, [4])


@pytest.mark.parametrize("metric", [distances.l2, distances.cosine], ids=lambda m: m.name)
@pytest.mark.parametrize("wide", [False, True])
def test_floating_rows_have_the_same_neighbours_up_to_rounding(metric, wide):
    X = np.random.default_rng(12).normal(size=(130, 6)).astype(np.float32)
    queries = X[:5].astype(np.float64 if wide else np.float32) + np.float32(0.01)
    found = knn.neighbors(fitted(8, X, metric=metric), queries, 6)
    alone = knn.neighbors(knn.fit(X, metric=metric), queries, 6)
    np.testing.assert_array_equal(found.indices, alone.indices)
    np.testing.assert_allclose(found.distances, alone.distances, rtol=1e-5, atol=1e-6)
    assert found.distances.dtype == alone.distances.dtype


def test_float64_rows_keep_their_digits():
    X = 50_000 + np.arange(130)[:, None] * 0.001 * np.ones((1, 6))
    found = knn.neighbors(fitted(8, X), X[[40]] + 0.0001, 3)
    assert found.indices.tolist() == [[40, 41, 39]]


def test_rows_too_small_for_float32_are_compared_in_float64():
    X = np.random.default_rng(13).normal(size=(130, 6)).astype(np.float32)
    small = knn.neighbors(fitted(8, X * np.float32(2.0**-80)), X[:5] * np.float32(2.0**-80), 4)
    plain = knn.neighbors(knn.fit(X), X[:5], 4)
    np.testing.assert_array_equal(small.indices, plain.indices)
    assert small.distances.dtype == np.float64


def test_no_device_holds_more_than_its_rows():
    X, queries = coarse_pixels(14, 8191, 512), coarse_pixels(15, 8, 512)
    model = fitted(8, X)
    assert {part.data.nbytes for part in model.X.array.addressable_shards} == {X.nbytes // 8 + 64}
    pointers = [
        [part.data.unsafe_buffer_pointer() for part in array.addressable_shards]
        for array in (model.points.rows, model.X.array)
    ]
    assert pointers[0] == pointers[1], "the prepared rows are the rows, not a copy"
    compiled = compiled_search_shards.lower(model, queries, 10).compile()
    memory = compiled.memory_analysis()
    assert memory.argument_size_in_bytes < X.nbytes / 4
    assert memory.temp_size_in_bytes < X.nbytes / 2


def test_what_lies_otherwise_is_refused_by_name():
    X, mesh = coarse_pixels(16, 130), placement.mesh(2)
    rows, y = placement.shard(mesh, X, np.arange(130) % 3)
    other = placement.shard(mesh, np.arange(130) % 3, num_blocks=2)[0]
    with pytest.raises(ValueError, match="y lies on another mesh"):
        knn.fit(rows, other)
    with pytest.raises(ValueError, match="num_blocks=9"):
        placement.shard(placement.mesh(3), X)
    with pytest.raises(ValueError, match="same number of rows"):
        placement.shard(mesh, X, y.array[:4])
    with pytest.raises(ValueError, match="devices must be at least 1 and at most 8"):
        placement.mesh(9)
    floats = np.ones((130, 6), np.float32)
    floats[77, 1] = np.nan
    with pytest.raises(ValueError, match="first in row 77"):
        knn.fit(placement.shard(mesh, floats)[0])
    with pytest.raises(ValueError, match=r"knn\.search_shards"):
        knn.search_block(knn.fit(rows), X[:2], 3)
    assert jax.process_count() == 1
    assert placement.rows_here(mesh, 130) == slice(0, 130)
    with pytest.raises(TypeError, match="X lies on a mesh"):
        checks.as_array(rows, "X")
