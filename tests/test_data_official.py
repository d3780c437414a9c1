"""Public data sets, read from small files of the official formats in a temporary folder."""

import hashlib
import socket
from pathlib import Path

import data_fakes
import numpy as np
import pytest
from sklearn.datasets import load_digits

from lincls import data
from lincls.data import cache, catalog, cifar, idx, official


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LINCLS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))


def forget(name: str) -> None:
    """Take the entries of a data set out of the cache."""
    for entry in cache.directory().glob(f"{name}-*"):
        entry.unlink()


def channels_last(planes: np.ndarray) -> np.ndarray:
    return np.stack([p.reshape(3, 32, 32).transpose(1, 2, 0) for p in planes])


def test_digits_are_scikit_learns_in_file_order():
    digits, bunch = data.load("digits"), load_digits()
    images = np.concatenate([digits.train.images, digits.test.images])
    labels = np.concatenate([digits.train.labels, digits.test.labels])
    assert (len(digits.train.images), len(digits.test.images)) == (1437, 360)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(images[..., 0], bunch.images)
    np.testing.assert_array_equal(labels, bunch.target)
    assert digits.source.official is True


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("place", [".", "mnist", "MNIST/raw"])
def test_mnist_from_idx_files(tmp_path, zipped, place):
    contents = data_fakes.write_mnist(tmp_path / place, seed=0, zipped=zipped)
    mnist = data.load("mnist", tmp_path)
    arrays = [*mnist.train, *mnist.test]
    for array, expected in zip(arrays, contents.values(), strict=True):
        np.testing.assert_array_equal(array.reshape(expected.shape), expected)
    assert mnist.train.images.shape == (20, 28, 28, 1)
    assert mnist.train.labels.dtype == np.int32
    assert mnist.source.official is False
    assert "not the official files" in mnist.source.description
    assert str(tmp_path) in mnist.source.location


def test_a_folder_of_the_name_comes_first(tmp_path):
    data_fakes.write_mnist(tmp_path, seed=0, zipped=True)
    fashion = data_fakes.write_mnist(tmp_path / "fashion_mnist", seed=1, zipped=True)
    loaded = data.load("fashion_mnist", tmp_path)
    np.testing.assert_array_equal(loaded.train.images[..., 0], fashion["train-images-idx3-ubyte"])
    assert loaded.class_names[9] == "Ankle boot"


@pytest.mark.parametrize("kind", ["binary", "pickle"])
@pytest.mark.parametrize("packed", ["folder", "inside", "archive", "archive itself"])
def test_cifar10_from_every_edition(tmp_path, kind, packed):
    files, planes, labels = data_fakes.cifar10_files(kind)
    layout = catalog.CIFAR10.layouts[kind]
    data_dir = tmp_path
    if packed == "folder":
        data_fakes.write_files(tmp_path / layout.folder, files)
    elif packed == "inside":
        data_fakes.write_files(tmp_path, files)
    else:
        members = {f"{layout.folder}/{name}": content for name, content in files.items()}
        (tmp_path / layout.archive).write_bytes(data_fakes.tar_bytes(members))
        data_dir = tmp_path / layout.archive if packed == "archive itself" else tmp_path
    cifar10 = data.load("cifar10", data_dir)
    images = np.concatenate([cifar10.train.images, cifar10.test.images])
    np.testing.assert_array_equal(images, channels_last(planes))
    np.testing.assert_array_equal(
        np.concatenate([cifar10.train.labels, cifar10.test.labels]), labels
    )
    assert (len(cifar10.train.images), len(cifar10.test.images)) == (20, 4)


@pytest.mark.parametrize("kind", ["binary", "pickle"])
def test_cifar100_gives_the_fine_labels(tmp_path, kind):
    planes, labels = data_fakes.cifar_batch(7, num_examples=9)
    labels = labels * 11
    if kind == "binary":
        content = data_fakes.binary_bytes(planes, labels, coarse=True)
    else:
        content = data_fakes.pickle_bytes(planes, labels, b"fine_labels")
    end = ".bin" if kind == "binary" else ""
    data_fakes.write_files(tmp_path, {f"train{end}": content, f"test{end}": content})
    loaded = data.load("cifar100", tmp_path)
    np.testing.assert_array_equal(loaded.train.labels, labels)
    np.testing.assert_array_equal(loaded.test.images, channels_last(planes))
    assert loaded.class_names[99] == "worm"


