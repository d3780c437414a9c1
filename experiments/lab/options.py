"""The one command line of all experiments.

An experiment declares its numbers as a frozen dataclass of flags,

    @dataclass(frozen=True)
    class Settings:
        num_folds: int = flag(5, "folds of the cross-validation", low=2)

and gets `--num-folds`, its default in --help, its value under `--smoke` and a plain error
from here.  `python -m experiments` takes the same flags with the experiment's name before
them (`--choose-k.num-folds 10`), so that no number exists that a flag cannot change.
"""

import argparse
import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.lab.experiment import flag


@dataclasses.dataclass(frozen=True)
class Common:
    """The flags that every experiment shares."""

    dataset: str = flag("digits", "name of a data set, or the path of a folder or .npz file")
    data_dir: str = flag("", "folder that holds the official files of the data set")
    data_url: str = flag("", "address of its archive, or of the folder of its files")
    out: str = flag("results", "folder that everything is written to")
    seed: int = flag(0, "seed of every random draw", low=0)
    smoke: bool = flag(False, "tiny settings: does it run? (written to OUT/<dataset>-smoke)")
    again: bool = flag(False, "compute again what is already finished")


@dataclasses.dataclass(frozen=True)
class Drawn(Common):
    """The flags of an experiment with figures."""

    style: str = flag(
        "page", "slides: also NAME.slides.png and .svg, 16:9 for a projector; nothing is "
        "computed again", choices=("page", "slides"),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class All(Drawn):
    """The flags of all experiments together."""

    quick: bool = flag(False, "only the quick ones, at most a minute on digits; see --list")


NUMBERLESS = ("again", "out", "quick", "style")  # shared flags that decide no number


class Parser(argparse.ArgumentParser):
    """argparse that suggests the flag which was probably meant."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._about(unknown[0]))
        return known

    def _about(self, word: str) -> str:
        close = difflib.get_close_matches(word.split("=")[0], self._option_string_actions, n=1)
        meant = f"; did you mean {close[0]}?" if close else "; --help lists the flags"
        return f"there is no flag {word}{meant}"


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
) -> Parser:
    """A parser of the shared flags and of each group's Settings.

    Args:
        prog: how the program is called.
        description: what it does, for --help.
        groups: title -> Settings class.  One group's flags stand bare; of several, each
            flag carries its title (`--choose-k.num-folds`).
        listing: makes what --list prints.
        common: the shared flags, Common or more.
    """
    parser = Parser(prog=prog, usage=f"{prog} [flags]", description=description, allow_abbrev=False)
    parser.add_argument(
        "--list", action=_List, nargs=0, const=listing, help="list the experiments and exit"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add(parser, common)
    for title, settings in groups.items():
        prefix = f"{title}." if len(groups) > 1 else ""
        add(parser.add_argument_group(title.replace("_", " ")), settings, prefix)
    return parser


def add(parser: Any, settings: type, prefix: str = "") -> None:
    """Add the flags of a Settings class to a parser or to a group of it."""
    for name, field in fields(settings).items():
        word = f"--{prefix}{name}".replace("_", "-")
        text = field.metadata["help"].replace("%", "%%")
        shared = {"dest": prefix + name, "default": argparse.SUPPRESS}
        if field.default is False:
            parser.add_argument(word, action="store_true", help=text, **shared)
            continue
        default: Any = field.default
        many = isinstance(default, tuple)
        parser.add_argument(
            word,
            type=_reader(default[0] if many else default, field.metadata["low"]),
            nargs="+" if many else None,
            choices=field.metadata["choices"],
            metavar=name.rsplit("_", 1)[-1].upper() if not field.metadata["choices"] else None,
            help=f"{text} (default: {shown(default)})",
            **shared,
        )


def _reader(example: Any, low: float | None) -> Any:
    """Read one word as a value of the example's type; the errors name what is expected."""
    kind = {int: "a whole number", float: "a number", str: "a text"}[type(example)]
    expected = kind if low is None else f"{kind}, at least {low:g}"

    def read(word: str) -> Any:
        try:
            value = type(example)(word)
        except ValueError:
            value = None
        finite = not isinstance(value, float) or math.isfinite(value)
        if value is None or not finite or (low is not None and not value >= low):
            more = "" if finite else " and finite"
            raise argparse.ArgumentTypeError(f"must be {expected}{more}, got {word!r}")
        return value

    return read


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


def command(title: str, common: Common, settings: Any) -> str:
    """The command line that makes one experiment with exactly these settings."""
    words = ["python -m experiments." + title]
    for instance in (common, settings):
        for name, field in fields(type(instance)).items():
            value = getattr(instance, name)
            usual = field.metadata["smoke"] if common.smoke else field.default
            if name not in NUMBERLESS and (value != usual or (name == "smoke" and value)):
                word = f"--{name}".replace("_", "-")
                words.append(word if value is True else f"{word} {shown(value)}")
    return " ".join(words)
