"""Numbers that float32 does not hold: computed in float64, scaled, or refused by name."""

import inspect
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
import scipy.special
from shares import further

from lincls import (
    batches,
    certificate,
    crossval,
    data,
    linear,
    losses,
    objective,
    optimizers,
    optimum,
    passes,
    penalties,
    precision,
    preprocessing,
    quick,
    random_search,
    splits,
    training,
)
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper, LinearParams
from lincls.training import Recipe

pytestmark = pytest.mark.usefixtures("quick_compiles")
RNG = np.random.default_rng(90)
N, D, C = 12, 3, 2
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = np.arange(N, dtype=np.int32) % C
ZERO = LinearParams(np.zeros((C, D), np.float32), np.zeros(C, np.float32))
KEY = jax.random.key(91)
HYPER = Hyper({"learning_rate": 0.1}, 0.01)
GRID = Hyper({"learning_rate": [0.1, 0.2]}, 0.01)
RECIPE = Recipe(batch_size=5)


def fit(X=X, recipe=RECIPE, hyper=HYPER, num_steps=6, params=ZERO, **kw):
    state = training.start(KEY, params, recipe, hyper)
    state, history = training.fit(state, X, Y, recipe, hyper, num_steps=num_steps, **kw)
    return np.asarray(state.params.W), history.loss


# --- computed in float64 ----------------------------------------------------------------------


def test_scores_of_float64_arrays_are_those_of_numpy():
    far = 50_000 + 1e-3 * RNG.normal(size=(40, D))  # float32 is 4e-3 wide there
    W = RNG.normal(size=(C, D))
    params = LinearParams(W, -W.sum(axis=1) * 50_000)
    expected = far @ params.W.T + params.b
    assert linear.predict(params, far).tolist() == expected.argmax(axis=1).tolist()
    found = linear.scores(params, far)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    chances = scipy.special.softmax(expected, axis=1)
    np.testing.assert_allclose(linear.probabilities(params, far), chances, rtol=1e-5)


def test_numbers_beyond_float32_predict_as_in_numpy():
    huge, tiny = 1e300 * RNG.normal(size=(40, D)), 1e-300 * RNG.normal(size=(40, D))
    W, b = RNG.normal(size=(C, D)), np.zeros(C)
    for rows in (huge, tiny):
        expected = (rows @ W.T).argmax(axis=1)
        assert linear.predict(LinearParams(W, b), rows).tolist() == expected.tolist()
        narrow = LinearParams(W.astype(np.float32), b.astype(np.float32))
        assert linear.predict(narrow, rows).tolist() == expected.tolist()


@pytest.mark.parametrize("loss", ["softmax", "hinge", "squared_hinge", "crammer_singer_hinge"])
def test_losses_of_float64_scores_are_those_of_numpy(loss):
    scores = 1e9 + RNG.normal(size=(20, 4))  # float32 is 64 wide there
    labels = np.arange(20) % 4
    found = getattr(losses, loss)(scores, labels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, getattr(oracles, loss)(scores, labels), rtol=1e-6)
    kinks = losses.hinge_kinks(scores, labels)
    margins = scores - scores[np.arange(20), labels, None] + 1
    margins[np.arange(20), labels] = -1
    np.testing.assert_allclose(kinks, margins, rtol=1e-5)


def test_preprocessing_moves_float64_rows_before_it_rounds_them():
    far = 1e9 + RNG.normal(size=(40, D))
    moved = preprocessing.apply(Affine(np.full(D, 1e9), np.float64(0.5)), far)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, (far - 1e9) / 2, rtol=1e-6, atol=1e-7)


def test_whole_number_weights_do_not_cut_the_pixels():
    W, b = np.array([[0, 0], [1, 1]]), np.array([0, 0])
    rows = np.array([[0.3, 0.6]], np.float32)
    for params in (LinearParams(W, b), LinearParams(W.astype(np.uint8), b.astype(np.int8))):
        np.testing.assert_allclose(linear.scores(params, rows), [[0, 0.9]], rtol=1e-6)
        np.testing.assert_allclose(
            linear.on_pixels(params, Affine(np.full(2, 0.1), 2.0)).b, [0, -0.4], rtol=1e-6
        )
    state = training.start(KEY, LinearParams(W, b), RECIPE, HYPER)
    assert state.params.W.dtype == np.float32
    assert float(inspect.unwrap(penalties.l2)(np.full((1, 2), 50_000))) == 5e9


