"""A clock that jumps, and files whose times are wrong, change nothing that is computed or kept."""

import ast
import itertools
import os
import re
import sys
import time
from pathlib import Path

import data_fakes
import jax
import numpy as np
import pytest
import tqdm

from experiments.lab import lock, progress, record
from experiments.lab.experiment import Outcome
from experiments.lab.parts import Parts
from lincls import checkpoint, data, files, linear, placement, training
from lincls.data import cache
from lincls.structs import Hyper

pytestmark = pytest.mark.usefixtures("quick_compiles")

ROOT = Path(__file__).parent.parent
YEARS = 20 * 365 * 24 * 3600
WALL = {"time", "time_ns", "ctime", "localtime", "gmtime", "strftime", "now", "today", "utcnow"}
KNOWN = {"lincls/files/whole.py: time.time"}  # the age of parts, which a lock guards as well
RNG = np.random.default_rng(18)
X, Y = RNG.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3


def wall_clocks():
    """Where a program asks for the time of day."""
    for path in sorted([*(ROOT / "lincls").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in WALL:
                owner = ast.unparse(node.value)
                if owner.split(".")[-1] in ("time", "datetime", "date"):
                    yield f"{path.relative_to(ROOT).as_posix()}: {owner}.{node.attr}"
            if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
                yield f"{path.relative_to(ROOT).as_posix()}: from {node.module}"


def test_nothing_else_asks_for_the_time_of_day():
    assert set(wall_clocks()) == KNOWN


@pytest.fixture
def jumping(monkeypatch):
    """Each look at the clock is twenty years before or behind the one before, or in 1970."""
    real, jumps = time.time, itertools.cycle([-YEARS, 3 * YEARS, 0, None])

    def jumped():
        by = next(jumps)
        return 1.0 if by is None else real() + by

    monkeypatch.setattr(time, "time", jumped)
    monkeypatch.setattr(tqdm.std, "time", jumped)


def trained(path, stop=None):
    """A training that saves after each of its chunks of 2 steps; its bits, and its saves."""
    recipe, hyper, seen = training.Recipe(batch_size=8), Hyper({"learning_rate": 0.1}), []
    params = linear.init(jax.random.key(1), 5, 3)
    state = training.start(jax.random.key(0), params, recipe, hyper)

    def on_chunk(state, info):
        seen.append(int(state.step))
        if len(seen) == stop:
            raise InterruptedError

    with placement.limited(call_flops=1, saving_seconds=0, saving_share=1e9):
        found = training.fit(state, X, Y, recipe, hyper, num_steps=20, checkpoint=path,
                             validation=(X, Y), every=4, on_chunk=on_chunk)  # fmt: skip
    leaves = jax.tree.leaves((found[0].params, found[1]))
    return [np.asarray(leaf).tobytes() for leaf in leaves], seen


def test_a_training_saves_and_goes_on(jumping, tmp_path):
    whole, _ = trained(None)
    path = tmp_path / "run.npz"
    with pytest.raises(InterruptedError):
        trained(path, stop=5)
    found, seen = trained(path)
    assert seen[0] > 2, "it went on"
    assert found == whole


def test_saves_are_apart_by_time_that_passed_not_by_the_clock(jumping, tmp_path, monkeypatch):
    saves, save = [], checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *a, **kw: saves.append(1) or save(*a, **kw))
    file = training.saving.File(tmp_path / "run.npz", {})
    for _ in range(20):
        file.save(lambda: {"a": X})
    assert not saves, "saved at most once in the seconds of placement.limits()"
    with placement.limited(saving_seconds=0, saving_share=1e9):
        file.save(lambda: {"a": X})
    assert len(saves) == 1


def test_what_is_being_written_is_not_swept(tmp_path, monkeypatch):
    """Another process begins a minute later, when the clock has been set by twenty years."""
    path = tmp_path / "a.npz"
    for now in (time.time() + YEARS, 1.0):
        with monkeypatch.context() as patch:

            def fill(file, patch=patch, now=now):
                file.write(b"first")
                patch.setattr(time, "time", lambda: now)
                files.write(path, lambda other: other.write(b"second"))
                files.sweep(tmp_path)
                assert path.read_bytes() == b"second"

            files.write(path, fill)
        assert path.read_bytes() == b"first"
        assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("when", [0, time.time() + YEARS], ids=["1970", "future"])
def test_a_part_that_nobody_writes_is_swept_whatever_its_time(tmp_path, when):
    part = tmp_path / "a.npz0123abcd.part"
    part.write_bytes(b"killed")
    os.utime(part, (when, when))
    files.write(tmp_path / "a.npz", lambda file: file.write(b"whole"))
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_of_such_a_name_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz0123abcd.part")
    os.utime(tmp_path / "a.npz0123abcd.part", (0, 0))
    files.write(tmp_path / "a.npz", lambda file: file.write(b"whole"))
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_and_locks_do_not_follow_it(jumping, tmp_path, capsys, monkeypatch, is_terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr(progress, "EVERY", 0)
    watch = progress.watcher("searching")
    for done in range(1, 51):
        watch(done, 50)
        time.sleep(0.004)
    assert list(progress.bar(range(50), "counting")) == list(range(50))
    said = capsys.readouterr().err
    assert said
    assert not re.search(r"-\d|\d\d:\d\d:\d\d|\d min|\d h", said), said
    clock = progress.Clock({"a": progress.Expected(3, True), "b": progress.Expected(4, True)})
    clock.done("a")
    assert clock.left() == 4
    for _ in range(2):
        with lock.held(tmp_path, lambda: pytest.fail("nobody holds it")):
            pass


def test_a_download_goes_on_and_is_kept(jumping, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LINCLS_CACHE", str(tmp_path / "cache"))
    content = data_fakes.archive("cifar10")
    data_fakes.publish(monkeypatch, "cifar10", [content])
    asked = []

    def answer(handler):
        asked.append(handler.headers.get("Range"))
        data_fakes.send_range(handler, content, upto=20_000 if len(asked) == 1 else None)

    with monkeypatch.context() as patch, data_fakes.serving(answer) as address:
        patch.setattr("lincls.data.tfds.prepare", lambda *_: None)  # TFDS has a clock of its own
        first = data.load("cifar10", url=address)
    assert asked == [None, "bytes=20000-"]
    assert data.load("cifar10").source.digest == first.source.digest
    assert "min left" in capsys.readouterr().err


@pytest.mark.parametrize("when", [0, time.time() + YEARS], ids=["1970", "future"])
def test_the_times_of_files_decide_nothing(jumping, tmp_path, when):
    def aged():
        for path in tmp_path.rglob("*"):
            os.utime(path, (when, when))

    own = tmp_path / "own.npz"
    np.savez(own, X=X, y=Y)
    entry = tmp_path / "own-0123.npz"
    cache.write(data.load(own), entry)
    parts = Parts(tmp_path / "parts", "mark")
    parts.kept("one", lambda: {"X": X})
    meta = {key: {} for key in record.PARTS}
    record.save(tmp_path / "record", meta, Outcome({"a": 1}, {"X": X}))
    expected, _ = trained(tmp_path / "run.npz")
    aged()
    assert cache.read(entry).source.digest == data.load(own).source.digest
    assert Parts(tmp_path / "parts", "mark").kept("one", dict)["X"].tolist() == X.tolist()
    assert record.load(tmp_path / "record").numbers == {"a": 1}
    assert trained(tmp_path / "run.npz") == (expected, [])
    files.sweep(tmp_path)
    cache.write(data.load(own), entry)
    assert cache.read(entry) is not None
