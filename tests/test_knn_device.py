"""The accelerator's search, run on the CPU against numpy, and lowered for accelerators."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles_knn
import pytest

from lincls import distances, knn
from lincls.knn import device, driver

pytestmark = pytest.mark.usefixtures("quick_compiles")
RNG = np.random.default_rng(60)
exact = pytest.mark.parametrize("metric", [distances.l1, distances.l2], ids=lambda m: m.name)


@pytest.fixture
def forced(monkeypatch):
    """`neighbors` takes the accelerator's route."""
    monkeypatch.setattr(driver, "unpruned", lambda model, k: "device")
    used = []
    program = device.compiled_search_on_device

    def watched(*args, **kw):
        used.append(args)
        return program(*args, **kw)

    monkeypatch.setitem(driver.SEARCHES, "device", watched)
    yield
    assert used, "the route was not taken"


def pixels(num_rows, most=256, num_features=9):
    return RNG.integers(0, most, (num_rows, num_features), dtype=np.uint8)


def pairs_of(found):
    rows = zip(found.distances.tolist(), found.indices.tolist(), strict=True)
    return [list(zip(*row, strict=True)) for row in rows]


@exact
@pytest.mark.parametrize(("num_rows", "k"), [(2000, 10), (2000, 40), (7, 7)])
@pytest.mark.parametrize("most", [3, 256])
def test_it_finds_what_numpy_finds_in_the_order_of_distance_and_index(
    forced, metric, num_rows, k, most
):
    X, queries = pixels(num_rows, most), pixels(11, most)
    found = knn.neighbors(knn.fit(X, metric=metric), queries, k)
    table = oracles_knn.distances(metric.name, queries, X)
    assert pairs_of(found) == oracles_knn.nearest(table, k)


@exact
def test_folds_by_groups_and_places_that_stay_empty(forced, metric):
    X, groups = pixels(1100, 3), np.arange(1100) % 2
    groups[:3] = 0
    found = knn.neighbors(knn.fit(X, metric=metric), None, 5, groups=groups)
    table = oracles_knn.distances(metric.name, X, X)
    assert pairs_of(found) == oracles_knn.nearest(table, 5, groups[:, None] == groups)
    few = knn.neighbors(knn.fit(X[:5], metric=metric), None, 5)
    assert (few.indices[:, 4] == 5).all()
    assert (few.distances[:, 4] == np.iinfo(np.int32).max).all()


def test_wide_images_are_searched_in_64_bits(forced):
    X = np.zeros((3, 150_528), np.uint8)
    X[1], X[2, 0] = 255, 255
    found = knn.neighbors(knn.fit(X), X[:1], 3)
    assert found.distances.tolist() == [[0, 255**2, 150_528 * 255**2]]


def largest_difference(a, b):
    return jnp.max(jnp.abs(a - b))


FLOATING = [distances.l1, distances.l2, distances.cosine, distances.pointwise(largest_difference)]


@pytest.mark.parametrize("metric", FLOATING, ids=lambda m: m.name)
def test_floating_rows_are_those_of_the_other_route_up_to_rounding(forced, metric, monkeypatch):
    X = RNG.normal(size=(1100, 9)).astype(np.float32)
    model = knn.fit(X, metric=metric)
    found = knn.neighbors(model, X[:5], 6)
    monkeypatch.setattr(driver, "unpruned", lambda model, k: "plain")
    plain = knn.neighbors(model, X[:5], 6)
    np.testing.assert_array_equal(found.indices, plain.indices)
    np.testing.assert_allclose(found.distances, plain.distances, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("metric", [distances.l1, distances.l2], ids=lambda m: m.name)
def test_it_is_lowered_for_accelerators_without_the_host(platform, metric):
    model = knn.fit(pixels(2000), metric=metric)
    traced = device.compiled_search_on_device.trace(model, pixels(8), 10)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert "callback" not in text
    loops = [line for line in text.splitlines() if "stablehlo.while" in line]
    assert not any("2000" in line for line in loops), "the training rows are not walked through"
    if metric == distances.l2:
        products = [line for line in text.splitlines() if "dot_general" in line]
        assert len(products) == 1
        assert "2000x9xi8" in products[0]
        assert products[0].endswith("2000xi32>")


@pytest.mark.parametrize(
    ("backend", "num_rows", "k", "expected"),
    [
        ("cpu", 5000, 10, "pruned"),
        ("cpu", 5000, 4000, "plain"),
        ("cpu", 100, 10, "plain"),
        ("gpu", 5000, 10, "device"),
        ("tpu", 100, 10, "device"),
    ],
)
def test_which_route_runs(backend, num_rows, k, expected):
    X = np.repeat(np.arange(num_rows)[:, None] % 256, 256, axis=1).astype(np.uint8)
    assert knn.route(knn.fit(X, metric=distances.l1), k, backend) == expected


def test_the_rule_asks_jax_for_the_backend():
    model = knn.fit(pixels(10))
    assert knn.route(model, 3) == knn.route(model, 3, jax.default_backend())
