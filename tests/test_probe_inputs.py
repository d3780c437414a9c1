"""What a probe is given, and what it says of it: votes, units, files and flags."""

import csv

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from experiments.lab import gate
from experiments.lab.parts import Parts
from experiments.probe import __main__ as program
from experiments.probe import choosing, features, fits, groups, measures, probing, results, testing
from experiments.probe.sets import EvaluationSet
from lincls import data, linear
from lincls.structs import LinearParams

pytestmark = pytest.mark.usefixtures("optax_promotes")


# --- more features than examples ---------------------------------------------------------------


def test_fewer_rows_than_features_have_as_many_axes_and_the_same_optimum():
    rng = np.random.default_rng(4)
    y = rng.permutation(np.arange(60) % 3)
    X = (rng.normal(size=(3, 90))[y] + rng.normal(size=(60, 90)) + 5).astype(np.float32)
    queries = (rng.normal(size=(40, 90)) + 5).astype(np.float32)
    thin = probing.rotate(X)
    assert thin.Z.shape == (60, 60)
    centred = (X - thin.affine.shift) * thin.affine.scale
    np.testing.assert_allclose(thin.Z @ thin.Z.T, centred @ centred.T, atol=2e-4)
    np.testing.assert_allclose(thin.axes.T @ thin.axes, np.eye(60), atol=1e-5)
    plan = fits.Plan(2, 180_000, 512, 1e-3)
    params, _ = fits.FITS["early"](
        jax.random.key(0), thin, y, 3, np.ones((1, 60), np.float32), np.array([1e-2]), plan
    )
    model = thin.on_rows(LinearParams(params.W[0], params.b[0]))
    whole = LogisticRegression(C=1 / (2 * 60 * 1e-2), tol=1e-8, max_iter=1000).fit(centred, y)
    scores = np.asarray(linear.scores(model, queries))
    expected = whole.decision_function((queries - thin.affine.shift) * thin.affine.scale)
    difference = scores - scores.mean(axis=1, keepdims=True) - expected
    assert np.abs(difference).max() < 0.02 * np.abs(expected).max()


# --- units -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """Overlapping classes: 120 examples to train on and 40 to test, 6 features, 4 classes."""
    rng = np.random.default_rng(5)
    y = rng.permutation(np.arange(160) % 4)
    X = (rng.normal(size=(4, 6))[y] + rng.normal(size=(160, 6))).astype(np.float32)
    return {"X_train": X[:120], "y_train": y[:120], "X_test": X[120:], "y_test": y[120:]}


def predicted(arrays, dtype=np.float32, **numbers):
    settings = choosing.Settings(seeds=1, num_neighbors=9, probes=("l1", "l2", "cosine"), **numbers)
    arrays = {k: v.astype(dtype) if k[0] == "X" else v for k, v in arrays.items()}
    given = gate.Data(data.from_arrays(*arrays.values()))
    task, chosen = choosing.choose(given, settings, 0)
    test = EvaluationSet("test", given.open_test("the test"), None)
    tested = list(testing.test(test, given, task, chosen, settings, Parts()))
    return {name: np.stack([getattr(one.outcome, name) for one in tested])
            for name in ("scores", "predictions")}  # fmt: skip


@pytest.mark.parametrize("power", [90, -100])
def test_the_size_of_the_features_changes_no_neighbour(small, power):
    usual = predicted(small)["scores"]
    other = {k: np.ldexp(v, power) if k[0] == "X" else v for k, v in small.items()}
    np.testing.assert_array_equal(predicted(other)["scores"], usual)
    other["X_train"][7] = np.ldexp(1.0, min(power + 25, 127))
    found = predicted(other)["predictions"]
    assert np.mean(found == predicted(small)["predictions"]) > 0.9


def test_rows_of_norm_1_also_of_huge_doubles_in_the_other_byte_order(small):
    usual = predicted(small, normalise="unit")["scores"]
    other = {k: np.ldexp(v.astype(float), 700) if k[0] == "X" else v for k, v in small.items()}
    np.testing.assert_array_equal(predicted(other, ">f8", normalise="unit")["scores"], usual)


