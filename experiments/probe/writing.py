"""The files of a result, and reading them back."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab import record
from experiments.probe import results, sets
from lincls import files

Named = Mapping[str, np.ndarray]


def save(folder: Path, found: dict[str, Any], arrays: Mapping[str, Named]) -> None:
    """All files of a result, and results.json last: where it stands, all stands."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / record.RESULTS).unlink(missing_ok=True)
    for name, named in arrays.items():
        files.write(folder / f"{name}.npz", lambda f, a=named: files.save_npz(f, **a))  # type: ignore[misc]
    body = json.dumps(record.plain(found), indent=2, allow_nan=False) + "\n"
    texts = {
        "results.csv": _csv(found),
        "table.md": "\n".join(tables(found)),
        "table.tex": "\n".join(_latex(found)),
        record.RESULTS: body,
    }
    for name, content in texts.items():
        files.write(folder / name, lambda f, c=content: f.write(c.encode()))  # type: ignore[misc]


def standing(folder: Path, mark: str) -> dict[str, Any] | None:
    """The results in a folder, if they are finished and those of this mark."""
    try:
        found: dict[str, Any] = json.loads((folder / record.RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("fingerprint") == mark else None


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
        {"test": name} | line
        for name, of_one in of_sets(found).items()
        for line in results.tidy(of_one["results"], found["settings"]["metrics"])
    ]
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
