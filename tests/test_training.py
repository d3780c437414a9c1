"""One step, one loop, one driver: against numpy, against itself, and where it must stop."""

import dataclasses
import inspect
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
from shares import further

from lincls import (
    batches,
    checkpoint,
    linear,
    losses,
    optimizers,
    passes,
    penalties,
    placement,
    training,
)
from lincls import hyper as numbers
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper, LinearParams
from lincls.training import Recipe, core, driver, streams

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(30)
N, D, C = 70, 5, 3
X = RNG.integers(0, 256, (N, D), dtype=np.uint8)
Y = (X[:, 0] > 128).astype(np.int32) + (X[:, 1] > 200)
AFFINE = Affine(np.full(D, 127.5, np.float32), np.float32(1 / 73.6))
FLOATS = (X - AFFINE.shift) * AFFINE.scale
SOFTMAX = Objective(losses.softmax, penalties.l2)
RECIPE = Recipe(SOFTMAX, batch_size=16)
FULL = Recipe(SOFTMAX, sampling=batches.full)
HYPER = Hyper({"learning_rate": 0.1}, reg=0.01)
PARAMS = linear.init(jax.random.key(31), D, C, scale=0.1)


def in_order(batch_size):
    return Recipe(SOFTMAX, sampling=batches.sequential, batch_size=batch_size)


def train(hyper=HYPER, num_steps=40, recipe=RECIPE, state=None, params=PARAMS, **kw):
    if state is None:
        state = training.start(jax.random.key(32), params, recipe, hyper)
    return training.fit(state, X, Y, recipe, hyper, num_steps=num_steps, **{"affine": AFFINE, **kw})


def assert_equal_trees(a, b, **tolerance):
    def compare(a, b):
        if jax.dtypes.issubdtype(getattr(a, "dtype", None), jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(a, b, **tolerance)

    jax.tree.map(compare, a, b)


def test_full_batch_is_gradient_descent_as_in_numpy():
    state, history = train(recipe=FULL, num_steps=30)
    W, b = (np.asarray(p, np.float64) for p in PARAMS)
    met, W, b = oracles.gradient_descent(oracles.softmax_l2(FLOATS, Y, 0.01), W, b, 0.1, 30)
    np.testing.assert_allclose(history.loss, met, rtol=1e-5)
    np.testing.assert_allclose(state.params.W, W, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.params.b, b, rtol=1e-4, atol=1e-6)


def test_a_batch_of_all_examples_in_file_order_is_full():
    a, _ = train(recipe=FULL, num_steps=30)
    b, _ = train(recipe=in_order(N), num_steps=30)
    assert_equal_trees(a.params, b.params, rtol=1e-6)


def test_one_example_sgd_is_the_numpy_loop():
    state, history = train(recipe=in_order(1), num_steps=25)
    W, b = (np.asarray(p, np.float64) for p in PARAMS)
    for i in range(25):
        value = oracles.softmax_l2(FLOATS[i : i + 1], Y[i : i + 1], 0.01)
        (loss,), W, b = oracles.gradient_descent(value, W, b, 0.1, 1)
        assert history.loss[i] == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(state.params.W, W, rtol=1e-4, atol=1e-6)


def test_info_is_of_the_old_parameters_and_adds_up():
    _, history = train(recipe=FULL, num_steps=30)
    loss_and_gradient = oracles.softmax_l2(FLOATS, Y, 0.01)
    loss, dW, db = loss_and_gradient(*(np.asarray(p, np.float64) for p in PARAMS))
    assert history.loss[0] == pytest.approx(loss, rel=1e-5)
    assert history.penalty[0] == pytest.approx(0.01 * float((PARAMS.W**2).sum()), rel=1e-5)
    np.testing.assert_allclose(history.loss, history.data + history.penalty, rtol=1e-6)
    assert history.grad_norm[0] == pytest.approx(np.sqrt((dW**2).sum() + (db**2).sum()), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [batches.shuffled, batches.replacement], ids=["epochs", "iid"])
def test_stopping_and_going_on_ends_in_the_same_bits(sampling, tmp_path):
    hyper = Hyper({"learning_rate": 0.1, "momentum": 0.9}, reg=0.01)
    recipe = Recipe(SOFTMAX, sampling=sampling, batch_size=16)
    whole, history = train(hyper, 26, recipe)
    state, first = train(hyper, 13, recipe)  # in the middle of an epoch
    checkpoint.save(tmp_path / "run.npz", state)
    state = checkpoint.restore(tmp_path / "run.npz", like=state)
    state, second = train(hyper, 13, recipe, state)
    assert_equal_trees(state, whole, rtol=0, atol=0)
    assert (np.concatenate([first.loss, second.loss]) == history.loss).all()


def test_chunks_are_invisible():
    whole, history = train(num_steps=40)
    calls = []
    with placement.limited(call_flops=6 * 16 * C * D * 7):  # 7 steps a call
        chunked, same = train(on_chunk=lambda state, info: calls.append(len(info.loss)))
    assert calls == [7, 7, 7, 7, 7, 5]
    assert_equal_trees(chunked, whole, rtol=0, atol=0)
    assert (same.loss == history.loss).all()


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """Puts X into a file, as large data would be."""

    def put():
        in_file = np.memmap(tmp_path / "X", np.uint8, "w+", shape=X.shape)
        in_file[:] = X
        monkeypatch.setattr(sys.modules[__name__], "X", in_file)

    with placement.limited(device_bytes=0):
        yield put


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["shuffled", "replacement", "sequential"])
def test_data_read_piece_by_piece_give_the_same_bits(sampling, mapped):
    recipe = Recipe(SOFTMAX, sampling=getattr(batches, sampling), batch_size=16)
    how = HYPER._replace(dropout=0.2), 29, recipe
    whole, history = train(*how)
    mapped()
    with placement.limited(piece_bytes=16 * D * 7):  # 7 steps a piece, 5 an epoch
        pieces, same = train(*how)
    assert_equal_trees(pieces, whole, rtol=0, atol=0)
    assert (same.loss == history.loss).all()


