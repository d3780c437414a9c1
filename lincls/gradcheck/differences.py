"""Is this gradient the slope of that function?  By difference quotients (slides 51-57).

Numerical gradients are slow, approximate and easy; analytic ones exact, fast and
error-prone.  `numerical_gradient` is the slide's `eval_numerical_gradient`, or its centred
form.  `check` compares a gradient with centred differences on sampled coordinates of every
leaf and along random directions through every leaf, with a tolerance per comparison: it
does not grow with the size of the arrays.

Rounding.  A difference quotient is known to about 16 eps |fn| / 2h.  Where that hides the
slopes of a leaf, nothing was judged: raise h, or leave large constants out of fn.

Everything runs in float64 in a scope of its own, whatever the caller's precision: in
float32 no step size tells a wrong gradient from rounding.  Functions follow the dtype of
their parameters, as all of lincls does.

Kinks.  Across the bend of a max or an absolute value a difference quotient mixes two
slopes, and a right gradient looks wrong.  `kinks(params)` returns the arguments of every
max and abs (`losses.hinge_kinks`, `penalties.l1_kinks`); a comparison whose two sides
differ in any of their signs is counted apart, not judged.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lincls import checks
from lincls.gradcheck.doors import Tree, check_function, point_and_gradient, to_float64
from lincls.gradcheck.probes import (
    Place,
    Probes,
    crossed_kinks,
    direction,
    joined,
    places_of,
    probes_of,
)

_SEEN = 1e-3  # a leaf is judged where rounding is at most this share of its greatest slope
_BLOCK = 16  # function evaluations that are vectorised together


class LeafReport(NamedTuple):
    """The comparisons on one leaf, of coordinates and directions: judged + crossed + hidden."""

    name: str  # such as ".W"
    judged: int
    crossed: int  # comparisons that met a kink, counted apart
    wrong: int  # judged ones whose relative error exceeds rtol
    max_error: float  # the greatest relative error among the judged
    worst: str  # where it was: "[3, 17]" or "direction 2"; "" if none was judged
    hidden: int = 0  # comparisons in which rounding of fn hides the slope, counted apart


class GradReport(NamedTuple):
    """The verdict of `check`; `passed` needs every leaf judged somewhere and wrong nowhere."""

    passed: bool
    leaves: tuple[LeafReport, ...]
    h: float
    rtol: float

    def __str__(self) -> str:
        lines = [f"gradient check {'passed' if self.passed else 'FAILED'}"]
        lines += [
            f"  {leaf.name or 'x'}: {leaf.judged} compared, {leaf.wrong} wrong, {leaf.crossed} "
            f"across a kink, {leaf.hidden} hidden by rounding, max relative error "
            f"{leaf.max_error:.1e} at {leaf.worst or '-'}"
            for leaf in self.leaves
        ]
        return "\n".join(lines)


def numerical_gradient(
    fn: Callable[[Tree], Any], x: Tree, h: float = 1e-5, centred: bool = True
) -> Tree:
    """The gradient of fn at x by differences, every coordinate, in float64.

        centred:  (fn(x + h e) - fn(x - h e)) / 2h      error of order h**2
        forward:  (fn(x + h e) - fn(x)) / h             error of order h, the lecture's

    Args:
        fn: a JAX function of a tree like x, returning a scalar.
        x: an array or a tree of arrays (numpy or JAX), P numbers in all.
        h: step, in the units of x.
        centred: which of the two.

    Returns:
        A tree like x of float64 numpy arrays.  It costs 2 P evaluations (P + 1 forward),
        vectorised in blocks of 16.

    Raises:
        TypeError, ValueError: x that is not real; a function that rounds or returns no scalar.

    Source: slides 51-55, `eval_numerical_gradient` (whose h is 1e-5; its tables use 1e-4).
    """
    checks.on_host("numerical_gradient", "call it outside", x)
    h = checks.number(h, "h", above=0)
    with jax.enable_x64(True):
        x = to_float64(x, "x")
        check_function(fn, x)
        flat, unravel = ravel_pytree(x)

        def slope(index: jax.Array) -> jax.Array:
            step = jnp.zeros_like(flat).at[index].set(h)
            if centred:
                return (fn(unravel(flat + step)) - fn(unravel(flat - step))) / (2 * h)
            return (fn(unravel(flat + step)) - fn(unravel(flat))) / h

        (slopes,) = _mapped(lambda index: (slope(index),), np.arange(flat.size))
        return jax.tree.map(np.asarray, unravel(jnp.asarray(slopes)))


def relative_error(a: Any, b: Any, floor: float = 1e-12) -> np.ndarray:
    """|a - b| / max(|a|, |b|, floor), elementwise, in float64; 0 where both are 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), floor)


