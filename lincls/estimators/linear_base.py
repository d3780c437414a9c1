"""What the linear estimators share: losses and solvers, and scores in scikit-learn's shapes."""

import warnings
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

from lincls import linear, losses, optimum
from lincls.estimators import doors
from lincls.estimators.doors import Labelled
from lincls.optimum import Optimum
from lincls.structs import LinearParams

LOSSES = {
    "softmax": losses.softmax,
    "hinge": losses.hinge,
    "squared_hinge": losses.squared_hinge,
    "crammer_singer": losses.crammer_singer_hinge,
}
_SMOOTH = ("softmax", "squared_hinge")  # `optimum` needs a gradient in the scores everywhere


def loss_fn(name: Any, known: Any = tuple(LOSSES)) -> Any:
    """The loss of a name (ValueError)."""
    return LOSSES[doors.choice_of(name, known, "loss")]


def chosen_solver(
    solver: Any, loss: str, *, penalised: bool = True, smooth_penalty: bool = True
) -> str:
    """ "optimum" or "sgd"; "auto" is the first where the objective is smooth (ValueError)."""
    smooth = loss in _SMOOTH and penalised
    doors.choice_of(solver, ("auto", "optimum", "sgd"), "solver")
    if solver == "optimum" and not smooth:
        raise ValueError('solver "optimum" needs a smooth loss and reg above 0; use "sgd"')
    if solver == "auto":
        return "optimum" if smooth and smooth_penalty else "sgd"
    return solver


def of_rows(data: Labelled) -> dict[str, Any]:
    """The number of classes, and float64 where the rows are."""
    dtype = np.float64 if data.X.dtype == np.float64 else None
    return {"num_classes": len(data.classes), "dtype": dtype}


def solved(data: Labelled, weight: np.ndarray | None, **how: Any) -> Optimum:
    """`optimum.optimum` of all rows; a warning if it ended before."""
    found = optimum.optimum(data.X, data.y, weight=weight, **of_rows(data) | how)
    if not found.converged:
        warnings.warn(
            f"the solver ended after {found.num_steps} steps at a duality gap of {found.gap:.2g}, "
            f"with an objective of {found.loss:.4g}; a larger max_iter, tol or reg, or float64 "
            "rows, may help",
            ConvergenceWarning,
            stacklevel=4,  # who called fit
        )
    return found


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
