"""IDX, the file format of MNIST: a magic number, the sizes of the axes, the bytes.

Format: http://yann.lecun.com/exdb/mnist (two zero bytes, 0x08 for unsigned bytes, the
number of axes; each size as a big-endian 32-bit integer; the data in row-major order).
"""

import math
import struct

import numpy as np
from jaxtyping import Integer, UInt8

from lincls.data.archives import Buffer


def parse(data: Buffer, file: str, ndim: int) -> UInt8[np.ndarray, "..."]:
    """Return the uint8 array that an IDX file holds, as a read-only view of its bytes.

    Args:
        data: the content of the file, unpacked.
        file: what to call it in an error.
        ndim: how many axes the array must have: 3 for images (N, H, W), 1 for labels (N,).

    Raises:
        ValueError: the bytes are no such array, or there are more or fewer than its header says.
    """
    start = 4 + 4 * ndim
    if len(data) < start or data[:4] != bytes((0, 0, 8, ndim)):
        raise ValueError(f"{file} is not an IDX file of unsigned bytes with {ndim} axes")
    shape = struct.unpack(f">{ndim}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise ValueError(
            f"{file} is damaged: its header says {shape}, which is {math.prod(shape):,} bytes, "
            f"but {len(data) - start:,} follow"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def unparse(array: Integer[np.ndarray, "..."]) -> bytes:
    """Return the IDX file of an array of integers 0..255."""
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()
