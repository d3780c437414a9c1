"""The probe as functions: what they choose and fit is what scikit-learn chooses and fits."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from lincls import distances, knn, linear, probe, splits

RNG = np.random.default_rng(200)
N, D, C = 90, 6, 3
Y = np.arange(N) % C
X = (RNG.normal(size=(C, D))[Y] + 1.2 * RNG.normal(size=(N, D))).astype(np.float32)
folds = splits.stratified_folds(jax.random.key(201), Y, 3)
TEST = RNG.normal(size=(40, D)).astype(np.float32)
REGS = [1e-3, 1e-1, 1e-2]


def standardised(rows):
    return (rows - X.mean(axis=0)) / np.sqrt(((X - X.mean(axis=0)) ** 2).mean())


def logistic(rows, labels, reg):
    model = LogisticRegression(C=1 / (2 * len(rows) * reg), tol=1e-8, max_iter=5000)
    return model.fit(standardised(rows), labels)


def test_the_strength_and_the_fit_are_scikit_learns():
    found = probe.fit_linear(X, Y, folds, regs=REGS, tol=1e-5)
    expected = np.array([
        [logistic(X[folds != f], Y[folds != f], reg)
         .score(standardised(X[folds == f]), Y[folds == f]) for f in range(3)]
        for reg in REGS
    ])  # fmt: skip
    np.testing.assert_allclose(found.accuracies, expected)
    means = expected.mean(axis=1)
    assert found.reg == max(np.array(REGS)[means == means.max()])
    assert found.at_edge == (found.reg != 1e-2)
    assert 0 <= found.gap <= 1e-5
    model = logistic(X, Y, found.reg)
    np.testing.assert_allclose(
        linear.probabilities(found.params, TEST), model.predict_proba(standardised(TEST)), atol=2e-3
    )


def test_weight_0_leaves_an_example_out_of_the_fit_and_of_the_judgement():
    weight = np.ones(N)
    weight[::7] = 0
    there = weight > 0
    found = probe.fit_linear(X, Y, folds, regs=REGS, weight=weight, tol=1e-6)
    alone = probe.fit_linear(X[there], Y[there], folds[there], regs=REGS, tol=1e-6)
    np.testing.assert_allclose(found.accuracies, alone.accuracies)
    assert found.reg == alone.reg
    np.testing.assert_allclose(found.params.W, alone.params.W, rtol=0.01, atol=2e-3)


def test_the_k_is_that_of_scikit_learns_neighbours():
    ks = [1, 3, 9, 15]
    found = probe.fit_knn(X, Y, folds, ks, distances.l2)
    expected = np.array([
        [KNeighborsClassifier(k).fit(X[folds != f], Y[folds != f])
         .score(X[folds == f], Y[folds == f]) for f in range(3)]
        for k in ks
    ])  # fmt: skip
    np.testing.assert_allclose(found.accuracies, expected)
    assert found.k == ks[int(expected.mean(axis=1).argmax())]
    said = KNeighborsClassifier(found.k).fit(X, Y).predict(TEST)
    assert knn.predict(found.model, TEST, found.k).tolist() == said.tolist()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"regs": [0.0, 1.0]}, "reg"),
        ({"y": Y[:-1]}, "y"),
        ({"folds": np.zeros(N, int)}, "folds"),
        ({"X": X * np.nan}, "X"),
        ({"weight": -np.ones(N)}, "weight"),
        ({"loss": "softmax"}, "loss"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, named):
    with pytest.raises((TypeError, ValueError), match=named):
        probe.fit_linear(**{"X": X, "y": Y, "folds": folds} | change)
