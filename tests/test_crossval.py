from functools import partial

import jax
import numpy as np
import pytest
import sklearn.linear_model
import sklearn.neighbors

from lincls import (
    batches,
    crossval,
    distances,
    linear,
    losses,
    optimizers,
    penalties,
    placement,
    preprocessing,
    splits,
    training,
)
from lincls.objective import Objective
from lincls.structs import Hyper
from lincls.training import Recipe

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(70)
CENTRES = RNG.integers(60, 200, (3, 8))
Y = RNG.integers(0, 3, 90).astype(np.int32)
X = np.clip(CENTRES[Y] + RNG.normal(scale=45, size=(90, 8)), 0, 255).astype(np.uint8)
FOLDS = splits.shuffled_folds(jax.random.key(71), 90, 5)
KS = [1, 3, 4, 10, 60]


@pytest.mark.parametrize(("metric", "p"), [(distances.l1, 1), (distances.l2, 2)], ids=["l1", "l2"])
def test_knn_is_a_search_in_every_fold(metric, p):
    got = crossval.knn_accuracies(X, Y, FOLDS, KS, metric)
    for row, k in zip(got, KS, strict=True):
        for fold in range(5):
            out = fold == FOLDS
            # sklearn's vote ties go to the smaller label too; its distance ties do not matter
            # for odd luck here: the data have been drawn without equal distances at rank k
            model = sklearn.neighbors.KNeighborsClassifier(k, p=p, algorithm="brute")
            model.fit(X[~out].astype(float), Y[~out])
            assert row[fold] == pytest.approx(model.score(X[out].astype(float), Y[out]))


def test_knn_takes_any_score_fn():
    right = crossval.knn_accuracies(X, Y, FOLDS, [3])
    wrong = crossval.knn_accuracies(
        X, Y, FOLDS, [3], score_fn=lambda predicted, labels: float((predicted != labels).sum())
    )
    sizes = np.bincount(FOLDS)
    np.testing.assert_allclose(wrong, (1 - right) * sizes)


def test_knn_refuses_more_neighbours_than_the_other_folds_hold():
    with pytest.raises(ValueError, match="at most 72"):
        crossval.knn_accuracies(X, Y, FOLDS, [73])


GRID = Hyper({"learning_rate": np.array([0.02, 0.2, 0.02])}, reg=np.array([0.0, 0.0, 1.0]))
SOFTMAX = Objective(losses.softmax, penalties.l2)
RECIPE = Recipe(SOFTMAX, optimizers.sgd)
FULL = Recipe(SOFTMAX, optimizers.sgd, batches.full)
AFFINE = preprocessing.fit(X)


def linear_folds(key, X, y, folds, hyper, recipe=RECIPE, **kw):
    how = {"num_steps": 50, "affine": AFFINE} | kw
    return crossval.linear(jax.random.key(key), X, y, folds, recipe, hyper, **how)


def test_linear_folds_by_weights_are_rows_removed():
    found = linear_folds(72, X, Y, FOLDS, GRID, FULL)
    got = found.accuracies
    assert got.shape == found.alive.shape == found.params.b.shape[:2] == (3, 5)
    assert found.affine == AFFINE
    start = linear.init(jax.random.key(72), 8, 3)
    for g in range(3):
        hyper = jax.tree.map(lambda leaf, g=g: leaf[g], GRID)
        for fold in range(5):
            out = fold == FOLDS
            state = training.start(jax.random.key(0), start, FULL, hyper)
            state, _ = training.fit(
                state, X[~out], Y[~out], FULL, hyper, affine=AFFINE, num_steps=50
            )
            predicted = linear.predict(linear.on_pixels(state.params, AFFINE), X[out])
            np.testing.assert_allclose(found.params.W[g, fold], state.params.W, atol=1e-5)
            assert got[g, fold] == pytest.approx(np.mean(np.asarray(predicted) == Y[out]))


def test_linear_takes_any_score_fn_and_scalars():
    single = jax.tree.map(lambda leaf: leaf[1], GRID)
    default = linear_folds(73, X, Y, FOLDS, single).accuracies

    def share(scores, labels):
        assert scores.shape == (len(labels), 3)
        return np.mean(scores.argmax(axis=1) == labels)

    own = linear_folds(73, X, Y, FOLDS, single, score_fn=share).accuracies
    assert default.shape == (1, 5)
    np.testing.assert_allclose(own, default, atol=1e-6)


