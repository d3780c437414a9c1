"""Losses: how unhappy one example is with its scores.

Every loss is `loss(scores, labels, **numbers) -> (B,)`: one value per example, integer
labels, no mean and no reduction flag.  The mean, the weights and the penalty are taken
in one place, `objective.evaluate`.  A loss of your own is a function of the same form,
in a file of yours, passed in.

Labels outside 0..C-1 are an error where their values can be seen.  Under `jit`, where they
cannot, their loss is NaN.  `cross_entropy` and `binary_cross_entropy` take a row of numbers in
0..1 for each example instead, by the same rule.  A float64 host array of scores is not narrowed
on the way.

The kinks.  A hinge is max(0, margin), which has no derivative at margin = 0; we take the
subgradient 0 there (`jax.nn.relu`; the gradient of `jnp.maximum(x, 0)` at 0 would be 0.5).
The functions called `*_kinks` return the arguments of every max, for `gradcheck.check`.

Two hinges.  `hinge` is the lecture's, the sum over the wrong classes (Weston and Watkins
1999).  What optax and jaxopt call multiclass hinge is the worst class alone:
`crammer_singer_hinge` (Crammer and Singer 2001).  At equal scores of C classes the first
is C - 1, the second 1, the softmax loss log C.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer, Shaped

from lincls import checks
from lincls.precision import in_float64
from lincls.structs import AnyArray

Labels = Integer[AnyArray, "B"]
Targets = Float[AnyArray, "B C"]


def _checked(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same loss behind a door: scores become floats (B, C), labels integers (B,)."""

    @in_float64
    @functools.wraps(fn)
    def loss(scores: Any, labels: Any, *numbers: Any, **named: Any) -> jax.Array:
        return fn(*checks.scored(scores, labels), *numbers, **named)

    return loss


