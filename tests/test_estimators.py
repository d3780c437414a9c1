"""The estimators give the bits of the functions below them, and scikit-learn's tools take them."""

import pickle

import jax
import jax.numpy as jnp
import joblib
import numpy as np
import pandas as pd
import pytest
from shares import further
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from experiments.bench import estimators as bench
from lincls import (
    certificate,
    crossval,
    data,
    distances,
    knn,
    linear,
    losses,
    optimum,
    penalties,
    preprocessing,
    probe,
    quick,
    splits,
)
from lincls.estimators import KNNClassifier, LinearProbeCV, SoftmaxClassifier, SVMClassifier
from lincls.structs import LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")
DIGITS = data.load("digits")
N = 120
ALL, LABELS = DIGITS.train.images.reshape(-1, 64), DIGITS.train.labels
FEW = np.flatnonzero(LABELS < 3)[:N]
X, Y = ALL[FEW], LABELS[FEW]  # three classes, one shape: few programs
WIDE = X.astype(np.float64)
NAMES = np.array(["zero", "one", "two"])[Y]
TEST = DIGITS.test.images.reshape(-1, 64)[:50]
WEIGHT = np.random.default_rng(140).integers(1, 4, N).astype(np.float64)
KEY = jax.random.key(3)


def same_bits(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


# --- the same bits as the functions --------------------------------------------------------------


@pytest.mark.parametrize("metric", [further("l1"), "l2", further("cosine")])
def test_knn_has_the_bits_of_knn(metric):
    model = knn.fit(X, Y, metric=getattr(distances, metric))
    found = knn.neighbors(model, TEST, 5)
    fitted = KNNClassifier(5, metric=metric).fit(X, Y)
    same_bits(fitted.predict(TEST), knn.predict(model, TEST, 5))
    same_bits(fitted.predict_proba(TEST), knn.probabilities(model, found))
    lengths, indices = fitted.kneighbors(TEST)
    same_bits(indices, found.indices)
    same_bits(lengths, np.sqrt(found.distances) if metric == "l2" else found.distances)
    same_bits(fitted.kneighbors(n_neighbors=2)[1], knn.neighbors(model, None, 2).indices)


@pytest.mark.parametrize("rows", [further(X), WIDE], ids=["uint8", "float64"])
def test_optimum_has_the_bits_of_optimum(rows):
    affine, dtype = preprocessing.fit(rows, WEIGHT), np.float64 if rows is WIDE else np.float32
    how = {"reg": 0.01, "weight": WEIGHT, "affine": affine}
    best = optimum.optimum(rows, Y, dtype=dtype, tol=1e-5, **how)
    expected = linear.on_pixels(best.params, affine)
    fitted = SoftmaxClassifier(reg=0.01).fit(rows, NAMES, WEIGHT)
    order = np.unique(["zero", "one", "two"], return_inverse=True)[1]
    alphabetical = SoftmaxClassifier(reg=0.01).fit(rows, Y, WEIGHT)
    same_bits(alphabetical.params_, expected)
    assert alphabetical.gap_ == best.gap
    assert best.gap >= certificate.duality_gap(best.params, rows, Y, **how).size - 1e-9
    assert fitted.classes_.tolist() == ["one", "two", "zero"]
    np.testing.assert_allclose(fitted.params_.W[order], expected.W, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize(
    ("estimator", "how"),
    [
        (SoftmaxClassifier(solver="sgd", reg=0.01, random_state=3), {}),
        (SVMClassifier(loss="hinge", reg=0.01, random_state=3), {"loss": losses.hinge}),
        further(
            SoftmaxClassifier(penalty="elasticnet", beta=0.5, reg=0.01, random_state=3),
            {"penalty": penalties.elastic_net, "beta": 0.5},
        ),
    ],
    ids=["softmax", "hinge", "elastic net"],
)
def test_sgd_has_the_bits_of_quick(estimator, how):
    expected = quick.fit(KEY, X, Y, weight=WEIGHT, reg=0.01, num_epochs=20, **how)
    fitted = clone(estimator).fit(X, Y, WEIGHT)
    same_bits(fitted.params_, expected)
    assert (fitted.solver_, fitted.n_iter_) == ("sgd", 2000)
    same_bits(fitted.decision_function(TEST), linear.scores(expected, TEST))
    same_bits(fitted.predict(TEST), linear.predict(expected, TEST))
    if isinstance(estimator, SoftmaxClassifier):
        same_bits(fitted.predict_proba(TEST), linear.probabilities(expected, TEST))


@pytest.mark.parametrize("kind", [np.array, tuple, jnp.array])
def test_strengths_of_the_probe_may_be_an_array_and_its_splits_too(kind):
    half = np.arange(len(X)) % 2 == 0
    pairs = [(np.flatnonzero(part), np.flatnonzero(~part)) for part in (half, ~half)]
    fitted = LinearProbeCV(regs=kind([0.1, 0.001]), cv=np.array(pairs)).fit(X, Y)
    expected = LinearProbeCV(regs=[0.1, 0.001], cv=pairs).fit(X, Y)
    np.testing.assert_allclose(fitted.regs_, [0.1, 0.001], rtol=1e-6)
    np.testing.assert_allclose(fitted.scores_, expected.scores_)


@pytest.mark.slow
def test_the_probe_has_the_bits_of_crossval_and_quick():
    regs = [0.001, 0.1, 3.0]
    folds = splits.stratified_folds(KEY, Y, 3)
    how = quick.choose(X, preprocessing.fit(X), 3, reg=regs)
    found = crossval.linear(
        KEY, X, Y, folds, how.recipe, how.hyper, num_steps=how.num_steps,
        affine=preprocessing.fit(X), params=linear.init(KEY, 64, 3),
    )  # fmt: skip
    fitted = LinearProbeCV(regs=regs, cv=3, solver="sgd", random_state=3).fit(X, Y)
    same_bits(fitted.scores_, found.accuracies)
    best = crossval.choose(found.accuracies, complexity=-np.array(regs)).best
    assert fitted.reg_ == regs[best]
    same_bits(fitted.params_, quick.fit(KEY, X, Y, reg=regs[best], num_epochs=20))


# --- the same answers as scikit-learn ------------------------------------------------------------


@pytest.mark.parametrize("weights", [further("uniform"), "distance"])
def test_knn_is_scikit_learns(weights):
    rows, queries = WIDE + np.random.default_rng(141).normal(size=X.shape), TEST + 0.5
    ours, theirs = (
        kind(5, weights=weights).fit(rows, NAMES) for kind in (KNNClassifier, KNeighborsClassifier)
    )
    assert ours.predict(queries).tolist() == theirs.predict(queries).tolist()
    np.testing.assert_allclose(
        ours.predict_proba(queries), theirs.predict_proba(queries), rtol=1e-6
    )
    for one, other in zip(ours.kneighbors(queries), theirs.kneighbors(queries), strict=True):
        np.testing.assert_allclose(one, other)
    for mode in ("connectivity", "distance"):
        one, other = (e.kneighbors_graph(queries, 3, mode).toarray() for e in (ours, theirs))
        np.testing.assert_allclose(one, other)
        one, other = (e.kneighbors_graph(mode=mode).toarray() for e in (ours, theirs))
        np.testing.assert_allclose(one, other)


def test_a_function_may_weigh_the_votes():
    kinds = (KNNClassifier, KNeighborsClassifier)
    weigh = lambda lengths: np.exp(-lengths / 10)  # noqa: E731
    ours, theirs = (kind(5, weights=weigh).fit(WIDE, Y) for kind in kinds)
    queries = TEST.astype(np.float64)
    np.testing.assert_allclose(
        ours.predict_proba(queries), theirs.predict_proba(queries), rtol=1e-6
    )


@pytest.mark.parametrize("num_classes", [3, further(2)])
def test_C_is_that_of_logistic_regression(num_classes):
    keep = np.less(Y, num_classes)
    rows, y, weight = WIDE[keep] / 3, Y[keep], WEIGHT[keep]
    ours = SoftmaxClassifier(
        C=0.05, tol=1e-13, class_weight="balanced", certify=num_classes == 3
    ).fit(rows, y, weight)
    theirs = LogisticRegression(
        C=0.05, solver="newton-cholesky", tol=1e-10, class_weight="balanced"
    ).fit(rows, y, weight)
    assert num_classes == 2 or ours.gap_ < 1e-12
    np.testing.assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows), atol=2e-6)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-6)


