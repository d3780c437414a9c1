"""The training benchmark: everyone who claims the same loss ends with it, and parts are chosen."""

import json

import numpy as np
import pytest

from experiments import bench_train
from experiments.bench import trainers

pytestmark = pytest.mark.usefixtures("optax_promotes")


def test_parts_of_the_benchmark(tmp_path, capsys):
    words = ["--smoke", "--out", str(tmp_path), "--minutes", "0.1"]
    assert bench_train.main([*words, "--parts", "one_epoch", "probe"]) == 0
    found = json.loads((tmp_path / "bench_train-smoke" / "results.json").read_text())
    assert "grids" not in found
    for loss in trainers.LOSSES:
        rows = [row for row in found["one_epoch"] if row["loss"] == loss]
        ends = [row["final_loss"] for row in rows if row["engine"] in trainers.SAME_LOSS]
        assert len(ends) == 4 - ("torch" in found["missing"])
        assert max(ends) - min(ends) < 1e-3 * max(ends)
        assert all(row["seconds"] > 0 for row in rows)
    probe = found["probe"]
    assert probe["trainings"] == 5 * 3 + 1
    assert abs(probe["accuracy"] - probe["peer_accuracy"]) <= 0.05  # of 40 test examples
    assert probe["peer_accuracy"] > 0.4
    told = capsys.readouterr().out
    assert f"{100 * probe['accuracy']:.2f} %" in told
    assert "settings" not in told


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench_train.main(["--parts", "two_epochs"])
    assert "one_epoch" in capsys.readouterr().err


def test_the_strengths_of_every_grid_are_numbers_that_float32_holds():
    for number in bench_train.GRIDS:
        regs = trainers.strengths(number)
        assert regs[0] == trainers.REG
        assert np.float32(regs[-1]) > 1e-12
