"""The public functions under JAX's strict settings: each call in each of them, with its value."""

import contextlib

import jax
import numpy as np
import optax
import pytest
from shares import further

from lincls import (
    Hyper,
    Objective,
    Recipe,
    batches,
    certificate,
    crossval,
    distances,
    evaluation,
    gradcheck,
    knn,
    linear,
    losses,
    optimizers,
    optimum,
    passes,
    penalties,
    preprocessing,
    quick,
    random_search,
    splits,
    training,
)
from lincls.structs import Examples, LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")
RNG = np.random.default_rng(190)
N, D, C = 24, 4, 3
Y = (np.arange(N) % C).astype(np.int32)
X = (RNG.normal(size=(C, D))[Y] * 3 + RNG.normal(size=(N, D))).astype(np.float32)
PIXELS = RNG.integers(0, 256, (N, D), dtype=np.uint8)
FOLDS = splits.folds(N, 3)
RECIPE, HYPER = Recipe(batch_size=8), Hyper({"learning_rate": [0.1, 0.3]}, reg=1e-3)


def of_key(seed):
    return jax.random.key(seed)


def averaged_l1(learning_rate, strength):
    step = optimizers.proximal(penalties.soft_threshold, learning_rate * strength)
    return optax.chain(optimizers.sgd(learning_rate), step, optimizers.averaging())


def neighbours():
    for rows, metric in ((PIXELS, distances.l2), (PIXELS, distances.l1), (X, distances.cosine)):
        model = knn.fit(rows, Y, metric=metric)
        found = knn.neighbors(model, rows[:5], 4)
        yield found.indices
        labels = knn.neighbor_labels(model, found)
        yield knn.votes(labels, C, weights=knn.inverse_distances(model, found))
    yield knn.predict_by_k(model, X[:5], ks=[1, 3])
    yield crossval.knn_accuracies(X, Y, FOLDS, [1, 3])


def trainings():
    params = LinearParams(np.zeros((C, D), np.float32), np.zeros(C, np.float32))
    state = training.start(of_key(1), params, RECIPE, HYPER)
    how = {"num_steps": 6, "validation": (X[:6], Y[:6]), "weight": np.ones(N)}
    state, history = training.fit(state, X, Y, RECIPE, HYPER, **how)
    yield history.loss
    l1 = Recipe(Objective(losses.hinge, penalties.none), averaged_l1, batches.replacement, 8)
    hyper = Hyper({"learning_rate": 0.1, "strength": 0.01}, dropout=0.2)
    state = training.start(of_key(2), params, l1, hyper)
    yield training.fit(state, X, Y, l1, hyper, num_steps=6)[1].loss
    how = {"num_steps": 6, "params": params}
    yield crossval.linear(of_key(3), X, Y, FOLDS, RECIPE, HYPER, **how).accuracies


def short_forms():
    for how in ({}, {"loss": losses.hinge, "num_epochs": 1}):
        yield linear.predict(quick.fit(of_key(4), X, Y, **how), X)
    best = optimum.optimum(X, Y, reg=0.1)
    yield best.loss
    yield certificate.duality_gap(best.params, X, Y, reg=0.1).primal
    hinge = Objective(losses.hinge)
    found = random_search.search(of_key(5), X, Y, num_draws=8, objective=hinge)[1]
    yield np.isfinite(found.loss)  # 64-bit draws are others


def small_ones():
    params = LinearParams(np.eye(C, D, dtype=np.float32), np.zeros(C, np.float32))
    scores = linear.scores(params, X)
    for loss in (losses.softmax, losses.hinge, losses.squared_hinge, losses.crammer_singer_hinge):
        yield loss(scores, Y)
    yield penalties.elastic_net(params.W, 0.5)
    affine = preprocessing.fit(X)
    data = Examples(X, Y, np.ones(N, np.float32))
    yield passes.accuracies(params, data, affine)
    yield evaluation.confusion(np.asarray(linear.predict(params, X)), Y, C)

    def fn(params):
        return losses.softmax(linear.scores(params, X), Y).mean()

    yield gradcheck.check(of_key(6), fn, params, jax.grad(fn), num_coordinates=4).passed
    yield gradcheck.taylor(of_key(7), fn, params, jax.grad(fn)).passed


CALLS = (neighbours, trainings, short_forms, small_ones)
SETTINGS = {
    "rank promotion raises": lambda: jax.numpy_rank_promotion("raise"),
    "NaN raises": lambda: jax.debug_nans(True),
    "64 bits": lambda: jax.enable_x64(True),
}


@contextlib.contextmanager
def all_settings():
    with contextlib.ExitStack() as stack:
        for setting in SETTINGS.values():
            stack.enter_context(setting())
        yield


@pytest.fixture(scope="module")
def usual():
    return {calls: [np.asarray(value) for value in calls()] for calls in CALLS}


def assert_same(calls, usual):
    for found, expected in zip(calls(), usual[calls], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "calls", [further(neighbours), trainings, short_forms, small_ones], ids=lambda f: f.__name__
)
def test_all_strict_settings_together_change_no_value(calls, usual):
    with all_settings():
        assert_same(calls, usual)


@pytest.mark.slow
@pytest.mark.parametrize("calls", CALLS, ids=lambda calls: calls.__name__)
@pytest.mark.parametrize("setting", SETTINGS)
def test_each_strict_setting_changes_no_value(setting, calls, usual):
    with SETTINGS[setting]():
        assert_same(calls, usual)


def test_the_cores_run_without_jit(usual):
    """A step, the loop, a loss and the pure search."""
    with jax.disable_jit():
        params = linear.init(of_key(0), D, C)
        hyper = Hyper({"learning_rate": 0.1})
        state = training.start(of_key(1), params, RECIPE, hyper)
        data = Examples(X, Y, np.ones(N, np.float32))
        _, slow = training.run(state, data, preprocessing.identity(D), RECIPE, hyper, num_steps=3)
        found = knn.search_block(knn.fit(PIXELS, Y), PIXELS[:2], 3)
    _, fast = training.run(state, data, preprocessing.identity(D), RECIPE, hyper, num_steps=3)
    np.testing.assert_allclose(slow.loss, fast.loss, rtol=1e-5)
    expected = np.abs(PIXELS[:2, None].astype(int) - PIXELS.astype(int)) ** 2
    order = expected.sum(-1).argsort(axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(found.indices, order)
