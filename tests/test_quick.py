"""The short form needs no tuning, whatever the units of the data."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lincls import data, linear, losses, placement, quick
from lincls.objective import step_size
from lincls.structs import LinearParams

DIGITS = data.load("digits")
MEAN, DEVIATION = (
    getattr(DIGITS.train.images, name)(axis=0, dtype=np.float64) for name in ("mean", "std")
)
UNITS = {
    "digits": lambda images: images,
    "digits / 16": lambda images: images / np.float32(16),
    "digits x 255": lambda images: images * np.float32(255),
    "standardised": lambda images: ((images - MEAN) / np.where(DEVIATION > 0, DEVIATION, 1)).astype(
        np.float32
    ),
}
TUNED = {"softmax": 0.914, "hinge": 0.911}  # the best of 21 settings each on the test digits
TUNED_STANDARDISED = 0.900  # likewise of 35: every feature by its own scale is another penalty


@pytest.mark.parametrize("units", UNITS)
def test_ends_within_two_points_of_the_tuned_accuracy(units):
    train, test = (UNITS[units](split.images) for split in (DIGITS.train, DIGITS.test))
    params = quick.fit(jax.random.key(90), train, DIGITS.train.labels)
    accuracy = np.mean(np.asarray(linear.predict(params, test)) == DIGITS.test.labels)
    tuned = TUNED_STANDARDISED if units == "standardised" else TUNED["softmax"]
    assert accuracy > tuned - 0.02


def test_takes_the_svm_loss():
    params = quick.fit(
        jax.random.key(91), DIGITS.train.images, DIGITS.train.labels, loss=losses.hinge
    )
    predicted = np.asarray(linear.predict(params, DIGITS.test.images))
    assert np.mean(predicted == DIGITS.test.labels) > TUNED["hinge"] - 0.02


@pytest.mark.slow
def test_the_same_key_gives_the_same_parameters():
    a, b = (
        quick.fit(jax.random.key(92), DIGITS.train.images[:200], DIGITS.train.labels[:200])
        for _ in range(2)
    )
    assert (a.W == b.W).all()


def test_the_step_size_is_in_inverse_proportion_to_the_loss():
    from lincls import preprocessing

    X = DIGITS.train.images.reshape(-1, 64)
    affine = preprocessing.fit(X)

    def doubled(scores, labels):
        return 2 * losses.softmax(scores, labels)

    single = step_size(X, affine, losses.softmax, 10)
    assert step_size(X, affine, doubled, 10) == pytest.approx(single / 2)


def test_one_class_is_no_classification():
    with pytest.raises(ValueError, match="num_classes"):
        quick.fit(jax.random.key(93), DIGITS.train.images[:5], np.zeros(5, int))


@pytest.mark.parametrize("reg", [1.0, 30.0])
def test_a_strong_penalty_shrinks_and_does_not_diverge(reg):
    params = quick.fit(jax.random.key(0), *DIGITS.train, reg=reg, num_epochs=1)
    assert np.abs(params.W).max() < 0.1


@pytest.mark.parametrize("name", ["batch_size", "num_epochs"])
def test_what_cannot_be_is_refused(name):
    with pytest.raises(ValueError, match=name):
        quick.fit(jax.random.key(0), *DIGITS.train, **{name: 0})


# --- the optimum -------------------------------------------------------------------------------

RNG = np.random.default_rng(94)
LABELS = np.arange(60) % 3
EMBEDDINGS = {  # few rows on many axes of unequal length, and more rows than axes
    name: (RNG.normal(size=(3, D))[LABELS] + RNG.normal(size=(60, D))) * np.arange(1, D + 1) ** -0.5
    for name, D in {"wide": 100, "narrow": 8}.items()
}


def objective(params, X, reg):
    """In numpy, float64, in the units in which the average feature has variance 1."""
    scale = np.sqrt(((X - X.mean(axis=0)) ** 2).mean())
    scores = X @ np.asarray(params.W, np.float64).T + np.asarray(params.b, np.float64)
    each = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(X)), LABELS]
    return each.mean() + reg * (np.square(np.asarray(params.W, np.float64) * scale)).sum()


@pytest.mark.parametrize("shape", EMBEDDINGS)
def test_softmax_ends_within_two_percent_of_scikit_learns_least_objective(shape):
    X, reg = EMBEDDINGS[shape], 1e-3
    scale = np.sqrt(((X - X.mean(axis=0)) ** 2).mean())
    model = LogisticRegression(C=1 / (2 * len(X) * reg), tol=1e-10, max_iter=10_000)
    model.fit((X - X.mean(axis=0)) / scale, LABELS)
    W = model.coef_ / scale
    least = objective(LinearParams(W, model.intercept_ - W @ X.mean(axis=0)), X, reg)
    found = quick.fit(jax.random.key(95), X.astype(np.float32), LABELS, reg=reg)
    assert objective(found, X, reg) < 1.02 * least
    assert least < 1.0001 * objective(found, X, reg)


def test_epochs_are_those_of_sgd_which_other_losses_take():
    X = EMBEDDINGS["narrow"].astype(np.float32)
    args = (jax.random.key(96), X, LABELS)
    usual, by_sgd = quick.fit(*args), quick.fit(*args, num_epochs=1)
    assert (quick.fit(jax.random.key(97), X, LABELS).W == usual.W).all()
    assert (quick.fit(jax.random.key(97), X, LABELS, num_epochs=1).W != by_sgd.W).any()
    with placement.limited(device_bytes=0):  # no room
        assert (quick.fit(*args, num_epochs=20).W == quick.fit(*args).W).all()
