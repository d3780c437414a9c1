"""The two linear classifiers of the lecture in scikit-learn's form."""

from typing import Any

import jax
import numpy as np

from lincls import checks, linear, penalties, preprocessing, quick
from lincls.estimators import doors, linear_base
from lincls.estimators.doors import Labelled
from lincls.estimators.linear_base import LinearScores
from lincls.structs import Affine, LinearParams

_PENALTIES = {"l2": penalties.l2, "l1": penalties.l1, "elasticnet": penalties.elastic_net}
_REG = 1e-3


class _LinearClassifier(LinearScores):
    """Fits `params_` by one of two solvers."""

    _losses: tuple[str, ...]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit rows (N, D) and classes (N,), numbers or text; `sample_weight` is (N,)."""
        linear_base.loss_fn(self.loss, self._losses)
        data = doors.labelled(self, X, y)
        weight = doors.weights(sample_weight, self.class_weight, data)
        self.classes_ = data.classes
        affine = preprocessing.fit(data.X, weight)
        self.reg_ = self._strength(data, weight, affine)
        self.solver_ = linear_base.chosen_solver(
            self.solver, self.loss, penalised=self.reg_ > 0,
            smooth_penalty=self._penalty_fn() is penalties.l2,
        )  # fmt: skip
        solve = self._by_optimum if self.solver_ == "optimum" else self._by_sgd
        self.params_ = jax.tree.map(np.asarray, solve(data, weight, affine))
        return self

    def _strength(self, data: Labelled, weight: np.ndarray | None, affine: Affine) -> float:
        """`reg`, or the one at which C gives scikit-learn's optimum on the rows as they are."""
        if self.C is None:
            return checks.number(_REG if self.reg is None else self.reg, "reg", least=0)
        if self.reg is not None:
            raise ValueError("give reg or C, not both; reg=None and C=1.0 is scikit-learn's form")
        total = len(data.y) if weight is None else float(weight.sum())
        # W acts on scaled rows, so W * scale is what scikit-learn's penalty sees.
        scale = float(affine.scale)
        strength = scale / (checks.number(self.C, "C", above=0) * total)
        if not np.float32(strength * scale) > 0:
            raise ValueError(f"C must not be so large that the strength is 0, got {self.C!r}")
        if self.penalty == "l1":
            return strength
        if self.penalty != "l2":
            raise ValueError('C goes with penalty "l2" or "l1"; give reg and beta instead')
        # scikit-learn's model of two classes has one row w, which is W_1 - W_0 = 2 W_1 here.
        return strength * scale / (1 if len(data.classes) == 2 else 2)

    def _by_optimum(
        self, data: Labelled, weight: np.ndarray | None, affine: Affine
    ) -> LinearParams:
        found = linear_base.solved(
            data, weight, reg=self.reg_, loss=linear_base.loss_fn(self.loss), affine=affine,
            penalty=self._penalty_fn(), beta=self.beta, tol=self.tol,
            max_steps=doors.steps(self.max_iter),
        )  # fmt: skip
        self.n_iter_, self.loss_ = found.num_steps, found.loss
        if getattr(self, "certify", True):
            self.gap_ = found.gap
        return linear.on_pixels(found.params, affine)

    def _by_sgd(self, data: Labelled, weight: np.ndarray | None, affine: Affine) -> LinearParams:
        X, num_classes = data.X, len(data.classes)
        how = {
            "loss": linear_base.loss_fn(self.loss),
            "penalty": self._penalty_fn(),
            "reg": self.reg_,
            "beta": self.beta,
            "num_epochs": self.num_epochs,
        }
        self.n_iter_ = quick.choose(X, affine, num_classes, **how).num_steps
        key = doors.key(self.random_state)
        return quick.fit(key, X, data.y, num_classes=num_classes, weight=weight, **how)

    def _penalty_fn(self) -> Any:
        return _PENALTIES[doors.choice_of(self.penalty, _PENALTIES, "penalty")]


