"""What the linear estimators share: scores, classes and weights in scikit-learn's shapes."""

from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from lincls import linear
from lincls.estimators import doors
from lincls.structs import LinearParams


class LinearScores(ClassifierMixin, BaseEstimator):
    """A classifier with `classes_` and `params_`, LinearParams that act on rows as given."""

    classes_: np.ndarray
    params_: LinearParams

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (M, C); with two classes, how far the second lies above the first (M,)."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The class of the greatest score (M,); of equal scores the first one."""
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    @property
    def coef_(self) -> np.ndarray:
        """(C, D), or (1, D) with two classes, as in scikit-learn; it acts on rows as given."""
        return _one_row_of_two(self.params_.W)

    @property
    def intercept_(self) -> np.ndarray:
        """(C,), or (1,) with two classes."""
        return _one_row_of_two(self.params_.b)

    def _scores(self, X: Any) -> np.ndarray:
        """`linear.scores`, of float64 rows in float64."""
        X = doors.rows(self, X)
        wide = X.dtype == np.float64
        with jax.enable_x64(bool(wide)):
            params = jax.tree.map(lambda p: p.astype(X.dtype) if wide else p, self.params_)
            return np.asarray(linear.scores(params, X))


def _one_row_of_two(rows: np.ndarray) -> np.ndarray:
    return rows[1:] - rows[:1] if len(rows) == 2 else rows
