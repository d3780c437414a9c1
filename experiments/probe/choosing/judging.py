"""How good trainings are on what is held out of them: the number by which one is chosen."""

from functools import partial

import jax
import numpy as np

from experiments.probe.probing import Rotated
from lincls import passes, placement, preprocessing, splits
from lincls.objective import Objective
from lincls.structs import Examples, Hyper, LinearParams


def weights(y: np.ndarray, select: str) -> np.ndarray:
    """How much each held-out example (n,) counts: alike, or each class alike."""
    return splits.balanced_weights(y) if select == "per_class" else np.ones(len(y), np.float32)


def of_predictions(predictions: np.ndarray, y: np.ndarray, select: str) -> np.ndarray:
    """Accuracies of predictions (..., n), the mean over examples or over classes."""
    return np.average(predictions == y, axis=-1, weights=weights(y, select))


def of_linear(
    params: LinearParams, data: Rotated, y: np.ndarray, held: np.ndarray, select: str
) -> np.ndarray:
    """Of parameters (A, P, C, D), those of part p judged on the examples held[p] (P, N).

    Returns:
        (A, P), greater is better: accuracies, or the log loss with its sign changed.
    """
    judge = _minus_log_loss if select == "log_loss" else _accuracy
    found = []
    for p, part in enumerate(held):
        of_part = jax.tree.map(lambda leaf, p=p: leaf[:, p], params)
        found.append(judge(of_part, _rows(data, y, part, select)))
    return np.stack(found, axis=1)


def _rows(data: Rotated, y: np.ndarray, part: np.ndarray, select: str) -> Examples:
    """The held-out examples; of a large file all rows, the others without weight."""
    held = weights(y[part], select)
    if not placement.is_large(data.Z):
        return Examples(data.Z[part], y[part], held)
    weight = np.zeros(len(y), np.float32)
    weight[part] = held
    return Examples(data.Z, y, weight)


def _accuracy(params: LinearParams, rows: Examples) -> np.ndarray:
    return np.asarray(passes.accuracies(params, rows, preprocessing.identity(rows.X.shape[1])))


def _minus_log_loss(params: LinearParams, rows: Examples) -> np.ndarray:
    of_block = partial(_log_loss, params)
    if placement.is_large(rows.X):
        return -passes.mean_of_file(of_block, rows)
    return -np.asarray(of_block(rows))


@jax.jit
def _log_loss(params: LinearParams, rows: Examples) -> jax.Array:
    as_they_are = preprocessing.identity(rows.X.shape[1])
    return passes.objective(Objective(), params, rows, as_they_are, Hyper({}, reg=0.0))
