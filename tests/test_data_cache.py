"""The cache: entries are whole, verified, shared, and replaced where they are damaged."""

import os
import stat
import tempfile
from pathlib import Path

import data_fakes
import numpy as np
import pytest
from data_fakes import assert_says_it_all, publish, quiet, send, serving

from lincls import data
from lincls.data import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LINCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture
def archive(monkeypatch) -> bytes:
    """A small archive that the catalog takes for CIFAR-10's own."""
    content = data_fakes.archive("cifar10")
    publish(monkeypatch, "cifar10", [content])
    return content


def test_an_entry_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    rename, sync, done = os.replace, os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda file: sync(file) or done.append("on disk"))
    monkeypatch.setattr(os, "replace", lambda *names: rename(*names) or done.append("named"))
    data_fakes.write_mnist(tmp_path / "mnist", seed=0, zipped=False)
    data.load("mnist", tmp_path)
    assert done == ["on disk", "named", "on disk"]  # the folder too


def entries() -> list[Path]:
    return sorted(cache.directory().glob("*"))


def test_the_cache_follows_the_content_of_its_source(tmp_path):
    folder = tmp_path / "mnist"
    data_fakes.write_mnist(folder, seed=0, zipped=False)
    first = data.load("mnist", folder)
    again = data.load("mnist", folder)
    assert isinstance(again.train.images, np.memmap)
    assert again.source == first.source
    changed = data_fakes.write_mnist(folder, seed=1, zipped=False)
    third = data.load("mnist", folder)
    np.testing.assert_array_equal(third.train.images[..., 0], changed["train-images-idx3-ubyte"])
    assert len(entries()) == 2


def test_a_cache_file_may_be_copied(archive, tmp_path, monkeypatch):
    with serving(lambda handler: send(handler, archive)) as address:
        data.load("cifar10", url=address, on_progress=quiet)
    (entry,) = cache.directory().glob("*.npz")
    other = tmp_path / "campus"
    other.mkdir()
    (other / entry.name).write_bytes(entry.read_bytes())
    other.chmod(0o555)
    monkeypatch.setenv("LINCLS_CACHE", str(tmp_path / "another machine"))
    assert data.load("cifar10", other).source.official is True
    monkeypatch.setenv("LINCLS_CACHE", str(other))
    copied = data.load("cifar10")
    assert copied.source.official is True
    assert stat.S_IMODE(entry.stat().st_mode) == 0o644


def test_a_damaged_entry_is_replaced(tmp_path):
    folder = tmp_path / "mnist"
    data_fakes.write_mnist(folder, seed=0, zipped=False)
    good = data.load("mnist", folder)
    (entry,) = entries()
    content = entry.read_bytes()
    rng = np.random.default_rng(0)
    for case in range(60):
        damaged = bytearray(content)
        if case % 2:
            del damaged[rng.integers(len(damaged)) :]
        else:
            damaged[rng.integers(len(damaged))] ^= rng.integers(1, 256)
        entry.write_bytes(damaged)
        loaded = data.load("mnist", folder)
        np.testing.assert_array_equal(loaded.train.images, good.train.images)
        np.testing.assert_array_equal(loaded.test.labels, good.test.labels)
        assert loaded.source == good.source


def test_what_killed_writers_have_left_is_swept_after_a_day(tmp_path):
    data_fakes.write_mnist(tmp_path / "mnist", seed=0, zipped=False)
    old, new = (cache.directory() / f"mnist-0.npz{age}.part" for age in ("old00000", "new00000"))
    cache.directory().mkdir()
    for left in (old, new):
        left.write_bytes(b"half")
    os.utime(old, (0, 0))
    data.load("mnist", tmp_path)
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("kind", [os.mkdir, getattr(os, "mkfifo", os.mkdir)])
def test_what_stands_in_the_place_of_an_entry_costs_only_the_entry(kind, tmp_path):
    data_fakes.write_mnist(tmp_path / "mnist", seed=0, zipped=False)
    good = data.load("mnist", tmp_path)
    (entry,) = entries()
    entry.unlink()
    kind(entry)
    with pytest.warns(UserWarning, match="not cached.*must be a regular file"):
        again = data.load("mnist", tmp_path)
    np.testing.assert_array_equal(again.train.images, good.train.images)


needs_posix = pytest.mark.skipif(os.name == "nt", reason="limits, users and forks of POSIX")
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"


@needs_posix
def test_a_full_disk_while_caching(tmp_path):
    data_fakes.write_mnist(tmp_path / "mnist", seed=0, zipped=False)
    load = f"print(data.load('mnist', {str(tmp_path)!r}).train.images.shape)"
    ended = data_fakes.fork(LIMIT + load, tmp_path)
    assert ended.stdout.strip() == "(20, 28, 28, 1)", ended.stderr
    assert "was loaded but not cached" in ended.stderr
    assert "LINCLS_CACHE" in ended.stderr
    assert list((tmp_path / "cache").iterdir()) == []


@needs_posix
def test_a_full_disk_while_downloading(tmp_path, archive):
    with serving(lambda handler: send(handler, archive)) as address:
        code = data_fakes.believe("cifar10") + LIMIT + f"data.load('cifar10', url={address!r})"
        ended = data_fakes.fork(code, tmp_path)
    last = ended.stderr.splitlines()[-1]
    assert "DataUnavailable" in last
    assert "cannot take" in last
    assert "File too large" in last
    assert_says_it_all(last, "LINCLS_CACHE")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs to become nobody")
def test_a_cache_that_nobody_may_write():
    code = """
    import pwd
    os.setuid(pwd.getpwnam("nobody").pw_uid)
    print(data.load("mnist", FOLDER).train.images.shape)
    try:
        data.load("mnist", FOLDER + "/mnist/private")
    except data.DataUnavailable as error:
        print(error)
    data.load("cifar10", url="http://127.0.0.1:9/")
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        data_fakes.write_mnist(Path(folder) / "mnist", seed=0, zipped=False)
        data_fakes.write_mnist(Path(folder) / "mnist" / "private", seed=0, zipped=False)
        (Path(folder) / "mnist" / "private").chmod(0o700)
        ended = data_fakes.fork(code.replace("FOLDER", repr(folder)), Path(folder))
    assert "(20, 28, 28, 1)" in ended.stdout, ended.stderr
    assert "was loaded but not cached" in ended.stderr
    (private,) = (line for line in ended.stdout.splitlines() if "private" in line)
    assert "Permission denied" in private
    assert "'digits'" in private
    last = ended.stderr.splitlines()[-1]
    assert "cannot take the 170,052,171 bytes" in last
    assert "Permission denied" in last
    assert_says_it_all(last, "LINCLS_CACHE")
