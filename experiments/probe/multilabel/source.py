"""A feature file whose labels are matrices (N, C) of 0 and 1: what it holds, as a data set."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lincls import checks, files
from lincls.data import arrays, dataset
from lincls.data.arrays import KEYS
from lincls.data.dataset import Dataset, Source, Split

_PARTS = ("images", "labels", "test_images", "test_labels")  # roles of `KEYS`
_SHORT = ("X_train", "y_train", "X_test", "y_test")


def has_matrices(path: Path) -> bool:
    """Whether the labels of an .npz file, or of a folder of .npy files, are several a row.

    One-hot rows are not: each of them has one label.  What cannot be read is left to the door of
    single labels, which says why.
    """
    try:
        found = [one for key in KEYS["labels"] + KEYS["test_labels"]
                 if (one := _array(path, key)) is not None]  # fmt: skip
    except (ValueError, OSError):
        return False
    numbers = all(labels.dtype.kind in "biuf" for labels in found)
    matrices = [labels for labels in found if labels.ndim == 2 and labels.shape[1] > 1]
    return bool(matrices) and numbers and not all(map(arrays.is_one_hot, found))


def _array(path: Path, key: str) -> np.ndarray | None:
    if path.is_dir():
        file = path / f"{key}.npy"
        return files.map_npy(file) if file.is_file() else None
    if path.suffix != ".npz":
        return None
    return files.read_npz(path, wanted=lambda name: name == key).get(key)


def read(path: Path) -> Dataset:
    """Features (N, D), and labels (N, C) bool in place of class numbers.

    Raises:
        ValueError, TypeError: arrays that are missing or do not fit, by their names in the file.
    """
    held = arrays.named(path)
    keys = [next((key for key in KEYS[role] if key in held), None) for role in _PARTS]
    if missing := [short for key, short in zip(keys, _SHORT, strict=True) if key is None]:
        raise ValueError(
            f"{path} must hold {', '.join(missing)}: several labels a row need a training and a "
            f"test part; it holds {', '.join(held)}"
        )
    names = [str(key) for key in keys]
    train, test = (_split(held, *names[i : i + 2]) for i in (0, 2))
    _check_pair(train, test, names)
    classes = _class_names(held, train.labels.shape[1])
    digest = dataset.digest(train, test)
    return Dataset(path.stem, classes, train, test, Source(str(path), None, digest, path.stem))


def _split(held: Mapping[str, np.ndarray], images: str, labels: str) -> Split:
    X = checks.rows(held[images], images)
    Y = checks.label_matrix(held[labels], labels, len(X))
    if not (Y.any(axis=0) & ~Y.all(axis=0)).any():
        raise ValueError(f"{labels} must have a class that some rows have and others do not")
    return Split(np.asarray(X), Y)


def _check_pair(train: Split, test: Split, names: list[str]) -> None:
    for what, first, second, of in (
        ("features", train.images, test.images, names[::2]),
        ("classes", train.labels, test.labels, names[1::2]),
    ):
        if first.shape[1] != second.shape[1]:
            raise ValueError(
                f"{of[0]} has {first.shape[1]} {what} and {of[1]} {second.shape[1]}; they must "
                "agree"
            )
    if (train.images.dtype == np.uint8) != (test.images.dtype == np.uint8):
        raise TypeError(
            f"{names[0]} is {train.images.dtype} and {names[2]} {test.images.dtype}; give both as "
            "bytes, or both as floats in the same units"
        )


def _class_names(held: Mapping[str, Any], num_classes: int) -> tuple[str, ...]:
    """The names in the file, or the numbers of the columns (ValueError)."""
    given: Iterable[Any] = next(
        (held[key] for key in KEYS["class_names"] if key in held), range(num_classes)
    )
    names = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in given)
    if len(names) != num_classes or len(set(names)) < num_classes:
        raise ValueError(
            f"class_names must be {num_classes} different names, one for each column of the "
            f"labels, got {len(names)} of which {len(set(names))} differ"
        )
    return names
