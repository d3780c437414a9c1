"""The same five lines in scikit-learn and here: seconds, first and again, and accuracy.

    python -m experiments.bench.estimators            digits
    python -m experiments.bench.estimators mnist      or another data set

The first call compiles; the second is what a search pays for every further fit of that shape.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from experiments.lab import options
from lincls import data
from lincls.estimators import KNNClassifier, LinearProbeCV, SoftmaxClassifier, SVMClassifier

Make = Callable[[], Any]
REGS = np.geomspace(1e-4, 1, 9)


def pairs(num_examples: int) -> dict[str, tuple[Make, Make]]:
    """What is done, and who does it here and there."""
    Cs = 1 / (2 * num_examples * REGS)
    return {
        "kNN, k = 5, L2": (
            lambda: KNNClassifier(5),
            lambda: KNeighborsClassifier(5, algorithm="brute"),
        ),
        "kNN, k = 5, L1": (
            lambda: KNNClassifier(5, metric="l1"),
            lambda: KNeighborsClassifier(5, algorithm="brute", metric="manhattan"),
        ),
        "logistic regression": (
            lambda: SoftmaxClassifier(C=0.01),
            lambda: LogisticRegression(C=0.01, max_iter=2000),
        ),
        "linear SVM, squared hinge": (
            lambda: SVMClassifier(C=0.01),
            lambda: LinearSVC(C=0.01, max_iter=2000),
        ),
        "9 strengths on 5 folds": (
            lambda: LinearProbeCV(regs=REGS, cv=5),
            lambda: LogisticRegressionCV(
                Cs=Cs, cv=5, max_iter=200, l1_ratios=(0,), use_legacy_attributes=False,
                scoring="accuracy",
            ),
        ),
    }  # fmt: skip


def measure(make: Make, train: Any, test: Any) -> tuple[float, float, float]:
    """Seconds of the first and of the second fit with its predictions, and the accuracy."""
    seconds, accuracy = [], 0.0
    for _ in range(2):
        began = time.perf_counter()
        accuracy = make().fit(*train).score(*test)
        seconds.append(time.perf_counter() - began)
    return seconds[0], seconds[1], accuracy


def main(words: Sequence[str] | None = None) -> int:
    """Print the table for one data set."""
    parser = options.Parser(prog="python -m experiments.bench.estimators", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("dataset", nargs="?", default="digits", help="a name or a path")
    with parser.refusing():
        dataset = data.load(parser.parse_args(words).dataset)
    train, test = ((data.rows(part.images), part.labels) for part in (dataset.train, dataset.test))
    print(f"{dataset.name}: seconds of the first and second fit and prediction, test accuracy")
    print(f"{'':26} {'lincls':>24} {'scikit-learn':>24}")
    for name, makers in pairs(len(train[0])).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that end before their optimum
            found = [measure(make, train, test) for make in makers]
        cells = [f"{a:7.2f} {b:7.2f} {100 * share:6.1f} %" for a, b, share in found]
        print(f"{name:26} {cells[0]:>24} {cells[1]:>24}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
