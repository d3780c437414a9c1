"""The short form: a linear classifier in one line, with nothing to tune.

    params = quick.fit(jax.random.key(0), images, labels)
    labels = linear.predict(params, test_images)

It chooses what a person would have to.  The preprocessing is the mean image and one scale.  A
smooth loss with L2 goes to its optimum (`optimum`).  Anything else trains by SGD (`training.fit`)
with Nesterov momentum and a cosine schedule; the step size follows from the data.  `choose` returns
the choices of SGD.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from lincls import (
    batches,
    checks,
    linear,
    losses,
    optimizers,
    optimum,
    penalties,
    precision,
    preprocessing,
    training,
)
from lincls.objective import Objective, step_size
from lincls.structs import Affine, AnyArray, Examples, Hyper, LinearParams
from lincls.training import Recipe

_EPOCHS = 20
_GAP = 1e-2  # of the objective, relative to it: where the way to the optimum ends
_MOST_STEPS = 1000


class Chosen(NamedTuple):
    """How SGD trains: the arguments of `training.fit` and of `crossval.linear`."""

    recipe: Recipe
    hyper: Hyper
    num_steps: int


def fit(
    key: jax.Array,
    images: AnyArray,
    labels: AnyArray,
    *,
    num_classes: int | None = None,
    weight: AnyArray | None = None,
    loss: Any = losses.softmax,
    penalty: Any = penalties.l2,
    reg: float | int = 1e-3,
    beta: float | int = 1.0,
    num_epochs: float | int | None = None,
    batch_size: int = 256,
) -> LinearParams:
    """Train a linear classifier that acts on the images as they are.

    `losses.softmax` and `losses.squared_hinge` with L2 end about 1 % above the least objective.
    SGD trains them where `num_epochs` is given, reg is 0, or the images have no room as floats.

    Args:
        key: of SGD's start and batches; the same key gives the same parameters.
        images: (N, H, W, C) or rows (N, D), uint8 or floating, in any units in which their
            standard deviation is between 2**-100 and 2**100.
        labels: (N,) integers 0..C-1.
        num_classes: C, default the greatest label + 1.
        weight: (N,) how much each example counts, default all 1.
        loss: `losses.softmax`, `losses.hinge`, or any `(scores, labels) -> (B,)`.
        penalty: `penalties.l2`, or `penalties.l1` or `penalties.elastic_net`, whose proximal
            steps make exact zeros.
        reg: strength of the penalty on W, in units in which the average feature has variance 1.
        beta: of the elastic net, which is sum(beta * W**2 + |W|).
        num_epochs: passes of SGD over the data, and at least 2,000 steps in all; default 20.
        batch_size: examples a step of SGD.

    Returns:
        LinearParams for `linear.predict`, `linear.scores` and `linear.templates`.

    Raises:
        ValueError, TypeError: data that are no images with labels, only one class, or a
            training that diverged.
    """
    checks.on_host("quick.fit", "use training.run", key, images, labels, weight)
    checks.key(key)
    X = checks.rows(images, "images")
    weight = None if weight is None else checks.example_weights(weight, len(X))
    X = precision.working(X, "images", weight=weight)
    y = checks.labels(labels, len(X), num_classes)
    num_classes = checks.count(int(y.max()) + 1 if num_classes is None else num_classes,
                               "num_classes", 2)  # fmt: skip
    if y.min() == y.max():
        raise ValueError(f"labels are all {int(y.max())}; a classifier needs two classes")
    affine, reg = preprocessing.fit(X, weight), checks.number(reg, "reg", least=0)
    if num_epochs is None and reg > 0 and penalty is penalties.l2 and _goes_to_optimum(X, loss):
        checks.count(batch_size, "batch_size")
        weight = np.ones(len(X)) if weight is None else weight
        params = _near_optimum(Examples(X, np.asarray(y), weight), affine, num_classes, loss, reg)
        return linear.on_pixels(params, affine)
    num_epochs = _EPOCHS if num_epochs is None else num_epochs
    how = choose(X, affine, num_classes, loss=loss, penalty=penalty, reg=reg, beta=beta,
                 num_epochs=num_epochs, batch_size=batch_size)  # fmt: skip
    of_start, of_batches = jax.random.split(key)
    params = linear.init(of_start, X.shape[1], num_classes)
    state = training.start(of_batches, params, how.recipe, how.hyper)
    state, _ = training.fit(
        state, X, y, how.recipe, how.hyper, num_steps=how.num_steps, weight=weight, affine=affine
    )
    if not state.alive:
        raise ValueError(f"training left the finite numbers with loss {loss} and reg = {reg}")
    return linear.on_pixels(state.params, affine)


def choose(
    X: AnyArray,
    affine: Affine | None,
    num_classes: int,
    *,
    loss: Any = losses.softmax,
    penalty: Any = penalties.l2,
    reg: Any = 1e-3,
    beta: float | int = 1.0,
    num_epochs: float | int = _EPOCHS,
    batch_size: int = 256,
) -> Chosen:
    """Choose SGD's recipe, its numbers and the number of steps from the data, as `fit` does.

    Args:
        X: rows (N, D).
        affine: preprocessing of X; None is none.
        num_classes: C.
        reg: a strength, or a list of G; then all of them train together.
        loss, penalty, beta, num_epochs, batch_size: as in `fit`.

    Raises:
        ValueError, TypeError: an argument of another kind, by name; another penalty.
    """
    batch_size = checks.count(batch_size, "batch_size")
    an_epoch = batches.steps_per_epoch(len(X), batch_size)
    num_epochs = checks.number(num_epochs, "num_epochs", above=0, below=2**31 / an_epoch)
    num_steps = max(int(num_epochs * an_epoch), 2000)
    of_l2 = None if penalty is penalties.l2 else _share_of_l2(penalty, beta)

    def numbers(reg: Any) -> Hyper:
        smooth = reg if of_l2 is None else of_l2 * checks.number(reg, "reg", least=0)
        rate = step_size(X, affine, loss, num_classes, smooth)
        more = {} if of_l2 is None else {"strength": reg}
        return Hyper({"learning_rate": rate, "num_steps": num_steps, **more}, smooth)

    hyper = jax.tree.map(_stacked, *map(numbers, reg)) if np.ndim(reg) else numbers(reg)
    optimizer = optimizers.annealed if of_l2 is None else optimizers.annealed_l1
    recipe = Recipe(Objective(loss, penalties.l2), optimizer, batch_size=batch_size)
    return Chosen(recipe, hyper, num_steps)


def _goes_to_optimum(X: AnyArray, loss: Any) -> bool:
    """Whether the loss is smooth and convex, and the rows have room in memory as floats."""
    is_smooth = loss is losses.softmax or loss is losses.squared_hinge
    return is_smooth and optimum.has_room(X, np.float32)


def _near_optimum(
    data: Examples, affine: Affine, num_classes: int, loss: Any, reg: float
) -> LinearParams:
    """Parameters on preprocessed rows, from 0 on; float32, as SGD's."""
    how = optimum.How(loss, penalties.l2, np.dtype(np.float32), _GAP, _MOST_STEPS)
    params, _ = optimum.nearly(data, affine, num_classes, reg, how)
    if not all(np.isfinite(leaf).all() for leaf in params):
        raise ValueError(f"training left the finite numbers with loss {loss} and reg = {reg}")
    return params


def _share_of_l2(penalty: Any, beta: Any) -> float:
    """How much of sum(W**2) comes with one sum(|W|)."""
    if penalty is penalties.l1:
        return 0.0
    if penalty is penalties.elastic_net:
        return checks.number(beta, "beta", least=0)
    raise ValueError(
        f"penalty must be penalties.l2, penalties.l1 or penalties.elastic_net, got {penalty!r}; "
        "for another one use training.fit"
    )


def _stacked(*numbers: Any) -> np.ndarray:
    return np.array(numbers)
