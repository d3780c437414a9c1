"""Homework in torch: the same cases as tensors, in float64."""

import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.check_homework.roles import Arguments


def uses_torch(names: Mapping[str, Any]) -> bool:
    """Whether a file works with torch alone; with numpy beside it, arrays are numpy's."""
    imported = {value.__name__ for value in names.values() if isinstance(value, types.ModuleType)}
    return "torch" in imported and "numpy" not in imported


def with_tensors(call: Callable[[Arguments], Any]) -> Callable[[Arguments], Any]:
    """The same call with tensors that share the memory of the arrays: changes show in both."""
    return lambda arguments: call({name: _tensor(value) for name, value in arguments.items()})


def _tensor(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_tensor, value))
    if callable(value):
        return lambda *given: _tensor(value(*map(_array, given)))
    whole = isinstance(value, np.ndarray)
    return sys.modules["torch"].from_numpy(value) if whole else value


def _array(value: Any) -> Any:
    return value.numpy() if hasattr(value, "detach") else value
