"""How long exact neighbours take, beside the engines that people use, in one run.

    python -m experiments.bench_knn --dataset cifar10 --minutes 30

Five parts share the minutes.  `engines`: everyone finds the k nearest training images of the
same test images, as uint8 where the engine takes bytes and as float32 where it does not.
`float`: the same on generated unit vectors, beside FAISS.  `cv`: every k of a cross-validation,
beside scikit-learn's grid search.  `growth`: time per query as N and D grow.  `sizes`: few and
many rows, features and queries, beside trees as well.  A plain search by numpy in 64 bits says
how many of an engine's answers are right, ties in order of index.

Rounds alternate between lincls and one peer, and the ratio is the median of the rounds'.  An
engine that is slower than its share of the minutes is timed on fewer queries, and the table
says on how many.  Building the model and the first calls, which compile, are apart.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from experiments import jobs
from experiments.bench import (
    knn_cv,
    knn_data,
    knn_engines,
    knn_memory,
    knn_oracles,
    knn_sizes,
    knn_telling,
    knn_timing,
    timing,
)
from experiments.bench.knn_engines import METRICS, OURS, Engine
from experiments.bench.knn_timing import Effort, Problem
from experiments.lab import gate, options, progress, record
from experiments.lab.options import flag
from experiments.report import style, words
from lincls import data, files, knn

SHARES = {"engines": 0.4, "float": 0.2, "cv": 0.1, "growth": 0.15, "sizes": 0.15}  # of the minutes
PIXELS = ("l1", "l2")
FEW = {False: 64, True: 256}  # queries where growth is measured, brute force and pruned


@dataclass(frozen=True)
class Shared(options.Output, options.Source):
    """The flags that it shares with the experiments."""


@dataclass(frozen=True)
class Settings:
    minutes: float = flag(10.0, "time of all parts together", low=0.01, smoke=0.02)
    parts: tuple[str, ...] = flag(tuple(SHARES), "what is measured", choices=tuple(SHARES))
    num_train: int = flag(50_000, "training images, the first ones", low=100, smoke=300)
    num_queries: int = flag(10_000, "test images, the first ones", low=1, smoke=20)
    num_checked: int = flag(64, "queries whose answers the oracle checks", low=1, smoke=8)
    ks: tuple[int, ...] = flag(
        (10, 1, 100), "neighbours; peers are compared at the first", low=1, smoke=(10,)
    )
    rounds: int = flag(5, "timed rounds, of which the median counts", low=1, smoke=1)
    float_rows: int = flag(200_000, "generated unit vectors", low=100, smoke=500)
    float_features: int = flag(768, "their features", low=2, smoke=16)
    float_queries: int = flag(1_000, "queries among them", low=1, smoke=20)
    whole_batches: bool = flag(False, "both time all of these queries, whatever the minutes say")
    cv_examples: int = flag(10_000, "training images of the cross-validation", low=50, smoke=200)
    cv_folds: int = flag(5, "its folds", low=2, smoke=2)
    cv_ks: tuple[int, ...] = flag(
        (1, 3, 5, 8, 10, 12, 15, 20, 50, 100), "its numbers of neighbours", low=1, smoke=(1, 5)
    )
    growth_sizes: tuple[int, ...] = flag(
        (10_000, 25_000, 50_000, 100_000, 200_000, 400_000), "training images of growth with N",
        low=10, smoke=(100, 200),
    )  # fmt: skip
    strides: tuple[int, ...] = flag(
        (8, 4, 2, 1), "growth with D: every 8th, 4th, ... pixel of each line and column", low=1,
        smoke=(2, 1),
    )  # fmt: skip
    size_rows: tuple[int, ...] = flag(
        (500, 5_000, 50_000), "rows of the table of sizes", low=1, smoke=(30,)
    )
    size_features: tuple[int, ...] = flag(
        (2, 8, 64, 512, 4_096), "features of that table", low=1, smoke=(2, 70)
    )
    size_queries: tuple[int, ...] = flag(
        (1, 100, 10_000), "queries of that table", low=1, smoke=(1, 5)
    )
    memory: bool = flag(False, "also the greatest memory of a model and a search")
    memory_rows: tuple[int, ...] = flag(
        (200_000, 1_000_000), "its rows of 3,072 uint8, and of 768 float32", low=1, smoke=(500, 500)
    )


@dataclass(frozen=True)
class Inputs:
    """What the parts work on: training images, queries as rows, labels, and a seed."""

    images: np.ndarray  # (N, H, W, C) uint8
    labels: np.ndarray  # (N,)
    queries: np.ndarray  # (M, D)
    query_images: np.ndarray  # (M, H, W, C)
    seed: int


def on_images(inputs: Inputs, settings: Settings, seconds: float) -> list[dict[str, Any]]:
    """Every engine on both metrics at the first k; lincls at the other ks as well."""
    X = np.ascontiguousarray(data.rows(inputs.images[: settings.num_train]))
    able = knn_engines.able(knn_engines.BYTES)
    num_duels = len(PIXELS) * (len(able) + len(settings.ks) - 2)
    effort = Effort(settings.num_checked, settings.rounds, seconds / num_duels)
    checked, rows = inputs.queries[: settings.num_checked], []
    for metric in PIXELS:
        for place, k in enumerate(settings.ks):
            truth = knn_oracles.nearest(knn_oracles.integer_table, X, checked, metric, k)
            check = partial(exactly, truth)
            problem = Problem(X, inputs.queries, metric, k)
            rows += knn_timing.contest(able if place == 0 else OURS, problem, effort, check)
    return rows


def exactly(truth: knn_oracles.Truth, engine: Engine, found: Any) -> knn_oracles.Right:
    """How many answers equal the integers, whoever gave them."""
    return knn_oracles.equal(truth, found)


def on_floats(inputs: Inputs, settings: Settings, seconds: float) -> list[dict[str, Any]]:
    """L2 and cosine between unit vectors, clustered and isotropic; float64 is the oracle."""
    counts, rows = (settings.float_rows, settings.float_queries), []
    each = math.inf if settings.whole_batches else seconds / 4
    for kind in ("clustered", "isotropic"):
        X, queries = knn_data.generated(inputs.seed, kind, counts, settings.float_features)
        checked = queries[: settings.num_checked]
        for metric in ("l2", "cosine"):
            problem = Problem(X, queries, metric, settings.ks[0])
            check = knn_timing.closely(problem, checked)
            able = knn_engines.able(knn_engines.FLOATS)
            engines = [e for e in able if e.measures in (None, metric)]
            effort = Effort(settings.num_checked, settings.rounds, each / max(1, len(engines) - 1))
            found = knn_timing.contest(engines, problem, effort, check)
            rows += [{"data": kind, **row} for row in found]
    return rows


def cross_validation(inputs: Inputs, settings: Settings, seconds: float) -> list[dict[str, Any]]:
    """All k of a cross-validation beside a grid search of scikit-learn's, for both metrics."""
    X = np.ascontiguousarray(data.rows(inputs.images[: settings.cv_examples]))
    y = inputs.labels[: len(X)]
    share = seconds / len(PIXELS)
    how = knn_cv.How(settings.cv_folds, settings.cv_ks, settings.ks[0], settings.rounds, share)
    return [knn_cv.compare(X, y, metric, how) for metric in PIXELS]


