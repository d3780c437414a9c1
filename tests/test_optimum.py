"""At the optimum we agree with scikit-learn and scipy, whose code is not ours."""

import jax
import numpy as np
import optax
import oracles
import pytest
import scipy.optimize
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from lincls import batches, linear, losses, penalties, training
from lincls.objective import Objective
from lincls.structs import Hyper
from lincls.training import Recipe

RNG = np.random.default_rng(60)
N, D, C = 150, 10, 4
X = RNG.normal(size=(N, D))
Y = (X[:, :C] + RNG.normal(size=(N, C))).argmax(axis=1)


def optimum(loss, reg, params):
    hyper = Hyper({}, reg)
    recipe = Recipe(Objective(loss, penalties.l2), optax.lbfgs, batches.full)
    state = training.start(jax.random.key(0), params, recipe, hyper)
    state, history = training.fit(state, X, Y, recipe, hyper, num_steps=150)
    return state.params, float(history.loss[-1])


@pytest.fixture
def zeros():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        zero = linear.init(jax.random.key(0), D, C, scale=0.0)
        yield jax.tree.map(lambda p: p.astype("float64"), zero)


@pytest.mark.parametrize("reg", [0.003, 0.1])
def test_softmax_is_logistic_regression_with_c_one_over_two_n_reg(zeros, reg):
    params, loss = optimum(losses.softmax, reg, zeros)
    theirs = LogisticRegression(C=1 / (2 * N * reg), tol=1e-10, max_iter=5000).fit(X, Y)
    np.testing.assert_allclose(params.W, theirs.coef_, atol=1e-4)
    moved = np.asarray(params.b) - np.mean(params.b)  # the softmax does not see a common shift
    np.testing.assert_allclose(moved, theirs.intercept_ - theirs.intercept_.mean(), atol=1e-4)
    at_theirs, *_ = oracles.softmax_l2(X, Y, reg)(theirs.coef_, theirs.intercept_)
    assert loss == pytest.approx(at_theirs, abs=1e-4)


def test_weights_are_scikit_learns_sample_weights(zeros):
    weight = RNG.integers(0, 4, N).astype(np.float64)
    hyper = Hyper({}, 0.05)
    recipe = Recipe(Objective(), optax.lbfgs, batches.full)
    state = training.start(jax.random.key(0), zeros, recipe, hyper)
    state, _ = training.fit(state, X, Y, recipe, hyper, num_steps=150, weight=weight)
    strength = 1 / (2 * weight.sum() * 0.05)
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=5000).fit(X, Y, weight)
    np.testing.assert_allclose(state.params.W, theirs.coef_, atol=1e-4)


def test_crammer_singer_is_linear_svc(zeros):
    """LinearSVC has no bias here and minimises C * sum of losses + 1/2 |W|^2."""
    reg = 0.05
    theirs = LinearSVC(
        multi_class="crammer_singer", C=1 / (2 * N * reg), fit_intercept=False, tol=1e-8,
        max_iter=100_000,
    ).fit(X, Y)  # fmt: skip

    @jax.jit
    def objective(W):
        return losses.crammer_singer_hinge(X @ W.T, Y).mean() + reg * penalties.l2(W)

    at_theirs = float(objective(theirs.coef_))
    for scale in (0.99, 1.01):
        assert float(objective(scale * theirs.coef_)) > at_theirs
    slope = jax.jit(jax.grad(lambda t: objective(t * theirs.coef_)))
    assert float(slope(0.99)) < 0 < float(slope(1.01))


def test_squared_hinge_is_at_scipys_minimum(zeros):
    params, loss = optimum(losses.squared_hinge, 0.05, zeros)

    def fn(flat):
        W, b = flat[: C * D].reshape(C, D), flat[C * D :]
        return oracles.squared_hinge(X @ W.T + b, Y).mean() + 0.05 * (W**2).sum()

    found = scipy.optimize.minimize(fn, np.concatenate([params.W.ravel(), params.b]), tol=1e-9)
    assert loss == pytest.approx(found.fun, abs=1e-6)
