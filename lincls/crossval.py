"""Cross-validation and choosing (slides 20-22): the test set is not in this file.

A fold assignment is one array (N,) of fold numbers (`splits`).  kNN finds the neighbours of
each example among the other folds once and reads every k off them.  The linear classifier
trains all F folds of all G settings as one program over weights: data are never copied.

Accuracies come as (settings, F); `choose` turns them into a decision.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from lincls import (
    checks,
    distances,
    evaluation,
    knn,
    passes,
    placement,
    precision,
    preprocessing,
    splits,
    training,
)
from lincls import hyper as numbers
from lincls import linear as linear_model
from lincls import objective as objectives
from lincls.structs import Affine, AnyArray, AnyRows, Examples, Hyper, Params, Sharded
from lincls.training import Recipe, room
from lincls.training.driver import OnChunk

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
        TypeError: accuracies or complexity that are not real numbers.
        ValueError: fewer than 2 folds, NaN, or complexity of another length.
    """
    accuracies = np.asarray(checks.floats(accuracies, "accuracies"), np.float64)
    if accuracies.ndim != 2 or not len(accuracies):
        raise ValueError(f"accuracies must have shape (G, F), got {accuracies.shape}")
    checks.count(accuracies.shape[1], "the number of folds in accuracies", 2)
    if np.isnan(accuracies).any():
        raise ValueError("accuracies must not hold NaN")
    order = range(len(accuracies)) if complexity is None else complexity
    order = checks.column(checks.floats(order, "complexity"), "complexity", len(accuracies))
    mean, deviation = _means(accuracies), accuracies.std(axis=1, ddof=1)
    simplest_first = np.argsort(order, kind="stable")
    best = simplest_best(accuracies, order)
    enough = mean >= mean[best] - deviation[best] / np.sqrt(accuracies.shape[1])
    return Choice(mean, deviation, best, int(simplest_first[enough[simplest_first].argmax()]))


def simplest_best(accuracies: np.ndarray, complexity: np.ndarray) -> int:
    """The setting (G, F) of the greatest mean over the folds; of equals the simplest.

    Args:
        accuracies: (G, F) floats, of one fold or more.
        complexity: (G,) less is simpler.
    """
    simplest_first = np.argsort(complexity, kind="stable")
    return int(simplest_first[_means(accuracies)[simplest_first].argmax()])


def _means(accuracies: np.ndarray) -> np.ndarray:
    """(G,); a sum that is rounded once is the same in any order: equal settings stay equal."""
    return np.array([math.fsum(row) for row in accuracies]) / accuracies.shape[1]


def knn_accuracies(
    X: AnyRows,
    y: AnyRows,
    folds: Int[AnyArray, "N"],
    ks: Sequence[int],
    metric: distances.Metric = distances.l2,
    *,
    score_fn: Callable[..., float] | None = None,
    on_block: Callable[[int, int], Any] | None = None,
) -> Float[np.ndarray, "K F"]:
    """The accuracy of kNN on each fold with the other folds as training data, for every k.

    One search finds the max(ks) nearest of each example among the other folds.  The neighbours
    of every k are the first of them, and votes are a cumulative sum.

    Args:
        X, y: images or rows, as for `knn.fit`; labels (N,).
        folds: (N,) fold numbers 0..F-1.
        ks: numbers of neighbours.
        metric: a value of `distances`.
        score_fn: `score_fn(predictions, labels) -> float` of a fold, default the accuracy.
        on_block: called with (examples done, N).

    Returns:
        (len(ks), F), in 0..1.

    Raises:
        TypeError: an argument of another kind.
        ValueError: fold numbers with gaps, a fold whose others hold fewer than max(ks), and
            what `knn.fit` refuses.
    """
    score_fn = checks.function(score_fn, "score_fn") or evaluation.accuracy
    X = checks.rows_anywhere(X)
    y = placement.gathered(checks.labels_anywhere(y, len(X), name="y"))
    folds = checks.within(folds, "folds", 0, len(X))
    folds = checks.folds(folds, len(X))
    ks = checks.counts(ks, "ks", high=len(folds) - int(np.bincount(folds).max()))
    model = knn.fit(X, y, metric=metric)
    found = knn.neighbors(model, None, max(ks), groups=folds, on_block=on_block)
    labels = knn.neighbor_labels(model, found)
    predictions = np.asarray(knn.predictions_by_k(labels, ks, int(y.max()) + 1))
    return np.stack([_by_fold(p, y, folds, score_fn) for p in predictions])


