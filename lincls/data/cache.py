"""The cache: each data set once more, as arrays that can be memory-mapped.

An entry is one .npz file, `NAME-KEY.npz`, whose key is the SHA-256 of the files that it
was made from; so it holds for any machine, and a copy of it in `directory()` or in
`data_dir` replaces the download.  It is written beside its place and renamed over it: a
reader sees the whole entry or none.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lincls.data import arrays
from lincls.data.dataset import Dataset, Source, Split

STALE = 24 * 3600  # seconds after which a half-written file has no writer any more


def directory() -> Path:
    """Return the folder of the cache: $LINCLS_CACHE, or `lincls` in the user's cache folder."""
    if chosen := os.environ.get("LINCLS_CACHE"):
        return Path(chosen).expanduser()
    parent = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(parent) if parent else Path.home() / ".cache") / "lincls"


def filename(name: str, checksums: Mapping[str, str]) -> str:
    """Return the name of the entry of a data set that was made from certain files.

    Args:
        name: of the data set.
        checksums: SHA-256 by file name; the key is that of the one file, or of this list.
    """
    key, *others = checksums.values()
    if others:
        lines = "".join(f"{sha256}  {file}\n" for file, sha256 in sorted(checksums.items()))
        key = hashlib.sha256(lines.encode()).hexdigest()
    return f"{name}-{key[:16]}.npz"


def read(path: Path) -> Dataset | None:
    """Return a data set from the cache, its images memory-mapped; None if it is not there.

    An entry that is damaged counts as not there, and the next `write` replaces it.
    """
    try:
        entry = arrays.open_npz(path)
        facts = json.loads(str(entry["facts"]))
        train, test = (
            Split(entry[f"{part}_images"], np.array(entry[f"{part}_labels"]))
            for part in ("train", "test")
        )
        source = Source(str(path), **facts["source"])
        return Dataset(facts["name"], tuple(entry["class_names"].tolist()), train, test, source)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(dataset: Dataset, path: Path) -> None:
    """Write a data set into the cache; where that is impossible, warn and go on without."""
    source = dataset.source._asdict()
    del source["location"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        _write_whole(
            path,
            facts=np.array(json.dumps({"name": dataset.name, "source": source})),
            class_names=np.array(dataset.class_names),
            train_images=dataset.train.images,
            train_labels=dataset.train.labels,
            test_images=dataset.test.images,
            test_labels=dataset.test.labels,
        )
    except OSError as error:
        warnings.warn(
            f"{dataset.name} was loaded but not cached, and the next load will take as long: "
            f"{path.parent} cannot be written ({error.strerror or error}); set the environment "
            "variable LINCLS_CACHE to a folder that can",
            stacklevel=2,
        )


def _write_whole(path: Path, **entry: np.ndarray) -> None:
    """Write an .npz file beside its place, and rename it once it is on the disk."""
    number, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            arrays.save_npz(file, **entry)
            file.flush()
            os.fsync(number)
        os.chmod(beside, 0o644)  # mkstemp's files are their writer's alone
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    """Remove what killed writers have left."""
    for left in folder.glob(".*.npz.*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
