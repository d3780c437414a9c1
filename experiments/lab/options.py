"""The one command line of all experiments.

An experiment declares its numbers as a frozen dataclass of flags,

    @dataclass(frozen=True)
    class Settings:
        num_folds: int = flag(5, "folds of the cross-validation", low=2)

and gets `--num-folds`, its default in --help, its value under `--smoke` and a plain error
from here.  `python -m experiments` takes the same flags with the experiment's name before
them (`--choose-k.num-folds 10`), so no number exists that a flag cannot change.  Its --help
names the experiments, and the --help of each shows its flags.
"""

import argparse
import contextlib
import dataclasses
import difflib
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from experiments.lab.experiment import Bounds, flag


@dataclasses.dataclass(frozen=True)
class Source:
    """The flags of every program that takes a data set: what it is, and how to read it."""

    dataset: str = flag("digits", "name of a data set, or the path of a file or folder")
    data_dir: str = flag("", "folder that holds the official files of the data set")
    data_url: str = flag("", "address of its archive, or of the folder of its files")
    size: int = flag(0, "pixels of a side that the images of a folder get; 0: as they are", low=0)
    crop: bool = flag(False, "cut the images of a folder square around their middle first")
    labels: str = flag("", "the label column of a .csv or .parquet file")
    seed: int = flag(0, "seed of every random draw", low=0)


@dataclasses.dataclass(frozen=True)
class Smoke:
    """The flag of every program that can be tried."""

    smoke: bool = flag(False, "tiny settings: does it run? (written to a folder of its own)")


@dataclasses.dataclass(frozen=True)
class Output(Smoke):
    """The flags of every program that writes files."""

    out: str = flag("results", "folder that everything is written to")


@dataclasses.dataclass(frozen=True)
class Common(Output, Source):
    """The flags that every experiment shares."""

    again: bool = flag(False, "compute again what is already finished")


@dataclasses.dataclass(frozen=True)
class Drawn(Common):
    """The flags of an experiment with figures."""

    style: str = flag(
        "page", "slides: each figure also as NAME.slides.png and .svg, 16:9, for a projector",
        choices=("page", "slides"),
    )  # fmt: skip
    verbose: bool = flag(False, "print every sentence, table and verdict")


@dataclasses.dataclass(frozen=True)
class All(Drawn):
    """The flags of all experiments together."""

    quick: bool = flag(False, "only those that end within a minute on digits")


NUMBERLESS = ("again", "out", "quick", "style", "verbose")  # shared flags that decide no number
METAVARS = {int: "N", float: "X", str: "NAME"}


class Parser(argparse.ArgumentParser):
    """argparse that says what is wrong in one line, with what was probably meant.

    Attributes:
        programs: names of experiments that are programs of their own.
    """

    programs: Sequence[str] = ()

    @contextlib.contextmanager
    def refusing(self, *more: type[Exception]) -> Iterator[None]:
        """End the program with one line for what is wrong with files, data and settings."""
        caught: tuple[type[Exception], ...] = (ValueError, TypeError, OSError, ImportError, *more)
        try:
            yield
        except caught as error:
            self.error(sentence(error))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        typed = sys.argv[1:] if args is None else list(args)
        known, unknown = self.parse_known_args(typed, namespace)
        if unknown:
            self.error(self._about(unknown[0], typed))
        return known

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())}\n")

    def _about(self, word: str, typed: list[str]) -> str:
        if not word.startswith("-"):
            return self._about_a_bare_word(word, typed)
        flags = list(self._option_string_actions)
        wanted = word.split("=")[0]
        of_others = [flag for flag in flags if flag.endswith(f".{wanted.lstrip('-')}")]
        meant = of_others or difflib.get_close_matches(wanted, flags, n=1)
        told = f"; did you mean {' or '.join(meant)}?" if meant else "; --help lists the flags"
        return f"there is no flag {word}{told}"

    def _about_a_bare_word(self, word: str, typed: list[str]) -> str:
        near = difflib.get_close_matches(word.replace("-", "_"), self.programs, n=1)
        if not near:
            return f"{word!r} belongs to no flag; --help lists them"
        others = [each for each in typed if each != word]
        return f"did you mean: {shlex.join([*f'{self.prog}.{near[0]}'.split(), *others])}"


