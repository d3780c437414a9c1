"""`training.fit(..., checkpoint=path)`: a run ends in the same bits, however often it is killed."""

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from shares import further

from lincls import batches, checkpoint, checks, linear, losses, optimizers, placement, training
from lincls.objective import Objective
from lincls.structs import Affine, Hyper
from lincls.training import saving

HERE = Path(__file__).parent
ROOT = HERE.parent
RNG = np.random.default_rng(150)
X = RNG.integers(0, 256, (60, 12), np.uint8)
Y = RNG.integers(0, 3, 60)
HELD_OUT = (RNG.integers(0, 256, (20, 12), np.uint8), RNG.integers(0, 3, 20))


def averaged_sgd(learning_rate, momentum):
    return optax.chain(optimizers.sgd(learning_rate, momentum), optimizers.averaging(5))


RECIPE = training.Recipe(Objective(losses.hinge), averaged_sgd, batches.shuffled, 16,
                         optimizers.averaged)  # fmt: skip
GRID = Hyper({"learning_rate": [1e-3, 1e-2, 1e-1], "momentum": 0.9}, reg=1e-3, dropout=0.1)


class Stopped(Exception):
    pass


def fit(path, *, stop_after=None, X=X, y=Y, recipe=RECIPE, hyper=GRID, num_steps=60, key=151, **kw):
    """A run in chunks of 2 steps that saves after each; it ends after so many of them."""
    state = training.start(jax.random.key(key), linear.init(jax.random.key(152), 12, 3), recipe,
                           hyper)  # fmt: skip
    seen = []

    def on_chunk(state, info):
        seen.append(int(state.step))
        if len(seen) == stop_after:
            raise Stopped

    kw = {"affine": Affine(np.full(12, 128.0), 1 / 64), "every": 5, "patience": 9,
          "validation": HELD_OUT, "on_chunk": on_chunk, "checkpoint": path, **kw}  # fmt: skip
    with placement.limited(call_flops=1, saving_seconds=0, saving_share=1e9):
        return *training.fit(state, X, y, recipe, hyper, num_steps=num_steps, **kw), seen


def bits(tree):
    leaves = jax.tree.leaves(tree)
    return [np.asarray(jax.random.key_data(x) if checks.is_key(x) else x).tobytes()
            for x in leaves]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed():
    state, history, _ = fit(None)
    return bits((state, history))


@pytest.mark.parametrize("stops", [[1], [7, 3, 1, 12]], ids=str)
def test_a_run_that_is_ended_goes_on_to_the_same_bits(undisturbed, tmp_path, stops):
    for stop_after in stops:
        with pytest.raises(Stopped):
            fit(tmp_path / "run.npz", stop_after=stop_after)
    state, history, seen = fit(tmp_path / "run.npz")
    assert seen[0] > sum(stops), "it went on"
    assert bits((state, history)) == undisturbed


def test_a_finished_run_is_read_and_not_trained_again(undisturbed, tmp_path):
    fit(tmp_path / "run.npz")
    state, history, seen = fit(tmp_path / "run.npz")
    assert not seen
    assert bits((state, history)) == undisturbed


def test_without_validation_and_from_a_later_state(tmp_path):
    recipe, hyper = training.Recipe(batch_size=7), Hyper({"learning_rate": 0.1})
    how = {"recipe": recipe, "hyper": hyper, "validation": None, "every": None, "patience": None}
    whole = fit(None, **how)
    with pytest.raises(Stopped):
        fit(tmp_path / "run.npz", stop_after=9, **how)
    assert bits(fit(tmp_path / "run.npz", **how)[:2]) == bits(whole[:2])


def test_patience_goes_on_with_what_it_has_counted(tmp_path):
    hyper = GRID._replace(optimizer={"learning_rate": [0.0, 1e-9, 1e-3], "momentum": 0.0})
    whole = fit(None, hyper=hyper, patience=2)
    for _ in range(3):
        with pytest.raises(Stopped):
            fit(tmp_path / "run.npz", stop_after=2, hyper=hyper, patience=2)
    found = fit(tmp_path / "run.npz", hyper=hyper, patience=2)
    assert bits(found[:2]) == bits(whole[:2])
    assert len(found[1].loss) < 60, "patience ended the run"


def other_loss(scores, labels):
    return losses.hinge(scores, labels) * 1.0