class Folded(NamedTuple):
    """What a cross-validation of G settings on F folds found."""

    accuracies: np.ndarray  # (G, F) in 0..1, or in the units of `score_fn`
    params: Params  # (G, F, ...), acting on preprocessed rows
    alive: np.ndarray  # (G, F) bool: False where a training diverged
    affine: Affine  # that preprocessing


def linear(
    key: jax.Array,
    X: AnyRows,
    y: AnyRows,
    folds: Int[AnyArray, "N"] | splits.Parts,
    recipe: Recipe,
    hyper: Hyper,
    *,
    num_steps: int,
    weight: AnyArray | None = None,
    affine: Affine | None = None,
    params: Params | None = None,
    score_fn: Callable[..., float] | None = None,
    on_chunk: OnChunk | None = None,
) -> Folded:
    """Cross-validate a grid of linear classifiers: G * F trainings as one program.

    All trainings share every batch.  In training f the examples of fold f have weight 0, so of B
    examples drawn about B (F - 1) / F count.  A memory-mapped X of more than 1 GiB stays in its
    file.  Settings that memory has no room for at once are trained in groups, with the same
    result up to rounding; a warning says in how many.

    Args:
        key: of the start and the batches.
        X, y: images or rows; labels (N,).  Do not write to them until the call returns.
        folds: (N,) fold numbers 0..F-1, -1 for an example that is never held out; or
            `splits.Parts`, weights of each training.
        recipe: how to train; its `params_fn` says which parameters are judged.
        hyper: numbers, scalars or (G,), which may lie on a mesh (`placement.shard_settings`).
        num_steps: T.
        weight: (N,) how much each example counts, in training and where it is held out, such as
            `splits.balanced_weights(y)`; default all 1.
        affine: preprocessing of X; default none.  `preprocessing.fit(X, weight)` suits all folds
            alike: its shift cannot leak, and its scale is a single number.
        params: where all start, default `linear.init(key, D, C)`; needed with a `scores_fn` of
            one's own.
        score_fn: `score_fn(scores (n, C), labels (n,)) -> float` on the held-out examples
            whose weight is not 0, greater is better; default the weighted accuracy.
        on_chunk: as in `training.fit`.

    Returns:
        Folded; G = 1 for scalars.  A training that diverged has accuracy 0, or -inf by
        `score_fn`, so it is not chosen.

    Raises:
        ValueError: fold numbers with gaps, a fold without any weight, and what
            `training.fit` refuses.
    """
    checks.on_host("crossval.linear", "use training.run", key, X, y, folds, weight, params)
    checks.kind(recipe, Recipe, "recipe", "Recipe(Objective(losses.softmax))")
    X = checks.rows_anywhere(X)
    y = placement.gathered(checks.labels_anywhere(y, len(X), name="y"))
    weight = checks.example_weights(weight, len(X))
    if not isinstance(folds, splits.Parts):
        folds = splits.parts(checks.folds(folds, len(X), spared=True), weight)
    hyper, layout = numbers.gathered(hyper)
    affine = preprocessing.checked(affine, X.shape[1])
    of = recipe.objective
    if params is None and of.scores_fn is linear_model.scores:
        params = linear_model.init(key, X.shape[1], int(y.max()) + 1)
    params = objectives.checked_params(of, params)
    dtype = objectives.dtype_of(params)
    X = precision.working(X, dtype=dtype, weight=folds.fitted + folds.held_out)
    task = _Task(key, X, y, folds, recipe, params, affine, num_steps, score_fn, on_chunk)
    if layout is not None:
        return _of_settings(task, hyper, layout)
    groups = room.groups(hyper, params, len(folds.held_out))
    if len(groups) == 1:
        return _of_settings(task, hyper, None)
    found = [jax.tree.map(np.asarray, _of_settings(task, group, None)[:3]) for group in groups]
    accuracies, grid, alive = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    return Folded(accuracies, grid, alive, affine)


class _Task(NamedTuple):
    """What all settings share."""

    key: jax.Array
    X: AnyRows
    y: np.ndarray
    folds: splits.Parts
    recipe: Recipe
    params: Params
    affine: Affine
    num_steps: int
    score_fn: Callable[..., float] | None
    on_chunk: OnChunk | None


