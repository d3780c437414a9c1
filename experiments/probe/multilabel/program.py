"""The program for several labels a row: a linear and a kNN probe of features, tested once.

    python -m experiments.probe --dataset FILE.npz --folds 5

y_train and y_test are matrices (N, C) of 0 and 1.  The linear probe is binary cross-entropy with
L2 in each class, at its optimum; kNN gives each class its share among the k nearest.  One strength
and one k for all classes are chosen by mAP.  Then each probe is fitted to the whole training set,
and the test set is opened once for all of them.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from experiments import jobs
from experiments.lab import gate, options, record
from experiments.lab.parts import Parts
from experiments.probe import auditing, groups, keeping, settings, store
from experiments.probe.multilabel import computing, source, writing
from experiments.probe.multilabel.settings import Settings
from experiments.report import words
from lincls import files

_PROGRAM = "experiments.probe"
_GROUPS = "groups_test"


def is_meant(argv: Sequence[str] | None) -> bool:
    """Whether --dataset names a file whose labels are several a row."""
    path = _path(_typed(argv))
    return path is not None and source.has_matrices(path)


def _typed(argv: Sequence[str] | None) -> list[str]:
    return sys.argv[1:] if argv is None else list(argv)


def _path(typed: Sequence[str]) -> Path | None:
    """What --dataset names, a folder for one of its .npy files."""
    found = None
    for word, following in zip(typed, [*typed[1:], ""], strict=True):
        if word == "--dataset":
            found = following
        elif word.startswith("--dataset="):
            found = word.removeprefix("--dataset=")
    path = Path(found).expanduser() if found else None
    return path.parent if path is not None and path.suffix == ".npy" else path


def run(argv: Sequence[str] | None) -> int:
    """Read the command line, compute, write the files, print the table; the exit status."""
    typed = _typed(argv)
    parser = options.build(f"python -m {_PROGRAM}", __doc__ or "", {"probe": Settings},
                           lambda: "probe")  # fmt: skip
    path = _path(typed)
    assert path is not None
    with parser.refusing():
        _refuse_other_flags(typed, path)
        common, chosen = options.parse(parser, {"probe": Settings}, typed)
        data = gate.Data(source.read(path))
        chosen["probe"].check(len(data.train.labels))
        of_tests = _groups(path, data)
    found, folder = _finished(common, chosen["probe"], data, of_tests)
    print("\n".join([*writing.table(found), ""]))
    print(f"{words.duration(found['seconds'])}; wrote {folder}")
    return 0


def _refuse_other_flags(typed: Sequence[str], path: Path) -> None:
    """Raise ValueError for a flag of the probe of one label a row."""
    own = options.fields(options.Common) | options.fields(Settings)
    others = options.fields(settings.Settings) | options.fields(auditing.Common)
    flags = {f"--{name}".replace("_", "-") for name in others if name not in own}
    if wrong := [word for word in typed if word.split("=")[0] in flags]:
        raise ValueError(f"{wrong[0].split('=')[0]} is for one label a row; {path} has several")


def _groups(path: Path, data: gate.Data) -> np.ndarray | None:
    if not groups.has_array(str(path), _GROUPS):
        return None
    found: np.ndarray = groups.read_array(str(path), _GROUPS, data.num_test)
    return found


def _finished(
    common: options.Common, asked: Settings, data: gate.Data, of_tests: np.ndarray | None
) -> tuple[dict[str, Any], Path]:
    """The results, read or computed and written, and their folder."""
    grouped = np.zeros(0) if of_tests is None else of_tests
    digest = data.digest + files.digest([grouped])
    mark = store.mark_of(Path(computing.__file__), asked, common.seed, digest)
    home = jobs.home_of(common, data.name) / "probe"
    parts = Parts(home / "parts", mark, common.again)

    def compute() -> dict[str, Any]:
        began = time.perf_counter()
        numbers, arrays = computing.compute(data, of_tests, asked, common.seed, parts)
        seconds = time.perf_counter() - began
        about = {"settings": asdict(asked), "name": data.name, "seconds": seconds}
        where = keeping.provenance(common, asked, data, mark)
        found: dict[str, Any] = record.plain(where | about | numbers)
        keeping.save(home / mark, found, arrays, writing.texts(found))
        return found

    return keeping.finished(home / mark, mark, common.again, compute), home / mark
