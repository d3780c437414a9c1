"""The engines that `bench_train` times: each trains one epoch of one task and returns (W, b)."""

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bench import knn_data
from lincls import batches, linear, losses, preprocessing, training
from lincls.objective import Objective, step_size
from lincls.structs import Affine, AnyArray, Hyper, LinearParams
from lincls.training import Recipe

LOSSES = {"softmax": losses.softmax, "hinge": losses.hinge}
REG = 1e-3
KEY = jax.random.key(0)
CENTRES = 0.112  # size of the embeddings' centres: near enough for one in twenty to be mistaken


class Task(NamedTuple):
    """One training problem, and the order in which everybody sees the examples."""

    X: AnyArray  # (N, D) uint8
    y: np.ndarray  # (N,) int32
    affine: Affine
    loss: str
    rate: float
    batch_size: int
    num_classes: int

    @property
    def num_steps(self) -> int:
        return batches.steps_per_epoch(len(self.y), self.batch_size)

    @property
    def order(self) -> list[np.ndarray]:
        """The rows of each minibatch of the first epoch."""
        order = np.array(batches.shuffled.order(KEY, jnp.int32(0), len(self.y)))
        return np.array_split(order, range(self.batch_size, len(order), self.batch_size))


Run = Callable[[Task], tuple[np.ndarray, np.ndarray]]  # (W, b) after one epoch from zero


def make(
    loss: str, *, num_examples: int, num_features: int, num_classes: int, batch_size: int
) -> Task:
    """Noisy pixels around a mean image of each class, from a fixed seed."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, num_classes, num_examples).astype(np.int32)
    means = rng.integers(112, 144, (num_classes, num_features), dtype=np.uint8)
    noise = rng.integers(0, 112, (num_examples, num_features), dtype=np.uint8)
    X = means[y] + noise - np.uint8(56)
    affine = preprocessing.fit(X)
    rate = step_size(X, affine, LOSSES[loss], num_classes)
    return Task(X, y, affine, loss, rate, batch_size, num_classes)


def embeddings(
    num_examples: int, num_features: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors around a centre of each class, from a fixed seed: X, y, and a test part."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, num_classes, num_examples + num_examples // 10)
    centres = CENTRES * rng.standard_normal((num_classes, num_features), np.float32)
    X = knn_data.unit_vectors(rng, len(y), num_features, centres, y)
    return X[:num_examples], y[:num_examples], X[num_examples:], y[num_examples:]


def strengths(number: int) -> np.ndarray:
    """So many of them, from REG on over six decades."""
    return np.geomspace(REG, 1e-6 * REG, number)


def lincls_grid(task: Task, num_settings: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """`training.fit` on as many strengths at once; the first is REG."""
    regs = REG if num_settings == 1 else strengths(num_settings)
    hyper = Hyper({"learning_rate": task.rate}, regs)
    recipe = Recipe(Objective(LOSSES[task.loss]), batch_size=task.batch_size)
    state, _ = training.fit(
        training.start(KEY, zeros(task), recipe, hyper), task.X, task.y, recipe, hyper,
        num_steps=task.num_steps, affine=task.affine,
    )  # fmt: skip
    W, b = (np.asarray(p) for p in state.params)
    return (W, b) if num_settings == 1 else (W[0], b[0])


def optax_loop(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """What one writes without a library: a Python loop over a jitted optax step."""
    params, optimizer = zeros(task), optax.sgd(task.rate)
    state, X, y = optimizer.init(params), jnp.asarray(task.X), jnp.asarray(task.y)
    for rows in task.order:
        params, state = _optax_step(
            params, state, X[rows], y[rows], task.affine, task.rate, task.loss
        )
    return np.asarray(params.W), np.asarray(params.b)


@partial(jax.jit, static_argnames="name")
def _optax_step(
    params: LinearParams, state: Any, X: Any, y: Any, affine: Affine, rate: Any, name: str
) -> Any:
    def value(params: LinearParams) -> jax.Array:
        scores = preprocessing.apply(affine, X) @ params.W.T + params.b
        return LOSSES[name](scores, y).mean() + REG * jnp.sum(params.W**2)

    updates, state = optax.sgd(rate).update(jax.grad(value)(params), state)
    return optax.apply_updates(params, updates), state


def torch_eager(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """torch in eager mode: cross_entropy, or multi_margin_loss times C, which is the sum."""
    import torch
    from torch.nn import functional

    X, y = torch.from_numpy(task.X), torch.from_numpy(task.y).long()
    shift, scale = torch.from_numpy(task.affine.shift), float(task.affine.scale)
    W = torch.zeros(task.num_classes, X.shape[1], requires_grad=True)
    b = torch.zeros(task.num_classes, requires_grad=True)
    decay: list[dict[str, Any]] = [{"params": [W], "weight_decay": 2 * REG}, {"params": [b]}]
    optimizer = torch.optim.SGD(decay, lr=task.rate)
    for rows in task.order:
        chosen = torch.from_numpy(rows)
        scores = functional.linear((X[chosen].float() - shift) * scale, W, b)
        if task.loss == "softmax":
            loss = functional.cross_entropy(scores, y[chosen])
        else:
            loss = functional.multi_margin_loss(scores, y[chosen]) * task.num_classes
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return W.detach().numpy(), b.detach().numpy()


def sgd_classifier(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """One epoch of scikit-learn's SGDClassifier; its loss is its own."""
    from sklearn.linear_model import SGDClassifier

    X = np.asarray(preprocessing.apply(task.affine, task.X))
    model = SGDClassifier(
        loss="hinge" if task.loss == "hinge" else "log_loss", alpha=2 * REG, max_iter=1, tol=None,
        learning_rate="constant", eta0=task.rate,
    ).fit(X, task.y)  # fmt: skip
    return model.coef_, model.intercept_


