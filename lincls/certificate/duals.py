"""Dual points of the losses, and the conjugates of the penalties.  On numpy and on JAX arrays.

With v the weights over their sum, every loss here is a maximum over dual points a_i (C,), one for
each example, of a_i . s_i - l*(a_i).  The gradient of the loss in the scores is the a_i that is
best there.  With A the matrix of the v_i a_i, any A with sum_i v_i a_i = 0 gives

    least objective >= - sum_i v_i l*(a_i) - R*(X^T A)

because the bias, which is free, meets sum_i v_i a_i alone (Fenchel duality).
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from lincls import checks, losses, penalties


@runtime_checkable
class Dual(Protocol):
    """A loss as the certificate sees it.  Scores and dual points are (N, C), `of_label` one-hot."""

    def value(self, scores: Any, of_label: Any) -> Any:
        """The loss of each example (N,)."""

    def point(self, scores: Any, of_label: Any) -> Any:
        """The variables of the best dual point (N, C)."""

    def residual(self, point: Any, of_label: Any) -> Any:
        """a (N, C), the gradient of the loss in the scores, from these variables."""

    def curvature(self, point: Any, of_label: Any, v: Any) -> Any:
        """The second derivative of the mean loss in the bias (C, C)."""

    def totals(self, point: Any, of_label: Any, v: Any) -> Any:
        """What `feasible` needs of all examples, (2, C); it adds up over parts of them."""

    def feasible(self, point: Any, of_label: Any, totals: Any) -> Any:
        """The nearest variables known with sum_i v_i a_i = 0."""

    def worth(self, u: Any, point: Any, of_label: Any, v: Any) -> Any:
        """-sum_i v_i l*(u a_i), for u in [0, 1]."""


class _Softmax:
    """The variables are probabilities p, a = p - e_y, and -l*(a) is the entropy of p."""

    def value(self, scores: Any, of_label: Any) -> Any:
        # Relative to the label's score, so that a loss of 1e-9 keeps its digits in float32.
        xp = scores.__array_namespace__()
        lead = scores - (scores * of_label).sum(axis=1, keepdims=True)
        most = xp.maximum(lead.max(axis=1), 0)
        others = ((1 - of_label) * xp.exp(lead - most[:, None])).sum(axis=1)
        return most + xp.where(most > 0, xp.log(xp.exp(-most) + others), xp.log1p(others))

    def point(self, scores: Any, of_label: Any) -> Any:
        xp = scores.__array_namespace__()
        p = xp.exp(scores - scores.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def residual(self, p: Any, of_label: Any) -> Any:
        # 1 - p of the label as the sum of the others: it keeps its digits where p is nearly 1.
        others = (1 - of_label) * p
        return others - of_label * others.sum(axis=1, keepdims=True)

    def curvature(self, p: Any, of_label: Any, v: Any) -> Any:
        xp = p.__array_namespace__()
        return xp.diag(v @ p) - (p * v[:, None]).T @ p

    def totals(self, p: Any, of_label: Any, v: Any) -> Any:
        return p.__array_namespace__().stack([v @ of_label, v @ p])

    def feasible(self, p: Any, of_label: Any, totals: Any) -> Any:
        xp = p.__array_namespace__()
        shares, means = totals
        part = xp.minimum(1.0, (shares / xp.maximum(means, xp.finfo(p.dtype).tiny)).min())
        return part * p + xp.maximum(shares - part * means, 0)

    def worth(self, u: Any, p: Any, of_label: Any, v: Any) -> Any:
        xp = p.__array_namespace__()
        mixed = u * p + (1 - u) * of_label
        return v @ -(mixed * xp.log(xp.where(mixed > 0, mixed, 1.0))).sum(axis=1)


class _SquaredHinge:
    """The variables are q_j >= 0, 0 at the label; a = q - e_y sum(q), -l*(a) = sum(q - q**2 / 4).

    max(0, z)**2 is the maximum over q >= 0 of q z - q**2 / 4, at q = 2 max(0, z).
    """

    def value(self, scores: Any, of_label: Any) -> Any:
        return (self.point(scores, of_label) ** 2).sum(axis=1) / 4

    def point(self, scores: Any, of_label: Any) -> Any:
        xp = scores.__array_namespace__()
        margins = 1 + scores - (scores * of_label).sum(axis=1, keepdims=True)
        return xp.where(of_label > 0, 0.0, 2 * xp.maximum(margins, 0))

    def residual(self, q: Any, of_label: Any) -> Any:
        return q - of_label * q.sum(axis=1, keepdims=True)

    def curvature(self, q: Any, of_label: Any, v: Any) -> Any:
        xp = q.__array_namespace__()
        pairs = 2 * ((q > 0) * v[:, None]).T @ of_label
        return xp.diag(pairs.sum(axis=0) + pairs.sum(axis=1)) - pairs - pairs.T

    def totals(self, q: Any, of_label: Any, v: Any) -> Any:
        return q.__array_namespace__().stack([v @ of_label, v @ self.residual(q, of_label)])

    def feasible(self, q: Any, of_label: Any, totals: Any) -> Any:
        """Flows between classes: what enters class c too much leaves it to where too little does.

        sum_i v_i a_i is what enters each class less what leaves it, so it becomes 0 by larger q.
        """
        xp = q.__array_namespace__()
        shares, excess = totals
        enters, lacks = xp.maximum(excess, 0) / shares, xp.maximum(-excess, 0)
        return q + (of_label @ enters)[:, None] * lacks / xp.maximum(
            lacks.sum(), xp.finfo(q.dtype).tiny
        )

    def worth(self, u: Any, q: Any, of_label: Any, v: Any) -> Any:
        return v @ (u * q - u**2 * q**2 / 4).sum(axis=1)


DUALS: dict[Any, Dual] = {losses.softmax: _Softmax(), losses.squared_hinge: _SquaredHinge()}


class Strengths(NamedTuple):
    """A penalty as `square * sum(W**2) + absolute * sum|W|`."""

    square: Any
    absolute: Any

    def value(self, W: Any) -> Any:
        """The penalty at W."""
        return self.square * (W**2).sum() + self.absolute * abs(W).sum()

    def conjugate(self, push: Any) -> Any:
        """The penalty's conjugate at X^T A, but for L1 alone, where it is 0 inside of a box.

        The maximum over w of g w - square w**2 - absolute |w| is at |w| = (|g| - absolute)_+ /
        (2 square), where it is (|g| - absolute)_+**2 / (4 square).
        """
        xp = push.__array_namespace__()
        above = xp.maximum(abs(push) - self.absolute, 0)
        return (above**2).sum() / xp.where(self.square > 0, 4 * self.square, xp.inf)

    def largest_part(self, push: Any) -> Any:
        """The greatest u in [0, 1] at which the conjugate of u X^T A is finite."""
        xp = push.__array_namespace__()
        greatest = xp.maximum(abs(push).max(), xp.finfo(push.dtype).tiny)
        # Less a few last digits, so that rounding does not leave the box.
        inside = self.absolute * (1 - 8 * xp.finfo(push.dtype).eps) / greatest
        return xp.where(self.square > 0, 1.0, xp.minimum(1.0, inside))


def strengths(penalty: Any, beta: Any, reg: Any) -> Strengths:
    """The two strengths of L2, L1 or the elastic net (ValueError for another penalty).

    Args:
        penalty: `penalties.l2`, `penalties.l1` or `penalties.elastic_net`.
        beta: of the elastic net, at least 0.
        reg: the strength, a number or an array.
    """
    beta, reg = checks.number(beta, "beta", least=0), np.asarray(reg, np.float64)
    known = (penalties.l2, penalties.l1, penalties.elastic_net)
    if not any(penalty is one for one in known):
        raise ValueError(
            "penalty must be penalties.l2, penalties.l1 or penalties.elastic_net, got "
            f"{checks.shown(penalty)}; for another one use training.fit"
        )
    square = {penalties.l2: 1.0, penalties.l1: 0.0}.get(penalty, beta)
    return Strengths(reg * square, reg * (penalty is not penalties.l2))


def dual_of(loss: Any) -> Dual:
    """The dual of a loss (ValueError for a loss whose dual is not known)."""
    if not any(loss is known for known in DUALS):
        raise ValueError(
            "loss must be losses.softmax or losses.squared_hinge, whose dual is known, got "
            f"{checks.shown(loss)}"
        )
    return DUALS[loss]
