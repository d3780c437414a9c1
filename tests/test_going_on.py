"""A run of several experiments: the quick ones, the time left, going on, the same numbers again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from experiments import ORDER, QUICK, loading, run
from experiments.lab import fingerprint, progress

ROOT = Path(__file__).parent.parent
SECONDS_OF_QUICK = 45  # on two quiet cores; installing, importing and the page come on top


@pytest.fixture
def three(monkeypatch):
    """The lecture has three experiments, of which two are quick; nothing is drawn."""
    titles = ("images", "softmax_loss", "svm_loss")
    monkeypatch.setattr(run, "ORDER", titles)
    monkeypatch.setattr(run, "QUICK", titles[:2])
    monkeypatch.setattr(run.style, "save", lambda *_: None)
    for title in titles:
        monkeypatch.setattr(
            import_module(f"experiments.report.{title}"), "draw", lambda _: iter(())
        )


def arguments(folder, *more):
    return ["--smoke", "--out", str(folder), *more]


# --- the quick ones --------------------------------------------------------------------------


def test_the_quick_ones_are_of_the_lecture_in_its_order_and_quick():
    assert list(QUICK) == [title for title in ORDER if title in QUICK]
    assert sum(report.SECONDS for _, report in loading.entries(QUICK).values()) <= SECONDS_OF_QUICK


def test_listing_marks_the_quick_ones():
    marked = {line.split()[1] for line in run.listing().splitlines()[1:] if " s * " in line}
    assert marked == set(QUICK)


def test_quick_page_names_what_it_leaves_out_and_the_command_that_adds_it(three, tmp_path, capsys):
    typed = arguments(tmp_path, "--softmax-loss.num-examples", "20")
    assert run.main_all([*typed, "--quick"]) == 0
    told, page = capsys.readouterr(), tmp_path / "digits-smoke" / "index.html"
    command = f"python -m experiments {' '.join(typed)}"
    assert f"1 experiments were left out; add them: {command}" in told.out
    assert 'id="softmax_loss"' in page.read_text()
    assert 'id="svm_loss"' not in page.read_text()
    left_out = page.read_text().split('<section id="left-out">')[1]
    assert command in left_out
    assert import_module("experiments.report.svm_loss").QUESTION in left_out
    assert run.main_all(typed) == 0  # goes on from the quick ones
    assert capsys.readouterr().err.count("already finished") == 2
    assert "left-out" not in page.read_text()


def test_a_flag_of_what_quick_leaves_out_is_refused(three, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main_all(arguments(tmp_path, "--quick", "--svm-loss.num-examples", "20"))
    assert stopped.value.code == 2
    assert "--quick leaves svm_loss out" in " ".join(capsys.readouterr().err.split())


# --- the time left ---------------------------------------------------------------------------


def test_time_left_follows_expectation_then_pace(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    clock = progress.Clock({"a": 10, "b": 20, "c": 70})
    assert clock.left() == pytest.approx(100)
    now[0] += 20  # twice as long as expected
    clock.done("a")
    assert clock.left() == pytest.approx(90 * (20 + progress.TRUST) / (10 + progress.TRUST))
    clock.done("b")
    clock.done("c")
    assert clock.left() == 0


def test_each_line_tells_the_time_left_and_what_stands_takes_less(three, tmp_path, capsys):
    assert run.main_all(arguments(tmp_path)) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert told[1].startswith("[2/3] softmax_loss: ")
    assert all(line.endswith("s left)") for line in told)
    (question, report), folder = loading.entries(["gradient_check"])["gradient_check"], tmp_path
    fresh = run.Job("gradient_check", question, report, question.Settings(), run.options.Common())
    assert run.expected(fresh, folder) == report.SECONDS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "standing", lambda *_: "a record")
        assert run.expected(fresh, folder) < report.SECONDS


# --- going on --------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of the sources, and the file of a question in it."""
    for name in ("experiments", "lincls"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setitem(fingerprint.PACKAGES, name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("lincls/data/loading.py", '"""', '"""Reworded. ', False),
        ("experiments/report/choose_k.py", "SECONDS = 3", "SECONDS = 4", False),
        ("experiments/report/style.py", 'RED = "', 'RED = "#123456" or "', False),
        (
            "experiments/choose_k.py",
            "MOST_TIMED = 1000  #",
            "MOST_TIMED = 1000  # Reworded:",
            False,
        ),
        ("experiments/choose_k.py", "MOST_TIMED = 1000", "MOST_TIMED = 999", True),
        ("experiments/lab/tuning.py", "_BLOCK = 512", "_BLOCK = 256", True),
        ("lincls/knn/search.py", "_GROUP = 64", "_GROUP = 32", True),
        ("lincls/gradcheck.py", "import", "import os\nimport", False),  # no part of choose_k
    ],
)
def test_what_computes_counts_and_what_tells_does_not(checkout, file, old, new, counts):
    source = checkout / "experiments" / "choose_k.py"
    before = fingerprint.code_version(source)
    text = (checkout / file).read_text()
    assert old in text
    (checkout / file).write_text(text.replace(old, new, 1))
    assert (fingerprint.code_version(source) != before) is counts


def test_the_same_seed_gives_the_same_files_but_for_the_seconds(tmp_path, monkeypatch):
    module = import_module("experiments.softmax_loss")
    monkeypatch.setattr(
        import_module("experiments.report.softmax_loss"), "draw", lambda _: iter(())
    )
    found = []
    for name in ("first", "second"):
        assert run.main(module.__file__, arguments(tmp_path / name)) == 0
        folder = tmp_path / name / "digits-smoke" / "softmax_loss"
        text = (folder / "results.json").read_text()
        assert json.loads(text)["seconds"]["all"] > 0
        with np.load(folder / "arrays.npz") as arrays:
            found.append((text.split('"seconds"')[0], {n: arrays[n].tobytes() for n in arrays}))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_a_real_ctrl_c_stops_at_once_and_the_same_command_goes_on(tmp_path):
    first = interrupted(tmp_path, "[2/")
    assert "The same command goes on from here" in first[-1]
    assert not any("Traceback" in line for line in first)
    assert (tmp_path / "digits-smoke" / ORDER[0] / "results.json").is_file()
    second = interrupted(tmp_path, "[2/")
    assert sum("already finished" in line for line in second) == 1


def interrupted(folder, until):
    """Lines on standard error of a run of all experiments with Ctrl-C at the first such line."""
    command, lines = [sys.executable, "-m", "experiments", *arguments(folder)], []
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job's may be ignored
    ) as running:  # fmt: skip
        stop = threading.Timer(120, running.kill)
        stop.start()
        for line in running.stderr:
            lines.append(line)
            if line.startswith(until):
                running.send_signal(signal.SIGINT)
        stop.cancel()
    assert running.returncode == 130, lines
    return lines
