"""Soft labels, label smoothing and several labels a row: the losses, and training with them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import sklearn.metrics
from sklearn.linear_model import LogisticRegression

from lincls import LinearParams, batches, gradcheck, losses, training
from lincls.objective import Objective
from lincls.structs import Hyper
from lincls.training import Recipe

pytestmark = pytest.mark.usefixtures("quick_compiles")
RNG = np.random.default_rng(160)
B, C, D = 40, 4, 3
SCORES = RNG.normal(scale=2, size=(B, C)).astype(np.float32)
SOFT = RNG.dirichlet(np.ones(C), B)
SEVERAL = RNG.integers(0, 2, (B, C))
LABELS = RNG.integers(0, C, B)
X = RNG.normal(size=(B, D)).astype(np.float32)
TARGETS = {losses.cross_entropy: SOFT, losses.binary_cross_entropy: SEVERAL}


def logs(scores):
    scores = np.asarray(scores, np.float64)
    return scores - scipy.special.logsumexp(scores, axis=1, keepdims=True)


def binary(scores, targets):
    chance = scipy.special.expit(np.asarray(scores, np.float64))
    return -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance)).sum(axis=1)


def test_they_are_the_formulas_in_float64_and_optax():
    np.testing.assert_allclose(
        losses.cross_entropy(SCORES, SOFT), -(SOFT * logs(SCORES)).sum(axis=1), rtol=1e-5
    )
    np.testing.assert_allclose(
        losses.cross_entropy(SCORES, SOFT), optax.softmax_cross_entropy(SCORES, SOFT), rtol=1e-6
    )
    ours = losses.binary_cross_entropy(SCORES, SEVERAL)
    np.testing.assert_allclose(ours, binary(SCORES, SEVERAL), rtol=1e-5)
    theirs = optax.sigmoid_binary_cross_entropy(SCORES, SEVERAL).sum(axis=1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    chance = scipy.special.expit(SCORES.astype(np.float64))
    each = [sklearn.metrics.log_loss(SEVERAL[:, j], chance[:, j]) for j in range(C)]
    assert float(ours.mean()) == pytest.approx(sum(each), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_label_smoothing_is_optax(smoothing):
    smooth = optax.smooth_labels(jax.nn.one_hot(LABELS, C), smoothing)
    ours = losses.smoothed_softmax(SCORES, LABELS, smoothing)
    np.testing.assert_allclose(ours, optax.softmax_cross_entropy(SCORES, smooth), rtol=1e-5)
    np.testing.assert_allclose(ours, losses.cross_entropy(SCORES, smooth), rtol=1e-5)


def test_one_hot_targets_give_the_softmax_loss():
    one_hot = np.eye(C, dtype=bool)[LABELS]
    expected = losses.softmax(SCORES, LABELS)
    np.testing.assert_allclose(losses.cross_entropy(SCORES, one_hot), expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses.smoothed_softmax(SCORES, LABELS, 0.0), expected, rtol=1e-5, atol=1e-6
    )


def test_equal_scores():
    zero = np.zeros((B, C), np.float32)
    np.testing.assert_allclose(losses.cross_entropy(zero, SOFT), np.log(C), rtol=1e-6)
    np.testing.assert_allclose(losses.smoothed_softmax(zero, LABELS), np.log(C), rtol=1e-6)
    np.testing.assert_allclose(losses.binary_cross_entropy(zero, SOFT), C * np.log(2), rtol=1e-6)


def test_enormous_scores_are_right():
    scores, targets = jnp.array([[1e9, -1e9], [-1e9, 1e9]]), jnp.array([[1.0, 0], [1, 0]])
    assert losses.binary_cross_entropy(scores, targets).tolist() == [0, 2e9]
    assert losses.cross_entropy(scores, targets).tolist() == [0, 2e9]
    small = losses.binary_cross_entropy(np.float32([[40.0]]), np.ones((1, 1)))
    assert float(small[0]) == pytest.approx(np.exp(-40), rel=1e-5)


@pytest.mark.parametrize("loss", TARGETS, ids=lambda loss: loss.__name__)
def test_gradients_against_finite_differences(loss):
    def fn(scores):
        return loss(scores, TARGETS[loss]).mean()

    report = gradcheck.check(jax.random.key(2), fn, SCORES, jax.grad(fn))
    assert report.passed, str(report)


@pytest.mark.parametrize("loss", TARGETS, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("wrong", [-0.5, 1.5, np.nan])
def test_a_target_outside_0_to_1_is_an_error_and_nan_under_jit(loss, wrong):
    targets = np.array(SOFT)
    targets[2, 1] = wrong
    with pytest.raises(ValueError, match=r"targets must lie in 0\.\.1"):
        loss(SCORES, targets)
    value = jax.jit(loss)(SCORES, targets.astype(np.float32))
    assert np.flatnonzero(np.isnan(value)).tolist() == [2]


@pytest.mark.parametrize("loss", TARGETS, ids=lambda loss: loss.__name__)
def test_labels_in_place_of_targets_are_refused_with_what_to_type(loss):
    with pytest.raises(ValueError, match=r"got \(40, 4\) and \(40,\).*use losses.softmax"):
        loss(SCORES, LABELS)


# --- in training ---------------------------------------------------------------------------------

REG = 0.05


def minimised(loss, y, weight=None, rows=X, of_loss=None, rate=0.3):
    """W and b at the minimum, by gradient descent through `training.fit`."""
    recipe = Recipe(Objective(loss), sampling=batches.full)
    hyper = Hyper({"learning_rate": rate, "momentum": 0.9}, REG, loss=of_loss or {})
    params = LinearParams(np.zeros((C, D), np.float32), np.zeros(C, np.float32))
    state = training.start(jax.random.key(0), params, recipe, hyper)
    state, _ = training.fit(state, rows, y, recipe, hyper, num_steps=500, weight=weight)
    return state.params


def test_several_labels_a_row_are_a_logistic_regression_for_each():
    params = minimised(losses.binary_cross_entropy, SEVERAL)
    for j in range(C):
        theirs = LogisticRegression(C=1 / (2 * B * REG), solver="newton-cholesky", tol=1e-10)
        theirs.fit(X, SEVERAL[:, j])
        np.testing.assert_allclose(params.W[j], theirs.coef_[0], atol=1e-4)
        assert float(params.b[j]) == pytest.approx(float(theirs.intercept_[0]), abs=1e-4)


def test_a_soft_label_is_an_example_of_each_class_with_its_weight():
    soft = minimised(losses.cross_entropy, SOFT)
    rows, labels = np.repeat(X, C, axis=0), np.tile(np.arange(C), B)
    hard = minimised(losses.softmax, labels, SOFT.ravel(), rows)
    np.testing.assert_allclose(soft.W, hard.W, atol=1e-4)


def test_smoothing_is_a_number_to_sweep_and_smoothed_targets_are_the_same():
    smooth = np.asarray(optax.smooth_labels(jax.nn.one_hot(LABELS, C), 0.2))
    of_targets = minimised(losses.cross_entropy, smooth)
    of_labels = minimised(losses.smoothed_softmax, LABELS, of_loss={"smoothing": 0.2})
    np.testing.assert_allclose(of_targets.W, of_labels.W, atol=1e-4)
    recipe = Recipe(Objective(losses.smoothed_softmax), batch_size=16)
    hyper = Hyper({"learning_rate": 0.1}, loss={"smoothing": [0.0, 0.3]})
    params = LinearParams(np.zeros((C, D), np.float32), np.zeros(C, np.float32))
    state = training.start(jax.random.key(0), params, recipe, hyper)
    state, _ = training.fit(state, X, LABELS, recipe, hyper, num_steps=40)
    norms = np.linalg.norm(state.params.W, axis=(1, 2))
    assert norms[1] < norms[0]


def test_targets_of_any_number_type_train_alike_in_short_batches():
    """Rows of weight 0, and the places that fill the last batch, have no targets."""
    recipe = Recipe(Objective(losses.binary_cross_entropy), batch_size=16)
    hyper = Hyper({"learning_rate": 0.1})
    params = LinearParams(np.zeros((C, D), np.float32), np.zeros(C, np.float32))
    state = training.start(jax.random.key(0), params, recipe, hyper)
    weight = np.arange(B) % 3
    found = []
    for dtype in (np.float64, np.float32, np.int64, np.uint8, bool):
        y = SEVERAL.astype(dtype)
        end, history = training.fit(state, X, y, recipe, hyper, num_steps=4, weight=weight)
        assert history.data[0] == pytest.approx(C * np.log(2), rel=1e-6)
        assert end.alive
        found.append(np.asarray(end.params.W))
    np.testing.assert_array_equal(found, [found[0]] * 5)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        (losses.softmax, SOFT, "y does not suit the loss: labels must be integers"),
        (losses.softmax, SEVERAL, r"y does not suit the loss: labels must have shape \(40,\)"),
        (losses.cross_entropy, SOFT[:, :2], r"y does not suit the loss: .*\(40, 4\) and \(40, 2\)"),
        (losses.cross_entropy, 2 * SOFT, "y does not suit the loss: targets must lie in 0..1"),
        (losses.cross_entropy, SOFT[:9], "y does not suit the loss: it must be of 40 examples"),
        (losses.cross_entropy, LABELS, r"targets must both have shape \(B, C\)"),
    ],
)
def test_the_loss_decides_what_labels_are(loss, y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        minimised(loss, y)


def test_a_loss_of_ones_own_takes_labels_of_its_own_shape():
    """Regression: one number an example, and the scores of all classes are drawn to it."""

    def squares(scores, heights):
        return jnp.sum((scores - heights[:, None]) ** 2, axis=1)

    heights = (X @ np.array([1.0, -2.0, 0.5]) + 3).astype(np.float64)
    params = minimised(squares, heights, rate=0.03)
    centred = X - X.mean(axis=0)
    ridge = np.linalg.solve(centred.T @ centred + B * REG * np.eye(D), centred.T @ heights)
    np.testing.assert_allclose(params.W[0], ridge, atol=1e-3)