def test_features_of_usual_size_stay_as_they_are(small):
    X = small["X_train"]
    assert features.exponent(X) == 0
    assert features.scaled(X, 0) is X
    assert features.exponent(np.full((3, 2), 255, np.uint8)) == 0


# --- what is refused, and what is said ---------------------------------------------------------


def refusal(words, capsys):
    """The line that a command line ends with, with exit status 2."""
    with pytest.raises(SystemExit, match="2"):
        program.main(words)
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(("part", "name"), [("X_train", "training"), ("X_test", "test")])
def test_nan_in_either_part_is_told_when_the_file_is_read(tmp_path, small, part, name, capsys):
    bad = small[part].copy()
    bad[3, 2] = np.nan
    np.savez(tmp_path / "bad.npz", **small | {part: bad})
    told = refusal(["--dataset", str(tmp_path / "bad.npz")], capsys)
    assert f"the {name} part of the features holds NaN or infinity, first in row 3" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--learning-rate", "inf"],
            "--learning-rate: must be a number, at least 1e-09 and finite, got 'inf'",
        ),
        (["--strongest", "inf"], "--strongest: must be a number, at least 1e-09 and finite"),
        (["--epochs", "inf"], "--epochs: must be a number, at least 0 and finite"),
        (["--learning-rate", "0"], "--learning-rate: must be a number, at least 1e-09, got '0'"),
        (["--validation", "0"], "a number, greater than 0 and less than 1, got '0'"),
        (["--folds", "1000"], "--folds 1000: there are only 120 training examples"),
        (["--folds", "5", "grouped"], "--folds 5: there are only 4 groups in groups"),
        (["--folds", "3", "grouped", "--groups", "unknown"], "got nan in row 1 and 60 times"),
    ],
)
def test_what_does_not_fit_is_told_by_the_name_of_its_flag(tmp_path, small, words, told, capsys):
    unknown = np.where(np.arange(120) % 2, np.nan, 1.0)
    np.savez(tmp_path / "small.npz", **small, groups=small["y_train"], unknown=unknown)
    assert told in refusal(["--dataset", str(tmp_path / "small.npz"), *words], capsys)


def test_a_folder_is_meant_by_any_of_its_files_also_for_the_groups(tmp_path):
    np.save(tmp_path / "groups.npy", np.arange(5) % 2)
    found = groups.read_array(str(tmp_path / "X_train.npy"), "groups", 5)
    assert found.tolist() == [0, 1, 0, 1, 0]


def test_classes_without_training_examples_are_named_and_rows_have_names(tmp_path, small, capsys):
    np.savez(tmp_path / "small.npz", **small | {"y_train": small["y_train"] % 3})
    words = ["--dataset", str(tmp_path / "small.npz"), "--out", str(tmp_path), "--smoke",
             "--probes", "l2", "exp", "--shots", "2", "all", "--num-neighbors", "9",
             "--metrics", "top1"]  # fmt: skip
    assert program.main(words) == 0
    assert "1 class is only in the test part and found by no probe: 3." in capsys.readouterr().out
    (folder,) = (path.parent for path in tmp_path.glob("small-smoke/probe/*/results.json"))
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    with np.load(folder / "predictions.npz") as saved:
        for name in ("name", "probe", "shots", "seed"):
            of_rows = [row[name] for row in rows if row["metric"] == "top1"]
            assert saved[name].astype(str).tolist() == of_rows
        assert saved["class_names"].tolist() == ["0", "1", "2", "3"]


# --- trainings that go astray ------------------------------------------------------------------


def test_a_step_size_that_leads_nowhere_is_refused_by_its_flag(tmp_path, small, capsys):
    np.savez(tmp_path / "small.npz", **small)
    words = ["--dataset", str(tmp_path / "small.npz"), "--out", str(tmp_path), "--smoke",
             "--seeds", "1", "--probes", "linear", "--learning-rate", "1e30",
             "--strengths", "2", "--steps", "20", "--examples", "400",
             "--fit", "early"]  # fmt: skip
    assert program.main(words) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: the linear probe diverged; --learning-rate 1e+30 is too")
    assert not list(tmp_path.glob("**/results.json"))


