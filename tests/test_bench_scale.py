"""The benchmark of scaling: a tiny run of it, its bytes, its rows of an accelerator, its words."""

import json

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from experiments import bench_scale
from experiments.bench import scale, scale_telling
from experiments.report import style
from lincls import placement


def row(scaling, devices, step, plain, processes=1):
    part = {"seconds": 0.5, "forecast": 0.4, "sent": 1200, "least": 1000}
    return {
        "scaling": scaling, "processes": processes, "devices": devices, "rows": 640,
        "knn": part, "training": part | {"seconds": step, "plain": plain},
    }  # fmt: skip


@pytest.mark.slow
def test_a_smoke_run_measures_both_scalings_and_writes_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(style.PARAMETERS, "savefig.dpi", 20)
    flags = ["--smoke", "--quick", "--processes", "2", "--devices", "2", "--out", str(tmp_path)]
    assert bench_scale.main(flags) == 0
    folder = tmp_path / "bench_scale-smoke"
    found = json.loads((folder / "results.json").read_text())
    assert [(one["processes"], one["devices"]) for one in found["rows"]] == [(1, 2), (2, 1)]
    for one in found["rows"]:
        for part in (one["knn"], one["training"]):
            assert part["seconds"] > 0
            assert part["forecast"] > 0
            assert part["sent"] >= part["least"] > 0
        assert one["training"]["plain"] > 0
    assert found["accelerator"] == []
    assert (folder / "scaling.png").is_file()
    told = capsys.readouterr().out
    assert (folder / "table.md").read_text() in told
    assert "No accelerator is at hand, so none was measured." in told


def test_weak_scaling_keeps_the_rows_of_a_device():
    settings = bench_scale.Settings(num_rows=100, devices=(1, 4), processes=(2,))
    assert list(bench_scale.cases(settings)) == [
        (("strong", "weak"), 1, 1, 100), (("strong",), 1, 4, 100), (("weak",), 1, 4, 400),
        (("strong",), 2, 1, 100), (("weak",), 2, 1, 200),
    ]  # fmt: skip


def test_rows_do_not_depend_on_who_draws_them():
    X, y = scale.drawn(100, 5, slice(0, 100))
    parts = [scale.drawn(100, 5, slice(*ends)) for ends in ((0, 30), (30, 100))]
    np.testing.assert_array_equal(X, np.concatenate([part for part, _ in parts]))
    np.testing.assert_array_equal(y, np.concatenate([part for _, part in parts]))


def test_bytes_of_an_all_reduce_are_at_least_twice_what_is_elsewhere():
    def total(part):
        return jax.lax.psum(part, placement.ROWS)

    reduced = placement.over_devices(placement.mesh(4), total, PartitionSpec(placement.ROWS))
    text = jax.jit(reduced).lower(np.zeros((4, 100), np.float32)).compile().as_text()
    assert scale.sent(text, 4) == 2 * 400 * 3 // 4


@pytest.mark.slow
def test_the_rows_of_an_accelerator_can_be_measured(monkeypatch):
    """On a CPU and tiny, because no accelerator is at hand."""
    settings = bench_scale.Settings(pixels=256, vectors=256, asked=8, rounds=1, batch_size=64)
    rows = bench_scale.on_accelerator(settings)
    assert [one["task"].split(",")[0] for one in rows] == [
        *(2 * ["l2", "l1", "cosine"]), "an epoch", "an epoch of 64 settings",
    ]  # fmt: skip
    monkeypatch.setattr(bench_scale, "scaled", lambda _: [row(("strong",), 1, 1.0, 1.0)])
    found = bench_scale.measured(settings, "gpu", lambda _: rows)
    text = "\n".join(scale_telling.accelerated(found["accelerator"]))
    assert text.count("queries a second") == 6
    assert "| an epoch of 64 settings | 256 x 3,072 uint8 |" in text


def test_overhead_and_the_goal_are_told_from_the_numbers():
    rows = [row(("strong", "weak"), 1, 1.0, 1.0), row(("strong",), 8, 1.5, 1.0)]
    found = {"rows": rows, "device": {"cores": 2}, "accelerator": []}
    text = "\n".join(scale_telling.lines(found))
    assert "8 simulated devices share 2 cores" in text
    assert "takes 1.50 times as long" in text
    assert "not within the goal of 1.3" in text
    assert "1.2 kB | 1 kB |" in text
    assert "The same rows a device" not in text, "a table of one row shows nothing"
    assert scale_telling.draw(found).caption.startswith("Medians.")
    found["rows"][1]["training"]["seconds"] = 1.2
    assert ", within the goal" in scale_telling.ordered(found["rows"])


def test_a_batch_without_equal_parts_is_refused_in_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        bench_scale.main(["--batch-size", "100"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: --batch-size must be a multiple of 8\n"
