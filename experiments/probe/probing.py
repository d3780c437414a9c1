"""The linear probe: rows on their principal axes, and many softmax fits in one program.

Examples that a training does not see have weight 0, so folds, validation parts and few-shot
subsets are rows of one array of weights, and all their trainings are one program.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.probe import features
from lincls import (
    batches,
    certificate,
    linear,
    optimizers,
    optimum,
    passes,
    placement,
    preprocessing,
    training,
)
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper, LinearParams, TrainState
from lincls.training import Recipe

OnStep = Callable[[int, int], Any]
PROBES = {  # name -> what a table calls it, and the metric of its search
    "linear": ("linear, softmax", None),
    "lsr": ("linear, least squares", None),
    "l1": ("kNN, L1", "l1"),
    "l2": ("kNN, L2", "l2"),
    "cosine": ("kNN, cosine", "cosine"),
    "exp": ("kNN, cosine, exp vote", "cosine"),
}
_USUAL_REG = 1e-3  # where `Plan.learning_rate` is the step size; weaker penalties take longer ways
_FEW_BATCHES = 4  # sets of at most so many have little noise and bear longer steps
_STEADY = 3000  # examples on which `Plan.steps` are taken; more examples take fewer
_MOST_STEPS = 400  # of L-BFGS a strength
_TIMES = 12  # W: what a training holds of it; 9 were measured, and the rest is for gradients
_SHARE = 0.5  # of the free memory that trainings may take
_RISEN = 1.5  # a loss so many times that of W = 0 belongs to a training that diverged


class Plan(NamedTuple):
    """How the linear probe trains, apart from its strength."""

    epochs: float  # passes over the examples that have weight in any training
    examples: int  # how many a training sees at least, one over and over
    batch_size: int  # at most; a set that is no greater is a full batch
    learning_rate: float  # of the normalised gradient at strength 1e-3, for features of variance 1
    steps: int = 2000  # at least, on up to 3,000 examples; on N more, 3,000 / N of them
    gap: float = 1e-3  # of the optimum, relative to the objective


class Diverged(ValueError):
    """A linear probe whose loss rose instead of falling, or left the finite numbers."""


class Chosen(NamedTuple):
    """A probe that is ready for the test set."""

    probe: str
    shots: str
    seed: int
    value: float  # strength, or k
    accuracy: float  # on the held-out examples, in 0..1
    model: Any  # LinearParams on rows, or the weights (N,) of what kNN remembers
    gap: float = np.nan  # of the linear probe: it is at most so far above the optimum, relatively
    fit: str = ""  # of the linear probe: early or optimum
    at_edge: bool = False  # whether it is the first or the last that was tried

    @property
    def is_linear(self) -> bool:
        return isinstance(self.model, LinearParams)

    @property
    def name(self) -> str:
        """What files call it."""
        return f"{self.probe}-{self.shots.replace('%', 'percent')}-seed{self.seed}"


# --- the linear probe --------------------------------------------------------------------------


def num_groups(num_strengths: int, size: int) -> int:
    """In how many groups the strengths are trained, so that their states fit into memory.

    Args:
        num_strengths: R.
        size: numbers in the weights W of one strength, of all its trainings together.
    """
    free = placement.available()
    if free is None:
        return 1
    needed = _TIMES * size * np.dtype(np.float32).itemsize
    at_once = max(1, int(_SHARE * free / needed))
    return -(-num_strengths // min(at_once, num_strengths))


class Rotated(NamedTuple):
    """Training rows on their principal axes: z = (x - shift) * scale @ axes."""

    Z: np.ndarray  # (N, A) float32, A = min(N, D)
    affine: Affine
    axes: np.ndarray  # (D, A) orthonormal columns


def rotate(X: np.ndarray, folder: Path | None = None) -> Rotated:
    """Rows minus their mean, over one scale, on the axes in which they are uncorrelated.

    A rotation leaves sum(W**2), and so the optimum, as it is.  But a step size per coordinate,
    which RMSprop has, then is one per principal axis, and the few long axes of embeddings no
    longer hold back the many short ones.  Fewer rows than features have no more axes than
    rows: W has no part outside of them at the optimum.

    Args:
        X: (N, D); the rotated rows of a large file lie in a file as well.
        folder: of that file.
    """
    affine = preprocessing.fit(X)

    def centred(rows: np.ndarray) -> np.ndarray:
        return (np.asarray(rows, np.float32) - affine.shift) * affine.scale

    axes = preprocessing.principal_axes(X, affine)
    return Rotated(features.by_blocks(X, lambda rows: centred(rows) @ axes, folder), affine, axes)


def normalised(learning_rate: Any, num_steps: Any) -> optax.GradientTransformation:
    """RMSprop (Tieleman and Hinton 2012), then the short form's momentum and cosine."""
    return optax.chain(
        optax.scale_by_rms(0.99, bias_correction=True),
        optimizers.annealed(learning_rate, num_steps),
    )


