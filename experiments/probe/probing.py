"""The rows of a linear probe: on their principal axes or as given, and who is seen of them.

Examples that a training does not see have weight 0, so folds, validation parts and few-shot
subsets are rows of one array of weights, and all their trainings are one program.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.probe import features
from lincls import certificate, linear, losses, penalties, placement, preprocessing
from lincls.certificate import duals
from lincls.structs import Affine, LinearParams

PROBES = {  # name -> what a table calls it, and the metric of its search
    "linear": ("linear, softmax", None),
    "lsr": ("linear, least squares", None),
    "l1": ("kNN, L1", "l1"),
    "l2": ("kNN, L2", "l2"),
    "cosine": ("kNN, cosine", "cosine"),
    "exp": ("kNN, cosine, exp vote", "cosine"),
}


class Diverged(ValueError):
    """A linear probe whose loss rose instead of falling, or left the finite numbers."""


class Chosen(NamedTuple):
    """A probe that is ready for the test set."""

    probe: str
    shots: str
    seed: int
    value: float  # of what `axis` names
    selection: float  # accuracy on the held-out examples in 0..1, or their log loss
    model: Any  # LinearParams on rows, or the weights (N,) of what kNN remembers
    axis: str = "k"  # strength, learning rate or k
    gap: float = np.nan  # of the linear probe: it is at most so far above the optimum, relatively
    fit: str = ""  # of the linear probe: early, optimum or sgd
    epochs: float = np.nan  # of its last training, by early or sgd
    of_epochs: tuple[float, ...] = ()  # that were tried
    power: float = np.nan  # of early
    at_edge: bool = False  # whether it is the first or the last that was tried

    @property
    def is_linear(self) -> bool:
        return isinstance(self.model, LinearParams)

    @property
    def name(self) -> str:
        """What files call it."""
        return f"{self.probe}-{self.shots.replace('%', 'percent')}-seed{self.seed}"


class Rotated(NamedTuple):
    """Training rows on their principal axes: z = (x - shift) * scale @ axes."""

    Z: np.ndarray  # (N, A) float32, A = min(N, D)
    affine: Affine
    axes: np.ndarray | None  # (D, A) orthonormal columns; None where the rows keep theirs

    def on_rows(self, params: LinearParams) -> LinearParams:
        """Parameters that act on Z, as parameters that act on the rows themselves."""
        W = params.W if self.axes is None else params.W @ self.axes.T
        return linear.on_pixels(LinearParams(W, params.b), self.affine)


def kept(X: np.ndarray, folder: Path | None = None, scaled: bool = True) -> Rotated:
    """Rows on the axes that they have, minus their mean and over one scale if `scaled`."""
    affine = preprocessing.fit(X) if scaled else preprocessing.identity(X.shape[1])
    return Rotated(features.moved(X, affine, folder), affine, None)


def rotate(X: np.ndarray, folder: Path | None = None, scaled: bool = True) -> Rotated:
    """Rows minus their mean, over one scale, on the axes in which they are uncorrelated.

    A rotation leaves sum(W**2), and so the optimum, as it is.  But a step size per coordinate
    then is one per principal axis.  Fewer rows than features have no more axes than rows: W has
    no part outside of them at the optimum.

    Args:
        X: (N, D); the rotated rows of a large file lie in a file as well.
        folder: of that file.
        scaled: False for rows on the axes of their own, as large as they are.
    """
    affine = preprocessing.fit(X) if scaled else preprocessing.identity(X.shape[1])

    def centred(rows: np.ndarray) -> np.ndarray:
        return (np.asarray(rows, np.float32) - affine.shift) * affine.scale

    axes = preprocessing.principal_axes(X, affine)
    return Rotated(features.by_blocks(X, lambda rows: centred(rows) @ axes, folder), affine, axes)


class Cut(NamedTuple):
    """The rows that a set of trainings sees, on no more axes than there are rows."""

    Z: np.ndarray  # (n, A)
    y: np.ndarray  # (n,)
    weights: np.ndarray  # (S, n)
    axes: np.ndarray | None  # from the axes of `Rotated` to those of Z

    def back(self, W: np.ndarray) -> np.ndarray:
        """W (..., C, A) as it acts on rotated rows."""
        return W if self.axes is None else W @ self.axes.T


def cut(data: Rotated, y: np.ndarray, weights: np.ndarray) -> Cut:
    """Leave out examples without weight in any training; few examples get axes of their own.

    Of a large file all rows stay where they are, unless few enough are seen for memory.
    """
    seen, most = np.flatnonzero(weights.any(axis=0)), placement.limits().device_bytes
    if placement.is_large(data.Z) and len(seen) * data.Z[:1].nbytes > most:
        seen = np.arange(len(y))
    Z = data.Z if len(seen) == len(y) else data.Z[seen]
    few = data.axes is not None and len(seen) < Z.shape[1]
    axes = preprocessing.principal_axes(Z, preprocessing.identity(Z.shape[1])) if few else None
    return Cut(Z if axes is None else Z @ axes, y[seen], weights[:, seen], axes)


def relative_gap(
    params: LinearParams, data: Rotated, y: np.ndarray, weight: np.ndarray, reg: float
) -> float:
    """How far the objective of W (C, A) and b is above its minimum at most, as a share of it.

    The bias of the head is near its best, so this is about the bound of
    `certificate.duality_gap` at a seventh of its time.
    """
    as_they_are = preprocessing.identity(data.Z.shape[1])
    wide = np.asarray(weight, np.float64)
    task = certificate.task(data.Z, y, wide, as_they_are, len(params.b))
    dual, strengths = duals.dual_of(losses.softmax), duals.strengths(penalties.l2, 1.0, reg)
    primal, least = certificate.near_optimum(params, task, dual, strengths, search=True)
    return max(0.0, primal - least) / primal
