"""What `bench_knn` says about its record: tables, the sentence on growth, and the figure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from experiments.bench import knn_oracles, knn_sizes
from experiments.lab import choices
from experiments.report import style, words
from experiments.report.findings import Plot

LINEAR, SURE = 0.1, 0.25  # how far from 1 a linear exponent may be; its interval's half width
Row = dict[str, Any]
HEAD = (
    f"{'metric':6} {'k':>4} {'engine':29} {'build':>8} {'first':>8} {'first':>8} "
    f"{'queries/s':>9} {'search':>8} {'with':>8}  timed\n"
    f"{'':6} {'':4} {'':29} {'':8} {'build':>8} {'search':>8} {'':9} {'ratio':>8} {'build':>8}  on"
)


def lines(found: dict[str, Any]) -> list[str]:
    """All tables, for reading."""
    told = []
    if "engines" in found:
        told += ["uint8 images, " + about(found["engines"][0]), HEAD]
        told += [*map(engine_line, found["engines"]), *fastest(found["engines"]), ""]
    for kind in ("clustered", "isotropic"):
        rows = [row for row in found.get("float", []) if row["data"] == kind]
        if rows:
            told += [f"float32, {kind} unit vectors, {about(rows[0])}; {tolerance()}", HEAD]
            told += [*map(engine_line, rows), *fastest(rows), ""]
    told += [sentence for row in found.get("cv", []) for sentence in [*cv_sentences(row), ""]]
    if found.get("sizes"):
        told += [*knn_sizes.lines(found["sizes"]), ""]
    if "growth" in found:
        told += [growth_sentence(found["growth"], of) for of in ("N", "D")]
    return told + [memory_line(row) for row in found.get("memory", [])]


def about(row: Row) -> str:
    """What the columns of a table are."""
    return (
        f"{row['N']:,} x {row['D']:,}: a ratio is the peer's time over ours, the median of rounds "
        f"that alternate; with build: building the model and {row['all_queries']:,} queries, at "
        f"the pace of those timed"
    )


def fastest(rows: Sequence[Row]) -> list[str]:
    """A sentence for each metric: the fastest peer, and how much faster lincls is."""
    told = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        peers = [r for r in rows if r["metric"] == metric and not r["engine"].startswith("lincls")]
        if peers:
            best, whole = (
                min(peers, key=lambda row: row[f"{which}_ratio"]) for which in ("search", "whole")
            )
            told.append(
                f"{choices.NAMES[metric]}: {best['search_ratio']:.3g} times as fast as the fastest "
                f"peer, {best['engine']} ({right(best)}); with building, "
                f"{whole['whole_ratio']:.3g} times as fast as {whole['engine']}."
            )
    return told


def tolerance() -> str:
    return (
        f"exact means distances within {knn_oracles.RTOL:g} of float64's, relatively, and its "
        "indices but for ties within that"
    )


def engine_line(row: Row) -> str:
    return (
        f"{row['metric']:6} {row['k']:4} {row['engine']:29} {row['build']:6.2f} s "
        f"{row['first_build']:6.2f} s {row['first_call']:6.2f} s {row['per_second']:9.1f} "
        f"{row['search_ratio']:7.3g}x {row['whole_ratio']:7.3g}x  {row['queries']:,}, {right(row)}"
    )


def right(row: Row) -> str:
    """Whether an engine's answers were exact, and what was not."""
    wrong = [
        f"{name} {row[f'right_{name}']} of {row['checked']}"
        for name in ("indices", "distances")
        if row[f"right_{name}"] < row["checked"]
    ]
    return f"not exact (right: {', '.join(wrong)})" if wrong else "exact"


def cv_sentences(row: Row) -> list[str]:
    """What a cross-validation took, and what of the peer's time was measured."""
    ks = len(row["ks"])
    return [
        f"{row['folds']}-fold cross-validation of {ks} values of k, "
        f"{choices.NAMES[row['metric']]}, {row['N']:,} x {row['D']:,}: lincls "
        f"{words.duration(row['ours'])}, fit included ({words.duration(row['first_call'])} the "
        f"first time); GridSearchCV(KNeighborsClassifier) {words.duration(row['peer_all'])}, "
        f"{row['ratio']:.0f} times as long.",
        f"The grid search was timed at k = {row['peer_k']} alone, on {row['peer_folds']} of "
        f"{row['folds']} folds ({words.duration(row['peer_timed'])}, rounds: {row['rounds']}), and "
        f"scaled by {ks} x {row['folds']} / {row['peer_folds']}. Largest difference of a fold's "
        f"accuracy at that k: {row['difference']:.4f}.",
    ]


