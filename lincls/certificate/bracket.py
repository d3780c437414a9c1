"""A bracket of the least objective: the primal value at the best bias, and a dual value."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from lincls import checks, losses, penalties, placement, preprocessing
from lincls.certificate import duals
from lincls.certificate.duals import Dual, Strengths
from lincls.certificate.examples import Part, Task, matrix, parts, products, pushed, task
from lincls.structs import Affine, AnyArray, AnyRows, LinearParams

_NEWTON_STEPS = 200
_FEW_STEPS = 20
_BALANCED = 1e-10  # a gradient in the bias so small is 0
_FEW = 8.0  # scores that differ by so much have probabilities that a trust region can follow


class Gap(NamedTuple):
    """A bracket: dual <= least objective <= primal, at the bias that is optimal for the W."""

    primal: float
    dual: float
    bias: np.ndarray  # (C,), of mean 0; -inf for a class without examples

    @property
    def size(self) -> float:
        """At most this much of the objective can still be gained; 0 at the optimum."""
        return self.primal - self.dual


def duality_gap(
    params: LinearParams,
    X: AnyRows,
    y: AnyRows,
    *,
    reg: float,
    loss: Any = losses.softmax,
    penalty: Any = penalties.l2,
    beta: float | int = 1.0,
    weight: AnyArray | None = None,
    affine: Affine | None = None,
) -> Gap:
    """Bound how far the objective of W, with its best bias, is above the minimum.

    The objective is the mean loss + reg * R(W), with R = sum(W**2), sum(|W|), or
    sum(beta * W**2 + |W|).  With v = weight / sum(weight) and the softmax loss,

        primal(W, b) = sum_i v_i (log sum_k e^{s_ik} - s_iy) + reg * R(W)
        dual(p) = -sum_i v_i sum_k p_ik log p_ik - R*(G),   G = sum_i v_i (p_i - e_y) x_i^T

        L2            R*(G) = |G|**2 / (4 reg)
        L1            R*(G) = 0 if every |G_kd| <= reg, else infinite
        elastic net   R*(G) = sum max(0, |G_kd| - reg)**2 / (4 reg beta)

    Any probabilities p with sum_i v_i (p_i - e_y) = 0 give a dual value that is at most the
    least primal one.  Proof: log sum_k e^{s_k} >= p . s - sum_k p_k log p_k (the conjugate of the
    log-sum-exp is the negative entropy).  So with s_i = W x_i + b

        primal(W, b) >= entropies + <G, W> + b . sum_i v_i (p_i - e_y) + reg * R(W)
                      = entropies + <G, W> + reg * R(W) >= entropies - R*(-G),

    the last by the definition R*(-G) = max over W of -<G, W> - reg * R(W), a maximum over each
    weight alone that is worked out in `duals.Strengths`; and R*(-G) = R*(G).

    The softmax probabilities of W satisfy the condition where the bias is optimal for W.  So the
    bias is brought there first, by Newton's method in a trust region.  It takes c W for
    c = .., 1/4, 1/2, 1 in turn, each from twice the bias of the one before.  Then

    - Where the bias is not optimal to the last digit, sum_i v_i p_i = m and not the share f of
      each class.  t p + (f - t m), with the greatest t <= 1 that leaves it positive, is.
    - e_y + u (p - e_y) is feasible for every u in [0, 1], and its G is u times as great.  The best
      u is taken, for L1 among those that bring every |G_kd| to reg or below.  At u = 0 the dual
      is 0, so it is never below that.
    - The p are those of W or of the c W with the least primal value, whichever is better.

    The squared hinge is sum_j max(0, z_j)**2 over j != y, with z_j = 1 + s_j - s_y.  For q >= 0,
    max(0, z)**2 >= q z - q**2 / 4.  So the same proof holds with q_i - e_y sum(q_i) in place of
    p_i - e_y, and with sum_j q_j - q_j**2 / 4 in place of the entropy.  Here the sum over the
    examples is made 0 by adding to q: what enters a class too much leaves it to one that too
    little enters.

    A class without examples (or without weight) is left out.  Its b_k only ever raises a loss, so
    a lower b_k lowers all of them, down to the loss without the class; there its row of W costs
    reg * R(W_k) and serves nothing.  So the least objective is that of the other classes, and so
    is its dual; the primal value here is at b_k = -inf.

    Args:
        params: W (C, D), acting on preprocessed rows.  b is not used: the bracket is of W with
            the bias that is best for it, which may be better than the b of the fit.
        X, y: images or rows; labels (N,).  They may lie in a file or on a mesh.
        reg: greater than 0.
        loss: `losses.softmax` or `losses.squared_hinge`.
        penalty: `penalties.l2`, `penalties.l1` or `penalties.elastic_net`.
        beta: of the elastic net, which is sum(beta * W**2 + |W|).
        weight: (N,), default all 1.
        affine: preprocessing of X that W acts behind; default none.

    Returns:
        Gap, computed in float64.

    Raises:
        ValueError: reg that is not one positive number, another loss or penalty, and data that
            do not match.
    """
    checks.on_host("duality_gap", "call it with the results", params, X, y, reg, weight, affine)
    reg, params = checks.positive(reg), checks.params(params)
    dual, strengths = duals.dual_of(loss), duals.strengths(penalty, beta, reg)
    X = checks.finite(checks.rows_anywhere(X, num_features=params.W.shape[1]))
    y = placement.gathered(checks.labels_anywhere(y, len(X), params.W.shape[0], "y"))
    weight = checks.example_weights(weight, len(X))
    affine = preprocessing.checked(affine, X.shape[1])
    of = task(X, y, weight, affine, params.W.shape[0])
    W = np.asarray(params.W, np.float64)
    primal, least, bias = _bracket(W[of.present], of, dual, strengths)
    everywhere = np.full(len(W), -np.inf)
    everywhere[of.present] = bias
    return Gap(primal + float(strengths.value(W[~of.present])), least, everywhere)


def near_optimum(
    params: LinearParams, of: Task, dual: Dual, strengths: Strengths, *, search: bool = False
) -> tuple[float, float]:
    """The objective of (W, b), and a dual value that is close to it where W is near the optimum.

    It is proved as in `duality_gap`.  The bias is improved from b by a few steps of Newton's
    method, and the only point that is tried is that of W.

    Args:
        params: W (C, D), b (C,).
        of: the examples, of `task`.
        dual, strengths: of `duals.dual_of` and `duals.strengths`.
        search: also try parts of the point, for W that is not so near.
    """
    W, b = (np.asarray(leaf, np.float64) for leaf in params)
    found = products(W, of)
    primal = _mean_loss(_Scores(found, b), of, dual) + float(strengths.value(W))
    if not of.present.all():
        found, b = found[:, of.present], b[of.present]
    b = _balanced(found, of, dual, b, _FEW_STEPS)
    return primal, _best_dual(_Scores(found, b), of, dual, strengths, search=search)


class _Scores(NamedTuple):
    """scale * products + bias."""

    products: np.ndarray  # (n, P)
    bias: np.ndarray  # (P,)
    scale: float = 1.0

    def parts(self, of: Task) -> Iterator[Part]:
        """The scores, part by part."""
        for part in parts(self.products, of):
            yield part._replace(values=self.scale * part.values + self.bias)


def _bracket(
    W: np.ndarray, of: Task, dual: Dual, strengths: Strengths
) -> tuple[float, float, np.ndarray]:
    """primal, dual and bias of `duality_gap` where every class has examples."""
    found = products(W, of)
    bias, met = np.log(of.shares) - np.log(of.shares).mean(), []
    for scale in _scales(found, of):
        bias = _best_bias(found, of, dual, bias, scale)
        scores = _Scores(found, bias, scale)
        met.append((_mean_loss(scores, of, dual) + float(strengths.value(scale * W)), scores))
        bias = 2 * bias
    primal, last = met[-1]
    least = min(met, key=lambda one: one[0])[1]
    tried = [last] if least is last else [last, least]
    values = [_best_dual(scores, of, dual, strengths) for scores in tried]
    return primal, max(values), last.bias


def _scales(products: np.ndarray, of: Task) -> list[float]:
    """.., 1/4, 1/2, 1: from where the scores of an example differ by no more than a few."""
    spread = max(float(np.ptp(part.values, axis=1).max()) for part in parts(products, of))
    halvings = max(0, int(np.ceil(np.log2(max(spread, 1.0) / _FEW))))
    return [0.5**i for i in range(halvings, -1, -1)]


def _mean_loss(scores: _Scores, of: Task, dual: Dual) -> float:
    return float(sum(p.v @ dual.value(p.values, p.of_label) for p in scores.parts(of)))


def _of_bias(scores: _Scores, of: Task, dual: Dual) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean loss, its gradient and its curvature in the bias.

    Moving all biases alike changes nothing; (sum b)**2 / (2 C) fixes that direction at 0.
    """
    b = scores.bias
    loss, gradient = b.sum() ** 2 / (2 * len(b)), np.full(len(b), b.mean())
    curvature = np.full((len(b), len(b)), 1 / len(b))
    for part in scores.parts(of):
        point = dual.point(part.values, part.of_label)
        loss += part.v @ dual.value(part.values, part.of_label)
        gradient += part.v @ dual.residual(point, part.of_label)
        curvature += dual.curvature(point, part.of_label, part.v)
    return float(loss), gradient, curvature


