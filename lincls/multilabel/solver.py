"""The optimum of binary cross-entropy + L2 for many classes and strengths, and how far it is off.

The C problems share their rows, so C runs of `optimum.smooth` go in step as one program: a product
with the rows serves all of them.  Each class has a line search and an end of its own.

With softmax over two classes whose rows of W are w / 2 and -w / 2, the scores differ by x.w + b and
sum(W**2) is |w|**2 / 2.  So `optimum.optimum` of two classes at 2 reg has the same least objective.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks, optimum, placement, precision, preprocessing
from lincls.multilabel import bounds
from lincls.optimum import rows, smooth
from lincls.structs import Affine, AnyArray, LinearParams

CERTAIN = 40.0  # the score of an answer that all examples share: its e^-s is no part of a sum
_FLOAT = np.dtype(np.float32)
_TIMES = 3  # the solver is asked again for a tenth of the gap where the bound is larger
_HELD = 16  # arrays as long as the rows that a class holds


class Optima(NamedTuple):
    """The best parameters found for G strengths and C classes, and how far each is off."""

    params: LinearParams  # W (G, C, D), b (G, C), acting on preprocessed rows
    affine: Affine  # that preprocessing
    loss: np.ndarray  # (G, C) the objective of each class, in float64
    gap: np.ndarray  # (G, C) the objective is above its minimum by at most this
    converged: np.ndarray  # (G, C) whether gap <= tol * loss


class Rows(NamedTuple):
    """Rows that are laid out once for all weights, classes and strengths."""

    X: np.ndarray
    affine: Affine
    Z: np.ndarray  # (N, A + 1) float32: preprocessed, on principal axes, with a 1 for the bias
    axes: np.ndarray  # (D, A) orthonormal columns


class _Wanted(NamedTuple):
    """What is asked of each class: when it ends, and how many steps that may take."""

    tol: float
    max_steps: int


def optima(
    X: AnyArray,
    Y: AnyArray,
    *,
    regs: Any,
    weight: AnyArray | None = None,
    affine: Affine | None = None,
    tol: float = 1e-3,
    max_steps: int = 400,
) -> Optima:
    """The minimum of the mean binary cross-entropy + reg * |w|**2, for each class and strength.

    The strengths are taken from the strongest on, each from the optimum of the one before.  With
    C = 1 / (2 N reg), scikit-learn's `LogisticRegression` of each class has the same optimum.

    Args:
        X: images or rows, in memory.
        Y: (N, C) of 0 and 1.
        regs: (G,) strengths greater than 0.
        weight: (N,) how much each example counts, default all 1.
        affine: preprocessing of X; default none.
        tol: end where the gap is at most this part of the objective.
        max_steps: for each strength and try; each step reads the rows twice.

    Returns:
        Optima.  A class that all examples of weight above 0 have, or none, has W = 0 and a score
        of 40 or -40, and is converged.

    Raises:
        TypeError, ValueError: an argument of another kind, by name; X with no room in memory.

    Source: `optimum.smooth` has the solver, `multilabel.bounds` the proof of the gap.
    """
    checks.on_host("multilabel.optima", "call it outside", X, Y, regs, weight, affine)
    X = checks.rows(X)
    Y, weight = checks.label_matrix(Y, "Y", len(X)), checks.example_weights(weight, len(X))
    regs, affine = strengths(regs), preprocessing.checked(affine, X.shape[1])
    tol, max_steps = checks.number(tol, "tol", least=0), checks.count(max_steps, "max_steps", 0)
    laid = lay(precision.working(X, weight=weight), affine)
    return path(laid, Y, weight, regs, tol, max_steps)


def strengths(regs: Any) -> np.ndarray:
    """Return (G,) numbers greater than 0 (TypeError, ValueError)."""
    regs = np.asarray(checks.floats(regs, "regs"), np.float64)
    if regs.ndim != 1 or not regs.size or not (np.isfinite(regs) & (regs > 0)).all():
        raise ValueError(f"regs must be (G,) numbers greater than 0, got {checks.shown(regs)}")
    return regs


def lay(X: AnyArray, affine: Affine) -> Rows:
    """Checked rows on their principal axes, on the device (ValueError: they have no room)."""
    if not optimum.has_room(X, _FLOAT):
        raise ValueError(
            f"X of shape {X.shape} has no room in memory as floats; give fewer rows, or train with "
            "training.fit and losses.binary_cross_entropy"
        )
    X = np.asarray(X)
    moved = np.asarray(preprocessing.apply(affine, X), _FLOAT)
    axes = preprocessing.principal_axes(X, affine)
    ones = np.ones((len(X), 1), _FLOAT)
    return Rows(X, affine, np.concatenate([moved @ axes, ones], axis=1), axes)


def path(
    laid: Rows,
    Y: np.ndarray,
    weight: np.ndarray,
    regs: np.ndarray,
    tol: float,
    max_steps: int = 400,
) -> Optima:
    """`optima` of checked arguments.

    Args:
        laid: the rows, of `lay`.
        Y: (N, C) bool.
        weight: (N,) float, not 0 everywhere.
        regs: (G,) strengths.
        tol, max_steps: as for `optima`.
    """
    v = weight / weight.sum()
    varied = np.array([np.ptp(of_class) for of_class in Y[weight > 0].T.astype(int)]) > 0
    solve = partial(_solved, _placed(laid.Z, v), np.where(Y, 1, -1).T.astype(_FLOAT))
    certain = np.where(Y[np.argmax(weight > 0)], CERTAIN, -CERTAIN)
    theta = np.zeros((Y.shape[1], laid.Z.shape[1]), _FLOAT)
    found: list[Any] = [None] * len(regs)
    bound = partial(bounds.objective_and_gap, laid.X, laid.affine, Y, v)
    for place in np.argsort(-regs, kind="stable"):
        theta, *found[place] = _of_strength(
            laid, solve, bound, theta, varied, certain, float(regs[place]), _Wanted(tol, max_steps)
        )
    W, b, loss, gap = (np.stack(part) for part in zip(*found, strict=True))
    return Optima(LinearParams(W, b), laid.affine, loss, gap, (gap <= tol * loss) | ~varied)


def _of_strength(
    laid: Rows, solve: Any, bound: Any, theta: np.ndarray, varied: np.ndarray, certain: np.ndarray,
    reg: float, wanted: _Wanted,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """theta (C, A + 1), W, b, objectives and gaps; classes go on while their bound asks for it."""
    tol, asked = wanted.tol, varied
    for _ in range(_TIMES):
        theta = solve(theta, reg, np.where(asked, tol, np.inf), wanted.max_steps)
        W = theta[:, :-1] @ laid.axes.T  # 0 where nothing was asked
        b = np.where(varied, theta[:, -1], certain).astype(_FLOAT)
        loss, gap = bound(W, b, reg)
        asked, tol = varied & (gap > wanted.tol * loss), tol / 10
        if not asked.any():
            break
    return theta, W, b, loss, gap


def _placed(Z: np.ndarray, v: np.ndarray) -> rows.Placed:
    """The rows with their weights; the answers are those of a class, filled in for each."""
    num_rows = len(Z)
    with rows.precision(_FLOAT):
        return rows.Placed(
            jnp.asarray(Z), jnp.zeros((num_rows, 1), _FLOAT), jnp.asarray(v, _FLOAT),
            jnp.zeros(num_rows, _FLOAT),
        )  # fmt: skip


def _solved(
    placed: rows.Placed, signs: np.ndarray, theta: np.ndarray, reg: float, tol: np.ndarray,
    max_steps: int,
) -> np.ndarray:  # fmt: skip
    """The optima (C, A + 1) of classes with the answers `signs` (C, N), from theta on."""
    found = np.empty_like(theta)
    with rows.precision(_FLOAT):
        for places in _groups(len(placed.Z), len(signs)):
            some = (jnp.asarray(part[places], _FLOAT) for part in (signs, theta[:, None], tol))
            one = jnp.asarray(reg, _FLOAT), jnp.asarray(max_steps, jnp.int32)
            found[places] = np.asarray(_in_step(placed, *some, *one))[:, 0]
    return found


def _groups(num_rows: int, num_classes: int) -> Iterator[np.ndarray]:
    """Groups of classes that have room together, all of one size: no group compiles anew."""
    size = _FLOAT.itemsize * _HELD * num_rows
    most = int(np.clip(placement.limits().device_bytes // size, 1, num_classes))
    each = -(-num_classes // -(-num_classes // most))
    for start in range(0, num_classes, each):
        yield np.minimum(np.arange(start, start + each), num_classes - 1)


@jax.jit
def _in_step(
    placed: rows.Placed, signs: jax.Array, theta: jax.Array, tol: jax.Array, reg: jax.Array,
    max_steps: jax.Array,
) -> jax.Array:  # fmt: skip
    moments = placed.v @ placed.Z**2

    def of_class(signs: jax.Array, theta: jax.Array, tol: jax.Array) -> jax.Array:
        problem = placed._replace(y=signs)
        return smooth.minimise(
            problem, theta, reg, tol, max_steps, moments, loss=_cross_entropy
        ).theta

    return jax.vmap(of_class)(signs, theta, tol)


def _cross_entropy(scores: jax.Array, signs: jax.Array) -> jax.Array:
    """Binary cross-entropy of scores (N, 1) and answers 1 and -1 (N,)."""
    return jax.nn.softplus(-signs * scores[:, 0])
