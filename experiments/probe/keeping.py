"""A finished result in its folder: read while what decides it stands, else computed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments import jobs
from experiments.lab import gate, lock, options, progress, record
from lincls import files

Arrays = Mapping[str, Mapping[str, np.ndarray]]


def finished(
    folder: Path, mark: str, again: bool, compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What results.json of a folder says; one program at a time computes it.

    Args:
        folder: of the result.
        mark: the fingerprint of all that decides it.
        again: compute it even if it stands.
        compute: computes, saves and returns it.
    """
    jobs.check_writable(folder)
    with lock.held(folder, lambda: progress.say(f"waiting for another probe in {folder}")):
        found = None if again else _standing(folder, mark)
        if found is None:
            return compute()
        progress.say("already finished; --again computes it again")
        return found


def _standing(folder: Path, mark: str) -> dict[str, Any] | None:
    try:
        found = files.read_json(folder / record.RESULTS)
    except (OSError, ValueError):
        return None
    return found if found.get("fingerprint") == mark else None


def provenance(common: options.Common, settings: Any, data: gate.Data, mark: str) -> dict[str, Any]:
    """What results.json says beside the numbers."""
    return {
        "fingerprint": mark, "seed": common.seed,
        "command": options.command("experiments.probe", common, settings),
        "data": record.of_data(data), "versions": record.versions(), "device": record.device(),
        "test_set": {"times_used": len(data.test_uses), "for": data.test_uses},
    }  # fmt: skip


def save(folder: Path, found: dict[str, Any], arrays: Arrays, texts: Mapping[str, str]) -> None:
    """All files of a result, and results.json last: where it stands, all stands.

    Args:
        folder: of the result.
        found: what results.json says.
        arrays: by the name of the .npz file.
        texts: by the name of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / record.RESULTS).unlink(missing_ok=True)
    for name, named in arrays.items():
        files.write(folder / f"{name}.npz", lambda f, a=named: files.save_npz(f, **a))  # type: ignore[misc]
    for name, text in texts.items():
        files.write(folder / name, lambda f, t=text: f.write(t.encode()))  # type: ignore[misc]
    files.write_json(folder / record.RESULTS, found)
