"""Downloads that arrive whole, or end with one sentence that says why not.

`fetch` keeps what has arrived in a `.part` file.  It goes on from there as long as
connections bring something, and so do later calls.  The file gets its name only when its
SHA-256 is the published one.  Nothing waits for ever: an answer must begin within `OPENING`
seconds, and bytes must keep coming.

The transport is urllib and the lock is the system's.  requests needs the same thread, since
its timeouts bound neither the resolving of a name nor a header that comes drop by drop.
filelock fails where a file system knows no locks; here a file of one's own serves instead.
"""

import contextlib
import os
import socket
import ssl
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, NamedTuple

from lincls import files
from lincls.data import archives
from lincls.data.catalog import Download
from lincls.data.dataset import DataUnavailable

OPENING = 7.0  # seconds in which an answer must begin, resolving the name included
IDLE = 6.0  # seconds in which something must arrive, and IDLE * SLOWEST bytes in twice that time
SLOWEST = 500  # bytes a second
WORTH = 4096  # bytes that a connection must have brought if another is to go on from there
CHUNK = 1 << 16  # bytes that are read at a time


class Progress(NamedTuple):
    """How far a download has come."""

    filename: str
    done: int  # bytes on disk
    total: int  # bytes
    rate: float  # bytes a second, since this call began
    finished: bool


OnProgress = Callable[[Progress], None]
Report = Callable[..., None]  # (bytes on disk, finished=False)


