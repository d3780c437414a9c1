"""What the neighbours say about the data: duplicates, doubtful labels, the value of an example.

    model = knn.fit(X, y)
    found = knn.neighbors(model, None, 5)                  each training example without itself
    audit.duplicates(found, y)                             equal rows; `at_most` for near ones
    audit.contradictions(found, y)                         labels that no neighbour has
    audit.shapley(model, test_X, test_y, 5).values         (N,) what each training example is worth

Everything here reads labels and the answers of `knn.neighbors`.  Nothing changes the data.
"""

from lincls.audit.findings import (
    Contradictions,
    Duplicates,
    contradictions,
    duplicates,
    near_distance,
)
from lincls.audit.values import ShapleyValues, shapley, shapley_by_query

__all__ = [
    "Contradictions",
    "Duplicates",
    "ShapleyValues",
    "contradictions",
    "duplicates",
    "near_distance",
    "shapley",
    "shapley_by_query",
]
