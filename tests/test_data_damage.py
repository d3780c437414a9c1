"""Damaged and hostile files in the official formats: refused by name, and nothing is run."""

import contextlib
import gzip
import struct
import tarfile
import tracemalloc

import data_fakes
import numpy as np
import pytest

from lincls import data
from lincls.data import archives, catalog, cifar


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LINCLS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))


def channels_last(planes: np.ndarray) -> np.ndarray:
    return np.stack([p.reshape(3, 32, 32).transpose(1, 2, 0) for p in planes])


@pytest.mark.parametrize("name", data_fakes.hostile_pickles())
def test_a_pickle_never_runs_code(name, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="the-file"):
        cifar.parse_pickle(data_fakes.hostile_pickles()[name], "the-file")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_reserves_no_more_memory_than_it_has_bytes():
    tracemalloc.start()
    with pytest.raises(ValueError, match="the-file"):
        cifar.parse_pickle(b"\x80\x02Nr\xff\xff\xff\x00.", "the-file")  # the 16,777,215th memo
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_pickles_damaged_at_random_places():
    rng = np.random.default_rng(0)
    planes, labels = data_fakes.cifar_batch(0, num_examples=2)
    content = data_fakes.pickle_bytes(planes, labels)
    structure = [i for i in range(len(content)) if i < 400 or i > len(content) - 60]
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.choice(structure)] = rng.integers(256)
        with contextlib.suppress(ValueError):
            images, _ = cifar.parse_pickle(bytes(damaged), "the-file")
            assert images.shape == (2, 32, 32, 3)


def damages(content: bytes, seed: int, cases: int):
    """The content again and again, cut off or with one byte changed."""
    rng = np.random.default_rng(seed)
    for case in range(cases * (10 if data_fakes.WHOLE else 1)):
        damaged = bytearray(content)
        if case % 3 == 0:
            del damaged[rng.integers(len(content)) :]
        else:
            damaged[rng.integers(len(content))] ^= rng.integers(1, 256)
        yield bytes(damaged)


