"""How long training takes, beside the engines that people use, in one run.

    python -m experiments.bench_train --minutes 10

Everyone trains the same model on the same generated pixels: one epoch of minibatch SGD on
`mean loss + reg * sum W**2`, pixels minus their mean and over one scale.  torch and the
plain optax loop get the batches of lincls and must end with its loss; scikit-learn's
SGDClassifier trains its own loss, one class against the rest, one example at a time.
Rounds alternate between the engines, and the table has medians; compilation is apart.
"""

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax

from experiments.lab import options, progress, record, style
from experiments.lab.experiment import Plot
from experiments.lab.options import flag
from lincls import (
    batches, crossval, linear, losses, optimizers, preprocessing, quick, splits, training,
)  # fmt: skip
from lincls.objective import Objective
from lincls.structs import Affine, Hyper, LinearParams

QUESTION = "How long does training take?"
REG = 1e-3
LOSSES = {"softmax": losses.softmax, "hinge": losses.hinge}
GRIDS = (1, 8, 64, 256)


@dataclass(frozen=True)
class Settings:
    minutes: float = flag(10.0, "time for all of it; peers run fewer rounds to keep it", low=0.1)
    num_examples: int = flag(50_000, "training examples", low=100, smoke=500)
    num_features: int = flag(3072, "pixels of an example", low=2, smoke=48)
    num_classes: int = flag(10, "classes", low=2)
    batch_size: int = flag(256, "examples in a minibatch", low=1)
    rounds: int = flag(5, "rounds of each comparison, of which the median counts", low=1, smoke=1)
    folds: int = flag(5, "folds of the cross-validation", low=2)
    strengths: int = flag(12, "strengths of the cross-validation", low=1, smoke=2)
    epochs: int = flag(10, "epochs of the cross-validation", low=1, smoke=1)


class Task(NamedTuple):
    """One training problem, and the order in which everybody sees the examples."""

    X: np.ndarray  # (N, D) uint8
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
        order = np.asarray(batches.shuffled.order(KEY, jnp.int32(0), len(self.y)))
        return np.array_split(order, range(self.batch_size, len(order), self.batch_size))


KEY = jax.random.key(0)
Run = Callable[[Task], tuple[np.ndarray, np.ndarray]]  # (W, b) after one epoch from zero


def make(settings: Settings, loss: str, **changes: int) -> Task:
    """Noisy pixels around a mean image of each class, from a fixed seed."""
    sizes = {name: changes.get(name, value) for name, value in asdict(settings).items()}
    N, D, C = sizes["num_examples"], sizes["num_features"], sizes["num_classes"]
    rng = np.random.default_rng(0)
    y = rng.integers(0, C, N).astype(np.int32)
    means = rng.integers(112, 144, (C, D), dtype=np.uint8)
    X = means[y] + rng.integers(0, 112, (N, D), dtype=np.uint8) - np.uint8(56)
    affine = preprocessing.fit(X)
    rate = quick.step_size(X, affine, LOSSES[loss], C)
    return Task(X, y, affine, loss, rate, sizes["batch_size"], C)


# --- the engines -----------------------------------------------------------------------------


