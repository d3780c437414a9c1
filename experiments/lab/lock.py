"""One program at a time in a folder of results."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lincls import files

_AGAIN = 0.2  # seconds until the lock is tried again


@contextlib.contextmanager
def held(folder: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of a folder; the operating system frees it however the program ends.

    Args:
        folder: made if it is missing.
        on_wait: called once if another program holds the lock, before waiting for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        if files.lock(file) is False:
            on_wait()
            while files.lock(file) is False:
                time.sleep(_AGAIN)
        yield