class SoftmaxClassifier(_LinearClassifier):
    """Multinomial logistic regression: a linear classifier with the softmax loss.

    W minimises the weighted mean loss + reg * R(W).  The rows are standardised first, by the mean
    row and one scale, and `reg` is in those units.  With `C` instead, the optimum is that of
    scikit-learn's LogisticRegression(C=C) on the same rows: reg = 1 / (2 N C s**2), with N the sum
    of the weights and s the standard deviation of the average feature; 1 / (N C s**2) with two
    classes, and 1 / (N C s) for "l1".

    Args:
        penalty: R(W): "l2" is sum(W**2), "l1" is sum(|W|), "elasticnet" is
            sum(beta * W**2 + |W|).
        reg: strength of the penalty, default 1e-3.
        C: scikit-learn's inverse strength.  Give reg or C, not both.
        beta: of the elastic net.
        solver: "optimum", `optimum.optimum` on all rows, in float64 where the rows are; "sgd",
            `quick.fit`; or "auto", the first where the penalty is "l2" and reg above 0.
        class_weight: None, "balanced", or a dict of a weight for each class.
        certify: whether `gap_` is kept.
        tol, max_iter: "optimum" ends where the gap is at most this part of the objective, or after
            so many steps.
        num_epochs: passes of "sgd" over the rows.
        random_state: seed of "sgd".

    Attributes:
        classes_: (C,) the classes in sorted order.
        params_: LinearParams (C, D) that act on rows as given.
        coef_, intercept_: the same in scikit-learn's shapes.
        gap_: of "optimum": at most this much of the objective can still be gained, by duality.
        loss_: of "optimum": the objective.
        reg_, solver_, n_iter_: the strength, the solver and its number of steps.
        n_features_in_, feature_names_in_: D, and the columns of a frame.
    """

    def __init__(
        self,
        *,
        penalty: Any = "l2",
        reg: Any = None,
        C: Any = None,
        beta: Any = 1.0,
        solver: Any = "auto",
        class_weight: Any = None,
        certify: Any = True,
        tol: Any = 1e-5,
        max_iter: Any = 2000,
        num_epochs: Any = 20,
        random_state: Any = 0,
    ) -> None:
        self.penalty = penalty
        self.reg = reg
        self.C = C
        self.beta = beta
        self.solver = solver
        self.class_weight = class_weight
        self.certify = certify
        self.tol = tol
        self.max_iter = max_iter
        self.num_epochs = num_epochs
        self.random_state = random_state

    _losses = ("softmax",)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Softmax of the scores, (M, C)."""
        scores = self._scores(X)
        with jax.enable_x64(scores.dtype == np.float64):
            return np.asarray(jax.nn.softmax(scores, axis=1))

    @property
    def loss(self) -> str:
        """The loss of this classifier."""
        return "softmax"


class SVMClassifier(_LinearClassifier):
    """A linear classifier with a multiclass SVM loss.

    Objective, standardisation, `reg`, `C`, the solvers and the attributes are those of
    `SoftmaxClassifier`, but for probabilities (use CalibratedClassifierCV).

    Args:
        loss: "squared_hinge", "hinge", the lecture's sum over the wrong classes, or
            "crammer_singer", the worst class alone.  The last two have kinks, so they need "sgd".
        penalty, reg, C, beta, solver, class_weight, tol, max_iter, num_epochs, random_state: as
            of `SoftmaxClassifier`.
    """

    def __init__(
        self,
        *,
        loss: Any = "squared_hinge",
        penalty: Any = "l2",
        reg: Any = None,
        C: Any = None,
        beta: Any = 1.0,
        solver: Any = "auto",
        class_weight: Any = None,
        tol: Any = 1e-5,
        max_iter: Any = 2000,
        num_epochs: Any = 20,
        random_state: Any = 0,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.reg = reg
        self.C = C
        self.beta = beta
        self.solver = solver
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.num_epochs = num_epochs
        self.random_state = random_state

    _losses = ("squared_hinge", "hinge", "crammer_singer")
