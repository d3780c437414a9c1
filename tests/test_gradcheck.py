"""The check must pass what is right and reject, each alone, what people get wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shares import further

from lincls import gradcheck, linear, losses, penalties
from lincls.objective import Objective, evaluate
from lincls.structs import Examples, Hyper, LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")

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
        further(times_minus_three, ".W"),
        further(one_wrong_row, ".W"),
        further(no_penalty, ".W"),
        further(wrong_bias, ".b"),
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


def constant(size):
    return lambda x: size + jnp.sum(x**2)


@pytest.mark.parametrize("size", [1e12, further(1e14), further(-1e12)])
@pytest.mark.parametrize("factor", [further(0), 1, further(2.5)])
def test_what_rounding_hides_has_not_passed(size, factor):
    grads = np.full(3, 2.0 * factor)
    report = gradcheck.check(jax.random.key(19), constant(size), np.ones(3), grads)
    assert not report.passed
    assert (report.leaves[0].judged, report.leaves[0].hidden) == (0, 11)
    assert "11 hidden by rounding" in str(report)


@pytest.mark.parametrize("size", [further(0), further(1), further(1e3), 1e5])
def test_a_smaller_constant_hides_nothing(size):
    right = gradcheck.check(jax.random.key(20), constant(size), np.ones(3), np.full(3, 2.0))
    assert right.passed, str(right)
    wrong = gradcheck.check(jax.random.key(20), constant(size), np.ones(3), np.full(3, 2.02))
    assert wrong.leaves[0].wrong > 0


def test_a_gradient_beyond_what_rounding_hides_is_wrong_all_the_same():
    report = gradcheck.check(jax.random.key(21), constant(1e12), np.ones(3), np.full(3, 1e6))
    assert report.leaves[0].wrong > 0


def test_each_leaf_is_judged_by_itself():
    tree = {"a": np.ones(3), "b": np.ones(2)}

    def fn(t):
        return 1e10 + 1e5 * jnp.sum(t["a"]) + jnp.sum(t["b"])

    right = {"a": np.full(3, 1e5), "b": np.ones(2)}
    report = gradcheck.check(jax.random.key(22), fn, tree, right)
    assert [leaf.judged > 0 for leaf in report.leaves] == [True, False]
    assert not report.passed


def test_a_leaf_without_any_slope_is_right_beside_others():
    params = LinearParams(PARAMS.W[:, :20], np.zeros(10))

    def fn(params):
        return penalties.l2(params.W)

    assert gradcheck.check(jax.random.key(23), fn, params, jax.grad(fn)).passed
    forgotten = LinearParams(np.zeros((10, 20)), np.zeros(10))
    assert not gradcheck.check(jax.random.key(23), fn, params, forgotten).passed


ROUNDED = {
    "at once": lambda x: jnp.sum(jnp.sin(x.astype(jnp.float32))),
    "and back": lambda x: jnp.sum(jnp.sin(x.astype(jnp.float32)).astype(jnp.float64)),
    "in a loop": lambda x: jax.lax.fori_loop(
        0, 3, lambda _, total: total + x.astype(jnp.bfloat16).astype(x.dtype).sum(), 0.0
    ),
    "in a branch": lambda x: jax.lax.cond(
        x[0] > 0, lambda: x.sum().astype(jnp.float16).astype(x.dtype), lambda: x.sum()
    ),
    "under jit": jax.jit(lambda x: jnp.sum(x.astype(jnp.float32))),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_a_function_that_rounds_inside_is_told_so(name):
    fn, says = ROUNDED[name], r"fn rounds to b?float(16|32)"
    with pytest.raises(TypeError, match=says):
        gradcheck.check(jax.random.key(24), fn, np.ones(3), jnp.cos)
    with pytest.raises(TypeError, match=says):
        gradcheck.numerical_gradient(fn, np.ones(3))


def test_data_and_masks_in_float32_are_no_rounding():
    def fn(x):
        return jnp.sum(X[:, :3] @ x.astype("float64") * (x[0] > 0).astype(jnp.float32))

    with jax.numpy_dtype_promotion("standard"):
        assert gradcheck.check(jax.random.key(25), fn, np.ones(3), jax.grad(fn)).passed


@pytest.mark.parametrize("fn", [lambda x: x, lambda x: x[:1], lambda x: (x.sum(), x.sum())])
def test_a_function_of_more_than_one_number_is_refused(fn):
    with pytest.raises(TypeError, match="fn must return one number"):
        gradcheck.check(jax.random.key(26), fn, np.ones(3), np.ones(3))
    with pytest.raises(TypeError, match="fn must return one number"):
        gradcheck.numerical_gradient(fn, np.ones(3))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"rtol": np.inf}, ValueError, "rtol"),
        ({"rtol": 0.0}, ValueError, "rtol"),
        ({"rtol": np.nan}, ValueError, "rtol"),
        ({"h": 0.0}, ValueError, "h must be"),
        ({"h": np.inf}, ValueError, "h must be"),
        ({"params": np.ones(3) * 1j}, TypeError, "params must be real"),
        ({"grads": np.ones(3) * 1j}, TypeError, "grads must be real"),
        ({"num_coordinates": 0, "num_directions": 0}, ValueError, "num_coordinates"),
    ],
)
def test_what_would_pass_anything_is_refused(change, error, says):
    arguments = {"params": np.ones(3), "grads": np.ones(3), **change}
    params, grads = arguments.pop("params"), arguments.pop("grads")
    with pytest.raises(error, match=says):
        gradcheck.check(jax.random.key(27), lambda x: (x**2).sum(), params, grads, **arguments)
