"""The templates that are shown, beside scikit-learn's weights at the strength for showing."""

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from experiments import svm_softmax
from experiments.lab import gate
from experiments.lab.record import Record
from experiments.report import style
from experiments.report import svm_softmax as svm_softmax_report
from lincls import preprocessing

pytestmark = pytest.mark.usefixtures("quick_compiles")
SETTINGS = svm_softmax.Settings(
    rates=(1.0,), regs=(0.0,), num_validated=50, num_steps=400, max_train=300, template_reg=0.3
)


@pytest.fixture(scope="module")
def found():
    data = gate.Data(gate.load("digits", ""))
    outcome = svm_softmax.compute(data, jax.random.key(5), SETTINGS)
    assert len(data.test_uses) == 1
    meta = {
        "numbers": outcome.numbers, "settings": vars(SETTINGS),
        "data": {"class_names": data.class_names, "image_shape": data.image_shape},
        "classifiers": [row._asdict() for row in outcome.classifiers],
    }  # fmt: skip
    return Record(meta, outcome.arrays)


def test_the_shown_templates_are_the_weights_at_the_strength_for_showing(found):
    X, y = load_digits(return_X_y=True)
    shift, scale = map(np.float64, preprocessing.fit(X[:300]))
    model = LogisticRegression(C=1 / (2 * 300 * SETTINGS.template_reg), tol=1e-8, max_iter=5000)
    W = model.fit((X[:300] - shift) * scale, y[:300]).coef_
    shown = found.arrays["softmax_templates"].reshape(10, 64) - 0.5
    expected = W / np.abs(W).max(axis=1, keepdims=True) / 2
    np.testing.assert_allclose(shown, expected, atol=0.05)
    of_tested = found.arrays["tested_templates"].reshape(2, 10, 64) - 0.5
    assert np.abs(of_tested - expected).max(axis=(1, 2)).min() > 0.2


def test_the_caption_tells_the_strength_that_is_shown_and_the_chosen_one(found):
    plots = {plot.name: plot for plot in svm_softmax_report.draw(found)}
    assert "0.3" in plots["templates"].caption
    assert "validation chose 0." in plots["templates"].caption


def test_weights_of_vectors_are_drawn_as_a_heat_map_of_all_classes(found):
    rng = np.random.default_rng(7)
    arrays = found.arrays | {
        "softmax_templates": rng.random((10, 1, 32, 1)),
        "tested_templates": rng.random((2, 10, 1, 32, 1)),
    }
    meta = found.meta | {"data": found.data | {"image_shape": (1, 32, 1)}}
    shown, tested, *_ = svm_softmax_report.draw(Record(meta, arrays))
    for plot, count in ((shown, 1), (tested, 2)):
        pictures = [axes.images[0].get_array() for axes in plot.figure.axes]
        assert len(pictures) == count
        assert {picture.shape for picture in pictures} == {(10, 32, 3)}
    np.testing.assert_array_equal(
        pictures[1], style.weights(arrays["tested_templates"][1])[:, 0]
    )  # a row is a class
