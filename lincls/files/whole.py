"""Files that are whole or not there: written beside their place, synced, renamed over it."""

import contextlib
import glob
import io
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO

AnyPath = str | os.PathLike[str]
STALE = 24 * 3600  # seconds after which the part of a file has no writer any more
_PART = "[0-9a-z_]" * 8 + ".part"  # the end of the name of a part


def write(path: AnyPath, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all.

    The file has the mode that it had before, or that `open` gives a new one.

    Args:
        path: the file.  Where it is a symbolic link, the file that it names is replaced.
        fill: called with a binary file, to write the content.

    Raises:
        TypeError: `path` is no text and no Path.
        ValueError: `path` is a folder, a pipe or a device.
        OSError: the folder cannot be written, or the disk is full.
        Exception: what `fill` raises.  After any error the old file is as it was.
    """
    target = Path(os.path.realpath(check_path(path)))
    mode = _mode(target)
    sweep(target.parent, glob.escape(target.name))
    part = target.with_name(f"{target.name}{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            lock(file)  # so that nobody sweeps it, whatever the clock says
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

    A part that is being written is locked, and stays when the clock jumps.  One whose time lies
    that far in the future has no writer either.

    Args:
        folder: where to look, but not in the folders below it.
        names: a glob pattern of the names of the files that were being written.
    """
    for part in Path(folder).glob(names + _PART):
        with contextlib.suppress(OSError):
            found = part.lstat()
            if abs(time.time() - found.st_mtime) > STALE and _is_left(part, found.st_mode):
                part.unlink()


def _is_left(part: Path, mode: int) -> bool:
    """Whether no process writes a part; where there are no locks, its age has to say so."""
    if not stat.S_ISREG(mode):
        return True
    with part.open("rb") as file:
        return lock(file) is not False


def open_regular(path: AnyPath) -> io.BufferedReader:
    """Open a file to read its bytes, unless that could wait for ever.

    Raises:
        TypeError: `path` is no text and no Path.
        ValueError: `path` is a folder, a pipe or a device.
        OSError: there is no such file, or it cannot be read.
    """
    if _mode(check_path(path)) is None:
        raise FileNotFoundError(f"there is no file {path}")
    return open(path, "rb")


def check_path(path: AnyPath, name: str = "path") -> AnyPath:
    """Return a path (TypeError, ValueError); a number would be taken for a file that is open."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a text or a Path, got {type(path).__name__}")
    if path == "":
        raise ValueError(f"{name} must be the name of a file, got an empty text")
    return path


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
