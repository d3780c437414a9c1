"""Whether two folders of results hold the same numbers, times aside.

    python -m experiments.bench.same BEFORE AFTER

Each folder is that of a data set, with a folder for each question.  A line is a question: how
many numbers of results.json and arrays it has in both, and which of them differ.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.lab import options

PARTS = ("numbers", "classifiers")  # of results.json; the others are times and provenance


class Compared(NamedTuple):
    """What two records of one question have in common, by name."""

    same: list[str]
    differ: list[str]
    alone: list[str]  # in one of them only


def numbers_of(folder: Path) -> dict[str, Any]:
    """Every number and array of a record by its name, such as `numbers.choices.0.best.k`."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    named = {name: value for part in PARTS for name, value in _leaves(found.get(part), part)}
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        return named | {f"arrays.{name}": arrays[name] for name in arrays.files}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            yield from _leaves(each, f"{name}.{key}")
    else:
        yield name, value


def compared(before: dict[str, Any], after: dict[str, Any]) -> Compared:
    """Names with equal bits, with others, and of one record alone."""
    both = [name for name in before if name in after]
    same = [name for name in both if _equal(before[name], after[name])]
    differ = [name for name in both if name not in set(same)]
    return Compared(same, differ, sorted(before.keys() ^ after.keys()))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b) or (a != a and b != b)


def line(title: str, found: Compared) -> str:
    """A question in one line."""
    told = f"{title}: {len(found.same)} the same, {len(found.differ)} differ"
    told += f", {len(found.alone)} in one alone" if found.alone else ""
    return told + (f" ({', '.join(found.differ[:6])})" if found.differ else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each question; 1 if a number differs."""
    parser = options.Parser(prog="python -m experiments.bench.same")
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    for name in ("before", "after"):
        parser.add_argument(name, type=Path, metavar=name.upper())
    given = parser.parse_args(argv)
    with parser.refusing():
        titles = [path.parent.name for path in sorted(given.before.glob("*/results.json"))
                  if (given.after / path.parent.name / "results.json").is_file()]  # fmt: skip
        if not titles:
            raise ValueError(f"{given.before} and {given.after} have no question in common")
        found = [compared(numbers_of(given.before / title), numbers_of(given.after / title))
                 for title in titles]  # fmt: skip
    print("\n".join(map(line, titles, found)))
    return int(any(each.differ for each in found))


if __name__ == "__main__":
    sys.exit(main())
