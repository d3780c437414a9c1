"""How long exact neighbours take, beside the engines that people use, in one run.

    python -m experiments.bench_knn --dataset cifar10 --minutes 15

Everyone finds the k nearest training images of the same test images, as uint8 where the
engine takes bytes and as float32 where it does not.  A plain search by numpy in 64-bit
integers says how many of an engine's answers are right, ties in order of index.  An engine
that is slower than its share of the minutes is timed on fewer queries, and the table says on
how many.  First calls, which compile and build indexes, are apart.
"""

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np

from experiments.lab import gate, options, progress, record, style, words
from experiments.lab.experiment import Plot
from experiments.lab.options import flag
from lincls import data, distances, knn

Search = Callable[[np.ndarray], Any]  # queries -> (indices, distances) or None where unordered
METRICS = {"l1": distances.l1, "l2": distances.l2}


@dataclass(frozen=True)
class Settings:
    minutes: float = flag(10.0, "time of the comparison, shared by the engines", low=0.05)
    num_train: int = flag(50_000, "training images, the first ones", low=100, smoke=300)
    num_queries: int = flag(10_000, "test images, the first ones", low=1, smoke=20)
    num_checked: int = flag(64, "queries whose answers are compared with the oracle", low=1)
    ks: tuple[int, ...] = flag((10, 1, 100), "neighbours; engines are compared at the first", low=1)
    parts: tuple[int, ...] = flag((8, 4, 2, 1), "growth: on 1/8, 1/4, ... of the images", low=1)
    rounds: int = flag(5, "timed calls, of which the median counts", low=1, smoke=1)


class Engine(NamedTuple):
    """A way to search: `build(X, metric, k)` gives a function of queries, or None."""

    name: str
    package: str
    build: Callable[[np.ndarray, str, int], Search | None]


# --- the engines -----------------------------------------------------------------------------


def lincls(X: np.ndarray, metric: str, k: int, prune: bool = True) -> Search:
    model = knn.fit(X, metric=METRICS[metric], prune=prune)
    jax.block_until_ready(model)

    def search(queries: np.ndarray) -> Any:
        found = knn.neighbors(model, queries, k)
        return found.indices, found.distances

    return search


def lincls_unpruned(X: np.ndarray, metric: str, k: int) -> Search:
    return lincls(X, metric, k, prune=False)


def faiss_flat(X: np.ndarray, metric: str, k: int) -> Search:
    import faiss

    kind = {"l1": faiss.METRIC_L1, "l2": faiss.METRIC_L2}[metric]
    index = faiss.IndexFlat(X.shape[1], kind)
    if metric == "l2":
        index = faiss.IndexFlatL2(X.shape[1])
    index.add(X.astype(np.float32))
    return lambda queries: index.search(queries.astype(np.float32), k)[::-1]


def faiss_bytes(X: np.ndarray, metric: str, k: int) -> Search | None:
    import faiss

    if metric != "l2":
        return None
    index = faiss.IndexScalarQuantizer(X.shape[1], faiss.ScalarQuantizer.QT_8bit_direct)
    index.add(X.astype(np.float32))
    return lambda queries: index.search(queries.astype(np.float32), k)[::-1]


def opencv(X: np.ndarray, metric: str, k: int) -> Search:
    import cv2

    kind, out = {"l1": (cv2.NORM_L1, cv2.CV_32S), "l2": (cv2.NORM_L2SQR, cv2.CV_32S)}[metric]
    return lambda queries: cv2.batchDistance(queries, X, out, normType=kind, K=k)[::-1]


def torch_cdist(X: np.ndarray, metric: str, k: int) -> Search:
    import torch

    rows, power = torch.from_numpy(X.astype(np.float32)), float(metric[1])

    def search(queries: np.ndarray) -> Any:
        found = [
            torch.topk(torch.cdist(part, rows, p=power), k, largest=False)
            for part in torch.from_numpy(queries.astype(np.float32)).split(256)
        ]
        values, indices = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return indices, values**2 if metric == "l2" else values

    return search


def torch_int(X: np.ndarray, metric: str, k: int) -> Search | None:
    """L2 by torch's int8 product of pixels minus 128, and `topk`."""
    import torch

    if metric != "l2":
        return None
    signed = lambda pixels: torch.from_numpy((pixels ^ 128).view(np.int8))  # noqa: E731
    rows = signed(X)
    norms = (rows.int() ** 2).sum(dim=1, dtype=torch.int32)

    def search(queries: np.ndarray) -> Any:
        found = []
        for q in signed(queries).split(256):
            own = (q.int() ** 2).sum(dim=1, keepdim=True, dtype=torch.int32)
            table = own + norms - 2 * torch._int_mm(q.contiguous(), rows.T)
            found.append(torch.topk(table, k, largest=False))
        values, indices = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return indices, values

    return search


