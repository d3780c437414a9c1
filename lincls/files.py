"""Whole files: written beside their place, synced, renamed over it; one writer for all.

    files.write("run.npz", lambda file: files.save_npz(file, W=W))
    W = files.read_npz("run.npz")["W"]

A reader sees the old file or the new one, never half of one, whenever a writer is killed.
An .npz file is read to its end, where its checksums are compared, and never executed.
A JSON file carries a digest of its values.
"""

import contextlib
import glob
import hashlib
import io
import json
import math
import os
import secrets
import stat
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

import numpy as np

from lincls.structs import ALIGNMENT

AnyPath = str | os.PathLike[str]
STALE = 24 * 3600  # seconds after which the part of a file has no writer any more
_PART = "[0-9a-z_]" * 8 + ".part"  # the end of the name of a part
_BLOCK = 1 << 20  # bytes that are read at a time
HASH_BLOCK = 1 << 24  # bytes that are hashed at a time: memory-mapped arrays stay on disk
_EXTRA = struct.Struct("<HH")  # number and length of an extra field
_LOCAL = 30  # bytes of the header of a member of a zip file, before its name
_SHA256 = "sha256"  # the entry of a JSON file that holds the digest of the others
_SAID = 200  # letters of what another library says about a file


def write(path: AnyPath, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all.

    The file has the mode that it had before, or that `open` gives a new one.

    Args:
        path: the file.  Where it is a symbolic link, the file that it names is replaced.
        fill: called with a binary file, to write the content.

    Raises:
        ValueError: `path` is a folder, a pipe or a device.
        OSError: the folder cannot be written, or the disk is full.
        Exception: what `fill` raises.  After any error the old file is as it was.
    """
    target = Path(os.path.realpath(path))
    mode = _mode(target)
    sweep(target.parent, glob.escape(target.name))
    part = target.with_name(f"{target.name}{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            if mode is not None and mode != _mode(part):
                os.chmod(part, stat.S_IMODE(mode))
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def sweep(folder: AnyPath, names: str = "*") -> None:
    """Remove the parts that killed writers left in a folder more than `STALE` seconds ago.

    Args:
        folder: where to look, but not in the folders below it.
        names: a glob pattern of the names of the files that were being written.
    """
    for part in Path(folder).glob(names + _PART):
        with contextlib.suppress(OSError):
            if time.time() - part.lstat().st_mtime > STALE:
                part.unlink()


def open_regular(path: AnyPath) -> io.BufferedReader:
    """Open a file to read its bytes, unless that could wait for ever.

    Raises:
        ValueError: `path` is a folder, a pipe or a device.
        OSError: there is no such file, or it cannot be read.
    """
    _mode(path)
    return open(path, "rb")


def lock(file: IO[Any]) -> bool | None:
    """Take an open file for this process, until it is closed or the process ends in any way.

    Returns:
        True if it is taken, False if another process has it, None where there are no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return None
    return True


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


def _mode(path: AnyPath) -> int | None:
    """The mode of a regular file, or None where there is none yet."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} must be a regular file, not a folder, a pipe or a device")
    return mode


def _sync_folder(folder: Path) -> None:
    """Make a renaming survive a power cut.  Windows cannot open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- JSON -------------------------------------------------------------------------------------


def write_json(path: AnyPath, values: Mapping[str, Any]) -> None:
    """Write an object as JSON, whole or not at all, with a digest of its values as `sha256`.

    Raises:
        ValueError: NaN or infinity, or something that JSON does not know.
        OSError: the file cannot be written.
    """
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


# --- npz --------------------------------------------------------------------------------------


def save_npz(file: BinaryIO, /, **arrays: np.ndarray) -> None:
    """Write arrays as `numpy.savez` does, but at multiples of `ALIGNMENT` bytes of the file.

    There JAX uses memory-mapped arrays in place.  A field of zeros precedes each array; its
    number is the one of Android's `zipalign`.

    Args:
        file: a binary file to write to.
        arrays: any, except of Python objects, by name.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            # The header ends with a field of two long sizes, and with the one that fills up.
            start = file.tell() + _LOCAL + len(info.filename.encode()) + 16 + 2 * _EXTRA.size
            info.extra = _EXTRA.pack(0xD935, -start % ALIGNMENT) + bytes(-start % ALIGNMENT)
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


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


def said(error: Exception) -> str:
    """What another library says about a file, on one line and not long."""
    return " ".join(str(error).split())[:_SAID]


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
                f"{path} is damaged, or is no archive of plain arrays: {said(error)}"
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
                f"{path} is damaged, or is no .npy file of a plain array: {said(error)}"
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
