"""The lecture's numbers (slide numbers in the names); where a slide slips, the formula rules."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from lincls import gradcheck, linear, losses, penalties
from lincls.objective import Objective, evaluate
from lincls.structs import Examples, Hyper, LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")

TABLE = jnp.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])  # rows: examples
TABLE_LABELS = jnp.array([0, 1, 2])

TEST_IMAGE = [[56, 32, 10, 18], [90, 23, 128, 133], [24, 26, 178, 200], [2, 0, 255, 220]]
TRAIN_IMAGE = [[10, 20, 24, 17], [8, 10, 89, 100], [12, 16, 178, 170], [4, 32, 233, 112]]


def test_slide_14_l1_distance_is_456():
    from lincls import distances, knn

    train, test = (np.uint8(image).reshape(1, 16) for image in (TRAIN_IMAGE, TEST_IMAGE))
    found = knn.neighbors(knn.fit(train, metric=distances.l1), test, 1)
    assert found.distances.tolist() == [[456]]


def test_slide_16_its_own_code_wraps_on_uint8_and_gives_2712():
    train, test = np.uint8(TRAIN_IMAGE).reshape(1, 16), np.uint8(TEST_IMAGE).reshape(16)
    assert np.sum(np.abs(train - test), axis=1).tolist() == [2712]


def test_slide_28_scores():
    params = LinearParams(
        jnp.array([[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0.0, 0.25, 0.2, -0.3]]),
        jnp.array([1.1, 3.2, -1.2]),
    )
    pixels = np.uint8([[[56, 231], [24, 2]]])  # one 2x2 image
    np.testing.assert_allclose(linear.scores(params, pixels), [[-96.8, 437.9, 60.75]], rtol=1e-6)
    assert linear.predict(params, pixels).tolist() == [1]


def test_slides_33_to_36_hinge_losses_and_their_mean():
    np.testing.assert_allclose(losses.hinge(TABLE, TABLE_LABELS), [2.9, 0, 12.9], rtol=1e-6)
    batch = Examples(jnp.eye(3), TABLE_LABELS, jnp.ones(3))
    params = LinearParams(TABLE.T, jnp.zeros(3))
    loss, parts = evaluate(Objective(losses.hinge), params, batch, Hyper({}))
    assert float(loss) == pytest.approx(5.2667, abs=1e-4)
    assert float(parts.penalty) == 0


def test_slide_37_sum_over_all_classes_adds_the_margin():
    own = jax.nn.relu(jnp.ones(3))  # the term j = y is max(0, 0 + 1)
    with_own = losses.hinge(TABLE, TABLE_LABELS) + own
    assert float(with_own.mean()) == pytest.approx(6.2667, abs=1e-4)


def test_slide_37_mean_over_the_wrong_classes_and_squares():
    assert float((losses.hinge(TABLE, TABLE_LABELS) / 2).mean()) == pytest.approx(2.633, abs=1e-3)
    squares = losses.squared_hinge(TABLE, TABLE_LABELS)
    np.testing.assert_allclose(squares, [8.41, 0, 83.25], rtol=1e-5)
    assert float(squares.mean()) == pytest.approx(30.553, abs=1e-3)


def test_crammer_singer_and_softmax_on_the_same_table():
    worst = losses.crammer_singer_hinge(TABLE, TABLE_LABELS)
    np.testing.assert_allclose(worst, [2.9, 0, 6.6], rtol=1e-6)
    cross_entropy = losses.softmax(TABLE, TABLE_LABELS)
    np.testing.assert_allclose(cross_entropy, [2.040, 0.079, 6.156], atol=5e-4)
    assert float(cross_entropy.mean()) == pytest.approx(2.759, abs=1e-3)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
def test_slides_37_and_45_the_loss_at_small_weights(num_classes):
    scores = jnp.zeros((4, num_classes))
    labels = jnp.zeros(4, jnp.int32)
    np.testing.assert_allclose(losses.hinge(scores, labels), num_classes - 1)
    np.testing.assert_allclose(losses.crammer_singer_hinge(scores, labels), 1)
    np.testing.assert_allclose(losses.softmax(scores, labels), np.log(num_classes), rtol=1e-6)


def test_slide_38_L_i_vectorized_agrees():
    rng = np.random.default_rng(38)
    W, X, y = rng.normal(size=(10, 6)), rng.normal(size=(20, 6)), rng.integers(0, 10, 20)
    slide = [oracles.L_i_vectorized(x, label, W) for x, label in zip(X, y, strict=True)]
    np.testing.assert_allclose(losses.hinge((X @ W.T).astype(np.float32), y), slide, rtol=1e-5)


def test_slides_39_40_twice_the_weights_keep_the_zero():
    for factor in (1, 2):
        assert float(losses.hinge(factor * TABLE, TABLE_LABELS)[1]) == 0


def test_slide_42_penalties():
    W1, W2 = jnp.array([[1.0, 0, 0, 0]]), jnp.full((1, 4), 0.25)
    x = jnp.ones((1, 4))
    for W in (W1, W2):
        assert linear.scores(LinearParams(W, jnp.zeros(1)), x).tolist() == [[1]]
    assert [float(penalties.l2(W)) for W in (W1, W2)] == [1.0, 0.25]
    assert [float(penalties.l1(W)) for W in (W1, W2)] == [1.0, 1.0]


def test_slide_44_softmax_example():
    scores, label = TABLE[:1], TABLE_LABELS[:1]
    np.testing.assert_allclose(jnp.exp(scores), [[24.5, 164.0, 0.18]], atol=0.04)
    np.testing.assert_allclose(jax.nn.softmax(scores), [[0.13, 0.87, 0.00]], atol=5e-3)
    assert float(losses.softmax(scores, label)[0]) == pytest.approx(2.040, abs=5e-4)
    assert -np.log10(0.13) == pytest.approx(0.89, abs=5e-3)  # what the slide took for it


def test_slide_46_svm_against_softmax():
    W = jnp.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0.0, -0.45, -0.2, 0.03]])
    params = LinearParams(W, jnp.array([0.0, 0.2, -0.3]))
    x, label = jnp.array([[-15.0, 22, -44, 56]]), jnp.array([2])
    scores = linear.scores(params, x)
    np.testing.assert_allclose(scores, [[-2.85, 0.86, 0.28]], atol=5e-6)
    assert float(losses.hinge(scores, label)[0]) == pytest.approx(1.58, abs=1e-5)
    probabilities = linear.probabilities(params, x)
    np.testing.assert_allclose(probabilities, [[0.01545, 0.6312, 0.3534]], atol=1e-4)
    assert float(losses.softmax(scores, label)[0]) == pytest.approx(1.0402, abs=1e-4)


def test_slide_47_moved_scores():
    scores = jnp.array([[10.0, -2, 3], [10, 9, 9], [10, -100, -100]])
    labels = jnp.zeros(3, jnp.int32)
    assert losses.hinge(scores, labels).tolist() == [0, 0, 0]
    expected = [np.log1p(np.exp(-12) + np.exp(-7)), np.log1p(2 * np.exp(-1)), 0]
    np.testing.assert_allclose(losses.softmax(scores, labels), expected, rtol=1e-3, atol=1e-9)
    # [10, 9, 9] lies on the kink: any step towards the wrong classes costs, none away does.
    moved = scores[1:2] + jnp.array([[-0.5, 0.25, 0.0]])
    assert float(losses.hinge(moved, labels[:1])[0]) == pytest.approx(1.25)
    assert jax.grad(lambda s: losses.hinge(s, labels).sum())(scores).tolist() == [[0] * 3] * 3


def test_slides_52_to_54_differences_of_the_printed_losses():
    losses_ahead = np.array([1.25322, 1.25353, 1.25347])
    slopes = (losses_ahead - 1.25347) / 0.0001
    np.testing.assert_allclose(slopes, [-2.5, 0.6, 0.0], atol=1e-6)


def test_slide_55_eval_numerical_gradient_agrees_with_the_slides_own_loop():
    rng = np.random.default_rng(55)
    W, X, y = rng.normal(size=(3, 5)), rng.normal(size=(8, 5)), rng.integers(0, 3, 8)
    slide = oracles.eval_numerical_gradient(lambda W: oracles.hinge(X @ W.T, y).mean(), W.copy())
    ours = gradcheck.numerical_gradient(
        lambda W: losses.hinge(jnp.asarray(X) @ W.T, jnp.asarray(y)).mean(), W, centred=False
    )
    np.testing.assert_allclose(ours, slide, atol=1e-9)
