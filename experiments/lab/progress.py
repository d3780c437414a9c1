"""Progress on the terminal: which experiment, how far it is, the time left.

Everything goes to standard error, and the bars only to a terminal, so that a log file
holds one line per experiment.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
TRUST = 5.0  # seconds of work after which the measured pace counts as much as the guess
DIGITS = 1437 * 64  # numbers in the training images that SECONDS were noted down on
GROWTH = 0.3  # the power of N x D that times grew with, from digits to MNIST and CIFAR-10


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


class Expected(NamedTuple):
    """Seconds that a task should take: as measured with these data, or guessed."""

    seconds: float
    measured: bool


def scale(num_numbers: int) -> float:
    """How many times longer than on digits a task takes, at a guess, for N x D numbers."""
    return float((num_numbers / DIGITS) ** GROWTH)


class Clock:
    """The time left of several tasks, from what each should take and the pace so far.

    Args:
        expected: name -> what the task should take.
    """

    def __init__(self, expected: Mapping[str, Expected]) -> None:
        self._rest = dict(expected)
        self._guessed, self._spent = 0.0, 0.0  # seconds of finished tasks that were guessed
        self._last = time.perf_counter()

    def done(self, name: str) -> None:
        """The task of this name has ended, well or not."""
        task, now = self._rest.pop(name), time.perf_counter()
        if not task.measured:
            self._guessed += task.seconds
            self._spent += now - self._last
        self._last = now

    def left(self) -> float | None:
        """Seconds until all is done; None while there is nothing but guesses.

        Guesses are corrected by the pace of those before them, with TRUST seconds as guessed.
        """
        measured = sum(task.seconds for task in self._rest.values() if task.measured)
        guessed = sum(task.seconds for task in self._rest.values() if not task.measured)
        if guessed and not self._guessed:
            return None
        pace = (self._spent + TRUST) / (self._guessed + TRUST) if guessed else 1.0
        return measured + guessed * pace


def say(text: str) -> None:
    """A line that does not break a bar in progress."""
    tqdm.write(text, file=sys.stderr)
