"""The results of a probe: measures with intervals, the spread over seeds, tables."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.stats

from experiments.probe import measures
from experiments.probe.measures import Outcome
from experiments.probe.probing import PROBES, Chosen
from experiments.probe.settings import SELECTIONS

AXES = ("strength", "learning rate", "k")  # what a probe may choose


def row(
    one: Chosen, outcome: Outcome, metrics: Sequence[str], groups: np.ndarray | None,
    num_samples: int = 1000,
) -> dict[str, Any]:  # fmt: skip
    """A result as JSON has it.  A number that is not there, or not finite, is None."""
    found: dict[str, Any] = {
        "name": one.name, "probe": one.probe, "shots": one.shots, "seed": one.seed,
        **_values(one), "selection": one.selection, "gap": _number(one.gap), "fit": one.fit or None,
        "epochs": _number(one.epochs), "of_epochs": [n for n in one.of_epochs if np.isfinite(n)],
        "power": _number(one.power), "at_edge": one.at_edge,
    }  # fmt: skip
    for name in metrics:
        ends = ("", "_low", "_high")
        values = measures.with_interval(name, outcome, groups, num_samples, one.seed)
        found |= {name + end: _number(value) for end, value in zip(ends, values, strict=True)}
    return found


def _values(one: Chosen) -> dict[str, float | int | None]:
    """The number that was chosen, by the name of its axis; those of other axes are None."""
    value = one.value if one.is_linear else int(one.value)
    return {axis.replace(" ", "_"): value if axis == one.axis else None for axis in AXES}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def tidy(rows: Iterable[dict[str, Any]], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A line for each result and metric, as results.csv has them."""
    about = ("name", "probe", "shots", "seed", "strength", "learning_rate", "k", "selection", "gap",
             "fit", "epochs", "power", "at_edge")  # fmt: skip
    return [
        {key: result[key] for key in about}
        | {"metric": name, "value": result[name], "low": result[f"{name}_low"],
           "high": result[f"{name}_high"]}
        for result in rows for name in metrics
    ]  # fmt: skip


