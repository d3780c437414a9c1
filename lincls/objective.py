"""The objective: weighted mean loss + reg * penalty.  The one place where a mean is taken.

    L = sum_i w_i loss(s_i, y_i) / sum_i w_i + reg * R(W)        (slides 36, 41)

`Objective(loss, penalty)` is a pair of functions; their numbers come from `Hyper`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lincls import linear, losses, penalties, preprocessing
from lincls.hyper import as_numbers
from lincls.structs import Affine, AnyArray, Examples, Hyper, LinearParams, Parts


class Objective(NamedTuple):
    """What is minimised: `loss(scores, labels, **hyper.loss)`, `penalty(W, **hyper.penalty)`.

    Both are module-level functions, so that equal objectives compile once.
    """

    loss: Callable[..., Any] = losses.softmax
    penalty: Callable[..., Any] = penalties.l2


def evaluate(
    objective: Objective, params: LinearParams, batch: Examples, hyper: Hyper
) -> tuple[jax.Array, Parts]:
    """The objective on a batch, and its two parts.

    Args:
        objective: the loss and the penalty.
        params: W (C, D), b (C,); everything else is cast to their dtype.
        batch: X (B, D), y (B,), weight (B,).  Weight 2 counts an example twice.  Weight 0
            leaves it out, even if its loss is not finite.
        hyper: scalars.

    Returns:
        (loss (), Parts(data (), penalty ())).  A batch of zero weight has data loss 0.
    """
    dtype = params.W.dtype
    reg, loss, penalty = as_numbers((hyper.reg, dict(hyper.loss), dict(hyper.penalty)), dtype)
    weight = jnp.asarray(batch.weight, dtype)
    per_example = objective.loss(scores(params, batch.X, weight), batch.y, **loss)
    data = weighted_mean(per_example, weight)
    penalty = reg * objective.penalty(params.W, **penalty)
    return data + penalty, Parts(data, penalty)


def scores(params: LinearParams, X: Any, weight: Any) -> jax.Array:
    """Scores (B, C), 0 for examples of weight 0: 0 times a loss that overflowed would be NaN."""
    return jnp.where(weight[:, None] > 0, linear.scores(params, X), 0)


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """sum(w * v) / sum(w), and 0 where all weights are 0."""
    total = jnp.sum(weight)
    return jnp.sum(weight * values) / jnp.where(total > 0, total, 1.0)


def step_size(
    X: AnyArray, affine: Affine, loss: Any, num_classes: int, reg: float | int = 0.0
) -> float:
    """A learning rate from the data and the loss: 1 / (|g| * mean |x|^2 / 3 + 2 reg).

    The mean of |x|^2 is over preprocessed rows with the bias's 1.  The curvature of every loss
    here is in proportion to it, so the units of X do not matter.  |g| is the norm of the loss's
    gradient in the scores where all scores are equal: about 1 for softmax, and about C for the
    hinge, which sums over C - 1 classes.  The divisor 3 was found on digits, MNIST and CIFAR-10:
    it is the middle of a range, a factor of ten wide, in which training works.  2 reg is the
    curvature of the L2 penalty.

    Args:
        X: rows (N, D); at most 4,096 of them are used.
        affine: preprocessing of X.
        loss: as in `Objective`.
        num_classes: C.
        reg: strength of the L2 penalty.
    """
    sample = X[:: -(-len(X) // 4096)]
    squares = jnp.sum(jnp.square(preprocessing.apply(affine, sample)), axis=1)
    gradient = jax.grad(lambda scores: loss(scores, jnp.zeros(1, jnp.int32)).sum())(
        jnp.zeros((1, num_classes))
    )
    curvature = jnp.linalg.norm(gradient) * (1 + jnp.mean(squares)) / 3
    return float(1 / (curvature + 2 * reg))