def test_pieces_are_bounded_and_full_batches_refused(mapped, monkeypatch):
    mapped()
    seen = []
    gathered = streams.Pieces._gathered
    monkeypatch.setattr(
        streams.Pieces, "_gathered", lambda *a: seen.append(len(a[1])) or gathered(*a)
    )
    with placement.limited(piece_bytes=16 * D * 3):
        train(num_steps=8)
    assert seen == [48, 48, 48]
    with pytest.raises(ValueError, match="sequential"):
        train(num_steps=8, recipe=FULL)


def test_large_validation_data_are_read_block_by_block(tmp_path, monkeypatch):
    grid = Hyper({"learning_rate": np.array([0.3, 0.01])}, 0.0)
    _, history = train(grid, 12, validation=(X, Y), every=5)
    in_file = np.memmap(tmp_path / "validation", np.uint8, "w+", shape=X.shape)
    in_file[:] = X
    met, measure = [], passes._accuracies

    def watch(params, data, affine, **how):
        met.append(len(data.X))
        return measure(params, data, affine, **how)

    monkeypatch.setattr(passes, "_accuracies", watch)
    with placement.limited(device_bytes=0, piece_bytes=32 * D):
        _, same = train(grid, 12, validation=(in_file, Y), every=5)
    assert met == [32] * 9  # 3 blocks for 70 rows, 3 validations
    np.testing.assert_allclose(same.validation.accuracy, history.validation.accuracy, rtol=1e-6)
    assert same.validation.best_step.tolist() == history.validation.best_step.tolist()


