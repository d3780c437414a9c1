"""Progress on the terminal: which experiment, how far it is, the time left.

Everything goes to standard error, and the bars only to a terminal, so that a log file
holds one line per experiment.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
TRUST = 5.0  # seconds of work after which the measured pace counts as much as the expected one


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


class Clock:
    """The time left of several tasks, from what each should take and the pace so far.

    Args:
        expected: name -> seconds on the machine that they were noted down on.
    """

    def __init__(self, expected: Mapping[str, float]) -> None:
        self._rest = dict(expected)
        self._total = sum(expected.values())
        self._began = time.perf_counter()

    def done(self, name: str) -> None:
        """The task of this name has ended, well or not."""
        del self._rest[name]

    def left(self) -> float:
        """Seconds until all is done; the expectation counts as `TRUST` seconds of experience."""
        rest = sum(self._rest.values())
        spent = time.perf_counter() - self._began
        return rest * (spent + TRUST) / (self._total - rest + TRUST)


def say(text: str) -> None:
    """A line that does not break a bar in progress."""
    tqdm.write(text, file=sys.stderr)
