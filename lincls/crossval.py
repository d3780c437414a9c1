"""Cross-validation and choosing (slides 20-22): the test set is not in this file.

A fold assignment is one array (N,) of fold numbers (`splits`).  kNN finds the neighbours of
each example among the other folds once and reads every k off them.  The linear classifier
trains all F folds of all G settings as one program over weights: data are never copied.

Accuracies come as (settings, F); `choose` turns them into a decision.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from lincls import batches as sampling
from lincls import checks, distances, evaluation, knn, linear, preprocessing, splits, training
from lincls.objective import Objective, plain
from lincls.structs import Affine, AnyArray, Examples, Hyper, LinearParams, StepInfo, TrainState


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
    checks.count(accuracies.shape[1], "the number of folds", 2)
    if np.isnan(accuracies).any():
        raise ValueError("accuracies must not hold NaN")
    order = np.asarray(range(len(accuracies)) if complexity is None else complexity)
    if order.shape != (len(accuracies),):
        raise ValueError(f"complexity must have {len(accuracies)} entries, got {order.shape}")
    mean, deviation = accuracies.mean(axis=1), accuracies.std(axis=1, ddof=1)
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
    params: LinearParams | None = None,
    affine: Affine | None = None,
    score_fn: Callable[..., float] | None = None,
    on_chunk: Callable[[TrainState, StepInfo], Any] | None = None,
) -> Float[np.ndarray, "G F"]:
    """The accuracy of each setting on each fold after training on the others: one program.

    G * F trainings share every batch; in training f the examples of fold f have weight 0,
    so of B examples drawn about B (F - 1) / F count.

    Args:
        key: of the start and the batches.
        X, y: images or rows; labels (N,).
        folds: (N,) fold numbers 0..F-1.
        hyper: numbers, scalars or (G,) leaves.
        params: where all start, default `linear.init(key, D, C)`.
        affine: preprocessing, default `preprocessing.fit(X)`: one shift, which cannot leak,
            and one scale, a single number, for all folds (see `preprocessing`).
        score_fn: `score_fn(scores (n, C), labels (n,)) -> float` on the held-out examples,
            greater is better; default the accuracy.
        the others: as in `training.fit`.

    Returns:
        (G, F) in 0..1, or in the units of `score_fn`; G = 1 for scalars.
    """
    X = checks.rows(X)
    y = checks.labels(y, len(X), name="y")
    held_out = 1 - splits.train_weights(checks.folds(folds, len(X)))
    hyper = plain(hyper)
    num_folds, num_settings = len(held_out), training.num_settings(hyper) or 1
    affine = preprocessing.fit(X) if affine is None else affine
    if params is None:
        params = linear.init(key, X.shape[1], int(y.max()) + 1)
    each = jax.tree.map(
        lambda leaf: np.repeat(np.broadcast_to(np.asarray(leaf), num_settings), num_folds), hyper
    )
    weights = np.tile(held_out, (num_settings, 1))
    data = jax.tree.map(jnp.asarray, Examples(X, y, weights))
    state = training.start(key, params, optimizer=optimizer, hyper=each)
    state, _ = training.fit(
        state, data.X, data.y, each, objective=objective, optimizer=optimizer, batches=batches,
        batch_size=batch_size, num_steps=num_steps, weight=1 - weights, affine=affine,
        on_chunk=on_chunk,
    )  # fmt: skip
    if score_fn is None:
        scores = np.asarray(training.accuracies(state.params, data, affine))
    else:
        scores = _scores(state.params, affine, X, np.asarray(y), weights > 0, score_fn)
    return scores.reshape(num_settings, num_folds)


def _scores(
    params: LinearParams,
    affine: Affine,
    X: AnyArray,
    y: np.ndarray,
    members: np.ndarray,
    score_fn: Callable[..., float],
) -> np.ndarray:
    """score_fn of each of the S trainings on its own held-out examples, (S,)."""
    on_pixels = linear.on_pixels(params, jax.tree.map(jnp.asarray, affine))
    return np.array([
        score_fn(np.asarray(linear.scores(LinearParams(W, b), X[member])), y[member])
        for W, b, member in zip(*on_pixels, members, strict=True)
    ])  # fmt: skip


def _by_fold(
    predictions: np.ndarray, labels: np.ndarray, folds: np.ndarray, score_fn: Callable[..., float]
) -> np.ndarray:
    parts = [folds == fold for fold in range(folds.max() + 1)]
    return np.array([score_fn(predictions[part], labels[part]) for part in parts])
