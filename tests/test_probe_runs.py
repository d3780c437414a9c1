"""A probe that is stopped or killed goes on; what is finished is read; nothing is overwritten."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from shares import further

from experiments.lab import lock, progress
from experiments.lab.parts import Parts
from experiments.probe import __main__ as program
from experiments.probe import choosing, features, fits, probing
from experiments.probe.store import mark_of_parts
from lincls import placement

ROOT = Path(__file__).parent.parent
FLAGS = ["--smoke", "--strengths", "2", "--steps", "20", "--examples", "400", "--num-neighbors",
         "5", "--probes", "linear", "l2", "--fit", "early"]  # fmt: skip

pytestmark = pytest.mark.usefixtures("optax_promotes")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """120 examples to train on and 40 to test, 6 features, 4 classes."""
    rng = np.random.default_rng(9)
    y = rng.permutation(np.arange(160) % 4)
    X = (rng.normal(size=(4, 6))[y] + rng.normal(size=(160, 6))).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "features.npz"
    np.savez(path, X_train=X[:120], y_train=y[:120], X_test=X[120:], y_test=y[120:])
    return path


def words(file, out, *more):
    return ["--dataset", str(file), "--out", str(out), *FLAGS, *more]


def found(out):
    """What stands in results.json of every result, without times."""
    read = [json.loads(path.read_text()) for path in sorted(out.glob("**/results.json"))]
    return [{key: each[key] for key in ("results", "spread", "seed")} for each in read]


@pytest.fixture(scope="module")
def whole(file, tmp_path_factory):
    """The results of a run that nobody stopped."""
    out = tmp_path_factory.mktemp("whole")
    assert program.main(words(file, out)) == 0
    return found(out)


def rows(out, seed):
    return [row for each in found(out) for row in each["results"] if row["seed"] == seed]


# --- finished parts ----------------------------------------------------------------------------


def test_what_is_finished_is_read_and_again_computes_it(file, tmp_path, whole, capsys, monkeypatch):
    assert program.main(words(file, tmp_path)) == 0
    assert "choosing" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(choosing, "choose", None)
        assert program.main(words(file, tmp_path)) == 0
    told = capsys.readouterr()
    assert "already finished" in told.err
    assert "choosing" not in told.err
    assert "| linear, softmax | all |" in told.out
    assert program.main(words(file, tmp_path, "--again")) == 0
    assert "choosing" in capsys.readouterr().err
    assert found(tmp_path) == whole


def test_more_seeds_train_no_seed_again_and_change_no_row_of_it(file, tmp_path, whole, monkeypatch):
    assert program.main(words(file, tmp_path, "--seeds", "1")) == 0
    trained = []
    fit = fits.FITS["early"]
    monkeypatch.setitem(fits.FITS, "early", lambda *args: (trained.append(args[0]), fit(*args))[1])
    assert program.main(words(file, tmp_path)) == 0
    assert len(trained) == 4  # two powers, the full length and the refit of the second seed
    assert len(found(tmp_path)) == 2
    first = [row for row in whole[0]["results"] if row["seed"] == 0]
    assert rows(tmp_path, 0) == [*first, *first]


def test_other_data_of_the_same_name_and_other_settings_overwrite_nothing(file, tmp_path):
    out = tmp_path / "out"
    other = tmp_path / "features.npz"
    with np.load(file) as arrays:
        np.savez(other, **dict(arrays) | {"X_train": arrays["X_train"] + 1})
    for each, more in ((file, []), (other, []), (file, ["--seed", "5"])):
        assert program.main(words(each, out, "--probes", "l2", "--seeds", "1", *more)) == 0
    assert len(list(out.glob("features-smoke/probe/*/results.json"))) == 3


def test_a_part_that_is_damaged_is_computed_again(tmp_path):
    parts = Parts(tmp_path / "parts", "mark")
    assert parts.kept("one", lambda: {"a": np.arange(3)})["a"].tolist() == [0, 1, 2]
    assert parts.kept("one", lambda: pytest.fail("computed again"))["a"].tolist() == [0, 1, 2]
    parts.path("one").write_bytes(b"no zip file")
    assert parts.kept("one", lambda: {"a": np.arange(2)})["a"].tolist() == [0, 1]
    other = Parts(tmp_path / "parts", "other")
    assert other.kept("one", lambda: {"a": np.arange(5)})["a"].tolist() == [0, 1, 2, 3, 4]
    fresh = Parts(tmp_path / "parts", "mark", again=True)
    assert fresh.kept("one", lambda: {"a": np.arange(4)})["a"].tolist() == [0, 1, 2, 3]


def test_what_decides_a_part_is_in_its_mark_and_how_many_there_are_is_not():
    usual = choosing.Settings()
    mark = mark_of_parts(Path(choosing.__file__), usual, "data")
    same = dataclasses.replace(usual, seeds=7, probes=("l2",), metrics=("ap",), shots=("3",))
    assert mark_of_parts(Path(choosing.__file__), same, "data") == mark
    for changed in ({"epochs": 3.0}, {"normalise": "unit"}, {"fit": "optimum"}, {"ks": (3,)}):
        other = dataclasses.replace(usual, **changed)
        assert mark_of_parts(Path(choosing.__file__), other, "data") != mark
    assert mark_of_parts(Path(choosing.__file__), usual, "other data") != mark


def test_a_training_that_was_stopped_goes_on_from_its_state(tmp_path, monkeypatch):
    """In the same bits, and without the steps that were taken."""
    rng = np.random.default_rng(2)
    rotated = probing.rotate(rng.normal(size=(60, 5)).astype(np.float32))
    y, weights = np.arange(60) % 3, np.ones((2, 60), np.float32)
    plan = fits.Plan(2, 100, 16, 1e-3, steps=40)
    args = (jax.random.key(0), rotated, y, 3, weights, np.array([1e-2, 1e-3]), plan)
    monkeypatch.setattr("lincls.training.driver.chunk_length", lambda *_: 10)
    whole, _ = fits.FITS["early"](*args)
    saved, done = tmp_path / "state.npz", []

    def stop(step, _):
        if step == 20:
            raise InterruptedError

    with placement.limited(saving_seconds=0, saving_share=1e9):
        with pytest.raises(InterruptedError):
            fits.FITS["early"](*args, stop, saved)
        again, _ = fits.FITS["early"](*args, lambda step, _: done.append(step), saved)
    assert done == [30, 40]
    np.testing.assert_array_equal(again.W, whole.W)


def test_features_that_the_training_refuses_are_one_line(tmp_path, capsys):
    X = 1e9 + np.random.default_rng(3).normal(size=(60, 4))
    np.savez(tmp_path / "far.npz", X=X, y=np.arange(60) % 3)
    assert program.main(words(tmp_path / "far.npz", tmp_path)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: X is float64 and its feature 0 lies at 1e+09")


# --- stopped and killed ------------------------------------------------------------------------


def started(file, out):
    """The program in a process of its own, compiled as here, and what it says line by line."""
    command = [sys.executable, "-m", "experiments.probe", *words(file, out)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job's may be ignored
    )  # fmt: skip


def stopped_at(file, out, text, how, later=0.0):
    """The lines of a run that gets a signal some time after it said `text`, and its status."""
    lines = []
    with started(file, out) as process:
        guard = threading.Timer(120, process.kill)
        guard.start()
        for line in process.stderr:
            lines.append(line)
            if text in line:
                time.sleep(later)
                process.send_signal(how)
        guard.cancel()
    return lines, process.returncode


def interrupted(*_):
    raise KeyboardInterrupt


def test_ctrl_c_is_one_sentence_and_a_status(file, tmp_path, whole, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        test = program.computing.testing.test
        patch.setattr(program.computing.testing, "test", interrupted)
        assert program.main(words(file, tmp_path)) == 130
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == "Stopped. Finished parts are kept; the same command goes on."
    assert test is program.computing.testing.test
    assert not found(tmp_path)
    assert program.main(words(file, tmp_path)) == 0
    assert found(tmp_path) == whole


@pytest.mark.parametrize(
    "error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 8 GB")]
)
def test_memory_that_runs_out_is_one_line(file, tmp_path, capsys, monkeypatch, error):
    def runs_out(*_):
        raise error

    monkeypatch.setattr(program.computing, "compute", runs_out)
    assert program.main(words(file, tmp_path)) == 2
    assert capsys.readouterr().err.startswith("error: memory ran out.  Finished parts are kept")
    assert not found(tmp_path)


@pytest.mark.slow
def test_a_real_ctrl_c_shows_no_traceback(file, tmp_path):
    lines, status = stopped_at(file, tmp_path, "[2/5]", signal.SIGINT)
    assert status == 130
    assert lines[-1] == "Stopped. Finished parts are kept; the same command goes on.\n"
    assert not any("Traceback" in line for line in lines)


MANY = 20 if os.environ.get("LINCLS_WHOLE") else 2
KILLS = [1, *map(further, range(2, MANY))]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
@pytest.mark.parametrize("number", KILLS)
def test_a_run_that_was_killed_ends_in_the_same_numbers(file, tmp_path, whole, number):
    """Killed at a moment of its own: some time after a part began."""
    text, later = f"[{number % 5 + 1}/5]", 0.02 * (number % 7)
    stopped_at(file, tmp_path, text, signal.SIGKILL, later)
    assert not found(tmp_path) or later
    assert program.main(words(file, tmp_path)) == 0
    assert found(tmp_path) == whole
    assert not list(tmp_path.glob("**/training-*"))


def test_a_second_program_waits_for_the_first(tmp_path):
    order = []

    def second():
        with lock.held(tmp_path, lambda: order.append("waits")):
            order.append("second")

    with lock.held(tmp_path, lambda: order.append("not waiting")):
        other = threading.Thread(target=second)
        other.start()
        while "waits" not in order:
            time.sleep(0.01)
        order.append("first")
    other.join(30)
    assert order == ["waits", "first", "second"]


def test_a_log_says_how_much_is_done_and_the_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    watch = progress.watcher("linear")
    for step in range(11):
        watch(step * 10 + 10, 110)
        now[0] += 15.0
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "    linear: 27% done, about 2 min left"
    assert told[-1].endswith("about 30 s left")
    assert len(told) == 4


# --- scales ------------------------------------------------------------------------------------


def test_standard_scales_each_feature_within_the_fold(file):
    from sklearn.preprocessing import StandardScaler

    with np.load(file) as arrays:
        X, y = arrays["X_train"] * np.float32([1e-3, 1, 1e3, 1e5, 1, 0]), arrays["y_train"]
    held = (np.arange(120) % 3 == 0)[None]
    task = choosing.Task(0, jax.random.key(0), X, probing.rotate(X), y, 4, held)
    settings = choosing.Settings(normalise="standard")
    view = next(choosing.views(task, task.weights(None, to_choose=True), settings))
    scaler = StandardScaler().fit(X[~held[0]])
    np.testing.assert_allclose(view.task.X, scaler.transform(X), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_feature_of_great_variance_ruins_no_standard_probe(tmp_path, file):
    with np.load(file) as arrays:
        given = dict(arrays)
    rng = np.random.default_rng(3)
    for part in ("train", "test"):
        X = given[f"X_{part}"]
        noise = 1e5 * rng.normal(size=(len(X), 1)).astype(np.float32)
        given[f"X_{part}"] = np.concatenate([X, noise], axis=1)
    np.savez(tmp_path / "wide.npz", **given)
    accuracy = {}
    for scale in ("scale", "standard"):
        out = tmp_path / scale
        flags = words(tmp_path / "wide.npz", out, "--seeds", "1", "--normalise", scale)
        assert program.main(flags) == 0
        (read,) = found(out)
        accuracy[scale] = [row["top1"] for row in read["results"]]
    assert min(accuracy["standard"]) > max(accuracy["scale"]) + 0.15


def test_a_row_far_outside_is_named(capsys):
    X = np.random.default_rng(4).normal(size=(50, 4)).astype(np.float32)
    features.warn_of_far_rows(X, "scale")
    assert capsys.readouterr().err == ""
    X[7] *= 1e6
    features.warn_of_far_rows(X, "scale")
    assert "row 7" in capsys.readouterr().err


def test_a_choice_at_the_edge_of_the_grid_is_said(file, tmp_path, capsys):
    flags = words(file, tmp_path, "--weakest", "1", "--strongest", "10", "--seeds", "1")
    assert program.main(flags) == 0
    assert "is at the edge of the grid; widen it with --" in capsys.readouterr().err
    assert rows(tmp_path, 0)[0]["at_edge"]


def test_few_examples_go_to_their_optimum_in_the_search_and_in_the_refit():
    settings = choosing.Settings()
    assert [settings.fit_of(n) for n in (120, 5000, 5001)] == ["optimum", "optimum", "early"]
    for fit in ("early", "optimum"):
        assert dataclasses.replace(settings, fit=fit).fit_of(120) == fit


def test_the_optimum_has_a_small_gap_and_scikit_learns_predictions(file, tmp_path):
    from sklearn.linear_model import LogisticRegression

    flags = words(file, tmp_path, "--fit", "optimum", "--probes", "linear", "--seeds", "1")
    assert program.main(flags) == 0
    (row,) = rows(tmp_path, 0)
    assert 0 <= row["gap"] < 1e-3
    assert row["fit"] == "optimum"
    with np.load(file) as arrays:
        X, y, queries = (arrays[name] for name in ("X_train", "y_train", "X_test"))
    scale = np.sqrt(X.var(axis=0).mean())
    model = LogisticRegression(C=1 / (2 * len(y) * row["strength"]), tol=1e-8, max_iter=2000)
    model.fit((X - X.mean(axis=0)) / scale, y)
    (heads,) = tmp_path.glob("**/heads.npz")
    with np.load(heads) as head:
        said = (queries @ head["W"][0].T + head["b"][0]).argmax(axis=1)
    np.testing.assert_array_equal(said, model.predict((queries - X.mean(axis=0)) / scale))
