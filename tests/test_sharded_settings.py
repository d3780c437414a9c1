"""A grid over 1, 2 and 8 simulated devices: one W to the bit, and that of one device's grid."""

import jax
import numpy as np
import pytest

from lincls import crossval, linear, losses, placement, training
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper
from lincls.training import Recipe

RNG = np.random.default_rng(90)
N, D, C, G = 203, 20, 3, 16
X = RNG.integers(0, 256, (N, D), dtype=np.uint8)
Y = (X[:, 0] > 128).astype(np.int32) + (X[:, 1] > 200)
AFFINE = Affine(np.full(D, 127.5, np.float32), np.float32(1 / 73.6))
RECIPE = Recipe(Objective(losses.hinge), batch_size=32)
WEIGHT = RNG.integers(0, 3, (G, N))
HYPER = Hyper({"learning_rate": np.geomspace(1e-3, 0.1, G), "momentum": 0.9},
              np.geomspace(1e-4, 1, G), dropout=0.2)  # fmt: skip


def laid(devices, hyper=HYPER):
    return placement.shard_settings(placement.mesh(devices), hyper) if devices else hyper


def train(devices, **kw):
    hyper = laid(devices)
    params = linear.init(jax.random.key(1), D, C)
    state = training.start(jax.random.key(0), params, RECIPE, hyper)
    how = {"num_steps": 12, "affine": AFFINE, "weight": WEIGHT}
    return training.fit(state, X, Y, RECIPE, hyper, **how | kw)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def assert_same_bits(found, expected):
    (state, history), (other, of_other) = found, expected
    assert bits((state.params, state.opt, state.alive)) == bits(
        (other.params, other.opt, other.alive)
    )
    assert bits(history) == bits(of_other)


def test_one_w_on_1_and_8_devices_and_that_of_a_grid_on_one():
    (state, history), of_8, (plain, of_plain) = (train(devices) for devices in (1, 8, None))
    assert_same_bits((state, history), of_8)
    assert history.loss.shape == of_plain.loss.shape == (12, G)
    np.testing.assert_allclose(history.loss, of_plain.loss, rtol=1e-4)
    np.testing.assert_allclose(state.params.W, plain.params.W, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_one_w_with_validation_and_in_chunks(limited):
    limited(call_flops=1)
    how = {"validation": (X[:50], Y[:50]), "every": 6}
    first, *others = (train(devices, **how) for devices in (1, 2, 8))
    for other in others:
        assert_same_bits(first, other)
    expected, found = train(None, **how)[1].validation, first[1].validation
    np.testing.assert_allclose(found.accuracy, expected.accuracy, atol=0.021)  # one of 50


def test_a_device_holds_its_settings_and_no_others():
    state = training.start(jax.random.key(0), linear.init(jax.random.key(1), D, C), RECIPE, laid(8))
    shapes = {part.data.shape for part in state.params.W.addressable_shards}
    assert shapes == {(G // 8, C, D)}
    mesh = placement.mesh(8)
    data = placement.replicated(mesh, Examples(X, Y, np.ones(N, np.float32)))

    @jax.jit
    def run(state, hyper):
        return training.run(state, data, AFFINE, RECIPE, hyper, num_steps=2)

    ended, info = run(state, jax.tree.map(np.float32, laid(8)))
    assert {part.data.shape for part in ended.params.W.addressable_shards} == {(G // 8, C, D)}
    assert {part.data.shape for part in info.loss.addressable_shards} == {(2, G // 8)}


@pytest.mark.slow
def test_cross_validation_lays_out_all_folds_of_the_settings():
    hyper = Hyper({"learning_rate": np.geomspace(1e-3, 0.1, 8)}, 0.01)
    found, expected = (
        crossval.linear(jax.random.key(0), X, Y, np.arange(N) % 3, RECIPE, laid(devices, hyper),
                        num_steps=8, affine=AFFINE)
        for devices in (8, None)
    )  # fmt: skip
    np.testing.assert_allclose(found.params.W, expected.params.W, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.accuracies, expected.accuracies, atol=0.016)  # one of 67


def test_what_does_not_fit_is_refused_by_name():
    mesh = placement.mesh(2)
    with pytest.raises(ValueError, match=r"hyper has \[6\] settings.* multiple of the 8 blocks"):
        placement.shard_settings(mesh, Hyper({"learning_rate": [0.1] * 6}))
    with pytest.raises(ValueError, match="hyper has no settings"):
        placement.shard_settings(mesh, Hyper({"learning_rate": 0.1}))
    with pytest.raises(ValueError, match="num_blocks=9"):
        placement.shard_settings(placement.mesh(3), HYPER)
    rows, labels = placement.shard(mesh, X, Y)
    state = training.start(jax.random.key(0), linear.init(jax.random.key(1), D, C), RECIPE, laid(2))
    with pytest.raises(ValueError, match="X and hyper both lie on a mesh"):
        training.fit(state, rows, labels, RECIPE, laid(2), num_steps=2)
