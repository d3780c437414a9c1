"""Arrays in the files of other libraries, written by those libraries."""

import subprocess
import sys
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from PIL import Image

from lincls import data
from lincls.data import tensors
from lincls.files import digests

RNG = np.random.default_rng(170)
X = RNG.normal(size=(20, 4)).astype(np.float32)
Y = np.arange(20) % 3
NAMES = np.array(["cat", "dog", "emu"])[Y]
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(label=NAMES)


def whole(made):
    """All rows and the names of their classes, the test part where it was set aside."""
    rows = np.concatenate([made.train.images, made.test.images])
    labels = np.concatenate([made.train.labels, made.test.labels])
    return rows, np.array(made.class_names)[labels]


def assert_is(made, rows=X, names=NAMES):
    found, expected = whole(made), data.from_arrays(rows, names)
    np.testing.assert_array_equal(found[0], whole(expected)[0])
    assert found[1].tolist() == whole(expected)[1].tolist()


@pytest.mark.parametrize("name", ["images", "X", "embeddings", "features", "feats"])
def test_safetensors_and_npz_by_every_name(tmp_path, name):
    safetensors.numpy.save_file({name: X, "labels": Y}, tmp_path / "mine.safetensors")
    np.savez(tmp_path / "mine.npz", **{name: X, "labels": Y})
    for file in ("mine.safetensors", "mine.npz"):
        assert_is(data.load(tmp_path / file), names=Y.astype(str))


def test_safetensors_with_a_test_part(tmp_path):
    parts = {"train_features": X, "train_labels": Y, "test_features": X[:5], "test_labels": Y[:5]}
    safetensors.numpy.save_file(parts, tmp_path / "mine.safetensors")
    made = data.load(tmp_path / "mine.safetensors")
    np.testing.assert_array_equal(made.train.images, X)
    np.testing.assert_array_equal(made.test.images, X[:5])
    assert made.source.location == str(tmp_path / "mine.safetensors")


def test_a_csv_and_a_parquet_of_columns(tmp_path):
    FRAME.to_csv(tmp_path / "mine.csv", index=False, float_format="%.17g")
    FRAME.to_parquet(tmp_path / "mine.parquet")
    assert_is(data.load(tmp_path / "mine.csv"), X.astype(np.float64))
    assert_is(data.load(tmp_path / "mine.parquet"))


def test_a_parquet_of_embeddings_in_lists_and_a_named_label_column(tmp_path):
    frame = pd.DataFrame({"embedding": list(X), "species": NAMES})
    frame.to_parquet(tmp_path / "mine.parquet")
    assert_is(data.load(tmp_path / "mine.parquet", labels="species"))
    with pytest.raises(ValueError, match="give labels=, one of embedding, species"):
        data.load(tmp_path / "mine.parquet")


def test_whole_numbers_of_a_table_are_bytes_or_floats(tmp_path):
    for values, dtype in (([0, 255, 3, 7], np.uint8), ([0, 256, 3, -7], np.float64)):
        pd.DataFrame({"a": values * 5, "y": list("pqpq") * 5}).to_csv(
            tmp_path / "m.csv", index=False
        )
        assert data.load(tmp_path / "m.csv").train.images.dtype == dtype


def test_columns_of_text_and_missing_ones_are_named(tmp_path):
    FRAME.assign(file="a.png", place="b").to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(ValueError, match="columns file, place hold no numbers; leave them out"):
        data.load(tmp_path / "mine.csv")
    FRAME[["label"]].to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(ValueError, match="beside label: no other column"):
        data.load(tmp_path / "mine.csv")
    FRAME[list("abcd")].to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(ValueError, match="give labels=, one of a, b, c, d"):
        data.load(tmp_path / "mine.csv")


def test_frames_series_and_lists_of_arrays_are_arrays():
    assert_is(data.from_arrays(FRAME[list("abcd")], FRAME["label"]))
    assert_is(data.from_arrays(list(X), list(NAMES)))


