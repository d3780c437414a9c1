"""NumPy's files, read to their end, where the checksums of a zip file are compared."""

import contextlib
import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, BinaryIO, Literal

import numpy as np

from lincls.files.whole import AnyPath, open_regular
from lincls.structs import ALIGNMENT

_BLOCK = 1 << 20  # bytes that are read at a time
_EXTRA = struct.Struct("<HH")  # number and length of an extra field
_LOCAL = 30  # bytes of the header of a member of a zip file, before its name
_LONGEST = 200  # letters of a message of another library


def save_npz(file: BinaryIO, /, **arrays: np.ndarray) -> None:
    """Write arrays as `numpy.savez` does, but at multiples of `ALIGNMENT` bytes of the file.

    There JAX uses memory-mapped arrays in place.  A field of zeros precedes each array; its
    number is the one of Android's `zipalign`.

    Args:
        file: a binary file to write to.
        arrays: any, except of Python objects, by name.

    Raises:
        TypeError: an array of Python objects.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            array = np.asanyarray(array)
            if array.dtype.hasobject:
                raise TypeError(f"the array {name} holds Python objects, which no file here may")
            info = zipfile.ZipInfo(f"{name}.npy")
            # The header ends with a field of two long sizes, and with the one that fills up.
            start = file.tell() + _LOCAL + len(info.filename.encode()) + 16 + 2 * _EXTRA.size
            info.extra = _EXTRA.pack(0xD935, -start % ALIGNMENT) + bytes(-start % ALIGNMENT)
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(
    path: AnyPath, *, mapped: bool = False, wanted: Callable[[str], bool] = lambda name: True
) -> Mapping[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Every array is read to its end, where the checksum of the zip file (CRC-32) is compared:
    0.35 s for 1 GB on one core.

    Args:
        path: the file.
        mapped: memory-map the arrays that are not compressed.
        wanted: of the name of an array, whether it is read; others are not looked at.

    Raises:
        ValueError: the file is damaged, or holds Python objects; or it is no regular file.
        OSError: there is no such file, or it cannot be read.
    """
    with _open_zip(path) as (file, archive):
        members = {_name(info): info for info in archive.infolist()}
        return {
            name: _read_member(archive, info, file, mapped)
            for name, info in members.items()
            if wanted(name)
        }


def names_in_npz(path: AnyPath) -> list[str]:
    """Return the names of the arrays of an .npz file; it raises as `read_npz` does."""
    with _open_zip(path) as (_, archive):
        return [_name(info) for info in archive.infolist()]


def check_zip(path: AnyPath) -> None:
    """Read every member of a zip file to its end, where its checksum is compared.

    Raises:
        ValueError: the file is damaged.
        OSError: there is no such file, or it cannot be read.
    """
    with _open_zip(path) as (_, archive):
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} is another")


def one_line(error: Exception) -> str:
    """The message of another library's error, on one line and not long."""
    return " ".join(str(error).split())[:_LONGEST]


@contextlib.contextmanager
def _open_zip(path: AnyPath) -> Iterator[tuple[io.BufferedReader, zipfile.ZipFile]]:
    """A zip file and its archive; what goes wrong inside is a ValueError that names the file."""
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield file, archive
        except MemoryError:
            raise
        except Exception as error:  # the readers of zip files and of headers may fail anywhere
            raise ValueError(
                f"{path} is damaged, or is no archive of plain arrays: {one_line(error)}"
            ) from error


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def map_npy(path: AnyPath) -> np.ndarray:
    """Return the array of an .npy file, memory-mapped.  The format has no checksum.

    Raises:
        ValueError: the file is damaged, or holds Python objects; or it is no regular file.
        OSError: there is no such file, or it cannot be read.
    """
    with open_regular(path) as file:
        try:
            shape, dtype, order = _read_header(file, os.fstat(file.fileno()).st_size)
            return np.memmap(file, dtype, "r", file.tell(), shape, order)
        except Exception as error:
            raise ValueError(
                f"{path} is damaged, or is no .npy file of a plain array: {one_line(error)}"
            ) from error


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: IO[bytes], mapped: bool
) -> np.ndarray:
    """An array of an .npz file: mapped from `file` at its place in the archive, or read."""
    if info.comment:  # a wrong length of it would hide the arrays that follow
        raise ValueError(f"{info.filename} has a comment")
    with archive.open(info) as member:
        shape, dtype, order = _read_header(member, info.file_size)
        start = member.tell()
        if mapped and info.compress_type == zipfile.ZIP_STORED:
            while member.read(_BLOCK):
                pass
            return np.memmap(file, dtype, "r", _content(info, file) + start, shape, order)
        content = bytearray(info.file_size - start)
        for place in range(0, len(content), _BLOCK):
            content[place : place + _BLOCK] = member.read(_BLOCK)
    return np.ndarray(shape, dtype, content, order=order)


def _content(info: zipfile.ZipInfo, file: IO[bytes]) -> int:
    """Where the content of a member begins: after a header, a name and an extra field.

    The header ends with the lengths of the other two (PKWARE's APPNOTE, 4.3.7).
    """
    file.seek(info.header_offset + _LOCAL - _EXTRA.size)
    return info.header_offset + _LOCAL + sum(_EXTRA.unpack(file.read(_EXTRA.size)))


Header = tuple[tuple[int, ...], np.dtype, Literal["C", "F"]]


def _read_header(file: Any, size: int) -> Header:
    """Shape, dtype and order of an array in NumPy's format, which takes `size` bytes in all."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of NumPy's format")
    if dtype.hasobject:
        raise ValueError("an array of Python objects; save text as an array of dtype str")
    if size - file.tell() != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{size - file.tell():,} bytes are no array {shape} of {dtype}")
    return shape, dtype, "F" if fortran else "C"