def memory_line(row: Row) -> str:
    """The greatest memory beside what is allowed."""
    rows, features = row["shape"]
    what = f"Memory, {rows:,} x {features:,} {row['dtype']} in {given(row)}: "
    if "error" in row:
        return f"{what}not measured, {row['error']}."
    verdict = "within" if row["within"] else "more than"
    return (
        f"{what}at most {row['peak'] / 2**30:.2f} GiB ({row['built'] / 2**30:.2f} after building), "
        f"{verdict} data + 35 % + 1 GiB = {row['allowed'] / 2**30:.2f} GiB."
    )


def given(row: Row) -> str:
    return "a mapped file" if row["given"] == "file" else "a numpy array"


# --- growth ----------------------------------------------------------------------------------


class Exponent(NamedTuple):
    """The p of seconds ~ size**p with its 95 % interval; infinite for two points."""

    value: float
    half_width: float


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> Exponent:
    """Least squares on logarithms; the interval is Student's, from the residuals."""
    fit = stats.linregress(np.log(sizes), np.log(seconds))
    freedom = len(sizes) - 2
    if freedom < 1:
        return Exponent(float(fit.slope), np.inf)
    return Exponent(float(fit.slope), float(stats.t.ppf(0.975, freedom) * fit.stderr))


def verdict(power: Exponent) -> str:
    """Linear where the interval meets 1 +- LINEAR; undecided where it is wider than +- SURE."""
    if power.half_width > SURE:
        return "undecided"
    if abs(power.value - 1) <= LINEAR + power.half_width:
        return "linear"
    return "less than linear" if power.value < 1 else "more than linear"


def line_of(rows: Sequence[Row], of: str, metric: str, pruned: bool) -> tuple[Any, Any]:
    """Sizes and seconds per query of one line of the figure."""
    mine = [r for r in rows if (r["of"], r["metric"], r["pruned"]) == (of, metric, pruned)]
    return [r["value"] for r in mine], [r["each"] for r in mine]


def growth_sentence(rows: Sequence[Row], of: str) -> str:
    """How time per query grows with N or D, and which of the searches is linear."""
    said = []
    for metric in ("l1", "l2"):
        for pruned in (False, True):
            sizes, seconds = line_of(rows, of, metric, pruned)
            if len(sizes) < 2:
                return f"Growth with {of} takes at least two sizes."
            power = exponent(sizes, seconds)
            interval = "" if np.isinf(power.half_width) else f" ± {power.half_width:.2f}"
            said.append(
                f"{choices.NAMES[metric]} {name(pruned)} {of}^({power.value:.2f}{interval}), "
                f"{verdict(power)}"
            )
    sizes = sorted({row["value"] for row in rows if row["of"] == of})
    return f"Time per query, {of} from {sizes[0]:,} to {sizes[-1]:,}: {'; '.join(said)}."


def name(pruned: bool) -> str:
    return "pruned" if pruned else "brute force"


def title(rows: Sequence[Row]) -> str:
    """Which search is linear in N, in a few words."""
    verdicts: dict[str, list[str]] = {}
    for pruned in (False, True):
        for metric in ("l1", "l2"):
            line = line_of(rows, "N", metric, pruned)
            if len(line[0]) > 1:
                what = f"{choices.NAMES[metric]} {name(pruned)}"
                verdicts.setdefault(verdict(exponent(*line)), []).append(what)
    said = [f"{told} for {', '.join(whats)}" for told, whats in verdicts.items()]
    return f"Time per query against N: {'; '.join(said)}" if said else "Time per query"


def draw(rows: Sequence[Row]) -> Plot:
    """Time per query against N and against D, brute force and pruned."""
    figure, axes = style.canvas(1, 2, height=3.6, title=title(rows), sharey=True)
    for place, of in zip(axes, ("N", "D"), strict=True):
        for metric in ("l1", "l2"):
            for pruned, dashes, marker in ((False, "--", "s"), (True, "-", "o")):
                sizes, seconds = line_of(rows, of, metric, pruned)
                place.plot(
                    sizes, 1000 * np.array(seconds), dashes, marker=marker,
                    color=style.COLORS[metric], label=f"{choices.NAMES[metric]} {name(pruned)}",
                )  # fmt: skip
        what = {"N": "training images N", "D": "pixels D"}[of]
        place.set(xscale="log", yscale="log", xlabel=what)
        style.ticks(place, sorted({row["value"] for row in rows if row["of"] == of}))
        place.tick_params(axis="x", labelsize=8)
    axes[0].set_ylabel("time per query (ms)")
    figure.legend(handles=axes[0].get_lines(), loc="outside lower center", ncols=4, handlelength=3)
    alt = "Two line charts. " + " ".join(growth_sentence(rows, of) for of in ("N", "D"))
    caption = "Medians, on logarithmic axes. Further images are shifted or mirrored ones."
    return Plot("growth", figure, caption, alt)
