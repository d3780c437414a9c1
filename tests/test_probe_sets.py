"""Several test sets, several feature files and several protocols in one run, and its page."""

import json

import numpy as np
import pytest

from experiments.probe import __main__ as program
from experiments.probe import sets
from lincls import data, placement

pytestmark = pytest.mark.usefixtures("optax_promotes")
FLAGS = ["--smoke", "--strengths", "3", "--num-neighbors", "5", "--probes", "linear", "l2",
         "--seeds", "1", "--metrics", "top1", "ece"]  # fmt: skip
RNG = np.random.default_rng(12)
NAMES = np.array(["ant", "bee", "cat", "dog"])
MEANS = RNG.normal(size=(4, 6))


def drawn(count, noise=1.0):
    y = RNG.permutation(np.arange(count) % 4)
    return (MEANS[y] + noise * RNG.normal(size=(count, 6))).astype(np.float32), NAMES[y]


TRAIN, TEST, SHIFTED = drawn(80), drawn(40), drawn(30, 2.0)
ARRAYS = {"X_train": TRAIN[0], "y_train": TRAIN[1], "X_test": TEST[0], "y_test": TEST[1]}
MORE = {"X_test_shift": SHIFTED[0], "y_test_shift": SHIFTED[1]}


def saved(path, **arrays):
    np.savez(path, **ARRAYS | arrays)
    return path


def run(out, file, *more):
    assert program.main(["--dataset", str(file), "--out", str(out), *FLAGS, *more]) == 0
    return {path.parent: json.loads(path.read_text()) for path in out.glob("**/results.json")}


