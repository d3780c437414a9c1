"""The two formats of CIFAR-10 and CIFAR-100: binary records, and Python 2 pickles.

Both store an image as three planes R, G, B of 32 x 32 bytes in row-major order
(https://www.cs.toronto.edu/~kriz/cifar.html).  A pickle may carry any code.  So it is read
by an unpickler that knows the one array of these files, and calls nothing that a pickle
names, not even numpy.
"""

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lincls.data.archives import Buffer

SHAPE = (3, 32, 32)  # planes, rows, columns
PIXELS = 3 * 32 * 32
Batch = tuple[UInt8[np.ndarray, "N 32 32 3"], UInt8[np.ndarray, " N"]]


def parse_binary(data: Buffer, file: str, num_label_bytes: int) -> Batch:
    """Return images (N, 32, 32, 3) uint8 and labels (N,) of a binary file.

    A record is one byte for each label, then 3,072 pixels.  CIFAR-100 has two labels, the
    coarse one and the fine one.  The last label is returned.

    Args:
        data: the content of the file.
        file: what to call it in an error.
        num_label_bytes: labels of a record, 1 or 2.

    Raises:
        ValueError: the file is empty, or does not end with a record.
    """
    record = num_label_bytes + PIXELS
    if len(data) == 0 or len(data) % record:
        raise ValueError(
            f"{file} is damaged: {len(data):,} bytes are not a whole number of records "
            f"of {record:,} bytes"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return _channels_last(records[:, num_label_bytes:]), records[:, num_label_bytes - 1]


def parse_pickle(data: Buffer, file: str) -> Batch:
    """Return images (N, 32, 32, 3) uint8 and (fine) labels (N,) of a pickled batch.

    Nothing that the pickle names is imported or called.

    Args:
        data: the content of the file.
        file: what to call it in an error.

    Raises:
        ValueError: it is damaged, or names anything that CIFAR's own files do not.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(data), encoding="latin1").load()
        pixels = batch["data"].to_numpy()
        labels = batch["fine_labels"] if "fine_labels" in batch else batch["labels"]
        return _channels_last(pixels), np.array(labels, np.uint8).reshape(len(pixels))
    except pickle.UnpicklingError as error:
        raise ValueError(f"{file} is not a batch of CIFAR: {error}") from error
    except Exception as error:  # a damaged pickle makes the machine of opcodes fail anywhere
        raise ValueError(f"{file} is damaged: {type(error).__name__}: {error}") from error


def _channels_last(planes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(planes.reshape(-1, *SHAPE).transpose(0, 2, 3, 1))


class _PickledDtype:
    """What the pickle says where numpy would build a dtype."""

    def __init__(self, code: str = "", *flags: int) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment: one byte has neither."""


class _PickledArray:
    """What the pickle says where numpy would build an array."""

    def __init__(self, *prototype: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_numpy(self) -> np.ndarray:
        """Return the array (N, 3072); ValueError or TypeError if it is another."""
        _, shape, dtype, fortran, content = self.state
        if dtype.code != "u1" or fortran or shape != (shape[0], PIXELS):
            raise ValueError(f"an array {shape} of {dtype.code} is not (N, {PIXELS}) of u1")
        data = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(data, np.uint8).reshape(shape)


_KNOWN: Mapping[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,  # since numpy 2
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledDtype,
}


# The unpickler in Python, because the one in C reserves whatever memory a damaged file asks for.
class _BatchUnpickler(pickle._Unpickler):
    """An unpickler that knows only the names above."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is refused")
        return _KNOWN[module, name]
