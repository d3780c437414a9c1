"""In which precision rows are compared, so that no digit is lost that decides a distance.

Distances of degree p survive in a precision if (eps * spread)**p and D * (2 * spread)**p are
normal numbers of it, where the spread is the greatest range of a feature.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks, placement
from lincls.distances import Metric
from lincls.structs import AnyArray, AnyRows, Neighbors, Sharded

_CACHED = 2**20  # bytes of rows that are read for their least and greatest value at a time


def training_rows(metric: Metric, X: AnyRows) -> AnyRows:
    """Rows as the metric can compare them: as they are, or as float64 where float32 fails.

    Raises:
        ValueError: NaN or infinity, or float64 rows whose distances do not fit float64.
    """
    if X.dtype == np.uint8 or metric.degree == 0:
        return checks.finite(X)
    spread = _spread(X)
    if _survives(spread, 2 if metric.degree is None else metric.degree, X):
        return X
    if X.dtype != np.float64 and not placement.is_large(X):
        return in_float64(X)
    if metric.degree is not None:
        unit = f"{10.0 ** np.floor(np.log10(spread)):.0e}" if np.isfinite(spread) else "1e300"
        raise ValueError(
            f"X spans {spread:.2g}, and the {metric.name} distances of such rows do not fit "
            f"{X.dtype}; use X / {unit}, and queries / {unit}"
        )
    return X


def in_float64(X: AnyRows) -> AnyRows:
    """The rows as float64, on the host or on their mesh."""
    if not isinstance(X, Sharded):
        return np.asarray(X).astype(np.float64)
    with jax.enable_x64(True):
        return X.with_array(X.array.astype(np.float64))


def common(X: AnyRows, rows: AnyRows) -> Any:
    """The dtype in which two sets of rows are compared: float64 if either is."""
    return np.dtype(np.float64) if np.float64 in (X.dtype, rows.dtype) else rows.dtype


def widened(X: AnyArray, dtype: Any) -> AnyArray:
    """Rows in float64 if that is the dtype they are compared in, else as they are."""
    if dtype != np.float64 or X.dtype == np.float64:
        return X
    return (np.asarray(X) if checks.is_concrete(X) else X).astype(np.float64)


def overflowed(model: Any, found: Neighbors) -> bool:
    """Whether the distance of some neighbour passed the floating range."""
    if found.distances.dtype.kind != "f" or model.metric.degree is None:
        return False
    largest = found.distances == np.finfo(found.distances.dtype).max
    return bool((largest & (found.indices < model.X.shape[0])).any())


def survived(model: Any, found: Neighbors) -> Neighbors:
    """Return `found` (ValueError where a distance is NaN or passed float64)."""
    name = model.metric.name
    if found.distances.dtype.kind == "f" and np.isnan(found.distances).any():
        raise ValueError(f"the metric {name} gave NaN for some query and training example")
    if overflowed(model, found):
        raise ValueError(
            f"{name} distances between queries and training data pass float64; use a larger "
            "unit, such as X / 1e100 and queries / 1e100"
        )
    return found


def _survives(spread: Any, degree: int, X: AnyRows) -> bool:
    info = np.finfo(np.float32 if X.dtype.itemsize < 4 else X.dtype)
    with np.errstate(over="ignore", under="ignore"):
        least, most = (spread * info.eps) ** degree, X.shape[1] * (2 * spread) ** degree
    return bool(spread == 0 or (least >= info.tiny and most <= info.max))


def _spread(X: AnyRows) -> Any:
    """The greatest range of a feature, in float64 (ValueError for NaN or infinity)."""
    if isinstance(X, Sharded):
        checks.finite(X)
    low, high = _ends_on_mesh(X) if isinstance(X, Sharded) else _ends(_on_host(X))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        checks.finite(X)
    with np.errstate(over="ignore"):
        return np.max(high - low)


def _ends(X: AnyArray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value of each feature."""
    size = max(1, _CACHED // X[:1].nbytes) if isinstance(X, np.ndarray) else len(X)
    parts = [X[start : start + size] for start in range(0, len(X), size)]
    low = np.min([np.asarray(part.min(axis=0), np.float64) for part in parts], axis=0)
    high = np.max([np.asarray(part.max(axis=0), np.float64) for part in parts], axis=0)
    return low, high


def _ends_on_mesh(X: Sharded) -> Any:
    """The same, device by device and without the filling."""

    @jax.jit
    def ends(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        present = jnp.arange(len(rows))[:, None] < X.num_rows
        low, high = (jnp.where(present, rows, limit) for limit in (jnp.inf, -jnp.inf))
        return low.min(axis=0), high.max(axis=0)

    with jax.enable_x64(X.dtype.itemsize == 8):
        return [np.asarray(end, np.float64) for end in ends(X.array)]


def _on_host(X: AnyArray) -> AnyArray:
    """X as numpy sees it, where that copies nothing: XLA takes numbers below `tiny` for 0."""
    if isinstance(X, np.ndarray) or not X.is_fully_addressable:
        return X
    on_cpu = all(device.platform == "cpu" for device in X.devices())
    return np.asarray(X) if on_cpu else X
