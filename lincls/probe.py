"""A linear or a kNN probe of features: choose on folds, refit on everything, certify, predict.

    folds = splits.stratified_folds(jax.random.key(0), y, 5)
    found = probe.fit_linear(X, y, folds)             linear.predict(found.params, test_X)
    found = probe.fit_knn(X, y, folds, [1, 5, 20])    knn.predict(found.model, test_X, found.k)

What is chosen and what is refitted are one estimator: the optimum at a strength, or the k nearest.
Nothing here sees a test set.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lincls import (
    checks,
    crossval,
    distances,
    knn,
    linear,
    losses,
    optimum,
    passes,
    precision,
    preprocessing,
    splits,
)
from lincls.knn import KNN
from lincls.structs import AnyArray, Examples, LinearParams

REGS = tuple(np.geomspace(1e-6, 10, 22))
"""The strengths that are tried, for features of average variance 1: three a decade."""


class LinearProbe(NamedTuple):
    """A linear classifier at the strength that folds chose."""

    params: LinearParams  # W (C, D), b (C,), acting on the features as given
    reg: float  # the chosen strength, for features of average variance 1
    gap: float  # the objective is above its minimum by at most this share of it
    regs: np.ndarray  # (G,) tried
    accuracies: np.ndarray  # (G, F) in 0..1
    at_edge: bool  # whether the first or the last strength was chosen


class KNNProbe(NamedTuple):
    """A kNN classifier with the k that folds chose."""

    model: KNN
    k: int
    ks: np.ndarray  # (G,) tried
    accuracies: np.ndarray  # (G, F) in 0..1
    at_edge: bool  # whether the least or the greatest k was chosen


def fit_linear(
    X: AnyArray,
    y: AnyArray,
    folds: AnyArray,
    *,
    regs: Any = REGS,
    loss: Any = losses.softmax,
    weight: AnyArray | None = None,
    tol: float = 1e-3,
) -> LinearProbe:
    """Choose the L2 strength by accuracy on folds; of equal ones the strongest.

    The features are standardised by their mean row and one scale.  In each fold every strength goes
    to its optimum, from the strongest on, and so does the last fit to all examples.

    Args:
        X: features (N, D), floating or uint8.
        y: labels (N,).
        folds: (N,) fold numbers 0..F-1 of `splits`.
        regs: the strengths, greater than 0, for features of average variance 1.
        loss: `losses.softmax` or `losses.squared_hinge`.
        weight: (N,) how much each example counts, default all 1.
        tol: the relative duality gap at which an optimum is near enough.

    Returns:
        LinearProbe.

    Raises:
        TypeError, ValueError: an argument of another kind, by name; fewer than two folds.
    """
    checks.on_host("probe.fit_linear", "call it outside", X, y, folds, weight)
    X = checks.rows(X)
    y = np.asarray(checks.labels(y, len(X), name="y"))
    folds, weight = checks.folds(folds, len(X)), checks.example_weights(weight, len(X))
    regs = np.ravel(checks.floats(regs, "regs")).astype(np.float64)
    for reg in regs:
        checks.positive(reg)
    X = precision.working(X, weight=weight)
    affine = preprocessing.fit(X, weight)
    how = {"num_classes": int(y.max()) + 1, "loss": loss, "affine": affine, "tol": tol}
    accuracies = of_strengths(X, y, splits.parts(folds, weight), regs, **how)
    best = crossval.choose(accuracies, complexity=-regs).best
    last = optimum.optimum(X, y, reg=regs[best], weight=weight, **how)
    params = linear.on_pixels(last.params, affine)
    gap, edge = last.gap / last.loss, at_edge(regs, best)
    return LinearProbe(params, float(regs[best]), gap, regs, accuracies, edge)


def of_strengths(
    X: AnyArray, y: AnyArray, parts: splits.Parts, regs: np.ndarray, **how: Any
) -> np.ndarray:
    """The accuracy (G, F) of the optimum at each strength on what is held out of each training.

    Args:
        X, y: rows (N, D) and labels (N,) that passed a door.
        parts: weights of the trainings and of what is held out of them.
        regs: (G,) strengths.
        how: of `optimum.optimum`, such as num_classes, affine, loss and tol.
    """
    X, y, affine, found = np.asarray(X), np.asarray(y), how["affine"], []
    for fitted, held_out in zip(*map(np.asarray, parts), strict=True):
        path = optimum.optimum(X, y, reg=regs, weight=fitted, **how)
        there = held_out > 0
        judged = Examples(X[there], y[there], held_out[there])
        found.append(np.asarray(passes.accuracies(path.params, judged, affine)))
    return np.stack(found, axis=1)


def fit_knn(
    X: AnyArray,
    y: AnyArray,
    folds: AnyArray,
    ks: Sequence[int],
    metric: distances.Metric = distances.cosine,
) -> KNNProbe:
    """Choose k by accuracy on folds, all k from one search; of equal ones the smallest.

    Args:
        X: features (N, D), floating or uint8.
        y: labels (N,).
        folds: (N,) fold numbers 0..F-1 of `splits`.
        ks: numbers of neighbours.
        metric: a value of `distances`.

    Returns:
        KNNProbe, whose model remembers all examples.

    Raises:
        TypeError, ValueError: an argument of another kind, by name.
    """
    checks.on_host("probe.fit_knn", "call it outside", X, y, folds)
    accuracies = crossval.knn_accuracies(X, y, folds, ks, metric)
    tried = np.array(checks.counts(ks, "ks"))
    best = crossval.choose(accuracies, complexity=tried).best
    model = knn.fit(X, y, metric=metric)
    return KNNProbe(model, int(tried[best]), tried, accuracies, at_edge(tried, best))


def at_edge(tried: np.ndarray, best: int) -> bool:
    """Whether the best of several (G,) is the least or the greatest of them."""
    return len(tried) > 1 and bool(tried[best] in (tried.min(), tried.max()))
