"""The short form: a linear classifier in one line, with nothing to tune.

    params = quick.fit(jax.random.key(0), images, labels)
    labels = linear.predict(params, test_images)

It stands on `training.fit` and chooses what a person would have to: the preprocessing is
the mean image and one scale, the optimiser is SGD with Nesterov momentum and a cosine
schedule, and the step size follows from the data.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lincls import batches, checks, linear, losses, optimizers, penalties, preprocessing, training
from lincls.objective import Objective
from lincls.structs import Affine, AnyArray, Hyper, LinearParams

_MOMENTUM = 0.9


def annealed(learning_rate: Any, num_steps: Any) -> optax.GradientTransformation:
    """Nesterov SGD whose step size falls from `learning_rate` to 0 over `num_steps`, as a cosine.

    Source of the schedule: Loshchilov and Hutter, ICLR 2017, without restarts.
    """

    def rate(step: jax.Array) -> jax.Array:
        part = jnp.minimum(step.astype(jnp.result_type(learning_rate)) / num_steps, 1.0)
        return learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * part))

    return optimizers.nesterov(rate, _MOMENTUM)


def fit(
    key: jax.Array,
    images: AnyArray,
    labels: AnyArray,
    *,
    num_classes: int | None = None,
    loss: Any = losses.softmax,
    reg: float | int = 1e-3,
    num_epochs: float | int = 20,
    batch_size: int = 256,
) -> LinearParams:
    """Train a linear classifier that acts on the images as they are.

    Args:
        key: of the start and of the batches; the same key gives the same parameters.
        images: (N, H, W, C) or rows (N, D), uint8 or floating, in any units.
        labels: (N,) integers 0..C-1.
        num_classes: C, default the greatest label + 1.
        loss: `losses.softmax`, `losses.hinge`, or any `(scores, labels) -> (B,)`.
        reg: strength of the L2 penalty on W, in units in which the average feature has
            variance 1.
        num_epochs: passes over the data, and at least 2,000 steps in all.
        batch_size: examples a step.

    Returns:
        LinearParams for `linear.predict`, `linear.scores` and `linear.templates`.

    Raises:
        ValueError, TypeError: data that are no images with labels, only one class, or a
            training that diverged.
    """
    X = checks.finite(checks.rows(images, "images"), "images")
    y = checks.labels(labels, len(X), num_classes)
    num_classes = checks.count(int(y.max()) + 1 if num_classes is None else num_classes,
                               "num_classes", 2)  # fmt: skip
    affine = preprocessing.fit(X)
    if not num_epochs > 0:
        raise ValueError(f"num_epochs must be greater than 0, got {num_epochs}")
    batch_size = checks.count(batch_size, "batch_size")
    num_steps = max(int(num_epochs * batches.steps_per_epoch(len(X), batch_size)), 2000)
    rate = step_size(X, affine, loss, num_classes, reg)
    hyper = Hyper({"learning_rate": rate, "num_steps": num_steps}, reg)
    of_start, of_batches = jax.random.split(key)
    params = linear.init(of_start, X.shape[1], num_classes)
    state = training.start(of_batches, params, optimizer=annealed, hyper=hyper)
    state, _ = training.fit(
        state, X, y, hyper, objective=Objective(loss, penalties.l2), optimizer=annealed,
        batch_size=batch_size, num_steps=num_steps, affine=affine,
    )  # fmt: skip
    if not state.alive:
        raise ValueError(f"training left the finite numbers with loss {loss} and reg = {reg}")
    return linear.on_pixels(state.params, affine)


def step_size(
    X: AnyArray, affine: Affine, loss: Any, num_classes: int, reg: float | int = 0.0
) -> float:
    """A step size in the units of the data and of the loss: 1 / (|g| * mean |x|^2 / 3 + 2 reg).

    mean |x|^2 is over preprocessed rows with the bias's 1; the first curvature of every
    loss here is in proportion to it, which makes training blind to the units of X.  |g| is
    the norm of the loss's gradient in the scores where all scores are equal: about 1 for
    softmax, about C for the hinge, which sums over C - 1 classes.  The 3 is the middle of
    the plateau, a factor of ten wide, found on digits, MNIST and CIFAR-10; 2 reg is the
    curvature of the penalty.
    """
    sample = X[:: -(-len(X) // 4096)]
    squares = jnp.sum(jnp.square(preprocessing.apply(affine, sample)), axis=1)
    gradient = jax.grad(lambda scores: loss(scores, jnp.zeros(1, jnp.int32)).sum())(
        jnp.zeros((1, num_classes))
    )
    curvature = jnp.linalg.norm(gradient) * (1 + jnp.mean(squares)) / 3
    return float(1 / (curvature + 2 * reg))
