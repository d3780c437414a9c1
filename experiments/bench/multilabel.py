"""Many classes, several a row: all optima in one program, and scikit-learn class by class.

    python -m experiments.bench.multilabel

Seconds for a path of 22 strengths, and the worst relative gap: how far an objective is above the
greatest lower bound that is known, as a share of it.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from experiments.lab import options
from lincls import multilabel, preprocessing

REGS = np.array(multilabel.REGS)
_TIGHT = 1e-5  # relative gap of the reference


def made(num_rows: int, num_features: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features whose axes differ in length 50 times, and classes of 2 to 40 % of the rows."""
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(num_features, num_features)) * np.geomspace(1, 0.02, num_features)
    X = (rng.normal(size=(num_rows, num_features)) @ basis).astype(np.float32)
    scores = X @ rng.normal(size=(num_features, num_classes))
    scores = scores / scores.std(axis=0) + 0.5 * rng.logistic(size=scores.shape)
    shares = np.geomspace(0.02, 0.4, num_classes)
    least = [np.quantile(one, 1 - share) for one, share in zip(scores.T, shares, strict=True)]
    return X, scores > least


def theirs(rows: np.ndarray, Y: np.ndarray, tol: float, least: np.ndarray) -> tuple[float, float]:
    """Seconds of scikit-learn on both cores, and its worst gap."""
    seconds, worst = 0.0, 0.0
    for reg, bound in zip(REGS, least, strict=True):
        began = time.perf_counter()
        each = LogisticRegression(C=1 / (2 * len(rows) * reg), tol=tol, max_iter=5000)
        found = OneVsRestClassifier(each, n_jobs=2).fit(rows, Y)
        seconds += time.perf_counter() - began
        W = np.stack([one.coef_[0] for one in found.estimators_])
        scores = rows @ W.T + [one.intercept_[0] for one in found.estimators_]
        loss = np.logaddexp(0, np.where(Y, -scores, scores)).mean(axis=0)
        loss = loss + reg * np.square(W).sum(axis=1)
        worst = max(worst, float(((loss - bound) / loss).max()))
    return seconds, worst


def main(words: Sequence[str] | None = None) -> int:
    """Print the rows of the table."""
    parser = options.Parser(prog="python -m experiments.bench.multilabel", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    sizes = {"rows": 5000, "features": 256, "classes": 20}
    for name, usual in sizes.items():
        parser.add_argument(f"--{name}", type=options.whole(2), default=usual, metavar="N")
    asked = parser.parse_args(words)
    X, Y = made(asked.rows, asked.features, asked.classes)
    affine = preprocessing.fit(X)
    for call in ("first call", "second call"):
        began = time.perf_counter()
        found = multilabel.optima(X, Y, regs=REGS, affine=affine)
        seconds, gap = time.perf_counter() - began, (found.gap / found.loss).max()
        print(f"| here, {call} | {seconds:.1f} | {gap:.0e} |", flush=True)
    tight = multilabel.optima(X, Y, regs=REGS, affine=affine, tol=_TIGHT, max_steps=2000)
    rows = (X.astype(np.float64) - affine.shift) * affine.scale
    for tol in (1e-4, 3e-5):
        seconds, gap = theirs(rows, Y, tol, tight.loss - tight.gap)
        print(f"| `OneVsRestClassifier(LogisticRegression(tol={tol:g}))` | {seconds:.1f} "
              f"| {gap:.0e} |", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