def test_the_decorator_leaves_tracers_and_float32_alone():
    seen = []

    @precision.in_float64
    def double(x):
        seen.append(x.dtype)
        return 2 * x

    assert double(X).dtype == np.float32
    jax.jit(double)(X.astype(np.float64))
    assert {str(dtype) for dtype in seen} == {"float32"}
    assert double(X.astype(np.float64)).dtype == np.float32
    assert str(seen[-1]) == "float64"
    assert jnp.zeros(1).dtype == np.float32


# --- in any units -------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e-25, further(1e19)])
def test_quick_needs_no_units(unit):
    digits = data.load("digits")
    train, test = (part.images.astype(np.float64) * unit for part in (digits.train, digits.test))
    for dtype in (np.float32, np.float64):
        params = quick.fit(KEY, train.astype(dtype), digits.train.labels, num_epochs=1)
        found = np.asarray(linear.predict(params, test.astype(dtype)))
        assert np.mean(found == digits.test.labels) > 0.9


@pytest.mark.parametrize("unit", [1e-33, 1e33])
def test_a_unit_that_no_scale_undoes_is_refused_with_a_factor(unit):
    wide = RNG.normal(size=(40, D)).astype(np.float64) * unit
    with pytest.raises(ValueError, match=r"use X \* 2.0\*\*") as refused:
        preprocessing.fit(wide)
    assert np.isfinite(preprocessing.fit(wide * factor_in(refused)).scale)


def factor_in(refused):
    """The factor that an error says helps."""
    return 2.0 ** int(re.search(r"\* 2\.0\*\*(-?\d+)", str(refused.value))[1])


