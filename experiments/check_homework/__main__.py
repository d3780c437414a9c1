"""Checks a student's functions and names the mistake.

    python -m experiments.check_homework FILE.py

It reads a Python file or a notebook, finds functions and classes by the names of the lecture and
of public assignments, and compares their numbers with right and with known wrong functions.
One line for each function that passes, one for each mistake.

The file runs in a process of its own: an exception, an exit or an endless loop is a failed line.
That is no sandbox: check what you would also run.

Exit status: 0 all passed, 1 something failed, 2 nothing could be checked.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.check_homework import isolation, tables
from experiments.check_homework.isolation import File
from experiments.check_homework.judging import FAIL, PASS, Line, disagreements, gathered
from experiments.lab import options


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit status."""
    parser = options.Parser(
        prog="python -m experiments.check_homework",
        description=__doc__,
        epilog="names and forms:\n" + "\n".join(f"  {role.title}" for role in tables.ROLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="FILE.py or FILE.ipynb")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="limit for one call (default: 20)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args(argv)
    if arguments.file.is_dir():
        parser.error(f"{arguments.file} is a folder; give one .py or .ipynb file of it")
    if not arguments.file.is_file():
        parser.error(f"there is no file {arguments.file}")
    if not arguments.seconds > 0:
        parser.error(f"--seconds must be more than 0, got {arguments.seconds:g}")
    held, lines = checked(arguments.file, arguments.seconds, show=not arguments.json)
    status = _status(lines)
    if arguments.json:
        print(json.dumps(_report(held, lines, status), indent=2))
    else:
        print(*_end(held, lines), sep="\n")
    return status


def checked(file: Path, seconds: float, show: bool) -> tuple[File, list[Line]]:
    """What the file holds, and all lines; each is shown as soon as it is known."""
    held, lines = File([], [], []), list[Line]()

    def stream() -> Iterator[Line]:
        nonlocal held
        for one in isolation.check(file, seconds):
            if isinstance(one, Line):
                yield one
                continue
            held = one
            if show:
                print(*_notes(held), sep="\n", end="\n" * bool(_notes(held)))
        yield from disagreements(lines, tables.ROLES)

    for line in gathered(stream()):
        lines.append(line)
        if show:
            print(line, flush=True)
    return held, lines


def _notes(held: File) -> list[str]:
    return [f"note  {note}" for note in held.notes] + [f"FAIL  {held.problem}"] * bool(held.problem)


def _status(lines: Sequence[Line]) -> int:
    if not lines:
        return 2
    return int(any(line.verdict == FAIL for line in lines))


def _failed(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(line.function for line in lines if line.verdict == FAIL))


def _passed(lines: Sequence[Line]) -> list[str]:
    failed = _failed(lines)
    return [one.function for one in lines if one.verdict == PASS and one.function not in failed]


def _end(held: File, lines: Sequence[Line]) -> list[str]:
    """What was not checked, and the sum."""
    told = [f"not checked: {name}" + (f" ({why})" if why else "") for name, why in held.left]
    if not lines:
        return [*told, "Nothing was checked; --help lists the names that are looked for."]
    failed = _failed(lines)
    told.append(
        f"{len(held.checked)} checked: {len(_passed(lines))} passed, {len(failed)} failed"
        + (f" ({', '.join(failed)})" if failed else "")
        + (f"; {len(held.left)} not checked" if held.left else "")
    )
    return told


def _report(held: File, lines: Sequence[Line], status: int) -> dict[str, object]:
    """The same for a grader's program."""
    return {
        "status": status,
        "checked": held.checked,
        "passed": _passed(lines),
        "failed": _failed(lines),
        "not_checked": [left._asdict() for left in held.left],
        "notes": [*held.notes, *([held.problem] if held.problem else [])],
        "lines": [line._asdict() for line in lines],
    }


if __name__ == "__main__":
    sys.exit(main())
