"""Probing embeddings: choosing without the test set, scikit-learn's numbers, what is written."""

import csv
import json

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from experiments.lab import gate
from experiments.probe import __main__ as program
from experiments.probe import choosing, probing, results
from lincls import data, evaluation, knn, objective, preprocessing, splits
from lincls.structs import Examples, Hyper, LinearParams

SMALL = ["--strengths", "3", "--weakest", "1e-2", "--strongest", "1e-1", "--num-neighbors", "9",
         "--samples", "60", "--seeds", "2",
         "--probes", "linear", "l2", "exp"]  # fmt: skip


pytestmark = pytest.mark.usefixtures("optax_promotes")


@pytest.fixture(scope="module")
def features():
    """Overlapping classes: 240 examples to train on and 60 to test, 12 features, 4 classes."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(300) % 4)
    X = rng.normal(size=(4, 12))[y] + 1.2 * rng.normal(size=(300, 12)) + 3
    return {"X_train": X[:240].astype(np.float32), "y_train": y[:240],
            "X_test": X[240:].astype(np.float32), "y_test": y[240:]}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory, features):
    """The folder of a whole run, with the file that it read beside the results."""
    folder = tmp_path_factory.mktemp("probe")
    np.savez(folder / "small.npz", **features)
    run(folder, folder / "results")
    return folder


def run(folder, out, *more):
    words = ["--dataset", str(folder / "small.npz"), "--out", str(out), *SMALL, *more]
    assert program.main(words) == 0


def written(out):
    return json.loads((out / "results" / "small" / "probe" / "results.json").read_text())


def arrays(out):
    with np.load(out / "results" / "small" / "probe" / "predictions.npz") as found:
        return dict(found)


def of(found, name, seed=0):
    """The place of a result, and the result."""
    place, result = next(
        (i, r) for i, r in enumerate(found["results"])
        if (r["probe"], r["seed"]) == (name, seed)
    )  # fmt: skip
    return place, result


def settings(**numbers):
    return choosing.Settings(
        strengths=3, weakest=1e-2, strongest=1e-1, num_neighbors=9, samples=60, **numbers
    )


def only_task(features, **numbers):
    examples = gate.Data(data.from_arrays(*features.values()))
    return next(choosing.tasks(examples, settings(**numbers), seed=0))


# --- choosing ----------------------------------------------------------------------------------


def test_what_is_chosen_does_not_depend_on_the_test_set(out, features, monkeypatch):
    other = features | {"X_test": -features["X_test"][::-1], "y_test": features["y_test"][::-1]}
    examples = gate.Data(data.from_arrays(*other.values()))
    chosen = settings(seeds=2, probes=("linear", "l2", "exp"))
    found = choosing.choose(examples, chosen, 0)[1]
    before = written(out)["results"]
    assert [one.value for one in found] == [r["strength"] or r["k"] for r in before]
    assert [one.accuracy for one in found] == [r["selection"] for r in before]
    assert examples.test_uses == []
    assert written(out)["test_set"] == {"times_used": 1, "for": ["6 chosen probes"]}


def test_choosing_k_on_folds_agrees_with_scikit_learn(features):
    task = only_task(features, folds=("3",), probes=("l1",))
    found = choosing.choose_knn(task, "all", settings(folds=("3",), probes=("l1",)))[0]
    folds = splits.stratified_folds(jax.random.key(0), features["y_train"], 3)
    X, y = features["X_train"], features["y_train"]
    expected = []
    for k in range(1, 10):
        model = KNeighborsClassifier(k, metric="manhattan")
        parts = [
            model.fit(X[folds != f], y[folds != f]).score(X[folds == f], y[folds == f])
            for f in range(3)
        ]
        expected.append(np.mean(parts))
    assert found.value == np.argmax(expected) + 1
    assert found.accuracy == pytest.approx(max(expected))


def test_all_strengths_and_folds_in_one_program_reach_their_optima(features):
    task = only_task(features, folds=("3",))
    weights, regs = task.weights(None, to_choose=True), np.array([1e-1, 3e-2, 1e-2])
    plan = probing.Plan(3, 150_000, 512, 1e-3)
    params, diverged = probing.fit_linear(
        task.key, task.rotated, task.y, 4, np.tile(weights, (3, 1)), np.repeat(regs, 3), plan
    )
    assert not diverged.any()
    accuracies = []
    for place, (W, b) in enumerate(zip(*params, strict=True)):
        reg, there = regs[place // 3], weights[place % 3] > 0
        Z, y = task.rotated.Z[there], task.y[there]
        model = LogisticRegression(C=1 / (2 * len(y) * reg), tol=1e-8).fit(Z, y)
        best = LinearParams(model.coef_.astype(np.float32), model.intercept_.astype(np.float32))
        least, ours = (loss(p, Z, y, reg) for p in (best, LinearParams(W, b)))
        assert ours == pytest.approx(least, rel=5e-3)
        held = task.held[place % 3]
        accuracies.append(model.score(task.rotated.Z[held], task.y[held]))
    grid = LinearParams(*(np.reshape(leaf, (3, 3, *leaf.shape[1:])) for leaf in params))
    found = probing.linear_accuracies(grid, task.rotated, task.y, task.held)
    held = task.held[2]
    scores = task.rotated.Z[held] @ grid.W[1, 2].T + grid.b[1, 2]
    assert found[1, 2] == pytest.approx(np.mean(scores.argmax(axis=1) == task.y[held]))
    assert np.abs(found - np.reshape(accuracies, (3, 3))).max() <= 1.01 / 80


def loss(params, Z, y, reg):
    batch = Examples(Z, y, np.ones(len(y), np.float32))
    return float(objective.evaluate(objective.Objective(), params, batch, Hyper({}, reg))[0])


def test_grouped_folds_part_no_group_and_are_what_is_chosen_on(tmp_path, features):
    groups = np.random.default_rng(1).integers(0, 30, 240)
    np.savez(tmp_path / "grouped.npz", **features, source=groups.astype(str))
    words = ["--dataset", str(tmp_path / "grouped.npz"), "--out", str(tmp_path), "--folds",
             "grouped", "4", "--groups", "source", "--probes", "l2", "--seeds", "1",
             "--num-neighbors", "9", "--samples", "20"]  # fmt: skip
    assert program.main(words) == 0
    found = json.loads((tmp_path / "grouped" / "probe" / "results.json").read_text())
    assert "4 grouped folds" in results.caption(found)
    folds = splits.grouped_folds(jax.random.key(0), groups.astype(str), 4)
    X, y = features["X_train"], features["y_train"]
    model = KNeighborsClassifier(found["results"][0]["k"])
    parts = [
        model.fit(X[folds != f], y[folds != f]).score(X[folds == f], y[folds == f])
        for f in range(4)
    ]
    assert found["results"][0]["selection"] == pytest.approx(np.mean(parts))


def test_groups_of_another_length_are_refused(tmp_path, features):
    np.savez(tmp_path / "short.npz", **features, groups=np.arange(300))
    with pytest.raises(ValueError, match=r"shape \(240,\).*got \(300,\)"):
        choosing.read_groups(str(tmp_path / "short.npz"), "groups", 240)
    np.save(tmp_path / "writer.npy", np.arange(7) % 3)
    found = choosing.read_groups(str(tmp_path), "writer", 7)
    assert found.tolist() == [0, 1, 2, 0, 1, 2, 0]


# --- few shots ---------------------------------------------------------------------------------


def test_shots_are_of_each_class_among_those_present_and_the_smaller_in_the_greater():
    y = np.repeat([0, 1, 2], [50, 40, 3])
    present = np.ones((2, 93), bool)
    present[1, ::2] = False
    four, eight = (probing.shot_weights(jax.random.key(1), y, present, n) for n in (4, 8))
    assert [np.bincount(y, row).tolist() for row in four] == [[4, 4, 3], [4, 4, 1]]
    assert np.bincount(y, eight[1]).tolist() == [8, 8, 1]
    assert not four[1][~present[1]].any()
    assert (four <= eight).all()
    other = probing.shot_weights(jax.random.key(2), y, present, 4)
    assert (four != other).any()
    np.testing.assert_array_equal(
        probing.shot_weights(jax.random.key(1), y, present, None), present
    )


def test_few_shots_are_what_the_probe_learns_from(features):
    few = settings(probes=("l2",), shots=("2,3", "all"))
    assert few.shot_counts == {"2": 2, "3": 3, "all": None}
    task = only_task(features)
    found = choosing.choose_knn(task, "2", few)
    scores = next(choosing.final_scores(task, found, features["X_test"], few))
    there = task.weights(2, to_choose=False)[0] > 0
    assert np.bincount(task.y[there]).tolist() == [2, 2, 2, 2]
    model = KNeighborsClassifier(int(found[0].value)).fit(task.X[there], task.y[there])
    np.testing.assert_array_equal(scores.argmax(axis=1), model.predict(features["X_test"]))
    there = task.weights(2, to_choose=True)[0] > 0
    assert there.sum() == 8
    model.fit(task.X[there], task.y[there])
    expected = model.score(task.X[task.held[0]], task.y[task.held[0]])
    assert found[0].accuracy == pytest.approx(expected)


# --- the test ----------------------------------------------------------------------------------


def test_linear_probe_is_logistic_regression_at_the_same_strength(out, features):
    place, result = of(written(out), "linear")
    affine = preprocessing.fit(features["X_train"])
    train, test = (
        np.asarray(preprocessing.apply(affine, features[name])) for name in ("X_train", "X_test")
    )
    model = LogisticRegression(C=1 / (2 * len(train) * result["strength"]), tol=1e-8)
    expected = model.fit(train, features["y_train"]).predict(test)
    assert np.mean(arrays(out)["predictions"][place] == expected) >= 59 / 60


@pytest.mark.parametrize(
    ("name", "metric", "weights"),
    [
        ("l2", "euclidean", "uniform"),
        ("exp", "cosine", lambda distances: np.exp((1 - distances) / 0.07)),
    ],
)
def test_knn_probes_are_scikit_learns(out, features, name, metric, weights):
    place, result = of(written(out), name, seed=1)
    model = KNeighborsClassifier(result["k"], metric=metric, weights=weights)
    model.fit(features["X_train"], features["y_train"])
    np.testing.assert_array_equal(
        arrays(out)["predictions"][place], model.predict(features["X_test"])
    )


def test_votes_for_every_k_are_those_of_scikit_learn(features):
    X, y = features["X_train"], features["y_train"]
    near = probing.search("cosine", X, y, features["X_test"], 7, temperature=0.5)
    for weights in (None, near.weights):
        found = knn.predictions_by_k(near.labels, range(1, 8), 4, weights)
        rule = "uniform" if weights is None else lambda d: np.exp(-d / 0.5)
        for k in (1, 4, 7):
            model = KNeighborsClassifier(k, metric="cosine", weights=rule).fit(X, y)
            np.testing.assert_array_equal(found[k - 1], model.predict(features["X_test"]))


def test_measures_and_their_intervals_agree_with_scikit_learn_and_numpy():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, 200)
    scores = rng.normal(size=(200, 7)) + 2 * np.eye(7)[labels]
    predictions = scores.argmax(axis=1).astype(np.int32)
    values, ends = results.measured(
        jax.random.key(0), predictions[None],
        evaluation.in_top_k(scores, labels, 5)[None], labels, 7, 500,
    )  # fmt: skip
    five = top_k_accuracy_score(labels, scores, k=5, labels=range(7))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        mean = balanced_accuracy_score(labels, predictions)
    macro = f1_score(labels, predictions, average="macro")
    expected = [np.mean(predictions == labels), five, mean, macro]
    np.testing.assert_allclose(values[0], expected, rtol=1e-5)
    drawn = rng.integers(0, 200, (500, 200))
    accuracy = (predictions == labels)[drawn].mean(axis=1)
    np.testing.assert_allclose(ends[:, 0, 0], np.quantile(accuracy, [0.025, 0.975]), atol=0.021)


# --- what is written ---------------------------------------------------------------------------


def test_json_csv_and_npz_tell_the_same(out):
    found, saved = written(out), arrays(out)
    with (out / "results" / "small" / "probe" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    as_text = [
        {name: "" if value is None else str(value) for name, value in result.items()}
        for result in found["results"]
    ]
    assert rows == as_text
    assert len(rows) == 3 * 2  # probes, seeds
    right = (saved["predictions"] == saved["labels"]).mean(axis=1)
    np.testing.assert_allclose(right, [result["top1"] for result in found["results"]], rtol=1e-6)
    assert saved["scores"].shape == (3, 60, 4)
    first = [i for i, result in enumerate(found["results"]) if result["seed"] == 0]
    np.testing.assert_array_equal(saved["scores"].argmax(axis=2), saved["predictions"][first])
    assert all(r["top1_low"] <= r["top1"] <= r["top1_high"] for r in found["results"])
    assert {"settings", "versions", "device", "seed"} <= found.keys()
    assert found["data"]["source"] == "small"


def test_the_same_seed_gives_the_same_numbers(out, tmp_path):
    run(out, tmp_path / "results")
    again = written(tmp_path)
    assert again["results"] == written(out)["results"]
    assert again["spread"] == written(out)["spread"]


def test_a_result_that_no_seed_changes_says_so_instead_of_a_deviation_of_zero():
    rows = [
        dict.fromkeys(results.MEASURES, 0.5 + 0.1 * seed * (name == "linear"))
        | {"probe": name, "shots": "all", "seed": seed}
        for seed in (0, 1) for name in ("linear", "l2")
    ]  # fmt: skip
    predictions = np.array([[0, 1], [1, 1], [0, 0], [1, 1]])
    by_linear, by_l2 = results.spread(rows, predictions)
    assert by_l2["top1_sd"] is None
    assert results.over_seeds(by_l2) == "seeds change nothing"
    assert by_linear["top1_sd"] == pytest.approx(np.std([0.5, 0.6], ddof=1))
    assert results.over_seeds(by_linear) == "55.00 ± 7.07"


def test_the_table_is_markdown_with_a_line_for_every_result_of_the_first_seed(out):
    lines = results.table(written(out))
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {9}
    assert lines[2].startswith("| linear, softmax | all | ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dataset", "nowhere.npz"], "nowhere.npz"),
        (["--foldz", "3"], "there is no flag --foldz; did you mean --folds?"),
        (["--folds", "1"], "--folds must be 0"),
        (["--folds", "grouped", "1"], "--folds must be 0"),
        (["--folds", "5", "random"], "got 5 random"),
        (["--folds", "grouped"], "--folds grouped needs an array groups in digits"),
        (["--shots", "2,some"], "--shots must be whole numbers from 1 on, or all, got 'some'"),
        (["--validation", "1.5"], "between 0 and 1, got 1.5"),
        (["--weakest", "1", "--strongest", "0.1"], "--weakest 1 must be at most --strongest 0.1"),
        (["--probes", "knn"], "got 'knn'"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(words, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        program.main(words)
    error = capsys.readouterr().err.strip().splitlines()
    assert told in error[-1]
    assert len([line for line in error if "error:" in line]) == 1
