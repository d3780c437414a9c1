"""A linear probe by lincls, by scikit-learn and by torch: accuracy, gap, time and memory.

    python -m experiments.bench.probes FILE.npz ..

Each engine runs in a process of its own, lincls twice: the first run compiles.  All choose among
the same strengths on the same validation part of a fifth, refit on everything, and are tested once.
Features are standardised by their mean row and one scale.  The relative duality gap of each head
is computed by lincls.

scikit-learn: LogisticRegression, L-BFGS, from strength to strength with a warm start.  torch: Adam
with a cosine from 1e-3 to 0, minibatches of 512 and at least 1,000 of them, strength by strength.
"""

import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.bench import timing
from experiments.lab import gate, options
from experiments.lab.options import flag
from experiments.probe import choosing, features
from experiments.probe.settings import Settings as Probe
from lincls import certificate, data, preprocessing
from lincls.data.dataset import Dataset
from lincls.structs import Affine, LinearParams

COLUMNS = ("features", "engine", "accuracy", "strength", "objective", "relative gap",
           "first, s", "again, s", "processor s", "memory, GB")  # fmt: skip


ENGINES = ("lincls", "sklearn", "torch")
_LEAST_STEPS = 1000  # of torch, on few rows


@dataclass(frozen=True)
class Common:
    """The flag of a process of its own."""

    one: bool = flag(False, "the first engine on the first file, here, as JSON")


@dataclass(frozen=True)
class Settings:
    """The flags of the comparison."""

    engines: tuple[str, ...] = flag(ENGINES, "who fits the probe", choices=ENGINES)
    strengths: int = flag(8, "strengths tried", low=1)
    epochs: int = flag(20, "passes of torch", low=1)


class Task(NamedTuple):
    """Training rows, standardised, and who is held out of them to choose on."""

    dataset: Dataset
    affine: Affine
    X: np.ndarray  # (N, D)
    y: np.ndarray
    held: np.ndarray  # (N,) bool
    settings: Probe
    epochs: int  # of torch


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
        head = torch.nn.Linear(X.shape[1], len(task.dataset.class_names))
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
    grid = fitted(~task.held, list(task.settings.regs))
    X, y = task.X[task.held], task.y[task.held]
    best = int(np.argmax([np.mean(_predicted(params, X) == y) for params in grid]))
    everyone = np.ones(len(task.y), bool)
    return Head(fitted(everyone, [task.settings.regs[best]])[0], float(task.settings.regs[best]))


def _predicted(params: LinearParams, X: np.ndarray) -> np.ndarray:
    return np.asarray((X @ np.asarray(params.W).T + np.asarray(params.b)).argmax(axis=1))


def by_lincls(task: Task) -> Head:
    """What the program chooses and refits, at the task's strengths."""
    found = choosing.choose(gate.Data(task.dataset), task.settings, 0)[1][0]
    W, b = (np.asarray(leaf, np.float64) for leaf in found.model)
    affine = task.affine
    return Head(LinearParams(W / affine.scale, b + W @ affine.shift), found.value)


RUNS = {"lincls": by_lincls, "sklearn": by_sklearn, "torch": by_torch}


def task_of(file: str, asked: Settings) -> Task:
    """The data of a file, standardised."""
    dataset = data.load(file)
    settings = Probe(probes=("linear",), seeds=1, strengths=asked.strengths)
    X, y = np.asarray(dataset.train.images), np.asarray(dataset.train.labels)
    affine = preprocessing.fit(X)
    held = choosing.held_out(jax.random.key(0), y, settings)[0]
    return Task(dataset, affine, features.moved(X, affine), y, held, settings, asked.epochs)


def measured(engine: str, file: str, asked: Settings) -> dict[str, Any]:
    """One engine on one file, in this process; lincls once more, without compilation."""
    task = task_of(file, asked)
    run, dataset = RUNS[engine], task.dataset
    began = time.process_time()
    first, head = timing.timed(lambda: run(task))
    again = first
    if engine == "lincls":
        began = time.process_time()
        again, head = timing.timed(lambda: run(task))
    took = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    params = LinearParams(*(np.asarray(leaf, np.float32) for leaf in head.params))
    queries = features.moved(np.asarray(dataset.test.images), task.affine)
    gap = certificate.duality_gap(params, task.X, task.y, reg=head.reg)
    return {
        "accuracy": float(np.mean(_predicted(params, queries) == dataset.test.labels)),
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
    groups = {"probes": Settings}
    parser = options.build(
        "python -m experiments.bench.probes", __doc__ or "", groups, lambda: "probes", Common
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    typed = sys.argv[1:] if argv is None else list(argv)
    common, chosen = options.parse(parser, groups, typed, Common)
    files, settings = parser.parse_args(typed).files, chosen["probes"]
    if common.one:
        with warnings.catch_warnings(), parser.refusing(KeyError):
            warnings.simplefilter("ignore")  # scikit-learn's, where the step limit is met
            print(json.dumps(measured(settings.engines[0], files[0], settings)))
        return 0
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"| --- | --- |{' ---: |' * (len(COLUMNS) - 2)}")
    for file in files:
        for engine in settings.engines:
            done = _in_a_process(engine, file, settings)
            if done.returncode:
                parser.error(f"{engine} on {file}: {done.stderr.strip().splitlines()[-1]}")
            print(row(Path(file).stem, engine, json.loads(done.stdout)), flush=True)
    return 0


def _in_a_process(engine: str, file: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.bench.probes", file, "--one"]
    command += ["--engines", engine, "--strengths", str(settings.strengths)]
    command += ["--epochs", str(settings.epochs)]
    return subprocess.run(command, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
