"""What one process of many does: it holds its own rows, and gets the answer of all.

    python -m experiments.many.work '{"processes": 2, "rank": 0, ...}'

`experiments.many` starts these processes.  The last line of the output is a JSON object.
"""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.lab import gate, options
from lincls import knn, linear, placement, training
from lincls.structs import Affine, Hyper
from lincls.training import Recipe

HEARTBEAT = 30  # seconds after which a process that is gone ends the others


@dataclass(frozen=True)
class Task:
    """What all processes are asked for."""

    dataset: str
    data_dir: str
    data_url: str
    size: int
    crop: bool
    labels: str
    k: int
    queries: int
    steps: int
    batch_size: int
    seed: int


def join(address: str, processes: int, rank: int) -> None:
    """Connect to the other processes; without an address the scheduler's variables say where."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    where: Any = {"coordinator_address": address, "num_processes": processes, "process_id": rank}
    limits: Any = {"heartbeat_timeout_seconds": HEARTBEAT, "initialization_timeout": 60}
    jax.distributed.initialize(**limits, **(where if address else {}))


def solve(task: Task) -> dict[str, Any]:
    """Neighbours, votes, cross-validated neighbours and a training, as hashes and seconds."""
    dataset = gate.of(task)
    (images, labels), (test_images, _) = dataset.train, dataset.test
    if images.dtype == np.float64:  # as JAX has numbers by default
        images, test_images = images.astype(np.float32), test_images.astype(np.float32)
    mesh = placement.mesh()
    here = placement.rows_here(mesh, len(labels))
    X, y = placement.from_processes(mesh, images[here], labels[here])
    found: dict[str, Any] = {"devices": mesh.size, "rows": len(X), "rows_here": len(labels[here])}
    begin = time.perf_counter()
    model = knn.fit(X, y)
    nearest = knn.neighbors(model, test_images[: task.queries], task.k)
    folds = knn.neighbors(model, None, task.k, groups=np.arange(len(labels)) % 5)
    found["neighbours"] = digest(nearest)
    found["votes"] = digest(knn.neighbor_labels(model, nearest))
    found["folds"] = digest(folds)
    found["knn_seconds"], begin = time.perf_counter() - begin, time.perf_counter()
    found["W"] = digest(trained(task, X, y, int(labels.max()) + 1).params)
    found["training_seconds"] = time.perf_counter() - begin
    return found


def trained(task: Task, X: Any, y: Any, num_classes: int) -> Any:
    """The state after minibatch SGD with momentum."""
    num_features = int(np.prod(X.shape[1:]))
    affine = Affine(np.full(num_features, 127.5, np.float32), np.float32(1 / 64))
    recipe = Recipe(batch_size=task.batch_size)
    hyper = Hyper({"learning_rate": 1e-3, "momentum": 0.9}, reg=1e-3)
    params = linear.init(jax.random.key(task.seed), num_features, num_classes)
    state = training.start(jax.random.key(task.seed), params, recipe, hyper)
    fit = training.fit(state, X, y, recipe, hyper, num_steps=task.steps, affine=affine)
    return fit[0]


def digest(tree: Any) -> str:
    """SHA-256 of the bytes of all leaves."""
    leaves = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))
    return hashlib.sha256(leaves).hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Join the others, do the task, print what was found."""
    parser = options.Parser(prog="python -m experiments.many.work", description=__doc__)
    parser.add_argument("task", type=json.loads, help="a JSON object")
    asked = parser.parse_args(argv).task
    try:
        address, processes, rank = (asked.pop(name) for name in ("address", "processes", "rank"))
        task = Task(**asked)
    except (AttributeError, KeyError, TypeError):
        parser.error("the task must be what experiments.many writes; start that program instead")
    if processes > 1:
        join(address, processes, rank)
    print(json.dumps(solve(task)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
