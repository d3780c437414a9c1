"""What an experiment is, and what it hands over.

An experiment is a module `experiments/<question>.py` with the names of `Experiment`.
`compute` makes numbers and knows nothing of pictures; `findings` and `draw` read the
record that was written of it, and nothing else, so a new style never trains again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
from matplotlib.figure import Figure

from experiments.lab.gate import Data

AGREES = "agrees"
DIFFERS = "differs"
OPEN = "cannot be told on these data"


class Classifier(NamedTuple):
    """A row of the closing table: one classifier, tested once.

    Its times, which differ from run to run, stand in `Outcome.seconds` as
    "training: NAME" and "a test image: NAME", both without compilation.
    """

    name: str
    chosen: str  # what was chosen without the test set, and its value
    correct: int  # test examples classified right
    total: int  # test examples
    stored: int  # numbers the model keeps
    memory: int = 0  # bytes they take, 0 where nobody counted


@dataclass
class Outcome:
    """What `compute` returns.

    Attributes:
        numbers: JSON-able results, the same for the same seed on the same machine.
        arrays: what figures are drawn from; saved beside, in arrays.npz.
        classifiers: rows for the closing table.
        seconds: measured times, apart because they differ from run to run.
    """

    numbers: dict[str, Any]
    arrays: dict[str, Any] = field(default_factory=dict)
    classifiers: list[Classifier] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


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


class Experiment(Protocol):
    """The names of an experiment's module."""

    SLIDES: str  # "11-17"
    QUESTION: str  # the heading
    CLAIM: str  # what the slides say
    SECONDS: float  # on digits, two cores, with compilation
    Settings: type  # frozen dataclass of options.flag fields

    def compute(self, data: Data, key: jax.Array, settings: Any) -> Outcome: ...

    def findings(self, record: Any) -> Findings: ...

    def draw(self, record: Any) -> Iterator[Plot]: ...
