"""kNN and training over several processes, with the bits of one device.

    python -m experiments.many --processes 2 --devices 4
    srun python -m experiments.many --cluster

The first starts processes of simulated devices on this machine, which talk over loopback, and one
more process with one device to compare with.  Integers, and W after SGD, must be equal to the bit.
With --cluster this process is one of a job that a scheduler started, one for each host, and the
devices are those of the hosts.
"""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

import jax

from experiments.lab import gate, options, progress
from experiments.lab.options import flag
from experiments.many import work

SAME = ("neighbours", "votes", "folds", "W")
COLUMNS = ("processes x devices", *SAME, "kNN s", "training s")


@dataclasses.dataclass(frozen=True)
class Shared(options.Smoke, options.Source):
    """The flags that it shares with the experiments."""


@dataclasses.dataclass(frozen=True)
class Settings:
    processes: int = flag(2, "processes on this machine", low=1)
    devices: int = flag(2, "simulated devices of each process", low=1)
    k: int = flag(10, "neighbours", low=1)
    queries: int = flag(200, "test images that are searched for", low=1, smoke=20)
    steps: int = flag(200, "steps of SGD", low=1, smoke=20)
    batch_size: int = flag(256, "examples in a minibatch, a multiple of 8", low=8)
    cluster: bool = flag(False, "be one process of a job of Slurm or Open MPI")


class Child(NamedTuple):
    """A process, and the files that hold its output."""

    process: subprocess.Popen[bytes]
    out: IO[bytes]
    errors: IO[bytes]


def start(task: Any, processes: int, devices: int, module: str = work.__name__) -> list[Child]:
    """Processes with simulated devices that know each other.

    Args:
        task: a dataclass of what each of them is asked for.
        processes, devices: how many, and how many devices each of them simulates.
        module: the program that they run.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    asked = {**dataclasses.asdict(task), "address": address, "processes": processes}

    def one(rank: int) -> Child:
        words = json.dumps(asked | {"rank": rank})
        command = [sys.executable, "-m", module, words]
        out, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (`wait`)
        process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment)
        return Child(process, out, errors)

    return [one(rank) for rank in range(processes)]


def wait(children: Sequence[Child]) -> list[str]:
    """The last line of each child's output.  When one fails, the others are ended.

    Raises:
        RuntimeError: which one failed, and the last line that it wrote.
    """
    running, failed = True, list[int]()
    try:
        while running and not failed:
            time.sleep(0.1)
            running = any(child.process.poll() is None for child in children)
            failed = [rank for rank, child in enumerate(children) if child.process.poll()]
    finally:
        for child in children:
            child.process.kill()
            child.process.wait()
    lines = [(_last_line(child.out), _last_line(child.errors)) for child in children]
    if failed:
        status, said = children[failed[0]].process.returncode, lines[failed[0]][1]
        raise RuntimeError(
            f"process {failed[0]} ended with status {status}, which ended all: {said}"
        )
    return [out for out, _ in lines]


def _last_line(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        text = file.read()
    return (text.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]


def row(found: dict[str, Any], processes: int, devices: int, expected: Any) -> list[str]:
    """A line of the table: hashes of one device, and whether others have the same."""

    def cell(name: str) -> str:
        if expected is None:
            return str(found[name][:12])
        return "same" if found[name] == expected[name] else "OTHER"

    cells = map(cell, SAME)
    seconds = [f"{found[name]:.1f}" for name in ("knn_seconds", "training_seconds")]
    return [f"{processes} x {devices}", *cells, *seconds]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _differs(found: dict[str, Any], expected: Any) -> bool:
    return expected is not None and any(found[name] != expected[name] for name in SAME)


def compare(settings: Settings, task: work.Task) -> int:
    """Run on one device and on many, print the table; 0 if all bits are the same."""
    shapes = [(1, 1), (settings.processes, settings.devices)]
    rows: list[Sequence[str]] = [COLUMNS]
    expected, equal = None, True
    for processes, devices in shapes:
        progress.say(f"{processes} x {devices} devices")
        all_found = [json.loads(line) for line in wait(start(task, processes, devices))]
        found = next((one for one in all_found if _differs(one, expected)), all_found[0])
        equal &= not _differs(found, expected)
        rows.append(row(found, processes, devices, expected))
        expected = found
    print(table(rows))
    return 0 if equal else 1


def main(argv: list[str] | None = None) -> int:
    """Compare on this machine, or take part in a job on many."""
    groups = {"many": Settings}
    parser = options.build(
        "python -m experiments.many", __doc__ or "", groups, lambda: "many", Shared
    )
    common, chosen = options.parse(parser, groups, argv, Shared)
    settings: Settings = chosen["many"]
    task = work.Task(
        **{name: getattr(common, name) for name in (*gate.SOURCE, "seed")},
        **{name: getattr(settings, name) for name in ("k", "queries", "steps", "batch_size")},
    )
    with parser.refusing(RuntimeError):
        gate.of(common)  # before processes are started
        if not settings.cluster:
            return compare(settings, task)
        work.join("", 0, 0)
        found = work.solve(task)
        if jax.process_index() == 0:
            print(table([COLUMNS, row(found, jax.process_count(), jax.local_device_count(), None)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
