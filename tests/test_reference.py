"""The optimum against scikit-learn, and certificates that hold on both sides."""

import jax
import numpy as np
import oracles
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression

from lincls import certificate, data, linear, losses, optimum, preprocessing, quick
from lincls.structs import Affine, LinearParams

RNG = np.random.default_rng(90)
N, D, C = 120, 9, 3
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = (X[:, :C] + RNG.normal(size=(N, C))).argmax(axis=1)
WEIGHT = RNG.integers(1, 4, N).astype(np.float32)


def sklearn_optimum(reg):
    strength = 1 / (2 * WEIGHT.sum() * reg)
    model = LogisticRegression(C=strength, tol=1e-12, max_iter=10_000)
    model.fit(X.astype(np.float64), Y, WEIGHT)
    return model.coef_, model.intercept_


@pytest.mark.parametrize(
    ("dtype", "tol"),
    [pytest.param(np.float32, 1e-5, marks=pytest.mark.slow), (np.float64, 1e-9)],
)
def test_softmax_optimum_is_scikit_learns(dtype, tol):
    """A gradient in W of norm `tol` is a gap of tol**2 / (4 reg)."""
    gap = max(tol**2 / (4 * 0.02), 1e-9 if dtype == np.float32 else 0)
    best = optimum.optimum(X, Y, reg=0.02, weight=WEIGHT, dtype=dtype, tol=gap)
    W, b = sklearn_optimum(0.02)
    assert best.converged
    assert best.params.W.dtype == dtype
    np.testing.assert_allclose(best.params.W, W, atol=30 * tol + 1e-6)
    loss, *_ = oracles.softmax_l2(X, Y, 0.02, WEIGHT)(W, b)
    assert best.loss == pytest.approx(loss, abs=1e-6)


@pytest.mark.slow
def test_squared_hinge_has_no_gradient_at_its_optimum():
    best = optimum.optimum(X, Y, reg=0.02, loss=losses.squared_hinge, dtype=np.float64, tol=1e-9)
    assert best.converged

    def value(W):
        return oracles.squared_hinge(X @ W.T + best.params.b, Y).mean() + 0.02 * (W**2).sum()

    for _ in range(10):
        step = RNG.normal(size=(C, D))
        assert value(best.params.W + 1e-3 * step) > best.loss


def test_an_optimum_that_was_not_reached_says_so():
    best = optimum.optimum(X, Y, reg=1e-4, tol=1e-7, max_steps=3)
    assert (best.converged, best.num_steps) == (False, 3)


@pytest.mark.parametrize("reg", [1e-3, 1e-7])
def test_float32_arrives_where_every_example_is_sure(reg):
    """Ten confident examples with losses of 1e-8: 1 - p of the label has no digits in float32."""
    few = (3 * np.random.default_rng(0).normal(size=(10, 784))).astype(np.float32)
    labels = np.arange(10)
    model = LogisticRegression(C=1 / (2 * 10 * reg), tol=1e-10, max_iter=10_000)
    model.fit(few.astype(np.float64), labels)
    least, *_ = oracles.softmax_l2(few, labels, reg)(model.coef_, model.intercept_)
    best = optimum.optimum(few, labels, reg=reg)
    assert best.converged
    assert best.loss - best.gap <= least
    assert best.loss <= least * (1 + 1e-5)


@pytest.mark.parametrize("given", [None, Affine(np.full(D, 0.5, np.float32), np.float32(2))])
def test_the_optimum_and_its_gap_are_of_the_same_problem(given):
    best = optimum.optimum(X + 3, Y, reg=0.05, affine=given, dtype=np.float64, tol=1e-10)
    gap = certificate.duality_gap(best.params, X + 3, Y, reg=0.05, affine=given)
    assert gap.dual <= best.loss + 1e-9
    assert best.loss == pytest.approx(gap.primal, abs=1e-9)
    assert gap.size < 1e-9
    np.testing.assert_array_equal(best.affine.shift, 0 if given is None else given.shift)


def test_an_optimum_is_in_float32_or_float64():
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got float16"):
        optimum.optimum(X, Y, reg=0.1, dtype=np.float16)


def test_the_bracket_holds_the_optimum_from_anywhere_and_closes_there():
    W, b = sklearn_optimum(0.05)
    least, *_ = oracles.softmax_l2(X, Y, 0.05, WEIGHT)(W, b)
    sizes = []
    for part in (0.0, 0.5, 0.9, 0.999):
        params = LinearParams(part * W + (1 - part) * RNG.normal(size=W.shape), np.zeros(C))
        gap = certificate.duality_gap(params, X, Y, reg=0.05, weight=WEIGHT)
        assert gap.dual <= least <= gap.primal
        sizes.append(gap.size)
    assert sizes == sorted(sizes, reverse=True)
    closed = certificate.duality_gap(LinearParams(W, b), X, Y, reg=0.05, weight=WEIGHT)
    assert abs(closed.size) < 1e-8
    moved = closed.bias - closed.bias.mean()
    np.testing.assert_allclose(moved, b - b.mean(), atol=1e-5)


