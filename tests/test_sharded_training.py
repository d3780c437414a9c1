"""Training on 1, 2 and 8 simulated devices: one W to the bit, and that of numpy up to rounding."""

import jax
import numpy as np
import oracles
import pytest

from lincls import (
    batches,
    checkpoint,
    linear,
    losses,
    placement,
    preprocessing,
    training,
)
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper
from lincls.training import Recipe
from lincls.training.core import compiled_run

RNG = np.random.default_rng(50)
N, D, C = 1003, 20, 3
X = RNG.integers(0, 256, (N, D), dtype=np.uint8)
Y = (X[:, 0] > 128).astype(np.int32) + (X[:, 1] > 200)
AFFINE = Affine(np.full(D, 127.5, np.float32), np.float32(1 / 73.6))
PARAMS = linear.init(jax.random.key(51), D, C)
HYPER = Hyper({"learning_rate": 0.1, "momentum": 0.9}, reg=0.01)
GRID = Hyper({"learning_rate": [0.1, 0.01, 0.03], "momentum": 0.9}, [0.01, 0.0, 0.1], dropout=0.2)


def train(devices, recipe, hyper=HYPER, num_steps=12, state=None, rows=(X, Y), **kw):
    if state is None:
        state = training.start(jax.random.key(52), PARAMS, recipe, hyper)
    if devices:
        rows = placement.shard(placement.mesh(devices), *rows)
    return training.fit(state, *rows, recipe, hyper, num_steps=num_steps, affine=AFFINE, **kw)


def bits(tree):
    """The bytes of all leaves."""

    def data(leaf):
        is_key = jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()

    return [data(leaf) for leaf in jax.tree.leaves(tree)]


CASES = {
    "weights and validation": (
        Recipe(batch_size=64),
        HYPER,
        {"weight": RNG.integers(0, 3, N), "validation": (X[:60], Y[:60])},
    ),
    "a grid with weights of its own and dropout": (
        Recipe(Objective(losses.hinge), batch_size=64),
        GRID,
        {"weight": RNG.random((3, N))},
    ),
    "one row of each block": (Recipe(sampling=batches.replacement, batch_size=8), HYPER, {}),
    "all rows": (Recipe(sampling=batches.full), HYPER, {}),
}


def test_one_w_on_1_2_and_8_devices():
    recipe, hyper, kw = CASES["weights and validation"]
    first, *others = (bits(train(devices, recipe, hyper, **kw)) for devices in (1, 2, 8))
    assert others == [first, first]


@pytest.mark.parametrize("case", list(CASES)[1:])
def test_one_w_for_every_way_to_train(case):
    recipe, hyper, kw = CASES[case]
    first, last = (bits(train(devices, recipe, hyper, **kw)) for devices in (1, 8))
    assert first == last


def test_rows_that_do_not_divide_and_blocks_without_any():
    recipe = Recipe(sampling=batches.full)
    rows = X[:5], Y[:5]
    first, last = (bits(train(devices, recipe, rows=rows)) for devices in (1, 8))
    assert first == last


@pytest.mark.parametrize("devices", [2, 8])
def test_all_rows_are_the_gradient_descent_of_numpy(devices):
    weight = RNG.integers(0, 3, N)
    hyper = Hyper({"learning_rate": 0.1}, reg=0.01)
    state, history = train(devices, Recipe(sampling=batches.full), hyper, weight=weight)
    problem = oracles.softmax_l2((X - AFFINE.shift) * AFFINE.scale, Y, 0.01, weight)
    met, W, b = oracles.gradient_descent(problem, *map(np.float64, PARAMS), 0.1, 12)
    np.testing.assert_allclose(history.loss, met, rtol=1e-5)
    np.testing.assert_allclose(state.params.W, W, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.params.b, b, rtol=1e-4, atol=1e-6)


def first_score(scores, labels):
    return scores[:, 0]


def test_an_epoch_sees_every_example_once():
    rows, recipe = (X[:64], Y[:64]), Recipe(Objective(first_score), batch_size=16)
    hyper = Hyper({"learning_rate": 1.0})
    state, _ = train(8, recipe, hyper, num_steps=4, rows=rows)
    seen = ((rows[0] - AFFINE.shift) * AFFINE.scale).sum(axis=0) / 16
    np.testing.assert_allclose(PARAMS.W[0] - state.params.W[0], seen, rtol=1e-4, atol=1e-5)


def test_a_run_on_8_devices_saved_goes_on_with_2(tmp_path):
    recipe, hyper, kw = CASES["weights and validation"]
    weight = {"weight": kw["weight"]}
    whole, _ = train(8, recipe, hyper, num_steps=24, **weight)
    half, _ = train(8, recipe, hyper, num_steps=12, **weight)
    checkpoint.save(tmp_path / "run.npz", half)
    like = training.start(jax.random.key(0), PARAMS, recipe, hyper)
    restored = checkpoint.restore(tmp_path / "run.npz", like)
    end, _ = train(2, recipe, hyper, num_steps=12, state=restored, **weight)
    assert bits(end) == bits(whole)


def test_the_users_jit_around_run():
    recipe = Recipe(batch_size=64)
    state = training.start(jax.random.key(52), PARAMS, recipe, HYPER)
    data = Examples(*placement.shard(placement.mesh(8), X, Y, np.ones(N, np.float32)))
    run = jax.jit(lambda data: training.run(state, data, AFFINE, recipe, HYPER, num_steps=12))
    for found, expected in zip(run(data)[0].params, train(8, recipe)[0].params, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)  # numbers are constants


def test_no_device_holds_more_than_its_rows():
    many = np.zeros((8191, 512), np.uint8)
    recipe, params = Recipe(batch_size=64), linear.init(jax.random.key(0), 512, C)
    state = training.start(jax.random.key(0), params, recipe, HYPER)
    mesh = placement.mesh(8)
    data = Examples(
        *placement.shard(mesh, many, np.zeros(8191, np.int32), np.ones(8191, np.float32))
    )
    affine = preprocessing.identity(512)
    compiled = compiled_run.lower(state, data, affine, recipe=recipe, hyper=HYPER, num_steps=2)
    memory = compiled.compile().memory_analysis()
    assert memory.argument_size_in_bytes < many.nbytes / 4
    assert memory.temp_size_in_bytes < many.nbytes / 2


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(ValueError, match="batch_size 60 has no equal parts .* use 64"):
        train(8, Recipe(batch_size=60))
    with pytest.raises(ValueError, match="shard X.astype"):
        train(8, Recipe(batch_size=64), rows=(X.astype(np.float64), Y))
    with pytest.raises(ValueError, match="y must be below num_classes = 3"):
        train(8, Recipe(batch_size=64), rows=(X, Y + 1))
