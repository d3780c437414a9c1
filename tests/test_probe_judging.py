"""By what the probe chooses, and on what: accuracy or log loss, all held-out examples or few."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.neighbors import KNeighborsClassifier

from experiments.lab import gate
from experiments.probe import __main__ as program
from experiments.probe import choosing, probing, results
from experiments.probe.choosing import judging
from lincls import data
from lincls.structs import LinearParams

pytestmark = pytest.mark.usefixtures("optax_promotes")

RNG = np.random.default_rng(3)
Y = RNG.permutation(np.repeat([0, 1, 2], [160, 30, 10]))  # a rare class
X = (RNG.normal(size=(3, 6))[Y] + 1.5 * RNG.normal(size=(200, 6))).astype(np.float32)
HELD = np.stack([np.arange(200) % 5 == part for part in (0, 1)])
THEIRS = {
    "top1": lambda scores, y: np.mean(scores.argmax(axis=1) == y),
    "per_class": lambda scores, y: balanced_accuracy_score(y, scores.argmax(axis=1)),
    "log_loss": lambda scores, y: -log_loss(y, np.exp(scores) / np.exp(scores).sum(1)[:, None]),
}


@pytest.mark.parametrize("select", THEIRS)
@pytest.mark.parametrize("in_file", [False, True])
def test_held_out_examples_are_judged_as_sklearn_does(select, in_file, tmp_path, limited):
    rows = probing.kept(X, scaled=False)
    if in_file:
        np.save(tmp_path / "rows.npy", rows.Z)
        rows = rows._replace(Z=np.load(tmp_path / "rows.npy", mmap_mode="r"))
        limited(device_bytes=100, piece_bytes=1000)
    W, b = (RNG.normal(size=shape).astype(np.float32) for shape in ((4, 2, 3, 6), (4, 2, 3)))
    found = judging.of_linear(LinearParams(W, b), rows, Y, HELD, select)
    for part, held in enumerate(HELD):
        for each in range(4):
            scores = X[held].astype(np.float64) @ W[each, part].T + b[each, part]
            assert found[each, part] == pytest.approx(THEIRS[select](scores, Y[held]), rel=1e-5)


def test_votes_are_judged_by_the_mean_over_the_classes_that_are_held_out():
    predictions = np.array([[0, 0, 0, 1], [0, 0, 0, 0]])
    found = judging.of_predictions(predictions, np.array([0, 0, 0, 1]), "per_class")
    np.testing.assert_allclose(found, [1, 0.5])


def chosen(select):
    settings = choosing.Settings(
        strengths=6, weakest=1e-4, strongest=10, select=select, probes=("linear",)
    )
    given = gate.Data(data.from_arrays(X, Y, X[:9], Y[:9]))
    task = next(choosing.tasks(given, settings, seed=1))
    return task, settings.regs, choosing.choose_linear(task, "all", settings)


@pytest.mark.parametrize("select", THEIRS)
def test_the_strength_is_the_best_of_logistic_regressions(select):
    task, regs, found = chosen(select)
    Z, (held,) = task.rotated.Z, task.held
    num = (~held).sum()
    models = [LogisticRegression(C=1 / (2 * num * reg), tol=1e-8).fit(Z[~held], Y[~held])
              for reg in regs]  # fmt: skip
    scores = [THEIRS[select](model.decision_function(Z[held]), Y[held]) for model in models]
    assert found.value == pytest.approx(regs[np.argmax(scores)])
    assert found.selection == pytest.approx(abs(max(scores)), rel=0.01)


def task_of(**numbers):
    settings = choosing.Settings(shots=("4", "all"), **numbers)
    given = gate.Data(data.from_arrays(X, Y, X[:9], Y[:9]))
    return settings, next(choosing.tasks(given, settings, seed=1))


@pytest.mark.parametrize(("folds", "num_folds"), [("0", 4), ("3", 3), ("9", 4)])
def test_few_shots_may_choose_on_folds_of_their_own(folds, num_folds):
    settings, task = task_of(choose_on="shots", folds=(folds,))
    own, weights = choosing.to_choose(task, 4, settings)
    drawn = task.weights(4, to_choose=False)[0] > 0
    assert own.held.shape == weights.shape == (num_folds, 200)
    np.testing.assert_array_equal(own.held.sum(axis=0), drawn)  # each is held out once
    np.testing.assert_array_equal(own.held | (weights > 0), np.tile(drawn, (num_folds, 1)))
    for held in own.held:
        assert set(np.bincount(Y[held], minlength=3)) <= {1, 2}  # stratified


def test_all_examples_and_other_choices_are_held_out_as_ever():
    for choose_on, shots in (("shots", None), ("held-out", 4)):
        settings, task = task_of(choose_on=choose_on)
        own, weights = choosing.to_choose(task, shots, settings)
        np.testing.assert_array_equal(own.held, task.held)
        np.testing.assert_array_equal(weights, task.weights(shots, to_choose=True))


def test_the_k_of_few_shots_is_judged_on_them_alone():
    settings, task = task_of(choose_on="shots", probes=("l2",), folds=("4",))
    (found,) = choosing.choose_knn(task, "4", settings)
    own, _ = choosing.to_choose(task, 4, settings)
    accuracies = []
    for held in own.held:
        there = own.held.any(axis=0) & ~held
        accuracies.append([
            KNeighborsClassifier(k).fit(X[there], Y[there]).score(X[held], Y[held])
            for k in range(1, there.sum() + 1)
        ])  # fmt: skip
    assert found.selection == pytest.approx(np.mean(accuracies, axis=0).max())


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--shots", "1", "4"], "--choose-on shots needs at least 2 shots, and --shots has 1"),
     (["--shots", "4", "--folds", "grouped"], "--choose-on shots draws folds without groups")],
)  # fmt: skip
def test_what_cannot_choose_on_shots_is_refused_before_anything_is_computed(
    words, told, tmp_path, capsys
):
    groups = np.arange(200) // 10
    np.savez(tmp_path / "a.npz", X_train=X, y_train=Y, X_test=X[:9], y_test=Y[:9], groups=groups)
    arguments = ["--dataset", str(tmp_path / "a.npz"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="2"):
        program.main([*arguments, "--choose-on", "shots", *words])
    assert told in capsys.readouterr().err


def test_the_caption_says_by_what():
    rows = [{"probe": "linear", "strength": 1, "learning_rate": None, "k": None},
            {"probe": "l2", "strength": None, "learning_rate": None, "k": 3}]  # fmt: skip
    told = {select: results._chosen_numbers(rows, select) for select in THEIRS}
    assert told == {
        "top1": "Strength and k chosen by accuracy",
        "per_class": "Strength and k chosen by the mean accuracy of the classes",
        "log_loss": "Strength chosen by log loss, k chosen by accuracy",
    }
