"""Arrays in the files of other libraries, written by those libraries."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from lincls import data

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
    with pytest.raises(ValueError, match="give labels=, one of label"):
        data.load(tmp_path / "mine.csv", labels="species")


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


def test_a_label_column_belongs_to_a_table(tmp_path):
    safetensors.numpy.save_file({"X": X, "y": Y}, tmp_path / "mine.safetensors")
    with pytest.raises(ValueError, match="labels names a column of a table"):
        data.load(tmp_path / "mine.safetensors", labels="y")


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
