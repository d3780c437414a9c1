"""The experiment that tells the training's errors from the model's, beside scikit-learn."""

import jax
import numpy as np
import oracles
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from experiments import optimum
from experiments.lab import gate, tuning
from experiments.lab.record import Record
from experiments.report import optimum as optimum_report
from lincls import preprocessing, splits

pytestmark = pytest.mark.usefixtures("quick_compiles")


@pytest.fixture(scope="module")
def found():
    data, settings = gate.Data(gate.load("digits", "")), optimum.Settings(
        losses=("softmax",), epochs=4, max_train=300, tol=1e-6
    )  # fmt: skip
    outcome = optimum.compute(data, jax.random.key(3), settings)
    assert data.test_uses == []
    meta = {
        "numbers": outcome.numbers, "classifiers": [],
        "settings": {"losses": ["softmax"], "epochs": 4, "reg": settings.reg},
    }  # fmt: skip
    return Record(meta, outcome.arrays)


@pytest.fixture(scope="module")
def parts():
    X, y = load_digits(return_X_y=True)
    examples = tuning.Rows(X[:300], y[:300].astype(np.int32))
    split_key, _ = jax.random.split(jax.random.key(3))
    mask = splits.validation_mask(split_key, examples.y, 0.2)
    fitted, held_out = examples.where(~mask), examples.where(mask)
    shift, scale = map(np.float64, preprocessing.fit(fitted.X))
    return [((part.X - shift) * scale, part.y) for part in (fitted, held_out)]


def test_the_least_objective_and_its_errors_are_scikit_learns(found, parts):
    (X, y), (held_X, held_y) = parts
    model = LogisticRegression(C=1 / (2 * len(y) * 1e-2), tol=1e-10, max_iter=5000).fit(X, y)
    least, *_ = oracles.softmax_l2(X, y, 1e-2)(model.coef_, model.intercept_)
    numbers = found.numbers["softmax"]
    assert numbers["least"] == pytest.approx(least, abs=1e-8)
    assert 0 <= numbers["gap"] < 1e-8
    assert numbers["accuracy"] == pytest.approx(model.score(held_X, held_y))


def test_every_run_lies_above_the_least_and_below_its_certificate(found):
    left = found.arrays["softmax: loss"] - found.numbers["softmax"]["least"]
    assert left.shape == (5, 3)
    assert np.ptp(left[0]) == 0  # all begin alike
    np.testing.assert_allclose(left[0] + found.numbers["softmax"]["least"], np.log(10), atol=0.01)
    assert (left > 0).all()
    assert (left[1:].max(axis=1) < left[0, 0]).all()
    assert (left[-1] <= found.arrays["softmax: certificates"]).all()


def test_the_mean_of_the_iterates_begins_with_the_first_epochs_last_one(found):
    loss = found.arrays["softmax: loss"]
    np.testing.assert_allclose(loss[1, 2], loss[1, 0], rtol=1e-6)
    assert loss[2, 2] != loss[2, 0]


def test_findings_tell_the_numbers_of_the_record(found):
    findings = optimum_report.findings(found)
    left = found.arrays["softmax: loss"] - found.numbers["softmax"]["least"]
    assert f"{100 * left[-1].min() / left[0, 0]:.1f} % (softmax)" in findings.sentences[0]
    right = 100 * found.arrays["softmax: right"].mean(axis=1)
    both = f"{right[-1]:.1f} % and {right[left[-1].argmin()]:.1f} %"
    assert both in findings.sentences[1]
    (table,) = findings.tables
    *runs, minimum = [row[1] for row in table.rows]
    assert runs == [f"SGD, {run}" for run in optimum.RUNS]
    assert f"{found.numbers['softmax']['least']:.4f}" in minimum
    assert [row[3] for row in table.rows] == [f"{share:.1f} %" for share in right]
    assert len(list(optimum_report.draw(found))) == 2