def growth(inputs: Inputs, settings: Settings, seconds: float) -> list[dict[str, Any]]:
    """Seconds per query of lincls as N grows, and as D does, pruned and not."""
    everything = knn_data.more_images(inputs.images, max(settings.growth_sizes))
    by_size = [(size, everything[:size], inputs.query_images) for size in settings.growth_sizes]
    images = inputs.images[: settings.num_train]
    by_stride = []
    for stride in settings.strides:
        fewer, few = (each[:, ::stride, ::stride] for each in (images, inputs.query_images))
        by_stride.append((fewer[0].size, fewer, few))
    rows = []
    for of, cases in (("N", by_size), ("D", by_stride)):
        for metric in PIXELS:
            progress.say(f"growth with {of}, {metric}")
            rows += grown(of, metric, cases, settings, seconds / 4)
    return rows


def grown(
    of: str, metric: str, cases: list[tuple[int, Any, Any]], settings: Settings, seconds: float
) -> list[dict[str, Any]]:
    """Rows of one metric; a round measures each case once, so that a drift meets them all."""
    until = time.monotonic() + seconds
    calls: dict[tuple[int, bool], Callable[[], Any]] = {}
    shapes = {}
    for value, images, queries in cases:
        X, few = (np.ascontiguousarray(data.rows(each)) for each in (images, queries))
        shapes[value] = X.shape
        for prune in (False, True):
            model = knn.fit(X, metric=METRICS[metric], prune=prune)
            call = partial(knn.neighbors, model, few[: FEW[prune]], min(settings.ks[0], len(X)))
            call()  # compiles
            calls[value, prune] = call
    times = timing.alternate(calls, settings.rounds, until)
    return [
        {
            "of": of, "value": value, "metric": metric, "pruned": prune,
            "N": shapes[value][0], "D": shapes[value][1], "rounds": len(each),
            "each": float(np.median(each)) / min(FEW[prune], len(cases[0][2])),
        }
        for (value, prune), each in times.items()
    ]  # fmt: skip


