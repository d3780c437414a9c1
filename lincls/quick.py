"""The short form: a linear classifier in one line, with nothing to tune.

    params = quick.fit(jax.random.key(0), images, labels)
    labels = linear.predict(params, test_images)

It stands on `training.fit` and chooses what a person would have to: the preprocessing is
the mean image and one scale, the optimiser is SGD with Nesterov momentum and a cosine
schedule, and the step size follows from the data.
"""

from typing import Any

import jax

from lincls import batches, checks, linear, losses, optimizers, penalties, preprocessing, training
from lincls.objective import Objective, step_size
from lincls.structs import AnyArray, Hyper, LinearParams
from lincls.training import Recipe


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
    recipe = Recipe(Objective(loss, penalties.l2), optimizers.annealed, batch_size=batch_size)
    state = training.start(of_batches, params, recipe, hyper)
    state, _ = training.fit(state, X, y, recipe, hyper, num_steps=num_steps, affine=affine)
    if not state.alive:
        raise ValueError(f"training left the finite numbers with loss {loss} and reg = {reg}")
    return linear.on_pixels(state.params, affine)
