"""How good embeddings are: a linear probe and a kNN probe, tested once.

    python -m experiments.probe --dataset FILE.npz --shots 1 4 16 all --folds 5
    python -m experiments.probe --dataset FILE.npz --folds 5 grouped

Features (N, D), floating or uint8, and labels come from any --dataset.  The strength of the
linear probe (softmax with L2) and the k of every kNN probe are chosen on a validation part of
the training set, or on folds of it, stratified or grouped (no patient, writer or source is in
two of them; the file's array `groups` says who belongs together); then each is fitted to
everything but the test set, and the test set is opened once for all of them.  Few-shot results
draw so many examples of each class to learn from, and choose on all held-out ones.

An interval covers the draw of the test examples.  --seeds repeats everything that is random: the
validation part or the folds, the few shots, the batches.  Their spread is shown apart.

Finished parts are kept.  After Ctrl-C, or after the program was killed, the same command goes on.
"""

import csv
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import run
from experiments.lab import gate, lock, options, progress, record
from experiments.probe import auditing, choosing, measures, protocols, results, store, testing
from experiments.probe.groups import Groups, read_groups
from experiments.probe.settings import Settings
from experiments.report import words
from lincls import checks, files

_STOPPED = list[BaseException]()  # keeps the arrays that threads of XLA may still read


class Job(NamedTuple):
    """What was asked for, and the data."""

    settings: Settings
    common: auditing.Common
    data: gate.Data
    groups: Groups

    @property
    def digest(self) -> str:
        """Of the data and their groups."""
        groups = (np.zeros(0) if part is None else np.asarray(part) for part in self.groups)
        return self.data.digest + files.digest(groups)

    @property
    def mark(self) -> str:
        """The fingerprint of all that decides the results."""
        return store.mark_of(Path(__file__), self.settings, self.common.seed, self.digest)

    @property
    def home(self) -> Path:
        """The folder of all probes of data of this name."""
        return run.home(self.common) / "probe"

    @property
    def folder(self) -> Path:
        """The folder of these results; other data or settings have another."""
        return self.home / self.mark


# --- reading -----------------------------------------------------------------------------------


def refuse(settings: Settings, data: gate.Data, groups: np.ndarray | None) -> None:
    """Raise ValueError for settings that do not fit together, or not these data."""
    measures.check(settings.metrics)
    if not settings.shot_counts:
        raise ValueError("--shots must name a number of examples, or all")
    if settings.weakest > settings.strongest:
        raise ValueError(
            f"--weakest {settings.weakest:g} must be at most --strongest {settings.strongest:g}"
        )
    num_examples = len(data.train.labels)
    if not settings.num_folds and not 0 < settings.validation < 1:
        raise ValueError(f"--validation must be between 0 and 1, got {settings.validation:g}")
    most, of = num_examples, "training examples"
    if groups is not None:
        most, of = len(np.unique(groups)), f"groups in {settings.groups}"
    if settings.num_folds > most:
        raise ValueError(f"--folds {settings.num_folds}: there are only {most} {of}")
    choosing.held_out(jax.random.key(0), np.asarray(data.train.labels), settings, groups)
    checks.rows(data.train.images, "features")


def read(argv: Sequence[str] | None) -> Job:
    """The command line and the data; whatever is wrong with them ends the program."""
    groups = {"probe": Settings}
    parser = options.build(
        "python -m experiments.probe", __doc__ or "", groups, lambda: "probe", auditing.Common
    )
    typed = sys.argv[1:] if argv is None else list(argv)
    common, chosen = options.parse(parser, groups, typed, auditing.Common)
    with parser.refusing():
        settings = protocols.applied(chosen["probe"], typed)
        data = gate.Data(gate.of(common))
        together = read_groups(common.dataset, settings, data)
        refuse(settings, data, together.train)
    return Job(settings, common, data, together)


# --- computing ---------------------------------------------------------------------------------


