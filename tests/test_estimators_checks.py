"""scikit-learn's own checks of its conventions, all of them, with no failure expected.

A linear estimator compiles a program for each of the many shapes of rows in these checks.  The
checks that fit most shapes run with `LINCLS_WHOLE=1 -m slow`, and the rest runs always.
"""

import os

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from lincls.estimators import KNNClassifier, LinearProbeCV, SoftmaxClassifier, SVMClassifier

pytestmark = [
    pytest.mark.usefixtures("quick_compiles"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
LINEAR = [
    SoftmaxClassifier(certify=False, tol=1e-20),
    SVMClassifier(tol=1e-12),
    LinearProbeCV(regs=3, cv=3, max_iter=30, tol=1e-12),
]
QUICK = {
    "check_all_zero_sample_weights_error", "check_classifiers_one_label",
    "check_classifiers_one_label_sample_weights", "check_classifiers_regression_target",
    "check_complex_data", "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_repr", "check_estimator_sparse_array", "check_estimator_sparse_matrix",
    "check_estimator_tags_renamed", "check_estimators_empty_data_messages",
    "check_estimators_unfitted", "check_fit1d", "check_fit2d_1sample",
    "check_get_params_invariance", "check_mixin_order", "check_no_attributes_set_in_init",
    "check_parameters_default_constructible", "check_requires_y_none", "check_set_params",
    "check_supervised_y_no_nan", "check_valid_tag_types",
}  # fmt: skip


@parametrize_with_checks([KNNClassifier()])
def test_all_checks_of_knn(estimator, check):
    check(estimator)


@pytest.mark.skipif(not os.environ.get("LINCLS_WHOLE"), reason="minutes; LINCLS_WHOLE=1 runs it")
@pytest.mark.slow
@parametrize_with_checks(LINEAR)
def test_all_checks_of_the_linear_estimators(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", LINEAR, ids=lambda estimator: type(estimator).__name__)
def test_the_checks_that_compile_little(estimator):
    found = {}
    for given, check in estimator_checks_generator(estimator):
        found[check.func.__name__] = check
        if check.func.__name__ in QUICK:
            check(given)
    assert found.keys() >= QUICK


@pytest.mark.slow
def test_a_weight_is_a_repeated_row():
    estimator = LINEAR[0]
    checks = {check.func.__name__: check for _, check in estimator_checks_generator(estimator)}
    checks["check_sample_weight_equivalence_on_dense_data"](estimator)