def sizes(inputs: Inputs, settings: Settings, seconds: float) -> list[dict[str, Any]]:
    """L2 between floats at few and many rows, features and queries, at the first k."""
    of = knn_sizes.Sizes(settings.size_rows, settings.size_features, settings.size_queries)
    effort = Effort(settings.num_checked, settings.rounds, seconds)
    return knn_sizes.compare(of, settings.ks[0], inputs.seed, effort)


def memory(settings: Settings) -> list[dict[str, Any]]:
    """The greatest memory of a process, for data in memory and for data in their file."""
    shapes = zip(("uint8", "float32"), settings.memory_rows, (3072, 768), strict=True)
    cases = [(given, *shape) for shape in shapes for given in knn_memory.GIVEN]
    return [knn_memory.peak(*case) for case in progress.bar(cases, "memory")]


PARTS: dict[str, Callable[[Inputs, Settings, float], list[dict[str, Any]]]] = {
    "engines": on_images, "float": on_floats, "cv": cross_validation, "growth": growth,
    "sizes": sizes,
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the parts; print their tables, write results.json and growth.png."""
    groups = {"bench_knn": Settings}
    parser = options.build(
        "python -m experiments.bench_knn", __doc__ or "", groups, lambda: "bench_knn", Shared
    )
    common, chosen = options.parse(parser, groups, argv, Shared)
    settings: Settings = chosen["bench_knn"]
    folder = Path(common.out) / ("bench_knn-smoke" if common.smoke else "bench_knn")
    with parser.refusing():
        loaded = gate.of(common)
        jobs.check_writable(folder)
    if loaded.train.images.dtype != np.uint8:
        kind = loaded.train.images.dtype
        parser.error(f"the comparison is on uint8 pixels; {loaded.name} has {kind}")
    for package in knn_engines.missing():
        progress.say(f"{package} is not installed and takes no part: pip install {package}")
    began = time.perf_counter()
    found: dict[str, Any] = {
        "settings": asdict(settings), "versions": record.versions(), "device": record.device(),
        "data": f"{loaded.name}, {loaded.source.description}",
        "missing": knn_engines.missing(),
    }  # fmt: skip
    found |= measured(inputs_of(loaded, settings, common.seed), settings)
    write(folder, found)
    took = words.duration(time.perf_counter() - began)
    print("\n".join([*knn_telling.lines(found), took]))
    return 0


def inputs_of(loaded: Any, settings: Settings, seed: int) -> Inputs:
    """The images of a data set as the parts want them."""
    images = knn_data.as_images(loaded.train.images)
    tested = knn_data.as_images(loaded.test.images)[: settings.num_queries]
    rows = np.ascontiguousarray(data.rows(tested))
    return Inputs(images, np.asarray(loaded.train.labels), rows, tested, seed)


def measured(inputs: Inputs, settings: Settings) -> dict[str, Any]:
    """The rows of every part chosen, which share the minutes, and of memory."""
    total = sum(SHARES[part] for part in settings.parts)
    found: dict[str, Any] = {}
    for part in settings.parts:
        seconds = 60 * settings.minutes * SHARES[part] / total
        found[part] = PARTS[part](inputs, settings, seconds)
    if settings.memory:
        found["memory"] = memory(settings)
    return found


def write(folder: Path, found: dict[str, Any]) -> None:
    text = json.dumps(record.plain(found), indent=2) + "\n"
    files.write(folder / record.RESULTS, lambda file: file.write(text.encode()))
    if "growth" in found:
        with mpl.rc_context(style.PARAMETERS):
            style.save(knn_telling.draw(found["growth"]), folder)


if __name__ == "__main__":
    sys.exit(main())
