"""A linear or a kNN probe of features with several labels a row, chosen by mAP on folds."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lincls import (
    checks,
    crossval,
    distances,
    evaluation,
    knn,
    linear,
    precision,
    preprocessing,
    splits,
)
from lincls.knn import KNN
from lincls.multilabel import solver
from lincls.probe import REGS, at_edge
from lincls.structs import Affine, AnyArray, LinearParams


class LinearProbe(NamedTuple):
    """A linear classifier of C answers, at the strength that folds chose for all of them."""

    params: LinearParams  # W (C, D), b (C,), acting on the features as given
    reg: float  # the chosen strength, for features of average variance 1
    gap: float  # the objective of each class is above its minimum by at most this share of it
    regs: np.ndarray  # (G,) tried
    mean_ap: np.ndarray  # (G, F) in 0..1, over the classes that judge
    judges: np.ndarray  # (F, C) bool: whether both answers occur among the held-out examples
    at_edge: bool  # whether the first or the last strength was chosen


class KNNProbe(NamedTuple):
    """A kNN classifier of C answers, with the k that folds chose for all of them."""

    model: KNN  # of all examples, without labels
    Y: np.ndarray  # (N, C) bool, theirs
    affine: Affine | None  # preprocessing of the queries
    k: int
    ks: np.ndarray  # (G,) tried
    mean_ap: np.ndarray  # (G, F) in 0..1, over the classes that judge
    judges: np.ndarray  # (F, C) bool: whether both answers occur among the held-out examples
    at_edge: bool  # whether the least or the greatest k was chosen


def rarest(Y: AnyArray) -> np.ndarray:
    """The rarest class of each row, to draw stratified folds by; C for a row without any.

    Args:
        Y: (N, C) of 0 and 1.

    Returns:
        (N,) int; of classes that are equally rare the smaller.

    Raises:
        TypeError, ValueError: Y of another kind.
    """
    Y = checks.label_matrix(Y, "Y")
    order = np.argsort(Y.sum(axis=0), kind="stable")
    return np.where(Y.any(axis=1), order[Y[:, order].argmax(axis=1)], Y.shape[1])


def fit_linear(
    X: AnyArray,
    Y: AnyArray,
    folds: AnyArray,
    *,
    regs: Any = REGS,
    per_feature: bool = False,
    tol: float = 1e-3,
) -> LinearProbe:
    """Choose the L2 strength by mAP on folds; of equal ones the strongest.

    In each fold every strength goes to the optimum of binary cross-entropy in each class, from
    the strongest on, and so does the last fit to all examples.

    Args:
        X: features (N, D), floating or uint8.
        Y: (N, C) of 0 and 1; a row may have none, one or several classes.
        folds: (N,) fold numbers 0..F-1 of `splits`; an example of fold -1 is never held out, so
            one fold of others is a validation part.
        regs: the strengths, greater than 0, for features of average variance 1.
        per_feature: False, features minus their mean row over one scale; True, each feature by its
            own deviation, fitted inside each fold.
        tol: the relative duality gap at which an optimum is near enough.

    Returns:
        LinearProbe.  `judges` says which classes each fold's mAP is the mean of.

    Raises:
        TypeError, ValueError: an argument of another kind, by name; a fold in which no class has
            both answers.
    """
    checks.on_host("multilabel.fit_linear", "call it outside", X, Y, folds, regs)
    rows, Y, held = _checked(X, Y, folds)
    regs, tol = solver.strengths(regs), checks.number(tol, "tol", least=0)
    rows = np.asarray(precision.working(rows))
    judges, laid, found = _judges(Y, held), None, []
    for part in held:
        fitted = (~part).astype(np.float64)
        laid = _laid(rows, fitted, per_feature, laid)
        path = solver.path(laid, Y, fitted, regs, tol)
        scores = np.asarray(linear.scores(linear.on_pixels(path.params, laid.affine), rows[part]))
        found.append([_mean_ap(of_reg, Y[part]) for of_reg in scores])
    mean_ap = np.array(found).T
    best = crossval.simplest_best(mean_ap, -regs)
    everyone = np.ones(len(rows))
    laid = _laid(rows, everyone, per_feature, laid)
    last = solver.path(laid, Y, everyone, regs[best : best + 1], tol)
    params = jax.tree.map(lambda leaf: leaf[0], last.params)
    varied = Y.any(axis=0) & ~Y.all(axis=0)
    return LinearProbe(
        LinearParams(*linear.on_pixels(params, laid.affine)), float(regs[best]),
        float((last.gap / last.loss)[0, varied].max()), regs, mean_ap, judges,
        at_edge(regs, best),
    )  # fmt: skip


def fit_knn(
    X: AnyArray,
    Y: AnyArray,
    folds: AnyArray,
    ks: Sequence[int],
    metric: distances.Metric = distances.cosine,
    *,
    per_feature: bool = False,
) -> KNNProbe:
    """Choose k by mAP on folds; of equal ones the smallest.

    The score of a class is its share among the k nearest.  One search a fold serves every k.

    Args:
        X, Y, folds: as for `fit_linear`.
        ks: numbers of neighbours.
        metric: a value of `distances`.
        per_feature: whether each feature is minus its mean and over its deviation, fitted inside
            each fold.

    Returns:
        KNNProbe, whose model remembers all examples.

    Raises:
        TypeError, ValueError: as `fit_linear`; a k that is more than the examples outside a fold.
    """
    checks.on_host("multilabel.fit_knn", "call it outside", X, Y, folds)
    rows, Y, held = _checked(X, Y, folds)
    ks = checks.counts(ks, "ks", high=len(rows) - int(held.sum(axis=1).max()))
    judges, found = _judges(Y, held), []
    for part in held:
        model, affine = _remembered(rows[~part], metric, per_feature)
        near = knn.neighbors(model, _moved(rows[part], affine), max(ks))
        each_k = _shares_by_k(np.asarray(near.indices), Y[~part], ks)
        judged = {k: _mean_ap(of_k, Y[part]) for k, of_k in each_k}
        found.append([judged[k] for k in ks])
    mean_ap, tried = np.array(found).T, np.array(ks)
    best = crossval.simplest_best(mean_ap, tried)
    model, affine = _remembered(rows, metric, per_feature)
    return KNNProbe(
        model, Y, affine, int(tried[best]), tried, mean_ap, judges, at_edge(tried, best)
    )


def shares(found: KNNProbe, X: AnyArray) -> np.ndarray:
    """The share of the k nearest training examples that have each class, (M, C) float32.

    Args:
        found: of `fit_knn`.
        X: features (M, D) in the units of the training examples.

    Raises:
        TypeError, ValueError: no KNNProbe, X of another kind or width.
    """
    checks.kind(found, KNNProbe, "found", "multilabel.fit_knn(X, Y, folds, [1, 5])")
    X = checks.finite(checks.rows(X, num_features=found.model.X.shape[1]))
    near = knn.neighbors(found.model, _moved(np.asarray(X), found.affine), found.k)
    ((_, of_k),) = _shares_by_k(np.asarray(near.indices), found.Y, [found.k])
    return of_k


def probabilities(params: LinearParams, X: AnyArray) -> np.ndarray:
    """The probability 1 / (1 + e^-s) that a row has each class, (M, C).

    Args:
        params: W (C, D), b (C,), such as `LinearProbe.params`.
        X: features (M, D).

    Raises:
        TypeError, ValueError: as `linear.scores`.
    """
    return np.asarray(jax.nn.sigmoid(linear.scores(params, X)))


def _checked(
    X: AnyArray, Y: AnyArray, folds: AnyArray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels (N, C) bool, and which examples each fold holds out (F, N) bool."""
    X = checks.finite(checks.rows(X))
    Y = checks.label_matrix(Y, "Y", len(X))
    folds = checks.folds(checks.within(folds, "folds", -1, len(X)), len(X), spared=True)
    if not (folds >= 0).any():
        raise ValueError("folds must hold some examples out, got -1 for all of them")
    return np.asarray(X), Y, splits.train_weights(folds) == 0


