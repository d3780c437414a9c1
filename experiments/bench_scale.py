"""How search and training scale over devices and processes, in one run.

    python -m experiments.bench_scale --quick
    python -m experiments.bench_scale

Each row is a run of its own: a process with simulated devices, or several processes that talk over
loopback.  It searches for neighbours of L2 and takes steps of SGD among rows of noise.  Strong
scaling keeps the rows of all devices together, weak scaling those of each.  A step with the sum in
the order of the blocks alternates with one with a plain all-reduce.  The forecast comes before the
run.  Bytes are those of the compiled program; the least is what any exact exchange must send.
Where JAX has an accelerator, it is measured as well: queries a second, an epoch, a grid of 64.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import matplotlib as mpl
import numpy as np

from experiments import jobs
from experiments.bench import knn_data, scale, scale_telling, timing
from experiments.lab import options, progress, record
from experiments.lab.options import flag
from experiments.many import __main__ as many
from experiments.report import style, words
from lincls import distances, files, forecast, knn, linear, training
from lincls.distances import Metric
from lincls.structs import Hyper
from lincls.training import Recipe


@dataclass(frozen=True)
class Settings:
    quick: bool = flag(False, "fewer and smaller runs, within a minute")
    num_rows: int = flag(20_000, "rows of strong scaling, and of one device", low=64, smoke=640)
    num_features: int = flag(3072, "features of a row", low=2, smoke=32)
    queries: int = flag(256, "rows that are searched for", low=1, smoke=16)
    k: int = flag(10, "neighbours", low=1)
    steps: int = flag(100, "steps of SGD that are timed together", low=2, smoke=4)
    batch_size: int = flag(256, "examples in a minibatch, a multiple of 8", low=8, smoke=64)
    rounds: int = flag(5, "timed rounds, of which the median counts", low=1, smoke=1)
    devices: tuple[int, ...] = flag((1, 2, 4, 8), "simulated devices of one process", low=1,
                                    smoke=(1, 8))  # fmt: skip
    processes: tuple[int, ...] = flag((2, 4), "processes of one device each", low=2, smoke=(2,))
    pixels: int = flag(50_000, "accelerator: training images of 3,072 pixels", low=100)
    vectors: int = flag(1_000_000, "accelerator: vectors of 768 features", low=100)
    asked: int = flag(10_000, "accelerator: queries", low=1)


QUICK: dict[str, Any] = {
    "num_rows": 4000, "num_features": 768, "steps": 20, "rounds": 3, "devices": (1, 8),
    "processes": (2,),
}  # fmt: skip


def cases(settings: Settings) -> Iterator[tuple[tuple[str, ...], int, int, int]]:
    """What a run shows, its processes, the devices of each, and its rows."""
    shapes = [(1, devices) for devices in settings.devices]
    shapes += [(processes, 1) for processes in settings.processes]
    for processes, devices in shapes:
        times = processes * devices
        if times == 1:
            yield ("strong", "weak"), 1, 1, settings.num_rows
            continue
        yield ("strong",), processes, devices, settings.num_rows
        if not settings.quick:
            yield ("weak",), processes, devices, times * settings.num_rows


def scaled(settings: Settings) -> list[dict[str, Any]]:
    """A row for each run."""
    rows = []
    for scaling, processes, devices, num_rows in cases(settings):
        progress.say(f"{processes} x {devices} devices, {num_rows:,} rows")
        task = scale.Task(num_rows, settings.num_features, settings.queries, settings.k,
                          settings.steps, settings.batch_size, settings.rounds)  # fmt: skip
        children = many.start(task, processes, devices, scale.__name__)
        found = json.loads(many.wait(children)[0])
        shape = {"scaling": scaling, "processes": processes, "devices": devices}
        rows.append({**shape, **found})
    return rows


# --- an accelerator --------------------------------------------------------------------------


def on_accelerator(settings: Settings) -> list[dict[str, Any]]:
    """Searches, an epoch and a grid on the first device of JAX, whatever it is."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (settings.pixels, 3072), np.uint8)
    vectors = knn_data.unit_vectors(rng, settings.vectors, 768)
    rows = [
        searched(X, metric, settings)
        for X in (pixels, vectors)
        for metric in (distances.l2, distances.l1, distances.cosine)
    ]
    return rows + [trained(pixels, settings, count) for count in (1, 64)]


