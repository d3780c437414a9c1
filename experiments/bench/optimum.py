"""The optimum and a path of strengths, beside scikit-learn: objective, gap, zeros, seconds.

    python -m experiments.bench.optimum --problems few embeddings --penalties l2
    python -m experiments.bench.optimum --features FILE.npz --penalties l1 --strengths 1e-4

FILE.npz holds X (N, D) and y (N,), such as features of images.  Without it the rows are generated:
`few` is 300 x 2,048 with 5 classes, `embeddings` 2,000 x 4,096 with 10 and `many` 20,000 x 1,296
with 10.  lincls ends at a relative duality gap of `--tol`.  scikit-learn gets the first of
tol = 1e-4, 1e-5, .. at which its gap is as small, and only that fit is timed.  Rounds alternate
between the two, and medians count.  The path is of `--num-strengths` strengths between 1e-5 and
0.1: one call of lincls, and so many fits of scikit-learn.
"""

import sys
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from experiments.bench import timing
from experiments.lab import options
from experiments.lab.options import flag
from lincls import certificate, optimum, penalties
from lincls.structs import LinearParams

SHAPES = {"few": (300, 2048, 5), "embeddings": (2000, 4096, 10), "many": (20_000, 1296, 10)}
PENALTIES = {"l2": penalties.l2, "l1": penalties.l1, "elasticnet": penalties.elastic_net}
_BETA = 1.0
_TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
_MOST_STEPS = 10_000  # of scikit-learn
_ENDS = (1e-5, 0.1)  # of the path


@dataclass(frozen=True)
class Settings:
    problems: tuple[str, ...] = flag(("few", "embeddings"), "generated rows", choices=(*SHAPES,))
    features: str = flag("", ".npz file of X and y, instead of generated rows")
    rows: int = flag(0, "the first so many rows alone; 0: all", low=0, smoke=60)
    penalties: tuple[str, ...] = flag(("l2",), "of which optimum", choices=(*PENALTIES,))
    strengths: tuple[float, ...] = flag((1e-2, 1e-4), "one fit each", smoke=(1e-2,))
    num_strengths: int = flag(20, "strengths of the path; 0: no path", low=0, smoke=2)
    tol: float = flag(1e-4, "relative duality gap of both", low=1e-12)
    rounds: int = flag(3, "rounds of each comparison", low=1, smoke=1)


class Task(NamedTuple):
    """Rows, labels and what is minimised."""

    name: str
    X: np.ndarray
    y: np.ndarray
    penalty: str
    tol: float