def _best_bias(
    products: np.ndarray, of: Task, dual: Dual, bias: np.ndarray, scale: float
) -> np.ndarray:
    """The bias of least mean loss for given scale * W x, of sum 0; `bias` is where to begin."""

    def value(b: np.ndarray) -> tuple[float, np.ndarray]:
        return _of_bias(_Scores(products, b, scale), of, dual)[:2]

    def curvature(b: np.ndarray) -> np.ndarray:
        return _of_bias(_Scores(products, b, scale), of, dual)[2]

    bias = scipy.optimize.minimize(
        value, bias, jac=True, hess=curvature, method="trust-exact",
        options={"gtol": _BALANCED, "maxiter": _NEWTON_STEPS},
    ).x  # fmt: skip
    return _balanced(products, of, dual, bias, 3, scale)


def _balanced(
    products: np.ndarray, of: Task, dual: Dual, bias: np.ndarray, num_steps: int, scale: float = 1.0
) -> np.ndarray:
    """The bias after Newton steps for as long as they make its gradient smaller, of sum 0.

    Near the optimum the loss is flat to its last digit; its gradient is not.
    """
    _, gradient, curvature = _of_bias(_Scores(products, bias, scale), of, dual)
    for _ in range(num_steps):
        step = np.linalg.lstsq(curvature, gradient)[0]
        _, there, curvature = _of_bias(_Scores(products, bias - step, scale), of, dual)
        if not np.abs(there).max() < np.abs(gradient).max():
            break
        bias, gradient = bias - step, there
    return bias - bias.mean()


