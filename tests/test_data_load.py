"""One door to every data set: names, paths, and the toy sets."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import data_fakes
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from lincls import data
from lincls.data import catalog, toys

# toy sets


@pytest.mark.parametrize("name", toys.TOYS)
def test_toys_repeat_by_seed(name):
    made, again = data.toy(name, 7), data.toy(name, np.random.default_rng(7))
    np.testing.assert_array_equal(made.train.images, again.train.images)
    assert made.train.images.dtype == np.float32
    assert made.train.images.shape == (300, 2)
    assert not np.array_equal(made.train.images, made.test.images)
    assert not np.array_equal(made.train.images, data.toy(name, 8).train.images)
    assert set(made.train.labels.tolist()) == set(range(len(made.class_names)))
    np.testing.assert_array_equal(data.load(name).train.images, data.toy(name).train.images)


@pytest.mark.parametrize(
    ("name", "straight"), [("blobs", True), ("rings", False), ("xor", False), ("stripes", False)]
)
def test_what_a_straight_line_can_divide(name, straight):
    toy = data.toy(name, 0, noise=0.0)
    line = LogisticRegression().fit(*toy.train).score(*toy.test)
    near = KNeighborsClassifier(1).fit(*toy.train).score(*toy.test)
    assert near > 0.9
    assert (line > 0.95) == straight
    assert straight or line < 0.75


def test_toys_refuse_other_names_and_numbers():
    with pytest.raises(ValueError, match="blobs, rings, xor, stripes"):
        data.toy("moons")
    with pytest.raises(ValueError, match="noise"):
        data.toy("xor", noise=-1.0)
    with pytest.raises(ValueError, match="num_test"):
        data.toy("xor", num_test=0)


# load


def test_unknown_names_are_answered_with_the_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="digits, mnist, fashion_mnist, cifar10, cifar100"):
        data.load("imagenet")
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ValueError, match=r"must be a file of arrays"):
        data.load(tmp_path / "file.txt")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("MNIST", "mnist"),
        ("mnsit", "mnist"),
        ("Fashion-MNIST", "fashion_mnist"),
        ("CIFAR-10", "cifar10"),
        ("cifar_100", "cifar100"),
        ("digit", "digits"),
        ("XOR", "xor"),
    ],
)
def test_a_name_with_a_slip_is_answered_with_the_nearest(typed, meant):
    with pytest.raises(FileNotFoundError, match=f"did you mean {meant}\\?"):
        data.load(typed)


def test_the_readme_lists_every_data_set_with_the_size_of_its_download():
    text = (Path(data.__file__).parent / "README.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    listed = {name: row for row in rows for name in data.NAMES if f"`{name}`" in row[1]}
    assert listed.keys() == set(data.NAMES)
    for name, known in catalog.OFFICIAL.items():
        megabytes = sum(download.size for download in known.downloads) / 1e6
        assert abs(float(listed[name][4].split()[0]) - megabytes) < 0.6


def test_a_name_unlike_all_others_is_answered_with_no_guess():
    with pytest.raises(FileNotFoundError) as caught:
        data.load("imagenet/photos")
    assert "did you mean" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["x.npz", "other.npy", "x", "x.npy", "images.npy"])
def test_a_pipe_is_never_waited_for(name, tmp_path):
    folder = tmp_path / "arrays"
    folder.mkdir()
    for role in {"images", "labels"} - {name.removesuffix(".npy")}:
        np.save(
            folder / f"{role}.npy", np.zeros((4, 2), np.uint8)[:, 0 if role == "labels" else ...]
        )
    os.mkfifo(folder / name)
    code = f"""
    import signal
    signal.alarm(20)
    for path in ({str(folder / name)!r}, {str(folder)!r}):
        try:
            print(len(data.load(path).train.images))
        except ValueError as error:
            print({name!r} in str(error))
    """
    ended = data_fakes.fork(code, tmp_path / "fork")
    assert ended.signal == 0, ended.stderr
    assert ended.stdout == f"True\n{name in ('x.npy', 'images.npy') or 3}\n"


def test_an_unknown_array_beside_the_known_ones_is_not_opened(tmp_path):
    for name in ("images.npy", "labels.npy"):
        np.save(tmp_path / name, np.zeros((4, 2))[:, ... if name == "images.npy" else 0])
    (tmp_path / "notes.npy").write_bytes(b"no array")
    (tmp_path / "._images.npy").write_bytes(b"\0\5\x16\7")
    assert data.load(tmp_path).train.images.shape == (3, 2)


def test_the_default_path_opens_no_socket(monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert len(data.load("digits").train.images) == 1437


def test_importing_data_imports_neither_tfds_nor_scikit_learn():
    code = "import sys, lincls.data; print([m for m in sys.modules if m.split('.')[0] in "
    code += "('tensorflow_datasets', 'sklearn', 'matplotlib', 'requests')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_array_of_this_folder_is_called_as_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", np.zeros((4, 3)))
    np.save("y.npy", np.arange(4) % 2)
    assert data.load("X.npy").name == tmp_path.name


def test_files_of_one_stem_are_two_data_sets(tmp_path):
    np.savez(tmp_path / "f.npz", X=np.zeros((4, 3)), y=np.arange(4) % 2)
    (tmp_path / "f.csv").write_text("a,label\n1,0\n2,1\n3,0\n4,1\n")
    assert [data.load(tmp_path / f"f.{kind}").name for kind in ("npz", "csv")] == ["f", "f.csv"]
