"""What a probe chooses without the test set: a number of the linear probe, and the k of kNN."""

from typing import Any

import numpy as np

from experiments.lab import gate, progress
from experiments.lab.parts import NOWHERE, Parts
from experiments.probe.choosing.linear import choose_least_squares, choose_linear
from experiments.probe.choosing.neighbours import choose_knn, choose_knn_of, metrics, nearest, vote
from experiments.probe.choosing.tasks import (
    Task,
    View,
    held_out,
    power_of,
    prepared,
    tasks,
    to_choose,
    views,
)
from experiments.probe.probing import Chosen
from experiments.probe.settings import Settings

__all__ = [
    "Settings", "Task", "View", "choose", "choose_knn", "choose_linear", "held_out", "kinds",
    "nearest", "part_name", "power_of", "prepared", "tasks", "to_choose", "views", "vote",
]  # fmt: skip


def choose(
    data: gate.Data, settings: Settings, seed: int, groups: np.ndarray | None = None,
    parts: Parts = NOWHERE, clock: Any = None,
) -> tuple[Task, list[Chosen]]:  # fmt: skip
    """The last task, and every probe of every seed: seed by seed, shots by shots.

    Args:
        clock: called before each part with its name, such as "seed 0, shots all: linear".
    """
    chosen: list[Chosen] = []
    tell = clock or (lambda name: progress.say(f"{name}: choosing"))
    for task in tasks(data, settings, seed, groups, parts.folder):
        for shots in settings.shot_counts:
            for kind in kinds(settings):
                tell(part_name(task.seed, shots, kind))
                if kind == "linear":
                    chosen.append(choose_linear(task, shots, settings, parts))
                elif kind == "lsr":
                    chosen.append(choose_least_squares(task, shots, settings, parts))
                else:
                    chosen += choose_knn_of(kind, task, shots, settings, parts)
    return task, chosen


def kinds(settings: Settings) -> list[str]:
    """What is chosen apart: each linear probe, and the kNN probes of each metric."""
    return [*(each for each in ("linear", "lsr") if each in settings.probes), *metrics(settings)]


def part_name(seed: int, shots: str, kind: str) -> str:
    """What progress calls a part."""
    return f"seed {seed}, shots {shots}: {kind}"