def _of_settings(task: _Task, hyper: Hyper, layout: Sharded | None) -> Folded:
    """Every fold of every setting, trained and judged."""
    key, X, y, folds, recipe, params, affine, num_steps, score_fn, on_chunk = task
    num_folds, num_settings = len(folds.held_out), numbers.num_settings(hyper) or 1
    data = Examples(X, y, np.tile(folds.held_out, (num_settings, 1)))
    if isinstance(X, Sharded):
        data = passes.on_mesh(data, objectives.dtype_of(params))
    elif not placement.is_large(X):
        data = placement.lend(data)
    each = numbers.repeated(hyper, num_folds)
    if layout is not None:
        each = placement.shard_settings(layout.mesh, each, layout.num_blocks)
    state = training.start(key, params, recipe, each)
    state, _ = training.fit(
        state, data.X, data.y, recipe, each, num_steps=num_steps, affine=affine,
        weight=np.tile(folds.fitted, (num_settings, 1)), on_chunk=on_chunk,
    )  # fmt: skip
    found = recipe.params_fn(state)
    grid, alive = jax.tree.map(
        lambda leaf: leaf.reshape(num_settings, num_folds, *leaf.shape[1:]), (found, state.alive)
    )
    alive, worst, scores_fn = np.asarray(alive), 0.0, recipe.objective.scores_fn
    if score_fn is None:
        every = passes.accuracies(found, data, affine, scores_fn=scores_fn, is_grid=True)
        accuracies = np.reshape(every, alive.shape)
    else:
        worst = -np.inf
        held_out = Examples(X, np.asarray(y), folds.held_out)
        scores = held_out_scores(grid, affine, held_out, scores_fn)
        accuracies = np.array([[score_fn(one, y) for one in scores] for scores, y in scores]).T
    return Folded(np.where(alive, accuracies, worst), grid, alive, affine)


def held_out_scores(
    params: Params, affine: Affine, data: Examples,
    scores_fn: Callable[..., Any] = linear_model.scores,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Fold by fold, what each setting says of the examples that it was not trained on.

    Args:
        params: (G, F, ...), as `Folded` has them.
        affine: their preprocessing.
        data: X (N, D), y (N,), weight (F, N): row f is not 0 on the examples held out of f.
        scores_fn: `(params, X) -> (B, C)` of one setting.

    Yields:
        Scores (G, n, C), and labels (n,), of the n examples held out of a fold.
    """
    affine, is_linear = jax.tree.map(jnp.asarray, affine), scores_fn is linear_model.scores
    params = linear_model.on_pixels(params, affine) if is_linear else params
    scores_of = _scores if is_linear else partial(_scores_of_settings, scores_fn, affine)
    for fold, weight in enumerate(data.weight):
        members = np.flatnonzero(weight)
        of_fold = jax.tree.map(lambda leaf, fold=fold: leaf[:, fold], params)
        scores = [
            scores_of(of_fold, _rows_of(data.X, members[i : i + _BLOCK]))
            for i in range(0, len(members), _BLOCK)
        ]
        yield np.concatenate(scores, axis=1), data.y[members]


def _rows_of(X: AnyRows, places: np.ndarray) -> AnyArray:
    return placement.rows_at(X, places) if isinstance(X, Sharded) else X[places]


_scores = jax.jit(linear_model.scores)


@partial(jax.jit, static_argnums=0)
def _scores_of_settings(
    scores_fn: Callable[..., Any], affine: Affine, params: Params, X: AnyArray
) -> jax.Array:
    rows = preprocessing.apply(affine, X, objectives.dtype_of(params))
    return jax.vmap(scores_fn, (0, None))(params, rows)


def _by_fold(
    predictions: np.ndarray, labels: np.ndarray, folds: np.ndarray, score_fn: Callable[..., float]
) -> np.ndarray:
    parts = [folds == fold for fold in range(folds.max() + 1)]
    return np.array([_score(score_fn, predictions[part], labels[part]) for part in parts])


def _score(score_fn: Callable[..., float], predictions: np.ndarray, labels: np.ndarray) -> float:
    score = score_fn(predictions, labels)
    if np.ndim(score) or not isinstance(score, int | float | np.generic | AnyArray):
        raise TypeError(f"score_fn must give one number, got {checks.shown(score)}")
    return float(score)