def test_a_further_test_set_gets_the_numbers_it_has_as_the_only_one(tmp_path):
    ((folder, both),) = run(tmp_path / "both", saved(tmp_path / "both.npz", **MORE)).items()
    alone = saved(tmp_path / "alone.npz", X_test=SHIFTED[0], y_test=SHIFTED[1])
    (expected,) = run(tmp_path / "alone", alone).values()
    assert both["further"]["shift"]["results"] == expected["results"]
    assert both["further"]["shift"]["num_test"] == 30
    with np.load(folder / "predictions-shift.npz") as arrays:
        right = arrays["predictions"] == arrays["labels"]
    assert [row["top1"] for row in expected["results"]] == right.mean(axis=1).tolist()
    lines = (folder / "results.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["test"] * 5 + ["shift"] * 4


def test_labels_of_a_further_test_set_are_numbered_as_the_datas(tmp_path):
    """It has two of the four classes, and as text or as numbers they are the same ones."""
    few = np.isin(SHIFTED[1], ["bee", "dog"])
    path = saved(tmp_path / "text.npz", X_test_few=SHIFTED[0][few], y_test_few=SHIFTED[1][few])
    (found,) = sets.further(str(path), data.load(str(path)))
    assert NAMES[found.split.labels].tolist() == SHIFTED[1][few].tolist()
    numbers = {key: 10 * np.searchsorted(NAMES, ARRAYS[key]) for key in ("y_train", "y_test")}
    y = 10 * np.searchsorted(NAMES, SHIFTED[1][few])
    path = saved(tmp_path / "n.npz", X_test_few=SHIFTED[0][few], y_test_few=y, **numbers)
    (found,) = sets.further(str(path), data.load(str(path)))
    assert NAMES[found.split.labels].tolist() == SHIFTED[1][few].tolist()


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"X_test_a": SHIFTED[0]}, "X_test_a and y_test_a must be given together"),
        ({"y_test_a": SHIFTED[1]}, "X_test_a and y_test_a must be given together"),
        ({"X_test_a": SHIFTED[0][:, :3], "y_test_a": SHIFTED[1]}, "must have 6 features"),
        ({"X_test_a": SHIFTED[0] > 0, "y_test_a": SHIFTED[1]}, "X_test_a"),
        ({"X_test_a": SHIFTED[0], "y_test_a": SHIFTED[1][:3]}, "y_test_a must have shape (30,)"),
        ({"X_test_a": SHIFTED[0], "y_test_a": np.full(30, "eel")}, "labels that the data do not"),
        ({"X_test_a": SHIFTED[0] * np.nan, "y_test_a": SHIFTED[1]}, "X_test_a"),
    ],
)
def test_a_further_test_set_that_does_not_fit_is_refused_by_name(arrays, told, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        program.main(["--dataset", str(saved(tmp_path / "bad.npz", **arrays))])
    assert told in capsys.readouterr().err


def test_names_of_the_test_examples_are_no_test_set(tmp_path):
    path = saved(tmp_path / "named.npz", X_test_files=np.array(["a.png"] * 40))
    assert sets.further(str(path), data.load(str(path))) == []


def test_a_folder_of_arrays_has_further_test_sets_and_may_hold_other_files(tmp_path):
    for name, array in (ARRAYS | MORE).items():
        np.save(tmp_path / f"{name}.npy", array)
    np.save(tmp_path / "paths.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (found,) = sets.further(str(tmp_path), data.load(str(tmp_path)))
    assert (found.name, len(found.split.labels)) == ("shift", 30)


@pytest.mark.parametrize("kept", [slice(1, None), slice(None, None, -1)], ids=["fewer", "order"])
def test_feature_files_of_other_test_examples_are_refused_by_name(kept, tmp_path, capsys):
    other = saved(tmp_path / "other.npz", X_test=TEST[0][kept], y_test=TEST[1][kept])
    words = ["--dataset", str(saved(tmp_path / "first.npz")), "--others", str(other)]
    with pytest.raises(SystemExit, match="2"):
        program.main([*words, "--out", str(tmp_path / "out")])
    assert (
        f"--others {other}: its {len(TEST[1][kept])} test labels must be the 40 of --dataset"
        in (capsys.readouterr().err)
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--groups", "patint"], "has no array patint_test (patint alone is read by --folds 5"),
        (["--groups", "source"], "has no array source_test (source alone is read by --folds 5"),
        (["--groups", "patint", "--folds", "5", "grouped"], "has no array patint_test; it has X_"),
    ],
)
def test_groups_that_would_not_be_used_are_refused_by_name(words, told, tmp_path, capsys):
    path = saved(tmp_path / "a.npz", source=np.arange(80) % 9)
    with pytest.raises(SystemExit, match="2"):
        program.main(["--dataset", str(path), *words])
    assert told in capsys.readouterr().err


def test_a_training_part_of_one_class_is_refused(tmp_path, capsys):
    path = saved(tmp_path / "one.npz", y_train=np.full(80, "cat"))
    with pytest.raises(SystemExit, match="2"):
        program.main(["--dataset", str(path)])
    assert "all training examples have the label cat; a probe needs two" in capsys.readouterr().err


def test_a_flag_that_the_fit_does_not_read_is_told(tmp_path, capsys):
    words = ["--fit", "optimum", "--rates", "0.1", "--steps", "9", "--gap", "0.01"]
    run(tmp_path / "out", saved(tmp_path / "a.npz"), *words)
    told = capsys.readouterr().err
    assert "--rates changes nothing: --fit sgd reads it" in told
    assert "--steps changes nothing: --fit early reads it" in told
    assert "--gap changes" not in told


@pytest.mark.parametrize("more", [[], ["--audit"]], ids=["probe", "audit"])
def test_a_folder_that_cannot_be_written_is_named_as_out(more, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["--dataset", str(saved(tmp_path / "a.npz")), "--out", str(tmp_path / "file"), *more]
    assert program.main(words) == 2
    assert f"error: --out: cannot write to {tmp_path / 'file'}" in capsys.readouterr().err


def test_shots_that_classes_do_not_have_are_told(tmp_path):
    y = np.repeat(range(4), [2, 3, 5, 70])
    path = saved(tmp_path / "rare.npz", X_train=MEANS[y], y_train=NAMES[y])
    ((folder, found),) = run(tmp_path / "out", path, "--shots", "3", "5", "--validation", "0.4",
                             "--probes", "l2").items()  # fmt: skip
    assert found["short"] == {"3": 1, "5": 2}
    caption = (folder / "table.md").read_text().splitlines()[0]
    assert "1 class has fewer than 3 training examples and gives all it has." in caption
    assert "2 classes have fewer than 5 training examples and give all they have." in caption
    assert "also for few shots; the test set was opened once" in caption


def test_groups_of_test_examples_are_kept_and_compared_as_units(tmp_path, capsys):
    groups = np.array([f"patient {i // 4}" for i in range(len(TEST[0]))])
    first = saved(tmp_path / "layer9.npz", groups_test=groups)
    other = saved(tmp_path / "layer3.npz", X_train=TRAIN[0][:, :2], X_test=TEST[0][:, :2],
                  groups_test=groups)  # fmt: skip
    found = run(tmp_path / "out", first, "--others", str(other))
    told = capsys.readouterr().out
    for folder in found:
        with np.load(folder / "predictions.npz") as arrays:
            names = groups[[np.flatnonzero(arrays["groups"] == g)[0] for g in arrays["groups"]]]
            np.testing.assert_array_equal(names, groups)
    assert told.count("| none: groups |") == 2


def test_feature_files_are_probed_alike_and_compared(tmp_path, capsys):
    first = saved(tmp_path / "layer9.npz")
    other = saved(tmp_path / "layer3.npz", X_train=TRAIN[0][:, :2], X_test=TEST[0][:, :2])
    both = run(tmp_path / "both", first, "--others", str(other))
    told = capsys.readouterr().out
    alone = run(tmp_path / "alone", other)
    by_name = {each["name"]: each for each in both.values()}
    assert set(by_name) == {"layer9", "layer3"}
    assert by_name["layer3"]["results"] == next(iter(alone.values()))["results"]
    shares = [next(row["top1"] for row in by_name[name]["results"] if row["probe"] == "l2")
              for name in ("layer9", "layer3")]  # fmt: skip
    assert (
        f"| layer3 | test | l2, all | {100 * shares[0]:.1f} % | {100 * shares[1]:.1f} % |" in told
    )
    assert told.count("| layer9 | kNN, L2 |") == 1


@pytest.mark.slow
def test_protocols_in_one_run_give_one_table_and_each_sees_the_test_set_once(tmp_path, capsys):
    found = run(tmp_path, saved(tmp_path / "a.npz"), "--protocol", "none", "vtab-1k")
    told = capsys.readouterr().out
    assert {each["name"] for each in found.values()} == {"a", "a, vtab-1k"}
    assert [each["test_set"]["times_used"] for each in found.values()] == [1, 1]
    assert "a: the best probes of the protocols differ by " in told
    assert "| a, vtab-1k | linear, softmax | all |" in told


def test_the_page_has_tables_figures_and_the_command_and_escapes_names(tmp_path):
    file = saved(tmp_path / "a&b.npz", **MORE)
    (folder,) = run(tmp_path, file, "--shots", "2", "all")
    page = (folder / "index.html").read_text()
    assert "<h1>a&amp;b: " in page
    assert "Test set shift" in page
    for name in ("label_efficiency", "reliability"):
        assert f'src="{name}.svg"' in page
        assert (folder / f"{name}.svg").is_file()
    assert "--shots 2 all" in page
    (alone,) = run(tmp_path / "alone", file, "--metrics", "top1")
    assert "<figure>" not in (alone / "index.html").read_text()


@pytest.mark.parametrize(
    "name", ["x/../../../../../../away", "a\\b", "c:d", "two\nlines", "x" * 101, "", "test"]
)
def test_a_further_test_set_whose_name_is_no_part_of_a_files_name_is_refused(tmp_path, name):
    more = {f"X_test_{name}": SHIFTED[0], f"y_test_{name}": SHIFTED[1]}
    path = str(saved(tmp_path / "a.npz", **more))
    with pytest.raises(ValueError, match=r"^.*a\.npz: X_test_\S* cannot be the name of a further"):
        sets.further(path, data.load(path))


def test_a_further_test_set_is_no_markup_on_the_page_and_no_formula_in_the_table(tmp_path):
    name = "=1+<b>"
    file = saved(tmp_path / "a.npz", **{f"X_test_{name}": SHIFTED[0], f"y_test_{name}": SHIFTED[1]})
    (folder,) = run(tmp_path, file, "--metrics", "top1")
    assert "Test set =1+&lt;b&gt;" in (folder / "index.html").read_text()
    lines = (folder / "results.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["test"] * 3 + [f"'{name}"] * 2


# --- memory ------------------------------------------------------------------------------------


def test_strengths_without_room_together_are_trained_in_groups_and_give_the_same(
    tmp_path, monkeypatch, capsys
):
    """6 strengths x 3 folds x 4 classes x 6 axes: room for two strengths at once."""
    flags = ["--strengths", "6", "--folds", "3", "--probes", "linear", "--fit", "early", "--steps",
             "40", "--examples", "400"]  # fmt: skip
    file = saved(tmp_path / "a.npz")
    (whole,) = run(tmp_path / "whole", file, *flags).values()
    assert "groups" not in capsys.readouterr().err
    a_strength = 4 * 3 * 4 * 6  # bytes of W
    monkeypatch.setattr(placement, "available", lambda *_: int(2.5 * 2 * 12 * a_strength))
    (found,) = run(tmp_path / "parts", file, *flags).values()
    assert "6 strengths in 3 groups, for memory" in capsys.readouterr().err
    assert found["results"] == whole["results"]


def test_feature_files_are_compared_under_each_protocol(tmp_path, capsys):
    first, other = saved(tmp_path / "a.npz"), saved(tmp_path / "b.npz")
    run(tmp_path, first, "--others", str(other), "--protocol", "none", "vtab-1k", "--seeds", "1")
    told = capsys.readouterr().out
    for name in ("a", "a, vtab-1k"):
        assert f"First: {name}. Differences on the same test examples" in told
