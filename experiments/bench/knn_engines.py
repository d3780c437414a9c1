"""The engines that `bench_knn` compares: each builds from rows a search for k neighbours.

An engine says nothing of ties or rounding by being here; what its answers are worth is for
`knn_oracles` to find.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from lincls import distances, knn

Search = Callable[[np.ndarray], Any]  # queries -> (indices, distances), each (M, k)
METRICS = {"l1": distances.l1, "l2": distances.l2, "cosine": distances.cosine}


class Engine(NamedTuple):
    """A way to search.

    Attributes:
        name, package: for people, and for Python.
        build: (X, metric, k) to a search, or None where the engine lacks the metric.
        measures: the metric of its distances, if it is always the same.
    """

    name: str
    package: str
    build: Callable[[np.ndarray, str, int], Search | None]
    measures: str | None = None


def lincls(X: np.ndarray, metric: str, k: int, prune: bool = True) -> Search:
    model = knn.fit(X, metric=METRICS[metric], prune=prune)
    jax.block_until_ready(model)

    def search(queries: np.ndarray) -> Any:
        found = knn.neighbors(model, queries, k)
        return found.indices, found.distances

    return search


def lincls_unpruned(X: np.ndarray, metric: str, k: int) -> Search:
    return lincls(X, metric, k, prune=False)


def faiss_flat(X: np.ndarray, metric: str, k: int) -> Search:
    import faiss

    kind = {"l1": faiss.METRIC_L1, "l2": faiss.METRIC_L2}[metric]
    index = faiss.IndexFlat(X.shape[1], kind)
    if metric == "l2":
        index = faiss.IndexFlatL2(X.shape[1])
    index.add(X.astype(np.float32))
    return lambda queries: index.search(queries.astype(np.float32), k)[::-1]


def faiss_bytes(X: np.ndarray, metric: str, k: int) -> Search | None:
    import faiss

    if metric != "l2":
        return None
    index = faiss.IndexScalarQuantizer(X.shape[1], faiss.ScalarQuantizer.QT_8bit_direct)
    index.add(X.astype(np.float32))
    return lambda queries: index.search(queries.astype(np.float32), k)[::-1]


def opencv(X: np.ndarray, metric: str, k: int) -> Search:
    import cv2

    kind, out = {"l1": (cv2.NORM_L1, cv2.CV_32S), "l2": (cv2.NORM_L2SQR, cv2.CV_32S)}[metric]
    return lambda queries: cv2.batchDistance(queries, X, out, normType=kind, K=k)[::-1]


def torch_cdist(X: np.ndarray, metric: str, k: int) -> Search:
    import torch

    rows, power = torch.from_numpy(X.astype(np.float32)), float(metric[1])

    def search(queries: np.ndarray) -> Any:
        found = [
            torch.topk(torch.cdist(part, rows, p=power), k, largest=False)
            for part in torch.from_numpy(queries.astype(np.float32)).split(256)
        ]
        values, indices = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return indices, values**2 if metric == "l2" else values

    return search


def torch_int(X: np.ndarray, metric: str, k: int) -> Search | None:
    """L2 by torch's int8 product of pixels minus 128, and `topk`."""
    import torch

    if metric != "l2":
        return None
    signed = lambda pixels: torch.from_numpy((pixels ^ 128).view(np.int8))  # noqa: E731
    rows = signed(X)
    norms = (rows.int() ** 2).sum(dim=1, dtype=torch.int32)

    def search(queries: np.ndarray) -> Any:
        found = []
        for q in signed(queries).split(256):
            own = (q.int() ** 2).sum(dim=1, keepdim=True, dtype=torch.int32)
            table = own + norms - 2 * torch._int_mm(q.contiguous(), rows.T)
            found.append(torch.topk(table, k, largest=False))
        values, indices = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return indices, values

    return search


