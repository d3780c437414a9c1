"""Progress on the terminal: which experiment, how far it is, the time left.

Everything goes to standard error, and the bars only to a terminal.  A log file holds one line per
experiment, and one every EVERY seconds while something long runs.
"""

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
EVERY = 20.0  # seconds between two lines of progress in a log
TRUST = 5.0  # seconds of work after which the measured pace counts as much as the guess
DIGITS = 1437 * 64  # numbers in the training images that SECONDS were noted down on
GROWTH = 0.3  # the power of N x D that times grew with, from digits to MNIST and CIFAR-10


class _Bar(tqdm):
    """A bar whose time left does not jump when the clock is set."""

    def __init__(self, items: Iterable[Any] | None, what: str, total: int | None) -> None:
        super().__init__(items, what, total, leave=False, disable=None, file=sys.stderr)
        self._time = time.monotonic
        self.start_t = self.last_print_t = time.monotonic()


def bar(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The items, with a bar that says how many of them are done and the time left."""
    return _Bar(items, what, total)


def watcher(what: str) -> Callable[[int, int], None]:
    """A bar as a callback (done, total), which closes itself; in a log, a line now and then."""
    if not sys.stderr.isatty():
        return _logger(what)
    bars: list[tqdm] = []

    def watch(done: int, total: int) -> None:
        if not bars:
            bars.append(_Bar(None, what, total))
        bars[0].update(done - bars[0].n)
        if done >= total:
            bars[0].close()

    return watch


def _logger(what: str) -> Callable[[int, int], None]:
    """Lines for a log, every EVERY seconds: how much is done, and the time left."""
    began = last = time.perf_counter()
    first = 0

    def watch(done: int, total: int) -> None:
        nonlocal last, began, first
        now = time.perf_counter()
        if not first:
            began, first = now, done  # what came before was compilation
        elif done < total and now - last >= EVERY:
            last, left = now, (now - began) / max(1, done - first) * (total - done)
            say(f"    {what}: {done / total:.0%} done, {told(left)} left")

    return watch


def told(seconds: float) -> str:
    """A time left: "about 40 s", "about 3 min"."""
    if seconds < 100:
        return f"about {max(1, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 100 else f"about {minutes / 60:.1f} h"


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


@contextlib.contextmanager
def noting() -> Iterator[None]:
    """Within it warnings of lincls are notes: a line each, without the code that warned."""

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"note: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = note
        yield
