"""What a run prints at its end: one line a question, the classifiers, where the page is."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.report import words
from experiments.report.page import Section, closing

LETTERS = 100  # of a finding, at most


def short(sections: Iterable[Section]) -> list[str]:
    """A line for each question, and the table of the classifiers."""
    told = list(sections)
    names = max(len(section.title) for section in told)
    verdicts = max(len(_verdict(section)) for section in told)
    lines = []
    for section in told:
        start = f"{section.title:<{names}}  {_verdict(section):<{verdicts}}  "
        lines.append(start + words.shortened(_finding(section), _room(len(start))))
    return [*lines, *_classifiers(told, closing.PRINTED)]


def in_full(sections: Iterable[Section]) -> list[str]:
    """Every sentence, table and verdict of each question, and the table of the classifiers."""
    told, lines = list(sections), list[str]()
    for section in told:
        lines += ["", f"{section.title} (slides {section.report.SLIDES}): {_verdict(section)}"]
        if section.findings is None:
            lines.append(f"  {section.error}")
            continue
        lines += [f"  {sentence}" for sentence in section.findings.sentences]
        for table in section.tables:
            lines += ["", f"  {table.caption}"]
            lines += [f"    {line}" for line in words.aligned([table.header, *table.rows])]
        answers = [(slides, *answer) for slides, answer in section.findings.answers.items()]
        lines += [
            "",
            *(f"  {line}" for line in words.aligned([("slides", "verdict", ""), *answers])),
        ]
    return [*lines, *_classifiers(told, len(closing.HEADER))]


def end(folder: Path, left_out: Sequence[str], everything: Sequence[str]) -> list[str]:
    """Where the page is, and what adds the questions that are not on it."""
    lines = ["", opened(folder)]
    if left_out:
        command = [_python() if word == "python" else word for word in everything]
        join = subprocess.list2cmdline if os.name == "nt" else shlex.join
        more = "question" if len(left_out) == 1 else "questions"
        lines.append(f"{len(left_out)} more {more}: {join(command)}")
    return lines


def opened(folder: Path) -> str:
    """What to do with the page, as terminals make it a link."""
    return f"Open {(folder / 'index.html').resolve().as_uri()}"


def _classifiers(sections: Sequence[Section], columns: int) -> list[str]:
    table = closing.texts([section.record for section in sections if section.record], columns)
    return ["", *table] if table else []


def _verdict(section: Section) -> str:
    return "failed" if section.findings is None else section.findings.summary


def _finding(section: Section) -> str:
    return next(iter(section.findings.sentences), "") if section.findings else section.error


def _room(used: int) -> int:
    """Letters that a line has left: to the edge of a terminal, but some of them in any case."""
    if not sys.stdout.isatty():
        return LETTERS
    return min(LETTERS, max(40, shutil.get_terminal_size().columns - used))


def _python() -> str:
    """How this Python is called from the current folder, with or without its environment."""
    here = Path(sys.executable)
    if here.is_relative_to(Path.cwd()):
        return str(here.relative_to(Path.cwd()))
    found = shutil.which("python")
    return "python" if found and Path(found) == here else str(here)
