import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from lincls import preprocessing

RNG = np.random.default_rng(50)
X = RNG.integers(0, 256, (10_000, 6), dtype=np.uint8)
X[:, 5] = 7  # a constant feature


def test_fit_is_the_mean_image_and_one_scale():
    affine = preprocessing.fit(X)
    moved = preprocessing.apply(affine, X)
    np.testing.assert_allclose(affine.shift, X.mean(axis=0), rtol=1e-6)
    assert affine.scale.shape == ()
    assert np.square(np.asarray(moved, np.float64)).mean() == pytest.approx(1, rel=1e-5)


def test_per_feature_is_sklearns_standard_scaler():
    moved = preprocessing.apply(preprocessing.fit(X, per_feature=True), X)
    np.testing.assert_allclose(moved, StandardScaler().fit_transform(X.astype(float)), atol=1e-5)


def test_weights_are_rows_removed_or_repeated():
    weight = RNG.integers(0, 3, len(X))
    weighted = preprocessing.fit(X, weight)
    repeated = preprocessing.fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.shift, repeated.shift, rtol=1e-6)
    np.testing.assert_allclose(weighted.scale, repeated.scale, rtol=1e-6)


def test_units_do_not_matter():
    a, b = preprocessing.fit(X), preprocessing.fit(X.astype(np.float32) / 255)
    np.testing.assert_allclose(
        preprocessing.apply(a, X), preprocessing.apply(b, X / np.float32(255)), atol=1e-5
    )


def test_mean_image_leaves_the_scale():
    moved = preprocessing.apply(preprocessing.mean_image(X), X)
    np.testing.assert_allclose(moved, X - X.mean(axis=0), atol=1e-4)


def test_identity_and_constant_data():
    assert (np.asarray(preprocessing.apply(preprocessing.identity(6), X)) == X).all()
    constant = np.full((4, 3), 9, np.uint8)
    assert (preprocessing.apply(preprocessing.fit(constant), constant) == 0).all()


def test_no_weight_at_all_is_refused():
    with pytest.raises(ValueError, match="0 everywhere"):
        preprocessing.fit(X, np.zeros(len(X)))


def test_nan_is_refused_by_row():
    bad = np.ones((5, 2), np.float32)
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        preprocessing.fit(bad)


def test_a_constant_feature_is_scaled_by_one_whatever_its_value():
    X = np.stack([np.full(500, 0.1), np.arange(500)], axis=1)
    for weight in (None, np.arange(500) / 499):
        assert preprocessing.fit(X, weight, per_feature=True).scale[0] == 1


def test_weights_are_checked():
    X = np.ones((10, 2), np.float32)
    for weight in (np.ones(12), -np.ones(10)):
        with pytest.raises(ValueError, match="weight"):
            preprocessing.fit(X, weight)


def test_one_weight_an_example():
    with pytest.raises(ValueError, match=r"one number an example, shape \(10,\), got \(2, 10\)"):
        preprocessing.fit(np.ones((10, 2), np.float32), np.ones((2, 10)))


def test_float64_that_float32_would_round_away_is_refused_with_what_to_do():
    X = RNG.normal([0, 1e8, 0], 1, (1000, 3))
    with pytest.raises(ValueError, match=r"feature 1 lies at 1e\+08") as refused:
        preprocessing.fit(X)
    assert "X - X.mean(axis=0)" in str(refused.value)
    with pytest.raises(ValueError, match="feature 0"):
        preprocessing.fit(RNG.normal(1e6, 1, (1000, 2)))
    for fine in (X - X.mean(axis=0), X - [0, 1e8 - 1e4, 0], np.full((9, 2), 1e9)):
        preprocessing.fit(fine)
