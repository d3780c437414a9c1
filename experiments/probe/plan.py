"""What a probe of so many features will take, before there are any: bytes, operations, time.

    python -m experiments.probe.plan --rows 1281167 --features 2048 --classes 1000

The other flags are those of the probe.  A line is a training or a search, with how often it runs.
Times come from the same programs on few rows, on this machine, without compilation.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from experiments.lab import choices, options
from experiments.lab.options import flag
from experiments.probe import choosing, fits
from experiments.probe.settings import Settings
from lincls import forecast
from lincls.training import room


@dataclass(frozen=True)
class Sizes:
    """The sizes of the data."""

    rows: int = flag(1_281_167, "training examples", low=2)
    features: int = flag(2048, "numbers of each", low=1)
    classes: int = flag(1000, "classes", low=2)
    test_rows: int = flag(50_000, "test examples", low=1)


def lines(sizes: Sizes, settings: Settings) -> Iterator[str]:
    """What each part of a probe with all examples takes, of one seed."""
    seeds = "" if settings.seeds == 1 else f"Each of {settings.seeds} seeds takes as much. "
    yield f"{seeds}float32 features take {sizes.rows * sizes.features * 4 / 1e9:.3g} GB."
    for kind in choosing.kinds(settings):
        if kind == "lsr":
            yield f"Least squares: one system of {min(sizes.rows, sizes.features) + 1:,} equations."
        else:
            yield from _linear(sizes, settings) if kind == "linear" else _knn(kind, sizes, settings)


def _linear(sizes: Sizes, settings: Settings) -> Iterator[str]:
    if settings.fit_of(sizes.rows) == "optimum":
        yield "Linear: each strength goes to its optimum; the data decide in how many steps."
        return
    folds, axes = settings.num_folds or 1, min(sizes.rows, sizes.features)
    tried = len(settings.search.values)
    num = room.num_groups(tried, folds * sizes.classes * axes * np.dtype(np.float32).itemsize)
    together = -(-tried // num)
    settings = replace(settings, fit=settings.fit_of(sizes.rows))
    plans = [*settings.plans, *settings.longer(settings.plans[0])]
    searches = [(num, together * folds, "search", plan) for plan in plans]
    for times, trainings, what, plan in (*searches, (1, 1, "refit", plans[-1])):
        told = _training(sizes, axes, trainings, settings, plan)
        yield f"Linear, {what}, {_times(times)}: {told}"


def _training(
    sizes: Sizes, axes: int, trainings: int, settings: Settings, plan: fits.Plan
) -> forecast.Forecast:
    values = np.resize(settings.search.values, trainings)
    recipe, hyper, steps, *_ = fits.RECIPES[settings.fit](values, sizes.rows, plan)
    rows = jax.ShapeDtypeStruct((sizes.rows, axes), "float32")
    return forecast.training(
        rows, recipe, hyper, num_steps=steps, num_classes=sizes.classes, weight_of_each=True
    )


def _knn(metric: str, sizes: Sizes, settings: Settings) -> Iterator[str]:
    share = 1 / settings.num_folds if settings.num_folds else settings.validation
    held = round(share * sizes.rows)
    chosen = (settings.num_folds or 1, sizes.rows - held, held)
    for times, among, queries in (chosen, (1, sizes.rows, sizes.test_rows)):
        rows = jax.ShapeDtypeStruct((among, sizes.features), "float32")
        k = min(settings.num_neighbors, among)
        told = forecast.neighbors(rows, queries, k, metric=choices.METRICS[metric])
        yield f"kNN, {_times(times)}: {told}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the lines; the exit status."""
    groups: dict[str, Any] = {"probe": Settings}
    parser = options.build(
        "python -m experiments.probe.plan", __doc__ or "", groups, lambda: "plan", Sizes
    )
    sizes, chosen = options.parse(parser, groups, argv, Sizes)
    with parser.refusing():
        for line in lines(sizes, chosen["probe"]):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
