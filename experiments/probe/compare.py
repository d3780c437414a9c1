"""Two or more embeddings on the same test set, compared in pairs.

    python -m experiments.probe.compare FOLDER FOLDER ..

Each FOLDER is what `python -m experiments.probe` wrote: it has results.json.  A line is a probe
and shots of the first seed that both have.  The difference is that of the first folder less the
other, in points, with a 95 % CI of the paired bootstrap, and the p-value of McNemar's exact test.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab import options
from experiments.report import words
from lincls import evaluation, files
from lincls.evaluation import Interval

HEAD = (
    "| other | probe, shots | first | other | difference, points | McNemar's p |",
    "| --- | --- | ---: | ---: | --- | ---: |",
)
COLUMNS = ("probe", "shots", "seed", "predictions")  # arrays of predictions.npz with a row each


class Result(NamedTuple):
    """What a probe wrote."""

    folder: Path
    about: dict[str, Any]
    predictions: dict[str, np.ndarray]  # (M,) by row name, the seed left out
    labels: np.ndarray  # (M,)


class Difference(NamedTuple):
    """The first of two embeddings less the other, as shares of the test examples."""

    value: float
    interval: Interval
    p: float


def read(folder: Path) -> Result:
    """Read the predictions of the first seed.

    Raises:
        ValueError, OSError: a folder without results.
    """
    try:
        about = files.read_json(folder / "results.json")
    except FileNotFoundError as error:
        raise ValueError(f"{folder} has no results.json; give a folder of the probe") from error
    arrays = files.read_npz(folder / "predictions.npz")
    try:
        rows = zip(*(arrays[name] for name in COLUMNS), strict=True)
        found = {f"{probe}, {shots}": said for probe, shots, seed, said in rows
                 if seed == about["seed"] and said.shape == arrays["labels"].shape}  # fmt: skip
        return Result(folder, about, found, arrays["labels"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder} holds no predictions of a probe: {error}") from error


def difference(
    a: np.ndarray, b: np.ndarray, labels: np.ndarray, num_samples: int = 2000, seed: int = 0
) -> Difference:
    """The difference of two accuracies on the same examples: predictions (M,) of each."""
    gains = (a == labels).astype(np.float32) - (b == labels)
    drawn = evaluation.bootstrap(
        jax.random.key(seed), _mean, len(labels), num_samples, args=(gains,)
    )
    ends = np.quantile(drawn, [0.025, 0.975])
    return Difference(float(gains.mean()), Interval(*map(float, ends)),
                      evaluation.mcnemar(a, b, labels))  # fmt: skip


def _mean(weight: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.sum(weight * values) / jnp.sum(weight)


def lines(first: Result, other: Result, name: str) -> Iterator[str]:
    """A line of the table for each row that both have; `name` is the other's.

    Raises:
        ValueError: other test labels, or no row in common.
    """
    if not np.array_equal(first.labels, other.labels):
        raise ValueError(
            f"{other.folder} has other test labels than {first.folder}; compare the same test set"
        )
    both = [row for row in first.predictions if row in other.predictions]
    if not both:
        raise ValueError(f"{first.folder} and {other.folder} have no probe and shots in common")
    for row in both:
        found = difference(first.predictions[row], other.predictions[row], first.labels)
        shares = (words.percent(np.mean(each.predictions[row] == each.labels))
                  for each in (first, other))  # fmt: skip
        apart = f"{100 * found.value:+.1f} (95 % CI {words.signed(found.interval)})"
        yield f"| {name} | {row} | {' | '.join(shares)} | {apart} | {found.p:.2g} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; the exit status."""
    parser = options.Parser(prog="python -m experiments.probe.compare")
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    folders = parser.parse_args(argv).folders
    with parser.refusing():
        if len(folders) < 2:
            raise ValueError("give at least two folders to compare")
        first, *others = map(read, folders)
        table = [line for other in others for line in lines(first, other, other.folder.name)]
    print(f"first: {first.folder}\n")
    print("\n".join([*HEAD, *table]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
