"""The table of a probe of several labels a row."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from experiments.probe import results
from experiments.probe.multilabel.computing import METRICS
from experiments.probe.multilabel.settings import PROBES

_ABOUT = ("name", "probe", "seed", "strength", "k", "selection", "gap", "at_edge")


def texts(found: dict[str, Any]) -> dict[str, str]:
    """The tables of a result by the name of their file."""
    return {"results.csv": _csv(found["results"]), "table.md": "\n".join([*table(found), ""])}


def _csv(rows: list[dict[str, Any]]) -> str:
    """A line for each result and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_ABOUT, "metric", "value", "low", "high"])
    for row in rows:
        for name in METRICS:
            numbers = (row[name + end] for end in ("", "_low", "_high"))
            writer.writerow([*(row[key] for key in _ABOUT), name, *numbers])
    return text.getvalue()


def table(found: dict[str, Any]) -> list[str]:
    """Caption and table in Markdown."""
    titles = ["probe", *METRICS.values(), "mAP over seeds", "chosen"]
    lines = [titles, ["---", *["---:"] * (len(titles) - 2), "---"], *_cells(found)]
    return [caption(found), "", *(f"| {' | '.join(line)} |" for line in lines)]


def _cells(found: dict[str, Any]) -> Iterator[list[str]]:
    for mean in found["spread"]:
        rows = [row for row in found["results"] if row["probe"] == mean["probe"]]
        numbers = [results.cell(name, mean) for name in METRICS]
        spread = results.over_seeds(mean, "ap")
        yield [PROBES[mean["probe"]][0], *numbers, spread, results.chosen(rows)]


def caption(found: dict[str, Any]) -> str:
    """What the table is about, in a paragraph."""
    data, settings = found["data"], found["settings"]
    on = f"a validation part of {100 * settings['validation']:.4g}%"
    if settings["folds"]:
        on = f"{settings['folds']} folds, stratified by the rarest label"
    units = "groups of test examples" if found["test_groups"] else "test examples"
    times = found["test_set"]["times_used"]
    return (
        f"{data['source']}: {data['num_train']:,} training and {data['num_test']:,} test examples, "
        f"{len(data['class_names'])} classes, {found['labels_a_row']:.1f} labels a training row, "
        f"normalise {settings['normalise']}. Percent with 95 % CI over the {units}; "
        f"{results.of_seeds(found, METRICS['ap'])}F1 at probability or share 0.5. Strength and k "
        f"chosen by mAP on {on}; "
        f"the test set was opened {'once' if times == 1 else f'{times} times'}."
        f"{_left_out(found)}"
    )


def _left_out(found: dict[str, Any]) -> str:
    """Which classes a mean does not contain; empty for none."""
    told = ""
    if names := found["untested"]:
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        told += f" mAP leaves out classes that all test rows have, or none: {shown}."
    if found["not_judged"]:
        told += (
            f" In choosing, {found['not_judged']} of {found['pairs']} pairs of a fold and a class "
            "had one answer only and were left out."
        )
    return told
