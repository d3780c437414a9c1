"""The cores inside a user's own transformations, precisions and meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from shares import further

from lincls import batches, distances, knn, linear, losses, optimizers, penalties, training
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper
from lincls.training import Recipe

RNG = np.random.default_rng(40)
N, D, C = 64, 6, 3
DATA = Examples(
    RNG.integers(0, 256, (N, D), dtype=np.uint8),
    RNG.integers(0, C, N).astype(np.int32),
    np.ones(N, np.float32),
)
AFFINE = Affine(np.full(D, 127.5, np.float32), np.float32(1 / 74))
HYPER = Hyper({"learning_rate": 0.1, "momentum": 0.9}, reg=0.01)
PARAMS = linear.init(jax.random.key(41), D, C)


RECIPE = Recipe(Objective(), optimizers.sgd, batch_size=16)


def run(data, hyper=HYPER, key=0, params=PARAMS, recipe=RECIPE):
    state = training.start(jax.random.key(key), params, recipe, hyper)
    data = jax.tree.map(jnp.asarray, data)
    return training.run(state, data, AFFINE, recipe, hyper, num_steps=12)


def assert_close(a, b, rtol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-6), a, b)


def test_run_under_the_users_jit():
    _, info = run(DATA)
    _, compiled = jax.jit(lambda data, reg: run(data, HYPER._replace(reg=reg)))(DATA, 0.01)
    assert_close(info, compiled)


@pytest.mark.slow
def test_run_under_the_users_vmap_over_seeds():
    def last_loss(key):
        state = training.start(key, PARAMS, RECIPE, HYPER)
        data = jax.tree.map(jnp.asarray, DATA)
        return training.run(state, data, AFFINE, RECIPE, HYPER, num_steps=12)[1].loss[-1]

    keys = jax.random.split(jax.random.key(42), 3)
    together = jax.vmap(last_loss)(keys)
    np.testing.assert_allclose(together, [last_loss(key) for key in keys], rtol=1e-5)
    assert len(set(together.tolist())) == 3


def test_the_final_loss_is_differentiable_in_the_hyperparameters():
    with jax.enable_x64(True):
        double = jax.tree.map(lambda p: p.astype(jnp.float64), PARAMS)
        full = Recipe(Objective(), sampling=batches.full)

        def final(rate):
            hyper = HYPER._replace(optimizer={"learning_rate": rate, "momentum": 0.9})
            return run(DATA, hyper, params=double, recipe=full)[1].loss[-1]

        both = jax.jit(jax.value_and_grad(final))
        slope = both(0.1)[1]
        numeric = (both(0.1 + 1e-6)[0] - both(0.1 - 1e-6)[0]) / 2e-6
    assert float(slope) == pytest.approx(float(numeric), rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "penalty"),
    [
        (losses.softmax, penalties.elastic_net),
        (losses.crammer_singer_hinge, penalties.l1),
        further(losses.hinge, penalties.none),
        further(losses.squared_hinge, penalties.l2),
    ],
)
def test_no_nan_on_the_way(loss, penalty):
    zero = linear.init(jax.random.key(0), D, C, scale=0.0)
    with jax.debug_nans(True):
        _, info = run(DATA, params=zero, recipe=Recipe(Objective(loss, penalty), batch_size=16))
    assert np.isfinite(info.loss).all()


def test_with_x64_on_everything_follows_the_parameters():
    with jax.enable_x64(True):
        state, info = jax.jit(run)(DATA)
        assert {leaf.dtype for leaf in (*state.params, info.loss)} == {jnp.dtype("float32")}
        double = jax.tree.map(lambda p: p.astype(jnp.float64), PARAMS)
        state, info = jax.jit(lambda data: run(data, params=double))(DATA)
        assert {leaf.dtype for leaf in (*state.params, info.loss)} == {jnp.dtype("float64")}
        found = knn.neighbors(knn.fit(DATA.X), DATA.X[:3], 2)
    without = knn.neighbors(knn.fit(DATA.X), DATA.X[:3], 2)
    assert found.distances.tolist() == without.distances.tolist()


@pytest.fixture
def mesh():
    assert len(jax.devices()) == 8, "tests/conftest.py asks XLA for 8 simulated devices"
    return jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))


def shard(mesh, tree, *axes):
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(*axes)))


@pytest.mark.slow
def test_training_on_eight_devices_is_training_on_one(mesh):
    grid = HYPER._replace(reg=jnp.array([0.0, 0.1]))
    alone, _ = jax.jit(lambda data: run(data, grid))(DATA)
    sharded = jax.tree.map(lambda leaf: shard(mesh, leaf, "rows"), DATA)
    together, _ = jax.jit(lambda data: run(data, grid))(sharded)
    assert_close(together.params, alone.params)


@pytest.mark.parametrize(
    ("of", "metric"),
    [
        ("queries", distances.l2),
        ("training", distances.l1),
        further("queries", distances.l1),
        further("training", distances.l2),
    ],
)
def test_search_on_eight_devices_is_search_on_one(mesh, metric, of):
    model, queries = knn.fit(DATA.X, metric=metric), jnp.asarray(DATA.X[:16])
    alone = knn.search_block(model, queries, 5)
    if of == "queries":
        queries = shard(mesh, queries, "rows")
    else:
        rows = [leaf.ndim > 0 and leaf.shape[0] == N for leaf in jax.tree.leaves(model)]
        leaves = [
            shard(mesh, leaf, "rows") if row else leaf
            for leaf, row in zip(jax.tree.leaves(model), rows, strict=True)
        ]
        assert any(rows)
        model = jax.tree.unflatten(jax.tree.structure(model), leaves)
    together = jax.jit(knn.search_block, static_argnums=2)(model, queries, 5)
    assert together.indices.tolist() == alone.indices.tolist()
    assert together.distances.tolist() == alone.distances.tolist()


def test_stopping_and_going_on_ends_in_the_same_bits():
    """With every optimisation of the compiler."""

    def train(state, num_steps):
        return training.fit(
            state, DATA.X, DATA.y, RECIPE, HYPER, affine=AFFINE, num_steps=num_steps
        )[0]

    state = training.start(jax.random.key(0), PARAMS, RECIPE, HYPER)
    whole, parts = train(state, 26), train(train(state, 13), 13)
    assert (whole.params.W == parts.params.W).all()
    assert (whole.opt.velocity.W == parts.opt.velocity.W).all()


ONE = Examples(RNG.normal(size=(1, D)).astype(np.float32), np.array([1]), np.ones(1, np.float32))
GRID = HYPER._replace(optimizer={"learning_rate": [0.01, 0.03, 0.1], "momentum": 0.9})


@pytest.mark.parametrize(
    ("data", "hyper", "pieces"),
    [
        (ONE, HYPER, [2, 1, 2]),
        (DATA, GRID, [1] * 5),
        further(ONE, HYPER, [1] * 5),
        further(DATA, GRID, [2, 1, 2]),
        *(further(DATA, HYPER, pieces) for pieces in ([1] * 5, [2, 1, 2])),
    ],
)
def test_a_run_one_step_at_a_time_ends_in_the_bits_of_the_whole(data, hyper, pieces):
    recipe = Recipe(Objective(), optimizers.sgd, batches.full)

    def train(*lengths):
        state, met = training.start(jax.random.key(0), PARAMS, recipe, hyper), []
        for num_steps in lengths:
            state, history = training.fit(
                state, data.X, data.y, recipe, hyper, affine=AFFINE, num_steps=num_steps
            )
            met.append(np.stack(history[:4]))
        return [*map(np.asarray, state.params), np.concatenate(met, axis=1)]

    for whole, parts in zip(train(5), train(*pieces), strict=True):
        np.testing.assert_array_equal(parts, whole)


def test_the_loop_itself_is_never_one_of_one_step():
    recipe = Recipe(Objective(), optimizers.sgd, batches.full)
    state = training.start(jax.random.key(0), PARAMS, recipe, HYPER)
    run = jax.jit(training.run, static_argnames=("recipe", "num_steps"))
    how = DATA, AFFINE, recipe, HYPER
    whole, of_whole = run(state, *how, num_steps=3)
    met = []
    for _ in range(3):
        state, info = run(state, *how, num_steps=1)
        met.append(info.loss)
    np.testing.assert_array_equal(np.concatenate(met), of_whole.loss)
    np.testing.assert_array_equal(state.params.W, whole.params.W)
    assert int(state.step) == 3
    state, info = run(state, *how, num_steps=0)
    assert (int(state.step), info.loss.shape) == (3, (0,))


@pytest.mark.slow
def test_a_list_in_hyper_is_a_grid_under_the_users_jit_too():
    grid = Hyper({"learning_rate": [0.01, 0.1]}, [0.0, 0.1])
    state = training.start(jax.random.key(0), PARAMS, RECIPE, grid)
    compiled = jax.jit(training.run, static_argnames=("recipe", "num_steps"))
    found = compiled(state, DATA, AFFINE, RECIPE, grid, num_steps=3)[1]
    arrays = jax.tree.map(np.asarray, grid, is_leaf=lambda leaf: isinstance(leaf, list))
    assert_close(found, compiled(state, DATA, AFFINE, RECIPE, arrays, num_steps=3)[1])
    assert found.loss.shape == (3, 2)
