"""The program for several labels a row: what it computes, writes and refuses."""

import csv
import json

import numpy as np
import pytest
import sklearn.metrics
from sklearn.linear_model import LogisticRegression

from experiments.bench import multilabel as bench
from experiments.lab import gate
from experiments.lab.parts import Parts
from experiments.probe import __main__ as program
from experiments.probe.multilabel import computing, coverage, source
from experiments.probe.multilabel.settings import Settings
from lincls import evaluation

pytestmark = pytest.mark.usefixtures("optax_promotes")

RNG = np.random.default_rng(230)
N, D, C = 120, 5, 3
X = RNG.normal(size=(N + 40, D)).astype(np.float32)
Y = (X @ RNG.normal(size=(D, C)) + RNG.normal(size=(N + 40, C)) > [0, 0.5, 1]).astype(int)
ARRAYS = {"X_train": X[:N], "y_train": Y[:N], "X_test": X[N:], "y_test": Y[N:]}
NAMES = ["cat", "dog", "=1+1"]
FLAGS = ["--folds", "3", "--seeds", "2", "--strengths", "3", "--weakest", "1e-3", "--strongest",
         "1e-1", "--num-neighbors", "4", "--gap", "1e-5"]  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "several.npz"
    np.savez(path, **ARRAYS, class_names=np.array(NAMES))
    return path


def words(file, *more):
    return ["--dataset", str(file), "--out", str(file.parent / "out"), *FLAGS, *more]


def written(file):
    (found,) = file.parent.glob("out/*/probe/*/results.json")
    return json.loads(found.read_text()), found.parent


def test_the_whole_program(file, capsys):
    assert program.main(words(file)) == 0
    said = capsys.readouterr()
    assert "kNN, cosine | " in said.out
    assert "the test set was opened once" in said.out
    found, folder = written(file)
    for name, title in (("linear", "linear, binary cross-entropy"), ("cosine", "kNN, cosine")):
        of_seeds = [row["ap"] for row in found["results"] if row["probe"] == name]
        assert f"| {title} | {100 * np.mean(of_seeds):.1f} (" in said.out
    assert found["test_set"] == {"times_used": 1, "for": ["8 chosen probes"]}
    assert found["data"]["class_names"] == NAMES
    with np.load(folder / "predictions.npz") as arrays:
        arrays = dict(arrays)
    np.testing.assert_array_equal(arrays["labels"], Y[N:])
    for row, scores, predictions in zip(
        found["results"], arrays["scores"], arrays["predictions"], strict=True
    ):
        check_measures(row, scores, predictions)
    check_linear(found, arrays["scores"][0], folder)
    with (folder / "results.csv").open() as lines:
        told = list(csv.DictReader(lines))
    assert len(told) == 8 * 3
    assert float(told[1]["value"]) == found["results"][0]["micro_f1"]
    assert program.main(words(file)) == 0
    assert "already finished" in capsys.readouterr().err


def check_measures(row, scores, predictions):
    """The numbers of a result are scikit-learn's of what was said of the test examples."""
    np.testing.assert_array_equal(predictions, scores > (0 if row["probe"] == "linear" else 0.5))
    for name, value in (
        ("ap", sklearn.metrics.average_precision_score(Y[N:], scores)),
        ("micro_f1", sklearn.metrics.f1_score(Y[N:], predictions, average="micro")),
        ("macro_f1", sklearn.metrics.f1_score(Y[N:], predictions, average="macro")),
    ):
        assert row[name] == pytest.approx(value)
        assert row[f"{name}_low"] < value < row[f"{name}_high"]


def check_linear(found, scores, folder):
    row = found["results"][0]
    assert row["probe"] == "linear"
    assert 0 <= row["gap"] <= 1e-5
    rows = (X - X[:N].mean(axis=0)) / np.sqrt(((X[:N] - X[:N].mean(axis=0)) ** 2).mean())
    for c in range(C):
        model = LogisticRegression(C=1 / (2 * N * row["strength"]), tol=1e-9, max_iter=5000)
        expected = model.fit(rows[:N], Y[:N, c]).decision_function(rows[N:])
        np.testing.assert_allclose(scores[:, c], expected, atol=0.03)
    with np.load(folder / "heads.npz") as heads:
        np.testing.assert_allclose(X[N:] @ heads["W"][0].T + heads["b"][0], scores, rtol=1e-4)


@pytest.mark.parametrize("normalise", ["unit", "standard"])
def test_other_rows_and_a_validation_part(file, normalise):
    settings = Settings(("linear", "l2"), normalise, seeds=1, strengths=2, num_neighbors=3)
    found = computing.compute(gate.Data(source.read(file)), None, settings, 0, Parts())
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    if normalise == "standard":
        rows = (X - X[:N].mean(axis=0)) / X[:N].std(axis=0)
    k = found.numbers["results"][1]["k"]
    distances = ((rows[N:, None] - rows[None, :N]) ** 2).sum(axis=2)
    expected = Y[:N][distances.argsort(axis=1)[:, :k]].mean(axis=1)
    np.testing.assert_allclose(found.arrays["predictions"]["scores"][1], expected)