ENGINES: dict[str, tuple[str, Run]] = {
    "lincls": ("lincls", lincls_grid),
    "torch, eager": ("torch", torch_eager),
    "loop over an optax step": ("optax", optax_loop),
    "scikit-learn SGDClassifier": ("sklearn", sgd_classifier),
}
ON_DEVICE = "lincls, X a JAX array"
PACKAGES = tuple(package for package, _ in ENGINES.values())
SAME_LOSS = ("lincls", ON_DEVICE, "torch, eager", "loop over an optax step")


def runs(task: Task, packages: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """Engines of these packages, if installed: X as numpy has it, and once as a JAX array."""
    chosen = set(packages) - set(missing())
    ready = {name: run for name, (package, run) in ENGINES.items() if package in chosen}
    found: dict[str, Callable[[], Any]] = {name: partial(run, task) for name, run in ready.items()}
    return found | {ON_DEVICE: partial(lincls_grid, task._replace(X=jnp.array(task.X)))}


def zeros(task: Task) -> LinearParams:
    return linear.init(KEY, task.X.shape[1], task.num_classes, scale=0.0)


def missing() -> list[str]:
    """The packages of engines that are not installed."""
    packages = {package for package, _ in ENGINES.values()}
    return sorted(package for package in packages if not importlib.util.find_spec(package))


def final_loss(task: Task, W: np.ndarray, b: np.ndarray) -> float:
    """The objective over all examples, in float64 and by numpy's own arithmetic."""
    on_pixels = W.astype(np.float64) * task.affine.scale
    scores = task.X @ on_pixels.T + b - on_pixels @ task.affine.shift
    of_label = scores[np.arange(len(scores)), task.y][:, None]
    if task.loss == "hinge":
        each = np.maximum(scores - of_label + 1, 0).sum(axis=1) - 1
    else:
        each = np.logaddexp.reduce(scores - of_label, axis=1)
    return float(each.mean() + REG * np.square(W, dtype=np.float64).sum())
