"""The least-squares probe of big_vision: one-hot targets of -1 and 1, a fixed strength, no search.

Source: google-research/big_vision, evaluators/fewshot_lsr.py and configs/common_fewshot.py.
"""

import numpy as np
from sklearn.linear_model import Ridge

from lincls.structs import LinearParams

_BIAS = 100.0  # the constant feature, so large that its weight is hardly penalised
_LEAST = 1e-5  # added to each standard deviation


def fit(X: np.ndarray, y: np.ndarray, num_classes: int, strength: float) -> LinearParams:
    """The minimum of sum_i |W z_i - t_i|**2 + strength * sum(W**2), in float64.

    z is x less its mean over its standard deviation, and a constant; t is 1 for the label and -1
    for other classes.

    Args:
        X: rows (N, D).
        y: labels (N,) in 0..num_classes-1.
        num_classes: C.
        strength: greater than 0.

    Returns:
        LinearParams in float32 that act on rows as given.
    """
    rows = np.asarray(X, np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + _LEAST
    Z = np.column_stack([(rows - mean) / deviation, np.full(len(rows), _BIAS)])
    targets = 2.0 * (y[:, None] == np.arange(num_classes)) - 1
    ridge = Ridge(alpha=strength, fit_intercept=False, solver="cholesky").fit(Z, targets)
    V = np.atleast_2d(ridge.coef_)  # (C, D + 1)
    W = V[:, :-1] / deviation
    return LinearParams(W.astype(np.float32), (_BIAS * V[:, -1] - W @ mean).astype(np.float32))
