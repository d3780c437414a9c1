"""What a number of a flag may be."""

from importlib import import_module

import pytest

from experiments import ORDER
from experiments.lab import options
from experiments.lab.experiment import Bounds
from experiments.probe import settings as probe
from experiments.probe.multilabel import settings as multilabel

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