def test_sgd_comes_near_the_weighted_optimum_of_logistic_regression():
    ours = SoftmaxClassifier(C=0.001, solver="sgd").fit(X, Y, WEIGHT)
    theirs = LogisticRegression(C=0.001, solver="newton-cholesky").fit(WIDE, Y, WEIGHT)
    unweighted = LogisticRegression(C=0.001, solver="newton-cholesky").fit(WIDE, Y)
    shares = ours.predict_proba(X)
    assert np.abs(shares - theirs.predict_proba(WIDE)).max() < 0.005
    assert np.abs(shares - unweighted.predict_proba(WIDE)).max() > 0.02


def test_the_bench_measures_both_sides():
    for makers in bench.pairs(N).values():
        assert len({type(make()) for make in makers}) == 2
    for make in bench.pairs(N)["kNN, k = 5, L2"]:
        first, again, accuracy = bench.measure(make, (X, Y), (X[:20], Y[:20]))
        assert first > 0
        assert again > 0
        assert accuracy > 0.9


def test_l1_is_that_of_logistic_regression_with_its_zeros():
    rows = (WIDE - WIDE.mean(axis=0)) / WIDE.std()
    ours = SoftmaxClassifier(penalty="l1", C=0.1).fit(rows, Y)
    theirs = LogisticRegression(C=0.1, l1_ratio=1, solver="saga", tol=1e-7, max_iter=5000)
    theirs.fit(rows, Y)

    def objective(model):
        return log_loss(Y, model.predict_proba(rows)) + np.abs(model.coef_).sum() / (0.1 * N)

    assert objective(ours) == pytest.approx(objective(theirs), rel=2e-3)
    assert np.mean((ours.coef_ == 0) == (theirs.coef_ == 0)) > 0.9


