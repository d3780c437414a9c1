"""Tables of pandas as features and labels."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

LABELS = ("labels", "label", "y", "target", "targets")  # columns that are found by name
_SHOWN = 8  # columns that an error names
_IMAGES = ("images", "test_images")


class Unfit(ValueError):
    """A table without a column of labels, or with columns that are no features."""


def split(
    table: Any, labels: str | None, path: Path, groups: str | None = None
) -> dict[str, np.ndarray]:
    """The features `images` and the `labels` of a frame of pandas, and its `row_groups` if named.

    Args:
        table: one row for each example: a column of labels, and numbers in all others, or one
            column of lists of numbers.
        labels: the name of the label column; by default the first of `LABELS` that is there.
        path: where the table lies, for errors.
        groups: the name of the column of groups, which is no feature.

    Raises:
        Unfit: no column of labels or of groups, text beside it, or a column without a name.
        Exception: of pandas, where the file is damaged.
    """
    table.columns = columns = [str(name) for name in table.columns]
    column = labels or next((name for name in LABELS if name in columns), None)
    if labels is not None and labels not in columns:
        raise Unfit(
            f"{path} has no column {labels}; it has {_some(columns)}{_near(labels, columns)}"
        )
    if column not in columns:
        raise Unfit(
            f"{path} needs a column of labels: give labels=, one of {_some(columns)} (on the "
            "command line, --labels)"
        )
    found = {"labels": table[column].to_numpy()}
    if groups is not None:
        found["row_groups"] = _groups(table, groups, column, path)
    features = table.drop(columns=[column] if groups is None else [column, groups])
    if features.shape[1] == 1 and features.dtypes.iloc[0].kind == "O":
        values = _stacked(features.iloc[:, 0], path)
    else:
        _check_numbers(features, column, path)
        values = features.to_numpy()
    return {"images": values, **found}


def _near(name: str, columns: list[str]) -> str:
    """The column that was probably meant."""
    near = difflib.get_close_matches(name, columns, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _groups(table: Any, groups: str, column: str, path: Path) -> np.ndarray:
    """The column of groups, every row in one."""
    if groups not in table.columns or groups == column:
        others = [name for name in table.columns if name != column]
        raise Unfit(
            f"{path} has no column {groups} to take the groups from: give groups=, one of "
            f"{_some(others)} (on the command line, --groups){_near(groups, others)}"
        )
    if (unknown := table[groups].isna().to_numpy()).any():
        raise Unfit(
            f"{path}: column {groups} must give every example a group; row {unknown.argmax()} has "
            f"none, and {unknown.sum()} rows in all"
        )
    return table[groups].to_numpy()


def _stacked(column: Any, path: Path) -> np.ndarray:
    """A column of lists of numbers as rows (N, D)."""
    rows = [np.asarray(row) for row in column]
    unfit = next((i for i, row in enumerate(rows) if row.shape != rows[0].shape), None)
    if unfit is None and rows[0].ndim and rows[0].dtype.kind in "biuf":
        return np.stack(rows)
    found = repr(column.iloc[unfit or 0])[:60]
    raise Unfit(
        f"{path}: column {column.name} must hold numbers, or lists of numbers of one length; "
        f"row {unfit or 0} holds {found}"
    )


def _check_numbers(features: Any, column: str, path: Path) -> None:
    """Refuse what is no feature: text, and the row numbers that pandas writes."""
    if features.shape[1] == 0:
        raise Unfit(f"{path} must hold numbers beside {column}: no other column")
    if text := [name for name in features if features[name].dtype.kind not in "biuf"]:
        raise Unfit(
            f"{path} must hold numbers beside {column}: columns {_some(text)} hold no numbers; "
            "leave them out"
        )
    if nameless := [name for name in features if name.startswith("Unnamed: ")]:
        raise Unfit(
            f"{path}: a column has no name ({nameless[0]}), as of row numbers; save the table with "
            "frame.to_csv(path, index=False), or name the column"
        )


def as_pixels_or_features(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Whole numbers of all parts stay if they can be bytes; else all parts become float64."""
    parts = {name: found[name] for name in _IMAGES if name in found}
    whole = all(part.dtype.kind in "biu" for part in parts.values())
    if whole and all(part.min() >= 0 and part.max() <= 255 for part in parts.values() if part.size):
        return dict(found)
    to_float = {name: part.astype(np.float64) for name, part in parts.items()
                if part.dtype.kind in "biu"}  # fmt: skip
    return {**found, **to_float}


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", .." if len(names) > _SHOWN else "")
