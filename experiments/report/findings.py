"""What a report hands over: findings with a verdict, tables, and figures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from matplotlib.figure import Figure

AGREES = "agrees"
DIFFERS = "differs"
UNDECIDED = "undecided"  # these data do not settle it
MISPRINT = "misprint"  # the claim holds; a number on the slide is wrong
ELSEWHERE = "other data"  # the slide speaks of a data set that this is not
LEGEND = {
    AGREES: "the data bear the claim out, or the number is right",
    DIFFERS: "the data contradict the claim",
    UNDECIDED: "the data do not settle it: the 95 % interval allows both",
    MISPRINT: "the claim holds, but a number printed on the slide is wrong",
    ELSEWHERE: "the slide speaks of another data set",
}
_SEVERITY = (DIFFERS, UNDECIDED, MISPRINT, AGREES, ELSEWHERE)


def together(verdicts: Iterable[str]) -> str:
    """The verdict on several claims: the most severe one."""
    found = set(verdicts)
    return next(verdict for verdict in _SEVERITY if verdict in found)


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

    verdict: str  # AGREES, DIFFERS or UNDECIDED
    because: str  # the numbers that the verdict follows from


class Findings(NamedTuple):
    """What was found: sentences and tables whose numbers come from the record, and verdicts."""

    sentences: list[str]  # at most three, the finding first; a table carries the rest
    answers: Mapping[str, Answer]  # by slides: the question's rows of `lecture.ROWS`
    tables: tuple[Table, ...] = ()
    printed: tuple[Printed, ...] = ()

    @property
    def verdict(self) -> str:
        """The most severe verdict of all answers."""
        return together(answer.verdict for answer in self.answers.values())

    @property
    def summary(self) -> str:
        """The verdict in words: "agrees", or "5 of 6 claims agree, 1 undecided"."""
        counts = Counter(answer.verdict for answer in self.answers.values())
        total = counts.total() - counts[ELSEWHERE]
        if total <= 1:
            return self.verdict
        others = [f"{counts[one]} {one}" for one in (DIFFERS, UNDECIDED, MISPRINT) if counts[one]]
        return ", ".join([f"{counts[AGREES]} of {total} claims agree", *others])


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
