"""What kNN remembers: the training data, and summaries of it."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lincls import checks, distances, placement
from lincls.distances import Metric
from lincls.knn import sketches
from lincls.knn.sketches import Sketching


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("X", "y", "points", "learned", "sketch"),
    meta_fields=("metric", "num_classes", "sketching"),
)
@dataclass(frozen=True)
class KNN:
    """The training data with summaries of it; made by `fit`.

    Attributes:
        X: (N, D) the rows as given, uint8 or floating.
        y: (N,) int32 labels, or None.
        points: what `metric.prepare` made of X, or None where X stays on the host.
        metric: the distance.
        num_classes: C, or None without labels.
        sketching: a `Sketching`, how distances are bounded from below, or None.
        learned, sketch: what the sketching learned from X, and made of it, part after part.
    """

    X: Any
    y: Any
    points: Any
    metric: Metric
    num_classes: int | None
    sketching: Any = None
    learned: Any = None
    sketch: Any = None


def fit(
    X: Any,
    y: Any = None,
    *,
    metric: Metric = distances.l2,
    num_classes: int | None = None,
    prune: bool = True,
) -> KNN:
    """Remember the data and their labels (slide 11).

    Args:
        X: images (N, H, W, C) or rows (N, D), uint8 or floating.  A memory-mapped array of
            more than 1 GiB stays in its file, and `neighbors` reads it part by part.  Other
            host arrays of more than 512 MiB are not copied either, where sketches spare most
            of them and the device is a CPU: do not change them while the model is in use.
        y: integer labels (N,) in 0..C-1, or None for a search without votes.
        metric: a value of `lincls.distances`.
        num_classes: C; by default the largest label plus one.
        prune: whether to make sketches, where they pay, that spare `neighbors` most distances.
            The answers are the same: to the bit between pixels, else up to rounding.

    Raises:
        TypeError, ValueError: data or labels of another kind, NaN, a label out of range.
    """
    X = checks.finite(checks.rows(X))
    if y is not None:
        y = checks.labels(y, X.shape[0], num_classes, name="y")
        num_classes = int(y.max()) + 1 if num_classes is None else num_classes
        y = jnp.asarray(y)
    sketching = sketches.for_metric(metric, X) if prune and not placement.is_large(X) else None
    model = KNN(X, y, None, metric, num_classes)
    if sketching is not None and placement.stays_on_host(X):
        model, sketching = _sketched(model, sketching), None  # what does not pay here, never does
    if placement.is_large(X) or model.sketching is not None:
        return model
    with distances.exact_scope(X):
        X = placement.on_device(X)
        model = dataclasses.replace(model, X=X, points=metric.prepare(X))
    return model if sketching is None else _sketched(model, sketching)


def _sketched(model: KNN, sketching: Sketching) -> KNN:
    with jax.enable_x64(True):
        learned = sketching.learn(model.X)
        if learned is None:
            return model
        sketch = sketches.sketch_rows(sketching, learned, model.X)
    return dataclasses.replace(model, sketching=sketching, learned=learned, sketch=sketch)
