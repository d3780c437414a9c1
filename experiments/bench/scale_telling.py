"""What `bench_scale` says about its record: the tables in Markdown, and the figure."""

from collections.abc import Sequence
from typing import Any

from experiments.report import style, words
from experiments.report.findings import Plot

Row = dict[str, Any]
HEAD = (
    "| rows | processes x devices | search | forecast | step | forecast | plain all-reduce | "
    "ratio | sent a step | least | sent a block | least |"
)
NAMES = {"strong": "the same rows in all", "weak": "the same rows a device"}
COLORS = {"strong": style.BLUE, "weak": style.RED}


def lines(found: dict[str, Any]) -> list[str]:
    """The sentences and tables, in Markdown."""
    told = [overhead(found), ""]
    for scaling, rows in by_scaling(found["rows"]).items():
        told += [f"{words.capital(NAMES[scaling])}:", "", HEAD, "| --- " * 12 + "|"]
        told += [*map(line, rows), ""]
    told += [ordered(found["rows"]), ""]
    return told + accelerated(found["accelerator"])


def by_scaling(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each scaling, where it has several; one device belongs to both."""
    found = {name: [row for row in rows if name in row["scaling"]] for name in NAMES}
    return {name: rows for name, rows in found.items() if len(rows) > 1}


def line(row: Row) -> str:
    search, step = row["knn"], row["training"]
    cells = [
        f"{row['rows']:,}", f"{row['processes']} x {row['devices']}",
        words.duration(search["seconds"]), words.duration(search["forecast"]),
        words.duration(step["seconds"]), words.duration(step["forecast"]),
        words.duration(step["plain"]), f"{step['seconds'] / step['plain']:.2f}",
        *(words.size(one[name]) for one in (step, search) for name in ("sent", "least")),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def overhead(found: dict[str, Any]) -> str:
    """What simulated devices can show on this machine."""
    most = max(row["processes"] * row["devices"] for row in found["rows"])
    cores = found["device"]["cores"]
    if most <= cores:
        return f"{most} simulated devices on {cores} cores."
    return (
        f"{most} simulated devices share {cores} cores. So the tables show the overhead of many "
        "devices, not a speed-up."
    )


def ordered(rows: Sequence[Row]) -> str:
    """How much longer a step with the ordered sum takes."""
    many = max(rows, key=lambda row: (row["devices"], "strong" in row["scaling"]))
    ratio = many["training"]["seconds"] / many["training"]["plain"]
    verdict = "within" if ratio <= 1.3 else "not within"
    return (
        f"On {many['devices']} devices a step with the ordered sum takes {ratio:.2f} times as long "
        f"as one with a plain all-reduce, {verdict} the goal of 1.3."
    )


def accelerated(rows: Sequence[Row]) -> list[str]:
    """The table of an accelerator, or that there is none."""
    if not rows:
        return ["No accelerator is at hand, so none was measured."]
    told = ["| task | rows | measured | forecast |", "| --- " * 4 + "|"]
    for row in rows:
        pace = row["seconds"]
        measured = words.duration(pace)
        if row["queries"]:
            measured = f"{row['queries'] / pace:,.0f} queries a second"
        told.append(
            f"| {row['task']} | {row['shape']} | {measured} | {words.duration(row['forecast'])} |"
        )
    return told


def draw(found: dict[str, Any]) -> Plot:
    """Seconds of the search and milliseconds of a step against the number of devices."""
    figure, axes = style.canvas(1, 2, height=3.4, title=title(found))
    panels = (("knn", "search (s)", 1), ("training", "step of SGD (ms)", 1000))
    for place, (part, label, unit) in zip(axes, panels, strict=True):
        for scaling, rows in by_scaling(found["rows"]).items():
            alone = [row for row in rows if row["processes"] == 1]
            for name, dashes, marker in (("seconds", "-", "o"), ("forecast", ":", "s")):
                place.plot(
                    [row["devices"] for row in alone], [unit * row[part][name] for row in alone],
                    dashes, marker=marker, color=COLORS[scaling],
                    label=f"{NAMES[scaling]}, {'measured' if name == 'seconds' else name}",
                )  # fmt: skip
        place.set(xlabel="simulated devices", ylabel=label, xscale="log", ylim=(0, None))
        style.ticks(place, sorted({row["devices"] for row in found["rows"]}))
    figure.legend(handles=axes[0].get_lines(), loc="outside lower center", ncols=2, handlelength=3)
    caption = f"Medians. {overhead(found)}"
    return Plot("scaling", figure, caption, f"Two line charts. {ordered(found['rows'])}")


def title(found: dict[str, Any]) -> str:
    """How much longer the same rows take on the most devices than on one."""
    rows = [row for row in by_scaling(found["rows"])["strong"] if row["processes"] == 1]
    first, last = (pick(rows, key=lambda row: row["devices"]) for pick in (min, max))
    search, step = (last[part]["seconds"] / first[part]["seconds"] for part in ("knn", "training"))
    return (
        f"The same rows on {last['devices']} simulated devices: {search:.1f} times the seconds of "
        f"one for a search, {step:.1f} times for a step"
    )
