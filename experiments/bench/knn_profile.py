"""Which share of a pruned search of the nearest neighbours each of its parts takes.

    python -m experiments.bench.knn_profile cifar10 --data-dir FOLDER
    python -m experiments.bench.knn_profile cifar10 --data-dir FOLDER --folds 5 --k 100

The search runs in one thread and waits for every program, so the shares add up. Time is that of
the processor, because other programs on the machine do not count in it.
"""

import argparse
import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from experiments.bench import knn_data
from experiments.bench.knn_engines import METRICS
from experiments.lab import options
from lincls import checks, data, knn, splits
from lincls.knn import pruning, threads
from lincls.structs import Neighbors

PARTS = {  # functions of `pruning`, by what they do
    "sketch_of": "sketches of queries", "_keys": "keys", "_least_pairs": "least keys",
    "near_pairs": "near", "exact_distances": "exact distances", "fine_bounds": "fine bounds",
    "_kth_smallest": "lists", "_without": "lists", "_by_column": "lists", "_first": "lists",
    "_as_neighbors": "lists",
}  # fmt: skip
OTHER = "other"
_WARM = 128  # queries of the search that compiles


class Shares:
    """Processor time of each part, less that of the parts inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = time.process_time()

    def turn(self) -> None:
        """Give the time since the last turn to the part that runs."""
        now = time.process_time()
        self.seconds[self._open[-1] if self._open else OTHER] += now - self._since
        self._since = now

    def watched(self, part: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted for a part until its result is there."""

        @wraps(fn)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.turn()
            self._open.append(part)
            result = jax.block_until_ready(fn(*args, **kwargs))
            self.turn()
            self._open.pop()
            return result

        return timed


@contextlib.contextmanager
def watching() -> Iterator[Shares]:
    """The shares of what is searched inside, in one thread."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(threads, "num_threads", return_value=1))
        shares = Shares()
        for name, part in PARTS.items():
            watched = shares.watched(part, getattr(pruning, name))
            stack.enter_context(mock.patch.object(pruning, name, watched))
        yield shares
        shares.turn()


def profile(X: np.ndarray, search: Callable[..., Any], metric: str) -> dict[str, float]:
    """Seconds of each part of a search by the model of the rows, after one that compiles.

    Raises:
        ValueError: rows that are searched without bounds.
    """
    model = knn.fit(X, metric=METRICS[metric])
    if model.sketching is None:
        raise ValueError("these rows are searched without bounds; give 4,096 images or more")
    search(model, few=_WARM)
    with watching() as shares:
        search(model)
    return dict(shares.seconds)


def among_training(
    queries: np.ndarray, k: int, model: knn.KNN, few: int | None = None
) -> Neighbors:
    """Queries of their own."""
    return knn.neighbors(model, queries[:few], k)


def among_folds(num_folds: int, k: int, model: knn.KNN, few: int | None = None) -> Neighbors:
    """Each training row among the other folds."""
    groups = splits.folds(model.X.shape[0], num_folds)
    return knn.neighbors(model, None, k, groups=groups)


def table(found: dict[str, dict[str, float]], num_queries: int) -> str:
    """Percent and microseconds a query of every part, a column for each metric."""
    parts = dict.fromkeys([*PARTS.values(), OTHER])
    lines = [f"{'':22}" + "".join(f"{metric:>24}" for metric in found)]
    for part in parts:
        cells = []
        for seconds in found.values():
            each, whole = seconds.get(part, 0.0), sum(seconds.values())
            cells.append(f"{100 * each / whole:8.1f} % {1e6 * each / num_queries:10.1f} us")
        lines.append(f"{part:22}" + "".join(f"{cell:>24}" for cell in cells))
    total = (f"{1e6 * sum(each.values()) / num_queries:.1f} us" for each in found.values())
    return "\n".join([*lines, f"{'all':22}" + "".join(f"{cell:>24}" for cell in total)])


def main(words: Sequence[str] | None = None) -> int:
    """Print the table for one data set; the exit status."""
    parser = _parser()
    asked = parser.parse_args(words)
    with parser.refusing():
        folder = Path(asked.data_dir) if asked.data_dir else None
        dataset = data.load(asked.dataset, data_dir=folder)
        images = knn_data.more_images(knn_data.as_images(dataset.train.images), asked.rows)
        X = np.ascontiguousarray(data.rows(images))
        k = checks.count(asked.k, "k", high=len(X))
        queries = np.ascontiguousarray(data.rows(dataset.test.images)[: asked.queries])
        search = partial(among_folds, asked.folds, k) if asked.folds else None
        search = search or partial(among_training, queries, k)
        found = {metric: profile(X, search, metric) for metric in asked.metrics}
    print(table(found, len(X) if asked.folds else len(queries)))
    return 0


def _parser() -> options.Parser:
    parser = options.Parser(prog="python -m experiments.bench.knn_profile", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("dataset", help="a name or a path")
    parser.add_argument("--data-dir", default="", help="folder of the official files")
    parser.add_argument("--rows", type=options.whole(low=1), default=50_000, help="training rows")
    parser.add_argument("--queries", type=options.whole(low=1), default=2_000, help="test rows")
    parser.add_argument("--folds", type=options.whole(low=0), default=0, help="cross-validation")
    parser.add_argument("--k", type=options.whole(low=1), default=10, help="neighbours")
    parser.add_argument("--metrics", nargs="+", choices=("l2", "l1"), default=("l2", "l1"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