def test_example_weights_are_rows_repeated_or_removed():
    weight = RNG.integers(0, 3, 90)
    rows = np.repeat(np.arange(90), weight)
    weighted = linear_folds(75, X, Y, FOLDS, GRID, FULL, weight=weight).accuracies
    repeated = linear_folds(75, X[rows], Y[rows], FOLDS[rows], GRID, FULL).accuracies
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)
    default = linear_folds(75, X, Y, FOLDS, GRID, FULL).accuracies
    assert (weighted != default).any()


def test_one_fold_of_spared_examples_is_a_validation_part():
    part = np.where(FOLDS == 2, 0, -1)
    one = linear_folds(75, X, Y, part, GRID, FULL)
    assert one.accuracies.shape == (3, 1)
    whole = linear_folds(75, X, Y, FOLDS, GRID, FULL)
    np.testing.assert_allclose(one.accuracies[:, 0], whole.accuracies[:, 2], atol=1e-6)


def test_without_an_affine_there_is_none():
    raw = linear_folds(75, X, Y, FOLDS, GRID, FULL, affine=None)
    identity = linear_folds(75, X, Y, FOLDS, GRID, FULL, affine=preprocessing.identity(8))
    assert raw.accuracies.tolist() == identity.accuracies.tolist()
    assert raw.affine.scale == 1
    assert not raw.affine.shift.any()


def right_scores(scores, labels):
    return float(scores[np.arange(len(labels)), labels].sum())


def test_dropout_is_that_of_training_with_one_mask_for_all():
    recipe = Recipe(SOFTMAX, batch_size=16)
    dropped = GRID._replace(dropout=0.6)
    got = linear_folds(72, X, Y, FOLDS, dropped, recipe, score_fn=right_scores).accuracies
    start = linear.init(jax.random.key(72), 8, 3)
    hyper = jax.tree.map(lambda leaf: leaf[1], GRID)._replace(dropout=0.6)
    for fold in (0, 3):
        state = training.start(jax.random.key(72), start, recipe, hyper)
        state, _ = training.fit(
            state, X, Y, recipe, hyper, num_steps=50, affine=AFFINE,
            weight=np.float32(fold != FOLDS),
        )  # fmt: skip
        out = fold == FOLDS
        scores = linear.scores(linear.on_pixels(state.params, AFFINE), X[out])
        assert got[1, fold] == pytest.approx(right_scores(np.asarray(scores), Y[out]), rel=1e-4)


@pytest.mark.parametrize("score_fn", [None, right_scores])
def test_a_large_file_is_never_on_the_device_whole(score_fn, tmp_path, monkeypatch):
    recipe = Recipe(SOFTMAX, batch_size=16)
    kw = {"score_fn": score_fn, "weight": RNG.integers(0, 3, 90)}
    expected = linear_folds(76, X, Y, FOLDS, GRID, recipe, **kw).accuracies
    in_file = np.memmap(tmp_path / "X", np.uint8, "w+", shape=X.shape)
    in_file[:] = X
    met, read = [], placement.read

    def watch(*arguments):
        found = read(*arguments)
        met.append(found.X.shape)
        return found

    monkeypatch.setattr(placement, "read", watch)
    with placement.limited(device_bytes=0, piece_bytes=8 * 16 * 2):  # 2 batches
        found = linear_folds(
            76, in_file, Y, FOLDS, GRID, recipe, **kw,
            on_chunk=lambda *_: met.extend(one.shape for one in jax.live_arrays()),
        ).accuracies  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (32, 8) in met
    assert X.shape not in met


@pytest.mark.parametrize(("score_fn", "lost"), [(None, 0), (lambda scores, labels: 1.0, -np.inf)])
def test_a_training_that_diverged_is_not_to_be_chosen(score_fn, lost):
    recipe = Recipe(Objective(losses.squared_hinge, penalties.l2))
    hyper = Hyper({"learning_rate": np.array([1e30, 0.02])}, 0.0)
    found = linear_folds(72, X, Y, FOLDS, hyper, recipe, num_steps=30, score_fn=score_fn)
    assert np.all(found.accuracies[0] == lost)
    assert np.all(found.accuracies[1] > 0)
    assert found.alive.tolist() == [[False] * 5, [True] * 5]


