"""A linear probe: the strength by cross-validation, and a fit to all rows at that strength."""

from typing import Any

import jax
import numpy as np
from sklearn.model_selection import check_cv

from lincls import (
    checks,
    crossval,
    linear,
    preprocessing,
    probe,
    quick,
    splits,
)
from lincls.estimators import doors, linear_base
from lincls.estimators.doors import Labelled
from lincls.estimators.linear_base import LinearScores
from lincls.quick import Chosen
from lincls.structs import Affine, LinearParams


class LinearProbeCV(LinearScores):
    """A linear classifier whose L2 strength is chosen by cross-validation.

    Then the classifier is fitted to all rows with the chosen strength.  The rows are standardised
    first, by the mean row and one scale.  With "optimum" each fold is a path of strengths, from the
    strongest on.  With "sgd" all strengths and folds train as one program.

    Args:
        regs: the strengths, or how many of them between 1e-6 and 1, a constant factor apart.
        cv: the number of stratified folds, or a splitter or splits of scikit-learn.
        loss: "softmax", "squared_hinge", "hinge" or "crammer_singer".
        solver: "optimum", L-BFGS on all rows; "sgd", as `quick.fit`; or "auto", the first for
            the two smooth losses.
        choice: "best", the greatest mean accuracy, or "one_standard_error", the greatest strength
            within one standard error of it.
        class_weight: None, "balanced", or a dict of a weight for each class.
        tol, max_iter: each optimum ends at this relative duality gap, or after so many steps.
        num_epochs: passes of "sgd" over the rows.
        random_state: seed of the folds and of "sgd".

    Attributes:
        classes_: (C,) the classes in sorted order.
        params_: LinearParams (C, D) that act on rows as given.
        coef_, intercept_: the same in scikit-learn's shapes.
        regs_, scores_: the strengths (G,) and the accuracy of each on each fold (G, F).
        reg_, solver_, n_iter_: the chosen strength, the solver and its number of steps.
        n_features_in_, feature_names_in_: D, and the columns of a frame.
    """

    def __init__(
        self,
        *,
        regs: Any = 13,
        cv: Any = 5,
        loss: Any = "softmax",
        solver: Any = "auto",
        choice: Any = "best",
        class_weight: Any = None,
        tol: Any = 1e-5,
        max_iter: Any = 200,
        num_epochs: Any = 20,
        random_state: Any = 0,
    ) -> None:
        self.regs = regs
        self.cv = cv
        self.loss = loss
        self.solver = solver
        self.choice = choice
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.num_epochs = num_epochs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearProbeCV":
        """Choose the strength and fit rows (N, D) and classes (N,); `sample_weight` is (N,)."""
        data = doors.labelled(self, X, y)
        weight = doors.weights(sample_weight, self.class_weight, data)
        doors.choice_of(self.choice, ("best", "one_standard_error"), "choice")
        linear_base.loss_fn(self.loss)
        self.solver_ = linear_base.chosen_solver(self.solver, self.loss)
        affine = preprocessing.fit(data.X, weight)
        self.classes_, self.regs_ = data.classes, _strengths(self.regs)
        self.scores_ = self._cross_validate(data, weight, affine)
        # A single split has no standard error; twice the same one has 0.
        scores = self.scores_ if self.scores_.shape[1] > 1 else np.tile(self.scores_, 2)
        choice = crossval.choose(scores, complexity=-self.regs_)
        self.reg_ = float(self.regs_[getattr(choice, self.choice)])
        solve = self._refit_optimum if self.solver_ == "optimum" else self._refit_sgd
        self.params_ = jax.tree.map(np.asarray, solve(data, weight, affine))
        return self

    def _cross_validate(
        self, data: Labelled, weight: np.ndarray | None, affine: Affine
    ) -> np.ndarray:
        """(G, F) accuracies of every strength."""
        key = doors.key(self.random_state)
        folds = self._folds(key, data, weight)
        if self.solver_ == "optimum":
            parts = folds if isinstance(folds, splits.Parts) else splits.parts(folds, weight)
            how = self._to_optimum(data, affine)
            return probe.of_strengths(data.X, data.y, parts, self.regs_, **how)
        chosen = self._by_sgd(data, affine)
        params = linear.init(key, data.X.shape[1], len(data.classes))
        return crossval.linear(
            key, data.X, data.y, folds, chosen.recipe, chosen.hyper, num_steps=chosen.num_steps,
            weight=weight, affine=affine, params=params,
        ).accuracies  # fmt: skip

    def _to_optimum(self, data: Labelled, affine: Affine) -> dict[str, Any]:
        """How the optimum is found, in the search and at the end."""
        return {
            **linear_base.of_rows(data), "loss": linear_base.loss_fn(self.loss),
            "affine": affine, "tol": self.tol, "max_steps": doors.steps(self.max_iter),
        }  # fmt: skip

    def _by_sgd(self, data: Labelled, affine: Affine) -> Chosen:
        loss = linear_base.loss_fn(self.loss)
        return quick.choose(data.X, affine, len(data.classes), loss=loss, reg=self.regs_,
                            num_epochs=self.num_epochs)  # fmt: skip

    def _folds(self, key: jax.Array, data: Labelled, weight: np.ndarray | None) -> Any:
        """Fold numbers (N,), or the weights of the splits of scikit-learn."""
        if doors.is_number(self.cv):
            cv = checks.count(self.cv, "cv", low=2, high=len(data.y))
            return splits.stratified_folds(key, data.y, cv)
        try:
            pairs = list(check_cv(self.cv, data.y, classifier=True).split(data.X, data.y))
            pairs = [(train, test) for train, test in pairs]
        except TypeError as error:
            raise TypeError(f"cv must be a number, a splitter or pairs of rows: {error}") from error
        counts = np.zeros((2, len(pairs), len(data.y)), np.float32)  # in training, held out
        for fold, pair in enumerate(pairs):
            for part, members in enumerate(pair):
                np.add.at(counts[part, fold], members, 1)
        parts = counts if weight is None else (counts * weight).astype(np.float32)
        if not parts.any(axis=2).all():
            raise ValueError("cv has a split without any weight to train or to judge on")
        return splits.Parts(*parts)

    def _refit_optimum(
        self, data: Labelled, weight: np.ndarray | None, affine: Affine
    ) -> LinearParams:
        how = self._to_optimum(data, affine)
        found = linear_base.solved(data, weight, reg=self.reg_, **how)
        self.n_iter_ = found.num_steps
        return linear.on_pixels(found.params, affine)

    def _refit_sgd(self, data: Labelled, weight: np.ndarray | None, affine: Affine) -> LinearParams:
        self.n_iter_ = self._by_sgd(data, affine).num_steps
        return quick.fit(
            doors.key(self.random_state), data.X, data.y, num_classes=len(data.classes),
            weight=weight, loss=linear_base.loss_fn(self.loss), reg=self.reg_,
            num_epochs=self.num_epochs,
        )  # fmt: skip


def _strengths(regs: Any) -> np.ndarray:
    if doors.is_number(regs):
        return np.geomspace(1e-6, 1, checks.count(regs, "regs"))
    return np.array([checks.number(reg, "regs", above=0) for reg in np.ravel(regs)])