def test_a_strength_that_diverges_is_not_chosen(small, monkeypatch, capsys):
    settings = choosing.Settings(strengths=3, seeds=1, probes=("linear",), examples=1, steps=5,
                                fit="early")  # fmt: skip
    task = next(choosing.tasks(gate.Data(data.from_arrays(*small.values())), settings, 0))
    whole = fits.FITS["early"]

    def some_diverge(*args, **more):
        params, diverged = whole(*args, **more)
        return params, diverged | (args[5] != settings.regs[2])

    monkeypatch.setitem(fits.FITS, "early", some_diverge)
    assert choosing.choose_linear(task, "all", settings).value == settings.regs[2]
    assert "2 of 3 strengths diverged and are left out" in capsys.readouterr().err


def test_small_sets_are_full_batches_and_great_ones_take_no_more_steps_than_their_examples():
    plan = choosing.Settings().plan
    assert fits.schedule(160, plan) == (160, 2500)
    assert fits.schedule(2000, plan) == (512, 2000)
    assert fits.schedule(50_000, plan) == (512, 781)


def test_of_lengths_that_are_equally_good_the_shortest_is_chosen_and_told(small):
    """Easy classes: every length and strength finds all of them."""
    easy = {k: v + 20 * np.eye(6)[small[f"y{k[1:]}"]] if k[0] == "X" else v
            for k, v in small.items()}  # fmt: skip
    settings = choosing.Settings(strengths=2, weakest=1e-3, strongest=1e-2, seeds=1, fit="early",
                                 probes=("linear",), lengths=(1.0, 0.5), examples=960,
                                 steps=1, epochs=0)  # fmt: skip
    found = choosing.choose(gate.Data(data.from_arrays(*easy.values())), settings, 0)[1][0]
    assert (found.epochs, found.of_epochs, found.value) == (4, (4, 8), 1e-2)
    told = results.row(found, OUTCOME, [], None)
    assert results.chosen([told | {"at_edge": False}]) == "strength 1.0e-02, epochs 4 of 4, 8"


OUTCOME = measures.Outcome(np.zeros(1, int), np.zeros(1, int), 2, np.zeros((1, 2)))


# --- groups of a table ---------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    """80 rows of 20 patients, with the patient in a column of text."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(6)
    y = np.arange(80) % 2
    frame = pandas.DataFrame(rng.normal(size=(80, 3)) + y[:, None], columns=["a", "b", "c"])
    frame.assign(kind=y, patient=[f"p{i // 4}" for i in range(80)]).to_csv(
        tmp_path / "table.csv", index=False
    )
    return tmp_path / "table.csv"


def test_groups_of_a_table_are_a_column(table, tmp_path, monkeypatch):
    seen = []
    choose = choosing.choose
    monkeypatch.setattr(choosing, "choose", lambda *a: seen.append(a) or choose(*a))
    words = ["--dataset", str(table), "--labels", "kind", "--groups", "patient", "--folds", "4",
             "grouped", "--probes", "l2", "--smoke", "--out", str(tmp_path)]  # fmt: skip
    assert program.main(words) == 0
    opened, groups_of_rows = seen[0][0], seen[0][3]
    assert opened.train.images.shape == (64, 3)
    assert groups_of_rows.tolist() == opened.groups.train.tolist()
    assert len(set(opened.groups.test)) == 4
    assert not set(opened.groups.test) & set(groups_of_rows)


@pytest.mark.parametrize("words", [["--groups", "doctor"], ["--folds", "grouped"]])
def test_a_column_of_groups_that_is_not_there_is_refused_by_name(table, tmp_path, capsys, words):
    asked = ["--dataset", str(table), "--labels", "kind", "--out", str(tmp_path), *words]
    with pytest.raises(SystemExit, match="2"):
        program.main(asked)
    name = "doctor" if "doctor" in words else "groups"
    assert (
        f"has no column {name} to take the groups from: give groups=, one of a, b, c, patient"
        in (capsys.readouterr().err)
    )
