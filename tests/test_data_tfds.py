"""TFDS without TensorFlow: small fakes of the published files go through the real TFDS code."""

import json
import os
import shutil
import textwrap
from pathlib import Path

import data_fakes
import numpy as np
import pytest
import tensorflow_datasets
from shares import further
from tensorflow_datasets.core import file_adapters

from lincls import data
from lincls.data import cache, catalog, official, tfds

NAMES = tuple(catalog.OFFICIAL)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("LINCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def write_site(monkeypatch, name: str, folder: Path) -> str:
    """Write what the catalog shall take for the published files; return their address."""
    contents = data_fakes.published_contents(name)
    known = data_fakes.publish(monkeypatch, name, contents)
    folder.mkdir()
    for download, content in zip(known.downloads, contents, strict=True):
        (folder / download.filename).write_bytes(content)
    return f"{folder.as_uri()}/"


def load_and_prepare(name: str, monkeypatch, folder: Path) -> data.Dataset:
    """Load a data set of which nothing is there yet but the published files."""
    address = write_site(monkeypatch, name, folder)
    return data.load(name, url=address, on_progress=lambda progress: None)


def forget_the_cache() -> None:
    shutil.rmtree(cache.directory())


def assert_equal(a: data.Dataset, b: data.Dataset) -> None:
    for x, y in zip((*a.train, *a.test), (*b.train, *b.test), strict=True):
        np.testing.assert_array_equal(x, y)
    assert a.source.digest == b.source.digest


def masked_crc(content: bytes) -> int:
    """The checksum of tfrecord, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def as_tfrecord(folder: Path) -> list[Path]:
    """Rewrite a preparation as TFDS with TensorFlow would have written it."""
    from array_record.python.array_record_module import ArrayRecordReader

    made = []
    for path in folder.glob("*.array_record*"):
        made.append(path.with_name(path.name.replace("array_record", "tfrecord")))
        with made[-1].open("wb") as file:
            for record in ArrayRecordReader(str(path)).read_all():
                for part in (len(record).to_bytes(8, "little"), record):
                    file.write(part + masked_crc(part).to_bytes(4, "little"))
        path.unlink()
    info = folder / "dataset_info.json"
    facts = json.loads(info.read_text()) | {"fileFormat": "tfrecord"}
    info.write_text(json.dumps(facts))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_plain_tfds_reads_what_a_load_has_prepared(name, tmp_path, monkeypatch, capfd):
    loaded = load_and_prepare(name, monkeypatch, tmp_path / "site")
    for part in tfds.PARTS:
        source = tensorflow_datasets.data_source(
            name,
            split=part,
            data_dir=tfds.directory(),
            download=False,
            builder_kwargs={"file_format": "array_record"},
        )
        split = getattr(loaded, part)
        if "cifar" in name:
            examples = sorted(source, key=lambda example: example["id"])
            ids = [example["id"] for example in examples]
            assert ids == [f"{part}_{i:05d}".encode() for i in range(len(split.labels))]
            assert source.dataset_info.features["label"].names == list(loaded.class_names)
        else:
            order = [(e["image"].tobytes(), e["label"]) for e in source]
            places = [(i.tobytes(), y) for i, y in zip(*split, strict=True)]
            assert order != places  # TFDS has shuffled them
            examples = [source[order.index(place)] for place in places]
        np.testing.assert_array_equal([e["image"] for e in examples], split.images)
        np.testing.assert_array_equal([e["label"] for e in examples], split.labels)
        if name == "cifar100":
            coarse = [example["coarse_label"] for example in examples]
            np.testing.assert_array_equal(coarse, split.labels // 5)
            names = source.dataset_info.features["coarse_label"].names
            assert names == [f"coarse_{i}" for i in range(20)]
    assert "preparing it for TensorFlow Datasets" in capfd.readouterr().err


@pytest.mark.parametrize("written", ["array_record", "tfrecord"])
@pytest.mark.parametrize("name", NAMES)
def test_a_preparation_is_read_in_the_official_order(name, written, tmp_path, monkeypatch):
    loaded = load_and_prepare(name, monkeypatch, tmp_path / "site")
    forget_the_cache()
    folder, _ = tfds.find(name, tfds.directory())
    if written == "tfrecord":
        as_tfrecord(folder)
    prepared = data.load(name)  # no server, no cache
    assert prepared.source.location == str(folder)
    assert prepared.class_names == loaded.class_names
    assert_equal(prepared, loaded)
    assert prepared.source.official is False  # by their sums: these are fakes
    assert isinstance(data.load(name).train.images, np.memmap)


def test_the_place_that_was_named_comes_first_then_the_cache_then_tfds(tmp_path, monkeypatch):
    here = load_and_prepare("mnist", monkeypatch, tmp_path / "site")
    shutil.move(tfds.directory(), tmp_path / "elsewhere")
    folder, _ = tfds.find("mnist", tmp_path / "elsewhere")
    named = data.load("mnist", tmp_path / "elsewhere")
    assert named.source.location == str(folder)
    assert_equal(named, here)
    data_fakes.write_mnist(tmp_path / "elsewhere" / "mnist", seed=0, zipped=False)
    assert data.load("mnist", tmp_path / "elsewhere").source.digest != here.source.digest

    shutil.move(tmp_path / "elsewhere", tfds.directory())
    assert data.load("mnist").source.location.endswith(".npz")
    forget_the_cache()
    assert data.load("mnist").source.location == str(
        tfds.directory() / folder.relative_to(folder.parents[1])
    )


def test_the_newest_version_is_read(tmp_path):
    for version in ("1.0.0", "3.0.2", "3.0.10", "incomplete.ABCDEF_3.1.0"):
        (tmp_path / "mnist" / version).mkdir(parents=True)
        (tmp_path / "mnist" / version / tfds.INFO).write_text("{}")
    (tmp_path / "mnist" / "3.1.0").mkdir()  # empty
    folder, _ = tfds.find("mnist", tmp_path)
    assert folder.name == "3.0.10"
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "mnist" / "3.0.2")
    assert tfds.find("mnist", tmp_path) is None


def test_a_preparation_of_the_official_mnist_is_known_by_its_checksums(tmp_path, monkeypatch):
    load_and_prepare("mnist", monkeypatch, tmp_path / "site")
    contents = data_fakes.mnist_contents(seed=len("mnist"))
    md5 = {n: data_fakes.md5(data_fakes.idx_bytes(array)) for n, array in contents.items()}
    layout = catalog.MNIST.layouts["idx"]
    known = catalog.MNIST._replace(layouts={"idx": layout._replace(md5=md5)})
    found = official.find_prepared(known, tfds.directory())
    assert official.read(known, found).source.official is True
    monkeypatch.setitem(catalog.OWNERS, md5["t10k-labels-idx1-ubyte"], "fashion_mnist")
    with pytest.raises(ValueError, match="belongs to fashion_mnist, not to mnist"):
        official.read(known, found)


def test_tfds_verifies_what_it_is_given(tmp_path, monkeypatch):
    write_site(monkeypatch, "cifar10", tmp_path / "site")
    known = catalog.OFFICIAL["cifar10"]
    loaded = data.load("cifar10", tmp_path / "site")
    archive = tmp_path / "site" / known.downloads[0].filename
    archive.write_bytes(archive.read_bytes() + b"\x00")
    with pytest.raises(Exception, match=known.downloads[0].sha256):
        tfds.prepare(known, loaded, tmp_path / "site", tmp_path / "tfds")
    assert tfds.find("cifar10", tmp_path / "tfds") is None


class NotInstalled:
    """What TFDS has on Windows in place of array_record."""

    def __getattr__(self, name: str):
        raise ImportError("ArrayRecord currently does not work for your infrastructure")


def test_where_tfds_cannot_prepare_the_data_are_there_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(file_adapters, "array_record_module", NotInstalled())
    with pytest.warns(
        UserWarning, match="could not prepare it in .* does not work for your"
    ) as told:
        loaded = load_and_prepare("cifar10", monkeypatch, tmp_path / "site")
    assert "\n" not in str(told[0].message)
    assert loaded.source.official is True
    assert_equal(data.load("cifar10"), loaded)


def test_a_folder_of_tfds_that_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "a file" / "tfds"))
    (tmp_path / "a file").write_text("")
    with pytest.warns(UserWarning, match="could not prepare it in .*a file"):
        loaded = load_and_prepare("mnist", monkeypatch, tmp_path / "site")
    assert_equal(data.load("mnist"), loaded)


@pytest.mark.parametrize("damage", ["truncated", "another format"])
def test_a_broken_preparation_that_nobody_named_is_passed_over(damage, tmp_path, monkeypatch):
    loaded = load_and_prepare("mnist", monkeypatch, tmp_path / "site")
    forget_the_cache()
    folder, _ = tfds.find("mnist", tfds.directory())
    (records,) = folder.glob("*-train*")
    if damage == "truncated":
        records.write_bytes(records.read_bytes()[:-9])
    else:
        (info := folder / "dataset_info.json").write_text(
            json.dumps(json.loads(info.read_text()) | {"fileFormat": "parquet"})
        )
    with pytest.raises(ValueError, match=r"prepared by TFDS, cannot be read.*'digits'"):
        data.load("mnist", tfds.directory())  # named: that is what is wanted
    with pytest.warns(UserWarning, match="it is passed over"):
        again = data.load("mnist", url=(tmp_path / "site").as_uri(), on_progress=print)
    assert_equal(again, loaded)


@pytest.mark.parametrize("written", ["array_record", further("tfrecord")])
def test_preparations_damaged_at_random_places(written, tmp_path, monkeypatch):
    loaded = load_and_prepare("cifar10", monkeypatch, tmp_path / "site")
    folder, files = tfds.find("cifar10", tfds.directory())
    if written == "tfrecord":
        as_tfrecord(folder)
    files = [*sorted(folder.glob("*record*")), folder / "dataset_info.json"]
    rng = np.random.default_rng(0)
    refused = 0
    for case in range(60):
        path = files[case % 3]
        content = path.read_bytes()
        damaged = bytearray(content)
        if case % 4 == 0:
            del damaged[rng.integers(len(damaged)) :]
        else:
            damaged[rng.integers(len(damaged))] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        try:
            train, test = tfds.read(folder)
        except ValueError:
            refused += 1
        else:  # the damage hit padding, or a word of the description
            np.testing.assert_array_equal(train.images, loaded.train.images)
            np.testing.assert_array_equal(train.labels, loaded.train.labels)
            np.testing.assert_array_equal(test.images, loaded.test.images)
            np.testing.assert_array_equal(test.labels, loaded.test.labels)
        path.write_bytes(content)
    assert refused >= 30


def test_a_changed_label_in_a_tfrecord_is_refused(tmp_path, monkeypatch):
    load_and_prepare("mnist", monkeypatch, tmp_path / "site")
    folder, _ = tfds.find("mnist", tfds.directory())
    as_tfrecord(folder)
    (path,) = folder.glob("*-test.tfrecord*")
    content = path.read_bytes()
    start = content.index(b"label")
    for place in range(start + 5, start + 14):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match="checksum of a record"):
            tfds.read(folder)


def test_examples_that_are_missing_are_missed(tmp_path, monkeypatch):
    load_and_prepare("mnist", monkeypatch, tmp_path / "site")
    folder, _ = tfds.find("mnist", tfds.directory())
    as_tfrecord(folder)
    (path,) = folder.glob("*-train.tfrecord*")
    length = int.from_bytes(path.read_bytes()[:8], "little")
    path.write_bytes(path.read_bytes()[: 16 + length])
    with pytest.raises(ValueError, match="19 of its train examples are missing"):
        tfds.read(folder)


@pytest.mark.parametrize(
    ("content", "crc"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (bytes(range(32)), 0x46DD794E)],
)
def test_crc32c_of_rfc_3720(content, crc):
    assert tfds._crc32c([content, content + b"x", b"abcd"])[0] == crc


@pytest.mark.skipif(os.name == "nt", reason="limits and forks of POSIX")
def test_a_full_disk_while_preparing(tmp_path, monkeypatch):
    address = write_site(monkeypatch, "cifar10", tmp_path / "site")
    code = f"""
    import resource
    from lincls.data import download
    folder = loading._download(catalog.OFFICIAL["cifar10"], {address!r}, print)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    print(loading._load_downloads(catalog.OFFICIAL["cifar10"], folder).source.official)
    """
    code = data_fakes.believe("cifar10") + textwrap.dedent(code)
    ended = data_fakes.fork(code, tmp_path)
    assert ended.stdout.endswith("True\n"), ended.stderr
    assert "was loaded, but TensorFlow Datasets could not prepare it" in ended.stderr
    assert "was loaded but not cached" in ended.stderr
    assert tfds.find("cifar10", tmp_path / "tfds") is None
