"""Which of the searches runs: one rule of the backend, of where the rows lie, and of the bounds."""

from typing import Literal

import jax

from lincls import checks
from lincls.knn.model import KNN
from lincls.knn.products import serves
from lincls.knn.pruning import pays
from lincls.structs import Sharded

_MANY, _FEW, _SHORT = 256, 8192, 2048  # queries; rows, and features, that products are faster on

Route = Literal["shards", "device", "pruned", "parts", "product", "plain"]


def route(
    model: KNN, k: int, backend: str | None = None, *, num_queries: int | None = None
) -> Route:
    """The search that `neighbors` uses.  All of them give the same answer.

    Args:
        model: made by `fit`.
        k: number of neighbours.
        backend: "cpu", "gpu" or "tpu"; default that of JAX.
        num_queries: how many are asked at once; default few.

    Returns:
        "shards": rows on a mesh; each device searches its own.
        "pruned": on a CPU, distances that a lower bound does not rule out.
        "parts": rows that stay in their file or on the host, part after part.
        "device": on an accelerator, a function of one query vmapped over blocks of queries.
        "product": on a CPU, L2 between floats, chosen by a product and decided by differences.
        "plain": on a CPU, all distances.
    """
    checks.kind(model, KNN, "model", "knn.fit(X, y)")
    k = checks.count(k, "k")
    num_queries = 1 if num_queries is None else checks.count(num_queries, "num_queries")
    which = unpruned(model, k, backend)
    bounded = _on_cpu(backend) and model.sketching is not None and pays(model, k)
    of_blocks = which == "product" and num_queries >= _MANY and _is_small(model)
    return "pruned" if bounded and not of_blocks else which


def unpruned(model: KNN, k: int, backend: str | None = None) -> Route:
    """The search where bounds by sketches do not serve."""
    if isinstance(model.X, Sharded):
        return "shards"
    if model.points is None:
        return "parts"
    if not _on_cpu(backend):
        return "device"
    return "product" if serves(model.metric, model.points, k) else "plain"


def _is_small(model: KNN) -> bool:
    """Whether a product of all rows takes less than their bounds, measured."""
    return model.X.shape[0] < _FEW and model.X.shape[1] <= _SHORT


def _on_cpu(backend: str | None) -> bool:
    return (jax.default_backend() if backend is None else backend) == "cpu"