def test_the_primal_value_is_the_objective_at_that_bias():
    params = LinearParams(RNG.normal(size=(C, D)), np.zeros(C))
    affine = Affine(np.full(D, 0.5, np.float32), np.float32(2))
    gap = certificate.duality_gap(params, X, Y, reg=0.1, affine=affine)
    loss, _, db = oracles.softmax_l2((X.astype(np.float64) - 0.5) * 2, Y, 0.1)(params.W, gap.bias)
    assert gap.primal == pytest.approx(loss, rel=1e-10)
    np.testing.assert_allclose(db, 0, atol=1e-12)


@pytest.mark.slow
def test_the_short_form_is_near_the_optimum_of_digits():
    images, labels = data.load("digits").train
    affine = preprocessing.fit(images)
    on_pixels = quick.fit(jax.random.key(0), images, labels, reg=1e-3)
    W = np.asarray(on_pixels.W) / affine.scale
    gap = certificate.duality_gap(
        LinearParams(W, np.asarray(on_pixels.b)), images, labels, reg=1e-3, affine=affine
    )
    assert 0 <= gap.size < 0.01
    assert linear.predict(on_pixels, images).shape == labels.shape


def test_without_a_penalty_there_is_no_optimum():
    with pytest.raises(ValueError, match="greater than 0"):
        optimum.optimum(X, Y, reg=0.0)


def test_the_loss_is_that_of_the_parameters_returned():
    best = optimum.optimum(X, Y, reg=1e-2, tol=1e-9, max_steps=3)
    loss, *_ = oracles.softmax_l2(X, Y, 1e-2)(*map(np.float64, best.params))
    assert best.loss == pytest.approx(loss, rel=1e-12)


def test_the_bracket_of_a_confident_model_is_no_nan():
    for size in (20, 400, 1000):
        params = LinearParams(size * RNG.normal(size=(C, D)), np.zeros(C))
        gap = certificate.duality_gap(params, X, Y, reg=0.05)
        assert np.isfinite(gap.primal)
        assert gap.dual <= gap.primal


def test_a_class_without_examples_is_left_out():
    two = np.minimum(Y, 1)
    alone = optimum.optimum(X, two, reg=0.05, dtype=np.float64, tol=1e-9)
    W = np.concatenate([alone.params.W, np.full((1, D), 0.1)])
    gap = certificate.duality_gap(LinearParams(W, np.zeros(C)), X, two, reg=0.05)
    assert gap.dual == pytest.approx(alone.loss, abs=1e-9)
    assert gap.primal == pytest.approx(alone.loss + 0.05 * D * 0.01, abs=1e-9)
    assert gap.bias[2] == -np.inf


@pytest.mark.parametrize("size", [1e-6, 10.0, 1e3, 1e5])
def test_the_bracket_holds_however_wild_the_parameters_are(size):
    least, *_ = oracles.softmax_l2(X, Y, 1e-3, WEIGHT)(*sklearn_optimum(1e-3))
    W = size * RNG.normal(size=(C, D))
    gap = certificate.duality_gap(LinearParams(W, np.zeros(C)), X, Y, reg=1e-3, weight=WEIGHT)
    assert 0 <= gap.dual <= least + 1e-12
    scores = X @ W.T + gap.bias
    losses_there = scipy.special.logsumexp(scores, axis=1) - scores[np.arange(N), Y]
    at_bias = np.average(losses_there, weights=WEIGHT) + 1e-3 * (W**2).sum()
    assert gap.primal == pytest.approx(at_bias, rel=1e-9)


def test_the_bias_is_the_best_for_scores_of_any_size():
    W = 3000 * RNG.normal(size=(C, D))
    gap = certificate.duality_gap(LinearParams(W, np.zeros(C)), X, Y, reg=1e-3)
    assert np.ptp(gap.bias) > 100
    p = scipy.special.softmax(X @ W.T + gap.bias, axis=1)
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(Y) / N, atol=1e-9)


def test_a_multiple_of_the_optimum_has_the_dual_of_the_optimum():
    W, b = sklearn_optimum(0.02)
    least, *_ = oracles.softmax_l2(X, Y, 0.02, WEIGHT)(W, b)
    gap = certificate.duality_gap(LinearParams(16 * W, b), X, Y, reg=0.02, weight=WEIGHT)
    assert gap.dual == pytest.approx(least, abs=1e-8)