def numkong_cdist(X: np.ndarray, metric: str, k: int) -> Search | None:
    import numkong

    if metric != "l2":
        return None

    def search(queries: np.ndarray) -> Any:
        table = np.asarray(numkong.cdist(queries, X, "sqeuclidean"))
        nearest = np.argpartition(table, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(table, nearest, axis=1)
        order = np.argsort(values, axis=1)
        return (np.take_along_axis(part, order, axis=1) for part in (nearest, values))

    return search


def usearch_exact(X: np.ndarray, metric: str, k: int) -> Search | None:
    from usearch.index import search as exact_search

    if metric != "l2":
        return None
    rows = (X ^ 128).view(np.int8)

    def search(queries: np.ndarray) -> Any:
        found = exact_search(rows, (queries ^ 128).view(np.int8), k, metric="l2sq", exact=True)
        return found.keys.reshape(len(queries), k), found.distances.reshape(len(queries), k)

    return search


def scikit_learn(X: np.ndarray, metric: str, k: int, how: str = "brute") -> Search:
    """Brute force on all cores, or a tree, which one thread searches."""
    from sklearn.neighbors import NearestNeighbors

    l2, cores = ("sqeuclidean", -1) if how == "brute" else ("euclidean", None)
    name, power = (l2, 1 if how == "brute" else 2) if metric == "l2" else ("manhattan", 1)
    model = NearestNeighbors(n_neighbors=k, algorithm=how, metric=name, n_jobs=cores)
    model.fit(X.astype(np.float32))

    def search(queries: np.ndarray) -> Any:
        found, indices = model.kneighbors(queries.astype(np.float32))
        return indices, found**power

    return search


def the_lecture(X: np.ndarray, metric: str, k: int) -> Search:
    """Slide 16's loop over the test images, with room for the differences."""
    rows, power = X.astype(np.int32), int(metric[1])

    def search(queries: np.ndarray) -> Any:
        tables = (np.sum(np.abs(rows - q.astype(np.int32)) ** power, axis=1) for q in queries)
        nearest = [
            (order := np.argsort(table, kind="stable")[:k], table[order]) for table in tables
        ]
        return (np.stack(parts) for parts in zip(*nearest, strict=True))

    return search


def faiss_l2(X: np.ndarray, metric: str, k: int) -> Search:
    """L2 between floats, whatever the metric: between unit vectors it has the order of cosine."""
    import faiss

    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    return lambda queries: index.search(queries, k)[::-1]


def faiss_ip(X: np.ndarray, metric: str, k: int) -> Search:
    """The greatest products between unit vectors, as cosine distances."""
    import faiss

    index = faiss.IndexFlatIP(X.shape[1])
    index.add(X)

    def search(queries: np.ndarray) -> Any:
        products, indices = index.search(queries, k)
        return indices, 1 - products

    return search


OURS = [
    Engine("lincls", "lincls", lincls),
    Engine("lincls, unpruned", "lincls", lincls_unpruned),
]
BYTES = [
    *OURS,
    Engine("FAISS IndexFlat, float32", "faiss", faiss_flat),
    Engine("FAISS QT_8bit_direct", "faiss", faiss_bytes),
    Engine("OpenCV batchDistance", "cv2", opencv),
    Engine("torch cdist + topk, float32", "torch", torch_cdist),
    Engine("torch _int_mm + topk", "torch", torch_int),
    Engine("NumKong cdist + argpartition", "numkong", numkong_cdist),
    Engine("USearch exact, int8", "usearch", usearch_exact),
    Engine("scikit-learn brute, float32", "sklearn", scikit_learn),
    Engine("the lecture's loop", "numpy", the_lecture),
]
FLOATS = [
    OURS[0],
    Engine("FAISS IndexFlatL2", "faiss", faiss_l2, "l2"),
    Engine("FAISS IndexFlatIP", "faiss", faiss_ip, "cosine"),
]
SIZES = [
    OURS[0],
    Engine("FAISS IndexFlatL2", "faiss", faiss_l2),
    *(Engine(f"scikit-learn {how}", "sklearn", partial(scikit_learn, how=how))
      for how in ("brute", "kd_tree", "ball_tree")),
]  # fmt: skip
PACKAGES = {"faiss": "faiss-cpu", "cv2": "opencv-python-headless", "sklearn": "scikit-learn"}


def able(engines: Sequence[Engine]) -> list[Engine]:
    """Those whose package is installed."""
    return [engine for engine in engines if importlib.util.find_spec(engine.package)]


def missing() -> list[str]:
    """What to install for the engines that cannot take part."""
    packages = dict.fromkeys(engine.package for engine in BYTES + FLOATS)
    return [PACKAGES.get(name, name) for name in packages if not importlib.util.find_spec(name)]