def check(
    key: jax.Array,
    fn: Callable[[Tree], Any],
    params: Tree,
    grads: Tree | Callable[[Tree], Tree],
    *,
    kinks: Callable[[Tree], Tree] | None = None,
    h: float = 1e-5,
    rtol: float = 1e-6,
    num_coordinates: int = 128,
    num_directions: int = 8,
) -> GradReport:
    """Compare a gradient with centred differences of fn, leaf by leaf.

    Args:
        key: chooses coordinates and directions.
        fn: the function, params -> scalar, in JAX.
        params: the point; any tree of arrays.
        grads: the gradient under test, as a function of params (called in float64, such
            as `jax.grad(fn)` or one written by hand), or as a tree like params.
            A float32 tree carries its own rounding: give it rtol=1e-4.
        kinks: params -> the arguments of every max and abs inside fn.
        h: step, in the units of params.  The scores move by h times a feature: with raw
            pixels 0..255 take 1e-7.
        rtol: greatest relative error |a - n| / max(|a|, |n|, floor), in (0, 1); the floor is
            where rounding of fn itself, 8 eps |fn| / h = 1.8e-15 |fn| / h, would reach rtol.
        num_coordinates: compared per leaf, drawn without replacement (all, if fewer).
        num_directions: random directions per leaf; each sees every coordinate of the leaf.

    Returns:
        GradReport.  `assert report.passed, str(report)`.

    Raises:
        TypeError: params that are not real; a function that rounds or returns no scalar.
        ValueError: grads is no tree of the shapes of params; h, rtol or a count out of range.

    Source: slides 56-57.
    """
    checks.on_host("gradcheck.check", "call it outside", key, params)
    checks.key(key)
    h, rtol = checks.number(h, "h", above=0), checks.number(rtol, "rtol", above=0, below=1)
    checks.count(num_directions, "num_directions", 0)
    checks.count(num_coordinates, "num_coordinates", 0 if num_directions else 1)
    with jax.enable_x64(True):
        params, grads = point_and_gradient(fn, params, grads)
        places = places_of(params)
        probes = [probes_of(key, place, num_coordinates, num_directions) for place in places]
        compared = _Compared(*_compare(key, fn, params, grads, kinks, h, joined(probes)))
    ends = np.cumsum([len(probe.axis) for probe in probes])[:-1]
    of_leaves = [
        _Compared(*part) for part in zip(*(np.split(c, ends) for c in compared), strict=True)
    ]
    least = rtol * _greatest_slope(compared)
    parts = zip(places, probes, of_leaves, strict=True)
    reports = tuple(_leaf_report(*part, rtol, least) for part in parts)
    passed = all(leaf.judged > 0 and leaf.wrong == 0 for leaf in reports)
    return GradReport(passed, reports, h, rtol)


class _Compared(NamedTuple):
    """The slope of fn along every probe against the gradient under test."""

    difference: np.ndarray  # (n,) |analytic - numeric|
    slope: np.ndarray  # (n,) the greater of |analytic| and |numeric|
    rounding: np.ndarray  # (n,) how far rounding of fn may move the numeric one
    crossed: np.ndarray  # (n,) whether the step crossed a kink


def _compare(
    key: jax.Array,
    fn: Callable[[Tree], Any],
    params: Tree,
    grads: Tree,
    kinks: Callable[[Tree], Tree] | None,
    h: float,
    probes: Probes,
) -> list[np.ndarray]:
    """The fields of `_Compared` along every probe."""
    (flat, unravel), gradient = ravel_pytree(params), ravel_pytree(grads)[0]

    def compare(probe: Probes) -> tuple[jax.Array, ...]:
        step = direction(key, probe, flat)
        ahead, behind = unravel(flat + h * step), unravel(flat - h * step)
        value = fn(ahead)
        numeric, analytic = (value - fn(behind)) / (2 * h), gradient @ step
        rounding = 16 * jnp.finfo(flat.dtype).eps * jnp.abs(value) / (2 * h)
        slope = jnp.maximum(jnp.abs(analytic), jnp.abs(numeric))
        return jnp.abs(analytic - numeric), slope, rounding, crossed_kinks(kinks, ahead, behind)

    return _mapped(compare, probes)


def _mapped(fn: Callable[[Any], Any], arguments: Tree) -> list[np.ndarray]:
    """fn of every row of the arguments, in whole blocks: one block is compiled, no remainder."""
    count = len(jax.tree.leaves(arguments)[0])
    padded = jax.tree.map(lambda a: np.pad(a, (0, -count % _BLOCK), "edge"), arguments)
    results = jax.jit(lambda rows: jax.lax.map(fn, rows, batch_size=_BLOCK))(padded)
    return [np.asarray(result)[:count] for result in results]


def _leaf_report(
    place: Place, probes: Probes, found: _Compared, rtol: float, least: float
) -> LeafReport:
    error = found.difference / np.maximum(found.slope, found.rounding / rtol + 1e-300)
    # Not (error <= rtol) rather than error > rtol: a NaN is wrong.
    wrong = ~found.crossed & ~(error <= rtol)
    seen = found.rounding <= max(_SEEN * _greatest_slope(found), least)
    judged = wrong | (~found.crossed & seen)
    hidden = int((~found.crossed & ~judged).sum())
    if not judged.any():
        return LeafReport(place.name, 0, int(found.crossed.sum()), 0, 0.0, "", hidden)
    ranked = np.where(judged, np.nan_to_num(error, nan=np.inf), -1.0)
    worst = int(ranked.argmax())
    return LeafReport(
        place.name, int(judged.sum()), int(found.crossed.sum()), int(wrong.sum()),
        float(ranked[worst]), _named(place, probes, worst), hidden,
    )  # fmt: skip


def _greatest_slope(found: _Compared) -> float:
    return float(np.nan_to_num(np.where(found.crossed, 0, found.slope)).max())


def _named(place: Place, probes: Probes, i: int) -> str:
    """Where a probe looked: "[3, 17]" or "direction 2"."""
    if probes.axis[i] < 0:
        return f"direction {probes.number[i]}"
    index = np.unravel_index(probes.axis[i] - place.start, place.shape)
    return f"[{', '.join(map(str, index))}]"
