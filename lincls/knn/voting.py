"""Votes of the neighbours: labels, counts, and predictions for every k from one search."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from lincls import checks, distances, placement
from lincls.knn.driver import OnBlock, neighbors
from lincls.knn.model import KNN
from lincls.knn.search import checked_neighbors
from lincls.knn.shards import labels_at
from lincls.structs import AnyArray, Neighbors, Sharded


def _num_classes(model: KNN) -> int:
    checks.kind(model, KNN, "model", "knn.fit(X, y)")
    if model.y is None or model.num_classes is None:
        raise ValueError("the model has no labels to vote with; use knn.fit(X, y)")
    return model.num_classes


def neighbor_labels(model: KNN, found: Neighbors) -> Int[AnyArray, "M K"]:
    """The labels of the neighbours, -1 in empty places.

    Args:
        model: fitted with labels.
        found: its neighbours.

    Raises:
        ValueError: a model without labels, or indices beyond its training examples.
    """
    _num_classes(model)
    indices = checked_neighbors(found).indices
    checks.within(indices, "found.indices", 0, model.X.shape[0])
    if isinstance(model.y, Sharded):
        return labels_at(model.y, indices)
    return jnp.concatenate([model.y, jnp.full((1,), -1, jnp.int32)])[indices]


def votes(
    labels: Int[AnyArray, "M K"],
    num_classes: int,
    weights: Num[AnyArray, "M K"] | None = None,
) -> Num[Array, "M C"]:
    """How much each class is voted for: sum_j weights_j [labels_j = c].

    Args:
        labels: of the neighbours; -1, an empty place, does not vote.
        num_classes: C.
        weights: of the votes, finite and at least 0; default all 1.

    Returns:
        Counts (int32) without weights, else sums in their dtype, at least float32.  Under jit,
        where a label cannot be seen, one outside of -1..C-1 makes its row NaN, of counts the
        least int32.

    Raises:
        TypeError: labels that are not integers, weights that are not numbers.
        ValueError: another shape, a label outside of -1..C-1, a weight that is negative or NaN.
    """
    num_classes = checks.count(num_classes, "num_classes")
    ballots = _ballots(labels, num_classes, weights)
    with distances.exact_scope(ballots[1]):
        return _counted(*map(jnp.asarray, ballots), num_classes)


def _ballots(labels: Any, num_classes: int, weights: Any) -> tuple[AnyArray, AnyArray]:
    """Labels (M, K) int32 and their weights, of a dtype in which they can be summed."""
    labels = checks.within(labels, "labels", -1, num_classes - 1)
    if labels.ndim != 2:
        raise ValueError(f"labels must have shape (M, K), got {labels.shape}")
    if weights is None:
        return labels.astype(np.int32), np.ones(labels.shape, np.int32)
    return labels.astype(np.int32), checks.vote_weights(weights, labels.shape)


@partial(jax.jit, static_argnames="num_classes")
def _counted(
    labels: Int[Array, "M K"], weights: Num[Array, "M K"], num_classes: int
) -> Num[Array, "M C"]:
    count = partial(_count_one_more, num_classes=num_classes)
    start = jnp.zeros((labels.shape[0], num_classes), weights.dtype)
    counts = lax.scan(count, start, (labels.T, weights.T))[0]
    floating = jnp.issubdtype(weights.dtype, jnp.floating)
    worst = jnp.nan if floating else jnp.iinfo(weights.dtype).min
    return jnp.where(_outside(labels, num_classes)[:, None], worst, counts)


def _outside(labels: Array, num_classes: int) -> Bool[Array, "M"]:
    return jnp.any((labels < -1) | (labels >= num_classes), axis=1)


def _count_one_more(
    counts: Array, neighbour: tuple[Array, Array], num_classes: int
) -> tuple[Array, Array]:
    """The votes with those of one more neighbour of each query, and who has most of them."""
    label, weight = neighbour
    counts = counts + weight[:, None] * jax.nn.one_hot(label, num_classes, dtype=weight.dtype)
    return counts, jnp.argmax(counts, axis=1).astype(jnp.int32)


def inverse_distances(model: KNN, found: Neighbors) -> Float[Array, "M K"]:
    """Weights for `votes`: 1 / distance, with the root of L2's sum of squares.

    Where a neighbour is at distance 0, those at distance 0 have weight 1 and the others 0.
    An empty place has weight 0.  Distances of 64 bits give float64 weights, others float32.
    """
    checks.kind(model, KNN, "model", "knn.fit(X, y)")
    length, indices = checked_neighbors(found)
    with distances.exact_scope(length):
        length = jnp.asarray(length)
        length = length.astype(jnp.float64 if length.dtype.itemsize == 8 else jnp.float32)
        length = jnp.sqrt(length) if model.metric.degree == 2 else length
        same = length == 0
        weights = jnp.where(same, 0, 1 / jnp.where(same, 1, length))
        weights = jnp.where(same.any(axis=1, keepdims=True), same.astype(length.dtype), weights)
        return jnp.where(indices < model.X.shape[0], weights, 0)


def exp_cosines(model: KNN, found: Neighbors, temperature: float = 0.07) -> Float[Array, "M K"]:
    """Weights exp(cosine / T) for `votes` (Wu et al., CVPR 2018), up to a factor for each query.

    Raises:
        ValueError: a model of another metric than cosine, T that is not greater than 0.
    """
    checks.kind(model, KNN, "model", "knn.fit(X, y)")
    length, indices = checked_neighbors(found)
    if model.metric != distances.cosine:
        raise ValueError(f"exp_cosines needs distances.cosine, the model has {model.metric.name}")
    if checks.is_concrete(temperature):
        checks.number(temperature, "temperature", above=0)
    with distances.exact_scope(length):
        length = jnp.asarray(length)
        weights = jnp.exp((length[:, :1] - length) / jnp.asarray(temperature, length.dtype))
        return jnp.where(indices < model.X.shape[0], weights, 0)


def probabilities(
    model: KNN, found: Neighbors, weights: Num[AnyArray, "M K"] | None = None
) -> Float[Array, "M C"]:
    """The share of the votes that each class has, 0 for all where nobody votes.

    Args:
        model, found: as for `neighbor_labels`.
        weights: as for `votes`.

    Raises:
        TypeError, ValueError: as `neighbor_labels` and `votes`.
    """
    counts = votes(neighbor_labels(model, found), _num_classes(model), weights)
    with distances.exact_scope(counts):
        if jnp.issubdtype(counts.dtype, jnp.integer):
            counts = counts.astype(jnp.float32)
        total = counts.sum(axis=1, keepdims=True)
        return (counts / jnp.where(total == 0, 1, total)).astype(jnp.float32)


def ties_by_k(
    labels: Int[AnyArray, "M K"], ks: Sequence[int], num_classes: int
) -> Bool[np.ndarray, "len_ks M"]:
    """Whether the majority among the first k was decided by a tie of votes, for every k.

    Args:
        labels, ks, num_classes: as for `predictions_by_k`.
    """
    num_classes = checks.count(num_classes, "num_classes")
    labels = _ballots(labels, num_classes, None)[0]
    ks = checks.counts(ks, "ks", high=labels.shape[1])
    counts = (np.sort(votes(labels[:, :k], num_classes), axis=1) for k in ks)
    return np.stack([count[:, -1] == count[:, -2:-1].sum(axis=1) for count in counts])


class Pairs(NamedTuple):
    """Pairs of a query and a training example, in order of query, distance and index."""

    queries: Any  # (P,) int
    indices: Any  # (P,) int
    distances: Any  # (P,)


def duplicates(model: KNN, queries: Any, below: Any) -> Pairs:
    """All pairs nearer than `below`, in the units of `Neighbors`; 1 finds equal pixels.

    With `queries=None` every pair of training examples appears twice.

    Args:
        model, queries: as for `neighbors`.
        below: a number greater than 0.
    """
    checks.kind(model, KNN, "model", "knn.fit(X, y)")
    k, most, below = 4, model.X.shape[0], checks.number(below, "below", above=0)
    while True:
        k = min(4 * k, most)
        found = neighbors(model, queries, k)
        near = (found.distances < below) & (found.indices < most)
        if k == most or not near[:, -1].any():
            return Pairs(np.nonzero(near)[0], found.indices[near], found.distances[near])


def predictions_by_k(
    labels: Int[AnyArray, "M K"],
    ks: Sequence[int],
    num_classes: int,
    weights: Num[AnyArray, "M K"] | None = None,
) -> Int[Array, "len_ks M"]:
    """The majority among the first k neighbours, for every k of `ks`, from one running count.

    The most votes win, then the smaller label.

    Args:
        labels: of the neighbours, nearest first, -1 in empty places.
        ks: numbers of neighbours, each in 1..K.
        num_classes: C.
        weights: of the votes; default all 1.

    Returns:
        (len(ks), M) int32.  Under jit a query with a label outside of -1..C-1 gets -1.

    Raises:
        TypeError, ValueError: as `votes`, and a k out of range.
    """
    num_classes = checks.count(num_classes, "num_classes")
    labels, weights = _ballots(labels, num_classes, weights)
    ks = checks.counts(ks, "ks", high=labels.shape[1])
    with distances.exact_scope(weights):
        majorities = _majorities(jnp.asarray(labels), jnp.asarray(weights), num_classes)
        return majorities[np.asarray(ks) - 1]


@partial(jax.jit, static_argnames="num_classes")
def _majorities(
    labels: Int[Array, "M K"], weights: Num[Array, "M K"], num_classes: int
) -> Int[Array, "K M"]:
    count = partial(_count_one_more, num_classes=num_classes)
    start = jnp.zeros((labels.shape[0], num_classes), weights.dtype)
    majorities = lax.scan(count, start, (labels.T, weights.T))[1]
    return jnp.where(_outside(labels, num_classes), -1, majorities)


def predict_by_k(
    model: KNN, queries: Any, ks: Sequence[int], *, on_block: OnBlock | None = None
) -> Int[Array, "len_ks M"]:
    """Predicted labels for every k of `ks`, from one search.

    Args:
        model: fitted with labels.
        ks: numbers of neighbours, each in 1..N.
        queries, on_block: as for `neighbors`.
    """
    num_classes = _num_classes(model)
    ks = checks.counts(ks, "ks", high=model.X.shape[0])
    found = neighbors(model, queries, max(ks), on_block=on_block)
    return predictions_by_k(neighbor_labels(model, found), ks, num_classes)


def predict(
    model: KNN, queries: Any, k: int, *, on_block: OnBlock | None = None
) -> Int[Array, "M"]:
    """The label that most of the k nearest training examples have (slide 18).

    Of labels with equally many votes the smaller wins.

    Args:
        model: fitted with labels.
        queries, k, on_block: as for `neighbors`.
    """
    _num_classes(model)
    k = checks.count(k, "k", high=model.X.shape[0])
    return predict_by_k(model, queries, [k], on_block=on_block)[0]


def accuracy_by_k(
    model: KNN, queries: Any, labels: Any, ks: Sequence[int], *, on_block: OnBlock | None = None
) -> Float[AnyArray, "len_ks"]:
    """The accuracy on the queries, in 0..1, for every k of `ks`, from one search.

    Args:
        model: fitted with labels.
        labels: (M,) of the queries.
        queries, ks, on_block: as for `predict_by_k`.
    """
    _num_classes(model)
    if queries is not None:
        queries = checks.rows_anywhere(queries, "queries", model.X.shape[1])
    num_queries = (model.X if queries is None else queries).shape[0]
    labels = placement.gathered(checks.labels_anywhere(labels, num_queries))
    predicted = np.asarray(predict_by_k(model, queries, ks, on_block=on_block))
    return np.mean(predicted == labels, axis=1)
