"""Read files into memory from a folder, a gzipped file or a tar archive.

Nothing is unpacked to disk, so no name in an archive can lead outside of it, and links are
not followed.  A gzipped file is read to its end, where gzip keeps its checksum, but not
beyond the size that its content may have: a gigabyte of zeros is a megabyte of gzip.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from lincls import files

Buffer = bytes | memoryview
GZIP = b"\x1f\x8b"  # how a gzipped file begins, whatever it is called


def read_file(path: Path, largest: int) -> bytes:
    """Return the content of a file, unpacked if it is gzipped.

    Args:
        path: the file.
        largest: bytes that its content may have.

    Raises:
        ValueError: it is damaged, or larger, or no regular file.
    """
    with files.open_regular(path) as file:
        is_gzip = file.peek(2).startswith(GZIP)
        content = gzip.GzipFile(fileobj=file) if is_gzip else file
        try:
            found = content.read(largest + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    if len(found) > largest:
        raise ValueError(f"{path} is damaged: it holds more than {largest:,} bytes")
    return found


def read_tar(path: Path, names: Collection[str], largest: int) -> Mapping[str, Buffer]:
    """Return the regular files of a .tar.gz whose name, without folders, is one of `names`.

    Args:
        path: the archive.
        names: of the files to return.
        largest: bytes that the unpacked archive may have.

    Raises:
        ValueError: the archive is damaged or larger, or does not hold each name once.
    """
    data = read_file(path, largest)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            members = [(PurePosixPath(m.name).name, m) for m in tar if m.isreg()]
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    for name in names:
        if (times := sum(name == other for other, _ in members)) != 1:
            raise ValueError(f"{path} must hold one file {name}, it holds {times}")
    view = memoryview(data)
    return {
        name: view[member.offset_data : member.offset_data + member.size]
        for name, member in members
        if name in names
    }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as it is on the disk, in hexadecimal."""
    with files.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