@pytest.mark.slow
def test_a_grid_is_its_single_runs():
    grid = Hyper({"learning_rate": np.geomspace(0.01, 0.5, 4), "momentum": 0.5}, reg=[0, 0.1, 0, 1])
    state, history = train(grid, 200)
    assert history.loss.shape == (200, 4)
    for g in range(4):
        alone = Hyper(
            {"learning_rate": grid.optimizer["learning_rate"][g], "momentum": 0.5}, grid.reg[g]
        )
        single, info = train(alone, 200)
        np.testing.assert_allclose(state.params.W[g], single.params.W, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(history.loss[:, g], info.loss, rtol=1e-5)


def test_weights_are_rows_removed():
    keep = RNG.random(N) < 0.6
    state, _ = train(weight=keep.astype(np.float32), recipe=FULL, num_steps=30)
    loss_and_gradient = oracles.softmax_l2(FLOATS[keep], Y[keep], 0.01)
    W, b = (np.asarray(p, np.float64) for p in PARAMS)
    _, W, b = oracles.gradient_descent(loss_and_gradient, W, b, 0.1, 30)
    np.testing.assert_allclose(state.params.W, W, rtol=1e-4, atol=1e-6)


def test_settings_may_see_different_examples():
    weight = np.stack([RNG.random(N) < 0.5, RNG.random(N) < 0.5]).astype(np.float32)
    both, _ = train(Hyper({"learning_rate": np.full(2, 0.1)}, 0.01), weight=weight)
    for g in range(2):
        alone, _ = train(weight=weight[g])
        np.testing.assert_allclose(both.params.W[g], alone.params.W, rtol=1e-5, atol=1e-6)


def test_a_diverging_setting_keeps_its_last_finite_parameters():
    huge = Hyper({"learning_rate": np.array([0.1, 1e30])}, 0.01)
    state, history = train(huge, 40, Recipe(Objective(losses.squared_hinge), batch_size=16))
    assert state.alive.tolist() == [True, False]
    assert np.isfinite(state.params.W).all()
    assert history.alive[:, 0].all()
    died = int(history.alive[:, 1].argmin())
    assert 0 < died < 10
    assert not history.alive[died:, 1].any()


def test_training_ends_when_no_setting_is_alive():
    recipe = Recipe(Objective(losses.squared_hinge), batch_size=16)
    with placement.limited(call_flops=1):
        _, history = train(Hyper({"learning_rate": 1e30}, 0.01), recipe=recipe)
    assert len(history.loss) < 40
    assert not history.alive[-1]


def test_validation_keeps_the_best_parameters_of_each_setting():
    hyper = Hyper({"learning_rate": np.array([0.3, 0.0])}, 0.0)
    state, history = train(hyper, 23, validation=(X, Y), every=5)
    seen = history.validation
    assert seen.steps.tolist() == [5, 10, 15, 20, 23]
    assert seen.accuracy.shape == (5, 2)
    assert seen.best_accuracy.tolist() == seen.accuracy.max(axis=0).tolist()
    first = seen.accuracy[:, 0].argmax()
    assert seen.best_step.tolist() == [seen.steps[first], 5]
    upto, _ = train(hyper, int(seen.steps[first]))
    np.testing.assert_allclose(seen.best_params.W[0], upto.params.W[0], rtol=1e-5, atol=1e-7)
    last = linear.predict(jax.tree.map(lambda p: p[0], state.params), FLOATS.astype(np.float32))
    assert seen.accuracy[-1, 0] == pytest.approx(np.mean(np.asarray(last) == Y), abs=1e-6)


def test_patience_ends_the_training_and_keeps_the_best():
    still = Hyper({"learning_rate": np.array([0.0, 0.0])}, 0.0)
    _, history = train(still, 60, validation=(X, Y), every=5, patience=3)
    assert history.validation.steps.tolist() == [5, 10, 15, 20]
    one_moves = Hyper({"learning_rate": np.array([0.0, 0.02])}, 0.0)
    _, history = train(one_moves, 60, validation=(X, Y), every=5, patience=3)
    accuracy = history.validation.accuracy
    assert len(accuracy) > 4
    best_before = accuracy[:-3].max(axis=0)
    assert len(accuracy) == 12 or (accuracy[-3:].max(axis=0) <= best_before).all()
    assert history.validation.best_accuracy.tolist() == accuracy.max(axis=0).tolist()


@pytest.mark.slow
def test_patience_stops_each_setting_of_a_grid_where_it_would_stop_alone():
    rates, how = [0.0, 0.003, 0.3], {"validation": (X, Y), "every": 2, "patience": 2}
    _, together = train(Hyper({"learning_rate": np.array(rates)}, 0.0), 120, **how)
    found, ends = together.validation, []
    for place, rate in enumerate(rates):
        _, alone = train(Hyper({"learning_rate": rate}, 0.0), 120, **how)
        ends.append(alone.validation.steps[-1])
        assert found.best_step[place] == alone.validation.best_step
        assert found.best_accuracy[place] == pytest.approx(float(alone.validation.best_accuracy))
    assert found.steps[-1] == max(ends) > min(ends)


def test_validations_of_a_run_in_pieces_are_those_of_the_whole():
    how = {"validation": (X, Y), "every": 10}
    _, whole = train(num_steps=35, **how)
    state, first = train(num_steps=13, **how)
    _, second = train(num_steps=22, state=state, **how)
    assert first.validation.steps.tolist() == [10, 13]
    assert second.validation.steps.tolist() == [20, 30, 35]
    np.testing.assert_array_equal(second.validation.accuracy, whole.validation.accuracy[1:])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, further(np.float16)])
