"""Two or more embeddings on the same test examples, compared in pairs.

    python -m experiments.probe.compare FOLDER FOLDER ..

Each FOLDER is what `python -m experiments.probe` wrote: it has results.json.  A line is a probe
and shots that both have.  The difference is that of the first folder less the other in top-1, in
points: the mean over the seeds that both have, with a 95 % CI.  Groups of test examples count as
units, and the spread over seeds is included.  The p-value is that of McNemar's exact test on the
first of these seeds; it takes the examples to be independent, so with groups there is none.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.lab import options
from experiments.probe import results, sets
from experiments.report import words
from lincls import evaluation, files
from lincls.evaluation import Difference, Interval

HEAD = (
    "| other | test set | probe, shots | first | other | difference, points | McNemar's p |",
    "| --- | --- | --- | ---: | ---: | --- | ---: |",
)
_COLUMNS = ("probe", "shots", "seed", "predictions")  # arrays of predictions.npz with a row each


class Said(NamedTuple):
    """The predictions on one test set."""

    rows: dict[str, dict[int, np.ndarray]]  # (M,) by probe and shots, then by seed
    labels: np.ndarray  # (M,)
    groups: np.ndarray | None  # (M,)


class Result(NamedTuple):
    """What a probe wrote."""

    folder: Path
    about: dict[str, Any]
    said: dict[str, Said]  # by the name of the test set, the data's own first


class Compared(NamedTuple):
    """A row of two embeddings on a test set."""

    shares: tuple[float, float]  # top-1 of the first and of the other
    difference: Difference  # of the first less the other
    p: float | None


# --- what probes wrote -------------------------------------------------------------------------


def read(folder: Path) -> Result:
    """Read the predictions on every test set.

    Raises:
        ValueError, OSError: a folder without results.
    """
    try:
        about = files.read_json(folder / "results.json")
    except FileNotFoundError as error:
        raise ValueError(f"{folder} has no results.json; give a folder of the probe") from error
    try:
        names = {sets.MAIN: "predictions"} | {
            name: f"predictions-{name}" for name in about.get("further", {})
        }
        said = {name: _said(folder / f"{file}.npz") for name, file in names.items()}
        return Result(folder, about, said)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder} holds no predictions of a probe: {error}") from error


def _said(path: Path) -> Said:
    arrays, rows = files.read_npz(path), dict[str, dict[int, np.ndarray]]()
    labels = arrays["labels"]
    for probe, shots, seed, predictions in zip(*(arrays[key] for key in _COLUMNS), strict=True):
        if predictions.shape == labels.shape:
            rows.setdefault(f"{probe}, {shots}", {})[int(seed)] = predictions
    return Said(rows, labels, arrays.get("groups"))


# --- differences -------------------------------------------------------------------------------


def compared(a: Sequence[np.ndarray], b: Sequence[np.ndarray], test: Said) -> Compared:
    """Predictions (M,) of two embeddings, seed by seed."""
    hits_a, hits_b = (np.stack(list(each)) == test.labels for each in (a, b))
    value, ends = evaluation.paired_difference(
        hits_a.mean(axis=0), hits_b.mean(axis=0), test.groups
    )
    by_seed = hits_a.mean(axis=1) - hits_b.mean(axis=1)
    low, high = results.widened(by_seed.tolist(), *ends)
    p = None if test.groups is not None else evaluation.mcnemar(a[0], b[0], test.labels)
    shares = (float(hits_a.mean()), float(hits_b.mean()))
    return Compared(shares, Difference(value, Interval(max(-1.0, low), min(1.0, high))), p)


def lines(first: Result, other: Result, name: str) -> Iterator[str]:
    """A line of the table for each row and test set that both have; `name` is the other's.

    Raises:
        ValueError: other test labels, or no row in common.
    """
    found = list(_lines(first, other, name))
    if not found:
        raise ValueError(
            f"{first.folder} and {other.folder} have no probe, shots and seed in common"
        )
    yield from found


def _lines(first: Result, other: Result, name: str) -> Iterator[str]:
    for test, said in first.said.items():
        if test not in other.said:
            continue
        theirs = other.said[test]
        if not np.array_equal(said.labels, theirs.labels):
            raise ValueError(
                f"{other.folder} has other labels of the test set {test} than {first.folder}; "
                "compare the same test set"
            )
        for row in (each for each in said.rows if each in theirs.rows):
            seeds = [seed for seed in said.rows[row] if seed in theirs.rows[row]]
            if seeds:
                a, b = ([each.rows[row][seed] for seed in seeds] for each in (said, theirs))
                grouped = said if said.groups is not None else theirs
                cells = " | ".join(_cells(compared(a, b, grouped)))
                yield f"| {name} | {test} | {row} | {cells} |"


def _cells(found: Compared) -> Iterable[str]:
    value, interval = found.difference
    yield from map(words.percent, found.shares)
    yield f"{100 * value:+.1f} (95 % CI {words.signed(interval)})"
    yield "none: groups" if found.p is None else f"{found.p:.2g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; the exit status."""
    parser = options.Parser(prog="python -m experiments.probe.compare")
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    folders = parser.parse_args(argv).folders
    with parser.refusing():
        if len(folders) < 2:
            raise ValueError("give at least two folders to compare")
        first, *others = map(read, folders)
        table = [line for other in others for line in lines(first, other, other.folder.name)]
    print(f"first: {first.folder}\n")
    print("\n".join([*HEAD, *table]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