def spread(
    rows: Sequence[dict[str, Any]], predictions: np.ndarray, metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Mean, standard deviation (divisor S - 1) and interval over the seeds, a probe and shots.

    The deviation is None for one seed, and where all seeds gave the same predictions.
    """
    found = []
    for probe, shots in dict.fromkeys((r["probe"], r["shots"]) for r in rows):
        at = [i for i, r in enumerate(rows) if (r["probe"], r["shots"]) == (probe, shots)]
        same = bool((predictions[at] == predictions[at[0]]).all())
        told = {"probe": probe, "shots": shots, "seeds": len(at), "same_predictions": same}
        for name in metrics:
            told |= _over_seeds(name, [rows[i] for i in at], same)
        found.append(told)
    return found


def _over_seeds(name: str, rows: Sequence[dict[str, Any]], same: bool) -> dict[str, Any]:
    """Mean and deviation of a measure, and the ends of an interval that contains the draw."""
    parts = (name, f"{name}_low", f"{name}_high")
    if any(each[name] is None for each in rows):
        return dict.fromkeys((*parts, f"{name}_sd"))
    values = [each[name] for each in rows]
    mean, num = float(np.mean(values)), len(values)
    deviation = None if same or num == 1 else float(np.std(values, ddof=1))
    found: dict[str, Any] = {name: mean, f"{name}_sd": deviation}
    if rows[0][parts[1]] is None:
        return found | dict.fromkeys(parts[1:])
    ends = (float(np.mean([each[part] for each in rows])) for part in parts[1:])
    low, high = widened([mean] if same else values, *ends)
    limited = (max(0.0, low), high if name in measures.MEANS else min(1.0, high))
    return found | dict(zip(parts[1:], limited, strict=True))


def widened(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """An interval over the test examples of the mean of S values, so that it contains the draw.

    Its half is the root of the sum of two squares: that over the test examples, and Student's
    t s / sqrt(S) over the S draws, s their standard deviation.
    """
    mean, num, drawn = float(np.mean(values)), len(values), 0.0
    if num > 1:
        of_student = float(scipy.stats.t.ppf(0.975, num - 1))
        drawn = of_student * float(np.std(values, ddof=1)) / num**0.5
    return mean - float(np.hypot(mean - low, drawn)), mean + float(np.hypot(high - mean, drawn))


# --- tables ------------------------------------------------------------------------------------


def header(metrics: Sequence[str]) -> list[str]:
    """The titles of the columns."""
    return ["probe", "shots", *map(measures.title, metrics), "over seeds", "chosen"]


def cells(found: dict[str, Any], metrics: Sequence[str]) -> list[list[str]]:
    """A line a probe and shots: the means over the seeds, and what these chose."""
    lines = []
    for mean in found["spread"]:
        probe, shots = mean["probe"], mean["shots"]
        rows = [r for r in found["results"] if (r["probe"], r["shots"]) == (probe, shots)]
        numbers = [cell(name, mean) for name in metrics]
        lines.append(
            [PROBES[probe][0], shots, *numbers, over_seeds(mean, metrics[0]), chosen(rows)]
        )
    return lines


def cell(name: str, values: dict[str, Any]) -> str:
    """A measure with its interval, in percent; log loss in nats."""
    value, low, high = (values[name + end] for end in ("", "_low", "_high"))
    if value is None:
        return "none"
    unit = 1 if name == "log_loss" else 100
    if low is None:
        return f"{unit * value:.{3 if unit == 1 else 1}f}"
    digits = 3 if unit == 1 else 1 if unit * (high - low) > 0.2 else 2
    return f"{unit * value:.{digits}f} ({unit * low:.{digits}f} to {unit * high:.{digits}f})"


def chosen(rows: Sequence[dict[str, Any]]) -> str:
    """What the seeds of a probe chose, and how many of them at the edge of the grid."""
    axis = next(axis for axis in AXES if rows[0].get(axis.replace(" ", "_")))
    values = [row[axis.replace(" ", "_")] for row in rows]
    if axis == "k":
        return f"k = {_range(values, 'd')}"
    edges = sum(row["at_edge"] for row in rows)
    of_seeds = "" if edges == len(rows) else f" in {edges} of {len(rows)} seeds"
    edge = f" (edge of the grid{of_seeds})" if edges else ""
    return f"{axis} {_range(values, '.1e')}{edge}{_epochs(rows)}"


def _epochs(rows: Sequence[dict[str, Any]]) -> str:
    """How long the trainings were, and what else was tried; nothing of an optimum."""
    tried = rows[0].get("of_epochs")
    if not tried:
        return ""
    of = f" of {', '.join(f'{each:.3g}' for each in tried)}" if len(tried) > 1 else ""
    return f", epochs {_range([row['epochs'] for row in rows], '.3g')}{of}"


def _range(values: Sequence[float], form: str) -> str:
    """A number, or the least and the greatest of several."""
    ends = dict.fromkeys(format(end(values), form) for end in (min, max))
    return " to ".join(ends)


def over_seeds(told: dict[str, Any], name: str) -> str:
    """The spread over the seeds, in words."""
    if told["seeds"] == 1:
        return "one seed"
    if told["same_predictions"]:
        return "seeds change nothing"
    if told[name] is None:
        return "none"
    return f"{100 * told[name]:.2f} ± {100 * told[f'{name}_sd']:.2f}"


def markdown(found: dict[str, Any], metrics: Sequence[str]) -> list[str]:
    """The table in Markdown."""
    titles = header(metrics)
    lines = [titles, ["---", *["---:"] * (len(titles) - 2), "---"], *cells(found, metrics)]
    return [f"| {' | '.join(line)} |" for line in lines]


def latex(found: dict[str, Any], metrics: Sequence[str]) -> list[str]:
    """The table in LaTeX, with the rules of booktabs."""
    titles = header(metrics)
    lines = [" & ".join(map(_escaped, line)) + r" \\" for line in cells(found, metrics)]
    return [
        rf"\begin{{tabular}}{{l{'r' * (len(titles) - 2)}l}}", r"\toprule",
        " & ".join(titles) + r" \\", r"\midrule", *lines, r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


def _escaped(text: str) -> str:
    return text.replace("±", r"$\pm$").replace("%", r"\%").replace("_", r"\_")


def caption(found: dict[str, Any]) -> str:
    """What the table is about, in a paragraph."""
    data, settings = found["data"], found["settings"]
    kind = "grouped" if settings["grouped"] else "stratified"
    on = f"a validation part of {100 * settings['validation']:.4g}%"
    if settings["num_folds"]:
        on = f"{settings['num_folds']} {kind} folds"
    times = found["test_set"]["times_used"]
    units = "groups of test examples" if found["test_groups"] else "test examples"
    seeds = of_seeds(found, measures.title(settings["metrics"][0]))
    return (
        f"{data['source']}: {data['num_train']:,} training and {data['num_test']:,} test examples, "
        f"{len(data['class_names'])} classes, normalise {settings['normalise']}. Percent with "
        f"95 % CI over the {units}; {seeds}"
        f"{_chosen_numbers(found['results'], settings['select'])} on {on}{_of_shots(settings)}; "
        f"the test set was opened {'once' if times == 1 else f'{times} times'}."
        f"{_short(found['short'])}{_of_top_k(found)}{unlearnable(found['only_in_test'])}"
    )


def _chosen_numbers(rows: Sequence[dict[str, Any]], select: str) -> str:
    """What was chosen and how: "Strength and k chosen by accuracy".

    Least squares chooses nothing, and k is never chosen by log loss.
    """
    named = [
        axis
        for axis in AXES
        if any(row[axis.replace(" ", "_")] for row in rows if row["probe"] != "lsr")
    ]
    if select == "log_loss" and "k" in named:
        linear = [f"{axis} chosen by log loss, " for axis in named if axis != "k"]
        return "".join([*linear, "k chosen by accuracy"]).capitalize()
    return f"{' and '.join(named).capitalize() or 'Nothing was'} chosen by {SELECTIONS[select]}"


def of_further(name: str, found: dict[str, Any]) -> str:
    """What the table of a further test set is about."""
    return (
        f"Test set {name}: {found['num_test']:,} examples, opened once for the same probes."
        f"{unlearnable(found['only_in_test'])}"
    )


def of_seeds(found: dict[str, Any], title: str) -> str:
    """What a number of the table is over the seeds; `title` is that of the measure with spread."""
    first, num = found["seed"], found["settings"]["seeds"]
    if num == 1:
        return f"seed {first}. "
    return (
        f"means over seeds {first} to {first + num - 1}, and the CI includes their spread. "
        f"Over seeds: {title}, mean ± standard deviation. "
    )


def _of_shots(settings: dict[str, Any]) -> str:
    """On what few-shot probes chose: all examples that are held out, or folds of their own."""
    if all(word == "all" for word in settings["shots"]):
        return ""
    own = settings["choose_on"] == "shots"
    return ", few shots on folds of their own" if own else ", also for few shots"


def _short(classes: dict[str, int]) -> str:
    """A sentence for each number of shots that some classes do not have."""
    return "".join(
        f" {num} classes have fewer than {shots} training examples and give all they have."
        if num > 1 else f" 1 class has fewer than {shots} training examples and gives all it has."
        for shots, num in classes.items() if num
    )  # fmt: skip


def _of_top_k(found: dict[str, Any]) -> str:
    """A sentence where kNN votes for fewer classes than top-K counts."""
    counted = [int(name[3:]) for name in found["settings"]["metrics"] if measures.is_share(name)]
    least = min((row["k"] for row in found["results"] if row["k"]), default=None)
    if not counted or least is None or least >= max(counted):
        return ""
    return f" k neighbours vote for at most k classes, so top-{max(counted)} of a smaller k is low."


def unlearnable(classes: Sequence[str]) -> str:
    """A sentence on classes that no probe can find; empty without any."""
    if not classes:
        return ""
    shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    what = "1 class is" if len(classes) == 1 else f"{len(classes)} classes are"
    return f" {what} only in the test part and found by no probe: {shown}."
