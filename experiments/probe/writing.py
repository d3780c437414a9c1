"""The tables of a result as texts."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from experiments.probe import results, sets
from experiments.report import words


def texts(found: dict[str, Any]) -> dict[str, str]:
    """The tables of a result by the name of their file."""
    return {
        "results.csv": _csv(found),
        "table.md": "\n".join(tables(found)),
        "table.tex": "\n".join(_latex(found)),
    }


def of_sets(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The results by test set, the data's own first; each with what they have in common."""
    return {sets.MAIN: found} | {name: found | of_one for name, of_one in found["further"].items()}


def tables(found: dict[str, Any]) -> list[str]:
    """Caption and table of each test set, in Markdown."""
    metrics, lines = found["settings"]["metrics"], list[str]()
    for name, of_one in of_sets(found).items():
        about = results.caption(of_one) if name == sets.MAIN else results.of_further(name, of_one)
        lines += [about, "", *results.markdown(of_one, metrics), ""]
    return lines


def _latex(found: dict[str, Any]) -> Iterator[str]:
    for name, of_one in of_sets(found).items():
        if name != sets.MAIN:
            yield f"% test set {name}"
        yield from results.latex(of_one, found["settings"]["metrics"])
    yield ""


def _csv(found: dict[str, Any]) -> str:
    text = io.StringIO()
    lines = [
        {"test": words.csv_cell(name)} | line
        for name, of_one in of_sets(found).items()
        for line in results.tidy(of_one["results"], found["settings"]["metrics"])
    ]
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
