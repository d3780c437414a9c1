"""The mean of the iterates: against numpy in float64, in grids, in parts, in cross-validation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest

from lincls import batches, checkpoint, crossval, linear, optimizers, splits, training
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams
from lincls.training import Recipe

RNG = np.random.default_rng(33)
N, D, C, T = 48, 4, 3, 24
X = RNG.normal(size=(N, D))
Y = (X[:, :C] + RNG.normal(size=(N, C))).argmax(axis=1)
PARAMS = linear.init(jax.random.key(34), D, C, scale=0.1)


def mean_sgd(learning_rate, start):
    return optax.chain(optimizers.sgd(learning_rate), optimizers.averaging(start))


def exponential_sgd(learning_rate, start, decay):
    return optax.chain(optimizers.sgd(learning_rate), optimizers.averaging(start, decay))


def train(
    hyper, optimizer, num_steps=T, state=None, params=PARAMS, sampling=batches.sequential,
    params_fn=training.last, **kw,
):  # fmt: skip
    recipe = Recipe(Objective(), optimizer, sampling, 16, params_fn)
    if state is None:
        state = training.start(jax.random.key(35), params, recipe, hyper)
    return training.fit(state, X, Y, recipe, hyper, num_steps=num_steps, **kw)


def iterates(rate, reg=0.01):
    """W and b after each step of the same training, in numpy."""
    W, b = (np.asarray(p, np.float64) for p in PARAMS)
    path = []
    for t in range(T):
        rows = slice(16 * (t % 3), 16 * (t % 3) + 16)
        value = oracles.softmax_l2(X[rows], Y[rows], reg)
        _, W, b = oracles.gradient_descent(value, W, b, rate, 1)
        path.append(np.concatenate([W.ravel(), b]))
    return np.array(path)


def flat(params):
    return np.concatenate([np.ravel(leaf) for leaf in params])


@pytest.mark.parametrize("decay", [None, 0.8], ids=["mean", "exponential"])
def test_it_is_numpys_mean_of_the_iterates_in_float64(decay):
    starts = [0, 5, 23, 100]
    numbers = {"learning_rate": 0.5, "start": starts} | ({} if decay is None else {"decay": decay})
    optimizer = mean_sgd if decay is None else exponential_sgd
    with jax.enable_x64(True):
        double = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), PARAMS)
        state, _ = train(Hyper(numbers, 0.01), optimizer, params=double)
        averages = optimizers.averaged(state)
    path = iterates(0.5)
    for g, start in enumerate(starts):
        kept = path[start:] if start < T else path[-1:]
        weights = None if decay is None else decay ** np.arange(len(kept))[::-1]
        found = flat(jax.tree.map(lambda leaf, g=g: leaf[g], averages))
        np.testing.assert_allclose(found, np.average(kept, axis=0, weights=weights), rtol=1e-10)
    np.testing.assert_allclose(flat(jax.tree.map(lambda p: p[0], state.params)), path[-1])


@pytest.mark.slow
def test_a_grid_is_its_single_runs_and_the_steps_are_those_of_sgd():
    grid = Hyper({"learning_rate": [0.1, 0.5], "start": [3, 10]}, 0.01)
    together, _ = train(grid, mean_sgd)
    for g in range(2):
        one = jax.tree.map(
            lambda leaf, g=g: leaf[g], {k: np.asarray(v) for k, v in grid[0].items()}
        )
        alone, _ = train(Hyper(one, 0.01), mean_sgd)
        plain, _ = train(Hyper({"learning_rate": one["learning_rate"]}, 0.01), optimizers.sgd)
        of_grid = jax.tree.map(lambda leaf, g=g: leaf[g], optimizers.averaged(together))
        np.testing.assert_allclose(flat(of_grid), flat(optimizers.averaged(alone)), atol=1e-6)
        np.testing.assert_allclose(flat(alone.params), flat(plain.params), atol=1e-6)


@pytest.mark.slow
def test_stopping_and_going_on_averages_to_the_same_bits(tmp_path):
    hyper = Hyper({"learning_rate": 0.5, "start": 5, "decay": 0.9}, 0.01)
    kw = {"optimizer": exponential_sgd, "sampling": batches.shuffled}
    whole, _ = train(hyper, num_steps=20, **kw)
    part, _ = train(hyper, num_steps=10, **kw)  # an epoch has 3 steps
    checkpoint.save(tmp_path / "run.npz", part)
    part = checkpoint.restore(tmp_path / "run.npz", like=part)
    part, _ = train(hyper, num_steps=10, state=part, **kw)
    assert (flat(optimizers.averaged(part)) == flat(optimizers.averaged(whole))).all()
    assert (flat(optimizers.averaged(whole)) != flat(whole.params)).any()


def test_validation_and_folds_measure_the_mean_when_asked():
    hyper = Hyper({"learning_rate": 3.0, "start": 0}, 0.0)
    _, history = train(hyper, mean_sgd, validation=(X, Y), every=T, params_fn=optimizers.averaged)
    mean = iterates(3.0, 0.0).mean(axis=0)
    np.testing.assert_allclose(flat(history.validation.best_params), mean, rtol=1e-4, atol=1e-5)
    scores = []

    def record(found, labels):
        scores.append(found)
        return 0.0

    recipe = Recipe(Objective(), mean_sgd, batches.full, params_fn=optimizers.averaged)
    crossval.linear(
        jax.random.key(0), X, Y, splits.folds(N, 2), recipe, hyper, num_steps=T, params=PARAMS,
        score_fn=record,
    )  # fmt: skip
    value = oracles.softmax_l2(X[24:], Y[24:], 0.0)
    W, b = (np.asarray(p, np.float64) for p in PARAMS)
    sums = np.zeros((24, C))
    for _ in range(T):
        _, W, b = oracles.gradient_descent(value, W, b, 3.0, 1)
        sums += X[:24] @ W.T + b
    np.testing.assert_allclose(scores[0], sums / T, rtol=1e-4, atol=1e-4)


def schedule_free(learning_rate):
    return optax.contrib.schedule_free_sgd(learning_rate, b1=0.9)


def test_optaxs_own_averaging_drops_in():
    grid = Hyper({"learning_rate": [0.1, 0.5]}, 0.01)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes its counts
        state, _ = train(grid, schedule_free)
    averages = jax.vmap(optax.contrib.schedule_free_eval_params)(state.opt, state.params)
    y, z, average = jax.tree.map(np.asarray, (state.params.W, state.opt.z.W, averages.W))
    np.testing.assert_allclose(0.9 * average + 0.1 * z, y, atol=1e-6)
    full = oracles.softmax_l2(X, Y, 0.01)
    before, after = (
        full(np.float64(W), np.float64(b))[0]
        for W, b in (PARAMS, (averages.W[1], averages.b[1]))
    )  # fmt: skip
    assert after < before


def test_without_averaging_there_is_no_mean_and_it_needs_the_parameters():
    with pytest.raises(ValueError, match=r"optimizers\.averaging"):
        optimizers.averaged(optimizers.sgd(0.1).init(PARAMS))
    link = optimizers.averaging()
    with pytest.raises(ValueError, match="parameters"):
        link.update(PARAMS, link.init(PARAMS))


def test_the_mean_of_narrow_parameters_is_kept_in_float32():
    link = optimizers.averaging()
    params = LinearParams(jnp.zeros((1, 1), jnp.bfloat16), jnp.zeros((1,), jnp.bfloat16))
    ones = jax.tree.map(lambda p: jnp.ones_like(p), params)
    state = link.init(params)
    for _ in range(300):
        _, state = link.update(ones, state, params)
        params = jax.tree.map(lambda p: (p + 1) % 128, params)
    assert state.average.W.dtype == jnp.float32
    expected = np.mean([step % 128 + 1 for step in range(300)])
    np.testing.assert_allclose(state.average.W, expected, rtol=1e-4)
