"""Reading named files out of a folder, a gzipped file or a tar archive, into memory.

Nothing is unpacked to disk, so no name in an archive can lead outside of it, and links
are not followed.  A gzipped file is read to its very end before any of it is believed,
because that is where gzip keeps the checksum that tells a damaged one.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

Buffer = bytes | memoryview
GZIP = b"\x1f\x8b"  # how a gzipped file begins, whatever it is called


def read_file(path: Path) -> bytes:
    """Return the content of a file, unpacked if it is gzipped (ValueError: damaged)."""
    content = path.read_bytes()
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def read_tar(path: Path, names: Collection[str]) -> Mapping[str, Buffer]:
    """Return the regular files of a .tar.gz whose name, without folders, is one of `names`.

    Raises:
        ValueError: the archive is damaged, or holds one of the names twice or not at all.
    """
    data = read_file(path)
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
    """Return the SHA-256 of a file as it lies there, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
