"""The program of an audit: what it finds of what was planted, its files, its use of tests."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from experiments.lab import gate
from experiments.probe import __main__ as program
from experiments.probe import audit, auditing, jobs
from experiments.probe.settings import Settings
from experiments.report import audit as report
from lincls import data, knn

pytestmark = pytest.mark.usefixtures("quick_compiles")

DOUBLED = [(3, 50), (4, 53)]  # (test row, training row): of another class, and of the same
FLIPPED = [10, 33]  # training rows


@pytest.fixture(scope="module")
def planted():
    """Images of three bright stripes, with copies across the sets and two wrong labels."""
    rng = np.random.default_rng(5)
    y, labels = np.arange(90) % 3, (np.arange(30) + 1) % 3
    X, queries = (rng.integers(0, 60, (num, 6, 9, 3)).astype(np.uint8) for num in (90, 30))
    for images, own in ((X, y), (queries, labels)):
        for image, label in zip(images, own, strict=True):
            image[2 * label : 2 * label + 2] += 150
    for test_row, train_row in DOUBLED:
        queries[test_row] = X[train_row]
    queries[4, 0, 0, 0] += 1  # nearly equal
    y[FLIPPED] = (y[FLIPPED] + 1) % 3
    return {"X_train": X, "y_train": y, "X_test": queries, "y_test": labels,
            "class_names": np.array(["=1+1", "-7", "$x"])}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory, planted):
    folder = tmp_path_factory.mktemp("audit")
    np.savez(folder / "planted.npz", **planted)
    assert program.main(typed(folder)) == 0
    return folder


def typed(folder, *more):
    return ["--dataset", str(folder / "planted.npz"), "--out", str(folder), "--audit", *more]


def folder_of(out):
    (found,) = (out / "planted" / "probe").glob("audit-*/audit.json")
    return found.parent


def lines(out):
    with (folder_of(out) / "audit.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_was_planted_is_found(out, planted):
    found = lines(out)
    pairs = [one for one in found if one["kind"] != "contradicted label"]
    assert [(one["kind"], one["set"], one["row"], one["other_set"], one["other_row"],
             float(one["distance"])) for one in pairs] == [
        ("exact duplicate", "test", "3", "train", "50", 0.0),
        ("near duplicate", "test", "4", "train", "53", 1.0),
    ]  # fmt: skip
    names = ["'=1+1", "-7", "$x"]  # no spreadsheet computes the first; the second is a number
    assert [(one["label"], one["other_label"]) for one in pairs] == [
        (names[planted["y_test"][i]], names[planted["y_train"][j]]) for i, j in DOUBLED
    ]
    doubtful = [one for one in found if one["kind"] == "contradicted label"]
    told = {(one["set"], int(one["row"]), one["votes"], one["other_label"]) for one in doubtful}
    assert told == {
        ("test", 3, "5", names[50 % 3]), *(("train", row, "5", names[row % 3]) for row in FLIPPED)
    }  # fmt: skip


def test_the_record_counts_the_findings_and_the_use_of_the_test_set(out):
    body = json.loads((folder_of(out) / "audit.json").read_text())
    assert body["test_set"] == {"times_used": 1, "for": [audit.PURPOSE]}
    assert [(one["found"], one["labels_differ"]) for one in body["counts"]] == [
        (1, 1), (0, 0), (1, 0), (0, 0), (1, None), (2, None)
    ]  # fmt: skip
    with np.load(folder_of(out) / "audit.npz") as arrays:
        values = arrays["shapley"]
    assert body["shapley"]["sum"] == pytest.approx(values.sum())
    assert {one["row"] for one in body["shapley"]["least"][:2]} == set(FLIPPED)


def test_the_picture_is_small(out):
    path = folder_of(out) / "audit.png"
    assert path.stat().st_size < 300_000
    with Image.open(path) as image:
        assert image.width > 600


def test_it_prints_the_table(out, capsys):
    assert program.main(typed(out)) == 0
    printed = capsys.readouterr().out
    assert "| exact duplicates | test and training set | 1 | 1 |" in printed
    assert "The test set was opened once; nothing was chosen." in printed


def test_its_flags_decide_nothing_of_a_probe(out):
    flags = typed(out, "--audit-k", "3", "--audit-tests", "7")
    plain = [word for word in typed(out) if word != "--audit"]
    marks = {jobs.read(each, "", auditing.Common)[0].mark for each in (flags, plain)}
    assert len(marks) == 1


def test_a_flag_out_of_range_is_refused(out, capsys):
    assert program.main(typed(out, "--audit-near", "1.5")) == 2
    assert capsys.readouterr().err == "error: --audit-near must be between 0 and 1, got 1.5\n"


def computed(planted, normalise="scale", tests=1000, **other):
    given = gate.Data(data.from_arrays(*list((planted | other).values())[:4]))
    asked = audit.Asked(normalise, 5, 0.2, tests)
    opened = given.open_test("a test")
    return audit.compute(given, opened, Settings(normalise=normalise), asked, 0)


def test_fewer_valued_test_examples_change_the_values_alone(planted):
    every, few, none = (computed(planted, tests=tests) for tests in (30, 7, 0))
    assert every.findings == few.findings == none.findings
    rows = [planted[name].reshape(len(planted[name]), -1) for name in ("X_train", "X_test")]
    expected = knn.neighbors(knn.fit(rows[0]), rows[1], 5).indices
    for one in (every, few, none):
        np.testing.assert_array_equal(one.neighbors["test"], expected)
    assert (len(every.tests), len(few.tests), none.shapley) == (30, 7, None)
    assert few.shapley.shape == (90,)


@pytest.mark.parametrize("normalise", ["scale", "unit", "standard"])
def test_features_of_any_size_are_audited_as_the_probe_sees_them(planted, normalise):
    """1e20 is beyond the squares of float32; the distance stays in units of the features."""
    far = {name: planted[name].reshape(len(planted[name]), -1).astype(np.float32) * 1e20
           for name in ("X_train", "X_test")}  # fmt: skip
    found = computed(planted, normalise, **far)
    pairs = [one for one in found.findings if one.kind != audit.CONTRADICTED]
    assert [(one.row, one.other_row) for one in pairs] == DOUBLED
    assert pairs[0].kind == audit.EXACT
    X, queries = (far[name].astype(np.float64) for name in ("X_train", "X_test"))
    if normalise == "unit":
        X, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, queries))
    if normalise == "standard":
        X, queries = X / X.std(axis=0), queries / X.std(axis=0)
    expected = np.linalg.norm(queries[4] - X[53])
    assert pairs[1].distance == pytest.approx(expected, rel=0.02)


def test_vectors_and_clean_data_have_no_picture(planted):
    X, y = planted["X_train"].copy(), np.arange(90) % 3
    clean = computed({"X_train": X, "y_train": y, "X_test": X[::-1] // 2, "y_test": y[::-1]})
    assert report.picture(clean, {"train": X, "test": X}, ["a", "b", "c"], (0, 255)) is None
    vectors = gate.Data(data.from_arrays(X.reshape(90, -1), y))
    assert auditing._picture(vectors, vectors.train, computed(planted)) is None


def test_a_picture_of_noise_is_small_too(planted):
    noise = np.random.default_rng(6).integers(0, 256, (90, 90, 80, 3), dtype=np.uint8)
    found = computed(planted)
    pairs = [one for one in found.findings if one.kind == audit.EXACT] * report.PAIRS
    doubtful = [one for one in found.findings if one.kind == audit.CONTRADICTED] * report.LABELS
    full = found._replace(findings=pairs + doubtful)
    picture = report.picture(full, {"train": noise, "test": noise}, ["a", "b", "c"], (0, 255))
    assert len(picture) < 300_000


def test_large_images_become_means_of_squares():
    image = np.arange(2 * 80 * 120 * 3).reshape(2, 80, 120, 3)
    small = report.shrunk(image)
    assert small.shape == (2, 26, 40, 3)
    np.testing.assert_allclose(small[1, 0, 0], image[1, :3, :3].mean(axis=(0, 1)))
    assert report.shrunk(image[:, :9, :9]) is not None
