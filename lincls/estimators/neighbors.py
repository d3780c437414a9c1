"""k nearest neighbours in scikit-learn's form."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from lincls import checks, distances, knn
from lincls.distances import Metric
from lincls.estimators import doors
from lincls.structs import Neighbors

_METRICS = {
    "l1": distances.l1,
    "manhattan": distances.l1,
    "l2": distances.l2,
    "euclidean": distances.l2,
    "cosine": distances.cosine,
}


class KNNClassifier(ClassifierMixin, BaseEstimator):
    """Exact k nearest neighbours, sorted by distance and then by training index.

    A tie of votes goes to the smaller label.  Rows of uint8 are compared as integers, so give
    training and test rows both as bytes or both as floats.

    Args:
        n_neighbors: k.
        metric: "l1" ("manhattan"), "l2" ("euclidean"), "cosine", or a value of
            `lincls.distances`, such as `distances.pointwise(fn)`.
        weights: "uniform"; "distance", where a vote counts 1 / distance; or a function of the
            distances (M, K) that returns the weights of the votes.

    Attributes:
        classes_: (C,) the classes in sorted order.
        model_: the `knn.KNN` of the rows and the numbers of their classes.
        n_features_in_, feature_names_in_: D, and the columns of a frame.
    """

    def __init__(
        self, n_neighbors: Any = 5, *, metric: Any = "l2", weights: Any = "uniform"
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights

    def fit(self, X: Any, y: Any) -> "KNNClassifier":
        """Remember rows (N, D) and their classes (N,), numbers or text."""
        metric = _metric(self.metric)
        _check_weights(self.weights)
        data = doors.labelled(self, X, y)
        self.classes_ = data.classes
        self.model_ = knn.fit(data.X, data.y, metric=metric, num_classes=len(data.classes))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The class that most of the nearest training rows have, (M,)."""
        found = self._neighbors(X, self.n_neighbors)
        labels = knn.neighbor_labels(self.model_, found)
        num_classes, weights = len(self.classes_), self._vote_weights(found)
        best = knn.predictions_by_k(labels, [labels.shape[1]], num_classes, weights)
        return self.classes_[np.asarray(best[0])]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The share of the votes that each class has, (M, C)."""
        found = self._neighbors(X, self.n_neighbors)
        return np.asarray(knn.probabilities(self.model_, found, self._vote_weights(found)))

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Distances and training indices (M, K) of the nearest rows, nearest first.

        Args:
            X: rows (M, D), or None for the training rows, each without itself.
            n_neighbors: K, by default that of the estimator.
            return_distance: False for the indices alone.  For "l2" the distance is the root of
                the sum of squares.
        """
        check_is_fitted(self)
        found = self._neighbors(X, self.n_neighbors if n_neighbors is None else n_neighbors)
        return (self._lengths(found), found.indices) if return_distance else found.indices

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> scipy.sparse.csr_matrix:
        """The neighbours as a sparse matrix (M, N) of ones, or of distances by mode="distance"."""
        if mode not in ("connectivity", "distance"):
            raise ValueError(f'mode must be "connectivity" or "distance", got {mode!r}')
        lengths, indices = self.kneighbors(X, n_neighbors)
        values = lengths if mode == "distance" else np.ones(indices.shape)
        starts = np.arange(0, indices.size + 1, indices.shape[1])
        shape = (len(indices), self.model_.X.shape[0])
        return scipy.sparse.csr_matrix((values.ravel(), indices.ravel(), starts), shape)

    def _neighbors(self, X: Any, k: Any) -> Neighbors:
        check_is_fitted(self)
        num_examples = self.model_.X.shape[0]
        if X is None:
            k = checks.count(k, "n_neighbors", high=num_examples - 1)
            return knn.neighbors(self.model_, None, k)
        X = doors.rows(self, X)
        return knn.neighbors(self.model_, X, checks.count(k, "n_neighbors", high=num_examples))

    def _lengths(self, found: Neighbors) -> np.ndarray:
        lengths = np.asarray(found.distances)
        return np.sqrt(lengths) if self.model_.metric.degree == 2 else lengths

    def _vote_weights(self, found: Neighbors) -> Any:
        if callable(self.weights):
            return self.weights(self._lengths(found))
        _check_weights(self.weights)  # again: set_params may have changed them
        if self.weights == "distance":
            return knn.inverse_distances(self.model_, found)
        return None


def _check_weights(weights: Any) -> None:
    if not callable(weights) and weights not in ("uniform", "distance", None):
        raise ValueError(f'weights must be "uniform", "distance" or a function, got {weights!r}')


def _metric(metric: Any) -> Metric:
    if isinstance(metric, str) and metric in _METRICS:
        return _METRICS[metric]
    if isinstance(metric, Metric):
        return metric
    raise ValueError(
        f"metric must be one of {', '.join(_METRICS)}, or a value of lincls.distances, "
        f"got {metric!r}"
    )
