"""The record of an experiment: results.json with its provenance, and arrays.npz beside it.

A record carries the `fingerprint` of everything that decides its numbers.
"""

import dataclasses
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.lab.experiment import Classifier, Outcome
from experiments.lab.gate import Data
from lincls import files

RESULTS = "results.json"
ARRAYS = "arrays.npz"
PARTS = {"fingerprint", "settings", "seed", "data", "numbers", "classifiers", "seconds"}


@dataclasses.dataclass(frozen=True)
class Record:
    """What `findings`, `draw` and the page read.

    Attributes:
        meta: results.json as it stands on disk.
        arrays: the arrays beside it.
    """

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def numbers(self) -> dict[str, Any]:
        return self.meta["numbers"]

    @property
    def settings(self) -> dict[str, Any]:
        return self.meta["settings"]

    @property
    def seconds(self) -> dict[str, float]:
        return self.meta["seconds"]

    @property
    def data(self) -> dict[str, Any]:
        return self.meta["data"]

    @property
    def classifiers(self) -> list[Classifier]:
        return [Classifier(**row) for row in self.meta["classifiers"]]

    @property
    def class_names(self) -> list[str]:
        return self.data["class_names"]

    @property
    def image_shape(self) -> tuple[int, ...]:
        return tuple(self.data["image_shape"])


def versions() -> dict[str, str]:
    """The versions of what computes, and the commit of the checkout if there is one."""
    found = {"python": platform.python_version(), "commit": _commit()}
    for package in ("lincls", "jax", "jaxlib", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _commit() -> str:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no checkout"


def device() -> dict[str, Any]:
    """What the numbers were computed on."""
    first = jax.devices()[0]
    kind = platform.machine() if first.platform == "cpu" else first.device_kind
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"platform": first.platform, "kind": kind, "count": jax.device_count(), "cores": cores}


def of_data(data: Data) -> dict[str, Any]:
    """What a record says about the data."""
    return {
        "name": data.name,
        "source": data.source,
        "digest": data.digest,
        "num_train": len(data.train.labels),
        "num_test": data.num_test,
        "class_names": data.class_names,
        "image_shape": list(data.image_shape),
        "levels": list(data.levels),
    }


def save(folder: Path, meta: dict[str, Any], outcome: Outcome) -> None:
    """Write a finished experiment.  results.json comes last: where it stands, all stands."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).unlink(missing_ok=True)
    arrays = {name: np.asarray(array) for name, array in outcome.arrays.items()}
    files.write(folder / ARRAYS, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]
    body = meta | {
        "numbers": plain(outcome.numbers),
        "classifiers": [plain(row._asdict()) for row in outcome.classifiers],
        "seconds": plain(outcome.seconds),
    }
    files.write_json(folder / RESULTS, body)


def load(folder: Path) -> Record | None:
    """The record in a folder, or None where no finished and undamaged one stands."""
    try:
        found = Record(files.read_json(folder / RESULTS), dict(files.read_npz(folder / ARRAYS)))
    except (ValueError, OSError):
        return None
    return found if found.meta.keys() >= PARTS else None


def plain(value: Any) -> Any:
    """A value as JSON knows it: numpy and JAX numbers and arrays become numbers and lists."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    return value