def _checked_targets(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same loss behind a door: scores and targets become floats (B, C), targets in 0..1."""

    @in_float64
    def of_arrays(scores: Any, targets: Any) -> jax.Array:
        targets = jnp.asarray(targets, scores.dtype)
        return fn(scores, jnp.where((targets >= 0) & (targets <= 1), targets, jnp.nan))

    @functools.wraps(fn)
    def loss(scores: Any, targets: Any) -> jax.Array:
        return of_arrays(*checks.targeted(scores, targets))

    return loss


@_checked
def hinge(
    scores: Float[AnyArray, "B C"], labels: Labels, margin: Any = 1.0
) -> Float[jax.Array, "B"]:
    """Multiclass SVM loss of the lecture: sum over j != y of max(0, s_j - s_y + margin).

    Args:
        scores: s = f(x, W, b), in any unit; the margin is in the same unit.
        labels: y in 0..C-1.
        margin: scalar; for a linear model it only trades against the strength of L2.

    Returns:
        (B,) at least 0; (C - 1) * margin where all scores are equal.

    Source: slides 32-40; Weston and Watkins, ESANN 1999.
    """
    return jnp.sum(jax.nn.relu(_margins(scores, labels, margin)), axis=-1)


@_checked
def squared_hinge(
    scores: Float[AnyArray, "B C"], labels: Labels, margin: Any = 1.0
) -> Float[jax.Array, "B"]:
    """Sum over j != y of max(0, s_j - s_y + margin)**2; smooth once, no kink in its value.

    Shapes and arguments as `hinge`; (C - 1) * margin**2 where all scores are equal.

    Source: slide 37, "what if we used the square of the max value?".
    """
    return jnp.sum(jnp.square(jax.nn.relu(_margins(scores, labels, margin))), axis=-1)


@_checked
def crammer_singer_hinge(
    scores: Float[AnyArray, "B C"], labels: Labels, margin: Any = 1.0
) -> Float[jax.Array, "B"]:
    """The worst margin alone: max(0, max over j != y of (s_j - s_y + margin)).

    Where several classes tie for the worst, the subgradient is shared evenly among them.
    Shapes and arguments as `hinge`; `margin` where all scores are equal.

    Source: Crammer and Singer, JMLR 2001.
    """
    return jax.nn.relu(jnp.max(_margins(scores, labels, margin), axis=-1))


@_checked
def softmax(scores: Float[AnyArray, "B C"], labels: Labels) -> Float[jax.Array, "B"]:
    """Cross-entropy of the softmax probabilities: -log(e^{s_y} / sum_j e^{s_j}), natural log.

    Computed from scores minus their greatest, so that scores of +-1e9 are right to
    rounding and none overflows.

    Returns:
        (B,) in nats, at least 0; log C where all scores are equal.

    Source: slides 43-45.
    """
    shifted = scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    log_total = jnp.log(jnp.sum(jnp.exp(shifted), axis=-1))
    return log_total - _of_label(shifted, labels)


@_checked
def smoothed_softmax(
    scores: Float[AnyArray, "B C"], labels: Labels, smoothing: Any = 0.1
) -> Float[jax.Array, "B"]:
    """The softmax loss with label smoothing: `cross_entropy` of smoothed labels.

    The target of the label is 1 - smoothing + smoothing / C, that of each other class
    smoothing / C.

    Args:
        scores: (B, C).
        labels: y in 0..C-1.
        smoothing: scalar in [0, 1); 0 is `softmax`.

    Source: Szegedy et al., CVPR 2016, section 7.
    """
    smoothing = jnp.asarray(checks.number(smoothing, "smoothing", least=0, below=1), scores.dtype)
    logs = jax.nn.log_softmax(scores, axis=-1)
    return -(1 - smoothing) * _of_label(logs, labels) - smoothing * jnp.mean(logs, axis=-1)


@_checked_targets
def cross_entropy(scores: Float[AnyArray, "B C"], targets: Targets) -> Float[jax.Array, "B"]:
    """Cross-entropy with soft labels: -sum_j t_j log p_j, where p is the softmax of the scores.

    Args:
        scores: (B, C).
        targets: t (B, C) in 0..1, the probabilities of the classes; one-hot rows give `softmax`.

    Returns:
        (B,) in nats; log C where all scores are equal and t sums to 1.
    """
    return -jnp.sum(targets * jax.nn.log_softmax(scores, axis=-1), axis=-1)


@_checked_targets
def binary_cross_entropy(scores: Float[AnyArray, "B C"], targets: Targets) -> Float[jax.Array, "B"]:
    """Several labels a row: sum_j of -t_j log q_j - (1 - t_j) log(1 - q_j).

    Each class is a question of its own, with the answer yes where its score is above 0, and
    q_j = 1 / (1 + e^{-s_j}).

    Args:
        scores: (B, C).
        targets: t (B, C) in 0..1; 1 where an example has the label.

    Returns:
        (B,) in nats, the sum over the classes; C log 2 where all scores are 0.
    """
    yes, no = jax.nn.softplus(-scores), jax.nn.softplus(scores)  # -log q and -log(1 - q)
    return jnp.sum(targets * yes + (1 - targets) * no, axis=-1)


@_checked
def hinge_kinks(
    scores: Float[AnyArray, "B C"], labels: Labels, margin: Any = 1.0
) -> Float[jax.Array, "B C"]:
    """The arguments of the max in `hinge`: s_j - s_y + margin, and -1 at the label's own place."""
    margins = _margins(scores, labels, margin)
    return jnp.where(_is_label(scores, labels), -jnp.ones_like(margins), margins)


@_checked
def crammer_singer_kinks(
    scores: Float[AnyArray, "B C"], labels: Labels, margin: Any = 1.0
) -> Float[jax.Array, "B C"]:
    """Signs that change where `crammer_singer_hinge` bends: each margin less the best other one.

    The label's own place takes part with margin 0, which is the outer max(0, .).
    """
    margins = jnp.where(_is_label(scores, labels), 0.0, _margins(scores, labels, margin))
    top, second = jnp.moveaxis(jax.lax.top_k(margins, 2)[0], -1, 0)
    best_other = jnp.where(margins == top[:, None], second[:, None], top[:, None])
    return margins - best_other


def _is_label(scores: Float[AnyArray, "B C"], labels: Labels) -> Bool[jax.Array, "B C"]:
    labels = jnp.asarray(labels)
    return labels[:, None] == jnp.arange(scores.shape[-1], dtype=labels.dtype)[None]


def _of_label(values: Shaped[AnyArray, "B C"], labels: Labels) -> jax.Array:
    """The value at each label (B,), NaN for a label outside 0..C-1."""
    # A masked sum: its gradient is a product, that of an indexed read is a slow scatter.
    of_label = jnp.sum(jnp.where(_is_label(values, labels), values, 0.0), axis=-1)
    return jnp.where((labels >= 0) & (labels < values.shape[-1]), of_label, jnp.nan)


def _margins(
    scores: Float[AnyArray, "B C"], labels: Labels, margin: Any
) -> Float[jax.Array, "B C"]:
    """s_j - s_y + margin for j != y, and 0 (which adds nothing) at j = y."""
    margin = jnp.asarray(checks.floats(margin, "margin"), scores.dtype)
    margins = scores - _of_label(scores, labels)[:, None] + margin
    return jnp.where(_is_label(scores, labels), 0.0, margins)
