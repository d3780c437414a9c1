"""What the experiments share for slides 26-60: held-out examples, the closing table, verdicts."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from shares import further

from experiments import gradient_check, gradient_descent, regularisation
from experiments.lab import tuning
from experiments.lab.experiment import Classifier
from experiments.report import gradient_descent as gradient_descent_report
from experiments.report import intervals, words
from experiments.report.findings import AGREES, Answer, Findings, Printed
from experiments.report.page import closing, lecture

pytestmark = pytest.mark.usefixtures("quick_compiles")


def blobs(num_examples=60):
    """Two classes far apart, and one example of class 1 that lies among class 0."""
    rng = np.random.default_rng(26)
    y = np.arange(num_examples) % 2
    return tuning.Rows(rng.normal(size=(num_examples, 3)) + 4 * y[:, None], y)


@pytest.mark.parametrize(("num_validated", "folds"), [(12, 1), further(1000, 5)])
def test_as_many_folds_are_held_out_as_bring_the_examples_asked_for(num_validated, folds):
    settings = SimpleNamespace(num_folds=5, num_validated=num_validated)
    problem = tuning.problem(blobs(), 2, tuning.recipe("softmax", 16), 30)
    regs = np.array([0.0, 1.0])
    found = tuning.held_out(jax.random.key(0), problem, np.ones(2), regs, settings)
    assert found.scores.shape == (2, 12 * folds, 2)
    assert found.labels.shape == (12 * folds,)
    right = (found.scores.argmax(axis=-1) == found.labels).mean(axis=1)
    assert right[0] > 0.9
    assert np.ptp(found.scores[1]) < np.ptp(found.scores[0])  # the strengths are not mixed up


def test_held_out_examples_are_not_trained_on():
    """Labels of single examples say nothing of each other, so only a trained one is known."""
    rng = np.random.default_rng(27)
    examples = tuning.Rows(rng.normal(size=(40, 80)), rng.integers(0, 2, 40))
    settings = SimpleNamespace(num_folds=5, num_validated=1000)
    problem = tuning.problem(examples, 2, tuning.recipe("softmax", 16), 100)
    found = tuning.held_out(jax.random.key(0), problem, np.ones(1), np.zeros(1), settings)
    assert (found.scores[0].argmax(axis=-1) == found.labels).mean() < 0.8  # trained: 1.0


def test_closing_table_has_times_and_memory_where_they_were_measured():
    tested = Classifier("linear, SVM", "nothing", 90, 100, 650, 2600)
    unmeasured = Classifier("other", "nothing", 80, 100, 650)
    seconds = {"training: linear, SVM": 1.25, "a test image: linear, SVM": 2e-6}
    record = SimpleNamespace(classifiers=[unmeasured, tested], seconds=seconds)
    first, second = (dict(zip(closing.HEADER, row.cells, strict=True))
                     for row in closing.rows([record]))  # fmt: skip
    assert (first["training"], first["a test image"], first["memory"]) == (
        "1.2 s",
        "2 µs",
        "2.6 kB",
    )
    assert (second["training"], second["a test image"], second["memory"]) == ("–", "–", "–")


@pytest.mark.parametrize(
    ("count", "text"),
    [(650, "650 B"), (2600, "2.6 kB"), (153_600_000, "154 MB"), (2 * 10**9, "2 GB")],
)
def test_sizes_read_as_one_writes_them(count, text):
    assert words.size(count) == text


def test_a_row_of_slides_has_the_experiments_answer_or_says_why_there_is_none():
    rows = ("32-36", "37-38", "39-40")
    findings = Findings([], answers={row: Answer(AGREES, f"of {row}") for row in rows})
    told = lecture.answers({"svm_loss": findings, "gradient_descent": "failed"})
    found = {row.slides: answer for row, answer in told}
    assert found["39-40"] == (AGREES, "of 39-40")
    assert found["58"] == ("failed", "–")
    assert found["49-50"] == ("not run", "–")


def test_printed_numbers_are_counted_and_the_wrong_ones_told():
    printed = [Printed("28", "first", "-96.8", -96.8), Printed("28", "third", "61.95", 60.75)]
    assert words.compared(printed) == "1 of 2 printed numbers are right; third 60.75, not 61.95"
    assert words.compared(printed[:1]) == "first -96.8, as printed"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("slides 4-8, (52-55)", "slides 4–8, (52–55)"),
        ("95.6 % of 5 × 10⁻³", "95.6\u00a0% of 5\u00a0×\u00a010⁻³"),
        ("-0.5 to +1.0, [10, -2]", "−0.5 to +1.0, [10, −2]"),
        ("5-fold, 3-D, 1e-05, x-1, 10⁻⁵", "5-fold, 3-D, 1e-05, x-1, 10⁻⁵"),
    ],
)
def test_numbers_are_set_as_print_has_them(text, printed):
    assert words.typeset(text) == printed


def test_another_value_falls_where_students_prediction_interval_says():
    low, high = intervals.of_another(np.array([1.0, 2, 3, 4, 5]))
    assert (low, high) == pytest.approx((3 - 4.80894, 3 + 4.80894), abs=1e-4)


def classifier(name, chosen, correct, total=100):
    return Classifier(name, chosen, correct, total, 650)


def result(*classifiers):
    record = SimpleNamespace(classifiers=classifiers, seconds={}, data={"name": "x"})
    return closing.finding([record]), closing.caption(closing.rows([record]))


def test_the_page_begins_with_the_best_classifier_and_its_interval():
    finding, caption = result(classifier("a", "nothing", 50), classifier("b", "k = 1", 90))
    assert finding == "Best on x: b, k = 1: 90.0 % (95 % CI 82.6 to 94.5)."
    assert "overlap" not in caption
    _, caption = result(*(classifier("a", "nothing", right) for right in (90, 85, 30)))
    assert "overlaps 1 of the 2 others" in caption


def test_of_equal_classifiers_the_chosen_one_is_the_best_and_of_none_there_is_no_sentence():
    finding, _ = result(
        classifier("a", "nothing", 90), classifier("b", "k = 1", 90), classifier("c", "", 9)
    )
    assert finding.startswith("Best on x: b, k = 1")
    assert "Best" not in result(classifier("a", "nothing", 90), classifier("b", "nothing", 90))[0]
    assert closing.finding([SimpleNamespace(classifiers=[], seconds={}, data={})]) == ""


def test_settings_of_each_kind_stand_one_after_another():
    settings = {"l2_regs": [1, 2, 3], "regs": [1, 2], "radii": [1], "shares": [0.5, 0.7]}
    spans = [regularisation.places_of(settings, kind) for kind in regularisation.KINDS]
    assert [span.start for span in spans] == [1, 4, 6, 8, 9]
    assert spans[-1].stop == 11


def test_slide_55_numerical_gradient_of_a_square_and_x_is_left_as_it_was():
    x = np.array([[1.0, -2.0], [0.5, 0.0]])
    found = gradient_check.eval_numerical_gradient(lambda x: float(np.sum(x**2)), x)
    np.testing.assert_allclose(found, 2 * np.array([[1.0, -2.0], [0.5, 0.0]]), atol=2e-5)
    assert x.tolist() == [[1.0, -2.0], [0.5, 0.0]]


def test_the_map_has_the_objective_at_each_of_its_places():
    rng = np.random.default_rng(58)
    X, y = rng.normal(size=(6, 4)).astype(np.float32), np.array([0, 1, 2, 0, 1, 2])
    centre, *axes = rng.normal(size=(3, 3, 4)).astype(np.float32)
    across, up = np.float32([-1, 0, 2]), np.float32([0.5, 3])
    found = gradient_descent._surface(X, y, centre, np.stack(axes), across, up, 0.1)
    W = centre + across[2] * axes[0] + up[1] * axes[1]
    scores = X @ W.T
    logs = scores[np.arange(6), y] - np.log(np.exp(scores).sum(axis=1))
    assert found.shape == (2, 3)
    assert found[1, 2] == pytest.approx(-logs.mean() + 0.1 * np.sum(W[:, :-1] ** 2), rel=1e-5)


def test_the_lowest_loss_is_told_even_if_others_are_as_good_within_their_scatter():
    ends = np.array([[2.0, 1.1, 1.0, 9.0], [2.2, 0.9, 0.95, 9.5], [2.1, 1.0, 0.9, 9.1]])
    start = np.full((3, 4), 2.3)
    record = SimpleNamespace(
        arrays={"rates": np.concatenate([start, ends]), "batch_full": np.array([2.3, 2.2])},
        settings={"epochs": 2},
    )
    assert gradient_descent_report._best(record) == 2
    assert gradient_descent_report._names(record) == ["low", "good", "good", "very high"]