def fetch(
    wanted: Download,
    folder: Path,
    *,
    url: str | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Download a file into `folder` unless it is there, and return its path.

    Several processes may do so at once.

    Args:
        wanted: what to fetch; its size and SHA-256 decide whether it has arrived.
        folder: where to put it.
        url: another address of the same bytes; `wanted.url` by default.
        on_progress: called with every piece that arrives; by default a line on stderr.

    Raises:
        DataUnavailable: it did not arrive; one sentence says why.
    """
    target = folder / wanted.filename
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(target) as part:
            if not _is(wanted, target):
                _complete(wanted, url or wanted.url, part, on_progress or Line())
                os.replace(part, target)
    except DataUnavailable:
        raise
    except OSError as error:
        raise DataUnavailable(
            f"{folder} cannot take the {wanted.size:,} bytes of {wanted.filename} "
            f"({error.strerror or error}); set the environment variable LINCLS_CACHE to a "
            "folder with room that you may write to"
        ) from error
    return target


def _is(wanted: Download, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size == wanted.size and archives.sha256(path) == wanted.sha256
    return False


def _complete(wanted: Download, address: str, part: Path, on_progress: OnProgress) -> None:
    """Receive what is missing of a file, and verify the whole.

    Where what an earlier call had kept may be to blame for wrong bytes, begin anew.
    """
    with part.open("ab") as file:  # closed before it is renamed, as Windows demands
        kept = _size(file)
        _receive_all(wanted, address, file, _reporting(wanted, kept, on_progress))
    found = archives.sha256(part)
    if found == wanted.sha256:
        return
    part.unlink()
    if kept:
        return _complete(wanted, address, part, on_progress)
    raise DataUnavailable(
        f"{address} sent {wanted.size:,} bytes with SHA-256 {found} where "
        f"{wanted.sha256} was expected; they were thrown away"
    )


class _Interrupted(Exception):
    """A connection ended before the file did; says how."""


def _receive_all(wanted: Download, address: str, file: IO[bytes], report: Report) -> None:
    """Complete a partial file, by as many connections as bring it forward."""
    best = _size(file)
    while True:
        try:
            _receive(wanted, address, file, report)
            return report(wanted.size, finished=True)
        except _Interrupted as how:
            done = _size(file)
            if done < best + WORTH:
                report(done, finished=True)
                raise DataUnavailable(
                    f"{address} {how} after {done:,} of {wanted.size:,} bytes; they are kept, "
                    "and the next try goes on from there"
                ) from how
            best = done


def _size(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)  # tell() does not notice that a file was cut


def _receive(wanted: Download, address: str, file: IO[bytes], report: Report) -> None:
    """Append what the server sends until the file is whole; _Interrupted if it stops before."""
    done = _size(file)
    if done > wanted.size:
        done = file.truncate(0)
    if done == wanted.size:
        return
    with _open(address, done) as response:
        done = mark = file.truncate(_begin(wanted, address, response, done))
        since = time.monotonic()
        while done < wanted.size:
            done += file.write(_read(response, min(CHUNK, wanted.size - done)))
            report(done)
            seconds = time.monotonic() - since
            if seconds >= IDLE:
                if done - mark < SLOWEST * seconds:
                    raise _Interrupted(f"sent {done - mark:,} bytes in {seconds:.0f} seconds")
                since, mark = time.monotonic(), done


def _begin(wanted: Download, address: str, response: Any, done: int) -> int:
    """Check what an answer promises; return the number of bytes that it goes on from."""
    if response.headers.get_content_type() == "text/html":
        raise DataUnavailable(
            f"{address} led to a web page instead of the file, at {response.url}: {LOG_IN}"
        )
    start = done if response.status == 206 else 0  # a server may begin anew, whatever we asked for
    length = response.headers.get("Content-Length")
    if length is not None and length.isdecimal() and start + int(length) != wanted.size:
        raise DataUnavailable(
            f"{address} offers {start + int(length):,} bytes where {wanted.size:,} were expected"
        )
    return start


def _open(address: str, start: int) -> Any:
    """Send the request, and return the answer whose body is yet to come.

    Resolving a name knows no time limit and a header may come drop by drop.  So a thread
    does it, which is left to itself when it takes too long.
    """
    headers = {"User-Agent": "lincls"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(address, headers=headers)
    outcome: list[Any] = []

    def ask() -> None:
        try:
            context = trusted() if address.startswith("https:") else None
            outcome.append(urllib.request.urlopen(request, timeout=IDLE, context=context))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(OPENING)
    if not outcome:
        raise DataUnavailable(f"{address} did not answer within {OPENING:.0f} seconds")
    if isinstance(outcome[0], Exception):
        raise DataUnavailable(f"{address} {_reason(outcome[0])}") from outcome[0]
    return outcome[0]


def trusted() -> ssl.SSLContext:
    """Return who may vouch for a server: the system's certificates, and those of certifi.

    A Python from python.org finds none of the system's on macOS.
    """
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _read(response: Any, size: int) -> bytes:
    """The next bytes, at least one; _Interrupted where there are none."""
    try:
        chunk: bytes = response.read1(size)
    except TimeoutError:
        raise _Interrupted(f"has sent nothing for {IDLE:.0f} seconds") from None
    except (OSError, HTTPException):
        chunk = b""
    if not chunk:
        raise _Interrupted("was cut off")
    return chunk


LOG_IN = "this network may want you to log in first"
REASONS: tuple[tuple[type, str], ...] = (
    (urllib.error.HTTPError, "answered {0.code} {0.reason}"),
    (socket.gaierror, "cannot be found: there seems to be no network"),
    (ConnectionRefusedError, "refused the connection"),
    (TimeoutError, f"did not answer within {IDLE:.0f} seconds"),
    (ssl.SSLCertVerificationError, f"cannot prove that it is itself ({{}}): {LOG_IN}"),
    (object, "cannot be read ({})"),
)


def _reason(error: Exception) -> str:
    """What went wrong before the first byte, as the rest of a sentence."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
    cause = error.reason if type(error) is urllib.error.URLError else error
    text = next(text for kind, text in REASONS if isinstance(cause, kind))
    return " ".join(text.format(cause).split())


def _reporting(wanted: Download, kept: int, on_progress: OnProgress) -> Report:
    """A function that reports how far a call has come, which began with `kept` bytes."""
    start = time.monotonic()

    def report(done: int, finished: bool = False) -> None:
        rate = max(done - kept, 0) / max(time.monotonic() - start, 1e-9)
        on_progress(Progress(wanted.filename, done, wanted.size, rate, finished))

    return report


class Line:
    """Writes progress to stderr: a line that renews itself each second, or one in 30 to a file."""

    def __init__(self) -> None:
        self.alive = sys.stderr.isatty()
        self.last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if not progress.finished and now - self.last < (1 if self.alive else 30):
            return
        self.last = now
        left = (progress.total - progress.done) / max(progress.rate, 1)
        text = (
            f"{progress.filename}: {progress.done / 1e6:.1f} of {progress.total / 1e6:.1f} MB, "
            f"{progress.rate / 1e3:.0f} kB/s, {left / 60:.1f} min left"
        )
        end = "" if self.alive and not progress.finished else "\n"
        print(f"\r{text}" if self.alive else text, end=end, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[Path]:
    """The partial file of a download, for this process alone; it is kept for the next try.

    Where another process is at work on it, a file of one's own takes its place, which is
    not kept.
    """
    with target.with_name(f".{target.name}.lock").open("ab") as lock:
        if files.lock(lock):
            yield target.with_name(f"{target.name}.part")
            return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.") as own:
        yield Path(own, target.name)
