"""k nearest neighbours, exact and in a total order: by (distance, training index).

`fit` keeps the data and what the metric wants to know of it.  `search_block` is the search, a
pure function that composes under `jit`, `vmap` and sharding; `merge` joins the answers of two
parts of the training set, so blocks, shards and streams are folds of it.  `neighbors` drives
the compiled search in equal chunks from the host.  Votes read everything else off one search:
predictions for every k come from a running count over the neighbours, nearest first.

    model = knn.fit(images, labels, metric=distances.l1)
    predicted = knn.predict(model, test_images, k=5)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Num

from lincls import checks, distances
from lincls.distances import Metric
from lincls.structs import AnyArray, Neighbors

OnBlock = Callable[[int, int], Any]

_GROUP = 64  # training points that share a minimum in `_smallest`
_KEYS_BYTES = 2**26  # of the (block, N) matrix of distances
_BLOCK_WORK = 2**36  # features compared in a block: a few tenths of a second on two cores


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("X", "y", "points"),
    meta_fields=("metric", "num_classes"),
)
@dataclass(frozen=True)
class KNN:
    """The training data with summaries of it; made by `fit`.

    Attributes:
        X: (N, D) the rows as given, uint8 or floating.
        y: (N,) int32 labels, or None.
        points: what `metric.prepare` made of X.
        metric: the distance.
        num_classes: C, or None without labels.
    """

    X: Any
    y: Any
    points: Any
    metric: Metric
    num_classes: int | None


def fit(
    X: Any, y: Any = None, *, metric: Metric = distances.l2, num_classes: int | None = None
) -> KNN:
    """Remember the data (slide 19: "memorize all data and labels").

    Args:
        X: images (N, H, W, C) or rows (N, D), uint8 or floating.
        y: integer labels (N,) in 0..C-1, or None for a search without votes.
        metric: a value of `lincls.distances`.
        num_classes: C; by default the largest label plus one.

    Raises:
        TypeError, ValueError: data or labels of another kind, NaN, a label out of range.
    """
    X = checks.finite(checks.rows(X))
    if y is not None:
        y = checks.labels(y, X.shape[0], num_classes, name="y")
        num_classes = int(y.max()) + 1 if num_classes is None else num_classes
        y = jnp.asarray(y)
    with distances.exact_scope(X):
        X = jnp.asarray(X)
        return KNN(X, y, metric.prepare(X), metric, num_classes)


# --- the search ------------------------------------------------------------------------------


def search_block(
    model: KNN,
    queries: Num[AnyArray, "M D"],
    k: int,
    *,
    query_groups: Int[AnyArray, "M"] | None = None,
    groups: Int[AnyArray, "N"] | None = None,
) -> Neighbors:
    """The k nearest training examples of each query: pure, and the one neighbour search.

    Holds (M, N) distances, so M is a block of the queries; `neighbors` chooses it.  A training
    example of a query's own group is no candidate.  Where candidates are fewer than k, the last
    places are empty: the largest distance of the dtype, and index N.
    """
    block = model.metric.pairwise(model.metric.prepare(jnp.asarray(queries)), model.points)
    keys = distances.order_keys(block)
    if groups is not None and query_groups is not None:
        same = jnp.asarray(query_groups)[:, None] == jnp.asarray(groups)
        keys = jnp.where(same, jnp.inf, keys)
    keys, indices = _smallest(keys, k)
    return Neighbors(distances.from_keys(keys, block.dtype), indices)


_search_block = jax.jit(search_block, static_argnames="k")


def _smallest(keys: Float[Array, "M N"], k: int) -> tuple[Float[Array, "M k"], Int[Array, "M k"]]:
    """The k smallest keys of each row and their columns, by (key, column).

    A minimum over every group of 64 neighbouring columns comes first.  The k smallest lie in the
    k groups that come first by (minimum, group): any other group has k groups before it, and
    each holds an element that precedes all of its own.  Infinite keys get column N.
    """
    num_columns = keys.shape[1]
    if num_columns <= _GROUP * k:
        return _padded(*_top_k(keys, min(k, num_columns)), k, num_columns)
    num_groups = -(-num_columns // _GROUP)
    whole = num_columns // _GROUP * _GROUP
    minima = keys[:, :whole].reshape(keys.shape[0], -1, _GROUP).min(axis=2)
    if whole < num_columns:
        minima = jnp.concatenate([minima, keys[:, whole:].min(axis=1, keepdims=True)], axis=1)
    _, chosen = _top_k(minima, min(k, num_groups))
    columns = jnp.sort(chosen, axis=1)[:, :, None] * _GROUP + jnp.arange(_GROUP, dtype=jnp.int32)
    columns = columns.reshape(keys.shape[0], -1)
    candidates = jnp.take_along_axis(keys, columns, axis=1, mode="fill", fill_value=jnp.inf)
    smallest, places = _top_k(candidates, k)
    return _padded(smallest, jnp.take_along_axis(columns, places, axis=1), k, num_columns)


def _top_k(keys: Array, k: int) -> tuple[Array, Array]:
    """The k smallest and their places; of equal keys the one further left comes first."""
    negated, places = lax.top_k(-keys, k)
    return -negated, places


def _padded(keys: Array, columns: Array, k: int, empty: int) -> tuple[Array, Array]:
    missing = ((0, 0), (0, k - keys.shape[1]))
    keys = jnp.pad(keys, missing, constant_values=jnp.inf)
    columns = jnp.pad(columns, missing, constant_values=empty)
    return keys, jnp.where(jnp.isinf(keys), empty, columns).astype(jnp.int32)


def merge(a: Neighbors, b: Neighbors, k: int) -> Neighbors:
    """The k nearest of two answers for the same queries, with indices into one training set.

    Associative and commutative, by the total order (distance, index).  An answer from a shard
    whose rows begin at `start` has `indices + start`, and its empty places index N of the whole.
    """
    both = [jnp.concatenate(pair, axis=1) for pair in zip(a, b, strict=True)]
    merged = lax.sort(both, dimension=1, num_keys=2)
    return Neighbors(*(part[:, :k] for part in merged))


# --- the host's driver -----------------------------------------------------------------------


def neighbors(
    model: KNN,
    queries: Any,
    k: int,
    *,
    block_size: int | None = None,
    on_block: OnBlock | None = None,
    groups: Any = None,
) -> Neighbors:
    """The k nearest training examples of every query, nearest first, as host arrays (M, k).

    Exact: L1 and L2 between uint8 images are integers.  Ties are in order of training index, so
    the answer depends on neither the block size nor the number of queries.

    Args:
        queries: images (M, H, W, C) or rows (M, D) of the training data's kind, or None for the
            training set itself, each example without itself (leave-one-out).
        k: number of neighbours, 1..N.
        block_size: queries in a block; by default from the shapes, with bounded memory.
        on_block: called as `on_block(done, total)` with numbers of queries, for a progress bar.
        groups: (N,) integers, only with `queries=None`: each example is searched for among the
            examples of other groups.  With fold numbers this is cross-validation for every k in
            one pass; examples of the same subject are kept from voting for each other.

    Raises:
        TypeError, ValueError: an argument of another kind, shape or range.
    """
    k = checks.count(k, "k", high=model.X.shape[0])
    rows, query_groups, groups = _rows_and_groups(model, queries, groups)
    if block_size is None:
        block_size = _block_size(model, rows.shape[0])
    size = checks.count(block_size, "block_size")
    found = []
    with distances.exact_scope(model.X):
        for block, block_groups, count in _blocks(rows, query_groups, size):
            answer = _search_block(
                model, block, _bucket(k), query_groups=block_groups, groups=groups
            )
            found.append([np.asarray(array)[:count, :k] for array in answer])
            if on_block is not None:
                on_block(sum(len(one[0]) for one in found), rows.shape[0])
    return Neighbors(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def _rows_and_groups(model: KNN, queries: Any, groups: Any) -> tuple[AnyArray, Any, Any]:
    """Rows of queries, their groups, and the groups of the training examples (or None)."""
    num_examples, num_features = model.X.shape
    if queries is None:
        if groups is None:
            groups = np.arange(num_examples)
        groups = np.asarray(checks.labels(groups, num_examples, name="groups"))
        return model.X, groups, groups
    if groups is not None:
        raise ValueError("groups are for queries=None, the training set; got queries as well")
    rows = checks.finite(checks.rows(queries, "queries", num_features), "queries")
    if (rows.dtype == jnp.uint8) != (model.X.dtype == jnp.uint8):
        raise TypeError(
            f"queries are {rows.dtype} and the training data {model.X.dtype}; give both as uint8 "
            f"(exact) or both as floating, for instance queries.astype(np.{model.X.dtype})"
        )
    return rows, None, None


def _block_size(model: KNN, num_queries: int) -> int:
    """Queries in a block: few shapes, bounded memory, well under a second."""
    num_examples, num_features = model.X.shape
    by_memory = _KEYS_BYTES // (4 * num_examples)
    by_time = _BLOCK_WORK / (num_examples * num_features * model.metric.cost)
    largest = max(1, min(by_memory, int(by_time), 512))
    largest = 1 << (largest.bit_length() - 1)
    return next((size for size in (8, 64) if num_queries <= size <= largest), largest)


def _bucket(k: int) -> int:
    """The least of 10, 20, 40, ... that is at least k, so that few values of k compile."""
    return 10 << max(0, (-(-k // 10) - 1).bit_length())


def _blocks(
    rows: AnyArray, query_groups: np.ndarray | None, size: int
) -> Iterator[tuple[AnyArray, np.ndarray | None, int]]:
    """Blocks of exactly `size` queries with their groups, and how many of them are real."""
    for start in range(0, rows.shape[0], size):
        count = min(size, rows.shape[0] - start)
        places = start + np.minimum(np.arange(size), count - 1)
        yield rows[places], None if query_groups is None else query_groups[places], count


# --- votes -----------------------------------------------------------------------------------


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
    """The label that most of the k nearest training examples have (slides 19 and 24).

    Of labels with equally many votes the smaller wins.  Arguments as for `neighbors`.
    """
    return predict_by_k(model, queries, [k], on_block=on_block)[0]


def accuracy_by_k(
    model: KNN, queries: Any, labels: Any, ks: Sequence[int], *, on_block: OnBlock | None = None
) -> Float[AnyArray, "len_ks"]:
    """The fraction of queries predicted right, in 0..1, for every k of `ks`, from one search."""
    predicted = np.asarray(predict_by_k(model, queries, ks, on_block=on_block))
    return np.mean(predicted == np.asarray(checks.labels(labels, predicted.shape[1])), axis=1)