DOORS = {
    "fit": lambda X: fit(X),
    "validation": lambda bad: fit(validation=(bad, Y)),
    "crossval": lambda X: crossval.linear(KEY, X, Y, splits.folds(N, 3), RECIPE, GRID, num_steps=3),
    "optimum": lambda X: optimum.optimum(X, Y, reg=0.1, max_steps=2),
    "random_search": lambda X: random_search.search(KEY, X, Y, num_draws=2, objective=Objective()),
    "quick": lambda images: quick.fit(KEY, images, Y),
    "preprocessing": preprocessing.fit,
}
LOST = {
    "overflow": 1e39 * X.astype(np.float64),
    "vanish": 1e-50 * X.astype(np.float64),
    "far": np.array([50_000.001, 50_000.0005, 50_000.0] * 4)[:, None] + np.zeros(D),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", LOST)
def test_rows_that_float32_does_not_hold_are_refused_and_what_is_said_helps(kind, door):
    rows = LOST[kind]
    with pytest.raises(ValueError, match=r"(X|images) (holds|is float64)") as refused:
        DOORS[door](rows)
    if kind == "far":
        assert ".mean(axis=0)" in str(refused.value)
        DOORS[door](rows - rows.mean(axis=0))
    else:
        DOORS[door](rows * factor_in(refused))


def test_float64_parameters_take_what_float32_does_not_hold():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        found = optimum.optimum(LOST["far"], Y, reg=0.1, dtype=np.float64, max_steps=3)
        assert np.isfinite(found.loss)


# --- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e-300, 1e39, *(further(unit) for unit in (1e-50, 2e38, 1e300))])
def test_only_the_ratios_of_weights_count_whatever_their_unit(unit):
    ratios = RNG.uniform(0.5, 2, N)
    near = np.ldexp(ratios, round(np.log2(unit)))  # a power of two rounds nothing
    for expected, found in zip(fit(weight=ratios), fit(weight=near), strict=True):
        np.testing.assert_array_equal(found, expected)
    both = fit(hyper=GRID, weight=np.stack([near, ratios]))
    same = fit(hyper=GRID, weight=np.stack([ratios, ratios]))
    np.testing.assert_array_equal(both[0], same[0])
    assert preprocessing.fit(X, near).scale == preprocessing.fit(X, ratios).scale
    assert optimum.optimum(X, Y, reg=0.1, weight=near, max_steps=5).loss == pytest.approx(
        optimum.optimum(X, Y, reg=0.1, weight=ratios, max_steps=5).loss, rel=1e-6
    )
    folds = splits.folds(N, 3)
    how = {"recipe": RECIPE, "hyper": GRID, "num_steps": 3}
    a, b = (crossval.linear(KEY, X, Y, folds, weight=w, **how) for w in (near, ratios))
    np.testing.assert_array_equal(a.accuracies, b.accuracies)


def test_weights_of_which_one_would_vanish_are_refused():
    with pytest.raises(ValueError, match="weight spans more"):
        fit(weight=np.r_[1e-50, np.ones(N - 1)])


# --- a row of weight 0 is not there -------------------------------------------------------------

ABSENT = np.r_[np.ones(N - 1), 0.0].astype(np.float32)


def with_last(values, last):
    values = values.copy()
    values[-1] = last
    return values


FAR = {
    "float64 1e39": (with_last(X.astype(np.float64), 1e39), None),
    "float32 3e38, scale 2": (with_last(X, 3e38), Affine(np.zeros(D, np.float32), 2.0)),
}


@pytest.mark.parametrize("case", FAR)
def test_a_row_of_weight_0_may_overflow_anywhere(case):
    far, affine = FAR[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, expected = all_of(far, affine), all_of(with_last(far, 1.0), affine)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.isfinite(np.asarray(ours)).all()
        np.testing.assert_array_equal(ours, theirs)


def all_of(X, affine):
    how = {"affine": affine, "weight": ABSENT}
    best = optimum.optimum(X, Y, reg=0.1, max_steps=4, **how)
    split = splits.parts(splits.folds(N, 3), ABSENT)
    return [
        *fit(X, **how),
        *fit(X, hyper=GRID, affine=affine, weight=np.stack([ABSENT, ABSENT])),
        crossval.linear(KEY, X, Y, split, RECIPE, GRID, num_steps=3, affine=affine).params.W,
        best.params.W,
        best.loss,
        certificate.duality_gap(best.params, X, Y, reg=0.1, **how)[:2],
    ]


def test_a_row_of_weight_0_may_be_infinite_in_the_pure_functions():
    params = linear.init(KEY, D, C, scale=0.5)
    far, near = (
        Examples(with_last(X, value), with_last(Y, label), ABSENT)
        for value, label in ((np.inf, -100), (1.0, 0))
    )
    state, affine = training.start(KEY, params, RECIPE, HYPER), preprocessing.identity(D)

    def slopes(data):
        return jax.grad(lambda p: objective.evaluate(Objective(), p, data, HYPER)[0])(params)

    def over_all(data):
        return jax.grad(lambda p: passes.objective(Objective(), p, data, affine, HYPER))(params)

    def step(data):
        return training.step(state, data, RECIPE, HYPER)[0].params

    def run(data):
        return training.run(state, data, affine, RECIPE, HYPER, num_steps=4)[0].params

    for fn in (slopes, over_all, step, run):
        found, expected = fn(far), fn(near)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


# --- single numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hyper", "name"),
    [
        (Hyper({"learning_rate": 1e-50}), r"hyper\.optimizer\['learning_rate'\] holds 1e-50"),
        (Hyper({"learning_rate": [0.1, 1e39]}), r"\.optimizer\['learning_rate'\] holds 1e\+39"),
        (Hyper({"learning_rate": 0.1}, 1e-60), r"hyper\.reg holds 1e-60"),
        (Hyper({"learning_rate": 0.1}, penalty={"beta": 1e-60}), r"hyper\.penalty\['beta'\]"),
    ],
)
def test_a_number_that_becomes_another_is_refused_by_name(hyper, name):
    with pytest.raises(ValueError, match=name):
        training.start(KEY, ZERO, RECIPE, hyper)


def wide_balls(learning_rate, radius):
    return optax.chain(optimizers.sgd(learning_rate), optimizers.max_norm(radius))


def test_an_infinite_number_and_a_zero_stay_what_they_are():
    recipe = Recipe(optimizer=wide_balls, sampling=batches.full)
    free, _ = fit(recipe=recipe, hyper=Hyper({"learning_rate": 0.1, "radius": np.inf}, 0.0))
    plain, _ = fit(recipe=Recipe(sampling=batches.full), hyper=Hyper({"learning_rate": 0.1}, 0.0))
    np.testing.assert_allclose(free, plain, rtol=1e-6)
