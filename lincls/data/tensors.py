"""Named tensors in the files of other libraries: .safetensors and torch's .pt.

The library that owns the format checks the file.  Large tensors stay on the disk.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lincls import files

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_LENGTH = 8  # bytes of the length of the header, before it


def read_safetensors(path: Path) -> Mapping[str, np.ndarray]:
    """The tensors of a .safetensors file, memory-mapped; bfloat16 as float32, in memory.

    Raises:
        ImportError: safetensors is not installed.
        Exception: of safetensors, where the file is damaged.
    """
    from safetensors import safe_open

    with safe_open(str(path), "numpy"):  # compares sizes and offsets with the file
        pass
    with files.open_regular(path) as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        content = np.memmap(file, np.uint8, "r")[_LENGTH + length :] if header else np.empty(0)
    return {name: _tensor(content, about) for name, about in header.items()}


def _tensor(content: np.ndarray, about: Mapping[str, Any]) -> np.ndarray:
    """A tensor of a file's content, from its entry in the header."""
    start, end = about["data_offsets"]
    part, kind = content[start:end], about["dtype"]
    if kind == "BF16":  # the upper half of a float32
        wide = part.view("<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(about["shape"])
    if kind not in _DTYPES:
        raise ValueError(f"numpy has no numbers of type {kind}; save them as float32")
    return part.view(_DTYPES[kind]).reshape(about["shape"])


def read_torch(path: Path) -> Mapping[str, np.ndarray]:
    """The tensors of a .pt file: a dict of them, or a pair of features and labels.

    Raises:
        ImportError: torch is not installed.
        ValueError: the file holds something else.
        Exception: of torch, where the file is damaged or holds code.
    """
    import torch

    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        files.check_zip(path)  # torch does not compare the checksums
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    if isinstance(found, tuple | list) and len(found) == 2:
        found = dict(zip(("images", "labels"), found, strict=True))
    if not isinstance(found, Mapping):
        raise ValueError(f"a {type(found).__name__}, neither a dict nor a pair of tensors")
    return {str(name): _of_torch(value, torch) for name, value in found.items()}


def _of_torch(value: Any, torch: Any) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    return (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
