"""What kNN remembers: the training data, and summaries of it."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks, distances, placement
from lincls.distances import Metric
from lincls.knn import directions, feature_groups, precision, sketches
from lincls.knn.sketches import Sketching
from lincls.structs import AnyArray, Sharded

_MOST_CLASSES = 2**20  # more than there are examples are labels of another kind


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("X", "y", "points", "learned", "sketch"),
    meta_fields=("metric", "num_classes", "sketching"),
)
@dataclass(frozen=True)
class KNN:
    """The training data with summaries of it; made by `fit`.

    Attributes:
        X: (N, D) the rows as given, uint8 or floating, on a mesh if they were given there.
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

    Rows of uint8 are compared as integers, float32 rows in float32.  float64 rows are compared
    in float64: twice the memory and time, and the neighbours that float32 cannot separate (points
    0.001 apart at 50,000).  So are float32 rows whose distances pass the range of float32, for
    instance in units of 1e-25.  float64 rows whose distances pass float64 are refused.

    Args:
        X: images (N, H, W, C) or rows (N, D), uint8 or floating.  A memory-mapped array of
            more than 1 GiB stays in its file, and `neighbors` reads it part by part.  Other
            host arrays of more than 512 MiB are not copied either, where sketches spare most
            of them and the device is a CPU: do not change them while the model is in use.
            Rows of `placement.shard` stay on their devices.
        y: integer labels (N,) in 0..C-1, or None for a search without votes.
        metric: a value of `lincls.distances`.
        num_classes: C; by default the largest label plus one.
        prune: whether to make sketches, where they pay on a CPU, that spare `neighbors` most
            distances.  The answers are the same: to the bit between pixels, else up to rounding.

    Returns:
        KNN.

    Raises:
        TypeError: an argument of another kind; a call inside of jit, grad or vmap.
        ValueError: NaN, a label out of range, distances that do not fit float64.
    """
    checks.on_host("knn.fit", "call it outside and pass the model in", X, y)
    metric = _checked(metric)
    X = precision.training_rows(metric, checks.rows_anywhere(X))
    if y is not None:
        num_classes = None if num_classes is None else checks.count(num_classes, "num_classes")
        y = checks.labels_anywhere(y, X.shape[0], num_classes, name="y")
        num_classes = _count_classes(y) if num_classes is None else num_classes
        y = placement.like(X, y, "y") if isinstance(X, Sharded) else jnp.asarray(y)
    return remember(KNN(X, y, None, metric, num_classes), prune=prune)


def remember(model: KNN, *, prune: bool) -> KNN:
    """A model of checked rows with its points, or with sketches where rows stay on the host."""
    X, metric = model.X, model.metric
    if isinstance(X, Sharded):
        with distances.exact_scope(X):
            return dataclasses.replace(model, points=placement.per_shard(metric.prepare, X))
    with distances.exact_scope(X):
        bounded = prune and jax.default_backend() == "cpu" and not placement.is_large(X)
        sketching = sketching_of(metric, X) if bounded else None
        if sketching is not None and placement.stays_on_host(X):
            model, sketching = _sketched(model, sketching), None  # what does not pay, never does
        if placement.is_large(X) or model.sketching is not None:
            return model
        X = placement.on_device(X)
        model = dataclasses.replace(model, X=X, points=metric.prepare(X))
        return model if sketching is None else _sketched(model, sketching)


def sketching_of(metric: Metric, X: AnyArray) -> Sketching | None:
    """The sketching of a metric on the rows X, or None where the plain search is the fastest.

    Sketches serve L2 and cosine on any rows and L1 on uint8, from 4,096 rows of 256 features on.
    """
    if X.shape[0] < 2 * sketches.SAMPLE or not 256 <= X.shape[1] <= sketches.MOST_WIDE:
        return None
    if metric == distances.l1:
        known = X.dtype == np.uint8 and X.shape[1] <= feature_groups.MOST_FEATURES
        return feature_groups.l1 if known else None
    known_by_metric = {distances.l2: directions.l2, distances.cosine: directions.cosine}
    return known_by_metric.get(metric)


def _count_classes(y: Any) -> int:
    """The largest label plus one (ValueError for labels that are names rather than numbers)."""
    largest = int((y.array if isinstance(y, Sharded) else y).max())
    if largest >= max(_MOST_CLASSES, len(y)):
        raise ValueError(
            f"y holds {largest} for {len(y)} examples, and votes would be counted for as many "
            "classes; use np.unique(y, return_inverse=True) or data.from_arrays, which number them"
        )
    return largest + 1


def _checked(metric: Any) -> Metric:
    """Return `metric` (TypeError that says what to type instead of a name or a function)."""
    if isinstance(metric, Metric):
        return metric
    known = {"l1": "l1", "manhattan": "l1", "l2": "l2", "euclidean": "l2", "cosine": "cosine"}
    hint = "distances.l1, distances.l2 or distances.cosine"
    if callable(metric):
        hint = f"distances.pointwise({getattr(metric, '__name__', 'fn')})"
    elif isinstance(metric, str) and metric.lower() in known:
        hint = f"distances.{known[metric.lower()]}"
    raise TypeError(f"metric must be a distances.Metric, got {checks.shown(metric)}; use {hint}")


def _sketched(model: KNN, sketching: Sketching) -> KNN:
    with jax.enable_x64(True):
        learned = sketching.learn(model.X)
        if learned is None:
            return model
        sketch = sketches.sketch_rows(sketching, learned, model.X)
    return dataclasses.replace(model, sketching=sketching, learned=learned, sketch=sketch)