def sentence(error: Exception) -> str:
    """What an error says; of the system's own, the file first and no number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or f"{type(error).__name__} without a message"


def fields(settings: type) -> dict[str, dataclasses.Field[Any]]:
    """The flags of a Settings class by name, in their order."""
    return {field.name: field for field in dataclasses.fields(settings)}


class _List(argparse.Action):
    """--list: print what `const` returns and exit."""

    def __call__(self, parser: Any, *_: Any) -> None:
        print(self.const())
        parser.exit()


def build(
    prog: str,
    description: str,
    groups: Mapping[str, type],
    listing: Callable[[], str],
    common: type = Common,
    questions: Mapping[str, str] | None = None,
) -> Parser:
    """A parser of the shared flags and of each group's Settings.

    Args:
        prog: how the program is called.
        description: what it does, for --help.
        groups: title -> Settings class.  One group's flags stand bare; of several, each
            flag carries its title (`--choose-k.num-folds`), and --help leaves it out.
        listing: makes what --list prints.
        common: the shared flags, Common or more.
        questions: title -> the question of each group, for the --help of several.
    """
    parser = Parser(prog=prog, usage=f"{prog} [flags]", description=description, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--list", action=_List, nargs=0, const=listing, help="list the experiments and exit"
    )
    add(parser, common)
    if len(groups) == 1:
        ((title, settings),) = groups.items()
        add(parser.add_argument_group(title.replace("_", " ")), settings)
        return parser
    parser.programs = list(groups)
    parser.epilog = _of_questions(prog, questions or {})
    for title, settings in groups.items():
        add(parser, settings, f"{title}.", hidden=True)
    return parser


def _of_questions(prog: str, questions: Mapping[str, str]) -> str:
    """What --help says of the programs of single questions."""
    lines = [f"  {title:<18}  {question}" for title, question in questions.items()]
    return "\n".join([
        "questions:", *lines, "",
        f"Each is a program too: `{prog}.choose_k --help` shows its numbers.",
        "Here the same flags begin with its name: --choose-k.ks 1 3 5.",
    ])  # fmt: skip


def add(parser: Any, settings: type, prefix: str = "", hidden: bool = False) -> None:
    """Add the flags of a Settings class to a parser or to a group of it."""
    for name, field in fields(settings).items():
        word = f"--{prefix}{name}".replace("_", "-")
        text = field.metadata["help"].replace("%", "%%")
        shared: Any = {"dest": prefix + name, "default": argparse.SUPPRESS}
        if field.default is False:
            shared["help"] = argparse.SUPPRESS if hidden else text
            parser.add_argument(word, action="store_true", **shared)
            continue
        default: Any = field.default
        many = isinstance(default, tuple)
        example = (*default, "")[0] if many else default  # nothing by default: texts
        choices = field.metadata["choices"]
        usual = "" if default in ("", ()) else f" (default: {shown(default)})"
        parser.add_argument(
            word,
            type=_choice(choices) if choices else _reader(example, field.metadata["bounds"]),
            nargs="+" if many else None,
            metavar="{" + ",".join(choices) + "}" if choices else METAVARS[type(example)],
            help=argparse.SUPPRESS if hidden else text + usual,
            **shared,
        )


def whole(low: int) -> Callable[[str], int]:
    """What reads one word as a whole number that is at least `low`."""
    read: Callable[[str], int] = _reader(low, Bounds(low))
    return read


def _reader(example: Any, bounds: Bounds) -> Any:
    """Read one word as a value of the example's type; the errors name what is expected."""
    kind = {int: "a whole number", float: "a number", str: "a text"}[type(example)]
    expected = ", ".join(filter(None, (kind, bounds.told)))

    def read(word: str) -> Any:
        try:
            value = type(example)(word)
        except ValueError:
            value = None
        finite = not isinstance(value, float) or math.isfinite(value)
        if value is None or not finite or not bounds.hold(value):
            more = "" if finite else " and finite"
            raise argparse.ArgumentTypeError(f"must be {expected}{more}, got {word!r}")
        return value

    return read


def _choice(choices: Sequence[str]) -> Callable[[str], str]:
    """Read one of several words; the error names the nearest."""

    def read(word: str) -> str:
        if word not in choices:
            told = f"must be {' or '.join(choices)}, got {word!r}{_near(word, choices)}"
            raise argparse.ArgumentTypeError(told)
        return word

    return read


def _near(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), words, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def shown(value: Any) -> str:
    """A value as one types it."""
    if isinstance(value, tuple):
        return " ".join(shown(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def values(settings: type, given: Mapping[str, Any], smoke: bool, prefix: str = "") -> Any:
    """An instance of Settings: what was typed, else the smoke value, else the default."""
    chosen = {}
    for name, field in fields(settings).items():
        value = given.get(prefix + name, field.metadata["smoke"] if smoke else field.default)
        chosen[name] = tuple(value) if isinstance(value, list) else value
    return settings(**chosen)


def parse(
    parser: Parser,
    groups: Mapping[str, type],
    argv: Sequence[str] | None = None,
    common: type = Common,
) -> tuple[Any, dict[str, Any]]:
    """Read the command line: the shared flags, and the settings of each group by title."""
    given = vars(parser.parse_args(argv))
    smoke = bool(given.get("smoke", False))
    several = len(groups) > 1
    return values(common, given, smoke), {
        title: values(settings, given, smoke, f"{title}." if several else "")
        for title, settings in groups.items()
    }


def command(program: str, common: Common, settings: Any = None) -> str:
    """The command line, quoted for a shell, that runs a program with exactly these settings."""
    words = ["python", "-m", program]
    for instance in filter(None, (common, settings)):
        for name, field in fields(type(instance)).items():
            value = getattr(instance, name)
            usual = field.metadata["smoke"] if common.smoke else field.default
            if name not in NUMBERLESS and (value != usual or (name == "smoke" and value)):
                words.append(f"--{name}".replace("_", "-"))
                several = value if isinstance(value, tuple) else (value,)
                words += [] if value is True else [shown(each) for each in several]
    return shlex.join(words)
