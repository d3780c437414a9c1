"""One program at a time in a folder of results."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def held(folder: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of a folder; the operating system frees it however the program ends.

    Args:
        folder: made if it is missing.
        on_wait: called once if another program holds the lock, before waiting for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
