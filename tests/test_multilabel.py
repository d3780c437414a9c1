"""Several labels a row: fits are scikit-learn's, and the bounds hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lincls import certificate, distances, linear, multilabel, optimum, splits
from lincls.multilabel import bounds, solver
from lincls.optimum import rows as scopes
from lincls.preprocessing import fit as affine_of
from lincls.preprocessing import identity
from lincls.structs import LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(220)
N, D, C = 80, 5, 4
X = (RNG.normal(size=(N, D)) @ RNG.normal(size=(D, D))).astype(np.float32)
Y = X @ RNG.normal(size=(D, C)) + 2 * RNG.normal(size=(N, C)) > [0, 1, 2, 3]
TEST = RNG.normal(size=(30, D)).astype(np.float32)
FOLDS = splits.stratified_folds(jax.random.key(221), multilabel.rarest(Y), 3)
REGS = np.array([1e-3, 1e-1, 1e-2])


def standardised(rows):
    return (rows - X.mean(axis=0)) / np.sqrt(((X - X.mean(axis=0)) ** 2).mean())


def logistic(rows, labels, reg):
    return LogisticRegression(C=1 / (2 * len(rows) * reg), tol=1e-9, max_iter=5000).fit(
        rows, labels
    )


def mean_ap(scores, labels):
    both = labels.any(axis=0) & ~labels.all(axis=0)
    each = sklearn.metrics.average_precision_score
    return np.mean([each(labels[:, c], scores[:, c]) for c in np.flatnonzero(both)])


# --- the optimum -------------------------------------------------------------------------------


def test_each_class_and_strength_comes_to_scikit_learns_optimum():
    found = multilabel.optima(X, Y, regs=REGS, affine=affine_of(X), tol=1e-6)
    rows = standardised(X).astype(np.float64)
    for g, reg in enumerate(REGS):
        for c in range(C):
            model = logistic(rows, Y[:, c], reg)
            np.testing.assert_allclose(found.params.W[g, c], model.coef_[0], atol=3e-3)
            loss = sklearn.metrics.log_loss(Y[:, c], model.predict_proba(rows)[:, 1])
            least = loss + reg * np.square(model.coef_).sum()
            assert least - 1e-7 <= found.loss[g, c] <= least + found.gap[g, c] + 1e-7
    assert found.converged.all()
    assert (found.gap <= 1e-6 * found.loss).all()


def test_two_classes_at_twice_the_strength_are_the_same_problem():
    found = multilabel.optima(X, Y, regs=[0.01], tol=1e-5)
    for c in range(C):
        two = optimum.optimum(X, Y[:, c].astype(int), reg=0.02, tol=1e-6)
        np.testing.assert_allclose(found.loss[0, c], two.loss, rtol=2e-5)
        np.testing.assert_allclose(
            found.params.W[0, c], two.params.W[1] - two.params.W[0], atol=0.01
        )


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
def test_the_gap_bounds_parameters_that_are_far_from_the_optimum(steps):
    """The bound less the objective is a dual value, so no objective is below it."""
    weight = np.where(np.arange(N) % 5, 1.0, 2.0)
    least = multilabel.optima(X, Y, regs=[1e-2], weight=weight, tol=1e-6).loss
    found = multilabel.optima(X, Y, regs=[1e-2], weight=weight, tol=0.0, max_steps=steps)
    assert (found.loss - found.gap <= least + 1e-9).all()
    for c in range(C):
        w = found.params.W[0, c].astype(np.float64)
        halves = LinearParams(np.stack([-w, w]) / 2, np.zeros(2))
        gap = certificate.duality_gap(halves, X, Y[:, c].astype(int), reg=2e-2, weight=weight)
        assert found.gap[0, c] >= found.loss[0, c] - gap.primal - 1e-9


def test_the_bound_is_that_of_w_whatever_its_bias():
    best = multilabel.optima(X, Y, regs=[1e-2], tol=1e-6)
    least = best.loss[0]
    for scale in (0.95, 1.0, 1.02):
        W = scale * best.params.W[0]
        given = X, identity(D), Y, np.full(N, 1 / N), W
        duals = [np.subtract(*bounds.objective_and_gap(*given, np.full(C, b), 1e-2))
                 for b in (-2.0, 0.0, 1.5)]  # fmt: skip
        np.testing.assert_allclose(duals, np.broadcast_to(duals[0], (3, C)), atol=1e-6)
        assert (duals[0] > 0).all()  # which would hide a difference
        assert (duals[0] <= least + 1e-9).all()


@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_probabilities_that_are_not_balanced_are_mended_exactly(shift, monkeypatch):
    monkeypatch.setattr(bounds, "_best_move", lambda scores, share, v: np.zeros(C))
    v, scores = RNG.random(N), RNG.normal(size=(N, C)) + shift
    v /= v.sum()
    with scopes.precision(np.dtype(np.float64)):
        given = map(jnp.asarray, (scores, v @ Y, v))
        q, rest = map(np.asarray, bounds._balanced(*given))
    np.testing.assert_allclose(v @ q, v @ Y, rtol=1e-12)
    np.testing.assert_allclose(q + rest, 1, rtol=1e-12)
    assert (q >= 0).all()
    assert (rest >= 0).all()


def test_weight_0_leaves_out_and_weight_2_counts_twice():
    weight = RNG.integers(0, 3, N)
    found = multilabel.optima(X, Y, regs=[1e-2], weight=weight, tol=1e-6)
    rows = np.repeat(np.arange(N), weight)
    alone = multilabel.optima(X[rows], Y[rows], regs=[1e-2], tol=1e-6)
    np.testing.assert_allclose(found.loss, alone.loss, rtol=1e-5)
    np.testing.assert_allclose(found.params.W, alone.params.W, atol=5e-3)


def test_a_class_that_all_or_none_have_is_certain_and_moves_no_other():
    more = np.column_stack([Y, np.zeros(N), np.ones(N)])
    found = multilabel.optima(X, more, regs=[1e-2], tol=1e-5)
    np.testing.assert_array_equal(found.params.W[0, C:], 0)
    assert found.params.b[0, C:].tolist() == [-solver.CERTAIN, solver.CERTAIN]
    assert found.converged.all()
    alone = multilabel.optima(X, Y, regs=[1e-2], tol=1e-5)
    np.testing.assert_allclose(found.params.W[0, :C], alone.params.W[0], atol=2e-3)


def test_fewer_rows_than_features_and_groups_of_classes_change_nothing(limited):
    rows = RNG.normal(size=(20, 50)).astype(np.float32)
    labels = RNG.random((20, 5)) < 0.5
    whole = multilabel.optima(rows, labels, regs=[0.1], tol=1e-5)
    for c in range(5):
        model = logistic(rows, labels[:, c], 0.1)
        np.testing.assert_allclose(whole.params.W[0, c], model.coef_[0], atol=2e-3)
    limited(device_bytes=2 * 4 * 16 * 20)  # two classes at a time, and rows of 4000 bytes
    assert len(list(solver._groups(20, 5))) == 3
    cut = multilabel.optima(rows[:, :20], labels, regs=[0.1], tol=1e-5)
    limited(device_bytes=2**30)
    uncut = multilabel.optima(rows[:, :20], labels, regs=[0.1], tol=1e-5)
    np.testing.assert_allclose(cut.params.W, uncut.params.W, atol=1e-4)
    limited(device_bytes=100)
    with pytest.raises(ValueError, match=r"X of shape \(20, 50\) has no room"):
        multilabel.optima(rows, labels, regs=[0.1])


# --- the probes --------------------------------------------------------------------------------


def test_the_strength_and_the_fit_are_scikit_learns():
    found = multilabel.fit_linear(X, Y, FOLDS, regs=REGS, tol=1e-6)
    rows = standardised(X)
    expected = np.array([
        [mean_ap(np.stack([logistic(rows[f != FOLDS], Y[f != FOLDS, c], reg)
                           .decision_function(rows[f == FOLDS]) for c in range(C)], axis=1),
                 Y[f == FOLDS]) for f in range(3)]
        for reg in REGS
    ])  # fmt: skip
    np.testing.assert_allclose(found.mean_ap, expected, atol=2e-3)
    assert found.reg == REGS[expected.mean(axis=1).argmax()]
    assert 0 <= found.gap <= 1e-6
    assert found.judges.shape == (3, C)
    assert found.judges.all()
    assert found.at_edge == (found.reg != 1e-2)
    said = np.stack([logistic(rows, Y[:, c], found.reg).predict_proba(standardised(TEST))[:, 1]
                     for c in range(C)], axis=1)  # fmt: skip
    np.testing.assert_allclose(multilabel.probabilities(found.params, TEST), said, atol=2e-3)


def test_scaled_by_feature_each_fold_has_a_scale_of_its_own():
    skewed = X * [1, 10, 0.1, 1, 3]
    found = multilabel.fit_linear(skewed.astype(np.float32), Y, FOLDS, regs=[0.01],
                                  per_feature=True, tol=1e-6)  # fmt: skip
    for f in range(3):
        scale = StandardScaler().fit(skewed[f != FOLDS])
        fitted, judged = (scale.transform(skewed[there]) for there in (f != FOLDS, f == FOLDS))
        scores = [
            logistic(fitted, Y[f != FOLDS, c], 0.01).decision_function(judged) for c in range(C)
        ]
        expected = mean_ap(np.stack(scores, axis=1), Y[f == FOLDS])
        assert found.mean_ap[0, f] == pytest.approx(expected, abs=2e-3)


def shares(rows, labels, queries, k):
    nearest = cdist(queries, rows).argsort(axis=1, kind="stable")[:, :k]
    return labels[nearest].mean(axis=1)


def test_the_k_and_the_shares_are_those_of_brute_force():
    ks = [5, 1, 12]
    found = multilabel.fit_knn(X, Y, FOLDS, ks, distances.l2)
    expected = np.array([
        [mean_ap(shares(X[f != FOLDS], Y[f != FOLDS], X[f == FOLDS], k), Y[f == FOLDS])
         for f in range(3)] for k in ks
    ])  # fmt: skip
    np.testing.assert_allclose(found.mean_ap, expected)
    assert found.k == ks[expected.mean(axis=1).argmax()]
    np.testing.assert_allclose(multilabel.shares(found, TEST), shares(X, Y, TEST, found.k))
    assert found.at_edge == (found.k != 5)


def test_neighbours_of_features_scaled_one_by_one():
    found = multilabel.fit_knn(X, Y, FOLDS, [3], distances.l2, per_feature=True)
    scale = StandardScaler().fit(X)
    expected = shares(scale.transform(X), Y, scale.transform(TEST), 3)
    np.testing.assert_allclose(multilabel.shares(found, TEST), expected)


def test_a_validation_part_is_one_fold_of_others():
    folds = np.where(np.arange(N) % 4, -1, 0)
    part = folds == 0
    found = multilabel.fit_knn(X, Y, folds, [1, 7], distances.l2)
    expected = [mean_ap(shares(X[~part], Y[~part], X[part], k), Y[part]) for k in (1, 7)]
    np.testing.assert_allclose(found.mean_ap[:, 0], expected)
    assert multilabel.fit_linear(X, Y, folds, regs=REGS).mean_ap.shape == (3, 1)


def test_a_class_without_both_answers_in_a_fold_does_not_judge_there():
    sparse = Y.copy()
    sparse[:, 1] = False
    sparse[np.flatnonzero(FOLDS == 0)[:3], 1] = True
    found = multilabel.fit_knn(X, sparse, FOLDS, [3])
    assert found.judges[:, 1].tolist() == [True, False, False]
    linear_found = multilabel.fit_linear(X, sparse, FOLDS, regs=[0.01])
    np.testing.assert_array_equal(linear_found.judges, found.judges)
    assert np.isfinite(linear_found.mean_ap).all()
    with pytest.raises(ValueError, match="Y has no class that some examples of fold 1 have"):
        multilabel.fit_linear(X, (FOLDS == 0)[:, None] & Y, FOLDS)


def test_the_rarest_class_of_each_row():
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    assert multilabel.rarest(labels).tolist() == [1, 0, 3, 2]


def test_scores_above_0_are_probabilities_above_one_half():
    params = linear.init(jax.random.key(222), D, C, 1.0)
    said = multilabel.probabilities(params, TEST) > 0.5
    np.testing.assert_array_equal(said, np.asarray(linear.scores(params, TEST)) > 0)
