"""Training on 1, 2 and 8 simulated devices: one W to the bit, and that of numpy up to rounding."""

import jax
import numpy as np
import oracles
import pytest

from lincls import (
    batches,
    checkpoint,
    crossval,
    linear,
    losses,
    optimum,
    passes,
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


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES)[2:])
def test_one_w_for_every_way_to_train(case):
    check_one_w(case)


@pytest.mark.slow
def test_one_w_for_a_grid():
    check_one_w("a grid with weights of its own and dropout")


def check_one_w(case):
    recipe, hyper, kw = CASES[case]
    first, last = (bits(train(devices, recipe, hyper, **kw)) for devices in (1, 8))
    assert first == last


def test_rows_that_do_not_divide_and_blocks_without_any():
    recipe = Recipe(sampling=batches.full)
    rows = X[:5], Y[:5]
    first, last = (bits(train(devices, recipe, rows=rows)) for devices in (1, 8))
    assert first == last


@pytest.mark.parametrize("devices", [8])
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
    with pytest.raises(ValueError, match=r"batch_size 60 has no equal parts .* use 64"):
        train(8, Recipe(batch_size=60))
    with pytest.raises(ValueError, match=r"shard X\.astype"):
        train(8, Recipe(batch_size=64), rows=(X.astype(np.float64), Y))
    with pytest.raises(ValueError, match="y must be below num_classes = 3"):
        train(8, Recipe(batch_size=64), rows=(X, Y + 1))


def test_preprocessing_is_that_of_one_device():
    rows = placement.shard(placement.mesh(8), X)[0]
    weight = RNG.random(N)
    for found, expected in zip(
        preprocessing.fit(rows, weight), preprocessing.fit(X, weight), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_accuracies_of_a_grid_with_weights_of_its_own():
    grid = jax.tree.map(lambda leaf: np.stack([leaf, -leaf]), PARAMS)
    weight = RNG.integers(0, 3, (2, N))
    rows = placement.shard(placement.mesh(8), X, Y)
    found = passes.accuracies(grid, Examples(*rows, weight), AFFINE)
    scores = ((X - AFFINE.shift) * AFFINE.scale) @ np.asarray(grid.W).swapaxes(1, 2)
    right = (scores + np.asarray(grid.b)[:, None]).argmax(axis=2) == Y
    np.testing.assert_allclose(found, (right * weight).sum(1) / weight.sum(1), rtol=1e-6)


def test_validation_on_the_mesh_is_validation_on_the_host():
    recipe, held_out = Recipe(batch_size=64), (X[:61], Y[:61])
    on_mesh = placement.shard(placement.mesh(8), *held_out)
    found, expected = (
        train(8, recipe, validation=validation, every=6)[1].validation
        for validation in (on_mesh, held_out)
    )
    np.testing.assert_allclose(found.accuracy, expected.accuracy, rtol=1e-6)


FOLDS = np.arange(N) % 5


@pytest.mark.slow
def test_cross_validation_of_knn_is_that_of_one_device():
    rows = placement.shard(placement.mesh(8), X, Y)
    found = crossval.knn_accuracies(*rows, FOLDS, [1, 5])
    np.testing.assert_array_equal(found, crossval.knn_accuracies(X, Y, FOLDS, [1, 5]))


def fold_accuracy(scores, labels):
    return float((scores.argmax(axis=1) == labels).mean())


def test_cross_validation_of_a_grid_has_the_same_bits_and_scores():
    def folded(devices, score_fn=None):
        rows = placement.shard(placement.mesh(devices), X, Y)
        hyper = Hyper({"learning_rate": [0.1, 0.01]}, 0.01)
        return crossval.linear(
            jax.random.key(0), *rows, FOLDS, Recipe(batch_size=64), hyper, num_steps=12,
            affine=AFFINE, score_fn=score_fn,
        )  # fmt: skip

    found, other = folded(8), folded(1, fold_accuracy)
    assert bits(found.params) == bits(other.params)
    np.testing.assert_allclose(found.accuracies, other.accuracies, rtol=1e-6)


@pytest.mark.slow
def test_the_optimum_is_that_of_one_device():
    rows = placement.shard(placement.mesh(8), X, Y)
    with jax.numpy_dtype_promotion("standard"):
        found = optimum.optimum(*rows, reg=0.01, affine=AFFINE, tol=1e-9)
        expected = optimum.optimum(X, Y, reg=0.01, affine=AFFINE, tol=1e-9, dtype=np.float64)
        assert optimum.optimum(*rows, reg=0.01, affine=AFFINE).converged
    assert found.loss == pytest.approx(expected.loss, rel=1e-9)
    np.testing.assert_allclose(found.params.W, expected.params.W, atol=1e-4)
