"""The page: every experiment's claim, findings, verdict and figures, and the closing table.

It is HTML and CSS from page.html, made of records and figures alone, and stands in the folder
of the results: it opens from a file, without network.  Its one script, of the figure that can
be touched (`interactive`), stands in it; without scripts all is there to read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from experiments.lab.record import Record, write_file
from experiments.report import findings as kinds
from experiments.report import style, words
from experiments.report.findings import Findings, Plot, Report
from experiments.report.page import closing, interactive, lecture


class Section(NamedTuple):
    """What the page knows of one experiment: a finished record, an error, or neither yet."""

    title: str
    report: Report
    command: str
    record: Record | None = None
    findings: Findings | None = None
    plots: Sequence[Plot] = ()
    error: str = ""


class LeftOut(NamedTuple):
    """Experiments that a page was not asked for, and the command that adds them."""

    sections: Sequence[Section]
    command: str


def write(
    folder: Path,
    sections: Sequence[Section],
    comparison: Plot | None = None,
    pending: Sequence[str] = (),
    left_out: LeftOut | None = None,
) -> Path:
    """Write index.html for the sections.

    Args:
        comparison: the figure of all classifiers, saved in the folder already.
        pending: names of the experiments yet to run.
        left_out: what the page names at its end.
    """
    records = [section.record for section in sections if section.record]
    found = {section.title: section.findings for section in sections if section.findings}
    failed = {section.title: "failed" for section in sections if section.error}
    text = (
        environment()
        .get_template("page.html")
        .render(
            sections=sections,
            pending=pending,
            left_out=left_out,
            first=records[0] if records else None,
            closing=closing.rows(records),
            shown={section.title for section in sections},
            answers=lecture.answers({**found, **failed}),
            errata=lecture.errata(one for each in found.values() for one in each.printed),
            comparison=comparison,
            play=interactive.picture(),
            header=closing.HEADER,
            legend=kinds.LEGEND,
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "index.html", lambda file: file.write(text.encode()))
    return folder / "index.html"


def environment() -> jinja2.Environment:
    """What renders the templates beside this file."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.globals.update(duration=words.duration, size=size, prints=words.prints)
    found.filters["typeset"] = words.typeset
    return found


def size(plot: Plot) -> tuple[int, int]:
    """Width and height of a figure's PNG, in pixels."""
    width, height = plot.figure.get_size_inches() * style.DPI
    return round(width), round(height)
