"""Cross-validation and choosing (slides 20-22): the test set is not in this file.

A fold assignment is one array (N,) of fold numbers (`splits`).  kNN finds the neighbours of
each example among the other folds once and reads every k off them.  The linear classifier
trains all F folds of all G settings as one program over weights: data are never copied.

Accuracies come as (settings, F); `choose` turns them into a decision.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from lincls import batches as sampling
from lincls import (
    checks,
    distances,
    evaluation,
    knn,
    linear,
    preprocessing,
    splits,
    streams,
    training,
)
from lincls.objective import Objective, plain
from lincls.structs import Affine, AnyArray, Examples, Hyper, LinearParams, StepInfo, TrainState

_BLOCK = 4096  # held-out rows that are scored at a time


class Choice(NamedTuple):
    """What cross-validation says: a row per setting, and the two usual choices."""

    mean: np.ndarray  # (G,) over the folds
    deviation: np.ndarray  # (G,) sample standard deviation over the folds (divisor F - 1)
    best: int  # the greatest mean; of equals the simplest
    one_standard_error: int  # the simplest within one standard error of the best


def choose(accuracies: Float[AnyArray, "G F"], complexity: Any = None) -> Choice:
    """Choose a setting by the mean over the folds, greater is better.

    Args:
        accuracies: a row per setting, a column per fold.
        complexity: (G,) smaller is simpler, such as `-reg` or `-k`; by default the
            settings are taken to stand in order, the simplest first.

    Returns:
        Choice.  The one-standard-error choice is the simplest setting whose mean is at
        least the best mean less the best one's deviation / sqrt(F) (Breiman et al.,
        CART, 1984, section 3.4.3; Hastie et al., ESL, section 7.10).

    Raises:
        ValueError: fewer than 2 folds, NaN, or complexity of another length.
    """
    accuracies = np.asarray(accuracies, np.float64)
    if accuracies.ndim != 2:
        raise ValueError(f"accuracies must have shape (G, F), got {accuracies.shape}")
    checks.count(accuracies.shape[1], "the number of folds", 2)
    if np.isnan(accuracies).any():
        raise ValueError("accuracies must not hold NaN")
    order = np.asarray(range(len(accuracies)) if complexity is None else complexity)
    if order.shape != (len(accuracies),):
        raise ValueError(f"complexity must have {len(accuracies)} entries, got {order.shape}")
    # A sum that is rounded once is the same in any order: equal settings stay equal.
    mean = np.array([math.fsum(row) for row in accuracies]) / accuracies.shape[1]
    deviation = accuracies.std(axis=1, ddof=1)
    simplest_first = np.argsort(order, kind="stable")
    best = int(simplest_first[mean[simplest_first].argmax()])
    enough = mean >= mean[best] - deviation[best] / np.sqrt(accuracies.shape[1])
    return Choice(mean, deviation, best, int(simplest_first[enough[simplest_first].argmax()]))


def knn_accuracies(
    X: AnyArray,
    y: AnyArray,
    folds: Int[AnyArray, "N"],
    ks: Sequence[int],
    metric: distances.Metric = distances.l2,
    *,
    score_fn: Callable[..., float] | None = None,
    on_block: Callable[[int, int], Any] | None = None,
) -> Float[np.ndarray, "K F"]:
    """The accuracy of kNN on each fold with the other folds as training data, for every k.

    One search finds the max(ks) nearest of each example among the other folds; every k is
    a prefix of them, and votes are a cumulative sum.

    Args:
        X, y: images or rows; labels (N,).
        folds: (N,) fold numbers 0..F-1.
        ks: numbers of neighbours.
        metric: a value of `distances`.
        score_fn: `score_fn(predictions, labels) -> float` of a fold, default the accuracy.
        on_block: called with (examples done, N).

    Returns:
        (len(ks), F), in 0..1.

    Raises:
        ValueError: fold numbers with gaps, or a fold whose others hold fewer than max(ks).
    """
    folds = checks.folds(folds, len(X))
    outside = len(folds) - np.bincount(folds).max()
    checks.count(max(ks), "the greatest of ks", 1, int(outside))
    model = knn.fit(X, y, metric=metric)
    found = knn.neighbors(model, None, max(ks), groups=folds, on_block=on_block)
    labels = knn.neighbor_labels(model, found)
    y = np.asarray(y)
    predictions = np.asarray(knn.predictions_by_k(labels, ks, int(y.max()) + 1))
    score_fn = evaluation.accuracy if score_fn is None else score_fn
    return np.stack([_by_fold(p, y, folds, score_fn) for p in predictions])


def linear_accuracies(
    key: jax.Array,
    X: AnyArray,
    y: AnyArray,
    folds: Int[AnyArray, "N"],
    hyper: Hyper,
    *,
    objective: Objective,
    optimizer: training.Optimizer,
    num_steps: int,
    batches: sampling.Sampling = sampling.shuffled,
    batch_size: int = 256,
    weight: AnyArray | None = None,
    params: LinearParams | None = None,
    affine: Affine | None = None,
    dropout: float | None = None,
    params_fn: Callable[[TrainState], LinearParams] | None = None,
    score_fn: Callable[..., float] | None = None,
    on_chunk: Callable[[TrainState, StepInfo], Any] | None = None,
) -> Float[np.ndarray, "G F"]:
    """The accuracy of each setting on each fold after training on the others: one program.

    G * F trainings share every batch; in training f the examples of fold f have weight 0,
    so of B examples drawn about B (F - 1) / F count.  A memory-mapped X of more than 1 GiB
    stays in its file.

    Args:
        key: of the start and the batches.
        X, y: images or rows; labels (N,).  Nobody may write to them during the call.
        folds: (N,) fold numbers 0..F-1.
        hyper: numbers, scalars or (G,) leaves.
        weight: (N,) how much each example counts, in training and where it is held out, such as
            `splits.balanced_weights(y)`; default all 1.
        params: where all start, default `linear.init(key, D, C)`.
        affine: preprocessing, default `preprocessing.fit(X, weight)`: one shift, which cannot
            leak, and one scale, a single number, for all folds (see `preprocessing`).
        params_fn: which parameters of the last state are tested, as in `training.fit`.
        score_fn: `score_fn(scores (n, C), labels (n,)) -> float` on the held-out examples
            whose weight is not 0, greater is better; default the weighted accuracy.
        the others: as in `training.fit`.

    Returns:
        (G, F) in 0..1, or in the units of `score_fn`; G = 1 for scalars.  A training that
        diverged has 0, or -inf by `score_fn`: it is not to be chosen.

    Raises:
        ValueError: fold numbers with gaps, a fold without any weight, and what
            `training.fit` refuses.
    """
    X = checks.rows(X)
    y = checks.labels(y, len(X), name="y")
    folds = checks.folds(folds, len(X))
    fitted, held_out = _parts(folds, weight)
    hyper = plain(hyper)
    num_folds, num_settings = len(held_out), training.num_settings(hyper) or 1
    affine = preprocessing.fit(X, weight) if affine is None else affine
    if params is None:
        params = linear.init(key, X.shape[1], int(y.max()) + 1)
    each = jax.tree.map(
        lambda leaf: np.repeat(np.broadcast_to(np.asarray(leaf), num_settings), num_folds), hyper
    )
    data = Examples(X, y, np.tile(held_out, (num_settings, 1)))
    if not streams.is_large(X):
        data = streams.lend(data)
    state = training.start(key, params, optimizer=optimizer, hyper=each)
    state, _ = training.fit(
        state, data.X, data.y, each, objective=objective, optimizer=optimizer, batches=batches,
        batch_size=batch_size, num_steps=num_steps, weight=np.tile(fitted, (num_settings, 1)),
        affine=affine, dropout=dropout, on_chunk=on_chunk,
    )  # fmt: skip
    fitted_params = state.params if params_fn is None else params_fn(state)
    if score_fn is None:
        scores = training.accuracies_by_block(fitted_params, data, affine)
        return np.where(state.alive, scores, 0).reshape(num_settings, num_folds)
    grid = jax.tree.map(
        lambda leaf: leaf.reshape(num_settings, num_folds, *leaf.shape[1:]),
        linear.on_pixels(fitted_params, jax.tree.map(jnp.asarray, affine)),
    )
    found = _scores(grid, Examples(X, np.asarray(y), held_out), score_fn)
    return np.where(np.reshape(state.alive, found.shape), found, -np.inf)


def _parts(folds: np.ndarray, weight: AnyArray | None) -> np.ndarray:
    """The weights (2, F, N) of what each training sees, and of what is held out of it."""
    weight = checks.example_weights(weight, len(folds))
    fitted = splits.train_weights(folds)
    parts = (np.stack([fitted, 1 - fitted]) * weight).astype(np.float32)
    empty = ~parts.any(axis=2)
    if empty.any():
        part, fold = np.argwhere(empty)[0].tolist()
        raise ValueError(f"weight is 0 for all examples {('outside', 'in')[part]} fold {fold}")
    return parts


def _scores(
    params: LinearParams, data: Examples, score_fn: Callable[..., float]
) -> Float[np.ndarray, "G F"]:
    """score_fn of params (G, F, ...), of column f on the examples with weight (F, N) in row f."""
    columns = []
    for fold, weight in enumerate(data.weight):
        members = np.flatnonzero(weight)
        of_fold = jax.tree.map(lambda leaf, fold=fold: leaf[:, fold], params)
        scores = np.concatenate([
            _all_scores(of_fold, data.X[members[i : i + _BLOCK]])
            for i in range(0, len(members), _BLOCK)
        ], axis=1)  # fmt: skip
        columns.append([score_fn(one, data.y[members]) for one in scores])
    return np.array(columns).T


@jax.jit
def _all_scores(params: LinearParams, X: AnyArray) -> jax.Array:
    """Scores (G, n, C) of all settings (G, C, D) on rows."""
    return jax.vmap(linear.scores, (0, None))(params, X)


def _by_fold(
    predictions: np.ndarray, labels: np.ndarray, folds: np.ndarray, score_fn: Callable[..., float]
) -> np.ndarray:
    parts = [folds == fold for fold in range(folds.max() + 1)]
    return np.array([score_fn(predictions[part], labels[part]) for part in parts])