def test_class_weights_are_weights():
    """Repeated rows themselves are among scikit-learn's checks."""
    repeated = np.repeat(Y, WEIGHT.astype(int))
    factors = splits.balanced_weights(repeated)
    by_class = {c: float(factors[repeated == c][0]) for c in range(3)}
    how = {"reg": 0.1, "tol": 1e-9, "certify": False}
    balanced, by_hand, by_weight = (
        SoftmaxClassifier(class_weight=given, **how).fit(WIDE, Y, weight).coef_
        for given, weight in (
            ("balanced", WEIGHT),
            (by_class, WEIGHT),
            (None, WEIGHT * np.array([by_class[c] for c in Y.tolist()])),
        )
    )
    np.testing.assert_allclose(balanced, by_hand, atol=1e-6)
    np.testing.assert_allclose(balanced, by_weight, atol=1e-6)


# --- scikit-learn's tools ------------------------------------------------------------------------


def test_pipelines_searches_and_scores_take_them():
    pipeline = make_pipeline(PCA(8, random_state=0), KNNClassifier())
    search = GridSearchCV(
        pipeline,
        {"knnclassifier__n_neighbors": [1, 3], "knnclassifier__metric": ["l1", "l2"]},
        cv=3,
    )
    assert search.fit(WIDE, NAMES).best_score_ > 0.95
    assert search.predict(WIDE[:3]).tolist() == NAMES[:3].tolist()
    cv = StratifiedKFold(3)
    scores = cross_val_score(KNNClassifier(1), X, NAMES, cv=cv)
    folds = np.empty(N, int)
    for fold, (_, held_out) in enumerate(cv.split(X, Y)):
        folds[held_out] = fold
    np.testing.assert_array_equal(scores, crossval.knn_accuracies(X, Y, folds, [1])[0])


def test_the_probe_takes_the_splits_of_scikit_learn():
    cv = StratifiedKFold(3)
    folds = np.empty(N, int)
    for fold, (_, held_out) in enumerate(cv.split(X, Y)):
        folds[held_out] = fold
    how = {"regs": [0.001, 0.1, 3.0], "solver": "sgd", "random_state": 3}
    probe = LinearProbeCV(cv=cv, choice="one_standard_error", **how).fit(X, Y, WEIGHT)
    chosen = quick.choose(X, preprocessing.fit(X, WEIGHT), 3, reg=how["regs"])
    found = crossval.linear(
        KEY, X, Y, folds, chosen.recipe, chosen.hyper, num_steps=chosen.num_steps,
        weight=WEIGHT, affine=preprocessing.fit(X, WEIGHT), params=linear.init(KEY, 64, 3),
    )  # fmt: skip
    np.testing.assert_array_equal(probe.scores_, found.accuracies)
    choice = crossval.choose(found.accuracies, complexity=-np.array(how["regs"]))
    assert probe.reg_ == how["regs"][choice.one_standard_error]
    by_sgd = quick.fit(KEY, X, Y, reg=probe.reg_, weight=WEIGHT, num_epochs=20)
    same_bits(probe.params_, by_sgd)


