"""The questions with their reports; one that cannot be imported fails alone, at its turn."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from experiments.lab.experiment import Outcome, Question
from experiments.lab.gate import Data
from experiments.report.findings import Findings, Plot, Report
from experiments.report.page import lecture


class Entry(NamedTuple):
    """A question, and the report that tells what it found."""

    question: Question
    report: Report


@dataclass(frozen=True)
class NoSettings:
    """The flags of a question that cannot say which it has."""


class Broken:
    """Stands for a question or a report that cannot be imported, and fails with its error.

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


def entries(titles: Sequence[str]) -> dict[str, Entry]:
    """The questions and their reports by name, in the order given."""
    return {title: _entry(title) for title in titles}


def _entry(title: str) -> Entry:
    try:
        question = importlib.import_module(f"experiments.{title}")
        return Entry(question, importlib.import_module(f"experiments.report.{title}"))
    except Exception as error:  # whatever is wrong in one must not end the others
        broken = Broken(title, error)
        return Entry(broken, broken)


def fitted(entry: Entry, settings: Any, num_examples: int) -> Any:
    """The settings of a question, its defaults made to fit few examples where it knows how."""
    fit = getattr(entry.question, "fitted", None)
    return settings if fit is None else fit(settings, num_examples)


def without_flags(argv: Sequence[str], found: Mapping[str, Entry]) -> list[str]:
    """The command line less the flags, with their values, of questions that are broken."""
    lost = tuple(
        f"--{title.replace('_', '-')}."
        for title, entry in found.items()
        if isinstance(entry.question, Broken)
    )
    kept, drop = list[str](), False
    for word in argv:
        drop = word.startswith(lost) if word.startswith("--") else drop
        kept += [] if drop else [word]
    return kept
