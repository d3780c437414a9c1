"""The figures and the page of a probe: accuracy against examples, reliability, and the tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from experiments.probe import measures, results
from experiments.probe.probing import PROBES
from experiments.report import figures, style, words
from experiments.report.findings import Plot
from lincls import files

HERE = Path(__file__).parent
PAGE = "index.html"
_OF_BINS = ("total", "right", "confidence")
APART = 1.07  # between the error bars of two probes at the same number of examples


def write(folder: Path, found: dict[str, Any], tables: dict[str, dict[str, Any]]) -> Path:
    """Write index.html and its figures; returns the page.

    Args:
        folder: of the result.
        found: what results.json has.
        tables: by the name of the test set, its part of it.
    """
    with mpl.rc_context(style.PARAMETERS):
        shown = figures.publish(draw(found), folder)
    environment = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(HERE))
    text = environment.get_template("probe.html").render(
        found=found, headline=headline(found), figures=shown, tables=_tables(found, tables),
        css=(HERE / "page" / "page.css").read_text(encoding="utf-8"),
    )  # fmt: skip
    files.write(folder / PAGE, lambda file: file.write(text.encode()))
    return folder / PAGE


def stands(folder: Path) -> bool:
    """Whether the page has been written."""
    return (folder / PAGE).is_file()


def headline(found: dict[str, Any]) -> str:
    """The best probe of the most examples on the first measure, in one sentence."""
    name = found["settings"]["metrics"][0]
    told = [row for row in found["spread"] if row[name] is not None]
    if not told:
        return f"{found['name']}: no probe has a {measures.title(name)}"
    least = name in (*measures.MEANS, "ece")
    of_last = [row for row in told if row["shots"] == told[-1]["shots"]]
    best = min(of_last, key=lambda row: row[name] if least else -row[name])
    what, title = PROBES[best["probe"]][0], measures.title(name)
    return f"{found['name']}: {what} has the best {title}, {results.cell(name, best)}"


def _tables(found: dict[str, Any], of_sets: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    metrics = found["settings"]["metrics"]
    return [
        {"name": name, "header": results.header(metrics), "rows": results.cells(each, metrics),
         "caption": results.caption(each) if name == "test" else results.of_further(name, each)}
        for name, each in of_sets.items()
    ]  # fmt: skip


# --- figures -----------------------------------------------------------------------------------


def draw(found: dict[str, Any]) -> Iterator[Plot]:
    """The label-efficiency curve of several shots, and reliability where it was measured."""
    if len({row["shots"] for row in found["spread"]}) > 1:
        yield _label_efficiency(found)
    if found["reliability"]:
        yield _reliability(found)


def _label_efficiency(found: dict[str, Any]) -> Plot:
    name = found["settings"]["metrics"][0]
    title = f"{measures.title(name)} against training examples".capitalize()
    figure, axes = style.canvas(height=4.2, title=title)
    for place, probe in enumerate(dict.fromkeys(row["probe"] for row in found["spread"])):
        rows = [r for r in found["spread"] if r["probe"] == probe and r[name] is not None]
        if rows:
            _curve(axes, [found["examples"][r["shots"]] for r in rows], rows, name, place)
    unit = "nats" if name == "log_loss" else "%"
    axes.set(xscale="log", xlabel="training examples of a class, mean")
    axes.set_ylabel(f"{measures.title(name)} ({unit})")
    ticks = sorted({max(1.0, float(f"{n:.3g}")) for n in found["examples"].values()})
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    style.legend(figure)
    what = "Mean over the seeds. Bars: 95 % confidence interval over test examples and draws."
    return Plot("label_efficiency", figure, what, f"{title}, a line for each probe")


def _curve(
    axes: Axes, counts: Sequence[float], rows: Sequence[dict[str, Any]], name: str, place: int
) -> None:
    unit = 1 if name == "log_loss" else 100
    mean = unit * np.array([row[name] for row in rows])
    ends = [[row[f"{name}{end}"] for row in rows] for end in ("_low", "_high")]
    bars = None
    if all(end is not None for side in ends for end in side):
        bars = np.abs(unit * np.array(ends) - mean)
    drawn = axes.errorbar(np.array(counts) * APART**place, mean, bars, capsize=3, elinewidth=1.2,
                          marker=style.MARKERS[place % len(style.MARKERS)])  # fmt: skip
    drawn.lines[0].set_label(PROBES[rows[0]["probe"]][0])


def _reliability(found: dict[str, Any]) -> Plot:
    last = found["spread"][-1]["shots"]
    rows = [row for row in found["results"]
            if row["shots"] == last and row["name"] in found["reliability"]]  # fmt: skip
    figure, axes = style.canvas(height=4.6, title="Accuracy against confidence")
    axes.plot([0, 100], [0, 100], color=style.FAINT, linestyle="--", linewidth=1)
    for place, row in enumerate(rows):
        of_probe = found["reliability"][row["name"]]
        total, right, confidence = (np.asarray(of_probe[key]) for key in _OF_BINS)
        there = total > 0
        axes.plot(100 * confidence[there], 100 * right[there] / total[there],
                  marker=style.MARKERS[place % len(style.MARKERS)],
                  label=f"{PROBES[row['probe']][0]}: {words.percent(row['ece'])}")  # fmt: skip
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="confidence (%)", ylabel="accuracy (%)")
    style.legend(figure, "calibration error")
    what = (
        f"Seed {found['seed']}: test examples in 15 bins of their greatest probability. Dashed: "
        "calibrated."
    )
    return Plot("reliability", figure, what, "Accuracy against confidence, a line for each probe")
