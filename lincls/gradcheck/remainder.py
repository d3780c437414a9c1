"""The second verdict on a gradient: the order in which Taylor's remainder vanishes.

    R(h) = |fn(x + h d) - fn(x) - h g.d|

Where g is the gradient, R falls with h**2 (or faster); where it is not, with h.  Halving h divides
R by 4 or by 2, and nothing between the two has to be tolerated.  Steps are halved until rounding
of fn hides the remainder, and the order is read there, where a mistake shows best.

A function without curvature along d, such as the hinge inside of one linear piece, leaves a
remainder of rounding alone.  That judges nothing.  Steps across a kink are counted apart.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lincls import checks
from lincls.gradcheck.doors import Tree, point_and_gradient
from lincls.gradcheck.probes import (
    Probes,
    crossed_kinks,
    direction,
    joined,
    places_of,
    probes_of,
)

_HALVINGS = 24
_CLEAR = 64  # times its rounding is a remainder whose order can be read
_BETWEEN = 1.5  # orders 1 and 2
_NOISE = 0.5  # an order below this is that of no remainder: fn rounds more than it shows
_LEAST, _MOST = 3, 6  # steps an order is read from


class TaylorLeaf(NamedTuple):
    """The directions through one leaf: judged + crossed + hidden."""

    name: str  # such as ".W"
    judged: int
    crossed: int  # directions without two clear steps on one side of every kink, counted apart
    hidden: int  # directions whose remainder is rounding alone, counted apart
    wrong: int  # judged ones of an order below 1.5
    order: float  # the least order among the judged, NaN if there is none


class TaylorReport(NamedTuple):
    """The verdict of `taylor`; `passed` needs every leaf judged somewhere and wrong nowhere."""

    passed: bool
    leaves: tuple[TaylorLeaf, ...]

    @property
    def verdict(self) -> str:
        """ "agrees", "differs", or "undecided" where a leaf was not judged and none is wrong."""
        if any(leaf.wrong for leaf in self.leaves):
            return "differs"
        return "agrees" if self.passed else "undecided"

    def __str__(self) -> str:
        lines = [f"order of the remainder: the gradient {self.verdict}"]
        lines += [
            f"  {leaf.name or 'x'}: {leaf.judged} directions judged, {leaf.wrong} wrong, "
            f"{leaf.crossed} across a kink, {leaf.hidden} hidden by rounding, least order "
            f"{leaf.order:.2f}"
            for leaf in self.leaves
        ]
        return "\n".join(lines)


def taylor(
    key: jax.Array,
    fn: Callable[[Tree], Any],
    params: Tree,
    grads: Tree | Callable[[Tree], Tree],
    *,
    kinks: Callable[[Tree], Tree] | None = None,
    h: float = 1e-2,
    num_directions: int = 8,
) -> TaylorReport:
    """Judge a gradient by the order of Taylor's remainder along random directions.

    Args:
        key: chooses the directions.
        fn: the function, params -> scalar, in JAX.
        params: the point; any tree of arrays.
        grads: the gradient under test, as a function of params or as a tree like params.  A
            float32 tree is wrong by its rounding, and this verdict says so.
        kinks: params -> the arguments of every max and abs inside fn.
        h: the greatest step, in the units of params; it is halved 24 times.
        num_directions: random directions per leaf, of length 1; each moves the whole leaf.

    Returns:
        TaylorReport.  `assert report.passed, str(report)`.

    Raises:
        TypeError: params that are not real; a function that rounds or returns no scalar.
        ValueError: grads is no tree of the shapes of params; h or a count out of range.

    Source: the Taylor test of dolfin-adjoint (Farrell et al., SIAM J. Sci. Comput. 2013).
    """
    checks.on_host("gradcheck.taylor", "call it outside", key, params)
    checks.key(key)
    h = checks.number(h, "h", above=0)
    checks.count(num_directions, "num_directions")
    with jax.enable_x64(True):
        params, grads = point_and_gradient(fn, params, grads)
        places = places_of(params)
        probes = joined([probes_of(key, place, 0, num_directions) for place in places])
        steps = h * 0.5 ** np.arange(_HALVINGS)
        found = _remainders(key, fn, params, grads, kinks, steps, probes)
    of_leaves = zip(*(part.reshape(len(places), num_directions, -1) for part in found), strict=True)
    leaves = tuple(
        _judged(place.name, *part) for place, part in zip(places, of_leaves, strict=True)
    )
    return TaylorReport(all(leaf.judged and not leaf.wrong for leaf in leaves), leaves)


def _remainders(
    key: jax.Array, fn: Callable[[Tree], Any], params: Tree, grads: Tree, kinks: Any,
    steps: np.ndarray, probes: Probes,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """|R|, how far rounding may move it, and whether a kink was crossed: (probes, steps)."""
    (flat, unravel), gradient = ravel_pytree(params), ravel_pytree(grads)[0]

    def along(start: jax.Array, probe: Probes) -> tuple[jax.Array, ...]:
        way = direction(key, probe, flat)

        def of_step(step: jax.Array) -> tuple[jax.Array, ...]:
            there = unravel(flat + step * way)
            value, slope = fn(there), step * (gradient @ way)
            size = jnp.abs(value) + jnp.abs(start) + jnp.abs(slope)
            crossed = crossed_kinks(kinks, there, unravel(flat))
            return jnp.abs(value - start - slope), size, crossed

        return jax.lax.map(of_step, jnp.asarray(steps))

    @jax.jit
    def all_of(probes: Probes) -> tuple[jax.Array, ...]:
        start = fn(unravel(flat))
        return jax.lax.map(lambda probe: along(start, probe), probes)

    remainder, size, crossed = map(np.asarray, all_of(probes))
    return remainder, 4 * np.finfo(np.float64).eps * size, crossed


def _judged(
    name: str, remainder: np.ndarray, rounding: np.ndarray, crossed: np.ndarray
) -> TaylorLeaf:
    """One leaf, of which every row is a direction."""
    clear = ~(remainder < _CLEAR * rounding) & ~crossed  # NaN is clear, and wrong
    orders = np.array([_order(row[usable]) for row, usable in zip(remainder, clear, strict=True)])
    judged = ~(orders < _NOISE)
    across = (clear.sum(axis=1) < _LEAST) & crossed.any(axis=1)
    wrong = judged & ~(orders >= _BETWEEN)
    least = float(np.nan_to_num(orders[judged]).min()) if judged.any() else np.nan
    num_judged, num_crossed, num_hidden, num_wrong = (
        int(part.sum()) for part in (judged, across, ~judged & ~across, wrong)
    )
    return TaylorLeaf(name, num_judged, num_crossed, num_hidden, num_wrong, least)


def _order(remainders: np.ndarray) -> float:
    """The slope of log R over the last clear halvings of h; 0 where there are too few of them."""
    last = remainders[-_MOST:]
    if len(last) < _LEAST:
        return 0.0
    return float(-np.polyfit(np.arange(len(last)), np.log2(np.maximum(last, 1e-300)), 1)[0])
