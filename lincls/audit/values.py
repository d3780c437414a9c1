"""The exact Shapley value of each training example for a kNN classifier."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lincls import checks, knn, placement
from lincls.knn import KNN
from lincls.structs import AnyArray, Neighbors

_BLOCK_BYTES = 2**26  # of the float64 values (B, N) of a block of test examples
_MOST_IN_BLOCK = 512
_SEARCHES = 8  # blocks of the search in one of ours, so that its threads have work


class ShapleyValues(NamedTuple):
    """The value of each training example, and the neighbours of each test example."""

    values: np.ndarray  # (N,) float64, in units of accuracy
    neighbors: Neighbors  # (M, min(k, N)), the nearest of the full order that the values need


def shapley(
    model: KNN,
    queries: Any,
    labels: AnyArray,
    k: int,
    *,
    weight: AnyArray | None = None,
    block_size: int | None = None,
    on_block: Callable[[int, int], Any] | None = None,
) -> ShapleyValues:
    """The exact Shapley value of each training example for the accuracy of a kNN classifier.

    The utility of a subset S of the training set is, for a test example of label t, the number of
    its min(k, |S|) nearest in S with label t, over k; then the weighted mean over the test
    examples.  So 1/k of a vote is lost for each neighbour that S lacks.  The values of all
    training examples sum to the utility of the whole set, because that of no example is 0.

    It needs the full order of the training set for each test example: N log N work, about 4 ms
    for N = 10,000 on two cores, against 0.2 ms for ten neighbours.  Memory holds one block of
    test examples.  Values are float64: those of far examples are differences of order 1 / N**2.

    Args:
        model: `knn.fit(X, y)`.
        queries: test examples (M, ...) as for `knn.neighbors`.
        labels: (M,) of the test examples.  One that no training example has adds 0.
        k: neighbours that vote; it may pass N.
        weight: (M,) how much each test example counts, default all 1.
        block_size: test examples at a time; the default bounds memory.
        on_block: called as `on_block(done, total)`.

    Returns:
        ShapleyValues.

    Raises:
        TypeError: an argument of another kind; a call inside of jit, grad or vmap.
        ValueError: a model without labels, another shape, a number out of range.

    Source: Jia et al., Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms,
    VLDB 2019, Theorem 1, with min(k, N) / (k N) for its 1 / N, which allows k > N.
    """
    checks.kind(model, KNN, "model", "knn.fit(X, y)")
    if model.y is None:
        raise ValueError("the model has no labels to value; use knn.fit(X, y)")
    checks.on_host("audit.shapley", "call it outside", model, queries, labels, weight)
    queries = checks.rows(queries, "queries", model.X.shape[1])
    total, k = len(queries), checks.count(k, "k")
    labels = np.asarray(checks.labels(labels, total))
    weight = checks.example_weights(weight, total)
    size = _block_size(model.X.shape[0]) if block_size is None else block_size
    size = min(checks.count(size, "block_size"), total)
    tell = checks.function(on_block, "on_block") or (lambda done, total: None)
    y, found = np.asarray(placement.gathered(model.y)), list[Neighbors]()
    values = np.zeros(len(y))
    for start in range(0, total, size):
        part = slice(start, start + size)
        ordered = _ordered(model, queries[part], size)
        of_block = _valued(ordered.indices, y, labels[part], k)
        values += weight[part] @ of_block
        found.append(Neighbors(*(each[:, :k].copy() for each in ordered)))
        tell(min(start + size, total), total)
    nearest = Neighbors(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return ShapleyValues(values / weight.sum(), nearest)


def shapley_by_query(
    indices: Int[AnyArray, "M N"], y: AnyArray, labels: AnyArray, k: int
) -> Float[np.ndarray, "M N"]:
    """The Shapley value of each training example for one test example alone, row by row.

    Args:
        indices: the whole training set in the order of each test example, nearest first: the
            indices of `knn.neighbors(model, queries, N)`.
        y: (N,) labels of the training set.
        labels: (M,) labels of the test examples.
        k: neighbours that vote; it may pass N.

    Returns:
        (M, N) float64, column j of training example j.  `shapley` is its mean over the rows.

    Raises:
        TypeError, ValueError: an argument of another kind, by name; a row of `indices` that
            does not hold each of 0..N-1 once.
    """
    for name, array in {"indices": indices, "y": y, "labels": labels}.items():
        checks.concrete(array, name)
    indices = np.asarray(checks.as_array(indices, "indices"))
    if indices.ndim != 2 or indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be whole numbers (M, N), got {indices.dtype}{indices.shape}")
    num_queries, num_examples = indices.shape
    if not (np.sort(indices, axis=1) == np.arange(num_examples)).all():
        raise ValueError(
            f"indices must hold each of 0..{num_examples - 1} once in every row; use "
            "knn.neighbors(model, queries, N).indices"
        )
    y = np.asarray(checks.labels(y, num_examples, name="y"))
    labels = np.asarray(checks.labels(labels, num_queries))
    return _valued(indices, y, labels, checks.count(k, "k"))


def _block_size(num_examples: int) -> int:
    """A power of two of test examples whose values fit the memory of a block."""
    largest = max(1, min(_MOST_IN_BLOCK, _BLOCK_BYTES // (8 * num_examples)))
    return 1 << (largest.bit_length() - 1)


def _ordered(model: KNN, queries: AnyArray, size: int) -> Neighbors:
    """The whole training set of each query, nearest first, by the one search."""
    inner = max(1, size // _SEARCHES)
    return knn.neighbors(model, queries, model.X.shape[0], block_size=inner)


def _valued(indices: np.ndarray, y: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """`shapley_by_query` of arguments that passed a door."""
    with jax.enable_x64(True):
        matches = y[indices] == labels[:, None]
        return np.asarray(_values(jnp.asarray(indices), jnp.asarray(matches), np.float64(k)))


@jax.jit
def _values(indices: Int[Array, "M N"], matches: Bool[Array, "M N"], k: Any) -> Array:
    """Values (M, N), the recursion summed up: a place adds its own term and a tail of others.

    With w_i = 1 / max(k, i), Theorem 1 is s_i = s_(i+1) + (m_i - m_(i+1)) w_i and s_N = m_N w_N.
    Summed by parts, s_i = m_i w_i - sum_(j > i) m_j (w_(j-1) - w_j), whose terms are at least 0.
    """
    places = jnp.arange(1, indices.shape[1] + 1, dtype=jnp.float64)
    weights = 1 / jnp.maximum(k, places)
    steps = jnp.where(places > k, 1 / (places * jnp.maximum(places - 1, 1)), 0)

    def of_one(order: Array, matches: Array) -> Array:
        terms = matches.astype(jnp.float64) * steps
        tail = lax.cumsum(terms, reverse=True) - terms
        values = matches.astype(jnp.float64) * weights - tail
        return jnp.zeros_like(values).at[order].set(values, unique_indices=True)

    return jax.vmap(of_one)(indices, matches)
