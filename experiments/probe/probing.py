"""What a probe of embeddings computes: few-shot weights, many softmax fits at once, kNN votes.

Examples that a training does not see have weight 0, so folds, validation parts and few-shot
subsets are rows of one array of weights, and all their trainings are one program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.lab import choices
from lincls import batches, knn, linear, optimizers, passes, preprocessing, training
from lincls.objective import Objective
from lincls.structs import Affine, AnyArray, Examples, Hyper, LinearParams
from lincls.training import Recipe

PROBES = {  # name -> what a table calls it, and the metric of its search
    "linear": ("linear, softmax", None),
    "l1": ("kNN, L1", "l1"),
    "l2": ("kNN, L2", "l2"),
    "cosine": ("kNN, cosine", "cosine"),
    "exp": ("kNN, cosine, exp vote", "cosine"),
}
_BLOCK = 4096  # rows that are rotated at a time
_ROOM = 32  # float32 has room for squares and their sums between 2**-32 and 2**32
_USUAL_REG = 1e-3  # where `Plan.learning_rate` is the step size; weaker penalties take longer ways
_FEW_BATCHES = 4  # sets of at most so many have little noise and bear longer steps
_STEADY = 3000  # examples on which `Plan.steps` are taken; more examples take fewer
_RISEN = 1.5  # a loss so many times that of W = 0 is that of a training that diverged


class Plan(NamedTuple):
    """How the linear probe trains, apart from its strength."""

    epochs: float  # passes over the examples that have weight in any training
    examples: int  # how many a training sees at least, one over and over
    batch_size: int  # at most; a set that is no greater is a full batch
    learning_rate: float  # of the normalised gradient at strength 1e-3, for features of variance 1
    steps: int = 2000  # at least, on up to 3,000 examples; on N more, 3,000 / N of them


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


def exponent(X: AnyArray) -> int:
    """The power of two that brings a usual row's greatest value to 1/2 .. 1; 0 if none is needed.

    Squares of features of size 1e20 or 1e-25 leave float32.  A power of two changes neither
    digits nor ranks, and the median over the rows is blind to a few that stand out.
    """
    if X.dtype == np.uint8:
        return 0
    greatest = np.maximum(np.max(X, axis=1), -np.min(X, axis=1)).astype(np.float64)
    found = greatest[greatest > 0]
    power = int(np.frexp(np.median(found))[1]) if len(found) else 0
    return power if abs(power) > _ROOM else 0


def scaled(X: AnyArray, power: int) -> np.ndarray:
    """X / 2**power, in float32 if it is not X as it is."""
    if not power:
        return np.asarray(X)
    wide = np.asarray(X, np.float64 if X.dtype == np.float64 else np.float32)
    return np.ldexp(wide, -power).astype(np.float32)


def unit_rows(X: AnyArray) -> np.ndarray:
    """Rows (N, D) of Euclidean norm 1, float32; a row of zeros stays as it is."""
    rows = np.asarray(X, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length == 0, 1, length)


def shot_weights(
    key: jax.Array, y: np.ndarray, present: np.ndarray, shots: int | None
) -> np.ndarray:
    """1 on `shots` examples of each class among those present, 0 elsewhere; None is all.

    One random order of the examples serves every number of shots, so the smaller subsets are
    parts of the greater; a class with fewer examples gives what it has.

    Args:
        y: (N,) labels.
        present: (P, N) bool, who may be drawn in each of P trainings.

    Returns:
        (P, N) float32.
    """
    if shots is None:
        return present.astype(np.float32)
    shuffled = np.asarray(jax.random.permutation(key, np.arange(len(y), dtype=np.int32)))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    drawn = present[:, by_class]
    count = np.cumsum(drawn, axis=1)
    _, starts, sizes = np.unique(y[by_class], return_index=True, return_counts=True)
    before = np.repeat((count - drawn)[:, starts], sizes, axis=1)
    weights = np.zeros(present.shape, np.float32)
    weights[:, by_class] = drawn & (count - before <= shots)
    return weights


# --- the linear probe --------------------------------------------------------------------------


class Rotated(NamedTuple):
    """Training rows on their principal axes: z = (x - shift) * scale @ axes."""

    Z: np.ndarray  # (N, A) float32, A = min(N, D)
    affine: Affine
    axes: np.ndarray  # (D, A) orthonormal columns


def rotate(X: np.ndarray) -> Rotated:
    """Rows minus their mean, over one scale, on the axes in which they are uncorrelated.

    A rotation leaves sum(W**2), and so the optimum, as it is.  But a step size per coordinate,
    which RMSprop has, then is one per principal axis, and the few long axes of embeddings no
    longer hold back the many short ones.  Fewer rows than features have no more axes than
    rows: W has no part outside of them at the optimum.
    """
    affine = preprocessing.fit(X)

    def blocks() -> Any:
        for start in range(0, len(X), _BLOCK):
            rows = np.asarray(X[start : start + _BLOCK], np.float32)
            yield (rows - affine.shift) * affine.scale

    if len(X) < X.shape[1]:
        axes = thin_axes(np.concatenate(list(blocks())))
    else:
        covariance = sum(rows.T @ rows for rows in blocks())
        axes = np.linalg.eigh(np.asarray(covariance, np.float64))[1].astype(np.float32)
    return Rotated(np.concatenate([rows @ axes for rows in blocks()]), affine, axes)


def thin_axes(Z: np.ndarray) -> np.ndarray:
    """The principal axes (A, N) of fewer rows than features, Z (N, A): orthonormal columns."""
    return np.linalg.svd(Z.astype(np.float64), full_matrices=False)[2].T.astype(np.float32)


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


def step_sizes(regs: np.ndarray, num_examples: int, plan: Plan) -> np.ndarray:
    """A step size for every strength; those of small sets were found on rows of MNIST."""
    if num_examples > _FEW_BATCHES * plan.batch_size:
        return plan.learning_rate * (regs / _USUAL_REG) ** -0.25
    return 2 * plan.learning_rate * (regs / _USUAL_REG) ** -0.35


def fit_linear(
    key: jax.Array,
    data: Rotated,
    y: np.ndarray,
    num_classes: int,
    weights: np.ndarray,
    regs: np.ndarray,
    plan: Plan,
    on_step: Callable[[int, int], Any] | None = None,
) -> tuple[LinearParams, np.ndarray]:
    """Softmax + reg * sum(W**2) for S pairs of weights and strength, in one program.

    Fewer examples than axes are rotated once more, onto axes of their own.

    Args:
        weights: (S, N); examples without weight in any training are left out.
        regs: (S,) strengths, for features of average variance 1.
        on_step: called with (steps done, steps in all).

    Returns:
        LinearParams (S, C, A), (S, C) that act on rotated rows, and (S,) bool: which trainings
        diverged, so that their parameters mean nothing.
    """
    seen = np.flatnonzero(weights.any(axis=0))
    Z = data.Z if len(seen) == len(y) else data.Z[seen]
    own = thin_axes(Z) if len(seen) < Z.shape[1] else None
    Z = Z if own is None else Z @ own
    size, steps = schedule(len(seen), plan)
    rates = step_sizes(regs, len(seen), plan)
    hyper = Hyper({"learning_rate": rates, "num_steps": steps}, regs)
    sampling = batches.full if size == len(seen) else batches.shuffled
    recipe = Recipe(Objective(), normalised, sampling, size)
    num_features = Z.shape[1]
    start = LinearParams(np.zeros((num_classes, num_features), np.float32),
                         np.zeros(num_classes, np.float32))  # fmt: skip
    state = training.start(key, start, recipe, hyper)
    state, history = training.fit(
        state,
        Z,
        y[seen],
        recipe,
        hyper,
        num_steps=steps,
        weight=weights[:, seen],
        on_chunk=None if on_step is None else lambda state, _: on_step(int(state.step), steps),
    )
    W, b = map(np.asarray, state.params)
    diverged = ~np.asarray(state.alive) | (history.loss[-1] > _RISEN * history.loss[0])
    return LinearParams(W if own is None else W @ own.T, b), diverged


def linear_accuracies(
    params: LinearParams, data: Rotated, y: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Accuracies (A, P) of parameters (A, P, C, D), of part p on the examples held[p] (P, N)."""
    found = []
    for p, part in enumerate(held):
        rows = Examples(data.Z[part], y[part], np.ones(part.sum(), np.float32))
        of_part = jax.tree.map(lambda leaf, p=p: leaf[:, p], params)
        identity = preprocessing.identity(data.Z.shape[1])
        found.append(np.asarray(passes.accuracies(of_part, rows, identity)))
    return np.stack(found, axis=1)


def on_rows(params: LinearParams, data: Rotated) -> LinearParams:
    """Parameters that act on rotated rows, as parameters that act on the rows themselves."""
    return linear.on_pixels(LinearParams(params.W @ data.axes.T, params.b), data.affine)


# --- the kNN probe -----------------------------------------------------------------------------


class Near(NamedTuple):
    """The nearest training examples of each query."""

    labels: Any  # (M, K) int32
    weights: Any  # (M, K) of their exponential votes, None for other metrics than cosine


def search(
    metric: str,
    X: np.ndarray,
    y: np.ndarray,
    queries: np.ndarray,
    k: int,
    temperature: float,
    on_block: Callable[[int, int], Any] | None = None,
) -> Near:
    """The min(k, N) nearest of each query: one search, of which every k is a prefix."""
    model = knn.fit(X, y, metric=choices.METRICS[metric])
    found = knn.neighbors(model, queries, min(k, len(y)), on_block=on_block)
    weights = knn.exp_cosines(model, found, temperature) if metric == "cosine" else None
    return Near(knn.neighbor_labels(model, found), weights)
