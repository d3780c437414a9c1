"""A linear probe by lincls, by scikit-learn and by torch: accuracy, gap, time and memory.

    python -m experiments.bench.probes FILE.npz ..

Each engine runs in a process of its own, lincls twice: the first run compiles.  All choose among
the same strengths on the same validation part of a fifth, refit on everything, and are tested once.
Features are standardised by their mean row and one scale.  The relative duality gap of each head
is computed by lincls.

scikit-learn: LogisticRegression, L-BFGS, from strength to strength with a warm start.  torch: Adam
with a cosine from 1e-3 to 0, minibatches of 512 and at least 1,000 of them, strength by strength.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.bench import timing
from experiments.lab import gate, options
from experiments.probe import choosing
from experiments.probe.settings import Settings
from lincls import certificate, data, linear, preprocessing
from lincls.structs import LinearParams

COLUMNS = ("features", "engine", "accuracy", "strength", "objective", "relative gap",
           "first, s", "again, s", "processor s", "memory, GB")  # fmt: skip


_LEAST_STEPS = 1000  # of torch, on few rows


class Task(NamedTuple):
    """Training rows, standardised, and who is held out of them to choose on."""

    X: np.ndarray  # (N, D)
    y: np.ndarray
    held: np.ndarray  # (N,) bool
    regs: np.ndarray  # strongest first
    num_classes: int
    epochs: int


class Head(NamedTuple):
    """Parameters on standardised rows, and the strength that was chosen."""

    params: LinearParams
    reg: float


def by_sklearn(task: Task) -> Head:
    """L-BFGS at each strength, from the optimum of the one before."""
    from sklearn.linear_model import LogisticRegression

    def fitted(there: np.ndarray, regs: Sequence[float]) -> list[LinearParams]:
        model, found = LogisticRegression(max_iter=1000, warm_start=True), []
        for reg in regs:
            model.set_params(C=1 / (2 * there.sum() * reg)).fit(task.X[there], task.y[there])
            found.append(LinearParams(model.coef_.copy(), model.intercept_.copy()))
        return found

    return _chosen(task, fitted)


def by_torch(task: Task) -> Head:
    """Adam with a cosine, as scripts for linear probes have it."""
    import torch

    def one(there: np.ndarray, reg: float) -> LinearParams:
        torch.manual_seed(0)
        X, y = torch.from_numpy(task.X[there]), torch.from_numpy(task.y[there].astype(np.int64))
        head = torch.nn.Linear(X.shape[1], task.num_classes)
        batches = -(-len(X) // 512)
        steps = batches * max(task.epochs, -(-_LEAST_STEPS // batches))
        adam = torch.optim.Adam(head.parameters(), lr=1e-3)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for _ in range(steps // batches):
            for rows in torch.randperm(len(X)).split(512):
                loss = torch.nn.functional.cross_entropy(head(X[rows]), y[rows])
                loss = loss + reg * head.weight.square().sum()
                adam.zero_grad()
                loss.backward()
                adam.step()
                rate.step()
        return LinearParams(*(leaf.detach().numpy() for leaf in head.parameters()))

    return _chosen(task, lambda there, regs: [one(there, reg) for reg in regs])


def _chosen(
    task: Task, fitted: Callable[[np.ndarray, Sequence[float]], list[LinearParams]]
) -> Head:
    """The strength of the best accuracy on the validation part, refitted on everything."""
    grid = fitted(~task.held, list(task.regs))
    X, y = task.X[task.held], task.y[task.held]
    best = int(np.argmax([np.mean(_predicted(params, X) == y) for params in grid]))
    everyone = np.ones(len(task.y), bool)
    return Head(fitted(everyone, [task.regs[best]])[0], float(task.regs[best]))


def _predicted(params: LinearParams, X: np.ndarray) -> np.ndarray:
    return np.asarray((X @ np.asarray(params.W).T + np.asarray(params.b)).argmax(axis=1))


def measured(engine: str, file: str, strengths: int, epochs: int) -> dict[str, Any]:
    """One engine on one file, in this process."""
    dataset = data.load(file)
    settings = Settings(probes=("linear",), seeds=1, strengths=strengths)
    X, y = np.asarray(dataset.train.images), np.asarray(dataset.train.labels)
    affine = preprocessing.fit(X)
    Z = ((X - affine.shift) * affine.scale).astype(np.float32)
    held = choosing.held_out(jax.random.key(0), y, settings)[0]
    task = Task(Z, y, held, settings.regs, len(dataset.class_names), epochs)
    queries = np.asarray(dataset.test.images)

    def ours() -> Head:
        found = choosing.choose(gate.Data(dataset), settings, 0)[1][0]
        W, b = (np.asarray(leaf, np.float64) for leaf in found.model)
        return Head(LinearParams(W / affine.scale, b + W @ affine.shift), found.value)

    run = ours if engine == "lincls" else {"sklearn": by_sklearn, "torch": by_torch}[engine]
    call = run if engine == "lincls" else lambda: run(task)  # type: ignore[call-arg]
    began = time.process_time()
    first, head = timing.timed(call)  # type: ignore[arg-type]
    again = first
    if engine == "lincls":
        began = time.process_time()
        again, head = timing.timed(call)  # type: ignore[arg-type]
    took = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    params = LinearParams(*(np.asarray(leaf, np.float32) for leaf in head.params))
    moved = ((queries - affine.shift) * affine.scale).astype(np.float32)
    gap = certificate.duality_gap(params, Z, y, reg=head.reg)
    right = np.asarray(linear.predict(params, moved)) == dataset.test.labels
    return {
        "accuracy": float(np.mean(right)),
        "strength": head.reg, "objective": gap.primal, "relative gap": gap.size / gap.primal,
        "first, s": first, "again, s": again, "processor s": took, "memory, GB": memory,
    }  # fmt: skip


def row(name: str, engine: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    told = [name, engine, f"{100 * found['accuracy']:.2f} %", f"{found['strength']:.1e}",
            f"{found['objective']:.4f}", f"{found['relative gap']:.0e}"]  # fmt: skip
    told += [f"{found[column]:.1f}" for column in COLUMNS[6:]]
    return f"| {' | '.join(told)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, a line as soon as it is known; the exit status."""
    parser = options.Parser(prog="python -m experiments.bench.probes")
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--engines", nargs="+", default=["lincls", "sklearn", "torch"])
    parser.add_argument("--strengths", type=options.whole(1), default=8)
    parser.add_argument("--epochs", type=options.whole(1), default=20, help="of torch")
    parser.add_argument("--one", action="store_true", help="of one engine as JSON, here")
    given = parser.parse_args(argv)
    if given.one:
        with warnings.catch_warnings(), parser.refusing(KeyError):
            warnings.simplefilter("ignore")  # scikit-learn's, where the step limit is met
            print(json.dumps(measured(given.engines[0], given.files[0], given.strengths,
                                      given.epochs)))  # fmt: skip
        return 0
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"| --- | --- |{' ---: |' * (len(COLUMNS) - 2)}")
    for file in given.files:
        for engine in given.engines:
            command = [sys.executable, "-m", "experiments.bench.probes", file, "--one"]
            command += ["--engines", engine, "--strengths", str(given.strengths)]
            command += ["--epochs", str(given.epochs)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                parser.error(f"{engine} on {file}: {done.stderr.strip().splitlines()[-1]}")
            print(row(Path(file).stem, engine, json.loads(done.stdout)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
