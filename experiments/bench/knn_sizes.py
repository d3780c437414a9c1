"""Small and middle sizes: rows, features and queries, beside brute force, trees and FAISS.

The points lie in ten Gaussian clouds of any number of features, so a tree helps where features are
few and no search can skip much where they are many.  scikit-learn itself uses brute force beyond
15 features; its trees are timed up to 64.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.bench import knn_data, knn_engines, knn_timing
from experiments.bench.knn_engines import Engine
from experiments.bench.knn_timing import Effort, Problem
from lincls import knn

Row = dict[str, Any]
_MOST_OF_TREES = 64  # features


class Sizes(NamedTuple):
    """The numbers of rows, of features and of queries, all of which are combined."""

    rows: tuple[int, ...]
    features: tuple[int, ...]
    queries: tuple[int, ...]


def compare(sizes: Sizes, k: int, seed: int, effort: Effort) -> list[Row]:
    """A row for each size, k at most all rows; `effort.seconds` are those of all together."""
    shapes = list(itertools.product(*sizes))
    each = effort._replace(seconds=effort.seconds / len(shapes))
    return [of_shape(shape, k, seed, each) for shape in shapes]


def of_shape(shape: tuple[int, int, int], k: int, seed: int, effort: Effort) -> Row:
    """Milliseconds for all queries of each engine, and the fastest peer's time over ours."""
    N, D, M = shape
    X, queries = knn_data.clouds(seed, (N, M), D)
    problem = Problem(X, queries, "l2", min(k, N))
    engines = able(D)
    check = knn_timing.closely(problem, queries[: effort.checked])
    shared = effort._replace(seconds=effort.seconds / max(1, len(engines) - 1))
    told = knn_timing.contest(engines, problem, shared, check)
    peers = told[1:]
    best = min(peers, key=lambda row: row["search_ratio"]) if peers else None
    return {
        "N": N, "D": D, "M": M, "k": problem.k,
        "route": knn.route(knn.fit(X), problem.k, num_queries=M),
        "seconds": {row["engine"]: M * row["each"] for row in told},
        "right": {row["engine"]: share_right(row) for row in told},
        "best": best["engine"] if best else None,
        "ratio": best["search_ratio"] if best else float("nan"),
    }  # fmt: skip


def share_right(row: Row) -> float:
    """The share of the checked queries of which indices and distances are right, at most."""
    return min(row["right_indices"], row["right_distances"]) / row["checked"]


def able(num_features: int) -> Sequence[Engine]:
    """The engines that are installed, without trees where features are many."""
    engines = knn_engines.able(knn_engines.SIZES)
    trees = [engine for engine in engines if engine.name.endswith("tree")]
    return [e for e in engines if num_features <= _MOST_OF_TREES or e not in trees]


def lines(rows: Sequence[Row]) -> list[str]:
    """A table: milliseconds of each engine, and how many times as long as ours the best takes."""
    names = [name.split(" ")[-1] for name in max((r["seconds"] for r in rows), key=len)]
    told = [
        f"Ten Gaussian clouds, float32, L2, k = {rows[0]['k']}: milliseconds for all queries; "
        "the ratio is the fastest peer's time over ours",
        f"{'rows':>7} {'features':>8} {'queries':>7} {'route':8} "
        + " ".join(f"{name:>12}" for name in names)
        + f" {'ratio':>6}  fastest peer",
    ]
    return told + [line(row, len(names)) for row in rows]


def line(row: Row, num_engines: int) -> str:
    times = [f"{1000 * seconds:12.2f}" for seconds in row["seconds"].values()]
    times += [f"{'-':>12}"] * (num_engines - len(times))
    wrong = [name for name, share in row["right"].items() if share < 1]
    beside = f"; not exact: {', '.join(wrong)}" if wrong else ""
    return (
        f"{row['N']:7,} {row['D']:8,} {row['M']:7,} {row['route']:8} {' '.join(times)} "
        f"{row['ratio']:6.2f}  {row['best']}{beside}"
    )
