"""The door of the optimum: what is checked, which solver takes it, and what comes out."""

from typing import Any, NamedTuple

import numpy as np

from lincls import checks, losses, penalties, placement, precision, preprocessing
from lincls import objective as objectives
from lincls.certificate import duals
from lincls.certificate.duals import Strengths
from lincls.objective import Objective
from lincls.optimum import solvers
from lincls.optimum.solvers import How
from lincls.structs import Affine, AnyArray, AnyRows, Examples, Hyper, LinearParams

_TIMES = 4  # the solver is asked again for a tenth of the gap where the certificate is larger


class _Found(NamedTuple):
    """What was found for one strength."""

    params: LinearParams
    loss: float
    gap: float
    num_steps: int
    converged: bool


class Optimum(NamedTuple):
    """The best parameters found, and how far they are from the optimum at most.

    For G strengths every field but `affine` has a leading axis G, in the order of `reg`.
    """

    params: LinearParams  # W (C, D), b (C,), acting on preprocessed rows
    affine: Affine  # that preprocessing
    loss: Any  # the objective there, in float64
    gap: Any  # the objective is above the minimum by at most this
    num_steps: Any
    converged: Any  # whether gap <= tol * loss


def optimum(
    X: AnyRows,
    y: AnyRows,
    *,
    reg: Any,
    loss: Any = losses.softmax,
    penalty: Any = penalties.l2,
    beta: float | int = 1.0,
    num_classes: int | None = None,
    weight: AnyArray | None = None,
    affine: Affine | None = None,
    params: LinearParams | None = None,
    dtype: Any = None,
    tol: float = 1e-6,
    max_steps: int = 10_000,
) -> Optimum:
    """The minimum of weighted mean loss + reg * R(W), for one strength or for many.

    With L2 by L-BFGS, with L1 and the elastic net by accelerated proximal steps, whose zeros are
    exact.  The loop is one compiled program on the device.  G strengths run it G times, from the
    strongest on, each from the optimum of the one before; nothing compiles again.  With L2, few
    rows of many features are turned onto as many axes as rows, which changes nothing.

    The gap is that of `certificate.duality_gap`, in float64, at the W and b returned.  For a loss
    other than the two whose dual is known it is |g|**2 / (4 reg), with g the gradient in W, which
    bounds it but for the bias.

    Args:
        X, y: images or rows; labels (N,).  With L2 they may lie in a large file or on a mesh.
        reg: greater than 0, one strength or (G,).
        loss: `losses.softmax`, `losses.squared_hinge`, or with L2 any differentiable convex loss.
        penalty: R(W): `penalties.l2`, sum(W**2); `penalties.l1`, sum(|W|); or
            `penalties.elastic_net`, sum(beta * W**2 + |W|).
        beta: of the elastic net.
        num_classes: C; by default the largest label plus one.
        weight: (N,), default all 1.
        affine: preprocessing of X; default none.
        params: where to start, default 0.
        dtype: of the computation and the parameters: float32 or float64.  Default float32 with L2;
            float64 with L1 and the elastic net, whose gap shows the last digits of a gradient.
        tol: end where the gap is at most this part of the objective.  float32 may end before, at
            about 1e-6 for a reg of 1e-3; then float64 goes on.
        max_steps: for each strength; each step reads all data twice.

    Returns:
        Optimum.  A class without examples has W = 0 and a score far below the others.

    Raises:
        ValueError: a strength that is not positive, another dtype or penalty, data that do not
            match.  With L1: a loss without a known dual, rows in a large file or on a mesh.

    Source: `smooth` and `sparse` name those of the solvers.
    """
    checks.on_host("optimum.optimum", "use training.run", X, y, reg, weight, affine, params)
    regs = np.array([checks.positive(one) for one in _each(reg)])
    strengths = duals.strengths(penalty, beta, regs)
    dtype = _dtype(dtype, penalty)
    X = checks.rows_anywhere(X)
    weight = None if weight is None else checks.example_weights(weight, len(X))
    X = precision.working(X, dtype=dtype, weight=weight)
    y = placement.gathered(checks.labels_anywhere(y, len(X), num_classes, "y"))
    num_classes = int(y.max()) + 1 if num_classes is None else num_classes
    affine = preprocessing.checked(affine, X.shape[1])
    how = How(loss, penalty, dtype, checks.number(tol, "tol", least=0),
              checks.count(max_steps, "max_steps", 0))  # fmt: skip
    _check_loss(how)
    data = Examples(X, np.asarray(y), checks.example_weights(weight, len(X)))
    problem = solvers.Problem(data, affine, num_classes, len(regs), how)
    start = _start(params, num_classes, X.shape[1])
    found = _path(problem, strengths, regs, start)
    return _told(found, affine, dtype, np.shape(reg))


