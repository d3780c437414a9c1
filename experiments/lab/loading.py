"""The experiments' modules; one that cannot be imported fails alone, when its turn comes."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from experiments.lab.experiment import Experiment, Findings, Outcome, Plot
from experiments.lab.gate import Data
from experiments.lab.page import lecture


@dataclass(frozen=True)
class NoSettings:
    """The flags of a module that cannot say which it has."""


class Broken:
    """Stands for an experiment whose module cannot be imported, and fails with its error.

    Its slides are those of its rows in `lecture.ROWS`.
    """

    def __init__(self, title: str, error: Exception) -> None:
        self.error = error
        self.SLIDES = ", ".join(row.slides for row in lecture.ROWS if row.title == title)
        self.QUESTION = f"{title.replace('_', ' ')}: cannot be imported"
        self.CLAIM = ""
        self.SECONDS = 0.0
        self.Settings: type = NoSettings

    def compute(self, data: Data, key: jax.Array, settings: Any) -> Outcome:
        raise self.error

    def findings(self, record: Any) -> Findings:
        raise self.error

    def draw(self, record: Any) -> Iterator[Plot]:
        raise self.error


def modules(titles: Sequence[str]) -> dict[str, Experiment]:
    """The experiments' modules by name, in the order given."""
    return {title: _module(title) for title in titles}


def _module(title: str) -> Experiment:
    try:
        return importlib.import_module(f"experiments.{title}")
    except Exception as error:  # whatever is wrong in one must not end the others
        return Broken(title, error)


def without_flags(argv: Sequence[str], found: Mapping[str, Experiment]) -> list[str]:
    """The command line less the flags, with their values, of modules that are broken."""
    lost = tuple(
        f"--{title.replace('_', '-')}."
        for title, module in found.items()
        if isinstance(module, Broken)
    )
    kept, drop = list[str](), False
    for word in argv:
        drop = word.startswith(lost) if word.startswith("--") else drop
        kept += [] if drop else [word]
    return kept
