"""What one process of `bench_scale` does: the same search and training on more and more devices.

    python -m experiments.bench.scale '{"processes": 1, "rank": 0, ...}'

`bench_scale` starts these processes.  The last line of the output is a JSON object.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from experiments.bench import timing
from experiments.many import work
from lincls import forecast, knn, linear, placement, training
from lincls.knn.shards import compiled_search_shards
from lincls.structs import Affine, Examples, Hyper, Sharded
from lincls.training import Recipe
from lincls.training.core import run

BLOCKS = 8  # of the rows, whatever the number of devices
CLASSES = 10
RATE = 1e-3
_COLLECTIVE = re.compile(r"= (.*?) (all-to-all|all-gather|all-reduce)(?:-start)?\(")
_ARRAY = re.compile(r"\b[a-z]+(\d+)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Task:
    """What all processes are asked for."""

    num_rows: int
    num_features: int
    queries: int
    k: int
    steps: int
    batch_size: int
    rounds: int


def drawn(num_rows: int, num_features: int, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Some of the rows of noise, and their labels: the same rows for any number of processes."""
    size = -(-num_rows // BLOCKS)
    X = np.empty((rows.stop - rows.start, num_features), np.uint8)
    for block in range(BLOCKS):
        low, high = max(rows.start, block * size), min(rows.stop, (block + 1) * size)
        if low < high:
            numbers = np.random.default_rng(block).bytes(size * num_features)
            whole = np.frombuffer(numbers, np.uint8).reshape(size, num_features)
            X[low - rows.start : high - rows.start] = whole[
                low - block * size : high - block * size
            ]
    return X, (np.arange(rows.start, rows.stop) % CLASSES).astype(np.int32)


def solve(task: Task) -> dict[str, Any]:
    """Seconds of the search and of the training, those forecast, and the bytes that travel."""
    mesh = placement.mesh()
    here = placement.rows_here(mesh, task.num_rows)
    X, y = placement.from_processes(mesh, *drawn(task.num_rows, task.num_features, here))
    return {
        "rows": task.num_rows, "knn": of_search(task, X), "training": of_training(task, X, y)
    }  # fmt: skip


def of_search(task: Task, X: Sharded) -> dict[str, Any]:
    """The k nearest of some queries among rows on a mesh."""
    told = forecast.neighbors(X, task.queries, task.k)
    model = knn.fit(X)
    queries = np.random.default_rng(99).integers(0, 256, (task.queries, task.num_features))
    queries = queries.astype(np.uint8)
    seconds = timing.median(lambda: knn.neighbors(model, queries, task.k), task.rounds)
    compiled = compiled_search_shards.lower(model, queries, task.k).compile()
    devices = X.mesh.size
    return {
        "seconds": seconds, "forecast": told.seconds, "needed": told.data + told.state + told.work,
        "sent": sent(compiled.as_text() or "", devices),
        "least": int(2 * (devices - 1) / devices * task.queries * task.k * 8),
    }  # fmt: skip


def of_training(task: Task, X: Sharded, y: Sharded) -> dict[str, Any]:
    """Steps of SGD with momentum: with the ordered sum, and with a plain all-reduce."""
    recipe = Recipe(batch_size=task.batch_size)
    hyper = Hyper({"learning_rate": RATE, "momentum": 0.9}, reg=1e-3)
    told = forecast.training(X, recipe, hyper, num_steps=task.steps, num_classes=CLASSES)
    params = linear.init(jax.random.key(0), task.num_features, CLASSES)
    state = training.start(jax.random.key(0), params, recipe, hyper)
    affine = Affine(np.full(task.num_features, 127.5, np.float32), np.float32(1 / 64))
    weight = placement.like(X, np.ones(len(X), np.float32), "weight")
    arguments = (state, Examples(X, y, weight), affine, recipe, hyper)
    ordered = Program(arguments, task.steps)
    with mock.patch.object(placement, "over_blocks", all_reduced):
        plain = Program(arguments, task.steps)
    seconds = timing.medians({"ordered": ordered, "plain": plain}, task.rounds)
    devices, num_bytes = X.mesh.size, 4 * (params.W.size + params.b.size + 2)
    return {
        "seconds": seconds["ordered"] / task.steps, "plain": seconds["plain"] / task.steps,
        "forecast": told.seconds / task.steps, "needed": told.data + told.state + told.work,
        "sent": sent(ordered.text, devices), "least": int(2 * (devices - 1) / devices * num_bytes),
    }  # fmt: skip


class Program:
    """The compiled loop of training with its arguments."""

    def __init__(self, arguments: tuple[Any, ...], steps: int) -> None:
        """Args: state, data, affine, recipe and hyper of `training.run`; how many steps."""
        state, data, affine, recipe, hyper = arguments
        state, affine, hyper = placement.replicated(data.X.mesh, (state, affine, hyper))
        self.arguments = (state, data, affine, hyper)

        def steps_of(state: Any, data: Any, affine: Any, hyper: Any) -> Any:
            return run(state, data, affine, recipe, hyper, num_steps=steps)

        self.compiled = jax.jit(steps_of).lower(*self.arguments).compile()
        self.text = self.compiled.as_text() or ""

    def __call__(self) -> Any:
        return jax.block_until_ready(self.compiled(*self.arguments))


def all_reduced(fn: Callable[[Any], Any], blocks: Any, num_blocks: int) -> Any:
    """In the place of `placement.over_blocks`: one product for all rows of a device, one sum."""
    del num_blocks
    weight = blocks.weight
    rows = Examples(
        blocks.X.reshape(-1, blocks.X.shape[-1]), blocks.y.reshape(-1), weight.reshape(-1)
    )
    vector, unravel = ravel_pytree(fn(rows))
    return unravel(jax.lax.psum(vector, placement.ROWS))


def sent(text: str, devices: int) -> int:
    """Bytes that a device sends in the collectives of a program; those of a loop count once.

    An all-to-all and an all-gather leave 1 / n of their result where it is.  An all-reduce sends
    at least twice the rest.
    """
    total = 0.0
    for shapes, name in _COLLECTIVE.findall(text):
        num_bytes = sum(
            int(bits) // 8 * int(np.prod([int(n) for n in sizes.split(",") if n], dtype=np.int64))
            for bits, sizes in _ARRAY.findall(shapes)
        )
        total += num_bytes * (2 if name == "all-reduce" else 1) * (devices - 1) / devices
    return int(total)


def main() -> int:
    """Join the others, do the tasks, print what was found."""
    asked = json.loads(sys.argv[1])
    address, processes, rank = (asked.pop(name) for name in ("address", "processes", "rank"))
    if processes > 1:
        work.join(address, processes, rank)
    print(json.dumps(solve(Task(**asked))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
