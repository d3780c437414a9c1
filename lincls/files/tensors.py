"""Arrays and a few values in a safetensors file, with a digest of both.

Torch, numpy and JAX read the arrays without lincls.  Nothing in the file is ever executed.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from lincls.files.digests import digest_of_named
from lincls.files.whole import AnyPath, open_regular, write

Arrays = Mapping[str, np.ndarray]
_ABOUT, _DIGEST = "lincls", "sha256"  # the two texts of a file
_INSTALL = "models are kept in the safetensors format; use pip install safetensors"


def write_tensors(path: AnyPath, arrays: Arrays, values: Mapping[str, Any]) -> None:
    """Write arrays by name, and values that JSON can write, whole or not at all.

    Raises:
        ImportError: the package safetensors is missing.
        OSError: the file cannot be written.
    """
    try:
        from safetensors.numpy import save as content
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    about, arrays = json.dumps(values), {name: _plain(array) for name, array in arrays.items()}
    texts = {_ABOUT: about, _DIGEST: _digest(arrays, about)}
    write(path, lambda file: file.write(content(arrays, texts)))


def _plain(array: np.ndarray) -> np.ndarray:
    """A contiguous array of a dtype that numpy has itself: bfloat16 as float32, exactly."""
    narrow = array.dtype.kind == "V" or array.dtype.name == "bfloat16"
    return np.ascontiguousarray(array.astype(np.float32) if narrow else array).reshape(array.shape)


def read_tensors(path: AnyPath) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and the values of a file, once its digest has been compared.

    Raises:
        ImportError: the package safetensors is missing.
        ValueError: the file is damaged, or `write_tensors` did not write it.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    open_regular(path).close()
    wrong = f"{path} is damaged, or models.save did not write it; name a file that it wrote"
    try:
        with safe_open(str(path), "numpy") as file:
            texts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if texts[_DIGEST] != _digest(arrays, texts[_ABOUT]):
            raise ValueError("another digest")
        return arrays, json.loads(texts[_ABOUT])
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(wrong) from error


def _digest(arrays: Arrays, about: str) -> str:
    return digest_of_named({**arrays, _ABOUT: np.array(about)})
