"""Votes of the neighbours: labels, counts, and predictions for every k from one search."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Num

from lincls import checks
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
    one_hot = jax.nn.one_hot(labels, num_classes, dtype=jnp.int32)
    if weights is None:
        return one_hot.sum(axis=1)
    return jnp.einsum("mk,mkc->mc", weights, one_hot.astype(weights.dtype))


def predictions_by_k(
    labels: Int[AnyArray, "M K"], ks: Sequence[int], num_classes: int
) -> Int[Array, "len_ks M"]:
    """The majority among the first k neighbours, for every k of `ks`, from one running count.

    The most votes win, then the smaller label.

    Args:
        labels: of the neighbours, nearest first, -1 in empty places.
        ks: numbers of neighbours, each in 1..K.
    """
    ks = [checks.count(k, "ks", high=labels.shape[1]) for k in ks]
    return _majorities(jnp.asarray(labels), num_classes)[np.asarray(ks) - 1]


@partial(jax.jit, static_argnames="num_classes")
def _majorities(labels: Int[Array, "M K"], num_classes: int) -> Int[Array, "K M"]:
    def count_one_more(counts: Array, label: Array) -> tuple[Array, Array]:
        counts = counts + jax.nn.one_hot(label, num_classes, dtype=jnp.int32)
        return counts, jnp.argmax(counts, axis=1).astype(jnp.int32)

    start = jnp.zeros((labels.shape[0], num_classes), jnp.int32)
    return lax.scan(count_one_more, start, labels.T)[1]


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
