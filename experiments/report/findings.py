"""What a report hands over: findings with a verdict, tables, and figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from matplotlib.figure import Figure

AGREES = "agrees"
DIFFERS = "differs"
OPEN = "cannot be told on these data"


class Table(NamedTuple):
    """A table under the findings; every cell is a text."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Printed(NamedTuple):
    """A number as a slide prints it, beside what it is; where they differ, a slip and its cause."""

    slide: str
    what: str
    printed: str
    found: float
    why: str = ""  # what led to the slip

    @property
    def computed(self) -> str:
        """The number with the digits of the print, two more where those do not tell it."""
        digits = len(self.printed.partition(".")[2])
        short = f"{self.found:.{digits}f}"
        told = short == self.printed or abs(float(short) - self.found) < 1e-5
        return short if told else f"{self.found:.{digits + 2}f}"

    @property
    def right(self) -> bool:
        return self.computed == self.printed


class Answer(NamedTuple):
    """What an experiment says of one row of `lecture.ROWS`."""

    verdict: str  # AGREES, DIFFERS or OPEN
    because: str  # the numbers that the verdict follows from


class Findings(NamedTuple):
    """What was found, in sentences whose numbers come from the record, and the verdict."""

    sentences: list[str]
    verdict: str  # AGREES, DIFFERS or OPEN
    tables: tuple[Table, ...] = ()
    printed: tuple[Printed, ...] = ()
    by_slides: Mapping[str, Answer] = {}  # of its rows of `lecture.ROWS`


class Plot(NamedTuple):
    """A figure to be saved as <name>.png and <name>.svg."""

    name: str
    figure: Figure
    caption: str  # how to read it
    alt: str  # what it shows, for who cannot see it


class Report(Protocol):
    """The names of a report's module."""

    SLIDES: str  # "11-17"
    QUESTION: str  # the heading
    CLAIM: str  # what the slides say
    SECONDS: float  # on digits, two cores, with compilation

    def findings(self, record: Any) -> Findings: ...

    def draw(self, record: Any) -> Iterator[Plot]: ...
