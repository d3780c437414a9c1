"""A question on one data set with its settings: what it should take, and its record.

The record is read where nothing that decides it has changed, and computed otherwise.
"""

import dataclasses
import functools
import inspect
import re
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lab import fingerprint, gate, options, progress, record
from experiments.lab.experiment import Outcome, Question
from experiments.lab.parts import Parts
from experiments.loading import Broken
from experiments.report.findings import Report

DRAWING = 1.5  # seconds of a question that is read from its record


class Job(NamedTuple):
    """One question on one data set with its settings."""

    title: str
    question: Question
    report: Report
    settings: Any
    common: options.Drawn

    @property
    def source(self) -> Path:
        return Path(sys.modules[f"experiments.{self.title}"].__file__ or "")


def home(common: options.Common) -> Path:
    """The folder of a data set's results, within --out whatever the data are called."""
    return home_of(common, gate.of(common).name)


def home_of(common: options.Common, name: str) -> Path:
    """The folder of the results of data of a name."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:100] or "data"
    return Path(common.out) / (f"{plain}-smoke" if common.smoke else plain)


def check_writable(folder: Path) -> None:
    """Raise OSError with a message for people if files cannot be written in a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"--out: cannot write to {folder}: {error.strerror}") from None


def finished(job: Job, folder: Path) -> record.Record:
    """The job's record: the one on disk if nothing that decides it has changed, else a new one."""
    found = standing(job, folder)
    if found is not None:
        progress.say("    already finished; --again computes it again")
        return found
    data, parts = data_of(job), Parts(folder / "parts", _mark(job), job.common.again)
    began = time.perf_counter()
    outcome = _computed(job, data, parts)
    outcome.seconds["all"] = time.perf_counter() - began
    record.save(folder, _provenance(job, data), outcome)
    parts.clear()
    found = record.load(folder)
    if found is None:
        raise OSError(f"cannot read back what was just written to {folder}")
    return found


def _computed(job: Job, data: gate.Data, parts: Parts) -> Outcome:
    compute = job.question.compute
    if "parts" in inspect.signature(compute).parameters:
        compute = functools.partial(compute, parts=parts)  # type: ignore[call-arg]
    return compute(data, _key(job), job.settings)


def standing(job: Job, folder: Path) -> record.Record | None:
    """The record in a folder if it is the job's own, finished and of the code as it is now."""
    if isinstance(job.question, Broken):
        return None
    found = None if job.common.again else record.load(folder)
    return found if found and found.meta["fingerprint"] == _mark(job) else None


def expected(job: Job, folder: Path) -> progress.Expected:
    """Seconds that a job should take: from its own record, or a guess from the size of the data."""
    if standing(job, folder / job.title):
        return progress.Expected(DRAWING, measured=True)
    data, found = data_of(job), record.load(folder / job.title)
    if found and found.data["digest"] == data.digest:
        return progress.Expected(found.seconds["all"], measured=True)
    scale = progress.scale(len(data.train.labels) * int(np.prod(data.image_shape)))
    return progress.Expected(job.report.SECONDS * scale, measured=False)


def data_of(job: Job) -> gate.Data:
    return gate.Data(gate.of(job.common))


def _mark(job: Job) -> str:
    """The fingerprint of all that decides the job's numbers."""
    return _fingerprint(job.source, job.settings, job.common.seed, data_of(job).digest)


_fingerprint = functools.cache(fingerprint.of)  # which reads every file that counts


def _provenance(job: Job, data: gate.Data) -> dict[str, Any]:
    """What results.json says beside the numbers."""
    return {
        "experiment": job.title,
        "slides": job.report.SLIDES,
        "fingerprint": _mark(job),
        "settings": record.plain(dataclasses.asdict(job.settings)),
        "seed": job.common.seed,
        "smoke": job.common.smoke,
        "data": record.of_data(data),
        "versions": record.versions(),
        "device": record.device(),
        "test_set": {"times_used": len(data.test_uses), "for": data.test_uses},
    }


def _key(job: Job) -> jax.Array:
    """The key of a job, from the seed and the name: no two questions draw alike."""
    return jax.random.fold_in(jax.random.key(job.common.seed), zlib.crc32(job.title.encode()))
