"""The cores inside a user's own transformations, precisions and meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

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
LOSSES = [losses.hinge, losses.squared_hinge, losses.crammer_singer_hinge, losses.softmax]
PENALTIES = [penalties.none, penalties.l1, penalties.l2, penalties.elastic_net]


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


@pytest.mark.parametrize(("loss", "penalty"), list(zip(LOSSES, PENALTIES, strict=True)))
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


def test_training_on_eight_devices_is_training_on_one(mesh):
    grid = HYPER._replace(reg=jnp.array([0.0, 0.1]))
    alone, _ = jax.jit(lambda data: run(data, grid))(DATA)
    sharded = jax.tree.map(lambda leaf: shard(mesh, leaf, "rows"), DATA)
    together, _ = jax.jit(lambda data: run(data, grid))(sharded)
    assert_close(together.params, alone.params)


@pytest.mark.parametrize("metric", [distances.l1, distances.l2], ids=lambda m: m.name)
@pytest.mark.parametrize("of", ["queries", "training"])
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
    """As in test_training, here with every optimisation of the compiler."""

    def train(state, num_steps):
        return training.fit(
            state, DATA.X, DATA.y, RECIPE, HYPER, affine=AFFINE, num_steps=num_steps
        )[0]

    state = training.start(jax.random.key(0), PARAMS, RECIPE, HYPER)
    whole, parts = train(state, 26), train(train(state, 13), 13)
    assert (whole.params.W == parts.params.W).all()
    assert (whole.opt.velocity.W == parts.opt.velocity.W).all()
