"""The results of a probe: four measures with intervals, their spread over seeds, a table."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.probe.probing import PROBES, Chosen
from lincls import evaluation

MEASURES = {  # name in files -> title in the table
    "top1": "top-1", "top5": "top-5", "per_class": "mean per class", "macro_f1": "macro F1",
}  # fmt: skip


def measures(
    predictions: jax.Array,
    in_five: jax.Array,
    labels: jax.Array,
    weight: jax.Array,
    num_classes: int,
) -> jax.Array:
    """MEASURES (4,) of weighted examples, each in 0..1.

    Mean per class is over the classes that have examples, macro F1 over those that have
    examples or predictions; 2 TP / (examples + predictions) is the F1 of a class.
    """
    count = partial(jax.ops.segment_sum, num_segments=num_classes)
    hit = weight * (predictions == labels).astype(weight.dtype)
    right, examples, predicted = (
        count(hit, labels),
        count(weight, labels),
        count(weight, predictions),
    )
    occurs, either = examples > 0, examples + predicted > 0
    recall = jnp.sum(right / jnp.where(occurs, examples, 1)) / jnp.sum(occurs, dtype=weight.dtype)
    f1 = jnp.sum(2 * right / jnp.where(either, examples + predicted, 1)) / jnp.sum(
        either, dtype=weight.dtype
    )
    total = weight.sum()
    return jnp.stack(
        [hit.sum() / total, jnp.sum(weight * in_five.astype(weight.dtype)) / total, recall, f1]
    )


def measured(
    key: jax.Array,
    predictions: np.ndarray,
    in_five: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    num_samples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Measures (R, 4) of R results, and the ends (2, R, 4) of their 95 % bootstrap intervals.

    All results are measured on the same drawn test sets.
    """
    results = tuple(map(jnp.asarray, (predictions, in_five)))
    of_labels = jnp.asarray(labels)

    def all_measures(weight: jax.Array) -> jax.Array:
        def one(result: Any) -> jax.Array:
            predicted, five = result
            return measures(predicted, five, of_labels, weight, num_classes)

        return jax.lax.map(one, results)

    drawn = evaluation.bootstrap(key, all_measures, len(labels), num_samples)
    found = np.asarray(jax.jit(all_measures)(jnp.ones(len(labels))))
    return found, np.quantile(drawn, [0.025, 0.975], axis=0)


def row(one: Chosen, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """A result as JSON and CSV have it; accuracies in 0..1."""
    found = {
        "probe": one.probe, "shots": one.shots, "seed": one.seed,
        "strength": one.value if one.probe == "linear" else None,
        "k": None if one.probe == "linear" else int(one.value), "selection": one.accuracy,
    }  # fmt: skip
    for name, value, least, most in zip(MEASURES, values, low, high, strict=True):
        found |= {name: float(value), f"{name}_low": float(least), f"{name}_high": float(most)}
    return found


def spread(rows: Sequence[dict[str, Any]], predictions: np.ndarray) -> list[dict[str, Any]]:
    """Mean and standard deviation (divisor S - 1) over the seeds, and whether they change anything.

    The deviation is None for one seed, and where all seeds gave the same predictions.
    """
    found = []
    for probe, shots in dict.fromkeys((r["probe"], r["shots"]) for r in rows):
        at = [i for i, r in enumerate(rows) if (r["probe"], r["shots"]) == (probe, shots)]
        same = bool((predictions[at] == predictions[at[0]]).all())
        told = {"probe": probe, "shots": shots, "seeds": len(at), "same_predictions": same}
        for name in MEASURES:
            values = [rows[i][name] for i in at]
            told[name] = float(np.mean(values))
            told[f"{name}_sd"] = None if same else float(np.std(values, ddof=1))
        found.append(told)
    return found


def table(found: dict[str, Any]) -> list[str]:
    """The results of the first seed in Markdown, in percent, and the spread over the seeds."""
    first = found["results"][0]["seed"]
    lines = [
        "| probe | shots | " + " | ".join(MEASURES.values()) + " | over seeds, top-1 | chosen |",
        "| --- | ---: |" + " ---: |" * (len(MEASURES) + 1) + " --- |",
    ]
    of_first = [r for r in found["results"] if r["seed"] == first]
    for result, seeds in zip(of_first, found["spread"], strict=True):
        cells = [
            f"{100 * result[name]:.1f} ({100 * result[f'{name}_low']:.1f} to "
            f"{100 * result[f'{name}_high']:.1f})"
            for name in MEASURES
        ]
        value = f"k = {result['k']}" if result["k"] else f"strength {result['strength']:.1e}"
        lines.append(
            f"| {PROBES[result['probe']][0]} | {result['shots']} | {' | '.join(cells)} | "
            f"{over_seeds(seeds)} | {value} |"
        )
    return lines


def over_seeds(told: dict[str, Any]) -> str:
    if told["seeds"] == 1:
        return "one seed"
    if told["same_predictions"]:
        return "seeds change nothing"
    return f"{100 * told['top1']:.2f} ± {100 * told['top1_sd']:.2f}"


def caption(found: dict[str, Any]) -> str:
    """What the table is about, in a paragraph."""
    data, settings = found["data"], found["settings"]
    kind = "grouped" if settings["grouped"] else "stratified"
    on = f"a validation part of {settings['validation']:.0%}"
    if settings["num_folds"]:
        on = f"{settings['num_folds']} {kind} folds"
    times = found["test_set"]["times_used"]
    over = f"Over seeds: mean ± standard deviation of {settings['seeds']} runs. "
    return (
        f"{data['source']}: {data['num_train']:,} training and {data['num_test']:,} test examples, "
        f"{len(data['class_names'])} classes, normalise {settings['normalise']}. Percent, with 95% "
        f"bootstrap intervals over the test examples; seed {found['seed']}. "
        f"{over if settings['seeds'] > 1 else ''}Strength and k chosen on {on}; "
        f"the test set was opened {'once' if times == 1 else f'{times} times'}."
        f"{unlearnable(found['only_in_test'])}"
    )


def unlearnable(classes: Sequence[str]) -> str:
    """A sentence on classes that no probe can find; empty without any."""
    if not classes:
        return ""
    shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    what = "1 class is" if len(classes) == 1 else f"{len(classes)} classes are"
    return f" {what} only in the test part and found by no probe: {shown}."
