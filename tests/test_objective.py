import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from lincls import losses, objective, passes, penalties, training
from lincls.objective import Objective
from lincls.passes import mean_over
from lincls.structs import Affine, Examples, Hyper, LinearParams
from lincls.training import Recipe

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(7)
X = RNG.normal(size=(30, 6)).astype(np.float32)
Y = RNG.integers(0, 4, 30).astype(np.int32)
PARAMS = LinearParams(RNG.normal(size=(4, 6)).astype(np.float32), np.ones(4, np.float32))
SVM = Objective(losses.hinge, penalties.elastic_net)
HYPER = Hyper({}, reg=0.3, loss={"margin": 0.5}, penalty={"beta": 2.0})
evaluate = jax.jit(objective.evaluate, static_argnums=0)
slopes = jax.jit(jax.grad(objective.evaluate, argnums=1, has_aux=True), static_argnums=0)


def test_is_the_mean_loss_plus_reg_times_the_penalty():
    batch = Examples(X, Y, np.ones(30, np.float32))
    loss, parts = evaluate(SVM, PARAMS, batch, HYPER)
    W = PARAMS.W.astype(np.float64)
    data = oracles.hinge(X @ W.T + PARAMS.b, Y, margin=0.5).mean()
    penalty = 0.3 * (2 * W**2 + np.abs(W)).sum()
    np.testing.assert_allclose(parts, [data, penalty], rtol=1e-5)
    assert float(loss) == pytest.approx(data + penalty, rel=1e-5)


def test_weight_two_is_the_example_twice_and_weight_zero_not_there():
    weight = RNG.integers(0, 3, 30).astype(np.float32)
    repeated = np.repeat(np.arange(30), weight.astype(int))
    weighted = evaluate(SVM, PARAMS, Examples(X, Y, weight), HYPER)[0]
    twice = Examples(X[repeated], Y[repeated], np.ones(len(repeated), np.float32))
    np.testing.assert_allclose(weighted, evaluate(SVM, PARAMS, twice, HYPER)[0], rtol=1e-5)


def test_an_example_of_weight_zero_may_overflow():
    large, weight = np.concatenate([X, X[:1] * 1e30]), np.append(np.ones(30), 0).astype(np.float32)
    squared = Objective(losses.squared_hinge, penalties.l2)
    with_it = Examples(large, np.append(Y, 1).astype(np.int32), weight)
    without = Examples(X, Y, weight[:30])
    hyper = Hyper({}, 0.3)
    assert evaluate(squared, PARAMS, with_it, hyper)[0] == pytest.approx(
        float(evaluate(squared, PARAMS, without, hyper)[0]), rel=1e-6
    )
    for ours, expected in zip(
        slopes(squared, PARAMS, with_it, hyper)[0], slopes(squared, PARAMS, without, hyper)[0],
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_scores_that_are_infinite_at_an_example_of_weight_zero_change_nothing():
    """A row that does not count is 0 before the scores see it; theirs may be infinite there."""
    of_logarithms = Objective(losses.softmax, scores_fn=logarithmic)
    positive = np.exp(X)
    weight = np.append(np.ones(29), 0).astype(np.float32)
    without = Examples(positive[:29], Y[:29], weight[:29])
    loss = evaluate(of_logarithms, PARAMS, Examples(positive, Y, weight), HYPER_OF_LOGS)[0]
    expected = evaluate(of_logarithms, PARAMS, without, HYPER_OF_LOGS)[0]
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


HYPER_OF_LOGS = Hyper({}, reg=0.3)


def logarithmic(params, rows):
    return jnp.log(rows) @ params.W.T + params.b


def test_a_batch_of_zero_weight_has_data_loss_zero_and_a_finite_gradient():
    batch = Examples(X, Y, np.zeros(30, np.float32))
    grads, parts = slopes(SVM, PARAMS, batch, HYPER)
    assert float(parts.data) == 0
    np.testing.assert_allclose(grads.W, 0.3 * (4 * PARAMS.W + np.sign(PARAMS.W)), rtol=1e-5)


def test_the_bias_is_not_penalised():
    batch = Examples(X, Y, np.zeros(30, np.float32))
    grads, _ = slopes(SVM, PARAMS, batch, HYPER)
    assert not grads.b.any()


def test_mean_over_all_data_is_the_mean_whatever_the_block():
    affine = Affine(np.full(6, 0.5, np.float32), np.float32(2))
    weight = np.stack([np.ones(30), np.arange(30) % 3]).astype(np.float32)
    grid = LinearParams(np.stack([PARAMS.W, -PARAMS.W]), np.stack([PARAMS.b, 0 * PARAMS.b]))

    def fn(params, batch):
        return losses.softmax(batch.X @ params.W.T + params.b, batch.y)

    expected = [
        np.average(oracles.softmax((X - 0.5) * 2 @ W.T + b, Y), weights=w)
        for W, b, w in zip(*grid, weight, strict=True)
    ]
    data = jax.tree.map(jnp.asarray, Examples(X, Y, weight))
    for block in (7, 1024):
        found = mean_over(fn, grid, data, affine, block)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def column(scores, labels):
    return losses.softmax(scores, labels)[:, None]


def mean(scores, labels):
    return losses.softmax(scores, labels).mean()


def nothing(scores, labels):
    losses.softmax(scores, labels)


BATCH = Examples(X, Y, np.ones(30, np.float32))


@pytest.mark.parametrize("loss", [column, mean, nothing])
def test_a_loss_of_another_shape_is_refused_everywhere(loss):
    wrong, says = Objective(loss), r"loss\(scores, labels\) must return one value an example"
    with pytest.raises((TypeError, ValueError), match=says):
        evaluate(wrong, PARAMS, BATCH, HYPER._replace(loss={}))
    affine = Affine(np.zeros(6, np.float32), np.float32(1))
    with pytest.raises((TypeError, ValueError), match=says):
        passes.objective(wrong, PARAMS, BATCH, affine, Hyper({}))
    with pytest.raises((TypeError, ValueError), match=says):
        objective.step_size(X, affine, loss, 4)
    recipe, hyper = Recipe(wrong, batch_size=7), Hyper({"learning_rate": 0.1})
    state = training.start(jax.random.key(0), PARAMS, recipe, hyper)
    with pytest.raises((TypeError, ValueError), match=says):
        training.fit(state, X, Y, recipe, hyper, num_steps=1)


@pytest.mark.parametrize("penalty", [lambda W: W, lambda W: (W**2).sum(axis=1), lambda W: None])
def test_a_penalty_that_is_not_one_number_is_refused(penalty):
    with pytest.raises((TypeError, ValueError), match=r"penalty\(W\) must return one number"):
        evaluate(Objective(penalty=penalty), PARAMS, BATCH, Hyper({}))


@pytest.mark.parametrize("weight", [np.ones((30, 1)), np.ones((1, 30)), np.ones(29), np.ones(())])
def test_weights_of_another_shape_are_refused(weight):
    with pytest.raises(ValueError, match="weight must"):
        evaluate(SVM, PARAMS, BATCH._replace(weight=weight.astype(np.float32)), HYPER)


def test_a_step_size_that_would_be_zero_is_refused():
    with pytest.raises(ValueError, match=r"affine=preprocessing.fit\(X\)"):
        objective.step_size(X * np.float32(1e30), None, losses.softmax, 4)
