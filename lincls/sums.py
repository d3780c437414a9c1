"""Sums over the features of rows, in forms of which XLA makes fast code on a CPU."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

_LANES = 128  # features that are summed side by side, at most
_SLICES = 96  # of the features of a pair, at most; XLA makes slow code of twice as many
_NARROWEST = 32  # of them; a wider one than needed is slow as well


def in_lanes(terms: Array, narrow: Any, dtype: Any) -> Array:
    """Sums of rows (P, D): each lane's terms by 256 in `narrow`, which holds them, then `dtype`.

    Padding costs five times the sums, so lanes and terms are numbers that divide D, if there are.
    """
    lanes = _divisor(terms.shape[1], 32, _LANES) or _LANES
    in_lane = -(-terms.shape[1] // lanes)
    width = lanes * (_divisor(in_lane, 8, 256) or min(256, in_lane))
    terms = jnp.pad(terms, ((0, 0), (0, -terms.shape[1] % width)))
    terms = terms.reshape(terms.shape[0], -1, width // lanes, lanes)
    return jnp.sum(jnp.sum(terms, axis=2, dtype=narrow).astype(dtype), axis=(1, 2), dtype=dtype)


def in_slices(term: Callable[[Array, Array], Array], q: Array, x: Array, dtype: Any) -> Array:
    """Sums of term(q, x) over the features of pairs (P, D): many sums side by side, then theirs.

    Rows of pairs come from all over memory, and slices are read from many places at once, which
    takes half the time of a sum from front to back.
    """
    num_features = x.shape[1]
    width = max(_NARROWEST, 1 << (-(-num_features // _SLICES) - 1).bit_length())
    whole = max(width, num_features // width * width)
    parts = [slice(start, start + width) for start in range(0, whole, width)]
    total = term(q[:, parts[0]], x[:, parts[0]])
    for part in parts[1:]:
        total = total + term(q[:, part], x[:, part])
    total = lax.optimization_barrier(total)  # else XLA sums one feature after the other
    rest = term(q[:, whole:], x[:, whole:])
    return jnp.sum(total, axis=1, dtype=dtype) + jnp.sum(rest, axis=1, dtype=dtype)


def _divisor(number: int, least: int, most: int) -> int:
    """The largest divisor of a number from `least` to `most`, or 0."""
    return next((n for n in range(most, least - 1, -1) if number % n == 0), 0)
