"""A probe of features that are larger than memory: what it makes of a file lies in a file."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.probe import __main__ as program
from experiments.probe import features, plan, probing
from lincls import certificate, placement
from lincls.structs import LinearParams

pytestmark = pytest.mark.usefixtures("optax_promotes")
ROOT = Path(__file__).parent.parent
FLAGS = ["--smoke", "--strengths", "2", "--num-neighbors", "5", "--seeds", "1", "--metrics", "top1",
         "--fit", "early", "--steps", "60", "--examples", "2000"]  # fmt: skip


def drawn(rng, counts, num_features, num_classes, noise):
    """Training and test part of normal clusters."""
    means = rng.normal(size=(num_classes, num_features)).astype(np.float32)
    for count in counts:
        y = rng.integers(0, num_classes, count)
        yield means[y] + noise * rng.normal(size=(count, num_features)).astype(np.float32), y


def saved(path, *sizes, seed=3):
    (X, y), (T, t) = drawn(np.random.default_rng(seed), *sizes)
    np.savez(path, X_train=X, y_train=y, X_test=T, y_test=t)
    return path


@pytest.mark.parametrize("normalise", ["scale", "unit", "standard"])
def test_features_in_a_file_give_what_they_give_in_memory(normalise, tmp_path):
    file, found = saved(tmp_path / "a.npz", (400, 100), 9, 4, 1.5), []
    for name, most in (("memory", 2**30), ("file", 2000)):
        out = tmp_path / name
        words = ["--dataset", str(file), "--out", str(out), "--normalise", normalise, *FLAGS]
        with placement.limited(device_bytes=most, piece_bytes=4000):
            assert program.main(words) == 0
        (path,) = out.glob("**/results.json")
        rows = json.loads(path.read_text())["results"]
        found.append({row["name"]: row["top1"] for row in rows})
        assert not [each for each in out.glob("**/*") if each.suffix not in KINDS]
    memory, in_file = found
    linear = memory.pop("linear-all-seed0"), in_file.pop("linear-all-seed0")
    assert abs(linear[0] - linear[1]) <= 0.03  # batches of a file are drawn otherwise
    assert memory == in_file


KINDS = ("", ".npz", ".json", ".csv", ".md", ".tex", ".html")  # folders and locks have none


def test_rotated_rows_of_a_file_are_those_of_memory(tmp_path):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(9000, 5)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    with placement.limited(device_bytes=1000):
        found = probing.rotate(mapped, tmp_path / "room")
        unit = features.prepared(mapped, 0, True, tmp_path / "room")
        assert placement.is_large(found.Z)
        assert placement.is_large(unit)
    np.testing.assert_array_equal(found.Z, probing.rotate(X).Z)
    np.testing.assert_array_equal(unit, features.unit_rows(X))
    assert not list((tmp_path / "room").iterdir())


def test_a_certificate_in_parts_and_files_is_that_of_memory(monkeypatch):
    ((X, y),) = drawn(np.random.default_rng(5), (3000,), 8, 5, 2.0)
    params = LinearParams(np.random.default_rng(6).normal(size=(5, 8)).astype("f"), np.zeros(5))
    whole = certificate.duality_gap(params, X, y, reg=0.01)
    monkeypatch.setattr(certificate.examples, "_PART_BYTES", 1000)
    with placement.limited(device_bytes=1000):
        parts = certificate.duality_gap(params, X, y, reg=0.01)
    assert parts.primal == pytest.approx(whole.primal, rel=1e-12)
    assert parts.dual == pytest.approx(whole.dual, rel=1e-9)


LIMITED = """
import resource, sys
from experiments.probe import __main__ as program
from lincls import placement
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
with placement.limited(device_bytes=2**26, piece_bytes=2**25):
    sys.exit(program.main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("LINCLS_WHOLE"), reason="a minute: in the whole suite")
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_DATA"), reason="no limit of memory here")
def test_two_hundred_thousand_rows_of_200_classes_in_1_2_gb(tmp_path):
    file = saved(tmp_path / "big.npz", (200_000, 20_000), 256, 200, 8.0)
    words = ["--dataset", str(file), "--out", str(tmp_path), "--probes", "linear", "--metrics",
             "top1", "--strengths", "3", "--seeds", "1", "--steps", "200",
             "--epochs", "1"]  # fmt: skip
    command = [sys.executable, "-c", LIMITED, str(1200 * 2**20), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("**/results.json")
    assert json.loads(path.read_text())["results"][0]["top1"] > 0.15


def test_a_plan_says_bytes_operations_and_times_before_there_are_data(capsys):
    flags = ["--rows", "9000", "--features", "32", "--classes", "7", "--test-rows", "100",
             "--strengths", "4", "--seeds", "1"]  # fmt: skip
    assert plan.main([*flags, "--probes", "linear", "l2", "--folds", "3"]) == 0
    told = capsys.readouterr().out
    assert "float32 features take 0.00115 GB." in told
    assert "Linear, search, once: Training of 12 settings and " in told
    assert "kNN, 3 times: Search for 100 neighbours of 3,000 queries among 6,000 x 32" in told
    assert "kNN, once: Search for 100 neighbours of 100 queries among 9,000 x 32" in told
