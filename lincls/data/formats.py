"""Arrays in the files of other libraries: .safetensors, torch's .pt, .parquet and .csv.

Each is read by the library that owns the format, which is needed only then.  Nothing in a file is
executed: torch reads .pt with `weights_only=True`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lincls import files
from lincls.data import arrays
from lincls.data.dataset import Dataset


def from_file(
    path: str | Path,
    *,
    labels: str | None = None,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> Dataset:
    """Read a data set from a .safetensors, .pt, .parquet or .csv file.

    Tensors have the names of `from_npz`; a .pt file holds a dict of them, or a pair of features and
    labels.  A table has a row for each example: one column of labels, and numbers in all others,
    or one column of lists of numbers.

    Args:
        path: the file.
        labels: the label column of a table; by default `labels`, `label`, `y`, `target` or
            `targets`.
        test_fraction, seed: of the examples to set aside where there is no test part, as in
            `from_arrays`.

    Raises:
        ImportError: the package that reads the format is missing; the message says what to type.
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds code, or arrays are missing or unfit.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise ValueError(f"{path} must end in {', '.join(READERS)}")
    if labels is not None and path.suffix not in _TABLES:
        raise ValueError(f"labels names a column of a table, and {path} holds named arrays")
    files.open_regular(path).close()
    try:
        found = READERS[path.suffix](path)
    except ImportError as error:
        packages = {".safetensors": "safetensors", ".csv": "pandas", ".parquet": "pandas pyarrow"}
        package = packages.get(path.suffix, "torch")
        raise ImportError(f"{path} needs a package; use pip install {package}") from error
    except MemoryError:
        raise
    except Exception as error:  # the readers of other libraries may fail in their own ways
        why = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} is damaged, or is no {path.suffix} file of arrays: {why}"
        ) from error
    if path.suffix in _TABLES:
        found = _of_table(found, labels, path)
    return arrays.from_named(found, path, test_fraction=test_fraction, seed=seed)


def _read_safetensors(path: Path) -> Mapping[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def _read_torch(path: Path) -> Mapping[str, np.ndarray]:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, tuple | list) and len(found) == 2:
        found = dict(zip(("images", "labels"), found, strict=True))
    if not isinstance(found, Mapping):
        raise ValueError(f"a {type(found).__name__}, neither a dict nor a pair of tensors")
    return {str(name): _of_tensor(value, torch) for name, value in found.items()}


def _of_tensor(value: Any, torch: Any) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    return (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()


def _read_parquet(path: Path) -> Any:
    import pandas

    return pandas.read_parquet(path)


def _read_csv(path: Path) -> Any:
    import pandas

    return pandas.read_csv(path)


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".safetensors": _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
_TABLES = (".parquet", ".csv")
_LABELS = ("labels", "label", "y", "target", "targets")


def _of_table(table: Any, labels: str | None, path: Path) -> dict[str, np.ndarray]:
    """The features and the labels of a frame of pandas."""
    columns = [str(name) for name in table.columns]
    column = labels or next((name for name in _LABELS if name in columns), None)
    if column not in columns:
        shown = ", ".join(columns[:8]) + (", .." if len(columns) > 8 else "")
        raise ValueError(f"{path} needs a column of labels: give labels=, one of {shown}")
    table.columns = columns
    features = table.drop(columns=column)
    if features.shape[1] == 1 and features.dtypes.iloc[0].kind == "O":
        values = np.stack([np.asarray(row) for row in features.iloc[:, 0]])
    else:
        text = [name for name in features if features[name].dtype.kind not in "biuf"]
        if text or features.shape[1] == 0:
            what = f"columns {', '.join(text[:8])} hold no numbers" if text else "no other column"
            raise ValueError(f"{path} must hold numbers beside {column}: {what}; leave them out")
        values = features.to_numpy()
    if values.dtype.kind in "iu" and (values.min() < 0 or values.max() > 255):
        values = values.astype(np.float64)
    return {"images": values, "labels": table[column].to_numpy()}
