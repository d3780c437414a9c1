"""Digests of arrays, and JSON files that carry one of their values."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lincls.files.whole import AnyPath, open_regular, write

HASH_BLOCK = 1 << 24  # bytes that are hashed at a time: memory-mapped arrays stay on disk
_SHA256 = "sha256"  # the entry of a JSON file that holds the digest of the others


def digest(arrays: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 (hex) over dtype, shape and bytes of arrays, in row-major order."""
    sha256 = hashlib.sha256()
    for array in arrays:
        dtype = array.dtype.str.replace("<V", "|V")  # bfloat16 comes back from a file so
        sha256.update(f"{dtype}{array.shape}".encode())
        array = array if array.ndim else array[None]
        step = max(1, HASH_BLOCK * len(array) // max(1, array.nbytes))  # rows
        for start in range(0, len(array), step):
            block = np.ascontiguousarray(array[start : start + step])
            sha256.update(block.reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def digest_of_named(arrays: Mapping[str, np.ndarray]) -> str:
    """The same over arrays and their names, in the order of the names."""
    return digest(part for name in sorted(arrays) for part in (np.array(name), arrays[name]))


def write_json(path: AnyPath, values: Mapping[str, Any]) -> None:
    """Write an object as JSON, whole or not at all, with a digest of its values as `sha256`.

    Raises:
        TypeError: `values` is no mapping, or holds something that JSON does not know.
        ValueError: NaN or infinity.
        OSError: the file cannot be written.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"values must be a mapping of names, got {type(values).__name__}")
    text = json.dumps({**values, _SHA256: _digest_of_json(values)}, indent=2, allow_nan=False)
    write(path, lambda file: file.write(f"{text}\n".encode()))


def read_json(path: AnyPath) -> dict[str, Any]:
    """Return the object that `write_json` wrote, without its digest.

    Raises:
        ValueError: the file is damaged, or `write_json` did not write it.
        OSError: there is no such file, or it cannot be read.
    """
    with open_regular(path) as file:
        content = file.read()
    try:
        values = json.loads(content)
        if values.pop(_SHA256) == _digest_of_json(values):
            return values
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError(f"{path} is damaged, or is no result of this version")


def _digest_of_json(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, allow_nan=False).encode()).hexdigest()
