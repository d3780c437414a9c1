"""One contract for every loss, and what is special about each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
import sklearn.metrics

from lincls import gradcheck, losses

pytestmark = pytest.mark.usefixtures("quick_compiles")

LOSSES = [  # one program for each shape, not one for each operation of a loss
    jax.jit(fn)
    for fn in (losses.hinge, losses.squared_hinge, losses.crammer_singer_hinge, losses.softmax)
]
hinge, squared_hinge, crammer_singer_hinge, softmax = LOSSES
KINKS = {"hinge": losses.hinge_kinks, "crammer_singer_hinge": losses.crammer_singer_kinks}


@pytest.fixture(params=LOSSES, ids=lambda loss: loss.__name__)
def loss(request):
    return request.param


@pytest.fixture
def batch():
    rng = np.random.default_rng(1)
    return rng.normal(scale=2, size=(40, 7)).astype(np.float32), rng.integers(0, 7, 40)


def test_equals_the_naive_oracle(loss, batch):
    scores, labels = batch
    expected = getattr(oracles, loss.__name__)(scores, labels)
    np.testing.assert_allclose(loss(scores, labels), expected, rtol=2e-6, atol=1e-6)


def test_is_one_value_an_example_in_the_dtype_of_the_scores(loss, batch):
    scores, labels = batch
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        value = loss(scores.astype(dtype), labels)
        assert (value.shape, value.dtype) == ((40,), dtype)


def test_jit_vmap_and_one_example_at_a_time_agree(loss, batch):
    scores, labels = batch
    one_by_one = jax.vmap(lambda s, y: loss(s[None], y[None])[0])(scores, labels)
    np.testing.assert_allclose(loss(scores, labels), one_by_one, rtol=1e-6)
    operations = loss.__wrapped__(scores, labels)
    np.testing.assert_allclose(operations, one_by_one, rtol=1e-6)


def test_confident_and_right_costs_nothing(loss):
    scores, labels = jnp.array([[50.0, 0, 0], [0, 0, 50]]), jnp.array([0, 2])
    np.testing.assert_allclose(loss(scores, labels), 0, atol=1e-12)


def test_is_never_negative_and_unmoved_by_a_constant(loss, batch):
    scores, labels = batch
    value = loss(scores, labels)
    assert value.min() >= 0
    np.testing.assert_allclose(loss(scores + 3, labels), value, rtol=1e-4, atol=1e-5)


def test_gradient_against_finite_differences(loss, batch):
    scores, labels = batch

    def fn(scores):
        return loss(scores, labels).mean()

    of_loss = KINKS.get(loss.__name__)
    kinks = of_loss and (lambda scores: of_loss(scores, labels))
    report = gradcheck.check(jax.random.key(2), fn, scores, jax.grad(fn), kinks=kinks)
    assert report.passed, str(report)


def test_gradient_sums_to_zero_over_classes(loss, batch):
    scores, labels = batch
    grads = jax.jit(jax.grad(lambda s: loss(s, labels).sum()))(scores)
    np.testing.assert_allclose(grads.sum(axis=1), 0, atol=2e-5)


def test_nan_scores_give_nan(loss):
    scores = jnp.array([[0.0, jnp.nan, 0.0], [1.0, 0.0, 0.0]])
    value = loss(scores, jnp.array([0, 0]))
    assert np.isnan(value[0])
    assert np.isfinite(value[1])


def test_enormous_scores_are_right():
    scores = jnp.array([[1e9, -1e9, 0.0], [1e9, 1e9, 0.0], [-1e9, -1e9, -1e9]])
    labels = jnp.array([0, 1, 2])
    np.testing.assert_allclose(softmax(scores, labels), [0, np.log(2), np.log(3)], rtol=1e-6)
    assert softmax(scores, jnp.array([1, 2, 0])).tolist()[:2] == [2e9, 1e9]
    grads = jax.jit(jax.grad(lambda s: softmax(s, labels).sum()))(scores)
    np.testing.assert_allclose(grads[1], [0.5, -0.5, 0], atol=1e-7)
    for fn in (hinge, crammer_singer_hinge):
        assert np.isfinite(fn(scores, labels)).all()


def test_subgradient_at_the_kink_is_zero():
    on_kink = jnp.array([[2.0, 1.0, 1.0]])
    for fn in (hinge, squared_hinge, crammer_singer_hinge):
        grads = jax.jit(jax.grad(lambda s, fn=fn: fn(s, np.array([0])).sum()))(on_kink)
        assert grads.tolist() == [[0, 0, 0]], fn.__name__


def test_margin_scales_the_hinges():
    scores, labels = jnp.zeros((2, 5)), jnp.array([1, 4])
    assert hinge(scores, labels, margin=0.25).tolist() == [1, 1]
    assert squared_hinge(scores, labels, margin=0.5).tolist() == [1, 1]
    assert crammer_singer_hinge(scores, labels, margin=3.0).tolist() == [3, 3]


def test_softmax_is_optax_and_sklearn(batch):
    scores, labels = batch
    ours = softmax(scores, labels)
    theirs = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(scores), labels)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    probabilities = np.asarray(jax.nn.softmax(scores.astype(np.float64)), np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    mean = sklearn.metrics.log_loss(labels, probabilities, labels=range(7))
    assert float(ours.mean()) == pytest.approx(mean, rel=1e-5)


def test_crammer_singer_is_optax_and_sklearn(batch):
    scores, labels = batch
    theirs = optax.losses.multiclass_hinge_loss(jnp.asarray(scores), jnp.asarray(labels))
    ours = crammer_singer_hinge(scores, labels)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    mean = sklearn.metrics.hinge_loss(labels, scores, labels=range(7))
    assert float(ours.mean()) == pytest.approx(mean, rel=1e-6)


def test_crammer_singer_kinks_change_sign_where_the_worst_class_changes():
    label = jnp.array([0])
    signs = [
        np.sign(losses.crammer_singer_kinks(jnp.array([[0.0, s, 0.5]]), label))
        for s in (0.49, 0.51, 0.52)
    ]
    assert (signs[0] != signs[1]).any()
    assert (signs[1] == signs[2]).all()


@pytest.mark.parametrize("label", [7, -1, -100, 2**31 - 1])
def test_a_label_that_is_none_is_an_error_and_nan_under_jit(loss, label, batch):
    scores, labels = batch[0][:4], np.array([0, 6, label, 2])
    with pytest.raises(ValueError, match="labels must"):
        loss.__wrapped__(scores, labels)
    value = loss(scores, labels)
    assert np.isnan(value).tolist() == [False, False, True, False]
    right = np.array([0, 6, 1, 2])
    np.testing.assert_array_equal(np.delete(value, 2), np.delete(loss(scores, right), 2))


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (np.array([[0], [1]]), ValueError),
        (np.eye(3, dtype=int)[[0, 1]], ValueError),
        (np.array([0, 1, 2]), ValueError),
        (np.array([0.0, 1.0]), TypeError),
        (np.array([True, False]), TypeError),
        (np.array(["0", "1"]), TypeError),
    ],
    ids=str,
)
def test_labels_of_another_shape_or_kind_are_refused_also_under_jit(loss, labels, error):
    scores = jnp.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    with pytest.raises(error, match="labels must"):
        loss.__wrapped__(scores, labels)
    if labels.dtype.kind != "U":
        with pytest.raises(error, match="labels must"):
            loss(scores, labels)


@pytest.mark.parametrize("scores", [jnp.zeros(3), jnp.zeros((1, 1, 3)), jnp.zeros((1, 3), complex)])
def test_scores_of_another_shape_or_kind_are_refused(loss, scores):
    with pytest.raises((TypeError, ValueError), match="scores must"):
        loss(scores, np.array([0]))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint32, np.uint64])
def test_narrow_labels_are_not_counted_modulo_their_range(loss, dtype):
    scores = np.random.default_rng(4).normal(size=(3, 300)).astype(np.float32)
    labels = np.array([3, 100, 47])
    expected = getattr(oracles, loss.__name__)(scores, labels)
    for form in (loss, loss.__wrapped__):
        np.testing.assert_allclose(form(scores, labels.astype(dtype)), expected, rtol=1e-5)


def test_whole_number_scores_are_numbers(loss):
    scores, labels = np.array([[3, 2, 1], [0, 5, 5]]), np.array([0, 2])
    expected = getattr(oracles, loss.__name__)(scores, labels)
    for dtype in (np.int64, np.uint8):
        np.testing.assert_allclose(loss(scores.astype(dtype), labels), expected, rtol=1e-6)