OTHERS = {
    "X": {"X": X ^ 1}, "y": {"y": (Y + 1) % 3}, "weight": {"weight": np.arange(60.0)},
    "affine": {"affine": None}, "hyper": {"hyper": GRID._replace(reg=2e-3)},
    "recipe": {"recipe": training.Recipe(Objective(other_loss), averaged_sgd, batches.shuffled, 16,
                                         optimizers.averaged)},
    "state": {"key": 9}, "steps": {"num_steps": 61},
    "validation": {"validation": (HELD_OUT[0], HELD_OUT[1][::-1])},
}  # fmt: skip


@pytest.fixture(scope="module")
def file_of_a_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.npz"
    with pytest.raises(Stopped):
        fit(path, stop_after=3)
    return path


@pytest.mark.parametrize("part", OTHERS)
def test_the_file_of_another_run_is_refused_by_what_differs(file_of_a_run, part):
    before = file_of_a_run.read_bytes()
    with pytest.raises(ValueError, match=rf"checkpoint .*run.npz .* differs in: {part}; remove"):
        fit(file_of_a_run, **OTHERS[part])
    assert file_of_a_run.read_bytes() == before


def test_other_versions_are_another_run(file_of_a_run, monkeypatch):
    monkeypatch.setattr(saving, "version", lambda name: "0.0")
    with pytest.raises(ValueError, match="differs in: versions;"):
        fit(file_of_a_run)


def test_damage_and_other_files_are_refused(file_of_a_run, tmp_path):
    content = bytearray(file_of_a_run.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        fit(damaged)
    checkpoint.save(damaged, {"a": X})
    with pytest.raises(ValueError, match="differs in: X, affine"):
        fit(damaged)
    with pytest.raises(ValueError, match=r"is not a file that checkpoint\.save wrote"):
        fit(tmp_path)


def test_saving_takes_a_fiftieth_of_the_time_at_most(tmp_path, monkeypatch):
    now, saved = [0.0], []

    def save(*_, **__):
        saved.append(now[0])
        now[0] += 3.0

    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(saving.checkpoint, "save", save)
    file = saving.File(tmp_path / "run.npz", {})
    for _ in range(1000):
        now[0] += 1.0
        file.save(lambda: None)
    assert saved[0] == 10
    assert np.diff(saved).min() >= 150
    assert len(saved) == 1 + 993 // 150


def run(program, *arguments, **environment):
    """A program of Python that can import this file."""
    path = os.pathsep.join([str(ROOT), str(HERE)])
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], text=True, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip


def test_functions_are_known_by_their_code_and_by_what_they_close_over():
    def scaled(factor):
        return lambda scores, labels: losses.hinge(scores, labels) * factor

    texts = [saving.text(fn) for fn in (scaled(1.0), scaled(2.0), other_loss, losses.hinge)]
    assert len(set(texts)) == 4
    assert saving.text(scaled(np.arange(3))) != saving.text(scaled(np.arange(1, 4)))
    program = "from test_training_checkpoint import *; print(saving.text((RECIPE, GRID, X)))"
    assert run(program, PYTHONHASHSEED="5").communicate()[0].strip() == saving.text(
        (RECIPE, GRID, X)
    )


MANY = 50 if os.environ.get("LINCLS_WHOLE") else 12

# --- kill -9 ---------------------------------------------------------------------------------

KILLED = """
import hashlib, sys
from test_training_checkpoint import *
chunk = lambda state, info: print("chunk", flush=True)
state, history, seen = fit(sys.argv[1], num_steps=int(sys.argv[2]), patience=999, on_chunk=chunk)
print(hashlib.sha256(b"".join(bits((state, history)))).hexdigest())
"""


def killed_until_done(path, num_steps, moments):
    """What a run prints that is killed a moment after some of its chunks, again and again."""
    steps = []
    for chunks, seconds in moments:
        process = run(KILLED, path, num_steps)
        for _ in range(chunks):
            process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        process.communicate()
        steps.append(len(np.load(path)["leaf.info.loss"]) if path.exists() else 0)
    assert steps == sorted(steps), "nothing was lost"
    assert steps[-1] > 0, "it was killed at work"
    return run(KILLED, path, num_steps).communicate()[0].split()[-1]


@pytest.mark.parametrize(
    "kills", [1, further(5), further(MANY)], ids=lambda kills: f"{kills} kills"
)
def test_kill_9_at_any_moment_loses_nothing(tmp_path, kills):
    drawn = random.Random(153 + kills)
    moments = [(drawn.randint(2, 30), drawn.uniform(0, 0.02)) for _ in range(kills)]
    num_steps = 100 + 60 * kills
    state, history, _ = fit(None, num_steps=num_steps, patience=999)
    expected = hashlib.sha256(b"".join(bits((state, history)))).hexdigest()
    assert killed_until_done(tmp_path / "run.npz", num_steps, moments) == expected