def test_the_probe_chooses_among_the_optima_of_its_folds():
    regs = [0.001, 0.1, 3.0]
    folds = splits.stratified_folds(KEY, Y, 3)
    expected = probe.fit_linear(WIDE, Y, folds, regs=regs, tol=1e-5)
    fitted = LinearProbeCV(regs=regs, cv=3, random_state=3).fit(WIDE, Y)
    assert fitted.solver_ == "optimum"
    np.testing.assert_allclose(fitted.scores_, expected.accuracies)
    assert fitted.reg_ == expected.reg
    np.testing.assert_allclose(fitted.params_.W, expected.params.W, rtol=0.02, atol=1e-3)


def test_an_svm_is_calibrated():
    model = CalibratedClassifierCV(SVMClassifier(loss="hinge", reg=0.01), cv=2).fit(X, NAMES)
    shares = model.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert np.mean(model.predict(X) == NAMES) > 0.95


@pytest.mark.parametrize(
    "estimator",
    [
        KNNClassifier(3, metric=distances.cosine),
        SoftmaxClassifier(solver="sgd"),
        LinearProbeCV(regs=[0.001, 0.1, 3.0], cv=3, solver="sgd"),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_copies_and_files_predict_the_same(estimator, tmp_path):
    fitted = clone(estimator).fit(X, NAMES)
    assert clone(fitted).get_params() == estimator.get_params()
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    for copy in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "fitted.joblib")):
        assert copy.predict(TEST).tolist() == fitted.predict(TEST).tolist()


def test_frames_keep_the_names_of_their_columns():
    frame = pd.DataFrame(WIDE, columns=[f"pixel {i}" for i in range(64)])
    fitted = KNNClassifier(3).fit(frame, pd.Series(NAMES))
    assert fitted.feature_names_in_.tolist() == list(frame.columns)
    assert (
        fitted.predict(frame[:3]).tolist()
        == KNNClassifier(3).fit(WIDE, NAMES).predict(WIDE[:3]).tolist()
    )
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[frame.columns[::-1]])


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (KNNClassifier(metric="l3"), "metric must be one of l1, .*got 'l3'"),
        (SoftmaxClassifier(reg=0.1, C=1.0), "give reg or C, not both"),
        (SoftmaxClassifier(penalty="l3"), "penalty must be one of"),
        (SoftmaxClassifier(penalty="elasticnet", C=1.0), "give reg and beta"),
        (SoftmaxClassifier(penalty="l1", solver="optimum", reg=0), "smooth loss and reg above 0"),
        (SoftmaxClassifier(solver="adam"), "solver must be one of auto"),
        (SVMClassifier(loss="hinge", solver="optimum"), "smooth loss"),
        (SVMClassifier(loss="softmax"), "loss must be one of"),
        (SoftmaxClassifier(reg=-1.0), "reg must be at least 0"),
        (LinearProbeCV(choice="worst"), "choice must be one of best"),
        (LinearProbeCV(regs=[0.0]), "regs must be"),
        (LinearProbeCV(cv=[(np.arange(9), np.arange(0))]), "split without any weight"),
        (LinearProbeCV(loss="l2"), "loss must be one of softmax, hinge"),
        (LinearProbeCV(loss="hinge", solver="optimum"), "needs a smooth loss"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_fit(estimator, message):
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X, Y)


def test_questions_that_do_not_fit_are_refused():
    fitted = KNNClassifier(3).fit(X[:5], Y[:5])
    with pytest.raises(ValueError, match="n_neighbors must be at least 1 and at most 5, got 6"):
        fitted.kneighbors(X, 6)
    with pytest.raises(ValueError, match="n_neighbors must be at least 1 and at most 4, got 5"):
        fitted.kneighbors(None, 5)
    with pytest.raises(ValueError, match="mode must be"):
        fitted.kneighbors_graph(X, mode="path")
    with pytest.raises(ValueError, match="weights must be"):
        fitted.set_params(weights="rank").predict(X)
    with pytest.raises(TypeError, match="both as uint8"):
        fitted.kneighbors(WIDE)


def test_an_end_before_the_optimum_is_a_warning():
    with pytest.warns(ConvergenceWarning, match="ended after 3 steps at a duality gap"):
        SoftmaxClassifier(max_iter=3, reg=1e-6, certify=False).fit(X, Y)


def test_params_are_plain_numpy():
    fitted = SoftmaxClassifier(solver="sgd").fit(X, Y)
    assert isinstance(fitted.params_, LinearParams)
    assert all(type(leaf) is np.ndarray for leaf in fitted.params_)
