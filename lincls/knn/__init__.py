"""k nearest neighbours, exact and in a total order: by (distance, training index).

`fit` keeps the data and what the metric wants to know of it.  `search_block` is the search, a
pure function that composes under `jit`, `vmap` and sharding; `merge` joins the answers of two
parts of the training set, so blocks, shards and streams are folds of it.  `neighbors` drives
the compiled search in equal chunks from the host, and computes only those distances that a
proved lower bound does not rule out (`sketches`).  Votes read everything else off one search:
predictions for every k come from a running count over the neighbours, nearest first.

    model = knn.fit(images, labels, metric=distances.l1)
    predicted = knn.predict(model, test_images, k=5)
"""

from lincls.knn.driver import neighbors
from lincls.knn.model import KNN, fit
from lincls.knn.routes import route
from lincls.knn.search import merge, search_block
from lincls.knn.shards import search_shards
from lincls.knn.voting import (
    Pairs,
    accuracy_by_k,
    duplicates,
    exp_cosines,
    inverse_distances,
    neighbor_labels,
    predict,
    predict_by_k,
    predictions_by_k,
    probabilities,
    ties_by_k,
    votes,
)

__all__ = [
    "KNN",
    "Pairs",
    "accuracy_by_k",
    "duplicates",
    "exp_cosines",
    "fit",
    "inverse_distances",
    "merge",
    "neighbor_labels",
    "neighbors",
    "predict",
    "predict_by_k",
    "predictions_by_k",
    "probabilities",
    "route",
    "search_block",
    "search_shards",
    "ties_by_k",
    "votes",
]