def schedule(num_examples: int, plan: Plan) -> tuple[int, int]:
    """Batch size and number of steps of a training on so many examples."""
    size = min(plan.batch_size, num_examples)
    of_epochs = plan.epochs * batches.steps_per_epoch(num_examples, size)
    steps = plan.steps * min(1, _STEADY / num_examples)
    return size, max(1, round(of_epochs), round(plan.examples / size), round(steps))


def early(regs: np.ndarray, num_examples: int, plan: Plan) -> tuple[Recipe, Hyper, int]:
    """How strengths are trained on so many examples, with which numbers, and for how many steps."""
    size, steps = schedule(num_examples, plan)
    sampling = batches.full if size == num_examples else batches.shuffled
    rates = step_sizes(regs, num_examples, plan)
    hyper = Hyper({"learning_rate": rates, "num_steps": steps}, regs)
    return Recipe(Objective(), normalised, sampling, size), hyper, steps


def step_sizes(regs: np.ndarray, num_examples: int, plan: Plan) -> np.ndarray:
    """A step size for every strength; those of small sets were found on rows of MNIST."""
    if num_examples > _FEW_BATCHES * plan.batch_size:
        return plan.learning_rate * (regs / _USUAL_REG) ** -0.25
    return 2 * plan.learning_rate * (regs / _USUAL_REG) ** -0.35


class Cut(NamedTuple):
    """The rows that a set of trainings sees, on no more axes than there are rows."""

    Z: np.ndarray  # (n, A)
    y: np.ndarray  # (n,)
    weights: np.ndarray  # (S, n)
    axes: np.ndarray | None  # from the axes of `Rotated` to those of Z

    def back(self, W: np.ndarray) -> np.ndarray:
        """W (..., C, A) as it acts on rotated rows."""
        return W if self.axes is None else W @ self.axes.T


def cut(data: Rotated, y: np.ndarray, weights: np.ndarray) -> Cut:
    """Leave out examples without weight in any training; few examples get axes of their own.

    Of a large file all rows stay where they are, unless few enough are seen for memory.
    """
    seen, most = np.flatnonzero(weights.any(axis=0)), placement.limits().device_bytes
    if placement.is_large(data.Z) and len(seen) * data.Z[:1].nbytes > most:
        seen = np.arange(len(y))
    Z = data.Z if len(seen) == len(y) else data.Z[seen]
    few = len(seen) < Z.shape[1]
    axes = preprocessing.principal_axes(Z, preprocessing.identity(Z.shape[1])) if few else None
    return Cut(Z if axes is None else Z @ axes, y[seen], weights[:, seen], axes)


