"""The cache: each data set as one file of arrays that can be memory-mapped.

An entry is one .npz file, `NAME-KEY.npz`.  The key is the SHA-256 of the files that it was
made from, so an entry is good on any machine: a copy of it in `directory()` or in `data_dir`
replaces the download.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lincls import files
from lincls.data.dataset import Dataset, Source, Split


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
        checksums: SHA-256 by file name.  The key is that of the one file, or of this list.
    """
    key, *others = checksums.values()
    if others:
        lines = "".join(f"{sha256}  {file}\n" for file, sha256 in sorted(checksums.items()))
        key = hashlib.sha256(lines.encode()).hexdigest()
    return f"{name}-{key[:16]}.npz"


def read(path: Path) -> Dataset | None:
    """Return a data set from the cache, its images memory-mapped; None if it is not there.

    A damaged entry counts as not there, and the next `write` replaces it.
    """
    try:
        entry = files.read_npz(path, mapped=True)
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
    """Write a data set into the cache.  Where that is impossible, warn and go on without."""
    source = dataset.source._asdict()
    del source["location"]
    entry = {
        "facts": np.array(json.dumps({"name": dataset.name, "source": source})),
        "class_names": np.array(dataset.class_names),
        "train_images": dataset.train.images,
        "train_labels": dataset.train.labels,
        "test_images": dataset.test.images,
        "test_labels": dataset.test.labels,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.sweep(path.parent, "*.npz")
        files.write(path, lambda file: files.save_npz(file, **entry))
    except (OSError, ValueError) as error:  # a ValueError: a folder or a pipe is in its place
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"{dataset.name} was loaded but not cached, and the next load will take as long: "
            f"{path.parent} cannot be written ({reason}); set the environment "
            "variable LINCLS_CACHE to a folder that can",
            stacklevel=2,
        )
