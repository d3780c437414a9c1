"""Random search, the lecture's "strategy 1" (slides 49-50): draw many W, keep the best.

It is here to be beaten.  Draws are evaluated in blocks, so that all parameters of a block
see the data in one pass, as one matrix product.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks, passes, preprocessing
from lincls.hyper import num_settings, plain
from lincls.objective import Objective
from lincls.structs import Affine, AnyArray, Examples, Hyper, LinearParams

_BLOCK = 50  # draws that share a pass over the data


class Search(NamedTuple):
    """What happened: the loss of every draw and the running minimum (the slide's printout)."""

    loss: np.ndarray  # (T,) the objective over all training data
    best: np.ndarray  # (T,) the least so far
    draw: int  # which draw was the best of all


def draw(key: jax.Array, num_features: int, num_classes: int, scale: Any = 1e-4) -> LinearParams:
    """W and b from a normal distribution of standard deviation `scale`: the slide's (C, D + 1)."""
    folded = scale * jax.random.normal(key, (num_classes, num_features + 1))
    return LinearParams(folded[:, :-1], folded[:, -1])


def search(
    key: jax.Array,
    X: AnyArray,
    y: AnyArray,
    *,
    num_classes: int | None = None,
    num_draws: int = 1000,
    scale: float = 1e-4,
    objective: Objective,
    hyper: Hyper | None = None,
    affine: Affine | None = None,
    on_block: Callable[[int, int], Any] | None = None,
) -> tuple[LinearParams, Search]:
    """The best of `num_draws` random parameters by their objective over all of X.

    Args:
        key: draw i is a function of (key, i) alone, so more draws begin with the same ones.
        X, y: images or rows, uint8 or floating; labels (N,).
        num_classes: C, default the greatest label + 1.
        scale: standard deviation of every entry of W and b.
        objective, hyper: what is minimised; no hyper, no penalty.
        affine: preprocessing of X; the lecture's numbers need `preprocessing.mean_image(X)`.
        on_block: called with (draws done, num_draws).

    Returns:
        (params, Search); the parameters act on preprocessed rows (`linear.on_pixels`).

    Source: slides 49-50.
    """
    X = checks.finite(checks.rows(X))
    y = checks.labels(y, len(X), num_classes, "y")
    num_draws = checks.count(num_draws, "num_draws")
    num_classes = int(y.max()) + 1 if num_classes is None else num_classes
    affine = preprocessing.checked(affine, X.shape[1])
    hyper = plain(Hyper({}) if hyper is None else hyper)
    if num_settings(hyper) is not None:
        raise ValueError("a random search takes one setting: the numbers of hyper must be scalars")
    data = jax.tree.map(jnp.asarray, Examples(X, y, np.ones(len(X), np.float32)))
    losses: list[np.ndarray] = []
    for begin in range(0, num_draws, _BLOCK):
        numbers = jnp.arange(begin, begin + _BLOCK, dtype=jnp.int32)
        loss = _losses(key, numbers, scale, data, affine, hyper, objective, num_classes)
        losses.append(np.asarray(loss))
        if on_block is not None:
            on_block(min(begin + _BLOCK, num_draws), num_draws)
    of_draws = np.concatenate(losses)[:num_draws]
    best = int(np.nanargmin(of_draws))
    params = _draw_number(key, jnp.int32(best), scale, X.shape[1], num_classes)
    return params, Search(of_draws, np.fmin.accumulate(of_draws), best)


@partial(jax.jit, static_argnames=("num_features", "num_classes"))
def _draw_number(
    key: jax.Array, number: jax.Array, scale: Any, num_features: int, num_classes: int
) -> LinearParams:
    return draw(jax.random.fold_in(key, number), num_features, num_classes, scale)


@partial(jax.jit, static_argnames=("objective", "num_classes"))
def _losses(
    key: jax.Array,
    numbers: jax.Array,
    scale: Any,
    data: Examples,
    affine: Affine,
    hyper: Hyper,
    objective: Objective,
    num_classes: int,
) -> jax.Array:
    """The objective over all data of the draws with these numbers, (len(numbers),)."""
    params = jax.vmap(
        lambda number: _draw_number(key, number, scale, data.X.shape[1], num_classes)
    )(numbers)
    return passes.objective(objective, params, data, affine, hyper)