def lincls_grid(task: Task, num_settings: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """`training.fit` on as many strengths at once; the first is REG."""
    regs = REG * 2.0 ** -np.arange(num_settings)
    hyper = Hyper({"learning_rate": task.rate}, REG if num_settings == 1 else regs)
    start = zeros(task)
    how: dict[str, Any] = {"optimizer": optimizers.sgd}
    state = training.start(KEY, start, hyper=hyper, **how)
    state, _ = training.fit(
        state, task.X, task.y, hyper, objective=Objective(LOSSES[task.loss]), affine=task.affine,
        batch_size=task.batch_size, num_steps=task.num_steps, **how,
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
    decay = [{"params": [W], "weight_decay": 2 * REG}, {"params": [b]}]
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
SAME_LOSS = ("lincls", "torch, eager", "loop over an optax step")


def zeros(task: Task) -> LinearParams:
    return linear.init(KEY, task.X.shape[1], task.num_classes, scale=0.0)


def missing() -> list[str]:
    """The packages of engines that are not installed."""
    packages = {package for package, _ in ENGINES.values()}
    return sorted(package for package in packages if not importlib.util.find_spec(package))


# --- comparisons -----------------------------------------------------------------------------


def side_by_side(runs: dict[str, Callable[[], Any]], rounds: int, until: float) -> dict[str, Any]:
    """First call and median seconds of each, in rounds that alternate between them.

    After the time `until` no further round begins, so at least one is measured.
    """
    first, seconds, results = {}, {name: [] for name in runs}, {}
    for name, call in runs.items():
        first[name], results[name] = timed(call)
    for _ in range(rounds):
        for name, call in runs.items():
            seconds[name].append(timed(call)[0])
        if time.monotonic() > until:
            break
    median = {name: statistics.median(times) for name, times in seconds.items()}
    rounds_done = len(seconds[next(iter(runs))])
    return {"first": first, "median": median, "rounds": rounds_done, "results": results}


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def final_loss(task: Task, W: np.ndarray, b: np.ndarray) -> float:
    """The objective over all examples, in float64 and by numpy's own arithmetic."""
    scores = task.X @ (W.astype(np.float64) * task.affine.scale).T
    scores += b - (W.astype(np.float64) * task.affine.scale) @ task.affine.shift
    of_label = scores[np.arange(len(scores)), task.y][:, None]
    if task.loss == "hinge":
        each = np.maximum(scores - of_label + 1, 0).sum(axis=1) - 1
    else:
        each = np.logaddexp.reduce(scores - of_label, axis=1)
    return float(each.mean() + REG * np.square(W, dtype=np.float64).sum())


def one_epoch(settings: Settings, until: float) -> list[dict[str, Any]]:
    """Every engine on one epoch of each loss: seconds, and the loss it ends with."""
    rows = []
    names = [name for name, (package, _) in ENGINES.items() if package not in missing()]
    for loss in LOSSES:
        task = make(settings, loss)
        runs = {name: partial(ENGINES[name][1], task) for name in names}
        found = side_by_side(runs, settings.rounds, until)
        for name in names:
            end = final_loss(task, *found["results"][name]) if name in SAME_LOSS else None
            rows.append({
                "loss": loss, "engine": name, "seconds": found["median"][name],
                "first_call": found["first"][name], "final_loss": end, "rounds": found["rounds"],
            })  # fmt: skip
    return rows


def grids(settings: Settings, until: float) -> list[dict[str, Any]]:
    """lincls on 1, 8, 64 and 256 strengths at once, beside torch on one."""
    rows = []
    for loss in LOSSES:
        task = make(settings, loss)
        runs: dict[str, Any] = {str(G): partial(lincls_grid, task, G) for G in GRIDS}
        if "torch" not in missing():
            runs["torch"] = partial(torch_eager, task)
        found = side_by_side(runs, min(3, settings.rounds), until)
        for G in GRIDS:
            seconds = found["median"][str(G)]
            torch = found["median"].get("torch")
            rows.append({
                "loss": loss, "settings": G, "seconds": seconds, "per_setting": seconds / G,
                "torch": torch, "times_torch": torch and torch / (seconds / G),
            })  # fmt: skip
    return rows


def growth(settings: Settings, until: float) -> list[dict[str, Any]]:
    """One epoch of lincls and torch as one size of the problem changes."""
    base = asdict(settings)
    rows = []
    for name in ("num_examples", "num_features", "num_classes", "batch_size"):
        for factor in (0.25, 0.5, 1, 2):
            value = max(2, int(base[name] * factor))
            task = make(settings, "softmax", **{name: value})
            runs: dict[str, Any] = {"lincls": partial(lincls_grid, task)}
            if "torch" not in missing():
                runs["torch, eager"] = partial(torch_eager, task)
            median = side_by_side(runs, min(3, settings.rounds), until)["median"]
            rows.append({"of": name, "value": value, **median})
    return rows


def cross_validation(settings: Settings) -> dict[str, Any]:
    """F folds x G strengths x epochs, compilation included; the peer is timed once.

    The peer trains as many epochs as its half of the minutes allows, and its time is
    scaled up to all; `peer_epochs` says how many.
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    task = make(settings, "hinge")
    regs = np.geomspace(1e-5, 1, settings.strengths)
    folds = splits.folds(len(task.y), settings.folds)
    seconds, accuracies = timed(partial(
        crossval.linear_accuracies, KEY, task.X, task.y, folds,
        Hyper({"learning_rate": task.rate}, regs), objective=Objective(losses.hinge),
        optimizer=optimizers.sgd, num_steps=settings.epochs * task.num_steps, affine=task.affine,
        batch_size=task.batch_size,
    ))  # fmt: skip
    X = np.asarray(preprocessing.apply(task.affine, task.X))
    an_epoch, _ = timed(lambda: SGDClassifier(max_iter=1, tol=None).fit(X, task.y))
    work = settings.folds * settings.strengths * an_epoch / (jax.device_count() or 1)
    epochs = int(np.clip(30 * settings.minutes / work, 1, settings.epochs))
    search = GridSearchCV(
        SGDClassifier(max_iter=epochs, tol=None), {"alpha": list(2 * regs)},
        cv=PredefinedSplit(folds), n_jobs=-1, refit=False,
    )  # fmt: skip
    peer, _ = timed(lambda: search.fit(X, task.y))
    return {
        "folds": settings.folds, "strengths": settings.strengths, "epochs": settings.epochs,
        "lincls": seconds, "best": float(accuracies.mean(axis=1).max()),
        "peer": peer * settings.epochs / epochs, "peer_epochs": epochs,
        "peer_best": float(search.best_score_), "times": peer * settings.epochs / epochs / seconds,
    }  # fmt: skip
