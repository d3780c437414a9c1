"""A run of several experiments: the quick ones, the time left, going on, the same numbers again."""

import contextlib
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
from shares import further

from experiments import ORDER, QUICK, jobs, loading, run
from experiments.lab import fingerprint, progress, tuning
from lincls import files

ROOT = Path(__file__).parent.parent
SECONDS_OF_QUICK = 45  # on two quiet cores; installing, importing and the page come on top


def nothing_drawn(_, folder):
    """What the page is told of figures that a test does not look at."""
    is_home = folder.name.endswith("-smoke")
    return [run.figures.Shown("classifiers", "", "", "", 7, 4)] if is_home else []


@pytest.fixture
def three(monkeypatch):
    """The lecture has three experiments, of which two are quick; nothing is drawn."""
    titles = ("images", "softmax_loss", "svm_loss")
    monkeypatch.setattr(run, "ORDER", titles)
    monkeypatch.setattr(run, "QUICK", titles[:2])
    monkeypatch.setattr(run.figures, "publish", nothing_drawn)
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
    command = f"-m experiments {' '.join(typed)}"
    assert f"Open {page.as_uri()}" in told.out
    assert told.out.splitlines()[-1].startswith("1 more question: ")
    assert told.out.splitlines()[-1].endswith(command)
    assert 'id="softmax_loss"' in page.read_text()
    assert 'id="svm_loss"' not in page.read_text()
    left_out = page.read_text().split('id="left-out"')[1]
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


