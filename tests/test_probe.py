"""Probing embeddings: choosing without the test set, scikit-learn's numbers, what is written."""

import csv
import json

import jax
import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
    top_k_accuracy_score,
)
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.neighbors import KNeighborsClassifier

from experiments.lab import gate
from experiments.probe import __main__ as program
from experiments.probe import choosing, features, fits, groups, measures, probing, results, testing
from experiments.probe.choosing import judging
from experiments.report import probe as report
from lincls import data, knn, objective, preprocessing, splits
from lincls.structs import Examples, Hyper, LinearParams

SMALL = ["--strengths", "3", "--weakest", "1e-2", "--strongest", "1e-1", "--num-neighbors", "9",
         "--seeds", "2",
         "--probes", "linear", "l2", "exp"]  # fmt: skip


pytestmark = pytest.mark.usefixtures("optax_promotes")


@pytest.fixture(scope="module")
def examples():
    """Overlapping classes: 240 examples to train on and 60 to test, 12 features, 4 classes."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(300) % 4)
    X = rng.normal(size=(4, 12))[y] + 1.2 * rng.normal(size=(300, 12)) + 3
    return {"X_train": X[:240].astype(np.float32), "y_train": y[:240],
            "X_test": X[240:].astype(np.float32), "y_test": y[240:]}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory, examples):
    """The folder of a whole run, with the file that it read beside the results."""
    folder = tmp_path_factory.mktemp("probe")
    np.savez(folder / "small.npz", **examples)
    run(folder, folder / "results")
    return folder


def run(folder, out, *more):
    words = ["--dataset", str(folder / "small.npz"), "--out", str(out), *SMALL, *more]
    assert program.main(words) == 0


def folder_of(out):
    """The folder of the one result."""
    (found,) = (out / "results" / "small" / "probe").glob("*/results.json")
    return found.parent


def written(out):
    return json.loads((folder_of(out) / "results.json").read_text())


def arrays(out, name="predictions"):
    with np.load(folder_of(out) / f"{name}.npz") as found:
        return dict(found)


def of(found, name, seed=0):
    """The place of a result, and the result."""
    place, result = next(
        (i, r) for i, r in enumerate(found["results"])
        if (r["probe"], r["seed"]) == (name, seed)
    )  # fmt: skip
    return place, result


def settings(**numbers):
    return choosing.Settings(strengths=3, weakest=1e-2, strongest=1e-1, num_neighbors=9, **numbers)


def only_task(examples, **numbers):
    given = gate.Data(data.from_arrays(*examples.values()))
    return next(choosing.tasks(given, settings(**numbers), seed=0))


# --- choosing ----------------------------------------------------------------------------------


def test_what_is_chosen_does_not_depend_on_the_test_set(out, examples, monkeypatch):
    other = examples | {"X_test": -examples["X_test"][::-1], "y_test": examples["y_test"][::-1]}
    given = gate.Data(data.from_arrays(*other.values()))
    chosen = settings(seeds=2, probes=("linear", "l2", "exp"))
    found = choosing.choose(given, chosen, 0)[1]
    before = written(out)["results"]
    assert [one.value for one in found] == [r["strength"] or r["k"] for r in before]
    assert [one.selection for one in found] == [r["selection"] for r in before]
    assert given.test_uses == []
    assert written(out)["test_set"] == {"times_used": 1, "for": ["6 chosen probes"]}


def test_choosing_k_on_folds_agrees_with_scikit_learn(examples):
    task = only_task(examples, folds=("3",), probes=("l1",))
    found = choosing.choose_knn(task, "all", settings(folds=("3",), probes=("l1",)))[0]
    folds = splits.stratified_folds(jax.random.key(0), examples["y_train"], 3)
    X, y = examples["X_train"], examples["y_train"]
    expected = []
    for k in range(1, 10):
        model = KNeighborsClassifier(k, metric="manhattan")
        parts = [
            model.fit(X[folds != f], y[folds != f]).score(X[folds == f], y[folds == f])
            for f in range(3)
        ]
        expected.append(np.mean(parts))
    assert found.value == np.argmax(expected) + 1
    assert found.selection == pytest.approx(max(expected))


def test_all_strengths_and_folds_in_one_program_reach_their_optima(examples):
    task = only_task(examples, folds=("3",))
    weights, regs = task.weights(None, to_choose=True), np.array([1e-1, 3e-2, 1e-2])
    plan = fits.Plan(3, 150_000, 512, 1e-3)
    params, diverged = fits.FITS["early"](
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
    found = judging.of_linear(grid, task.rotated, task.y, task.held, "top1")
    held = task.held[2]
    scores = task.rotated.Z[held] @ grid.W[1, 2].T + grid.b[1, 2]
    assert found[1, 2] == pytest.approx(np.mean(scores.argmax(axis=1) == task.y[held]))
    assert np.abs(found - np.reshape(accuracies, (3, 3))).max() <= 1.01 / 80


def loss(params, Z, y, reg):
    batch = Examples(Z, y, np.ones(len(y), np.float32))
    return float(objective.evaluate(objective.Objective(), params, batch, Hyper({}, reg))[0])


def test_grouped_folds_part_no_group_and_are_what_is_chosen_on(tmp_path, examples):
    sources = np.random.default_rng(1).integers(0, 30, 240)
    np.savez(tmp_path / "grouped.npz", **examples, source=sources.astype(str))
    words = ["--dataset", str(tmp_path / "grouped.npz"), "--out", str(tmp_path), "--folds",
             "grouped", "4", "--groups", "source", "--probes", "l2", "--seeds", "1",
             "--num-neighbors", "9", "--metrics", "top1"]  # fmt: skip
    assert program.main(words) == 0
    (path,) = (tmp_path / "grouped" / "probe").glob("*/results.json")
    found = json.loads(path.read_text())
    assert "4 grouped folds" in results.caption(found)
    folds = splits.grouped_folds(jax.random.key(0), sources.astype(str), 4)
    X, y = examples["X_train"], examples["y_train"]
    model = KNeighborsClassifier(found["results"][0]["k"])
    parts = [
        model.fit(X[folds != f], y[folds != f]).score(X[folds == f], y[folds == f])
        for f in range(4)
    ]
    assert found["results"][0]["selection"] == pytest.approx(np.mean(parts))


def test_groups_of_another_length_are_refused(tmp_path, examples):
    np.savez(tmp_path / "short.npz", **examples, groups=np.arange(300))
    with pytest.raises(ValueError, match=r"shape \(240,\).*got \(300,\)"):
        groups.read_array(str(tmp_path / "short.npz"), "groups", 240)
    np.save(tmp_path / "writer.npy", np.arange(7) % 3)
    found = groups.read_array(str(tmp_path), "writer", 7)
    assert found.tolist() == [0, 1, 2, 0, 1, 2, 0]


# --- few shots ---------------------------------------------------------------------------------


def test_shots_are_of_each_class_among_those_present_and_the_smaller_in_the_greater():
    y = np.repeat([0, 1, 2], [50, 40, 3])
    present = np.ones((2, 93), bool)
    present[1, ::2] = False
    four, eight = (features.shot_weights(jax.random.key(1), y, present, n) for n in (4, 8))
    assert [np.bincount(y, row).tolist() for row in four] == [[4, 4, 3], [4, 4, 1]]
    assert np.bincount(y, eight[1]).tolist() == [8, 8, 1]
    assert not four[1][~present[1]].any()
    assert (four <= eight).all()
    halves = features.shot_weights(jax.random.key(1), y, present, 0.5)
    assert [np.bincount(y, row).tolist() for row in halves] == [[25, 20, 2], [12, 10, 1]]
    other = features.shot_weights(jax.random.key(2), y, present, 4)
    assert (four != other).any()
    np.testing.assert_array_equal(
        features.shot_weights(jax.random.key(1), y, present, None), present
    )


def test_few_shots_are_what_the_probe_learns_from(examples):
    few = settings(probes=("l2",), shots=("2,3", "all"))
    assert few.shot_counts == {"2": 2, "3": 3, "all": None}
    task = only_task(examples)
    found = choosing.choose_knn(task, "2", few)
    scores = testing.Scoring(task, examples["X_test"], few).arrays(found[0])["scores"]
    there = task.weights(2, to_choose=False)[0] > 0
    assert np.bincount(task.y[there]).tolist() == [2, 2, 2, 2]
    model = KNeighborsClassifier(int(found[0].value)).fit(task.X[there], task.y[there])
    np.testing.assert_array_equal(scores.argmax(axis=1), model.predict(examples["X_test"]))
    there = task.weights(2, to_choose=True)[0] > 0
    assert there.sum() == 8
    model.fit(task.X[there], task.y[there])
    expected = model.score(task.X[task.held[0]], task.y[task.held[0]])
    assert found[0].selection == pytest.approx(expected)


# --- the test ----------------------------------------------------------------------------------


def test_linear_probe_is_logistic_regression_at_the_same_strength(out, examples):
    place, result = of(written(out), "linear")
    affine = preprocessing.fit(examples["X_train"])
    train, test = (
        np.asarray(preprocessing.apply(affine, examples[name])) for name in ("X_train", "X_test")
    )
    model = LogisticRegression(C=1 / (2 * len(train) * result["strength"]), tol=1e-8)
    expected = model.fit(train, examples["y_train"]).predict(test)
    assert np.mean(arrays(out)["predictions"][place] == expected) >= 59 / 60


@pytest.mark.parametrize(
    ("name", "metric", "weights"),
    [
        ("l2", "euclidean", "uniform"),
        ("exp", "cosine", lambda distances: np.exp((1 - distances) / 0.07)),
    ],
)
def test_knn_probes_are_scikit_learns(out, examples, name, metric, weights):
    place, result = of(written(out), name, seed=1)
    model = KNeighborsClassifier(result["k"], metric=metric, weights=weights)
    model.fit(examples["X_train"], examples["y_train"])
    np.testing.assert_array_equal(
        arrays(out)["predictions"][place], model.predict(examples["X_test"])
    )


def test_votes_for_every_k_are_those_of_scikit_learn(examples):
    X, y = examples["X_train"], examples["y_train"]
    near = features.search("cosine", X, y, examples["X_test"], 7, temperature=0.5)
    for weights in (None, near.weights):
        found = knn.predictions_by_k(near.labels, range(1, 8), 4, weights)
        rule = "uniform" if weights is None else lambda d: np.exp(-d / 0.5)
        for k in (1, 4, 7):
            model = KNeighborsClassifier(k, metric="cosine", weights=rule).fit(X, y)
            np.testing.assert_array_equal(found[k - 1], model.predict(examples["X_test"]))


def test_measures_agree_with_scikit_learn():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, 200)
    scores = rng.normal(size=(200, 7)) + 2 * np.eye(7)[labels]
    outcome = measures.Outcome(scores.argmax(axis=1), labels, 7, scores)
    chances = measures.probabilities(outcome)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        mean = balanced_accuracy_score(labels, outcome.predictions)
    expected = {
        "top1": np.mean(outcome.predictions == labels),
        "top3": top_k_accuracy_score(labels, scores, k=3, labels=range(7)),
        "per_class": mean,
        "macro_f1": f1_score(labels, outcome.predictions, average="macro"),
        "auroc": np.mean([roc_auc_score(labels == c, chances[:, c]) for c in range(6)]),
        "log_loss": sklearn_log_loss(labels, chances, labels=range(7)),
        "brier": np.mean(np.sum((chances - np.eye(7)[labels]) ** 2, axis=1)),
    }
    for name, value in expected.items():
        found = measures.with_interval(name, outcome)
        assert found.value == pytest.approx(value), name
        assert np.isnan(found.low) or found.low < found.value < found.high


def test_votes_are_shares_and_a_class_without_votes_is_not_among_the_first():
    votes = np.array([[3.0, 1, 0], [0, 0, 0], [2, 2, 0]])
    outcome = measures.Outcome(votes.argmax(axis=1), np.array([1, 1, 2]), 3, votes, are_votes=True)
    shares = [[0.75, 0.25, 0], [0, 0, 0], [0.5, 0.5, 0]]
    np.testing.assert_array_equal(measures.probabilities(outcome), shares)
    assert measures.with_interval("top3", outcome).value == pytest.approx(1 / 3)
    assert measures.with_interval("log_loss", outcome).value == np.inf
    assert results.row(CHOSEN, outcome, ["log_loss"], None)["log_loss"] is None


CHOSEN = probing.Chosen("l2", "all", 0, 3, 0.5, None)


# --- what is written ---------------------------------------------------------------------------


def test_json_csv_and_npz_tell_the_same(out):
    found, saved = written(out), arrays(out)
    with (folder_of(out) / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    metrics = found["settings"]["metrics"]
    assert len(rows) == 3 * 2 * len(metrics)  # probes, seeds
    for row in rows:
        result = next(r for r in found["results"] if r["name"] == row["name"])
        assert float(row["value"]) == result[row["metric"]]
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    right = (saved["predictions"] == saved["labels"]).mean(axis=1)
    np.testing.assert_allclose(right, [result["top1"] for result in found["results"]], rtol=1e-6)
    assert saved["name"].tolist() == [result["name"] for result in found["results"]]
    assert {"settings", "versions", "device", "seed"} <= found.keys()
    assert found["data"]["source"] == "small"


def test_the_heads_and_the_scores_of_every_row_are_saved(out, examples):
    found, saved, heads = written(out), arrays(out), arrays(out, "heads")
    assert heads["W"].shape == (2, 4, 12)
    for W, b, name in zip(heads["W"], heads["b"], heads["name"], strict=True):
        place = saved["name"].tolist().index(name)
        said = (examples["X_test"] @ W.T + b).argmax(axis=1)
        np.testing.assert_array_equal(said, saved["predictions"][place])
    for place, name in enumerate(saved["name"]):
        path = folder_of(out).parent / "parts" / f"test-{name}-{found['parts']}.npz"
        with np.load(path) as scores:
            said = scores["scores"].argmax(axis=1)
        np.testing.assert_array_equal(said, saved["predictions"][place])


def test_the_same_seed_gives_the_same_numbers(out, tmp_path):
    run(out, tmp_path / "results")
    again = written(tmp_path)
    assert again["results"] == written(out)["results"]
    assert again["spread"] == written(out)["spread"]


def rows_of(values, shots="all"):
    """Rows of one seed each, with an interval of 0.1 to either side."""
    return [
        {"probe": "l2", "shots": shots, "seed": seed, "top1": v, "top1_low": v - 0.1,
         "top1_high": v + 0.1, "k": 3}
        for seed, v in enumerate(values)
    ]  # fmt: skip


def test_a_result_that_no_seed_changes_says_so_instead_of_a_deviation_of_zero():
    same, other = np.array([[0, 1], [0, 1]]), np.array([[0, 1], [1, 1]])
    (told,) = results.spread(rows_of([0.5, 0.5]), same, ["top1"])
    assert told["top1_sd"] is None
    assert results.over_seeds(told, "top1") == "seeds change nothing"
    (told,) = results.spread(rows_of([0.5, 0.6]), other, ["top1"])
    assert told["top1_sd"] == pytest.approx(np.std([0.5, 0.6], ddof=1))
    assert results.over_seeds(told, "top1") == "55.00 ± 7.07"


def test_a_row_of_few_shots_is_the_mean_of_its_draws_and_its_interval_contains_the_draw():
    values = [0.45, 0.57, 0.69]
    (told,) = results.spread(rows_of(values, "1"), np.array([[0], [1], [2]]), ["top1"])
    assert told["top1"] == pytest.approx(0.57)
    half = np.hypot(0.1, scipy.stats.t.ppf(0.975, 2) * 0.12 / np.sqrt(3))
    assert (told["top1_low"], told["top1_high"]) == pytest.approx((0.57 - half, 0.57 + half))
    found = {"results": rows_of(values, "1"), "spread": [told]}
    assert results.cells(found, ["top1"])[0][2].startswith("57.0 (25.6 to 88.4)")


def test_a_row_of_all_examples_is_the_mean_of_the_seeds_as_its_headline():
    (told,) = results.spread(rows_of([0.5, 0.6]), np.array([[0], [1]]), ["top1"])
    found = {"results": rows_of([0.5, 0.6]), "spread": [told], "name": "a",
             "settings": {"metrics": ["top1"]}}  # fmt: skip
    number = results.cells(found, ["top1"])[0][2]
    assert number.startswith("55.0 (")
    assert report.headline(found).endswith(f"the best top-1, {number}")


@pytest.mark.parametrize(
    ("strengths", "edges", "told"),
    [
        ([1e-6, 0.05], [True, False], "strength 1.0e-06 to 5.0e-02 (edge of the grid in 1 of 2 "
         "seeds)"),
        ([0.05, 0.05], [True, True], "strength 5.0e-02 (edge of the grid)"),
        ([0.05, 0.05], [False, False], "strength 5.0e-02"),
    ],
)  # fmt: skip
def test_what_every_seed_chose_is_told(strengths, edges, told):
    rows = [{"strength": strength, "k": None, "at_edge": edge, "of_epochs": []}
            for strength, edge in zip(strengths, edges, strict=True)]  # fmt: skip
    assert results.chosen(rows) == told
    assert results.chosen([{"k": 7}, {"k": 1}, {"k": 3}]) == "k = 1 to 7"


def test_the_tables_have_a_line_for_every_probe(out):
    found = written(out)
    lines = results.markdown(found, found["settings"]["metrics"])
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {9}
    assert lines[2].startswith("| linear, softmax | all | ")
    assert (folder_of(out) / "table.md").read_text().splitlines()[2:] == lines
    latex = (folder_of(out) / "table.tex").read_text()
    assert latex.count(r"\\") == 1 + 3
    assert "±" not in latex


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dataset", "nowhere.npz"], "nowhere.npz"),
        (["--foldz", "3"], "there is no flag --foldz; did you mean --folds?"),
        (["--folds", "1"], "--folds must be 0"),
        (["--folds", "grouped", "1"], "--folds must be 0"),
        (["--folds", "5", "random"], "got 5 random"),
        (["--folds", "grouped"], "--folds grouped needs an array groups in digits"),
        (["--shots", "2,some"], "percentages such as 10%, or all, got 'some'"),
        (["--shots", "0%"], "percentages such as 10%, or all, got '0%'"),
        (["--metrics", "f1"], "--metrics must be topK such as top1"),
        (["--protocol", "imagenet"], "--protocol must be none or of dino-knn"),
        (["--validation", "1.5"], "a number, greater than 0 and less than 1, got '1.5'"),
        (["--powers", "2"], "a number, at least 0 and at most 1, got '2'"),
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
