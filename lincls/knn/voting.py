"""Votes of the neighbours: labels, counts, and predictions for every k from one search."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from lincls import checks, distances
from lincls.knn.driver import OnBlock, neighbors
from lincls.knn.model import KNN
from lincls.structs import AnyArray, Neighbors


def _num_classes(model: KNN) -> int:
    if model.num_classes is None:
        raise ValueError("the model has no labels to vote with; use knn.fit(X, y)")
    return model.num_classes


def neighbor_labels(model: KNN, found: Neighbors) -> Int[AnyArray, "M K"]:
    """The labels of the neighbours, -1 in empty places.

    Raises:
        ValueError: a model without labels.
    """
    _num_classes(model)
    return jnp.concatenate([model.y, jnp.full((1,), -1, jnp.int32)])[found.indices]


def votes(
    labels: Int[AnyArray, "M K"],
    num_classes: int,
    weights: Float[AnyArray, "M K"] | None = None,
) -> Num[Array, "M C"]:
    """How much each class is voted for: sum_j weights_j [labels_j = c].

    A label of -1, an empty place, does not vote.  Without weights, counts (int32).
    """
    return _counted(jnp.asarray(labels), _weights(labels, weights), num_classes)


def _weights(labels: Int[AnyArray, "M K"], weights: Any) -> Num[Array, "M K"]:
    if weights is None:
        return jnp.ones(labels.shape, jnp.int32)
    return jnp.asarray(weights)


@partial(jax.jit, static_argnames="num_classes")
def _counted(
    labels: Int[Array, "M K"], weights: Num[Array, "M K"], num_classes: int
) -> Num[Array, "M C"]:
    count = partial(_count_one_more, num_classes=num_classes)
    start = jnp.zeros((labels.shape[0], num_classes), weights.dtype)
    return lax.scan(count, start, (labels.T, weights.T))[0]


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
    An empty place has weight 0.
    """
    length = jnp.asarray(found.distances).astype(jnp.float32)
    length = jnp.sqrt(length) if model.metric == distances.l2 else length
    same = length == 0
    weights = jnp.where(same, 0, 1 / jnp.where(same, 1, length))
    weights = jnp.where(same.any(axis=1, keepdims=True), same.astype(jnp.float32), weights)
    return jnp.where(found.indices < model.X.shape[0], weights, 0)


def exp_cosines(model: KNN, found: Neighbors, temperature: float = 0.07) -> Float[Array, "M K"]:
    """Weights exp(cosine / T) for `votes` (Wu et al., CVPR 2018), up to a factor for each query.

    Raises:
        ValueError: a model of another metric than cosine.
    """
    if model.metric != distances.cosine:
        raise ValueError(f"exp_cosines needs distances.cosine, the model has {model.metric.name}")
    length = jnp.asarray(found.distances)
    weights = jnp.exp((length[:, :1] - length) / jnp.asarray(temperature, length.dtype))
    return jnp.where(found.indices < model.X.shape[0], weights, 0)


def probabilities(
    model: KNN, found: Neighbors, weights: Float[AnyArray, "M K"] | None = None
) -> Float[Array, "M C"]:
    """The share of the votes that each class has, 0 for all where nobody votes."""
    counts = votes(neighbor_labels(model, found), _num_classes(model), weights)
    counts = counts.astype(jnp.float32)
    total = counts.sum(axis=1, keepdims=True)
    return counts / jnp.where(total > 0, total, 1)


def ties_by_k(
    labels: Int[AnyArray, "M K"], ks: Sequence[int], num_classes: int
) -> Bool[np.ndarray, "len_ks M"]:
    """Whether the majority among the first k was decided by a tie of votes, for every k."""
    ks = [checks.count(k, "ks", high=labels.shape[1]) for k in ks]
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
    """
    k, most = 4, model.X.shape[0]
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
    weights: Float[AnyArray, "M K"] | None = None,
) -> Int[Array, "len_ks M"]:
    """The majority among the first k neighbours, for every k of `ks`, from one running count.

    The most votes win, then the smaller label.

    Args:
        labels: of the neighbours, nearest first, -1 in empty places.
        ks: numbers of neighbours, each in 1..K.
        num_classes: C.
        weights: of the votes; default all 1.
    """
    ks = [checks.count(k, "ks", high=labels.shape[1]) for k in ks]
    majorities = _majorities(jnp.asarray(labels), _weights(labels, weights), num_classes)
    return majorities[np.asarray(ks) - 1]


@partial(jax.jit, static_argnames="num_classes")
def _majorities(
    labels: Int[Array, "M K"], weights: Num[Array, "M K"], num_classes: int
) -> Int[Array, "K M"]:
    count = partial(_count_one_more, num_classes=num_classes)
    start = jnp.zeros((labels.shape[0], num_classes), weights.dtype)
    return lax.scan(count, start, (labels.T, weights.T))[1]


def predict_by_k(
    model: KNN, queries: Any, ks: Sequence[int], *, on_block: OnBlock | None = None
) -> Int[Array, "len_ks M"]:
    """Predicted labels for every k of `ks`, from one search (arguments as for `neighbors`)."""
    num_classes = _num_classes(model)
    found = neighbors(model, queries, max(ks), on_block=on_block)
    return predictions_by_k(neighbor_labels(model, found), ks, num_classes)


def predict(
    model: KNN, queries: Any, k: int, *, on_block: OnBlock | None = None
) -> Int[Array, "M"]:
    """The label that most of the k nearest training examples have (slide 18).

    Of labels with equally many votes the smaller wins.  Arguments as for `neighbors`.
    """
    return predict_by_k(model, queries, [k], on_block=on_block)[0]


def accuracy_by_k(
    model: KNN, queries: Any, labels: Any, ks: Sequence[int], *, on_block: OnBlock | None = None
) -> Float[AnyArray, "len_ks"]:
    """The fraction of queries predicted right, in 0..1, for every k of `ks`, from one search."""
    predicted = np.asarray(predict_by_k(model, queries, ks, on_block=on_block))
    return np.mean(predicted == np.asarray(checks.labels(labels, predicted.shape[1])), axis=1)
