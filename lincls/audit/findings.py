"""Equal and nearly equal rows, and labels that no neighbour has, from neighbours at hand."""

from typing import Any, NamedTuple

import numpy as np

from lincls import checks, knn
from lincls.knn import KNN
from lincls.knn.search import checked_neighbors
from lincls.structs import AnyArray, Neighbors


class Duplicates(NamedTuple):
    """P pairs of a query and a training example, by (query, distance, index)."""

    queries: np.ndarray  # (P,) int, rows of the queries
    indices: np.ndarray  # (P,) int, rows of the training set
    distances: np.ndarray  # (P,) in the units of Neighbors
    agree: np.ndarray  # (P,) bool, whether both have the same label
    complete: bool  # False: all K neighbours of some query are as near, so there may be more


class Contradictions(NamedTuple):
    """P examples whose label none of their neighbours has, the surest first."""

    rows: np.ndarray  # (P,) int, rows of the queries
    labels: np.ndarray  # (P,) int32, the label that most neighbours have, the smaller of a tie
    votes: np.ndarray  # (P,) int, how many neighbours have it
    radius: np.ndarray  # (P,) the distance of the farthest neighbour, in the units of Neighbors


def near_distance(model: KNN, found: Neighbors, share: float = 0.2) -> float:
    """A distance far below the usual one: `share` of the median nearest distance.

    Where density varies little and the data have d dimensions, the nearest of an example is below
    it by chance with probability 1 - 2**(-share**d): 2e-4 for share 0.2 and d = 5, and 7e-8 for
    d = 10.  For d = 2 it is 3 %, so plane data need a smaller share.  The formula is that of a
    Poisson process, whose nearest distance R has P(R > r) = exp(-c r**d).

    Args:
        model: made by `knn.fit`.
        found: its neighbours (M, K) of the training set itself (`queries=None`).
        share: of the median length, above 0 and below 1.

    Returns:
        The distance in the units of Neighbors: for L2 and cosine the square of the share counts.
        0 where no nearest distance is above 0.  Distances of 0 do not count in the median.

    Raises:
        TypeError, ValueError: an argument of another kind, by name.
    """
    checks.kind(model, KNN, "model", "knn.fit(X, y)")
    share = checks.number(share, "share", above=0, below=1)
    found = _on_host(found)
    checks.within(found.indices, "found.indices", 0, model.X.shape[0])
    nearest = found.distances[:, 0][found.indices[:, 0] < model.X.shape[0]]
    nearest = nearest[nearest > 0]
    power = 2 if model.metric.degree in (0, 2) else 1
    return float(np.median(nearest.astype(np.float64)) * share**power) if len(nearest) else 0.0


def duplicates(
    found: Neighbors, y: AnyArray, labels: AnyArray | None = None, *, at_most: float | int = 0
) -> Duplicates:
    """The pairs of equal or nearly equal rows among neighbours that are already found.

    `knn.duplicates` searches until it has every pair.  This reads one answer, and says in
    `complete` whether a larger K could find more.

    Args:
        found: neighbours (M, K) by `knn.neighbors`.
        y: (N,) labels of the training set.
        labels: (M,) labels of the queries.  None: the queries are the training set
            (`queries=None`), and each pair appears once, the smaller row as its query.
        at_most: the greatest distance of a pair, in the units of Neighbors.  0: equal rows.

    Returns:
        Duplicates.

    Raises:
        TypeError, ValueError: an argument of another kind or length, by name.
    """
    at_most = checks.number(at_most, "at_most", least=0)
    found, y, own = _labelled(found, y, labels)
    near = (found.distances <= at_most) & (found.indices < len(y))
    pairs = np.stack([np.nonzero(near)[0], found.indices[near]])
    length = found.distances[near]
    if labels is None:
        pairs, first = np.unique(np.sort(pairs, axis=0), axis=1, return_index=True)
        length = length[first]
    order = np.lexsort((pairs[1], length, pairs[0]))
    (queries, indices), length = pairs[:, order], length[order]
    all_found = found.indices.shape[1] >= len(y) - (labels is None)
    complete = bool(all_found or not near[:, -1].any())
    return Duplicates(queries, indices, length, own[queries] == y[indices], complete)


def contradictions(found: Neighbors, y: AnyArray, labels: AnyArray | None = None) -> Contradictions:
    """The examples whose own label none of their K neighbours has.

    First come those with the most votes for one other label, K of K before fewer.  Among equals
    those whose K neighbours lie within the smaller radius come first, then the smaller row.

    Args:
        found: neighbours (M, K) by `knn.neighbors`.  An empty place does not vote.
        y: (N,) labels of the training set.
        labels: (M,) labels of the queries.  None: the queries are the training set
            (`queries=None`), each example without itself.

    Returns:
        Contradictions.  An example without any neighbour is not among them.

    Raises:
        TypeError, ValueError: an argument of another kind or length, by name.
    """
    found, y, own = _labelled(found, y, labels)
    there = found.indices < len(y)
    voted = np.append(y, np.int32(-1))[found.indices]
    rows = np.flatnonzero(there[:, 0] & (voted != own[:, None]).all(axis=1))
    votes = np.asarray(knn.votes(voted[rows], int(y.max()) + 1))
    farthest = there[rows].sum(axis=1) - 1
    radius = found.distances[rows, farthest]
    most = votes.max(axis=1)
    order = np.lexsort((rows, radius, -most))
    suggested = votes.argmax(axis=1).astype(np.int32)
    return Contradictions(rows[order], suggested[order], most[order], radius[order])


def _on_host(found: Any) -> Neighbors:
    """Neighbours as numpy arrays (M, K), K at least 1 (TypeError, ValueError)."""
    found = checked_neighbors(found)
    for name, array in found._asdict().items():
        checks.concrete(array, f"found.{name}")
    if not found.indices.size:
        raise ValueError(f"found must hold neighbours (M, K), got {found.indices.shape}")
    return Neighbors(*map(np.asarray, found))


def _labelled(found: Any, y: Any, labels: Any) -> tuple[Neighbors, np.ndarray, np.ndarray]:
    """Neighbours, the labels of the training set, and those of the queries."""
    found = _on_host(found)
    num_queries = len(found.indices)
    y = checks.as_array(y, "y")
    num_examples = num_queries if labels is None else len(y) if y.ndim else 0
    y = np.asarray(checks.labels(y, num_examples, name="y"))
    if not len(y):
        raise ValueError("y must hold the labels of the training set, got none")
    checks.within(found.indices, "found.indices", 0, len(y))
    own = y if labels is None else np.asarray(checks.labels(labels, num_queries))
    return found, y, own