def _judges(Y: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Which classes have both answers among the examples of each fold (F, C) (ValueError)."""
    found = np.array([Y[part].any(axis=0) & ~Y[part].all(axis=0) for part in held])
    if (empty := ~found.any(axis=1)).any():
        raise ValueError(
            f"Y has no class that some examples of fold {int(empty.argmax())} have and others do "
            "not; use fewer folds, or draw them with multilabel.rarest(Y)"
        )
    return found


def _mean_ap(scores: np.ndarray, Y: np.ndarray) -> float:
    return float(np.nanmean(evaluation.per_class_average_precision(scores, Y)))


def _laid(
    X: np.ndarray, fitted: np.ndarray, per_feature: bool, before: solver.Rows | None
) -> solver.Rows:
    """The rows of a training.  With one scale they are those of every training."""
    if before is not None and not per_feature:
        return before
    affine = preprocessing.fit(X, fitted if per_feature else None, per_feature=per_feature)
    return solver.lay(X, affine)


def _remembered(
    X: np.ndarray, metric: distances.Metric, per_feature: bool
) -> tuple[KNN, Affine | None]:
    affine = preprocessing.fit(X, per_feature=True) if per_feature else None
    return knn.fit(_moved(X, affine), metric=metric), affine


def _moved(X: np.ndarray, affine: Affine | None) -> np.ndarray:
    return X if affine is None else np.asarray(preprocessing.apply(affine, X))


def _shares_by_k(
    indices: np.ndarray, Y: np.ndarray, ks: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Each k with its shares (M, C), the least first: a running count over the neighbours."""
    counts = np.zeros((len(indices), Y.shape[1]), np.int32)
    for k in range(1, max(ks) + 1):
        counts += Y[indices[:, k - 1]]
        if k in ks:
            yield k, (counts / k).astype(np.float32)
