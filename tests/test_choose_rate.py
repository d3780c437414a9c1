"""The step size and the strength that are chosen together, beside a loop over trainings."""

import re

import jax
import numpy as np
import pytest

from experiments import choose_rate
from experiments.lab import gate, tuning
from experiments.lab.record import Record
from experiments.report import choose_rate as choose_rate_report
from lincls import linear, losses, preprocessing, splits, training
from lincls.objective import step_size
from lincls.structs import Hyper

pytestmark = pytest.mark.usefixtures("quick_compiles")

SETTINGS = choose_rate.Settings(
    rates=(0.01, 3.0), regs=(0.0, 1e-2, 1.0), num_folds=3, num_steps=40, batch_size=64,
    max_folded=300, max_train=300,
)  # fmt: skip


@pytest.fixture(scope="module")
def found():
    data = gate.Data(gate.load("digits", ""))
    outcome = choose_rate.compute(data, jax.random.key(4), SETTINGS)
    assert len(data.test_uses) == 1
    meta = {
        "numbers": outcome.numbers, "settings": vars(SETTINGS), "data": {"num_train": 1437},
        "classifiers": [row._asdict() for row in outcome.classifiers],
    }  # fmt: skip
    return Record(meta, outcome.arrays)


def test_every_cell_is_a_training_of_its_own_pair(found):
    fold_key, cross_key, _ = jax.random.split(jax.random.key(4), 3)
    X, y = tuning.rows(gate.load("digits", "").train, 300)
    folds = splits.stratified_folds(fold_key, y, 3)
    affine, recipe = preprocessing.fit(X), tuning.recipe("softmax", 64)
    derived = step_size(X, affine, losses.softmax, 10)
    for rate, reg, fold in ((0, 1, 2), (1, 2, 0)):
        numbers = {"learning_rate": derived * SETTINGS.rates[rate], "num_steps": 40}
        hyper = Hyper(numbers, SETTINGS.regs[reg])
        state = training.start(cross_key, linear.init(cross_key, 64, 10), recipe, hyper)
        state, _ = training.fit(
            state, X, y, recipe, hyper, num_steps=40, affine=affine,
            weight=np.float32(folds != fold),
        )  # fmt: skip
        out = folds == fold
        right = linear.predict(linear.on_pixels(state.params, affine), X[out]) == y[out]
        assert found.arrays["accuracies"][rate, reg, fold] == pytest.approx(
            np.mean(right), abs=1.1 / out.sum()
        )


def test_the_choices_are_of_the_table_and_the_simplest_is_no_weaker(found):
    mean = found.arrays["accuracies"].mean(axis=-1)
    best, simplest = found.numbers["best"], found.numbers["one_standard_error"]
    cell, other = (choose_rate_report._cell(found, pair) for pair in (best, simplest))
    assert mean[cell] == mean.max()
    error = found.arrays["accuracies"][cell].std(ddof=1) / np.sqrt(3)
    assert mean[other] >= mean.max() - error
    assert simplest["reg"] >= best["reg"]
    enough = (mean >= mean.max() - error - 1e-9).any(axis=0)
    assert simplest["reg"] == max(np.array(SETTINGS.regs)[enough])


def test_findings_and_the_map_tell_the_record(found):
    findings = choose_rate_report.findings(found)
    assert f"{found.numbers['best']['rate']:g}" in findings.sentences[0]
    told = re.search(r"costs ([-+][\d.]+) to ([-+][\d.]+) points", findings.sentences[2])
    middle = sum(map(float, told.groups())) / 2  # of the interval, whose ends are rounded
    lost = []
    for fold in range(3):
        others = np.delete(found.arrays["accuracies"], fold, axis=-1).mean(axis=-1)
        here = found.arrays["accuracies"][..., fold]
        best = np.unravel_index(others.argmax(), others.shape)
        lost.append(here[best] - here[0, others[0].argmax()])
    assert middle == pytest.approx(100 * np.mean(lost), abs=0.051)
    (table,) = findings.tables
    shares = [float(row[3].split()[0]) for row in table.rows]
    assert shares[0] == max(shares)
    assert shares[2] == pytest.approx(100 * found.arrays["accuracies"][0].mean(-1).max(), abs=0.06)
    (plot,) = choose_rate_report.draw(found)
    cells = [text.get_text() for text in plot.figure.axes[0].texts]
    assert cells == [f"{100 * v:.1f}" for v in found.arrays["accuracies"].mean(axis=-1).ravel()]
