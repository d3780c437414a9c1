"""Checks functions that someone has written against those of lincls.

    python -m experiments.check_homework FILE.py

It imports the file, finds functions with the names below, and tries each on inputs that are
chosen for what goes wrong by hand.  One line per check: pass, or what was expected, what came,
and for which input.  Functions may be numpy or JAX; those that JAX traces are differentiated
too, and compared with a numerical gradient.

The file runs in a process of its own: an exception, an exit, endless output or an endless loop
is a failed line.  That is no sandbox: check what you would also run.

Exit status: 0 all passed, 1 something failed, 2 nothing could be checked.
"""

import argparse
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax

from experiments.check_homework import contracts
from experiments.check_homework.contracts import FAIL, Line

STARTING = 120.0  # seconds for Python and JAX to come up, on a busy machine


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.check_homework",
        description=__doc__,
        epilog="names and forms:\n" + "\n".join(f"  {one.form}" for one in contracts.CONTRACTS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE.py", type=Path, help="the file to check")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="limit for one check (default: 20)"
    )
    arguments = parser.parse_args(argv)
    if not arguments.file.is_file():
        parser.error(f"there is no file {arguments.file}")
    lines = []
    for line in results(arguments.file, arguments.seconds):
        print(line, flush=True)
        lines.append(line)
    failed = list(dict.fromkeys(line.function for line in lines if line.verdict == FAIL))
    if not lines or failed == [""]:
        print("nothing was checked; --help lists the names that are looked for")
        return 2
    print(f"{len(lines)} checks; " + (f"failed: {', '.join(failed)}" if failed else "none failed"))
    return int(bool(failed))


def results(file: Path, seconds: float) -> Iterator[Line]:
    """A line per check; a new process goes on behind one that hung or died."""
    done: int = 0
    names: Any = None  # (function, what) of every check, once the file is imported
    while names is None or done < len(names):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        worker = multiprocessing.get_context("spawn").Process(
            target=work, args=(file, done, theirs), daemon=True
        )
        worker.start()
        theirs.close()
        try:
            _receive(ours, STARTING)
            names = _receive(ours, seconds)
            if isinstance(names, Line):
                yield names
                return
            while done < len(names):
                line = _receive(ours, seconds)
                done += 1
                yield line
        except (EOFError, OSError) as error:
            why = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else (
                "the process ended by itself")  # fmt: skip
            if names is None:
                yield Line(FAIL, "", "importing the file", why)
                return
            function, what = names[done]
            yield Line(FAIL, function, what, why)
            done += 1
        finally:
            worker.kill()
            worker.join()


def _receive(connection: Connection, seconds: float) -> Any:
    if not connection.poll(seconds):
        raise TimeoutError
    return connection.recv()


def work(file: Path, first: int, connection: Connection) -> None:
    """In the other process: send that it is up, the names of all checks, then line after line."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)  # what the file prints is no report, however much it is
    connection.send("up")
    try:
        found = contracts.checks(_functions(file))
    except BaseException as error:
        why = f"raised {type(error).__name__}: {contracts.shortened(error)}"
        connection.send(Line(FAIL, "", "importing the file", why))
        return
    connection.send([(check.function, check.what) for check in found])
    for check in found[first:]:
        connection.send(check.line())


def _functions(file: Path) -> dict[str, object]:
    """The names of a file after it has been imported; it finds the files beside it."""
    jax.config.update("jax_platforms", "cpu")
    sys.path.insert(0, str(file.resolve().parent))
    spec = importlib.util.spec_from_file_location("homework", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


if __name__ == "__main__":
    sys.exit(main())
