"""Who belongs together: the groups of the training and of the test examples."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.lab import gate
from experiments.probe.settings import Settings
from lincls import files
from lincls.data import loading


class Groups(NamedTuple):
    """Names of groups, None where they are not used."""

    train: np.ndarray | None  # (N,), for grouped folds
    test: np.ndarray | None  # (M,), for intervals


def read_groups(path: str, settings: Settings, data: gate.Data) -> Groups:
    """The groups that the settings ask for, and those of the test examples if the file has them.

    Raises:
        ValueError: no groups for grouped folds; groups of another length, or with NaN.
    """
    if data.groups is not None:
        train = data.groups.train if settings.grouped and settings.num_folds else None
        return Groups(train, data.groups.test)
    train, name = None, f"{settings.groups}_test"
    if settings.groups != Settings.groups:
        _check_named(path, settings)
    if settings.grouped and settings.num_folds:
        train = read_array(path, settings.groups, len(data.train.labels))
    test = read_array(path, name, data.num_test) if has_array(path, name) else None
    if test is not None and len(np.unique(test)) < 2:
        raise ValueError(f"{name} must hold at least 2 groups, got {test[0]} everywhere")
    return Groups(train, test)


def column(path: str, settings: Settings) -> str:
    """The column of a table that --groups names, "" where the file is none.

    The name that nobody typed counts for grouped folds alone.
    """
    is_table = loading.is_of_tables(file_of(path))
    is_asked = settings.groups != Settings.groups or settings.grouped
    return settings.groups if is_table and is_asked else ""


def _check_named(path: str, settings: Settings) -> None:
    """ValueError for a --groups of which the file has nothing that would be used."""
    name = settings.groups
    if has_array(path, f"{name}_test") or (settings.grouped and has_array(path, name)):
        return
    used = "" if settings.grouped else f" ({name} alone is read by --folds 5 grouped)"
    raise ValueError(f"--groups {name}: {path} has no array {name}_test{used}; {_has(path)}")


def has_array(path: str, name: str) -> bool:
    """Whether an .npz file, or a folder of .npy files, has an array."""
    return name in names_of(path)


def names_of(path: str) -> list[str]:
    """The arrays of an .npz file, or of a folder of .npy files; none of other files."""
    source = file_of(path)
    if source.is_dir():
        return sorted(file.stem for file in source.glob("*.npy"))
    return list(files.names_in_npz(source)) if source.suffix == ".npz" else []


def _has(path: str) -> str:
    """Which arrays a file has, the first of them, for an error."""
    names = names_of(path)
    return f"it has {', '.join(names[:10]) or 'none'}{', ..' if len(names) > 10 else ''}"


def read_array(path: str, name: str, num_examples: int) -> np.ndarray:
    """The group (N,) of every example: an array of an .npz file, or a folder's .npy.

    Raises:
        ValueError: no such array, a damaged one, of another length, or with NaN.
    """
    source = file_of(path)
    if not has_array(path, name):
        raise ValueError(f"--folds grouped needs an array {name} in {path}; {_has(path)}")
    try:
        if source.is_dir():
            groups = np.asarray(files.map_npy(source / f"{name}.npy"))
        else:
            groups = files.read_npz(source, wanted=lambda other: other == name)[name]
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} of {path}: {error}") from error
    if groups.shape != (num_examples,):
        raise ValueError(
            f"{name} of {path} must have shape ({num_examples},), one group for each example, got "
            f"{groups.shape}; a file for grouped folds has X_train and X_test apart"
        )
    if np.any(unknown := groups != groups):
        raise ValueError(
            f"{name} of {path} must give every example a group, got {groups[unknown][0]} in row "
            f"{int(unknown.argmax())} and {unknown.sum()} times in all"
        )
    return groups


def file_of(path: str) -> Path:
    """The .npz file, or the folder of .npy files, that a --dataset names."""
    source = Path(path).expanduser()
    return source.parent if source.suffix == ".npy" else source
