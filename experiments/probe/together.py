"""Several results in one table: other features, or other protocols, of the same task."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.probe import compare, measures, results


def lines(folders: Sequence[Path], found: Sequence[dict[str, Any]]) -> list[str]:
    """One table of all results, what differs for sure, and how far protocols are apart."""
    return [*_table(found), "", *_apart(found), *_compared(folders, found)]


def _table(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each result, probe and shots, with the measures that all of them have."""
    shared = [name for name in found[0]["settings"]["metrics"]
              if all(name in each["settings"]["metrics"] for each in found)]  # fmt: skip
    titles = ["features", "probe", "shots", *map(measures.title, shared), "chosen"]
    yield f"| {' | '.join(titles)} |"
    yield f"| --- | --- | --- |{' ---: |' * len(shared)} --- |"
    for each in found:
        for probe, shots, *numbers, _, chosen in results.cells(each, shared):
            yield f"| {' | '.join([each['name'], probe, shots, *numbers, chosen])} |"


def _apart(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """How far protocols are apart on the same features, beside the widest interval."""
    by_data: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        by_data.setdefault(each["data"]["name"], []).append(each)
    for name, of_data in by_data.items():
        if len(of_data) < 2 or "top1" not in of_data[0]["settings"]["metrics"]:
            continue
        best = [_best(each["spread"]) for each in of_data]
        between = max(row["top1"] for row in best) - min(row["top1"] for row in best)
        width = max(row["top1_high"] - row["top1_low"] for row in best)
        more = "more" if between > width else "no more"
        yield (
            f"{name}: the best probes of the protocols differ by {100 * between:.1f} points in "
            f"top-1, {more} than the length of the widest 95 % CI, {100 * width:.1f} points."
        )
        yield ""


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of the greatest top-1 with the most examples."""
    return max((row for row in rows if row["shots"] == rows[-1]["shots"]), key=_top1)


def _top1(row: dict[str, Any]) -> float:
    return float(row["top1"])


def _compared(folders: Sequence[Path], found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Each other feature file less the first, by protocol."""
    by_protocol: dict[tuple[str, ...], list[tuple[Path, str]]] = {}
    for folder, each in zip(folders, found, strict=True):
        of_protocol = by_protocol.setdefault(tuple(each["settings"]["protocol"]), [])
        of_protocol.append((folder, each["name"]))
    for (folder, name), *others in by_protocol.values():
        yield from _less_the_first(compare.read(folder), name, others)


def _less_the_first(
    first: compare.Result, name: str, others: Sequence[tuple[Path, str]]
) -> Iterator[str]:
    if not others:
        return
    yield f"First: {name}. Differences on the same test examples, first less other:"
    yield ""
    yield from compare.HEAD
    for folder, other in others:
        yield from compare.lines(first, compare.read(folder), other)
    yield ""
