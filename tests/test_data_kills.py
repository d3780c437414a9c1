"""Loads that are killed at any moment, and loads at the same time: the next one is good.

A share runs in the suite; `LINCLS_WHOLE=1` kills fifty times.
"""

import os
import textwrap
import time
from pathlib import Path

import data_fakes
import pytest
from shares import further

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks and signals of POSIX")

KILLS = 50 if data_fakes.WHOLE else 6

# Dies at the KILL_AT-th time that a file below ROOT is opened, made, renamed or removed.
KILL_AT_FILE = """
count = 0
def hook(event, args):
    global count
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.truncate"):
        if str(args[0]).startswith(ROOT):
            count += 1
            if count == KILL_AT:
                os.kill(os.getpid(), 9)
sys.addaudithook(hook)
"""
KILL_AT_TIME = """
import signal
signal.setitimer(signal.ITIMER_REAL, KILL_AT)
"""
BEGIN = """
import time
begin = time.monotonic()
"""
LOAD = """
loaded = data.load("cifar10", url=ADDRESS, on_progress=lambda progress: None)
print(loaded.source.official, loaded.source.digest)
"""
# What a kill has left may be missing, but not broken.
LOOK = """
for entry in cache.directory().glob("*.npz"):
    assert cache.read(entry) is not None, entry
found = tfds.find("cifar10", tfds.directory())
if found is not None:
    tfds.read(found[0])
"""


@pytest.fixture
def address(monkeypatch):
    """A server that takes a quarter of a second for an archive."""
    content = data_fakes.archive("cifar10")
    data_fakes.publish(monkeypatch, "cifar10", [content])

    def answer(handler):
        start = int((handler.headers.get("Range") or "=0-")[6:-1] or 0)
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        data_fakes.send(
            handler,
            b"",
            206 if start else 200,
            length=str(len(content) - start),
            Content_Range=span,
        )
        for begin in range(start, len(content), 4096):
            handler.wfile.write(content[begin : begin + 4096])
            time.sleep(0.01)

    with data_fakes.serving(answer) as address:
        yield address


def code(text: str, address: str, folder: Path, kill_at: float = 0) -> str:
    text = text.replace("ADDRESS", repr(address)).replace("ROOT", repr(str(folder)))
    return data_fakes.believe("cifar10") + text.replace("KILL_AT", repr(kill_at))


@pytest.mark.parametrize("moment", [KILL_AT_FILE, further(KILL_AT_TIME)], ids=["file", "time"])
def test_after_a_kill_the_next_load_is_good(moment, address, tmp_path):
    whole = tmp_path / "whole"
    timed = KILL_AT_FILE + BEGIN + LOAD + "print(count, time.monotonic() - begin)"
    good = data_fakes.fork(code(timed, address, whole), whole)
    expected, num_killed = good.stdout.splitlines(), 0
    assert expected[0].startswith("True"), good.stderr
    num_files, seconds = expected[1].split()
    length = int(num_files) if moment == KILL_AT_FILE else float(seconds)
    for kill in range(KILLS // 2):
        folder = tmp_path / str(kill)
        at = length * (kill + 0.5) / (KILLS // 2)
        at = round(at) if moment == KILL_AT_FILE else at
        ended = data_fakes.fork(code(moment + LOAD, address, folder, at), folder)
        num_killed += ended.signal != 0
        ended = data_fakes.fork(code(LOOK + LOAD, address, folder), folder)
        assert ended.stdout.splitlines() == expected[:1], (at, ended.stderr)
    assert num_killed >= KILLS // 4  # how long a load takes varies


def test_after_a_kill_while_preparing_the_data_are_there(address, tmp_path):
    die = """
    count, png = 0, tfds._png
    def killing_png(image):
        global count
        count += 1
        if count == 12:
            os.kill(os.getpid(), 9)
        return png(image)
    tfds._png = killing_png
    """
    ended = data_fakes.fork(code(textwrap.dedent(die) + LOAD, address, tmp_path), tmp_path)
    assert ended.signal == 9
    left = [path.name for path in (tmp_path / "tfds" / "cifar10").iterdir()]
    assert len(left) == 1
    assert left[0].startswith("incomplete")
    nowhere = "http://127.0.0.1:9/"
    fine = data_fakes.fork(code(LOOK + LOAD, nowhere, tmp_path), tmp_path)
    assert fine.stdout.startswith("True "), fine.stderr
    assert fine.stderr == ""
    for entry in (tmp_path / "cache").glob("*.npz"):
        entry.unlink()
    again = data_fakes.fork(code(LOAD + LOOK, nowhere, tmp_path), tmp_path)  # what was downloaded
    assert again.stdout == fine.stdout, again.stderr
    assert "3.0.2" in [path.name for path in (tmp_path / "tfds" / "cifar10").iterdir()]


def test_after_a_kill_while_caching_there_is_no_entry(address, tmp_path):
    die = """
    def half(file, **arrays):
        file.write(b"PK")
        file.flush()
        os.kill(os.getpid(), 9)
    from lincls import files
    files.save_npz = half
    """
    ended = data_fakes.fork(code(textwrap.dedent(die) + LOAD, address, tmp_path), tmp_path)
    assert ended.signal == 9
    assert list((tmp_path / "cache").glob("cifar10-*.npz")) == []
    nowhere = "http://127.0.0.1:9/"
    fine = data_fakes.fork(code(LOAD + LOOK, nowhere, tmp_path), tmp_path)  # what was downloaded
    assert fine.stdout.startswith("True "), fine.stderr
    assert len(list((tmp_path / "cache").glob("cifar10-*.npz"))) == 1


def test_two_loads_at_once(address, tmp_path):
    both = "child = os.fork()\n" + LOAD
    both += "sys.stdout.flush()\nif child: os.waitpid(child, 0)\n"
    ended = data_fakes.fork(code(both, address, tmp_path), tmp_path)
    first, second = ended.stdout.splitlines()
    assert first == second, ended.stderr
    assert first.startswith("True")
    lines = ended.stderr.splitlines()
    assert all(line.startswith("cifar10: preparing it for") for line in lines), ended.stderr
    left = (tmp_path / "cache/downloads/cifar10").iterdir()
    assert {path.suffix for path in left} <= {".gz", ".lock"}
    heard = "import logging\nlogging.warning('heard')\n"
    again = data_fakes.fork(code(LOOK + LOAD + heard, address, tmp_path), tmp_path)
    assert again.stdout.splitlines() == [first], again.stderr
    assert again.stderr == "WARNING:root:heard\n"  # no advice of TFDS, and no log is lost
