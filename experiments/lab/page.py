"""The page: every experiment's claim, findings, verdict and figures, and the closing table.

It is plain HTML and CSS from page.html, made of records and figures alone, and stands in
the folder of the results: it opens from a file, without network and without scripts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from experiments.lab import experiment as kinds
from experiments.lab import style, words
from experiments.lab.experiment import Experiment, Findings, Plot
from experiments.lab.record import Record, write_file
from lincls import evaluation

HEADER = ("classifier", "chosen on the training set", "test accuracy", "95% interval", "stored")


class Section(NamedTuple):
    """What the page knows of one experiment: a finished record, or an error."""

    title: str
    module: Experiment
    command: str
    record: Record | None = None
    findings: Findings | None = None
    plots: Sequence[Plot] = ()
    error: str = ""


class Row(NamedTuple):
    """A row of the closing table, with its numbers as shares 0..1 for the drawn interval."""

    cells: tuple[str, ...]
    accuracy: float
    interval: evaluation.Interval


def write(folder: Path, sections: Sequence[Section], pending: Sequence[str] = ()) -> Path:
    """Write index.html for the sections; `pending` names the experiments yet to run."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(duration=words.duration, size=size)
    text = environment.get_template("page.html").render(
        sections=sections,
        pending=pending,
        first=next((section.record for section in sections if section.record), None),
        closing=closing(sections),
        header=HEADER,
        verdict_class={kinds.AGREES: "agrees", kinds.DIFFERS: "differs", kinds.OPEN: "open"},
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "index.html", lambda file: file.write(text.encode()))
    return folder / "index.html"


def size(plot: Plot) -> tuple[int, int]:
    """Width and height of a figure's PNG, in pixels."""
    width, height = plot.figure.get_size_inches() * style.DPI
    return round(width), round(height)


def closing(sections: Sequence[Section]) -> list[Row]:
    """The closing table: every classifier that was tested, the best first."""
    rows = []
    for section in sections:
        for row in section.record.classifiers if section.record else []:
            interval = evaluation.wilson_interval(row.correct, row.total)
            share = row.correct / row.total
            cells = (
                row.name,
                row.chosen,
                f"{share:.2%}",
                words.between(interval),
                f"{row.stored:,}",
            )
            rows.append(Row(cells, share, interval))
    return sorted(rows, key=lambda row: -row.accuracy)


def closing_rows(sections: Sequence[Section]) -> list[tuple[str, ...]]:
    """The closing table as texts, its header first; empty without any classifier."""
    rows = [row.cells for row in closing(sections)]
    return [HEADER, *rows] if rows else []


def aligned(rows: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """The same texts, padded to columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