def test_archives_damaged_at_random_places(tmp_path, monkeypatch):
    content = data_fakes.archive("cifar10")
    known = data_fakes.publish(monkeypatch, "cifar10", [content])
    path = tmp_path / known.downloads[0].filename
    planes = data_fakes.cifar10_files("binary")[1]
    refused = 0
    for damaged in damages(content, seed=0, cases=100):
        path.write_bytes(damaged)
        try:
            cifar10 = data.load("cifar10", tmp_path)
        except ValueError as error:
            message = str(error)
            refused += 1
        else:  # the damage hit a date or a comment in the header of gzip
            np.testing.assert_array_equal(cifar10.train.images, channels_last(planes[:20]))
            assert cifar10.source.official is not True
    assert refused > 90
    for part in ("is damaged", str(path), known.downloads[0].sha256, "data_dir", "'digits'"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("left", ["nothing", "half a header", "no last record", "noise"])
def test_a_damaged_archive_in_a_whole_gzip(left, tmp_path):
    content = gzip.decompress(data_fakes.archive("cifar10"))
    damaged = {
        "nothing": b"",
        "half a header": content[:300],
        "no last record": content.rstrip(b"\x00")[:-3073],
        "noise": b"noise" * 999,
    }[left]
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(gzip.compress(damaged))
    with pytest.raises(ValueError, match=r"is damaged|must hold one file") as caught:
        data.load("cifar10", tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", data_fakes.MNIST_FILES)
def test_idx_files_damaged_at_random_places(name, zipped, tmp_path, monkeypatch):
    arrays = data_fakes.write_mnist(tmp_path, seed=0, zipped=zipped)
    md5 = {n: data_fakes.md5(data_fakes.idx_bytes(array)) for n, array in arrays.items()}
    layout = catalog.MNIST.layouts["idx"]._replace(md5=md5)
    monkeypatch.setitem(catalog.OFFICIAL, "mnist", catalog.MNIST._replace(layouts={"idx": layout}))
    assert data.load("mnist", tmp_path).source.official is True
    (path,) = tmp_path.glob(f"{name}*")
    for damaged in damages(path.read_bytes(), seed=0, cases=30):
        path.write_bytes(damaged)
        try:
            mnist = data.load("mnist", tmp_path)
        except ValueError as error:
            assert name in str(error) or "labels" in str(error)  # noqa: PT017
        else:  # gzip has a checksum, IDX has none
            same = (mnist.train.images[..., 0] == arrays["train-images-idx3-ubyte"]).all()
            same &= (mnist.test.images[..., 0] == arrays["t10k-images-idx3-ubyte"]).all()
            same &= (mnist.train.labels == arrays["train-labels-idx1-ubyte"]).all()
            same &= (mnist.test.labels == arrays["t10k-labels-idx1-ubyte"]).all()
            assert same or not zipped
            assert (mnist.source.official is True) == same


def test_links_and_paths_in_archives_lead_nowhere(tmp_path):
    secret = tmp_path / "data_batch_1.bin"
    secret.write_bytes(b"secret")
    files, planes, _ = data_fakes.cifar10_files("binary")
    path = tmp_path / "in" / "cifar-10-binary.tar.gz"
    path.parent.mkdir()
    content = data_fakes.tar_bytes({f"../../{name}": c for name, c in files.items()})
    path.write_bytes(content)
    cifar10 = data.load("cifar10", path.parent)
    np.testing.assert_array_equal(cifar10.test.images, channels_last(planes[20:]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data_batch_1.bin", "in"]

    with tarfile.open(path, "w:gz") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("data_batch_1.bin")
            link.type, link.linkname = kind, str(secret)
            tar.addfile(link)
    with pytest.raises(ValueError, match=r"must hold one file data_batch_1\.bin, it holds 0"):
        data.load("cifar10", path.parent)


def test_an_archive_with_two_files_of_a_name_is_refused(tmp_path):
    files, _, _ = data_fakes.cifar10_files("binary")
    twice = files | {"other/test_batch.bin": files["test_batch.bin"]}
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(data_fakes.tar_bytes(twice))
    with pytest.raises(ValueError, match=r"must hold one file test_batch\.bin, it holds 2"):
        data.load("cifar10", tmp_path)


def test_a_gzipped_file_is_read_to_its_checksum(tmp_path):
    path = tmp_path / "file.gz"
    content = gzip.compress(b"abc" * 100)
    path.write_bytes(content[:-8] + b"\x00" * 4 + content[-4:])
    with pytest.raises(ValueError, match="is damaged"):
        archives.read_file(path, 1000)


@contextlib.contextmanager
def at_most(num_bytes: int):
    """What is within takes no more memory at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < num_bytes
    finally:
        tracemalloc.stop()


def bomb(start: bytes, megabytes: int) -> bytes:
    """A gzip file of `start` and then zeros, a thousandth of its content."""
    return gzip.compress(start) + gzip.compress(bytes(2**20)) * megabytes


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("name", data_fakes.MNIST_FILES)
def test_a_gzip_bomb_as_mnist_takes_no_more_memory_than_mnist(name, honest, tmp_path):
    data_fakes.write_mnist(tmp_path, seed=0, zipped=True)
    num_images = 2**30 // 784 if honest else 20
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", num_images, 28, 28)
    (tmp_path / f"{name}.gz").write_bytes(bomb(header, 1024))
    too_large = pytest.raises(ValueError, match=f"{name}.gz is damaged: it holds more than")
    with at_most(3 * catalog.MNIST.largest), too_large:
        data.load("mnist", tmp_path)


def test_a_gzip_bomb_as_an_archive_takes_no_more_memory_than_the_archive(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(bomb(b"", 1024))
    too_large = pytest.raises(ValueError, match="gz is damaged: it holds more than 200,000,000")
    with at_most(3 * catalog.CIFAR10.largest), too_large:
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize("size", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 10**5])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_just_the_size_is_read_and_of_one_byte_more_is_not(size, zipped, tmp_path):
    content = np.random.default_rng(0).bytes(size)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert archives.read_file(path, size) == content
    if size:
        with pytest.raises(ValueError, match="more than"):
            archives.read_file(path, size - 1)
