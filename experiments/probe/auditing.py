"""The program of an audit: its flags, its files, and what it prints."""

import csv
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments import jobs
from experiments.lab import gate, options, record
from experiments.lab.options import flag
from experiments.probe import audit, store
from experiments.probe.audit import Asked, Audit, Finding
from experiments.probe.settings import Settings
from experiments.report import audit as told
from experiments.report import words
from lincls import files
from lincls.data.dataset import Split

RESULT = "audit.json"


@dataclass(frozen=True)
class Common(options.Common):
    """The shared flags, with those of the audit, which decide nothing of a probe."""

    audit: bool = flag(
        False, "audit the data instead: duplicates, labels that all neighbours contradict, and the "
        "Shapley value of each training example",
    )  # fmt: skip
    audit_k: int = flag(5, "neighbours that the audit looks at, and that vote", low=1)
    audit_near: float = flag(
        0.2, "near duplicates: up to this share of the median nearest distance", low=0
    )
    audit_tests: int = flag(
        1000, "test examples that Shapley values are averaged over at most, drawn with --seed; "
        "0: no values", low=0, smoke=50,
    )  # fmt: skip


def run(data: gate.Data, common: Common, settings: Settings, home: Path) -> int:
    """Compute, write the files, print the table; the exit status.

    Args:
        data: the data set, whose test part has not been opened.
        common: the shared flags.
        settings: of the probe; the audit reads `normalise`.
        home: the folder of all probes of data of this name.

    Raises:
        ValueError, OSError: a flag out of range; a folder that cannot be written.
    """
    if not 0 < common.audit_near < 1:
        raise ValueError(f"--audit-near must be between 0 and 1, got {common.audit_near:g}")
    asked = Asked(settings.normalise, common.audit_k, common.audit_near, common.audit_tests)
    mark = store.mark_of(Path(__file__), asked, common.seed, data.digest)
    folder = home / f"audit-{mark}"
    jobs.check_writable(folder)
    began = time.perf_counter()
    opened = data.open_test(audit.PURPOSE)
    found = audit.compute(data, opened, settings, asked, common.seed)
    body = _body(data, asked, found) | {
        "fingerprint": mark, "seed": common.seed, "seconds": time.perf_counter() - began
    }  # fmt: skip
    save(folder, data, opened, body, found)
    print("\n".join([*told.sentences(body), "", *told.table(body["counts"]), ""]))
    print(f"{words.duration(body['seconds'])}; wrote {folder}")
    sys.stdout.flush()
    return 0


def _body(data: gate.Data, asked: Asked, found: Audit) -> dict[str, Any]:
    """What audit.json holds, except for times and marks."""
    return {
        "settings": asdict(asked), "data": record.of_data(data), "near": found.near,
        "counts": audit.counts(found), "shapley": audit.of_values(found),
        "test_set": {"times_used": len(data.test_uses), "for": data.test_uses},
        "versions": record.versions(), "device": record.device(),
    }  # fmt: skip


def save(
    folder: Path, data: gate.Data, opened: Split, body: dict[str, Any], found: Audit
) -> None:  # fmt: skip
    """All files of an audit, and audit.json last: where it stands, all stands."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).unlink(missing_ok=True)
    text = as_csv(found.findings, data.class_names)
    files.write(folder / "audit.csv", lambda file: file.write(text.encode()))
    if found.shapley is not None:
        arrays = {"shapley": found.shapley, "labels": np.asarray(data.train.labels),
                  "test_rows": found.tests, "class_names": np.array(data.class_names)}  # fmt: skip
        files.write(folder / "audit.npz", lambda file: files.save_npz(file, **arrays))
    picture = _picture(data, opened, found)
    if picture is not None:
        files.write(folder / "audit.png", lambda file: file.write(picture))
    files.write_json(folder / RESULT, record.plain(body))


def _picture(data: gate.Data, opened: Split, found: Audit) -> bytes | None:
    """A picture where the data are images."""
    if data.train.images.ndim != 4:
        return None
    images = {audit.TRAIN: data.train.images, audit.TEST: opened.images}
    return told.picture(found, images, data.class_names, data.levels)


def as_csv(findings: Sequence[Finding], class_names: Sequence[str]) -> str:
    """A line for each finding, with the names of the classes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Finding._fields)
    for one in findings:
        names = {
            "label": words.csv_cell(class_names[one.label]),
            "other_label": words.csv_cell(class_names[one.other_label]),
        }  # fmt: skip
        writer.writerow((one._asdict() | names).values())
    return text.getvalue()
