"""scikit-learn's own checks of its conventions, all of them, with no failure expected."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from lincls.estimators import KNNClassifier, LinearProbeCV, SoftmaxClassifier, SVMClassifier

pytestmark = pytest.mark.usefixtures("quick_compiles")


@parametrize_with_checks(
    [
        KNNClassifier(),
        SoftmaxClassifier(certify=False, tol=1e-12),
        SVMClassifier(tol=1e-12),
        LinearProbeCV(regs=3, cv=3, max_iter=30, tol=1e-12),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)
