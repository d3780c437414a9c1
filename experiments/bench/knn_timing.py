"""Timing engines against ours in rounds that alternate, so that a drifting machine cancels.

In a duel a round is ours, then the peer; the ratio is taken within the round, and the median of
the ratios counts.  An engine that is slower than its share of the time gets fewer queries.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.bench import knn_oracles
from experiments.bench.knn_engines import OURS, Engine, Search
from experiments.bench.knn_oracles import Right
from experiments.bench.timing import timed
from experiments.lab import progress

SHORT = 0.05  # seconds; a shorter call is repeated until it takes so long


class Problem(NamedTuple):
    """Training rows, queries, the metric's name, and the number of neighbours."""

    X: np.ndarray
    queries: np.ndarray
    metric: str
    k: int


class Effort(NamedTuple):
    """How many queries are checked, how many rounds are timed, and seconds for each duel."""

    checked: int
    rounds: int
    seconds: float


class Ready(NamedTuple):
    """An engine with its model built: what that and the first call took, and its answers."""

    engine: Engine
    search: Search
    first_build: float
    build: float
    first_call: float
    right: Right


Check = Callable[[Engine, Any], Right]  # judges (indices, distances) of the checked queries


def closely(problem: Problem, checked: np.ndarray) -> Check:
    """How many answers are those of float64 up to rounding, of the first queries."""
    X, _, metric, k = problem
    truth = knn_oracles.nearest(knn_oracles.float_table, X, checked, metric, k)
    return lambda _, found: knn_oracles.close(truth, found, X, checked, metric)


def ready(engine: Engine, problem: Problem, effort: Effort, check: Check) -> Ready | None:
    """Build twice, as the first build may compile, and search once; None without the metric."""
    arguments = (problem.X, problem.metric, problem.k)
    first_build, search = timed(lambda: engine.build(*arguments))
    if search is None:
        return None
    search = None  # two models might not fit where one does
    build, search = timed(lambda: engine.build(*arguments))
    checked = problem.queries[: effort.checked]
    first_call, found = timed(lambda: tuple(np.asarray(part) for part in search(checked)))
    return Ready(engine, search, first_build, build, first_call, check(engine, found))


def affordable(one: Ready, queries: np.ndarray, checked: int, seconds: float) -> int:
    """How many of the queries the engine searches for in so many seconds, at least one."""
    few = queries[:checked]
    again = one.first_call
    if again < seconds or one.engine in OURS:  # ours compiled in the first
        again = timed(lambda: one.search(few))[0]
    return int(np.clip(seconds * len(few) / again, 1, len(queries)))


def duel(ours: Ready, peer: Ready, queries: np.ndarray, effort: Effort) -> tuple[Any, list[int]]:
    """Seconds per query (rounds, 2) of both, after a round to warm up, and on how many queries."""
    share = effort.seconds / 2 / (effort.rounds + 1)
    both = (ours, peer)
    counts = [affordable(one, queries, effort.checked, share) for one in both]
    calls = [lambda one=one, count=count: one.search(queries[:count])
             for one, count in zip(both, counts, strict=True)]  # fmt: skip
    repeats = [max(1, round(min(share, SHORT) / timed(call)[0])) for call in calls]

    def once(call: Callable[[], Any], repeat: int, count: int) -> float:
        return timed(lambda: [call() for _ in range(repeat)])[0] / (repeat * count)

    rounds = [list(map(once, calls, repeats, counts)) for _ in range(effort.rounds + 1)]
    return np.array(rounds[1:]), counts


def contest(
    engines: Sequence[Engine], problem: Problem, effort: Effort, check: Check
) -> list[dict[str, Any]]:
    """A row per engine, the first of which is ours and meets each of the others."""
    what = f"{problem.metric}, k = {problem.k}"
    ours = ready(engines[0], problem, effort, check)
    assert ours is not None
    rows, of_ours, count = [], [], 0
    for engine in engines[1:]:
        progress.say(f"{what}: {engine.name}")
        peer = ready(engine, problem, effort, check)
        if peer is None:
            continue
        times, counts = duel(ours, peer, problem.queries, effort)
        whole = len(problem.queries) * times + [ours.build, peer.build]
        ratios = {
            "search_ratio": np.median(times[:, 1] / times[:, 0]),
            "whole_ratio": np.median(whole[:, 1] / whole[:, 0]),
        }
        rows.append(row(peer, problem, effort, times[:, 1], counts[1]) | ratios)
        of_ours.append(times[:, 0])
        count = counts[0]
        del peer
    first = row(ours, problem, effort, np.concatenate(of_ours), count)
    return [first | {"search_ratio": 1.0, "whole_ratio": 1.0}, *rows]


def row(one: Ready, problem: Problem, effort: Effort, each: Any, count: int) -> dict[str, Any]:
    """What is recorded of an engine; `each` are seconds per query, a round each."""
    return {
        "engine": one.engine.name, "metric": problem.metric, "k": problem.k,
        "N": len(problem.X), "D": problem.X.shape[1],
        "first_build": one.first_build, "build": one.build, "first_call": one.first_call,
        "each": float(np.median(each)), "per_second": float(1 / np.median(each)),
        "rounds": len(each), "queries": count, "all_queries": len(problem.queries),
        "checked": min(effort.checked, len(problem.queries)),
        "right_indices": one.right.indices, "right_distances": one.right.distances,
    }  # fmt: skip
