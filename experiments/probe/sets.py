"""The test sets of a file: its own, and further ones that are called `X_test_NAME`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from experiments.probe import groups
from lincls import checks, data, files
from lincls.data.arrays import KEYS, named
from lincls.data.dataset import Dataset, Split

_TEST_KEYS = KEYS["test_images"] + KEYS["test_labels"]
MAIN = "test"  # what files call the test set of the data themselves
_LONGEST = 100  # bytes of a further set's name, which becomes a part of names of files


@dataclass(frozen=True)
class EvaluationSet:
    """Examples that are opened once, when everything has been chosen."""

    name: str
    split: Split
    groups: np.ndarray | None  # (M,), for intervals

    @property
    def part(self) -> str:
        """How the names of its parts begin."""
        return self.name if self.name == MAIN else f"{MAIN}-{self.name}-{self.digest[:8]}"

    @cached_property
    def digest(self) -> str:
        grouped = np.zeros(0) if self.groups is None else np.asarray(self.groups)
        return files.digest([np.asarray(self.split.images), self.split.labels, grouped])


def further(path: str, dataset: Dataset) -> list[EvaluationSet]:
    """The test sets `X_test_NAME`, `y_test_NAME` of an .npz file or a folder of .npy files.

    Labels are those of the data: a class that neither part of them has is refused.

    Raises:
        ValueError: labels without features, or the reverse; other features than the data have.
    """
    arrays = _arrays(path)
    try:
        return [
            EvaluationSet(name, _split(name, X, y, arrays, dataset), _groups(path, name, len(X)))
            for name, X, y in _pairs(arrays)
        ]
    except (ValueError, TypeError) as error:  # the file is to blame
        raise ValueError(f"{path}: {error}") from error


def _arrays(path: str) -> Mapping[str, np.ndarray]:
    """The arrays of a file with further test sets; none where it has no such names."""
    if not any(map(_is_further, groups.names_of(path))):
        return {}
    return named(groups.file_of(path), _is_further)


def _is_further(name: str) -> bool:
    """Whether an array of this name belongs to a further test set."""
    return name.startswith(tuple(f"{base}_" for base in _TEST_KEYS))


def _pairs(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    """Name, features and labels of each further test set."""
    images, labels = (_named(arrays, KEYS[role]) for role in ("test_images", "test_labels"))
    images = {name: array for name, array in images.items() if array.ndim > 1}  # others are names
    for name in dict.fromkeys([*images, *labels]):
        _check_name(name)
        if name not in images or name not in labels:
            raise ValueError(f"X_test_{name} and y_test_{name} must be given together, or neither")
        yield name, images[name], labels[name]


def _check_name(name: str) -> None:
    """ValueError for a name that is no part of a file's name, or that the data's own set has."""
    usable = name.isprintable() and not set(name) & set("/\\:")
    if not usable or name in ("", MAIN) or len(name.encode()) > _LONGEST:
        raise ValueError(
            f"X_test_{ascii(name)[1:-1][:_LONGEST]} cannot be the name of a further test set; use "
            f"X_test_NAME and y_test_NAME, where NAME is not {MAIN}, has at most {_LONGEST} bytes "
            "and no / \\ : or line break, because files are called by it"
        )


def _named(arrays: Mapping[str, np.ndarray], keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {
        key.removeprefix(f"{base}_"): array
        for key, array in arrays.items()
        for base in keys
        if key.startswith(f"{base}_")
    }


def _split(name: str, X: Any, y: Any, arrays: Mapping[str, np.ndarray], dataset: Dataset) -> Split:
    """Features of the data's kind, and labels as the data number their classes."""
    rows, own = checks.rows(X, f"X_test_{name}"), checks.rows(dataset.train.images)
    if rows.shape[1] != own.shape[1] or (rows.dtype == np.uint8) != (own.dtype == np.uint8):
        raise ValueError(
            f"X_test_{name} must have {own.shape[1]} features of {own.dtype} as the training part "
            f"has, got {rows.shape[1]} of {rows.dtype}"
        )
    checks.finite(rows, f"X_test_{name}")
    if np.shape(y) != (len(rows),):
        raise ValueError(f"y_test_{name} must have shape ({len(rows)},), got {np.shape(y)}")
    return Split(np.asarray(rows), _numbered(name, np.asarray(y), arrays, dataset))


def _numbered(
    name: str, y: np.ndarray, arrays: Mapping[str, np.ndarray], dataset: Dataset
) -> np.ndarray:
    """Labels (M,) numbered together with those of the file, so that a number is one class."""
    parts = [next((arrays[k] for k in KEYS[role] if k in arrays), None)
             for role in ("labels", "test_labels", "class_names")]  # fmt: skip
    known = np.concatenate([np.ravel(part) for part in parts[:2] if part is not None])
    both = data.from_arrays(
        np.zeros((len(known), 1), np.float32), known, np.zeros((len(y), 1), np.float32), y,
        class_names=None if parts[2] is None else [*map(str, parts[2])],
    )  # fmt: skip
    if new := set(both.class_names) - set(dataset.class_names):
        raise ValueError(f"y_test_{name} has labels that the data do not have: {sorted(new)[:5]}")
    return both.test.labels


def _groups(path: str, name: str, count: int) -> np.ndarray | None:
    key = f"groups_test_{name}"
    return groups.read_array(path, key, count) if groups.has_array(path, key) else None
