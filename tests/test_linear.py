import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lincls import checks, linear, preprocessing
from lincls.structs import Affine, LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(5)
PARAMS = LinearParams(
    RNG.normal(size=(4, 12)).astype(np.float32), RNG.normal(size=4).astype(np.float32)
)
IMAGES = RNG.integers(0, 256, (9, 2, 2, 3), dtype=np.uint8)


def test_scores_are_Wx_plus_b_for_images_rows_and_floats():
    rows = IMAGES.reshape(9, 12)
    expected = rows.astype(np.float64) @ PARAMS.W.T.astype(np.float64) + PARAMS.b
    for X in (IMAGES, rows, rows.astype(np.float32), rows.astype(np.float16)):
        np.testing.assert_allclose(linear.scores(PARAMS, X), expected, rtol=1e-4, atol=1e-3)
        assert linear.predict(PARAMS, X).tolist() == expected.argmax(axis=1).tolist()


def test_equal_scores_go_to_the_smaller_label():
    zero = LinearParams(jnp.zeros((3, 12)), jnp.array([1.0, 2, 2]))
    assert linear.predict(zero, IMAGES).tolist() == [1] * 9


def test_the_parameters_dtype_rules():
    half = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), PARAMS)
    assert linear.scores(half, IMAGES).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        double = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), PARAMS)
        assert linear.scores(double, IMAGES).dtype == jnp.float64


def test_init_draws_small_weights_and_no_bias():
    params = linear.init(jax.random.key(6), 3072, 10, scale=1e-2)
    assert params.W.shape == (10, 3072)
    assert float(params.W.std()) == pytest.approx(1e-2, rel=0.02)
    assert not params.b.any()


def test_on_pixels_folds_the_preprocessing_into_the_parameters():
    rows = IMAGES.reshape(9, 12)
    for affine in (preprocessing.fit(rows), preprocessing.fit(rows, per_feature=True)):
        inside = linear.scores(PARAMS, preprocessing.apply(affine, rows))
        folded = linear.scores(linear.on_pixels(PARAMS, affine), rows)
        np.testing.assert_allclose(folded, inside, atol=1e-4)


def test_on_pixels_takes_a_grid():
    affine = Affine(jnp.ones(12), jnp.float32(0.5))
    grid = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), PARAMS)
    second = linear.on_pixels(jax.tree.map(lambda p: 2 * p, PARAMS), affine)
    np.testing.assert_allclose(linear.on_pixels(grid, affine).b[1], second.b, rtol=1e-5)


def test_fold_bias_is_the_bias_trick():
    ones = np.ones((9, 1), np.float32)
    rows = np.concatenate([IMAGES.reshape(9, 12), ones], axis=1)
    np.testing.assert_allclose(
        rows @ linear.fold_bias(PARAMS).T, linear.scores(PARAMS, IMAGES), rtol=1e-4, atol=1e-3
    )


def test_probabilities_sum_to_one():
    probabilities = linear.probabilities(PARAMS, IMAGES / np.float32(255))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_a_ragged_list_is_refused():
    with pytest.raises(TypeError, match="unequal"):
        checks.rows([[1.0], [1.0, 2.0]])


def test_rows_of_another_byte_order_are_taken_and_wider_floats_refused():
    rows = np.linspace(-1, 1, 60).reshape(5, 12)
    there = checks.rows(rows.astype(">f4"))
    assert there.dtype == np.float32
    assert there.dtype.isnative
    np.testing.assert_array_equal(there, rows.astype(np.float32))
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(TypeError, match="64 bits"):
            checks.rows(rows.astype(np.longdouble))


def test_templates_are_images_around_one_half():
    templates = linear.templates(PARAMS, (2, 2, 3))
    assert templates.shape == (4, 2, 2, 3)
    assert templates.min() >= 0
    assert templates.max() <= 1
    flat = templates.reshape(4, 12)
    assert (np.sign(flat - 0.5) == np.sign(PARAMS.W)).all()
    zero = LinearParams(np.zeros((1, 4), np.float32), np.zeros(1, np.float32))
    assert (linear.templates(zero, (2, 2)) == 0.5).all()


@pytest.mark.parametrize(
    ("X", "error", "says"),
    [
        (IMAGES.astype(np.int64), TypeError, "astype"),
        (IMAGES[:, :1], ValueError, "6 features"),
        (np.zeros(12, np.float32), ValueError, r"images\[None\]"),
        (np.zeros((0, 12), np.float32), ValueError, "no rows"),
    ],
)
def test_what_is_no_image_is_refused_by_name(X, error, says):
    with pytest.raises(error, match=says):
        linear.predict(PARAMS, X)


def test_scores_of_a_grid_are_those_of_its_settings():
    rng = np.random.default_rng(21)
    grid = LinearParams(rng.normal(size=(4, 3, 5)), rng.normal(size=(4, 3)))
    X = rng.integers(0, 256, (7, 5), dtype=np.uint8)
    expected = np.einsum("gcd,nd->gnc", grid.W, X) + grid.b[:, None]
    np.testing.assert_allclose(linear.scores(grid, X), expected, rtol=1e-4)
    assert linear.predict(grid, X).tolist() == expected.argmax(axis=-1).tolist()


def test_templates_of_a_grid_are_refused_with_what_to_do():
    grid = LinearParams(np.zeros((4, 3, 5), np.float32), np.zeros((4, 3), np.float32))
    with pytest.raises(ValueError, match="take setting g"):
        linear.templates(grid, (5,))


def test_on_pixels_stays_in_numpy_and_in_its_precision():
    params = LinearParams(np.ones((2, 3)), np.zeros(2))
    folded = linear.on_pixels(params, Affine(np.full(3, 0.5, np.float32), np.float32(2)))
    assert {leaf.dtype for leaf in folded} == {np.dtype("float64")}
    assert folded.b.tolist() == [-3, -3]