@pytest.fixture
def clock(monkeypatch):
    """A clock of three tasks, and the time, which a test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])

    def of(**expected):
        return progress.Clock({n: progress.Expected(*task) for n, task in expected.items()})

    return of, now


def test_no_time_left_is_told_before_something_is_known(clock):
    of, now = clock
    guessed = of(a=(10, False), b=(20, False), c=(70, False))
    assert guessed.left() is None
    now[0] += 20  # twice as long as expected
    guessed.done("a")
    assert guessed.left() == pytest.approx(90 * (20 + progress.TRUST) / (10 + progress.TRUST))
    guessed.done("b")
    guessed.done("c")
    assert guessed.left() == 0


def test_what_was_measured_on_these_data_is_told_at_once_and_is_no_pace_of_guesses(clock):
    of, now = clock
    assert of(a=(10, True), b=(20, True)).left() == 30
    mixed = of(a=(10, True), b=(20, False))
    now[0] += 40
    mixed.done("a")
    assert mixed.left() is None


def test_larger_data_are_expected_to_take_longer_but_not_in_proportion():
    assert progress.scale(1437 * 64) == 1
    assert 3 < progress.scale(60_000 * 784) < 20  # measured: 5 times as long


def test_each_line_tells_the_time_left(three, tmp_path, capsys):
    assert run.main_all(arguments(tmp_path)) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert told[0].endswith("(time left unknown)")
    assert told[1].startswith("[2/3] softmax_loss: ")
    assert all(line.endswith("s left)") for line in told[1:])
    run.main_all(arguments(tmp_path))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert all(line.endswith("s left)") for line in told)


def test_seconds_of_a_record_of_the_same_data_are_what_is_expected(three, tmp_path):
    assert run.main_all(arguments(tmp_path)) == 0
    folder = tmp_path / "digits-smoke"
    seconds = json.loads((folder / "softmax_loss" / "results.json").read_text())["seconds"]["all"]
    entry = loading.entries(["softmax_loss"])["softmax_loss"]
    common = run.options.Drawn(smoke=True, seed=1)
    job = jobs.Job("softmax_loss", *entry, entry.question.Settings(), common)
    assert jobs.expected(job, folder) == (seconds, True)
    assert jobs.expected(job, tmp_path) == (entry.report.SECONDS, False)


# --- the page of what stands -----------------------------------------------------------------


def test_one_question_alone_keeps_the_others_on_the_page_and_changes_its_own(three, tmp_path):
    assert run.main_all(arguments(tmp_path)) == 0
    for name in ("images", "softmax_loss", "svm_loss"):
        files.write_json(tmp_path / "digits-smoke" / name / "figures.json", {"figures": []})
    page = tmp_path / "digits-smoke" / "index.html"
    before = page.read_text()
    program = import_module("experiments.softmax_loss")
    assert run.main(program.__file__, arguments(tmp_path, "--num-examples", "20")) == 0
    after = page.read_text()
    for name in ("images", "svm_loss"):
        assert of_section(after, name) == of_section(before, name)
    assert "num_examples = 20" in of_section(after, "softmax_loss")
    assert "--num-examples 20" in of_section(after, "softmax_loss")
    assert "num_examples = 20" not in of_section(before, "softmax_loss")


def of_section(page, name):
    return page.split(f'id="{name}"')[1].split("</section>")[0]


def test_a_record_of_other_data_or_one_that_is_damaged_is_not_shown(three, tmp_path):
    assert run.main_all(arguments(tmp_path)) == 0
    folder = tmp_path / "digits-smoke"
    found = files.read_json(folder / "images" / "results.json")
    found["data"]["digest"] = "0" * 64
    files.write_json(folder / "images" / "results.json", found)
    (folder / "svm_loss" / "figures.json").write_text("{")
    assert run.main(import_module("experiments.softmax_loss").__file__, arguments(tmp_path)) == 0
    page = (folder / "index.html").read_text()
    assert 'id="softmax_loss"' in page
    assert 'id="images"' not in page
    assert 'id="svm_loss"' not in page
    assert "experiments.svm_loss" in page.split('id="left-out"')[1]


# --- going on --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the sources, and the version of a question in it."""
    root = tmp_path_factory.mktemp("checkout")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("experiments", "lincls"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
            patch.setitem(fingerprint.PACKAGES, name, root / name)
        source = root / "experiments" / "choose_k.py"
        yield root, source, fingerprint.code_version(source)


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("lincls/data/loading.py", '"""', '"""Reworded. ', False),
        ("experiments/report/choose_k.py", "SECONDS = 3", "SECONDS = 4", False),
        further("experiments/report/style.py", 'RED = "', 'RED = "#123456" or "', False),
        further(
            "experiments/choose_k.py",
            "MOST_TIMED = 1000  #",
            "MOST_TIMED = 1000  # Reworded:",
            False,
        ),
        ("experiments/choose_k.py", "MOST_TIMED = 1000", "MOST_TIMED = 999", True),
        further("experiments/lab/tuning.py", "_BLOCK = 512", "_BLOCK = 256", True),
        ("lincls/knn/search.py", "_GROUP = 16", "_GROUP = 32", True),
        ("lincls/gradcheck/doors.py", "import", "import os\nimport", False),  # no part of choose_k
    ],
)
def test_what_computes_counts_and_what_tells_does_not(checkout, file, old, new, counts):
    root, source, before = checkout
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    found = fingerprint.code_version(source)
    (root / file).write_text(text)
    assert (found != before) is counts


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


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("arrays.npz", lambda stored: b""),
        ("arrays.npz", lambda stored: stored[: len(stored) // 2]),
        ("arrays.npz", lambda stored: stored[:300] + bytes([stored[300] ^ 1]) + stored[301:]),
        ("results.json", lambda stored: b"[]"),
        ("results.json", lambda stored: b"{}"),
        ("results.json", lambda stored: stored[:-9]),
        ("results.json", lambda stored: stored.replace(b'"seed": 0', b'"seed": 1')),
    ],
)
def test_a_damaged_record_is_computed_again(three, tmp_path, capsys, file, damage):
    program = import_module("experiments.softmax_loss").__file__
    assert run.main(program, arguments(tmp_path)) == 0
    path = tmp_path / "digits-smoke" / "softmax_loss" / file
    path.write_bytes(damage(path.read_bytes()))
    assert run.main(program, arguments(tmp_path)) == 0
    assert "already finished" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("title", "engine", "finished"),
    [
        ("choose_k", "crossval.knn_accuracies", 1),
        further("choose_k", "knn.predict_by_k", 4),  # a search compiles, then runs
        further("svm_softmax", "crossval.linear", 1),
    ],
)
def test_a_question_stopped_within_goes_on_with_its_finished_parts(
    title, engine, finished, tmp_path, monkeypatch
):
    """It computes what is not finished, and ends in the numbers of an undisturbed run."""
    module, name = engine.split(".")
    real, calls, stop_after = getattr(getattr(tuning, module), name), [0], [finished]

    def counted(*given, **more):
        if calls == stop_after:
            raise KeyboardInterrupt
        calls[0] += 1
        return real(*given, **more)

    monkeypatch.setattr(getattr(tuning, module), name, counted)
    monkeypatch.setattr(import_module(f"experiments.report.{title}"), "draw", lambda _: iter(()))
    program, found = import_module(f"experiments.{title}").__file__, []
    assert run.main(program, arguments(tmp_path)) == run.STOPPED
    stop_after.clear()
    for folder in (tmp_path, tmp_path / "whole"):
        calls[0] = 0
        assert run.main(program, arguments(folder)) == 0
        home = folder / "digits-smoke" / title
        assert not (home / "parts").exists()
        found.append((calls[0], (home / "results.json").read_text().split('"seconds"')[0]))
    (resumed, numbers), (whole, expected) = found
    assert resumed == whole - finished
    assert numbers == expected


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_a_real_ctrl_c_stops_at_once_and_the_same_command_goes_on(tmp_path):
    first = interrupted(tmp_path, "[2/")
    assert "the same command goes on" in first[-1]
    assert (tmp_path / "digits-smoke" / ORDER[0] / "results.json").is_file()
    assert f'id="{ORDER[0]}"' in (tmp_path / "digits-smoke" / "index.html").read_text()
    second = interrupted(tmp_path, "[2/")
    assert sum("already finished" in line for line in second) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("seconds", [0.5, 0.9, 2, 3.5, 5])  # earlier it is a fork of the tests
def test_ctrl_c_at_any_moment_shows_no_traceback(tmp_path, seconds):
    command = [sys.executable, "-m", "experiments.svm_loss", *arguments(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(seconds)
        running.send_signal(signal.SIGINT)
        told = running.stderr.read()
    assert "Traceback" not in told
    assert running.returncode in (0, 130, -signal.SIGINT)  # a shell's 130 is a death by SIGINT


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
    assert not any("Traceback" in line for line in lines)
    return lines
