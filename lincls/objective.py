"""The objective: weighted mean loss + reg * penalty.  The one place where a mean is taken.

    L = sum_i w_i loss(s_i, y_i) / sum_i w_i + reg * R(W)        (slides 36, 41)

`Objective(loss, penalty)` is a pair of functions; their numbers come from `Hyper`.  A third one,
`scores_fn(params, X)`, reads any tree of parameters; by default the scores are W x + b.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import batches, checks, linear, losses, penalties, preprocessing
from lincls.hyper import as_numbers, plain
from lincls.structs import Affine, AnyArray, Examples, Hyper, LinearParams, Params, Parts


class Objective(NamedTuple):
    """What is minimised: `loss(scores, labels, **hyper.loss)`, `penalty(W, **hyper.penalty)`.

    All are module-level functions, so that equal objectives compile once.

    Attributes:
        loss: `(scores (B, C), labels) -> (B,)`.
        penalty: `(W) -> ()`.  It sees W of LinearParams, and the whole tree of other parameters.
        scores_fn: `(params, X (B, D)) -> (B, C)`.  Another one than `linear.scores` takes any tree
            of floating arrays as parameters.
    """

    loss: Callable[..., Any] = losses.softmax
    penalty: Callable[..., Any] = penalties.l2
    scores_fn: Callable[..., Any] = linear.scores


def evaluate(
    objective: Objective, params: Params, batch: Examples, hyper: Hyper
) -> tuple[jax.Array, Parts]:
    """The objective on a batch, and its two parts.

    Args:
        objective: the loss, the penalty and the scores.
        params: W (C, D), b (C,), or what `scores_fn` reads; all else is cast to their dtype.
        batch: X (B, D), y (B,), weight (B,).  Weight 2 counts an example twice.  Weight 0
            leaves it out, even if its features, its loss or its label are no finite numbers.
        hyper: scalars.

    Returns:
        (loss (), Parts(data (), penalty ())).  A batch of zero weight has data loss 0.

    Raises:
        TypeError, ValueError: shapes that do not fit together, a loss that does not return one
            value an example, or a penalty that is not one number.
    """
    checked(objective)
    params = checked_params(objective, params)
    return of_present(objective, params, batches.zero_absent(batch), plain(hyper))


def of_present(
    objective: Objective, params: Params, batch: Examples, hyper: Hyper
) -> tuple[jax.Array, Parts]:
    """As `evaluate`, for a batch that went through `batches.zero_absent`."""
    weight = jnp.asarray(batch.weight, dtype_of(params))
    per_example = example_losses(objective, params, batch._replace(weight=weight), hyper)
    data = weighted_mean(per_example, weight)
    penalty = penalised(objective, params, hyper)
    return data + penalty, Parts(data, penalty)


def example_losses(
    objective: Objective, params: Params, batch: Examples, hyper: Hyper
) -> jax.Array:
    """The loss of each example (B,), at scores of 0 where its weight is 0.

    There 0 times a loss that overflowed would be NaN.

    Raises:
        ValueError, TypeError: weights of another shape than (B,), or such a loss.
    """
    if np.shape(batch.weight) != (len(batch.X),):
        raise ValueError(f"weight must be ({len(batch.X)},), got {np.shape(batch.weight)}")
    scores = jnp.where(batch.weight[:, None] > 0, objective.scores_fn(params, batch.X), 0)
    found = objective.loss(scores, batch.y, **as_numbers(dict(hyper.loss), dtype_of(params)))
    _check_shape(found, (len(batch.X),), "loss(scores, labels)", "one value an example")
    return found


def penalised(objective: Objective, params: Params, hyper: Hyper) -> jax.Array:
    """reg * R(W) of one setting (ValueError, TypeError: a penalty that is not one number)."""
    reg, numbers = as_numbers((hyper.reg, dict(hyper.penalty)), dtype_of(params))
    seen = params.W if isinstance(params, LinearParams) else params
    found = objective.penalty(seen, **numbers)
    _check_shape(found, (), "penalty(W)", "one number")
    return reg * found


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """sum(w * v) / sum(w), and 0 where all weights are 0."""
    total = jnp.sum(weight)
    return jnp.sum(weight * values) / jnp.where(total > 0, total, 1.0)


def dtype_of(params: Params) -> Any:
    """The dtype of the parameters, which is that of all computation."""
    return jax.tree.leaves(params)[0].dtype


def num_features(params: Params) -> int | None:
    """D of LinearParams; None of another tree, which does not say it."""
    return params.W.shape[-1] if isinstance(params, LinearParams) else None


def num_classes(objective: Objective, params: Params, num_features: int) -> int:
    """C, by the shape of the scores of one row.

    Args:
        objective: its `scores_fn` is traced.
        params: of one setting.
        num_features: D.

    Raises:
        TypeError, ValueError: parameters or rows that `scores_fn` does not take; scores that are
            not (B, C).
    """
    if objective.scores_fn is linear.scores:
        return params.W.shape[-2]
    row = jax.ShapeDtypeStruct((1, num_features), dtype_of(params))
    try:
        found = jax.eval_shape(objective.scores_fn, params, row)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        kind = type(error) if isinstance(error, TypeError | ValueError) else TypeError
        raise kind(
            f"objective.scores_fn does not take these params and X (B, {num_features}): {error}"
        ) from error
    shape = getattr(found, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != 1:
        raise ValueError(f"objective.scores_fn(params, X) must be (B, C), got {shape} for B = 1")
    return shape[1]


def checked_params(objective: Objective, params: Any) -> Params:
    """Return LinearParams, or the tree that another `scores_fn` reads (TypeError, ValueError)."""
    if objective.scores_fn is linear.scores:
        return checks.params(params)
    return checks.tree(params)


def labels(
    objective: Objective, y: Any, num_examples: int, num_classes: int, hyper: Hyper
) -> AnyArray:
    """Return what a training compares scores with: integers (N,), or (N, ...) if the loss takes it.

    Labels other than integers (N,) are given to the loss once, with scores of 0: it decides.

    Args:
        y: one entry for each example.
        num_examples, num_classes: N and C.
        hyper: arrays; the loss sees the numbers of the first setting.

    Raises:
        TypeError, ValueError: labels that the loss does not take, by name.
    """
    y = checks.as_array(y, "y")
    if y.shape == (num_examples,) and jnp.issubdtype(y.dtype, jnp.integer):
        return checks.labels(y, num_examples, num_classes, "y")
    first = {name: np.ravel(number)[0] for name, number in hyper.loss.items()}
    try:
        if y.shape[:1] != (num_examples,):
            raise ValueError(f"it must be of {num_examples} examples, got shape {y.shape}")
        objective.loss(np.zeros((num_examples, num_classes), np.float32), y, **first)
    except (TypeError, ValueError) as error:
        raise type(error)(f"y does not suit the loss: {error}") from error
    return y.astype(np.float32) if y.dtype in (np.float64, bool) else y


def checked(objective: Any) -> Objective:
    """Return an objective of two functions (TypeError, with what to give instead)."""
    checks.kind(objective, Objective, "objective", "Objective(losses.softmax, penalties.l2)")
    checks.kind(objective.loss, Callable, "objective.loss", "losses.softmax, a function")
    checks.kind(objective.penalty, Callable, "objective.penalty", "penalties.l2, a function")
    checks.kind(objective.scores_fn, Callable, "objective.scores_fn", "linear.scores, a function")
    return objective


def _check_shape(found: Any, shape: tuple[int, ...], call: str, what: str) -> None:
    if not isinstance(found, jax.Array | np.ndarray | np.generic | float | int):
        raise TypeError(f"{call} must return {what}, got {type(found).__name__}")
    if np.shape(found) != shape:
        raise ValueError(f"{call} must return {what}, shape {shape}, got {np.shape(found)}")


def step_size(
    X: AnyArray, affine: Affine | None, loss: Any, num_classes: int, reg: float | int = 0.0
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
        affine: preprocessing of X; None is none.
        loss: as in `Objective`.
        num_classes: C.
        reg: strength of the L2 penalty.

    Raises:
        TypeError, ValueError: an argument of another kind, by name; features so large that
            their squares overflow.
    """
    X = checks.rows(X)
    checked(Objective(loss))
    sample = X[:: -(-len(X) // 4096)]
    affine = preprocessing.checked(affine, X.shape[1])
    squares = jnp.sum(jnp.square(preprocessing.apply(affine, sample)), axis=1)

    def of_equal(scores: jax.Array) -> jax.Array:
        found = loss(scores, jnp.zeros(1, jnp.int32))
        _check_shape(found, (1,), "loss(scores, labels)", "one value an example")
        return found.sum()

    gradient = jax.grad(of_equal)(
        jnp.zeros((1, checks.count(num_classes, "num_classes")), squares.dtype)
    )
    curvature = jnp.linalg.norm(gradient) * (1 + jnp.mean(squares)) / 3
    rate = float(1 / (curvature + 2 * checks.number(reg, "reg", least=0)))
    if not 0 < rate < np.inf:
        raise ValueError("X has features so large that their squares overflow; scale them by "
                         "affine=preprocessing.fit(X)")  # fmt: skip
    return rate