def compute(job: Job, kept: store.Store) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose for all seeds, then open the test set: results for JSON, and arrays of two files."""
    settings, data, seed = job.settings, job.data, job.common.seed
    tell = Told(job, kept)
    task, chosen = choosing.choose(data, settings, seed, job.groups.train, kept, tell)
    tell(f"the test of {len(chosen)} probes")
    rows, predictions = [], []
    for one, outcome in testing.test(data, task, chosen, settings, kept):
        rows.append(results.row(one, outcome, settings.metrics, job.groups.test, settings.samples))
        predictions.append(outcome.predictions)
    names = {
        key: np.array([getattr(one, key) for one in chosen])
        for key in ("name", "probe", "shots", "seed")
    } | {"class_names": np.array(data.class_names)}
    unseen = np.setdiff1d(outcome.labels, data.train.labels)
    said = np.stack(predictions)
    found = {"results": rows, "spread": results.spread(rows, said, settings.metrics),
             "only_in_test": [data.class_names[c] for c in unseen],
             "test_groups": job.groups.test is not None}  # fmt: skip
    arrays = {"predictions": names | {"predictions": said, "labels": outcome.labels}}
    heads = [one for one in chosen if one.probe == "linear"]
    if heads:
        arrays["heads"] = {
            "W": np.stack([one.model.W for one in heads]),
            "b": np.stack([one.model.b for one in heads]),
            "name": np.array([one.name for one in heads]),
            "class_names": np.array(data.class_names),
            "normalise": np.array(settings.normalise),
            "exponent": np.array(choosing.power_of(data)),
        }
    return found, arrays


class Told:
    """Says which part begins, and the time left."""

    def __init__(self, job: Job, kept: store.Store) -> None:
        settings = job.settings
        size = progress.scale(job.data.train.images.size)
        names = [
            (choosing.part_name(seed, shots, kind), kind)
            for seed in range(job.common.seed, job.common.seed + settings.seeds)
            for shots in settings.shot_counts for kind in choosing.kinds(settings)
        ]  # fmt: skip
        self._clock = progress.Clock({
            name: progress.Expected(size * (10.0 if kind == "linear" else 2.0), measured=False)
            for name, kind in names
        })  # fmt: skip
        self._place, self._num, self._now = 0, len(names) + 1, ""

    def __call__(self, name: str) -> None:
        if self._now:
            self._clock.done(self._now)
        self._place, self._now = self._place + 1, name
        left = self._clock.left()
        time_left = "" if left is None else f" ({progress.told(left)} left)"
        what = "" if name.startswith("the test") else ": choosing"
        progress.say(f"[{self._place}/{self._num}] {name}{what}{time_left}")


# --- writing -----------------------------------------------------------------------------------


def save(folder: Path, found: dict[str, Any], arrays: dict[str, Any]) -> None:
    """All files of a result, and results.json last: where it stands, all stands."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / record.RESULTS).unlink(missing_ok=True)
    metrics = found["settings"]["metrics"]
    text = io.StringIO()
    lines = results.tidy(found["results"], metrics)
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    body = json.dumps(record.plain(found), indent=2, allow_nan=False) + "\n"
    texts = {
        "results.csv": text.getvalue(),
        "table.md": "\n".join([results.caption(found), "", *results.markdown(found, metrics), ""]),
        "table.tex": "\n".join([*results.latex(found, metrics), ""]),
    }
    for name, named in arrays.items():
        files.write(folder / f"{name}.npz", lambda f, a=named: files.save_npz(f, **a))  # type: ignore[misc]
    for name, content in (texts | {record.RESULTS: body}).items():
        files.write(folder / name, lambda f, c=content: f.write(c.encode()))  # type: ignore[misc]


def standing(job: Job) -> dict[str, Any] | None:
    """The results of this very job, if they are finished."""
    try:
        found = json.loads((job.folder / record.RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("fingerprint") == job.mark and not job.common.again else None


def finished(job: Job) -> dict[str, Any]:
    """Read the results, or compute and write them."""
    found = standing(job)
    if found is not None:
        progress.say("already finished; --again computes it again")
        return found
    mark = store.mark_of_parts(Path(choosing.__file__), job.settings, job.digest)
    kept = store.Store(job.home / "parts", mark, job.common.again)
    began = time.perf_counter()
    computed, arrays = compute(job, kept)
    found = {
        "settings": asdict(job.settings)
        | {"num_folds": job.settings.num_folds, "grouped": job.settings.grouped},
        "fingerprint": job.mark, "parts": mark,
        "seed": job.common.seed, "data": record.of_data(job.data),
        "versions": record.versions(), "device": record.device(),
        "test_set": {"times_used": len(job.data.test_uses), "for": job.data.test_uses},
        "seconds": time.perf_counter() - began, **computed,
    }  # fmt: skip
    save(job.folder, found, arrays)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, compute, write the files, print the table; the exit status."""
    try:
        job = read(argv)
        if job.common.audit:
            return auditing.run(job.data, job.common, job.settings, job.home)
        with lock.held(
            job.folder, lambda: progress.say(f"waiting for another probe in {job.folder}")
        ):
            found = finished(job)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
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
    metrics = job.settings.metrics
    print("\n".join([results.caption(found), "", *results.markdown(found, metrics), ""]))
    print(f"{words.duration(found['seconds'])}; wrote {job.folder}")
    return 0


def leave(status: int) -> None:
    """End the program; after Ctrl-C at once, because threads of XLA may still compute."""
    if status == run.STOPPED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(main())
