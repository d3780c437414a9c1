"""Several labels a row: a linear and a kNN probe for matrices Y (N, C) of 0 and 1.

    folds = splits.stratified_folds(jax.random.key(0), multilabel.rarest(Y), 5)
    found = multilabel.fit_linear(X, Y, folds)           multilabel.probabilities(found.params, X)
    found = multilabel.fit_knn(X, Y, folds, [1, 5, 20])  multilabel.shares(found, X)

Each class is a question of its own, with the answer yes or no.  `optima` finds the best linear
answers to all of them in one program, with an upper bound on how far each is from its optimum.
"""

from lincls.multilabel.probes import (
    REGS,
    KNNProbe,
    LinearProbe,
    fit_knn,
    fit_linear,
    probabilities,
    rarest,
    shares,
)
from lincls.multilabel.solver import Optima, optima

__all__ = [
    "REGS",
    "KNNProbe",
    "LinearProbe",
    "Optima",
    "fit_knn",
    "fit_linear",
    "optima",
    "probabilities",
    "rarest",
    "shares",
]
