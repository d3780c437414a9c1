"""What people add to a training, each against numpy or scikit-learn: the docstrings' recipes."""

import jax
import numpy as np
import optax
import oracles
import pytest
from sklearn.linear_model import LogisticRegression

from lincls import (
    batches,
    linear,
    losses,
    optimizers,
    optimum,
    penalties,
    splits,
    training,
)
from lincls.objective import Objective
from lincls.structs import Hyper
from lincls.training import Recipe

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(36)
N, D, C = 60, 6, 3
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = (X[:, :C] + RNG.normal(size=(N, C)) + [1, 0, -1]).argmax(axis=1)
PARAMS = linear.init(jax.random.key(37), D, C, scale=0.5)
START = [np.asarray(p, np.float64) for p in PARAMS]


def train(hyper, num_steps, optimizer, X=X, y=Y, state=None, penalty=penalties.l2, **kw):
    recipe = Recipe(Objective(losses.softmax, penalty), optimizer, batches.full)
    if state is None:
        state = training.start(jax.random.key(38), PARAMS, recipe, hyper)
    return training.fit(state, X, y, recipe, hyper, num_steps=num_steps, **kw)


def test_balanced_weights_are_scikit_learns_class_weights():
    weight = splits.balanced_weights(Y)
    assert len(np.unique(weight)) == C
    best = optimum.optimum(X, Y, reg=0.02, weight=weight, tol=1e-9)
    model = LogisticRegression(C=1 / (2 * N * 0.02), class_weight="balanced", tol=1e-10)
    np.testing.assert_allclose(best.params.W, model.fit(X.astype(np.float64), Y).coef_, atol=1e-4)


def test_new_data_go_on_with_the_momentum_in_hand():
    hyper = Hyper({"learning_rate": 0.1, "momentum": 0.9}, 0.01)
    more_X, more_y = X[:20] + 1, Y[:20]
    state, _ = train(hyper, 5, optimizers.sgd)
    state, _ = train(hyper, 7, optimizers.sgd, more_X, more_y, state)
    (W, b), velocity = START, [0.0, 0.0]
    for t in range(12):
        value = oracles.softmax_l2(*((X, Y) if t < 5 else (more_X, more_y)), 0.01)
        velocity = [0.9 * v + g for v, g in zip(velocity, value(W, b)[1:], strict=True)]
        W, b = W - 0.1 * velocity[0], b - 0.1 * velocity[1]
    assert int(state.step) == 12
    np.testing.assert_allclose(state.params.W, W, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.params.b, b, rtol=1e-4, atol=1e-6)


def clipped_sgd(learning_rate, limit):
    schedule = optax.exponential_decay(learning_rate, 1, 0.9)
    return optax.chain(optax.clip_by_global_norm(limit), optimizers.sgd(schedule))


def test_clipping_and_a_schedule_of_optax_are_the_numpy_loop():
    limits = [0.05, 0.3, 100.0]
    with jax.numpy_dtype_promotion("standard"):  # optax promotes its counts
        state, _ = train(Hyper({"learning_rate": 0.5, "limit": limits}, 0.01), 10, clipped_sgd)
    clipped = []
    for g, limit in enumerate(limits):
        W, b = START
        for t in range(10):
            _, dW, db = oracles.softmax_l2(X, Y, 0.01)(W, b)
            norm = np.sqrt((dW**2).sum() + (db**2).sum())
            clipped.append(norm > limit)
            step = 0.5 * 0.9**t * min(1, limit / norm)
            W, b = W - step * dW, b - step * db
        np.testing.assert_allclose(state.params.W[g], W, rtol=1e-4, atol=1e-6)
    assert 10 < np.sum(clipped) < 30


def sgd_l1(learning_rate, strength):
    shrink = optimizers.proximal(penalties.soft_threshold, learning_rate * strength)
    return optax.chain(optimizers.sgd(learning_rate), shrink)


def test_the_proximal_step_ends_at_the_optimum_with_l1_and_its_zeros_are_zeros():
    strengths = np.array([0.01, 0.05, 0.2])
    hyper = Hyper({"learning_rate": 0.5, "strength": strengths})
    state, _ = train(hyper, 800, sgd_l1, penalty=penalties.none)
    counts = []
    for g, strength in enumerate(strengths):
        W, b = (np.asarray(p[g], np.float64) for p in state.params)
        _, dW, db = oracles.softmax_l2(X, Y, 0.0)(W, b)
        zero = W == 0
        assert (np.abs(dW[zero]) <= strength + 1e-5).all()  # the conditions of optimality
        np.testing.assert_allclose(dW[~zero], -strength * np.sign(W[~zero]), atol=1e-5)
        np.testing.assert_allclose(db, 0, atol=1e-5)
        counts.append(zero.sum())
    assert 0 < counts[1] < counts[2]


def sgd_in_balls(learning_rate, radius):
    return optax.chain(optimizers.sgd(learning_rate), optimizers.max_norm(radius))


def test_rows_stay_in_their_balls_and_one_that_is_wide_changes_nothing():
    hyper = Hyper({"learning_rate": 0.5, "radius": [0.3, 1.0, 1e3]}, 0.0)
    state, _ = train(hyper, 100, sgd_in_balls)
    free, _ = train(Hyper({"learning_rate": 0.5}, 0.0), 100, optimizers.sgd)
    norms = np.linalg.norm(state.params.W, axis=-1)
    assert (norms[:2].max(axis=1) <= np.array([0.3, 1.0]) * (1 + 1e-6)).all()
    assert norms[0].min() == pytest.approx(0.3, rel=1e-5)
    np.testing.assert_allclose(state.params.W[2], free.params.W, rtol=1e-4, atol=1e-6)