def numkong_cdist(X: np.ndarray, metric: str, k: int) -> Search | None:
    import numkong

    if metric != "l2":
        return None

    def search(queries: np.ndarray) -> Any:
        table = np.asarray(numkong.cdist(queries, X, "sqeuclidean"))
        nearest = np.argpartition(table, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(table, nearest, axis=1)
        order = np.argsort(values, axis=1)
        return (np.take_along_axis(part, order, axis=1) for part in (nearest, values))

    return search


def usearch_exact(X: np.ndarray, metric: str, k: int) -> Search | None:
    from usearch.index import search as exact_search

    if metric != "l2":
        return None
    rows = (X ^ 128).view(np.int8)

    def search(queries: np.ndarray) -> Any:
        found = exact_search(rows, (queries ^ 128).view(np.int8), k, metric="l2sq", exact=True)
        return found.keys.reshape(len(queries), k), found.distances.reshape(len(queries), k)

    return search


def scikit_learn(X: np.ndarray, metric: str, k: int) -> Search:
    from sklearn.neighbors import NearestNeighbors

    name = {"l1": "manhattan", "l2": "sqeuclidean"}[metric]
    model = NearestNeighbors(n_neighbors=k, algorithm="brute", metric=name, n_jobs=-1)
    model.fit(X.astype(np.float32))
    return lambda queries: model.kneighbors(queries.astype(np.float32))[::-1]


def the_lecture(X: np.ndarray, metric: str, k: int) -> Search:
    """Slide 16's loop over the test images, with room for the differences."""
    rows, power = X.astype(np.int32), int(metric[1])

    def search(queries: np.ndarray) -> Any:
        tables = (np.sum(np.abs(rows - q.astype(np.int32)) ** power, axis=1) for q in queries)
        nearest = [
            (order := np.argsort(table, kind="stable")[:k], table[order]) for table in tables
        ]
        return (np.stack(parts) for parts in zip(*nearest, strict=True))

    return search


ENGINES = [
    Engine("lincls", "lincls", lincls),
    Engine("lincls, unpruned", "lincls", lincls_unpruned),
    Engine("FAISS IndexFlat, float32", "faiss", faiss_flat),
    Engine("FAISS QT_8bit_direct", "faiss", faiss_bytes),
    Engine("OpenCV batchDistance", "cv2", opencv),
    Engine("torch cdist + topk, float32", "torch", torch_cdist),
    Engine("torch _int_mm + topk", "torch", torch_int),
    Engine("NumKong cdist + argpartition", "numkong", numkong_cdist),
    Engine("USearch exact, int8", "usearch", usearch_exact),
    Engine("scikit-learn brute, float32", "sklearn", scikit_learn),
    Engine("the lecture's loop", "numpy", the_lecture),
]
PACKAGES = {"faiss": "faiss-cpu", "cv2": "opencv-python-headless"}


def missing() -> list[str]:
    """What to install for the engines that cannot take part."""
    wanted = dict.fromkeys(engine.package for engine in ENGINES)
    return [PACKAGES.get(name, name) for name in wanted if not importlib.util.find_spec(name)]


# --- measuring -------------------------------------------------------------------------------


def oracle(X: np.ndarray, queries: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, ...]:
    """Indices and distances of the nearest, in 64-bit integers, by (distance, index)."""
    rows, power = X.astype(np.int64), int(metric[1])
    tables = np.stack([np.sum(np.abs(rows - q) ** power, axis=1) for q in queries.astype(np.int64)])
    order = np.argsort(tables, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(tables, order, axis=1)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def measure(
    engine: Engine, problem: tuple[np.ndarray, np.ndarray, str, int], truth: Any,
    settings: Settings, seconds: float,
) -> dict[str, Any] | None:  # fmt: skip
    """Queries a second, on as many queries as fit `seconds`, and how many answers are right."""
    X, queries, metric, k = problem
    built, search = timed(lambda: engine.build(X, metric, k))
    if search is None:
        return None
    checked = queries[: settings.num_checked]
    first, found = timed(lambda: tuple(np.asarray(part) for part in search(checked)))
    same = [bool(np.array_equal(a, b)) for a, b in zip(found, truth, strict=True)]
    again, _ = timed(lambda: search(checked))
    count = int(np.clip(seconds / settings.rounds * len(checked) / again, 1, len(queries)))
    times = [timed(lambda: search(queries[:count]))[0] for _ in range(settings.rounds)]
    return {
        "engine": engine.name, "metric": metric, "k": k, "queries": count, "build": built,
        "first_call": first, "per_second": count / statistics.median(times),
        "indices_equal": same[0], "distances_equal": same[1], "rounds": settings.rounds,
    }  # fmt: skip


def engines(X: np.ndarray, queries: np.ndarray, settings: Settings) -> Iterator[dict[str, Any]]:
    """Every engine on both metrics at the first k; lincls at the other ks as well."""
    able = [engine for engine in ENGINES if importlib.util.find_spec(engine.package)]
    seconds = 60 * settings.minutes / (2 * len(able) + 2 * len(settings.ks))
    for metric in METRICS:
        for place, k in enumerate(settings.ks):
            truth = oracle(X, queries[: settings.num_checked], metric, k)
            for engine in able if place == 0 else able[:1]:
                progress.say(f"{metric}, k = {k}: {engine.name}")
                problem = (X, queries, metric, k)
                row = measure(engine, problem, truth, settings, seconds)
                if row is not None:
                    yield row


def growth(X: np.ndarray, queries: np.ndarray, settings: Settings) -> list[dict[str, Any]]:
    """Seconds per query of lincls on parts of the images, pruned and not."""
    rows = []
    for part in settings.parts:
        some = X[: len(X) // part]
        for metric in METRICS:
            for prune in (True, False):
                search = lincls(some, metric, settings.ks[0], prune)
                few = queries[: 256 if prune else 64]
                search(few)
                times = [timed(lambda: search(few))[0] for _ in range(settings.rounds)]  # noqa: B023
                seconds = statistics.median(times) / len(few)
                rows.append({"metric": metric, "pruned": prune, "N": len(some), "each": seconds})
    return rows


# --- what is said about it -------------------------------------------------------------------


def lines(found: dict[str, Any]) -> list[str]:
    """The table, for reading."""
    told = [f"{'metric':6} {'k':>4} {'engine':29} {'queries/s':>10} {'ours over':>9}  on queries"]
    for row in found["engines"]:
        ours = next(r for r in found["engines"] if r["metric"] == row["metric"])["per_second"]
        right = "exact" if row["indices_equal"] and row["distances_equal"] else "not exact"
        told.append(
            f"{row['metric']:6} {row['k']:4} {row['engine']:29} {row['per_second']:10.1f} "
            f"{ours / row['per_second']:8.1f}x  {row['queries']:,}, {right}"
        )
    return [*told, "", growth_sentence(found["growth"])]


def power(rows: list[dict[str, Any]]) -> float:
    """The p of seconds ~ N**p."""
    counts, times = (np.log([row[name] for row in rows]) for name in ("N", "each"))
    return float(np.polyfit(counts, times, 1)[0]) if len(rows) > 1 else 0.0


def growth_sentence(rows: list[dict[str, Any]]) -> str:
    said = []
    for metric in METRICS:
        for pruned in (False, True):
            of = [row for row in rows if (row["metric"], row["pruned"]) == (metric, pruned)]
            kind = "pruned" if pruned else "brute force"
            said.append(f"{metric.upper()} {kind} N^{power(of):.2f}")
    return "Time per query grows like " + ", ".join(said) + " (1 is linear)."


def draw(found: dict[str, Any]) -> Plot:
    """Time per query against N, brute force and pruned."""
    rows = found["growth"]
    figure, axes = style.canvas(height=3.6, title=growth_sentence(rows))
    for metric in METRICS:
        for pruned, line in ((False, "--"), (True, "-")):
            of = [row for row in rows if (row["metric"], row["pruned"]) == (metric, pruned)]
            counts, times = ([row[name] for row in of] for name in ("N", "each"))
            label = f"{metric.upper()} {'pruned' if pruned else 'brute force'}"
            milliseconds = 1000 * np.array(times)
            axes.plot(
                counts, milliseconds, line, marker="o", color=style.COLORS[metric], label=label
            )
    axes.set(xscale="log", yscale="log", xlabel="training images N", ylabel="time per query (ms)")
    axes.legend()
    return Plot(
        "growth", figure, "Medians, on logarithmic axes.", "Line chart. " + lines(found)[-1]
    )


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; print the table, write results.json and growth.png."""
    groups = {"bench_knn": Settings}
    parser = options.build("python -m experiments.bench_knn", __doc__ or "", groups, lambda: "")
    common, chosen = options.parse(parser, groups, argv)
    settings: Settings = chosen["bench_knn"]
    loaded = gate.load(common.dataset, common.data_dir, common.data_url)
    X = np.ascontiguousarray(data.rows(loaded.train.images)[: settings.num_train])
    queries = np.ascontiguousarray(data.rows(loaded.test.images)[: settings.num_queries])
    if X.dtype != np.uint8:
        parser.error(f"the comparison is on uint8 pixels; {loaded.name} has {X.dtype}")
    for package in missing():
        progress.say(f"{package} is not installed and takes no part: pip install {package}")
    began = time.perf_counter()
    found = {
        "settings": asdict(settings), "versions": record.versions(), "device": record.device(),
        "data": f"{loaded.name}, {loaded.source.description}", "shape": list(X.shape),
        "missing": missing(), "engines": list(engines(X, queries, settings)),
        "growth": growth(X, queries, settings),
    }  # fmt: skip
    write(Path(common.out) / ("bench_knn-smoke" if common.smoke else "bench_knn"), found)
    print("\n".join([*lines(found), words.duration(time.perf_counter() - began)]))
    return 0


def write(folder: Path, found: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record.plain(found), indent=2) + "\n"
    record.write_file(folder / record.RESULTS, lambda file: file.write(text.encode()))
    with mpl.rc_context(style.PARAMETERS):
        style.save(draw(found), folder)


if __name__ == "__main__":
    sys.exit(main())
