"""What a number of a flag may be."""

from importlib import import_module

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from experiments import ORDER
from experiments.lab import gate, options
from experiments.lab.experiment import Bounds
from experiments.probe import settings as probe
from experiments.probe.multilabel import settings as multilabel
from experiments.report import gradient_descent as gradient_descent_report

SETTINGS = {name: import_module(f"experiments.{name}").Settings for name in ORDER} | {
    "probe": probe.Settings, "multilabel": multilabel.Settings,
}  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "told"),
    [
        (Bounds(low=0, below=1), (0, 0.5), (-0.1, 1), "at least 0 and less than 1"),
        (Bounds(above=0, high=1), (1e-9, 1), (0, 1.1), "greater than 0 and at most 1"),
        (Bounds(), (-1e30, 1e30), (), ""),
    ],
)
def test_bounds_hold_what_they_say(bounds, inside, outside, told):
    assert all(map(bounds.hold, inside))
    assert not any(map(bounds.hold, outside))
    assert bounds.told == told


@pytest.mark.parametrize("name", SETTINGS)
def test_defaults_lie_within_the_bounds_of_their_flags(name):
    for flag, field in options.fields(SETTINGS[name]).items():
        for value in (field.default, field.metadata["smoke"]):
            entries = value if isinstance(value, tuple) else (value,)
            assert all(map(field.metadata["bounds"].hold, entries)), flag


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("regularisation", ["--shares", "0.5", "1"], "at least 0 and less than 1, got '1'"),
        ("regularisation", ["--rate", "0"], "greater than 0, got '0'"),
        ("gradient_check", ["--h", "0"], "greater than 0 and at most 1, got '0'"),
        ("optimum", ["--validation", "1"], "greater than 0 and less than 1, got '1'"),
        ("probe", ["--powers", "0.5", "2"], "at least 0 and at most 1, got '2'"),
    ],
)
def test_a_number_out_of_bounds_is_refused_by_its_flag(name, words, told, capsys):
    parser = options.build(name, "", {name: SETTINGS[name]}, str)
    with pytest.raises(SystemExit, match="2"):
        options.parse(parser, {name: SETTINGS[name]}, words)
    error = capsys.readouterr().err
    assert words[0] in error
    assert told in error


def test_what_reading_a_folder_warns_of_is_a_note_without_code(tmp_path, capsys):
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (4, 4)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    gate.load(str(tmp_path), "")
    told = capsys.readouterr().err
    assert told.startswith("note: 1 file not read, as no image or of no class")
    assert told.count("\n") == 1


@pytest.mark.parametrize("loss", [np.ones((3, 3)), np.full((3, 3), np.inf)])
def test_a_map_without_levels_is_drawn_without_contours(loss):
    figure = Figure()
    arrays = {"plane_x": np.arange(3), "plane_y": np.arange(3), "plane_loss": loss}
    gradient_descent_report._draw_levels(figure.add_subplot(), arrays)
    assert not figure.axes[0].collections