def test_accuracy_of_narrow_parameters_is_counted_in_float32(dtype):
    rows = np.arange(70_001) % 3  # bfloat16 counts to 256, float16 to 65,504
    data = Examples(np.eye(3, dtype=np.uint8)[rows], rows.astype(np.int32), np.ones(len(rows)))
    params = LinearParams(jnp.eye(3, dtype=dtype)[jnp.array([0, 0, 2])], jnp.zeros(3, dtype))
    found = passes.accuracies(
        params,
        data._replace(weight=data.weight.astype(dtype)),
        Affine(np.zeros(3, dtype), dtype(1)),
    )
    assert float(found) == pytest.approx(np.mean(rows != 1), abs=1e-6)


def test_numbers_of_an_affine_compile_nothing_anew():
    train()
    before = core.compiled_run._cache_size()
    train(affine=Affine(np.full(D, 127, np.int64), 0.0136))
    train(affine=Affine(np.full(D, 127.5), np.float64(0.0136)))
    assert core.compiled_run._cache_size() == before


def test_dropout_is_the_numpy_loop_with_the_same_masks():
    recipe = in_order(N)
    state, history = train(HYPER._replace(dropout=0.4), 30, recipe)
    W, b = (np.asarray(p, np.float64) for p in PARAMS)
    for i in range(30):
        dropped = batches.drop(
            jnp.float32(FLOATS), jax.random.key(32), jnp.int32(i), jnp.float32(0.4)
        )
        (loss,), W, b = oracles.gradient_descent(oracles.softmax_l2(dropped, Y, 0.01), W, b, 0.1, 1)
        assert history.loss[i] == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(state.params.W, W, rtol=1e-4, atol=1e-6)
    nothing, _ = train(HYPER._replace(dropout=0.0), 30, recipe)
    assert_equal_trees(nothing.params, train(HYPER, 30, recipe)[0].params, rtol=1e-6)


@pytest.mark.slow
def test_dropout_of_a_grid_is_that_of_its_single_runs():
    shares = np.array([0.0, 0.3, 0.8])
    together, _ = train(HYPER._replace(dropout=shares), 29)
    for g, share in enumerate(shares):
        alone, _ = train(HYPER._replace(dropout=share), 29)
        np.testing.assert_allclose(together.params.W[g], alone.params.W, rtol=1e-5, atol=1e-6)
    both, _ = train(Hyper({"learning_rate": [0.1, 0.2]}, 0.01, dropout=0.3), 29)  # shared
    np.testing.assert_allclose(both.params.W[0], together.params.W[1], rtol=1e-5, atol=1e-6)


def test_dropout_drops_its_share_and_keeps_the_mean():
    X = jnp.ones((200, 50))
    dropped = np.asarray(batches.drop(X, jax.random.key(1), jnp.int32(3), jnp.float32(0.25)))
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.02)
    other = batches.drop(X, jax.random.key(1), jnp.int32(4), jnp.float32(0.25))
    assert (dropped != np.asarray(other)).any()


def test_lbfgs_takes_the_place_of_sgd():
    recipe = dataclasses.replace(FULL, optimizer=optax.lbfgs)
    state, history = train(Hyper({}, 0.05), 60, recipe)
    loss_and_gradient = oracles.softmax_l2(FLOATS, Y, 0.05)
    _, dW, db = loss_and_gradient(*(np.asarray(p, np.float64) for p in state.params))
    assert max(np.abs(dW).max(), np.abs(db).max()) < 1e-4
    assert history.loss[-1] <= history.loss[5]