def fit_linear(
    key: jax.Array,
    data: Rotated,
    y: np.ndarray,
    num_classes: int,
    weights: np.ndarray,
    regs: np.ndarray,
    plan: Plan,
    on_step: OnStep | None = None,
    saved: Path | None = None,
) -> tuple[LinearParams, np.ndarray]:
    """Softmax + reg * sum(W**2) for S pairs of weights and strength, in one program.

    Args:
        weights: (S, N); examples without weight in any training are left out.
        regs: (S,) strengths, for features of average variance 1.
        on_step: called with (steps done, steps in all).
        saved: a file that the state of a long training is saved to, and goes on from.

    Returns:
        LinearParams (S, C, A), (S, C) that act on rotated rows, and (S,) bool: which trainings
        diverged, so that their parameters mean nothing.
    """
    rows = cut(data, y, weights)
    recipe, hyper, steps = early(regs, len(rows.y), plan)
    start = LinearParams(np.zeros((num_classes, rows.Z.shape[1]), np.float32),
                         np.zeros(num_classes, np.float32))  # fmt: skip
    if saved is not None:
        saved.parent.mkdir(parents=True, exist_ok=True)

    def told(state: TrainState, _: Any) -> None:
        if on_step is not None:
            on_step(int(state.step), steps)

    state, history = training.fit(
        training.start(key, start, recipe, hyper), rows.Z, rows.y, recipe, hyper,
        num_steps=steps, weight=rows.weights, checkpoint=saved, on_chunk=told,
    )  # fmt: skip
    loss = history.loss[-1]
    W, b = map(np.asarray, state.params)
    diverged = ~np.asarray(state.alive) | (loss > _RISEN * np.log(num_classes))
    return LinearParams(rows.back(W), b), diverged


def fit_optimum(
    key: jax.Array,
    data: Rotated,
    y: np.ndarray,
    num_classes: int,
    weights: np.ndarray,
    regs: np.ndarray,
    plan: Plan,
    on_step: OnStep | None = None,
    saved: Path | None = None,
) -> tuple[LinearParams, np.ndarray]:
    """The optimum of each pair by L-BFGS, a path of strengths for each row of weights.

    Arguments and result as for `fit_linear`; nothing diverges.
    """
    rows = cut(data, y, weights)
    W = np.zeros((len(regs), num_classes, rows.Z.shape[1]), np.float32)
    b, done = np.zeros(W.shape[:2], np.float32), 0
    for weight in np.unique(rows.weights, axis=0):
        places = np.flatnonzero((rows.weights == weight).all(axis=1))
        path = optimum.optimum(
            rows.Z, rows.y, reg=regs[places], num_classes=num_classes, weight=weight,
            tol=plan.gap, max_steps=_MOST_STEPS,
        )  # fmt: skip
        W[places], b[places] = path.params
        done += len(places)
        if on_step is not None:
            on_step(done, len(regs))
    return LinearParams(rows.back(W), b), np.zeros(len(regs), bool)


FITS = {"early": fit_linear, "optimum": fit_optimum}


def relative_gap(
    params: LinearParams, data: Rotated, y: np.ndarray, weight: np.ndarray, reg: float
) -> float:
    """How far the objective of W (C, A) is above its minimum at most, as a share of it."""
    Z, y = (data.Z, y) if (weight > 0).all() else (data.Z[weight > 0], y[weight > 0])
    found = certificate.duality_gap(params, Z, y, reg=reg)
    return max(0.0, found.size) / found.primal


def linear_accuracies(
    params: LinearParams, data: Rotated, y: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Accuracies (A, P) of parameters (A, P, C, D), of part p on the examples held[p] (P, N)."""
    found = []
    for p, part in enumerate(held):
        rows = Examples(data.Z[part], y[part], np.ones(part.sum(), np.float32))
        if placement.is_large(data.Z):
            rows = Examples(data.Z, y, part.astype(np.float32))
        of_part = jax.tree.map(lambda leaf, p=p: leaf[:, p], params)
        identity = preprocessing.identity(data.Z.shape[1])
        found.append(np.asarray(passes.accuracies(of_part, rows, identity)))
    return np.stack(found, axis=1)


def on_rows(params: LinearParams, data: Rotated) -> LinearParams:
    """Parameters that act on rotated rows, as parameters that act on the rows themselves."""
    return linear.on_pixels(LinearParams(params.W @ data.axes.T, params.b), data.affine)
