"""Several processes find what one device finds, and do not outlive each other."""

import subprocess
import sys
import tempfile
import time

import pytest

from experiments.many import __main__ as many
from experiments.many import work

TASK = work.Task("digits", "", "", 0, False, "", k=3, queries=5, steps=4, batch_size=64, seed=0)


def test_two_processes_of_two_devices_have_the_bits_of_one_device(capsys):
    words = ["--smoke", "--processes", "2", "--devices", "2", "--steps", "12"]
    assert many.main(words) == 0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[:7] == ["2", "x", "2", *["same"] * 4]


def test_other_bits_are_seen(monkeypatch, capsys):
    found = dict.fromkeys(many.SAME, "a") | {"knn_seconds": 1.0, "training_seconds": 1.0}
    answers = iter([[found], [found, found | {"W": "b"}]])
    monkeypatch.setattr(many, "start", lambda *_: None)
    monkeypatch.setattr(many, "wait", lambda _: [many.json.dumps(one) for one in next(answers)])
    assert many.compare(many.Settings(), TASK) == 1
    assert capsys.readouterr().out.splitlines()[-1].split()[6] == "OTHER"


def test_a_process_that_dies_ends_the_others():
    children = many.start(TASK, 2, 1)
    children[1].process.kill()
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="process 1 ended with status -9"):
        many.wait(children)
    assert time.monotonic() - begin < 30
    assert all(child.process.poll() is not None for child in children)


def test_what_a_failed_process_said_is_told_in_one_line(capsys, monkeypatch):
    def failing(*_):
        out, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-c", "raise ValueError('no such file')"]
        return [many.Child(subprocess.Popen(command, stdout=out, stderr=errors), out, errors)]

    monkeypatch.setattr(many, "start", failing)
    with pytest.raises(SystemExit) as end:
        many.main(["--processes", "1"])
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "error: process 0 ended with status 1, which ended all: ValueError: no such file"