@pytest.mark.parametrize("optimizer", [optax.lbfgs, optimizers.sgd])
def test_the_state_of_the_start_has_the_types_of_every_later_one(optimizer):
    hyper = HYPER if optimizer is optimizers.sgd else Hyper({}, 0.01)
    recipe = Recipe(SOFTMAX, optimizer)
    state = training.start(jax.random.key(0), PARAMS, recipe, hyper)
    types = [jax.typeof(leaf) for leaf in jax.tree.leaves(state)]
    batch = Examples(jnp.float32(FLOATS), jnp.asarray(Y), jnp.ones(N))

    def step(state):
        return training.step(state, batch, recipe, hyper)[0]

    later = jax.eval_shape(step, state)  # another type would compile the loop once more
    assert [(t.shape, t.dtype, t.weak_type) for t in types] == [
        (t.shape, t.dtype, t.weak_type) for t in jax.tree.leaves(later)
    ]


def sgd_on_plateau(learning_rate):
    return optax.chain(
        optimizers.sgd(learning_rate), optax.contrib.reduce_on_plateau(factor=0.5, patience=2)
    )


@pytest.mark.slow
def test_an_optimiser_that_wants_the_value_takes_the_place_of_sgd():
    with jax.numpy_dtype_promotion("standard"):  # optax promotes its counts
        recipe = Recipe(SOFTMAX, sgd_on_plateau, batch_size=16)
        state, history = train(Hyper({"learning_rate": 20.0}, 0.0), 60, recipe)
    assert float(state.opt[1].scale) < 1
    assert history.loss[-5:].mean() < history.loss[:5].mean()


@pytest.mark.slow
def test_trains_in_float64_and_in_float32_with_x64_on():
    with jax.enable_x64(True):
        double = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), PARAMS)
        state, history = train(params=double, recipe=FULL, num_steps=30)
        assert state.params.W.dtype == jnp.float64
        W, b = (np.asarray(p, np.float64) for p in PARAMS)
        met, W, _ = oracles.gradient_descent(
            oracles.softmax_l2(FLOATS.astype(np.float64), Y, 0.01), W, b, 0.1, 30
        )
        np.testing.assert_allclose(history.loss, met, rtol=1e-6)
        single, _ = train(num_steps=3)
        assert single.params.W.dtype == jnp.float32


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"num_steps": 0}, ValueError, "num_steps"),
        ({"hyper": HYPER._replace(dropout=[0.5, 1.0])}, ValueError, "dropout must be"),
        ({"weight": np.zeros(N)}, ValueError, "0 everywhere"),
        ({"hyper": Hyper({"learning_rate": 0.1, "momentum": None})}, ValueError, "leave its key"),
        ({"affine": Affine(np.zeros(D + 1), 1.0)}, ValueError, "affine"),
        ({"patience": 0, "validation": (X, Y)}, ValueError, "patience"),
        ({"patience": 2}, ValueError, "validation="),
        ({"hyper": Hyper({"learning_rate": []})}, ValueError, "at least 1"),
        ({"weight": np.ones(3)}, ValueError, "weight"),
        ({"weight": -np.ones(N)}, ValueError, "at least 0"),
        (
            {"hyper": Hyper({"learning_rate": np.ones(2)}, np.ones(3))},
            ValueError,
            "share one shape",
        ),
        ({"params": linear.init(jax.random.key(0), D + 1, C)}, ValueError, "features"),
        ({"params": linear.init(jax.random.key(0), D, 2)}, ValueError, "num_classes = 2"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else None,
)
def test_what_does_not_fit_is_refused_by_name(change, error, says):
    with pytest.raises(error, match=says):
        train(**change)


def test_a_state_of_another_grid_is_refused():
    state = training.start(jax.random.key(0), PARAMS, RECIPE, HYPER)
    with pytest.raises(ValueError, match="2 settings"):
        train(Hyper({"learning_rate": np.ones(2)}), state=state)


def test_nan_in_the_data_is_refused():
    bad = FLOATS.astype(np.float32)
    bad[7, 2] = np.nan
    state = training.start(jax.random.key(0), PARAMS, RECIPE, HYPER)
    with pytest.raises(ValueError, match="row 7"):
        training.fit(state, bad, Y, RECIPE, HYPER, num_steps=1)


def test_an_old_style_key_is_refused():
    with pytest.raises(TypeError, match=r"jax\.random\.key"):
        training.start(jax.random.PRNGKey(0), PARAMS, RECIPE, HYPER)


