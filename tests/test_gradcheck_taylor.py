"""The order of Taylor's remainder tells a right gradient from a wrong one, without a tolerance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lincls import gradcheck, linear, losses, penalties

KEY = jax.random.key(180)
RNG = np.random.default_rng(181)
X, Y = RNG.normal(size=(20, 4)), RNG.integers(0, 3, 20)
PARAMS = linear.init(jax.random.key(182), 4, 3, scale=0.3)


def softmax(params):
    return losses.softmax(linear.scores(params, X), Y).mean() + 0.1 * penalties.l2(params.W)


def hinge(params):
    return losses.hinge(linear.scores(params, X), Y).mean() + 0.1 * penalties.l2(params.W)


def kinks(params):
    return losses.hinge_kinks(linear.scores(params, X), Y)


def without_penalty(params):
    return jax.grad(lambda p: losses.softmax(linear.scores(p, X), Y).mean())(params)


def bias_of_twice(params):
    grads = jax.grad(softmax)(params)
    return grads._replace(b=2 * grads.b)


def one_entry_off(params):
    grads = jax.grad(softmax)(params)
    return grads._replace(W=grads.W.at[1, 2].add(1e-4))


def test_a_right_gradient_leaves_a_remainder_of_second_order():
    report = gradcheck.taylor(KEY, softmax, PARAMS, jax.grad(softmax))
    assert report.passed
    assert report.verdict == "agrees"
    assert [leaf.name for leaf in report.leaves] == [".W", ".b"]
    for leaf in report.leaves:
        assert leaf.judged + leaf.hidden == 8  # adding a constant to b changes no probability
        assert leaf.judged >= 4
        assert leaf.wrong == 0
        assert leaf.order == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("grads", "wrong"), [(without_penalty, ".W"), (bias_of_twice, ".b"), (one_entry_off, ".W")]
)
def test_a_wrong_gradient_leaves_one_of_first_order_in_its_leaf(grads, wrong):
    report = gradcheck.taylor(KEY, softmax, PARAMS, grads)
    assert report.verdict == "differs"
    assert not report.passed
    for leaf in report.leaves:
        assert leaf.wrong == (leaf.judged if leaf.name == wrong else 0)
        assert leaf.order == pytest.approx(1 if leaf.name == wrong else 2, abs=0.3)
    assert "the gradient differs" in str(report)


def test_kinks_are_counted_apart_and_a_linear_piece_judges_nothing():
    report = gradcheck.taylor(KEY, hinge, PARAMS, jax.grad(hinge), kinks=kinks)
    of_W, of_b = report.leaves
    assert (of_W.judged, of_W.wrong) == (8, 0)
    assert of_b.judged == 0  # the hinge is linear in b between two kinks
    assert of_b.crossed + of_b.hidden == 8
    assert report.verdict == "undecided"
    assert not report.passed


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_what_rounding_hides_is_not_judged(factor):
    report = gradcheck.taylor(KEY, lambda x: 1e12 + jnp.sum(x**2), np.ones(5), lambda x: factor * x)
    assert (report.leaves[0].judged, report.leaves[0].hidden) == (0, 8)
    assert report.verdict == "undecided"


def test_a_function_that_rounds_more_than_it_shows_is_not_judged():
    def noisy(x):
        return (1e12 + jnp.sum(x**2)) - 1e12

    report = gradcheck.taylor(KEY, noisy, np.ones(5), lambda x: 2 * x, h=1e-6)
    assert (report.leaves[0].judged, report.leaves[0].wrong) == (0, 0)


def test_a_gradient_of_nan_is_wrong():
    report = gradcheck.taylor(KEY, lambda x: jnp.sum(x**2), np.ones(5), lambda x: np.nan * x)
    assert report.leaves[0].wrong == 8


def test_the_cubic_has_its_own_remainder():
    """R(h) of sum(x**3) along d is |3 h**2 sum(x d**2) + h**3 sum(d**3)|: second order."""
    x = np.array([1.0, -2.0, 3.0, 0.5])
    report = gradcheck.taylor(KEY, lambda x: jnp.sum(x**3), x, lambda x: 3 * x**2)
    assert report.leaves[0].order == pytest.approx(2, abs=0.05)
