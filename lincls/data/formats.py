"""Arrays in the files of other libraries: .safetensors, torch's .pt, .parquet and .csv.

Each is read by the library that owns the format, which is needed only then.  Nothing in a file is
executed: torch reads .pt with `weights_only=True`.  Several files in a folder are one data set.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lincls import files
from lincls.data import arrays, tables, tensors
from lincls.data.dataset import Dataset

Arrays = Mapping[str, np.ndarray]


def from_file(
    path: str | Path,
    *,
    labels: str | None = None,
    groups: str | None = None,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> Dataset:
    """Read a data set from a .safetensors, .pt, .parquet or .csv file, or from a folder of them.

    Tensors have the names of `from_npz`; a .pt file holds a dict of them, or a pair of features and
    labels.  A table has a row for each example: one column of labels, and numbers in all others,
    or one column of lists of numbers.

    Files of a folder are of one kind, .npz too.  Those whose name begins with `test` are the test
    part, and those that begin with `train` the rest.  Without such names all are one part.  Rows
    of several files stand in the order of the files' names.

    Tensors of .safetensors files are memory-mapped, and of .pt files where torch can.  Arrays that
    are in several files are put together in memory.

    Args:
        path: the file or the folder.
        labels: the label column of a table; by default `labels`, `label`, `y`, `target` or
            `targets`.
        groups: the column of a table that says who belongs together.  It is no feature, and no
            group is set aside in part.
        test_fraction, seed: of the examples to set aside where there is no test part, as in
            `from_arrays`.

    Raises:
        ImportError: the package that reads the format is missing; the message says what to type.
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds code, or arrays are missing or unfit; a folder of several
            kinds of files.
    """
    path = Path(path)
    if path.is_dir():
        found, kind = _of_folder(path, labels, groups)
    else:
        found, kind = _of_one(path, labels, groups), path.suffix
    if kind in TABLES:
        found = tables.as_pixels_or_features(found)
    return arrays.from_named(found, path, test_fraction=test_fraction, seed=seed)


def files_of(folder: Path) -> list[Path]:
    """The files of arrays in a folder, unless it holds folders, as one of images does."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if any(entry.is_dir() for entry in entries):
        return []
    return [entry for entry in entries if entry.suffix in (*READERS, NPZ)]


def _of_one(path: Path, labels: str | None, groups: str | None) -> Arrays:
    """The arrays of one file by name."""
    if path.suffix not in (*READERS, NPZ):
        raise ValueError(f"{path} must end in {', '.join(READERS)}")
    for what, column in (("labels", labels), ("groups", groups)):
        if column is not None and path.suffix not in TABLES:
            raise ValueError(f"{what} names a column of a table, and {path} holds named arrays")
    files.open_regular(path).close()
    if path.suffix == NPZ:
        return files.read_npz(path, mapped=True)
    try:
        found = READERS[path.suffix](path)
        return tables.split(found, labels, path, groups) if path.suffix in TABLES else found
    except ImportError as error:
        packages = {".safetensors": "safetensors", ".csv": "pandas", ".parquet": "pandas pyarrow"}
        package = packages.get(path.suffix, "torch")
        raise ImportError(f"{path} needs a package; use pip install {package}") from error
    except (MemoryError, tables.Unfit):
        raise
    except Exception as error:  # the readers of other libraries may fail in their own ways
        raise ValueError(
            f"{path} is damaged, or is no {path.suffix} file of arrays: {files.one_line(error)}"
        ) from error


def _of_folder(folder: Path, labels: str | None, groups: str | None) -> tuple[Arrays, str]:
    """The arrays of all files of a folder by name, and the suffix of the files."""
    found = files_of(folder)
    kinds = sorted({file.suffix for file in found})
    if len(kinds) != 1:
        kind = f"files of several kinds, {', '.join(kinds)}" if kinds else "no files of arrays"
        raise ValueError(f"{folder} holds {kind}; give the path of one file")
    parts = {part: [file for file in found if _begins(file, part)] for part in ("train", "test")}
    if not parts["test"]:
        parts = {"train": found}
    elif others := [file.name for file in found if file not in parts["train"] + parts["test"]]:
        warnings.warn(f"not read beside train and test: {', '.join(others)}", stacklevel=4)
    if not parts["train"]:
        raise ValueError(f"{folder} holds files of a test part only, such as {found[0].name}")
    merged: dict[str, np.ndarray] = {}
    for part, of_part in parts.items():
        read = [_by_role(_of_one(file, labels, groups), part, file) for file in of_part]
        merged |= _joined(read, of_part)
    return merged, kinds[0]


def _begins(file: Path, part: str) -> bool:
    """Whether a file's name begins so: `test.csv`, `test-00000-of-00002.parquet`, `test1.npz`."""
    rest = file.stem.lower().removeprefix(part)
    return file.stem.lower().startswith(part) and not rest[:1].isalpha()


def _by_role(found: Arrays, part: str, file: Path) -> dict[str, np.ndarray]:
    """Arrays by what they are; of a file of the test part, `test_images` and `test_labels`."""
    named = {
        role: found[key]
        for role, keys in arrays.KEYS.items()
        for key in [next((key for key in keys if key in found), None)]
        if key is not None
    }
    if not named:
        raise ValueError(f"{file} holds no array of a known name, it holds {', '.join(found)}")
    if part == "test" and "test_images" not in named:
        return {f"test_{role}" if role != "class_names" else role: named[role] for role in named}
    return named


def _joined(read: Sequence[Arrays], paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """Arrays of several files; what is in several of them is put together."""
    return {
        role: _together(role, [(one[role], file) for one, file in zip(read, paths, strict=True)
                               if role in one])
        for role in dict.fromkeys(role for one in read for role in one)
    }  # fmt: skip


def _together(role: str, found: Sequence[tuple[np.ndarray, Path]]) -> np.ndarray:
    (first, path), *others = found
    for other, file in others:
        same = first.shape[1:] == other.shape[1:] and _is_text(first) == _is_text(other)
        if not same or (role == "class_names" and not np.array_equal(first, other)):
            raise ValueError(
                f"{role.replace('_', ' ')} of {path} and {file} do not fit together: "
                f"{first.dtype} {first.shape} and {other.dtype} {other.shape}"
            )
    if role == "class_names" or not others:
        return first
    return np.concatenate([part for part, _ in found])


def _is_text(array: np.ndarray) -> bool:
    return bool(array.dtype.kind in "US" or (array.dtype.hasobject and isinstance(array[0], str)))


def _read_parquet(path: Path) -> Any:
    import pandas

    return pandas.read_parquet(path, page_checksum_verification=True)  # where pages have sums


def _read_csv(path: Path) -> Any:
    import pandas

    return pandas.read_csv(path)


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".safetensors": tensors.read_safetensors,
    ".pt": tensors.read_torch,
    ".pth": tensors.read_torch,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
TABLES = (".parquet", ".csv")
NPZ = ".npz"