def nearly(
    data: Examples, affine: Affine, num_classes: int, reg: float, how: How
) -> tuple[LinearParams, int]:
    """Parameters near the optimum of one strength and L2, without a certificate, and the steps.

    Args:
        data: X (N, D), y (N,) and weight (N,), which passed a door.
        affine: preprocessing of X.
        num_classes: C.
        reg: greater than 0.
        how: what is minimised, and the gap at which it ends by the solver's own measure.
    """
    solve = solvers.solver(solvers.Problem(data, affine, num_classes, 1, how))
    one = Strengths(*(part[0] for part in duals.strengths(how.penalty, 1.0, np.array([reg]))))
    start = _start(None, num_classes, data.X.shape[1])
    params, num_steps = solve(start, one, how.tol, how.max_steps)
    return LinearParams(*(leaf.astype(how.dtype) for leaf in params)), num_steps


def _path(
    problem: solvers.Problem, strengths: Strengths, regs: np.ndarray, params: LinearParams
) -> list[_Found]:
    """The optimum of each strength, found from the strongest on."""
    solve, measure = solvers.solver(problem), solvers.measure(problem)
    found: list[Any] = [None] * len(regs)
    for place in np.argsort(-regs, kind="stable"):
        one = Strengths(*(part[place] for part in strengths))
        found[place] = _certified(solve, measure, one, params, problem.how)
        params = found[place].params
    return found


def _certified(
    solve: Any, measure: Any, strengths: Strengths, params: LinearParams, how: How
) -> _Found:
    """Solve, and go on from there for as long as the certificate asks for more and gets it."""
    best, tol, num_steps = None, how.tol, 0
    for _ in range(_TIMES):
        params, taken = solve(params, strengths, tol, how.max_steps - num_steps)
        num_steps, tol = num_steps + taken, tol / 10
        loss, gap = measure(params, strengths)
        found = _Found(params, loss, gap, num_steps, gap <= how.tol * loss)
        is_half = best is None or gap <= best.gap / 2
        if best is None or gap < best.gap or loss < best.loss:
            best = found
        if best.converged or not is_half or num_steps >= how.max_steps:
            break
        params = best.params
    assert best is not None
    return best._replace(num_steps=num_steps)


def _told(found: list[_Found], affine: Affine, dtype: Any, shape: tuple[int, ...]) -> Optimum:
    """The results of all strengths, or of the one."""
    params = [LinearParams(*(leaf.astype(dtype) for leaf in one.params)) for one in found]
    if not shape:
        (one,) = found
        return Optimum(params[0], affine, one.loss, one.gap, one.num_steps, one.converged)
    stacked = LinearParams(*(np.stack(leaf) for leaf in zip(*params, strict=True)))
    return Optimum(
        stacked, affine, *(np.array(leaf) for leaf in list(zip(*found, strict=True))[1:])
    )


def _each(reg: Any) -> list[Any]:
    """One strength or (G,) as an array of them (TypeError, ValueError)."""
    if checks.as_array(reg, "reg").ndim == 0:
        return [reg]
    regs = checks.floats(reg, "reg")
    if regs.ndim > 1 or not regs.size:
        raise ValueError(f"reg must be one number or (G,) of them, got shape {regs.shape}")
    return list(np.asarray(regs))


def _dtype(dtype: Any, penalty: Any) -> np.dtype:
    if dtype is None:
        dtype = np.float32 if penalty is penalties.l2 else np.float64
    dtype = checks.floating(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    return dtype


def _check_loss(how: How) -> None:
    """A loss of one value an example; with L1 and the elastic net one whose dual is known."""
    objective = objectives.checked(Objective(how.loss, how.penalty))
    if how.penalty is not penalties.l2:
        duals.dual_of(how.loss)
    one = Examples(np.zeros((1, 1), np.float32), np.zeros(1, np.int32), np.ones(1, np.float32))
    nothing = LinearParams(np.zeros((2, 1), np.float32), np.zeros(2, np.float32))
    objectives.example_losses(objective, nothing, one, Hyper({}))


def _start(params: LinearParams | None, num_classes: int, num_features: int) -> LinearParams:
    """Where to begin, in float64 (TypeError, ValueError)."""
    shape = (num_classes, num_features)
    if params is None:
        return LinearParams(np.zeros(shape), np.zeros(num_classes))
    params = checks.params(params)
    if params.W.shape != shape:
        raise ValueError(f"params must have W of shape {shape}, got {params.W.shape}")
    W, b = (np.asarray(checks.finite(leaf, "params"), np.float64) for leaf in params)
    return LinearParams(W, b)