@pytest.mark.slow
def test_step_is_usable_alone():
    state = training.start(jax.random.key(0), PARAMS, RECIPE, HYPER)
    batch = Examples(FLOATS.astype(np.float32), Y, np.ones(N, np.float32))
    new, info = training.step(state, batch, RECIPE, HYPER)
    assert int(new.step) == 1
    assert isinstance(new.params, LinearParams)
    assert float(info.loss) > 0


def test_data_go_to_the_device_by_lending_or_by_a_copy_of_their_own():
    memory = np.zeros(2**23 + 64, np.uint8)
    start = -memory.ctypes.data % 64
    for shift in (0, 1):  # an address that JAX takes over, and one that it does not
        X = memory[start + shift :][: 2**22].reshape(2**11, -1)
        kept, lent = placement.on_device(X), placement.on_device(X, lent=True)
        X[0, 0] = 9
        assert kept[0, 0] == 0  # what is kept does not follow its owner
        assert int(lent[0, 0]) == (9 if shift == 0 else 0)
        X[0, 0] = 0
        view = X.view()
        view.flags.writeable = False  # its memory can be written to all the same
        kept = placement.on_device(view)
        X[0, 0] = 9
        assert kept[0, 0] == 0
    assert placement.on_device(np.zeros((2, 2**20))).dtype == jnp.float32


@pytest.mark.parametrize("order", ["C", "F", "every other", "unaligned"])
def test_rows_of_a_host_array_are_taken_without_a_copy_of_all(order):
    X = np.arange(2**20, dtype=np.float32).reshape(2**12, 256)
    if order == "unaligned":
        X = np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape)
    elif order == "every other":
        X = np.repeat(X, 2, axis=0)[::2]
    else:
        X = np.asarray(X, order=order)
    places = np.array([7, 4095, 0, 7], np.int32)
    tracemalloc.start()
    rows = placement.taken(X, places)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(rows, 256 * places[:, None] + np.arange(256))
    assert peak < X.nbytes // 8


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("objective", losses.softmax, "Objective"),
        ("optimizer", optax.adam(0.1), "optimizers.sgd"),
        ("sampling", "shuffled", "batches.shuffled"),
        ("batch_size", 2.5, "whole number"),
    ],
)
def test_a_recipe_of_other_parts_is_refused(name, given, says):
    recipe = object.__new__(Recipe)  # without the types that tests check at run time
    for field in dataclasses.fields(Recipe):
        object.__setattr__(recipe, field.name, given if field.name == name else field.default)
    with pytest.raises(TypeError, match=f"{name} must be .*{says}"):
        recipe.__post_init__()


def test_validation_is_a_pair():
    state = training.start(jax.random.key(32), PARAMS, RECIPE, HYPER)
    fit = inspect.unwrap(training.fit)
    with pytest.raises(TypeError, match=r"validation must be .*pair"):
        fit(state, X, Y, RECIPE, HYPER, num_steps=4, validation=(X, Y, Y))


def a_sample(key, step, num_examples, batch_size):
    return jnp.arange(num_examples, dtype=jnp.int32), jnp.ones(num_examples, bool)


def test_a_full_batch_of_your_own_is_cut_into_calls_as_ours(mapped):
    mine = batches.stateless(a_sample, lambda num_examples, batch_size: num_examples)
    calls = {}
    with placement.limited(call_flops=6 * N * C * D * 3):
        for name, sampling in {"ours": batches.full, "mine": mine}.items():
            met = calls[name] = []
            recipe = Recipe(SOFTMAX, sampling=sampling, batch_size=16)
            train(
                num_steps=8,
                recipe=recipe,
                on_chunk=lambda _, info, met=met: met.append(len(info.loss)),
            )
    assert calls["mine"] == calls["ours"] == [3, 3, 2]
    mapped()
    with pytest.raises(ValueError, match="sequential"):
        train(num_steps=8, recipe=Recipe(SOFTMAX, sampling=mine))


def test_a_dict_is_no_hyper():
    with pytest.raises(TypeError, match="hyper must be such as Hyper"):
        inspect.unwrap(numbers.plain)({"learning_rate": 0.1})


def test_a_call_takes_two_steps_at_least_where_there_are_two():
    """One step is compiled as a loop of two, so calls of one would compute each step twice."""
    assert [driver.chunk_length(span, 10**12, 100) for span in (1, 2, 3, 10)] == [1, 2, 2, 2]
    assert driver.chunk_length(10, 1, 4) == 4
