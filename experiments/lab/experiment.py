"""What a question hands over: its settings as flags, and the numbers that it computed."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax

from experiments.lab.gate import Data


class Bounds(NamedTuple):
    """What a number of a flag must be: low <= number <= high, above < number < below."""

    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None

    def hold(self, number: Any) -> bool:
        return (
            (self.low is None or number >= self.low)
            and (self.above is None or number > self.above)
            and (self.high is None or number <= self.high)
            and (self.below is None or number < self.below)
        )

    @property
    def told(self) -> str:
        """In words: "at least 0 and less than 1"; empty without bounds."""
        words = {"low": "at least", "above": "greater than", "high": "at most",
                 "below": "less than"}  # fmt: skip
        parts = [f"{words[name]} {end:g}" for name, end in self._asdict().items()
                 if end is not None]  # fmt: skip
        return " and ".join(parts)


def flag(
    default: Any,
    help: str,
    *,
    smoke: Any = None,
    choices: Sequence[str] | None = None,
    **bounds: float,
) -> Any:
    """A field of a Settings dataclass: a number, a text, or a tuple of either.

    Args:
        default: the value unless the command line says otherwise; its type is the flag's.
        help: one line for --help.
        smoke: the value under --smoke (a run of a second or two); the default if None.
        choices: the texts allowed.
        bounds: of `Bounds`: low, above, high, below; they hold for each entry of a tuple.
    """
    metadata = {"help": help, "smoke": default if smoke is None else smoke, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata | {"bounds": Bounds(**bounds)})


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


class Question(Protocol):
    """The names of a question's module."""

    Settings: type  # frozen dataclass of `flag` fields

    def compute(self, data: Data, key: jax.Array, settings: Any) -> Outcome:
        """One with long parts takes `parts: Parts` as well, and keeps them there by name."""
