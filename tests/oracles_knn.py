"""Nearest neighbours as one would write them first: numpy, 64 bits, one query at a time."""

import numpy as np


def distances(name, queries, X):
    """All distances (M, N): int64 between uint8 rows for l1 and l2, float64 otherwise."""
    wide = np.float64 if name == "cosine" or X.dtype != np.uint8 else np.int64
    queries, X = queries.astype(wide), X.astype(wide)
    if name == "cosine":
        return np.stack([_cosine(query, X) for query in queries])
    power = {"l1": 1, "l2": 2}[name]
    return np.stack([(np.abs(X - query) ** power).sum(axis=1) for query in queries])


def _cosine(query, X):
    lengths = np.linalg.norm(query) * np.linalg.norm(X, axis=1)
    return 1 - np.divide(X @ query, lengths, out=np.zeros(len(X)), where=lengths > 0)


def nearest(table, k, same_group=None):
    """The k nearest by (distance, index): lists of pairs, shorter where candidates are fewer."""
    answer = []
    for row, distances_of_query in enumerate(table):
        pairs = [
            (distance, index)
            for index, distance in enumerate(distances_of_query.tolist())
            if same_group is None or not same_group[row, index]
        ]
        answer.append(sorted(pairs)[:k])
    return answer


def majority(labels, num_classes):
    """The most frequent label of a list, the smaller one of a tie."""
    counts = [list(labels).count(label) for label in range(num_classes)]
    return counts.index(max(counts))