def generated(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a decaying spectrum around the mean of their class, and the labels."""
    num_rows, num_features, num_classes = SHAPES[name]
    rng = np.random.default_rng(17)
    spread = np.arange(1, num_features + 1) ** -0.5
    means = 0.4 * rng.normal(size=(num_classes, num_features)) * spread
    y = rng.integers(0, num_classes, num_rows)
    X = means[y] + rng.normal(size=(num_rows, num_features)) * spread
    return (X / X.std()).astype(np.float32), y


def ours(task: Task, reg: Any) -> optimum.Optimum:
    """lincls at one strength or a path of them."""
    return optimum.optimum(
        task.X, task.y, reg=reg, penalty=PENALTIES[task.penalty], beta=_BETA, tol=task.tol
    )


def theirs(task: Task, reg: float, tol: float) -> LinearParams:
    """scikit-learn at the same objective: its penalty is C times ours, without the mean.

    L2: |W|**2 / (2 C N).  L1: |W| / (C N).  Elastic net: ((1 - r) |W|**2 / 2 + r |W|) / (C N).
    """
    per_row = 1 / (len(task.y) * reg)
    hows: dict[str, dict[str, Any]] = {
        "l2": {"C": per_row / 2},
        "l1": {"C": per_row, "l1_ratio": 1.0, "solver": "saga"},
        "elasticnet": {
            "C": per_row / (1 + 2 * _BETA), "l1_ratio": 1 / (1 + 2 * _BETA), "solver": "saga",
        },
    }  # fmt: skip
    model = LogisticRegression(tol=tol, max_iter=_MOST_STEPS, **hows[task.penalty])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(task.X, task.y)
    return LinearParams(model.coef_, model.intercept_)


def relative_gap(task: Task, params: LinearParams, reg: float) -> tuple[float, float]:
    """The objective of W at its best bias, and the duality gap as a part of it."""
    found = certificate.duality_gap(
        params, task.X, task.y, reg=reg, penalty=PENALTIES[task.penalty], beta=_BETA
    )
    return found.primal, found.size / found.primal


def tolerance(task: Task, reg: float) -> tuple[float, LinearParams]:
    """The first tolerance at which scikit-learn's gap is small enough, or the last; its W there."""
    for tol in _TOLERANCES:
        params = theirs(task, reg, tol)
        if relative_gap(task, params, reg)[1] <= task.tol:
            break
    return tol, params


def compare(task: Task, reg: float, rounds: int) -> str:
    """One row of the table: a single strength."""
    first, best = timing.timed(lambda: ours(task, reg))
    tol, W = tolerance(task, reg)
    took = timing.medians(
        {"ours": lambda: ours(task, reg), "theirs": lambda: theirs(task, reg, tol)}, rounds
    )
    loss, gap = relative_gap(task, W, reg)
    zeros = int((best.params.W == 0).sum()), int((W.W == 0).sum())
    return (
        f"| {task.name} | {task.penalty} | {reg:g} | {best.loss:.6g} | {loss:.6g} | "
        f"{best.gap / best.loss:.0e} | {gap:.0e} | {zeros[0]:,} | {zeros[1]:,} | "
        f"{took['ours']:.2f} | {took['theirs']:.2f} | {first:.1f} |"
    )


def compare_path(task: Task, num_strengths: int, rounds: int) -> str:
    """One row of the table: a path, beside as many fits at the same gap."""
    regs = np.geomspace(*_ENDS, num_strengths)
    peers = [tolerance(task, reg) for reg in regs]
    first, path = timing.timed(lambda: ours(task, regs))

    def fits() -> None:
        for reg, (tol, _) in zip(regs, peers, strict=True):
            theirs(task, reg, tol)

    took = timing.medians({"ours": lambda: ours(task, regs), "theirs": fits}, rounds)
    found = [relative_gap(task, W, reg) for (_, W), reg in zip(peers, regs, strict=True)]
    gaps = max(path.gap / path.loss), max(gap for _, gap in found)
    return (
        f"| {task.name} | {task.penalty} | {num_strengths} | {sum(path.loss):.6g} | "
        f"{sum(loss for loss, _ in found):.6g} | {gaps[0]:.0e} | {gaps[1]:.0e} | | | "
        f"{took['ours']:.2f} | {took['theirs']:.2f} | {first:.1f} |"
    )


HEAD = """
| rows | penalty | reg | objective | scikit-learn | gap | scikit-learn | zeros | scikit-learn \
| s | scikit-learn | first call |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def loaded(settings: Settings) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows and labels by name."""
    if not settings.features:
        return {name: generated(name) for name in settings.problems}
    with np.load(settings.features) as file:
        return {settings.features.rsplit("/", 1)[-1]: (file["X"], file["y"])}


def main(argv: list[str] | None = None) -> int:
    """Print the table, a row as soon as it is known."""
    groups = {"optimum": Settings}
    parser = options.build(
        "python -m experiments.bench.optimum", __doc__ or "", groups, lambda: "optimum",
        options.Smoke,
    )  # fmt: skip
    settings: Settings = options.parse(parser, groups, argv, options.Smoke)[1]["optimum"]
    with parser.refusing(KeyError):
        rows = loaded(settings)
    print(HEAD.strip())
    for name, (X, y) in rows.items():
        few = slice(settings.rows or None)
        for penalty in settings.penalties:
            task = Task(name, X[few], y[few], penalty, settings.tol)
            for reg in settings.strengths:
                print(compare(task, reg, settings.rounds), flush=True)
            if settings.num_strengths:
                print(compare_path(task, settings.num_strengths, settings.rounds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