def test_groups_of_test_examples_widen_the_intervals(file, capsys):
    np.savez(file, **ARRAYS, groups_test=np.arange(40) // 10)
    assert program.main(words(file, "--probes", "linear", "--seeds", "1")) == 0
    assert "95 % CI over the groups of test examples" in capsys.readouterr().out
    found, folder = written(file)
    with np.load(folder / "predictions.npz") as arrays:
        estimate = evaluation.multilabel_average_precision(
            arrays["scores"][0], Y[N:], np.arange(40) // 10
        )
    assert found["results"][0]["ap_low"] == pytest.approx(evaluation.interval(estimate).low)


def test_a_class_that_a_part_has_not_is_named(file, capsys):
    more = {key: np.column_stack([a, np.zeros(len(a), int)]) if key[0] == "y" else a
            for key, a in ARRAYS.items()}  # fmt: skip
    np.savez(file, **more, class_names=np.array([*NAMES, "bird"]))
    assert program.main(words(file, "--seeds", "1", "--probes", "l2", "linear")) == 0
    told = capsys.readouterr().out
    assert "mAP leaves out classes that all test rows have, or none: bird." in told
    assert "3 of 12 pairs of a fold and a class had one answer only" in told


# --- what is refused ---------------------------------------------------------------------------


def refusal(argv, capsys):
    with pytest.raises(SystemExit, match="2"):
        program.main(argv)
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "flag", ["--shots", "--metrics", "--protocol", "--others", "--audit", "--fit", "--ks=3"]
)
def test_a_flag_of_single_labels_is_refused_by_name(file, flag, capsys):
    told = refusal(words(file, flag, "1"), capsys)
    assert told == f"error: {flag.split('=')[0]} is for one label a row; {file} has several"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_train": 2 * Y[:N]}, "y_train must be 0 and 1, got 2"),
        ({"y_train": Y[: N - 1]}, "y_train must have shape (120, C)"),
        ({"y_test": Y[N:, :2]}, "y_train has 3 classes and y_test 2; they must agree"),
        ({"X_test": X[N:, :2]}, "X_train has 5 features and X_test 2; they must agree"),
        ({"X_train": X[:N] * np.nan}, "the training part of the features holds NaN"),
        ({"y_test": Y[N:, 0]}, "y_test must have shape (40, C)"),
        ({"y_test": 0 * Y[N:]}, "y_test must have a class that some rows have"),
        ({"class_names": np.array(["a", "a", "b"])}, "class_names must be 3 different names"),
        ({"X_test": None}, "must hold X_test: several labels a row need a training and a test"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(file, change, told, capsys):
    np.savez(file, **{k: a for k, a in (ARRAYS | change).items() if a is not None})
    assert told in refusal(words(file), capsys)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--folds", "1"], "--folds must be 0, for a validation part, or at least 2, got 1"),
        (["--folds", "121"], "--folds 121: there are only 120 training rows"),
        (["--folds", "0", "--validation", "2"], "greater than 0 and less than 1, got '2'"),
        (["--weakest", "1"], "--weakest 1 must be at most --strongest 0.1"),
        (["--probes", "exp"], "must be linear or l1 or l2 or cosine, got 'exp'"),
    ],
)
def test_a_number_out_of_range_is_refused_by_its_flag(file, flags, told, capsys):
    assert told in refusal(words(file, *flags), capsys)


def test_one_hot_rows_and_single_labels_are_left_to_the_other_door(file, capsys):
    labels = np.arange(N + 40) % C
    for given in (np.eye(C, dtype=int)[labels], labels):
        np.savez(file, **ARRAYS | {"y_train": given[:N], "y_test": given[N:]})
        assert not source.has_matrices(file)
    np.savez(file, **ARRAYS | {"y_train": np.eye(C)[labels[:N]], "y_test": np.eye(C)[labels[N:]]})
    assert "for one-hot labels use labels.argmax(axis=1)" in refusal(words(file), capsys)


def test_a_folder_of_npy_files_is_read_too(tmp_path):
    for name, array in ARRAYS.items():
        np.save(tmp_path / f"{name}.npy", array.astype(bool) if name[0] == "y" else array)
    assert source.has_matrices(tmp_path)
    found = source.read(tmp_path)
    np.testing.assert_array_equal(found.test.labels, Y[N:])
    assert found.class_names == ("0", "1", "2")
    (tmp_path / "y_train.npy").write_bytes(b"damaged")
    assert not source.has_matrices(tmp_path)


def test_the_bench_prints_a_row_for_each(capsys):
    assert bench.main(["--rows", "60", "--features", "3", "--classes", "2"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4
    assert all(float(row.split("|")[3]) <= 0.02 for row in rows)


def test_the_coverage_of_few_test_sets(capsys):
    assert coverage.main(["--tests", "2"]) == 0
    assert capsys.readouterr().out.count("| mAP |") == 4
