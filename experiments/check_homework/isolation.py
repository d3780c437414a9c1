"""The student's file runs in a process of its own.

It may hang, print without end, exit or crash: then its process is ended, the function fails with
that as its reason, and a new process goes on with the next one.  That is no sandbox.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from experiments.check_homework import reading
from experiments.check_homework.finding import Left, find
from experiments.check_homework.judging import FAIL, Line, judge
from experiments.check_homework.tables import ROLES

STARTING = 120.0  # seconds for Python to come up, on a busy machine


class File(NamedTuple):
    """What a file holds: functions that are checked, others, and notes of its import."""

    checked: list[str]
    left: list[Left]
    notes: list[str]
    problem: str = ""  # why nothing could be read


def check(file: Path, seconds: float) -> Iterator[File | Line]:
    """What the file holds, then the lines of each function."""
    held: File | None = None
    done = 0
    while held is None or done < len(held.checked):
        with _Worker(file, done) as worker:
            case = ""
            try:
                worker.receive(STARTING)
                first = worker.receive(seconds)
                if held is None:
                    yield first
                held = first
                while done < len(first.checked):
                    message = worker.receive(seconds)
                    if isinstance(message, Line):
                        yield message
                    elif message is None:
                        done += 1
                    else:
                        case = message
            except (EOFError, OSError) as error:
                why = "It ends the process." if not isinstance(error, TimeoutError) else (
                    f"No answer within {seconds:g} s: an endless loop, or too slow.")  # fmt: skip
                if held is None:
                    yield File([], [], [], f"importing {file.name}: {why}")
                    return
                yield Line(FAIL, held.checked[done], why, case)
                done += 1


class _Worker:
    """The other process and the pipe to it."""

    def __init__(self, file: Path, first: int) -> None:
        self.ours, self.theirs = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.get_context("spawn").Process(
            target=work, args=(file, first, self.theirs), daemon=True
        )

    def __enter__(self) -> "_Worker":
        self.process.start()
        self.theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()

    def receive(self, seconds: float) -> Any:
        if not self.ours.poll(seconds):
            raise TimeoutError
        return self.ours.recv()


def work(file: Path, first: int, connection: Connection) -> None:
    """In the other process: that it is up, what the file holds, then case after case and lines."""
    _silence()
    connection.send("up")
    try:
        names, notes = reading.namespace(file)
    except (SyntaxError, ValueError) as error:
        connection.send(File([], [], [], _told(file, error)))
        return
    found, left = find(names, ROLES)
    connection.send(File([one.name for one in found], left, notes))
    for one in found[first:]:
        for line in judge(one, connection.send):
            connection.send(line)
        connection.send(None)


def _silence() -> None:
    """What the file prints is no report, and nobody answers where it asks."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.stdin = open(os.devnull)  # noqa: SIM115 -- open as long as the process


def _told(file: Path, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{file.name} is no Python: line {error.lineno}: {error.msg}"
    return str(error)
