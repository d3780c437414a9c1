"""Progress on the terminal: which experiment, how far it is, how long it takes.

Everything goes to standard error, and the bars only to a terminal, so that a log file
holds one line per experiment.
"""

import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def bar(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The items, with a bar that says how many of them are done and the time left."""
    return tqdm(items, what, total, leave=False, disable=None, file=sys.stderr)


def watcher(what: str) -> Callable[[int, int], None]:
    """A bar as a callback (done, total), which closes itself when all is done."""
    bars: list[tqdm] = []

    def watch(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(None, what, total, leave=False, disable=None, file=sys.stderr))
        bars[0].update(done - bars[0].n)
        if done >= total:
            bars[0].close()

    return watch


def say(text: str) -> None:
    """A line that does not break a bar in progress."""
    tqdm.write(text, file=sys.stderr)
