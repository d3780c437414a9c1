"""The check must pass what is right and reject, each alone, what people get wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lincls import gradcheck, linear, losses, penalties
from lincls.objective import Objective, evaluate
from lincls.structs import Examples, Hyper, LinearParams

RNG = np.random.default_rng(8)
X = RNG.random((12, 3073), np.float32)
Y = RNG.integers(0, 10, 12).astype(np.int32)
BATCH = Examples(X, Y, np.ones(12, np.float32))
PARAMS = LinearParams(
    RNG.normal(scale=0.01, size=(10, 3073)).astype(np.float32), np.zeros(10, np.float32)
)


def value(params, loss=losses.softmax, penalty=penalties.l2):
    return evaluate(Objective(loss, penalty), params, BATCH, Hyper({}, reg=0.05))[0]


right = jax.jit(jax.grad(value))


def one_wrong_row(params):
    grads = right(params)
    return grads._replace(W=grads.W.at[3].multiply(1.01))


def no_penalty(params):
    grads = right(params)
    return grads._replace(W=grads.W - 2 * 0.05 * params.W)


def wrong_bias(params):
    grads = right(params)
    return grads._replace(b=jnp.roll(grads.b, 1))


def sum_for_mean(params):
    return jax.tree.map(lambda g: len(X) * g, right(params))


def times_minus_three(params):
    return jax.tree.map(lambda g: -3 * g, right(params))


def one_wrong_coordinate_in_every_hundred(params):
    grads = right(params)
    return grads._replace(W=grads.W.at[:, ::100].set(0.0))


def test_accepts_a_right_gradient_of_30730_weights():
    report = gradcheck.check(jax.random.key(9), value, PARAMS, right)
    assert report.passed, str(report)
    assert [leaf.judged for leaf in report.leaves] == [128 + 8, 10 + 8]
    assert max(leaf.max_error for leaf in report.leaves) < 1e-6


@pytest.mark.parametrize(
    ("wrong", "leaf"),
    [
        (times_minus_three, ".W"),
        (one_wrong_row, ".W"),
        (no_penalty, ".W"),
        (wrong_bias, ".b"),
        (sum_for_mean, ".b"),
        (one_wrong_coordinate_in_every_hundred, ".W"),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_rejects_each_fault_alone(wrong, leaf):
    report = gradcheck.check(jax.random.key(10), value, PARAMS, wrong, num_coordinates=32)
    assert not report.passed
    assert {part.name: part.wrong > 0 for part in report.leaves}[leaf], str(report)


def test_rejects_a_wrong_bias_hidden_in_the_last_column_of_W():
    """The bias trick: 10 coordinates of 30,730 are wrong; the directions see all of them."""

    def folded(W):
        return value(LinearParams(W, jnp.zeros(10, W.dtype)))

    def grads(W):
        return jax.grad(folded)(W).at[:, -1].multiply(1.1)

    assert not gradcheck.check(jax.random.key(11), folded, PARAMS.W, jax.jit(grads)).passed


@pytest.mark.slow
def test_a_float32_tree_of_gradients_passes_at_its_own_precision():
    few = jax.tree.map(lambda p: p[..., :50], PARAMS)._replace(b=PARAMS.b)

    def value(params):
        return losses.softmax(linear.scores(params, X[:, :50]), Y).mean()

    grads = jax.grad(value)(few)
    assert gradcheck.check(jax.random.key(12), value, few, grads, rtol=1e-3).passed
    wrong = jax.tree.map(lambda g: g * 1.01, grads)
    assert not gradcheck.check(jax.random.key(12), value, few, wrong, rtol=1e-3).passed


def test_kinks_are_counted_apart():
    x = jnp.array([0.0, 1.0, -2.0, 1e-6])

    def fn(x):
        return penalties.l1(x[None])

    blind = gradcheck.check(jax.random.key(13), fn, x, jax.grad(fn))
    assert not blind.passed  # the difference quotient across 1e-6 is no slope
    seeing = gradcheck.check(jax.random.key(13), fn, x, jax.grad(fn), kinks=lambda x: x)
    assert seeing.passed, str(seeing)
    assert seeing.leaves[0].crossed >= 2  # the coordinates 0 and 3, and any direction


def test_nothing_judged_is_no_pass():
    zero = jnp.zeros(3)

    def fn(x):
        return penalties.l1(x[None])

    report = gradcheck.check(jax.random.key(14), fn, zero, jax.grad(fn), kinks=lambda x: x)
    assert not report.passed
    assert report.leaves[0].judged == 0


def test_hinge_with_its_kinks_on_a_margin_of_exactly_zero():
    scores = jnp.array([[2.0, 1.0, 0.5]])  # 1 - 2 + 1 = 0 lies on the kink
    label = jnp.array([0])

    def fn(s):
        return losses.hinge(s, label).sum()

    report = gradcheck.check(
        jax.random.key(15), fn, scores, jax.grad(fn), kinks=lambda s: losses.hinge_kinks(s, label)
    )
    assert report.passed
    assert report.leaves[0].crossed >= 2


def test_a_nan_gradient_is_wrong():
    report = gradcheck.check(
        jax.random.key(16), lambda x: (x**2).sum(), jnp.ones(3), jnp.array([2, jnp.nan, 2])
    )
    assert not report.passed


def test_gradients_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shaped like params"):
        gradcheck.check(jax.random.key(17), lambda x: x.sum(), jnp.ones(3), jnp.ones(4))


def test_numerical_gradient_is_like_x_and_of_the_order_it_says():
    tree = {"a": jnp.array([0.3, -0.7]), "b": jnp.array([[1.1]])}

    def fn(t):
        return jnp.sum(jnp.sin(t["a"])) + jnp.sum(t["b"] ** 3)

    true = {"a": np.cos(np.float64(tree["a"])), "b": 3 * np.float64(tree["b"]) ** 2}

    def error(h, centred):
        got = gradcheck.numerical_gradient(fn, tree, h, centred)
        assert jax.tree.map(np.shape, got) == jax.tree.map(np.shape, tree)
        return max(np.abs(got[name] - true[name]).max() for name in true)

    assert error(1e-3, True) < 1e-5
    assert error(1e-3, False) == pytest.approx(10 * error(1e-4, False), rel=0.05)
    assert error(1e-2, True) == pytest.approx(100 * error(1e-3, True), rel=0.05)


def test_relative_error():
    np.testing.assert_allclose(
        gradcheck.relative_error([1.0, 0, 0, -2], [1.1, 0, 1, 2]), [0.1 / 1.1, 0, 1, 2]
    )


def test_runs_in_float64_and_leaves_the_precision_as_it_was():
    seen = []

    def fn(x):
        seen.append(x.dtype)
        return (x**2).sum()

    gradcheck.check(jax.random.key(18), fn, np.float32([1, 2]), jax.grad(fn))
    assert set(seen) == {np.dtype("float64")}
    assert linear.init(jax.random.key(0), 2, 2).W.dtype == np.float32