@pytest.mark.parametrize(
    "score_fn", [None, lambda scores, y: float((scores.argmax(1) == y).mean())]
)
@pytest.mark.parametrize("dropout", [None, 0.5, np.linspace(0, 0.6, 5)], ids=["none", "one", "5"])
def test_settings_without_room_are_trained_in_groups_and_give_the_same(
    dropout, score_fn, monkeypatch
):
    recipe = Recipe(Objective(losses.softmax), optimizers.sgd, batch_size=16)
    hyper = Hyper({"learning_rate": np.geomspace(1e-4, 1e-2, 5)}, reg=0.01, dropout=dropout)
    affine = preprocessing.fit(X)

    def folded():
        return crossval.linear(
            jax.random.key(4), X, Y, FOLDS, recipe, hyper, num_steps=30, affine=affine,
            score_fn=score_fn,
        )  # fmt: skip

    whole = folded()
    left = 2 * 2 * 12 * 5 * 3 * (8 + 1) * 4  # twice what two settings of five folds hold, 12 W
    monkeypatch.setattr(placement, "available", lambda devices=1: left)
    with pytest.warns(UserWarning, match="the 5 settings are trained in 3 groups"):
        found = folded()
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    jax.tree.map(close, found.params, whole.params)
    np.testing.assert_array_equal(found.alive, whole.alive)
    np.testing.assert_array_equal(found.accuracies, whole.accuracies)
    assert found.params.W.shape == (5, 5, 3, 8)


def test_a_fold_without_any_weight_is_refused():
    with pytest.raises(ValueError, match="all examples in fold 2"):
        linear_folds(0, X, Y, FOLDS, GRID, weight=1.0 * (FOLDS != 2))
    with pytest.raises(ValueError, match="shape"):
        linear_folds(0, X, Y, FOLDS, GRID, weight=np.ones((3, 90)))


def test_choose_the_best_and_the_simplest_within_one_standard_error():
    accuracies = np.array([[0.70, 0.72, 0.74], [0.78, 0.80, 0.82], [0.79, 0.81, 0.83]])
    choice = crossval.choose(accuracies)
    np.testing.assert_allclose(choice.mean, [0.72, 0.80, 0.81])
    np.testing.assert_allclose(choice.deviation, 0.02)
    assert (choice.best, choice.one_standard_error) == (2, 1)
    assert crossval.choose(accuracies, complexity=[2, 1, 0]).one_standard_error == 2


def test_of_equal_means_the_simplest_is_best():
    equal = np.full((3, 4), 0.5)
    assert crossval.choose(equal).best == 0
    assert crossval.choose(equal, complexity=[3, 1, 2]).best == 1


def test_rounding_breaks_no_tie():
    rows = np.random.default_rng(75).integers(0, 21, (300, 5)) / 20
    for row in rows:
        assert crossval.choose(np.stack([row, row[[3, 1, 4, 0, 2]]])).best == 0


def test_choose_refuses_one_fold():
    with pytest.raises(ValueError, match="folds"):
        crossval.choose(np.ones((3, 1)))


@pytest.mark.parametrize("folds", [np.arange(1, 5).repeat(10), np.zeros(40, int)])
def test_folds_with_gaps_are_refused(folds):
    X, y = np.ones((40, 3), np.uint8), np.arange(40) % 2
    with pytest.raises(ValueError, match=r"0\.\.F-1"):
        crossval.knn_accuracies(X, y, folds, [1])
    with pytest.raises(ValueError, match=r"0\.\.F-1"):
        linear_folds(0, X, y, folds, GRID, affine=None)


def test_nan_is_never_chosen():
    with pytest.raises(ValueError, match="NaN"):
        crossval.choose(np.array([[np.nan, 0.5], [0.9, 0.95]]))


def test_a_list_is_a_grid():
    rates, regs = [0.1, 0.2, 0.3], [0.0, 0.1, 0.2]
    listed, arrays = (
        linear_folds(
            74, X, Y, FOLDS, Hyper({"learning_rate": make(rates)}, make(regs)), FULL
        ).accuracies
        for make in (list, np.array)
    )  # fmt: skip
    assert listed.tolist() == arrays.tolist()
