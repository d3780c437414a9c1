"""The page: its result, every question's claim, findings, verdict and figures, every slide.

It is HTML and CSS from page.html, made of records and lists of figures alone, and stands in the
folder of the results: it opens from a file, without network.  Its scripts, of the figures that
can be touched (`nearest`, `interactive`), stand in it; without scripts all is there to read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from experiments.lab.record import Record
from experiments.report import words
from experiments.report.figures import Shown
from experiments.report.findings import LEGEND, Findings, Report, Table
from experiments.report.page import closing, interactive, lecture, nearest
from lincls import files


class Section(NamedTuple):
    """What the page knows of one question: a finished record, an error, or neither yet."""

    title: str
    report: Report
    command: str
    record: Record | None = None
    findings: Findings | None = None
    figures: Sequence[Shown] = ()
    error: str = ""

    @property
    def tables(self) -> list[Table]:
        """The tables of the findings, the last one that of the numbers printed on the slides."""
        if self.findings is None:
            return []
        printed = self.findings.printed
        return [*self.findings.tables, *([words.prints(printed)] if printed else [])]


class LeftOut(NamedTuple):
    """Questions that are not on a page, and the command that adds them."""

    sections: Sequence[Section]
    command: str


def write(
    folder: Path,
    sections: Sequence[Section],
    comparison: Sequence[Shown] = (),
    pending: Sequence[str] = (),
    left_out: LeftOut | None = None,
) -> Path:
    """Write index.html for the sections.

    Args:
        comparison: the figure of all classifiers, and the same for a phone.
        pending: names of the questions yet to run.
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
            names=records[0].class_names if records else (),
            result=closing.finding(records),
            closing=closing.rows(records),
            shown={section.title for section in sections},
            answers=lecture.answers({**found, **failed}),
            errata=lecture.errata(one for each in found.values() for one in each.printed),
            comparison=[figure._replace(title="") for figure in comparison],
            near=nearest.picture(),
            play=interactive.picture(),
            header=closing.HEADER,
            legend=LEGEND,
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "index.html", lambda file: file.write(text.encode()))
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
    found.globals["duration"] = words.duration
    found.filters["typeset"] = words.typeset
    return found