def published(monkeypatch, contents: dict[str, bytes]):
    """Let the catalog believe that `contents` are the official files of MNIST."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    layout = catalog.MNIST.layouts["idx"]._replace(md5=md5)
    fake = catalog.MNIST._replace(layouts={"idx": layout})
    monkeypatch.setitem(catalog.OFFICIAL, "mnist", fake)
    return fake


def test_mnist_is_known_by_the_checksum_of_every_file(tmp_path, monkeypatch):
    arrays = data_fakes.write_mnist(tmp_path, seed=0, zipped=False)
    contents = {name: data_fakes.idx_bytes(array) for name, array in arrays.items()}
    published(monkeypatch, contents)
    assert data.load("mnist", tmp_path).source.official is True

    for name, array in arrays.items():  # one wrong label, or one wrong pixel
        for change in (1, -1):
            wrong = array.copy()
            wrong.reshape(-1)[change * 3] ^= 1
            (tmp_path / name).write_bytes(data_fakes.idx_bytes(wrong))
            mnist = data.load("mnist", tmp_path)
            assert mnist.source.official is False
            assert "not the official files" in mnist.source.description
        (tmp_path / name).write_bytes(contents[name])
    assert data.load("mnist", tmp_path).source.official is True


def test_cifar_without_checksums_is_known_by_its_sums_and_its_numbers_of_labels():
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(20) % 10
    sums = {"train": official.pixel_sums(images), "test": official.pixel_sums(images[:10])}
    known = catalog.CIFAR10._replace(pixel_sums=sums)
    found = official.Found("binary", Path("folder"), {"a file": Path("a file")})

    def verdict(images=images, labels=labels):
        train, test = data.Split(images, labels), data.Split(images[:10], labels[:10])
        return official.authenticate(known, found, {}, train, test)

    assert verdict() is None
    assert verdict(labels=labels[::-1]) is None  # nobody can tell
    assert verdict(labels=np.where(np.arange(20) == 7, 8, labels)) is False
    assert verdict(labels=np.where(labels == 9, 8, labels)) is False
    images = images.copy()
    images[3, 4, 5] ^= 1
    assert verdict(images=images) is False


def test_an_archive_is_known_by_its_sha256(tmp_path, monkeypatch):
    files, _, _ = data_fakes.cifar10_files("binary")
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(data_fakes.tar_bytes(files))
    download = catalog.CIFAR10.downloads[0]._replace(
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest()
    )
    assert data.load("cifar10", tmp_path).source.official is False
    monkeypatch.setitem(
        catalog.OFFICIAL, "cifar10", catalog.CIFAR10._replace(downloads=(download,))
    )
    forget("cifar10")
    assert data.load("cifar10", tmp_path).source.official is True


def test_another_data_set_is_refused_by_name(tmp_path, monkeypatch):
    arrays = data_fakes.write_mnist(tmp_path, seed=0, zipped=True)
    md5 = hashlib.md5(data_fakes.idx_bytes(arrays["train-images-idx3-ubyte"])).hexdigest()
    monkeypatch.setitem(catalog.OWNERS, md5, "mnist")
    with pytest.raises(ValueError, match="belongs to mnist, not to fashion_mnist"):
        data.load("fashion_mnist", tmp_path)


def no_network(*args, **kwargs):
    raise socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
@pytest.mark.parametrize("given", ["nothing", "an empty folder", "no folder"])
def test_what_is_missing_is_named(tmp_path, name, given, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    places = {"nothing": None, "an empty folder": tmp_path, "no folder": tmp_path / "none"}
    with pytest.raises(data.DataUnavailable) as caught:
        data.load(name, places[given])
    message = str(caught.value)
    assert isinstance(caught.value, OSError)
    if given == "no folder":
        assert f"there is no {tmp_path / 'none'}" in message
        return
    assert (f"{tmp_path} holds nothing of {name}, and http" in message) == (given != "nothing")
    for download in catalog.OFFICIAL[name].downloads:
        assert download.filename in message
        assert f"{download.size:,}" in message
        assert download.sha256 in message
        assert download.url.rsplit("/", 1)[0] in message
    assert name in message
    assert "'digits'" in message


def test_incomplete_files_are_named(tmp_path):
    data_fakes.write_mnist(tmp_path, seed=0, zipped=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="but not t10k-labels-idx1-ubyte"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x00\x08", b"\x00\x00\x08\x01\x00\x00", b"\x00\x00\x0d\x01\x00\x00\x00\x01\x07"],
)
def test_idx_refuses_other_bytes(content):
    with pytest.raises(ValueError, match="the-file"):
        idx.parse(content, "the-file", 1)


def test_labels_in_the_place_of_images_are_refused(tmp_path):
    data_fakes.write_mnist(tmp_path, seed=0, zipped=False)
    images, labels = (tmp_path / name for name in data_fakes.MNIST_FILES[:2])
    images.write_bytes(labels.read_bytes())
    with pytest.raises(ValueError, match=r"images-idx3-ubyte is not an IDX file .* 3 axes"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("change", [-1, 1])
def test_idx_counts_its_bytes(change):
    content = data_fakes.idx_bytes(np.zeros((3, 5), np.uint8))
    content = content[:change] if change < 0 else content + b"\x00"
    with pytest.raises(ValueError, match="15 bytes, but"):
        idx.parse(content, "the-file", 2)


def test_binary_records_must_be_whole():
    content = data_fakes.binary_bytes(*data_fakes.cifar_batch(0))
    with pytest.raises(ValueError, match="whole number of records"):
        cifar.parse_binary(content[:-1], "the-file", 1)


def test_labels_beyond_the_classes_are_refused(tmp_path):
    files, _, _ = data_fakes.cifar10_files("binary")
    files["data_batch_3.bin"] = b"\x0a" + files["data_batch_3.bin"][1:]
    data_fakes.write_files(tmp_path, files)
    with pytest.raises(ValueError, match=r"0\.\.9, got 0\.\.10"):
        data.load("cifar10", tmp_path)


def test_reading_changes_nothing_on_disk(tmp_path):
    data_fakes.write_mnist(tmp_path, seed=0, zipped=True)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    data.load("mnist", tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_the_catalog_agrees_with_tensorflow_datasets():
    from tensorflow_datasets.core.download import checksums

    recorded = checksums.get_all_url_infos()
    for known in catalog.OFFICIAL.values():
        for download in known.downloads:
            assert recorded[download.url].size == download.size
            assert recorded[download.url].checksum == download.sha256
            assert recorded[download.url].filename == download.filename


def test_pixel_sums_follow_from_the_published_means():
    means = {
        ("cifar10", "train"): (
            [125.306918046875, 122.950394140625, 113.86538318359375],
            50_000 * 1024,
            1e-12,
        ),
        ("cifar10", "test"): ([126.02464141, 123.7085042, 114.85431865], 10_000 * 1024, 5e-9),
        ("cifar100", "train"): ([129.30416561, 124.0699627, 112.43405006], 50_000 * 1024, 5e-9),
        ("cifar100", "test"): ([129.74308525, 124.28521836, 112.69526387], 10_000 * 1024, 5e-9),
    }
    recorded = {
        (known.name, part): sums
        for known in catalog.OFFICIAL.values()
        for part, sums in known.pixel_sums.items()
    }
    assert recorded.keys() == means.keys()
    for key, (values, count, rounding) in means.items():
        for mean, total in zip(values, recorded[key], strict=True):
            assert abs(total / count - mean) <= rounding
            assert rounding * count < 0.5


def test_pixel_sums_by_channel():
    images = np.random.default_rng(0).integers(256, size=(5, 4, 3, 2), dtype=np.uint8)
    by_channel = images.astype(np.int64).reshape(-1, 2).sum(axis=0)
    assert official.pixel_sums(images) == tuple(by_channel)
