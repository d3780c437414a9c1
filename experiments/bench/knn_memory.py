"""The greatest memory of a process that holds data, builds a model of them and searches.

    python -m experiments.bench.knn_memory array uint8 200000 3072

`peak` runs it in a child process, whose peak is its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab import options

ROOT = Path(__file__).parents[2]
GIVEN = ("array", "file")  # a numpy array in memory, or one memory-mapped from its file
DTYPES = ("uint8", "float32")
ALLOWED = (1.35, 2**30)  # times the data, and bytes beside
_PART = 2**12  # rows drawn at a time
NUM_QUERIES = 256


def peak(given: str, dtype: str, count: int, num_features: int) -> dict[str, Any]:
    """Bytes of the data, of the process at most, and what is allowed: data + 35 % + 1 GiB."""
    words = [given, dtype, str(count), str(num_features)]
    command = [sys.executable, "-m", "experiments.bench.knn_memory", *words]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if told.returncode:
        reason = told.stderr.strip().splitlines()[-1:] or [f"exit status {told.returncode}"]
        return {"given": given, "dtype": dtype, "shape": [count, num_features], "error": reason[0]}
    found = json.loads(told.stdout)
    found["allowed"] = int(ALLOWED[0] * found["data"] + ALLOWED[1])
    return found | {"within": found["peak"] <= found["allowed"]}


def draw_rows(X: np.ndarray) -> None:
    """Fill X, part after part: pixels around one of ten means, or Gaussian unit vectors."""
    rng = np.random.default_rng(0)
    means = rng.integers(64, 192, (10, X.shape[1]), dtype=np.uint8)
    for start in range(0, len(X), _PART):
        part = X[start : start + _PART]
        if X.dtype == np.uint8:
            noise = rng.integers(-40, 41, part.shape, dtype=np.int16)
            part[:] = means[rng.integers(0, 10, len(part))] + noise
        else:
            rng.standard_normal(out=(drawn := np.empty_like(part)), dtype=part.dtype.type)
            part[:] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def most_bytes() -> int:
    """The most memory that this process has held, in bytes.

    Linux's ru_maxrss begins at what the parent held, VmHWM with the process's own program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def build_and_search(X: np.ndarray) -> dict[str, Any]:
    """The peak before, after building, and after a search for 10 neighbours of some queries."""
    import jax

    from lincls import distances, knn

    queries = np.array(X[:NUM_QUERIES])
    before = most_bytes()
    model = knn.fit(X, metric=distances.l2)
    jax.block_until_ready(model)
    built = most_bytes()
    knn.neighbors(model, queries, 10)
    return {"data": X.nbytes, "before": before, "built": built, "peak": most_bytes()}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the data, measure, and print one line of JSON; the exit status."""
    given, dtype, shape = read(argv)
    about: dict[str, Any] = {"given": given, "dtype": dtype, "shape": shape}
    if given == "array":
        X = np.empty(shape, dtype)
        draw_rows(X)
        print(json.dumps(about | build_and_search(X)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        draw_rows(np.lib.format.open_memmap(path, "w+", dtype, shape))
        print(json.dumps(about | build_and_search(np.load(path, mmap_mode="r"))))
    return 0


def read(argv: Sequence[str] | None) -> tuple[str, str, tuple[int, int]]:
    """The command line: where the data are, their dtype and shape."""
    parser = options.Parser(prog="python -m experiments.bench.knn_memory", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("given", choices=GIVEN, help="in memory, or in their file")
    parser.add_argument("dtype", choices=DTYPES, help="of the rows")
    parser.add_argument("rows", type=options.whole(low=NUM_QUERIES), help="training rows")
    parser.add_argument("features", type=options.whole(low=1), help="numbers of a row")
    found = parser.parse_args(argv)
    return found.given, found.dtype, (found.rows, found.features)


if __name__ == "__main__":
    sys.exit(main())