def searched(X: np.ndarray, metric: Metric, settings: Settings) -> dict[str, Any]:
    """Seconds of a search, the model built before."""
    progress.say(f"{metric.name} among {X.shape}")
    queries = X[np.arange(settings.asked) % len(X)]
    told = forecast.neighbors(X, len(queries), settings.k, metric=metric)
    model = knn.fit(X, metric=metric)
    seconds = timing.median(lambda: knn.neighbors(model, queries, settings.k), settings.rounds)
    return _row(f"{metric.name}, route {told.route}", X, seconds, told.seconds, len(queries))


def trained(X: np.ndarray, settings: Settings, count: int) -> dict[str, Any]:
    """Seconds of an epoch of one setting, or of many at once; rows are on the device."""
    recipe, rows = Recipe(batch_size=settings.batch_size), jax.device_put(X)
    rates = np.geomspace(1e-5, 1e-3, count)
    hyper = Hyper({"learning_rate": rates if count > 1 else rates[0]}, reg=1e-3)
    steps, labels = -(-len(X) // settings.batch_size), np.arange(len(X)) % scale.CLASSES
    told = forecast.training(rows, recipe, hyper, num_steps=steps, num_classes=scale.CLASSES)
    params = linear.init(jax.random.key(0), X.shape[1], scale.CLASSES)
    state = training.start(jax.random.key(0), params, recipe, hyper)

    def epoch() -> Any:
        ended, _ = training.fit(state, rows, labels, recipe, hyper, num_steps=steps)
        return jax.block_until_ready(ended.params)

    name = "an epoch" if count == 1 else f"an epoch of {count} settings"
    return _row(name, X, timing.median(epoch, settings.rounds), told.seconds, 0)


def _row(task: str, X: np.ndarray, seconds: float, told: float, queries: int) -> dict[str, Any]:
    shape = f"{len(X):,} x {X.shape[1]:,} {X.dtype}"
    return {"task": task, "shape": shape, "seconds": seconds, "forecast": told, "queries": queries}


# --- the program -----------------------------------------------------------------------------


def measured(
    settings: Settings, backend: str, accelerator: Callable[[Settings], Any] = on_accelerator
) -> dict[str, Any]:
    """The rows of all runs; what one has compiled, the forecast's programs too, none does again."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = {"JAX_COMPILATION_CACHE_DIR": folder,
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip
        with mock.patch.dict(os.environ, compiled):
            rows = scaled(settings)
    return {"rows": rows, "accelerator": [] if backend == "cpu" else accelerator(settings)}


def main(argv: list[str] | None = None) -> int:
    """Run everything; print the tables, write results.json, scaling.png and table.md."""
    groups = {"bench_scale": Settings}
    parser = options.build("python -m experiments.bench_scale", __doc__ or "", groups, lambda: "")
    common, chosen = options.parse(parser, groups, argv)
    settings: Settings = chosen["bench_scale"]
    if settings.quick and not common.smoke:
        usual = Settings(quick=True)
        given = {name for name in QUICK if getattr(settings, name) != getattr(usual, name)}
        settings = replace(settings, **{name: QUICK[name] for name in QUICK.keys() - given})
    if settings.batch_size % scale.BLOCKS:
        parser.error(f"--batch-size must be a multiple of {scale.BLOCKS}")
    folder = Path(common.out) / ("bench_scale-smoke" if common.smoke else "bench_scale")
    with parser.refusing():
        jobs.check_writable(folder)
    began = time.perf_counter()
    with parser.refusing(RuntimeError):
        numbers = measured(settings, jax.default_backend())
    found = {
        "settings": asdict(settings), "versions": record.versions(), "device": record.device(),
        **numbers,
    }  # fmt: skip
    write(folder, found)
    print("\n".join([*scale_telling.lines(found), words.duration(time.perf_counter() - began)]))
    return 0


def write(folder: Path, found: dict[str, Any]) -> None:
    """The record, the tables, and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record.plain(found), indent=2) + "\n"
    files.write(folder / record.RESULTS, lambda file: file.write(text.encode()))
    table = "\n".join(scale_telling.lines(found)) + "\n"
    files.write(folder / "table.md", lambda file: file.write(table.encode()))
    with mpl.rc_context(style.PARAMETERS):
        style.save(scale_telling.draw(found), folder)


if __name__ == "__main__":
    sys.exit(main())