def _best_dual(
    scores: _Scores, of: Task, dual: Dual, strengths: Strengths, *, search: bool = True
) -> float:
    """The greatest dual value of the residuals of these scores, and of parts of them.

    Near the optimum the whole of them, or as much as is feasible, is best: no search is needed.
    """
    point = _feasible(scores, of, dual)
    push = pushed(of, lambda place: _residual(point, place, of, dual))
    most = float(strengths.largest_part(push))

    def lost(u: float) -> float:
        worth = sum(dual.worth(u, p.values, p.of_label, p.v) for p in parts(point, of))
        return float(strengths.conjugate(u * push) - worth)

    if not search:
        return max(0.0, -lost(most))
    found = scipy.optimize.minimize_scalar(lost, bounds=(0, most), method="bounded")
    return -min(0.0, lost(most), float(found.fun))


def _feasible(scores: _Scores, of: Task, dual: Dual) -> np.ndarray:
    """Dual variables (n, P) near those of the scores, with sum_i v_i a_i = 0."""
    point, totals = matrix(scores.products.shape), np.zeros((2, len(scores.bias)))
    for part in scores.parts(of):
        point[part.place] = dual.point(part.values, part.of_label)
        totals += dual.totals(point[part.place], part.of_label, part.v)
    for part in parts(point, of):
        point[part.place] = dual.feasible(part.values, part.of_label, totals)
    return point


def _residual(point: np.ndarray, place: slice, of: Task, dual: Dual) -> np.ndarray:
    of_label = (of.labels[place, None] == np.flatnonzero(of.present)).astype(np.float64)
    return np.asarray(dual.residual(point[place], of_label))
