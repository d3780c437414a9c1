"""How good embeddings are: a linear probe and a kNN probe, tested once.

    python -m experiments.probe --dataset FILE.npz --shots 1 4 16 all --folds 5
    python -m experiments.probe --dataset FILE.npz --folds 5 grouped

Features (N, D), floating or uint8, and labels come from any --dataset.  The strength of the
linear probe (softmax with L2) and the k of every kNN probe are chosen on a validation part of
the training set, or on folds of it, stratified or grouped (no patient, writer or source is in
two of them; the file's array `groups` says who belongs together); then each is fitted to
everything but the test set, and the test set is opened once for all of them.  Few-shot results
draw so many examples of each class to learn from, and choose on all held-out ones.

An interval speaks of other test examples.  What --seeds repeats is everything drawn: the
validation part or the folds, the few shots, the batches; that spread is shown apart.
"""

import csv
import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.lab import gate, options, record
from experiments.probe import probing, results
from experiments.probe.choosing import Settings, compute, held_out, read_groups
from experiments.report import words
from lincls import checks, files


def save(folder: Path, found: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """results.csv and predictions.npz, and results.json last: where it stands, all stands."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / record.RESULTS).unlink(missing_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found["results"][0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found["results"])
    files.write(folder / "results.csv", lambda f: f.write(text.getvalue().encode()))
    files.write(folder / "predictions.npz", lambda f: np.savez(f, **arrays))  # type: ignore[arg-type]
    body = json.dumps(record.plain(found), indent=2, allow_nan=False) + "\n"
    files.write(folder / record.RESULTS, lambda f: f.write(body.encode()))


def refuse(settings: Settings, data: gate.Data, groups: np.ndarray | None) -> None:
    """Raise ValueError for settings that do not fit together, or not these data."""
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
    held_out(jax.random.key(0), np.asarray(data.train.labels), settings, groups)
    checks.rows(data.train.images, "features")


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, compute, write the files, print the table."""
    groups = {"probe": Settings}
    parser = options.build("python -m experiments.probe", __doc__ or "", groups, lambda: "probe")
    common, chosen = options.parse(parser, groups, argv)
    settings: Settings = chosen["probe"]
    try:
        data = gate.Data(gate.of(common))
        together = None
        if settings.grouped and settings.num_folds:
            together = read_groups(common.dataset, settings.groups, len(data.train.labels))
        refuse(settings, data, together)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    began = time.perf_counter()
    try:
        computed, arrays = compute(data, settings, common.seed, together)
    except probing.Diverged as error:
        parser.error(str(error))
    found = {
        "settings": asdict(settings)
        | {"num_folds": settings.num_folds, "grouped": settings.grouped},
        "seed": common.seed, "data": record.of_data(data),
        "versions": record.versions(), "device": record.device(),
        "test_set": {"times_used": len(data.test_uses), "for": data.test_uses},
        "seconds": time.perf_counter() - began, **computed,
    }  # fmt: skip
    folder = Path(common.out) / (f"{data.name}-smoke" if common.smoke else data.name) / "probe"
    save(folder, found, arrays)
    print("\n".join([results.caption(found), "", *results.table(found), ""]))
    print(f"{words.duration(found['seconds'])}; wrote {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