@pytest.mark.parametrize("suffix", [".safetensors", ".parquet", ".csv"])
def test_damaged_and_foreign_files_are_refused_in_a_sentence(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    for content in (b"", b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.", b"\x00" * 64, b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^\S+mine{suffix} [^\n]*$"):
            data.load(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_label_column_that_is_not_there_is_named_with_the_nearest(tmp_path):
    pd.DataFrame({"width": [1.0, 2], "species": ["a", "b"]}).to_csv(tmp_path / "f.csv")
    with pytest.raises(ValueError, match=r"no column specie; it has .*; did you mean species"):
        data.load(tmp_path / "f.csv", labels="specie")
    with pytest.raises(ValueError, match="no column x; it has "):
        data.load(tmp_path / "f.csv", labels="x")
    with pytest.raises(ValueError, match=r"to take the groups from: .*; did you mean width"):
        data.load(tmp_path / "f.csv", labels="species", groups="widht")


def test_a_single_array_says_what_it_lacks(tmp_path):
    np.save(tmp_path / "single.npy", np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"single\.npy must be called X\.npy, with its labels"):
        data.load(tmp_path / "single.npy")


def test_a_path_that_is_not_there_is_named_with_the_nearest(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no path .*photo; did you mean .*photos\?"):
        data.load(tmp_path / "photo", size=32)


def test_a_label_column_belongs_to_a_table(tmp_path):
    safetensors.numpy.save_file({"X": X, "y": Y}, tmp_path / "mine.safetensors")
    np.savez(tmp_path / "mine.npz", X=X, y=Y)
    for name in (tmp_path / "mine.safetensors", tmp_path / "mine.npz", "digits"):
        with pytest.raises(ValueError, match=r"column of a \.csv or \.parquet file"):
            data.load(name, labels="y")
    with pytest.raises(ValueError, match="labels names a column of a table"):
        data.from_file(tmp_path / "mine.safetensors", labels="y")
    with pytest.raises(FileNotFoundError, match="no data set and no path"):
        data.load(tmp_path / "none.csv", labels="y")


def test_row_numbers_that_pandas_wrote_are_no_feature(tmp_path):
    FRAME.to_csv(tmp_path / "mine.csv")
    with pytest.raises(ValueError, match=r"no name .*as of row numbers; save .*index=False"):
        data.load(tmp_path / "mine.csv")


@pytest.mark.parametrize("values", [[[1, 2], [3]], [{"bytes": b"a"}, {"bytes": b"b"}]])
def test_a_column_of_unequal_lists_or_of_objects_is_named(tmp_path, values):
    frame = pd.DataFrame({"image": values, "label": ["a", "b"]})
    frame.to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(ValueError, match="column image must hold numbers, or lists of numbers"):
        data.load(tmp_path / "mine.parquet")


def test_tensors_of_safetensors_stay_on_the_disk(tmp_path):
    """Of every type, at odd offsets; bfloat16 is the upper half of a float32."""
    rng = np.random.default_rng(171)
    wide = rng.normal(size=(3, 5)).astype(np.float32)
    half = (wide.view(np.uint32) >> 16 << 16).view(np.float32)
    saved = {
        "odd": rng.integers(0, 256, 7, dtype=np.uint8), "none": np.zeros((0, 4), np.float32),
        "flags": rng.random(5) > 0.5, "bf": half.astype(jnp.bfloat16), "number": np.array(3.5),
        **{kind: (50 * wide).astype(kind) for kind in ("i2", "i8", "f2", "f8")},
    }  # fmt: skip
    safetensors.numpy.save_file(saved, tmp_path / "all.safetensors", {"about": "a test"})
    found = tensors.read_safetensors(tmp_path / "all.safetensors")
    assert set(found) == set(saved)
    for name, expected in saved.items():
        np.testing.assert_array_equal(found[name], half if name == "bf" else expected)
        assert isinstance(found[name], np.memmap) or name in ("bf", "none")


def test_a_large_safetensors_file_is_not_copied_into_memory(tmp_path):
    """64 MB of pixels load while less than a quarter of them is new in memory."""
    pixels = np.full((2000, 32, 1000, 1), 7, np.uint8)
    parts = {"train_images": pixels, "train_labels": np.arange(2000) % 2,
             "test_images": pixels[:3], "test_labels": np.arange(3) % 2}  # fmt: skip
    safetensors.numpy.save_file(parts, tmp_path / "mine.safetensors")
    del pixels, parts
    tracemalloc.start()
    made = data.load(tmp_path / "mine.safetensors")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**25 / 2 + digests.HASH_BLOCK
    assert isinstance(made.train.images, np.memmap)
    assert made.train.images.shape == (2000, 32, 1000, 1)


# --- several files -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "safetensors"])
def test_files_of_a_folder_are_one_data_set(tmp_path, kind):
    """Two of the training part in the order of their names, and one of the test part."""
    names = ("train-00000-of-00002", "train-00001-of-00002", "test")
    for name, rows in zip(names, (slice(0, 9), slice(9, 20), slice(4, 12)), strict=True):
        save(tmp_path / f"{name}.{kind}", rows)
    made = data.load(tmp_path, labels="label" if kind in ("csv", "parquet") else None)
    np.testing.assert_array_equal(made.train.images, X)
    np.testing.assert_array_equal(made.test.images, X[4:12])
    for part, rows in ((made.train, slice(None)), (made.test, slice(4, 12))):
        given = NAMES if kind in ("csv", "parquet") else Y.astype(str)
        assert np.array(made.class_names)[part.labels].tolist() == given[rows].tolist()
    assert made.name == tmp_path.name


def save(path, rows):
    if path.suffix == ".csv":
        FRAME[rows].to_csv(path, index=False, float_format="%.17g")
    elif path.suffix == ".parquet":
        FRAME[rows].to_parquet(path)
    elif path.suffix == ".npz":
        np.savez(path, X=X[rows], y=Y[rows])
    else:
        safetensors.numpy.save_file({"X": X[rows], "y": Y[rows]}, path)


def test_files_without_such_names_are_one_part_and_other_arrays_need_no_copy(tmp_path):
    for name, rows in (("a", slice(0, 9)), ("b", slice(9, 20))):
        save(tmp_path / f"{name}.parquet", rows)
    assert_is(data.load(tmp_path))
    (tmp_path / "apart").mkdir()
    for name, arrays in (("1", {"X_train": X, "y_train": Y}), ("2", {"X_test": X, "y_test": Y})):
        safetensors.numpy.save_file(arrays, tmp_path / "apart" / f"{name}.safetensors")
    made = data.load(tmp_path / "apart")
    assert isinstance(made.train.images, np.memmap)
    np.testing.assert_array_equal(made.test.images, X)


def test_whole_numbers_of_a_test_file_are_in_the_units_of_the_training_file(tmp_path):
    for name, most in (("train", 300), ("test", 200)):
        frame = pd.DataFrame({"a": [0, most], "b": [1, 2], "label": ["p", "q"]})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    made = data.load(tmp_path)
    assert made.train.images.dtype == made.test.images.dtype == np.float64


def test_folders_of_files_that_do_not_fit_are_refused(tmp_path):
    save(tmp_path / "train.csv", slice(0, 9))
    save(tmp_path / "test.npz", slice(9, 20))
    with pytest.raises(ValueError, match=r"several kinds, \.csv, \.npz; give the path of one file"):
        data.load(tmp_path)
    (tmp_path / "train.csv").unlink()
    with pytest.raises(ValueError, match=r"of a test part only, such as test\.npz"):
        data.load(tmp_path)
    save(tmp_path / "train_a.npz", slice(0, 9))
    np.savez(tmp_path / "train_b.npz", X=X[:, :3], y=Y)
    with pytest.raises(ValueError, match=r"images of .*train_a\.npz and .*do not fit together"):
        data.load(tmp_path)
    save(tmp_path / "train_b.npz", slice(9, 20))
    save(tmp_path / "validation.npz", slice(9, 20))
    with pytest.warns(UserWarning, match=r"not read beside train and test: validation\.npz"):
        assert len(data.load(tmp_path).train.labels) == 20


def test_a_table_beside_folders_of_images_is_no_data_set(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for place in range(5):
            Image.new("L", (2, 2), place).save(tmp_path / name / f"{place}.png")
    save(tmp_path / "about.csv", slice(None))
    assert data.load(tmp_path).class_names == ("a", "b")


@pytest.mark.parametrize(
    ("suffix", "package"),
    [(".csv", "pandas"), (".parquet", "pandas pyarrow"), (".safetensors", "safetensors"),
     (".pt", "torch")],
)  # fmt: skip
def test_a_missing_package_is_named_with_what_to_type(tmp_path, monkeypatch, suffix, package):
    for name in ("pandas", "safetensors", "safetensors.numpy", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(b"a")
    with pytest.raises(ImportError, match=f"use pip install {package}$"):
        data.load(path)


def test_torch_files_are_read_and_never_run(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {"features": torch.from_numpy(X).bfloat16(), "labels": torch.from_numpy(Y)}
    torch.save(tensors, tmp_path / "dict.pt")
    rounded = tensors["features"].float().numpy()
    assert_is(data.load(tmp_path / "dict.pt"), rounded, Y.astype(str))
    torch.save((torch.from_numpy(X), torch.from_numpy(Y)), tmp_path / "pair.pth")
    assert_is(data.load(tmp_path / "pair.pth"), names=Y.astype(str))
    torch.save(Runs(tmp_path / "ran"), tmp_path / "code.pt")
    with pytest.raises(ValueError, match=r"code.pt is damaged, or is no \.pt file"):
        data.load(tmp_path / "code.pt")
    assert not (tmp_path / "ran").exists()


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (subprocess.run, (["touch", str(self.path)],))


# --- groups ------------------------------------------------------------------------------------


@pytest.fixture
def patients():
    """100 rows of 20 patients, who are five rows each."""
    rng = np.random.default_rng(9)
    frame = pd.DataFrame(rng.normal(size=(100, 3)), columns=["a", "b", "c"])
    return frame.assign(label=np.arange(100) % 2, patient=[f"p{i // 5}" for i in range(100)])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_groups_are_a_column_that_is_no_feature_and_are_never_set_aside_in_part(
    tmp_path, suffix, patients
):
    write_frame(patients, tmp_path / f"a{suffix}")
    found = data.load(tmp_path / f"a{suffix}", groups="patient")
    assert found.train.images.shape == (80, 3)
    assert len(found.groups.test) == len(found.test.labels) == 20
    assert not set(found.groups.train) & set(found.groups.test)
    values = patients[["a", "b", "c"]].to_numpy()
    for split, of_split in zip((found.train, found.test), found.groups, strict=True):
        rows = [int(np.flatnonzero((values == row).all(axis=1))[0]) for row in split.images]
        assert patients.patient[rows].tolist() == of_split.tolist()
        assert patients.label[rows].tolist() == split.labels.tolist()


def test_groups_of_a_folder_of_parts(tmp_path, patients):
    write_frame(patients[:70], tmp_path / "train.parquet")
    write_frame(patients[70:], tmp_path / "test.parquet")
    found = data.load(tmp_path, groups="patient")
    assert found.groups.train.tolist() == patients.patient[:70].tolist()
    assert found.groups.test.tolist() == patients.patient[70:].tolist()
    with pytest.raises(ValueError, match="columns patient hold no numbers"):
        data.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ({}, "doctor", "has no column doctor to take the groups from.*one of a, b, c, patient"),
        ({}, "label", "has no column label to take the groups from"),
        ({"patient": [None] + ["p"] * 99}, "patient", "must give every example a group; row 0"),
        ({"patient": "one"}, "patient", "at least 2 groups, got one"),
        ({"patient": np.arange(100) / 3}, "patient", "groups must be text, or whole numbers"),
    ],
)
def test_groups_that_do_not_fit_are_refused_by_name(tmp_path, patients, change, column, message):
    write_frame(patients.assign(**change), tmp_path / "a.csv")
    with pytest.raises(ValueError, match=message):
        data.load(tmp_path / "a.csv", groups=column)


def test_groups_are_for_tables(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros((9, 2)), y=np.arange(9) % 2)
    for what in (tmp_path / "a.npz", "digits"):
        with pytest.raises(ValueError, match="groups names a column of a"):
            data.load(what, groups="patient")


def write_frame(frame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
