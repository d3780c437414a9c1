"""How good embeddings are: a linear probe and a kNN probe, tested once.

    python -m experiments.probe --dataset FILE.npz --shots 1 4 16 all --folds 5
    python -m experiments.probe --dataset FILE.npz --folds 5 grouped

Features (N, D), floating or uint8, and labels come from any --dataset.  The strength of the
linear probe (softmax with L2) and the k of every kNN probe are chosen on a validation part of
the training set, or on folds of it.  Folds are stratified or grouped: no group of the file's
array `groups` (a patient, a writer, a source) is in two of them.  Then each probe is fitted to
the whole training set, and the test set is opened once for all of them.  A few-shot probe learns
from so many examples of each class, and chooses on all held-out ones.

An interval covers the draw of the test examples.  --seeds repeats everything that is random: the
validation part or the folds, the few shots, the batches.  A number is the mean over the seeds, and
its interval contains their spread.

Finished parts are kept.  After Ctrl-C, or after the program was killed, the same command goes on.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax

from experiments import run
from experiments.lab import options, progress, record
from experiments.lab.parts import Parts
from experiments.probe import (
    auditing,
    choosing,
    computing,
    jobs,
    keeping,
    store,
    together,
    writing,
)
from experiments.probe.jobs import Job
from experiments.probe.multilabel import program as multilabel
from experiments.report import probe as report
from experiments.report import words

_STOPPED = list[BaseException]()  # keeps the arrays that threads of XLA may still read


def finished(job: Job) -> dict[str, Any]:
    """The results of a job, read or computed, and their page."""
    found = keeping.finished(job.folder, job.mark, job.common.again, partial(computed, job))
    if not report.stands(job.folder):
        report.write(job.folder, found, writing.of_sets(found))
    return found


def computed(job: Job) -> dict[str, Any]:
    """Compute the results of a job, and write them."""
    mark = store.mark_of_parts(Path(choosing.__file__), job.settings, job.digest)
    began, settings = time.perf_counter(), job.settings
    numbers, arrays = computing.compute(job, Parts(job.home / "parts", mark, job.common.again))
    found = record.plain(
        keeping.provenance(job.common, settings, job.data, job.mark)
        | {"settings": asdict(settings)
           | {"num_folds": settings.num_folds, "grouped": settings.grouped},
           "parts": mark, "name": job.name, "seconds": time.perf_counter() - began}
        | numbers
    )  # fmt: skip
    keeping.save(job.folder, found, arrays, writing.texts(found))
    (job.folder / report.PAGE).unlink(missing_ok=True)  # of an earlier program
    return dict(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, compute, write the files, print the tables; the exit status."""
    try:
        if multilabel.is_meant(argv):
            return multilabel.run(argv)
        asked = jobs.read(argv, __doc__ or "", auditing.Common)
        if asked[0].common.audit:
            return max(auditing.run(j.data, j.common, j.settings, j.home) for j in asked)
        found = [_one_of(job, place, len(asked)) for place, job in enumerate(asked, 1)]
        if len(asked) > 1:
            print("\n".join(["", *together.lines([job.folder for job in asked], found)]))
    except (ValueError, OSError) as error:
        print(f"error: {options.sentence(error)}", file=sys.stderr)
        return 2
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print("error: memory ran out.  Finished parts are kept; fewer --strengths, --folds or "
              "--num-neighbors take less", file=sys.stderr)  # fmt: skip
        return 2
    except KeyboardInterrupt as stopped:
        _STOPPED.append(stopped)
        progress.say("Stopped. Finished parts are kept; the same command goes on.")
        return run.STOPPED
    return 0


def _one_of(job: Job, place: int, num_jobs: int) -> dict[str, Any]:
    if num_jobs > 1:
        progress.say(f"{job.name} ({place} of {num_jobs})")
    found = finished(job)
    if num_jobs == 1:
        print("\n".join(writing.tables(found)))
    print(f"{words.duration(found['seconds'])}; wrote {job.folder}")
    return found


def leave(status: int) -> None:
    """End the program; after Ctrl-C at once, because threads of XLA may still compute."""
    if status == run.STOPPED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(main())
