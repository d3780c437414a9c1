"""Seconds of calls, in rounds that alternate, so that a drifting machine cancels."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, and its result."""
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def alternate(
    calls: Mapping[Any, Callable[[], Any]], rounds: int, until: float = math.inf
) -> dict[Any, list[float]]:
    """Seconds of each call, a round after another; after the time `until` none begins."""
    seconds: dict[Any, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(timed(call)[0])
        if time.monotonic() > until:
            break
    return seconds


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over the rounds of one's seconds over the other's."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def medians(calls: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, float]:
    """The median of each call over rounds that alternate, after one that compiles."""
    alternate(calls, 1)
    return {name: statistics.median(each) for name, each in alternate(calls, rounds).items()}


def median(call: Callable[[], Any], rounds: int) -> float:
    """The median of some rounds, after one that compiles."""
    return medians({"": call}, rounds)[""]
