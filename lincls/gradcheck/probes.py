"""Where a gradient is probed: coordinates and random directions of every leaf."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls.gradcheck.doors import Tree


class Place(NamedTuple):
    """Where a leaf lies in the flat vector of all parameters."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Probes(NamedTuple):
    """Directions in the flat vector: along one coordinate, or at random inside start..stop."""

    axis: np.ndarray  # (n,) coordinate, -1 for a random direction
    start: np.ndarray  # (n,)
    stop: np.ndarray  # (n,)
    number: np.ndarray  # (n,) of a random direction in its leaf


def places_of(params: Tree) -> list[Place]:
    """Where each leaf lies."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    stops = np.cumsum([leaf.size for _, leaf in leaves])
    return [
        Place(jax.tree_util.keystr(path), leaf.shape, int(stop) - leaf.size, int(stop))
        for (path, leaf), stop in zip(leaves, stops, strict=True)
    ]


def probes_of(key: jax.Array, place: Place, num_coordinates: int, num_directions: int) -> Probes:
    """Distinct coordinates of a leaf, and directions through all of it."""
    # Drawn on the host: a permutation on the device takes longer to compile than the check.
    seed = [*np.asarray(jax.random.key_data(key)).ravel(), place.start]
    size = place.stop - place.start
    axes = np.random.default_rng(seed).permutation(size)[:num_coordinates] + place.start
    axis = np.concatenate([axes, np.full(num_directions, -1)])
    start, stop = (np.full(len(axis), end) for end in (place.start, place.stop))
    return Probes(axis, start, stop, np.arange(len(axis)) - len(axes))


def joined(probes: list[Probes]) -> Probes:
    """The probes of all leaves, one after the other."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *probes)


def direction(key: jax.Array, probe: Any, flat: jax.Array) -> jax.Array:
    """One probe as a vector of length 1 like `flat`."""
    position = jnp.arange(flat.size)
    of_probe = jax.random.fold_in(jax.random.fold_in(key, probe.start), probe.number)
    inside = (probe.start <= position) & (position < probe.stop)
    # Signs rather than normal numbers: every coordinate moves alike, and it compiles fast.
    signs = jnp.where(inside, jax.random.rademacher(of_probe, flat.shape, flat.dtype), 0)
    axis = (position == probe.axis).astype(flat.dtype)
    return jnp.where(probe.axis < 0, signs / jnp.sqrt(jnp.sum(jnp.abs(signs))), axis)


def crossed_kinks(kinks: Callable[[Tree], Tree] | None, ahead: Tree, behind: Tree) -> jax.Array:
    """Whether the argument of a max or abs has another sign at the two points."""
    if kinks is None:
        return jnp.zeros((), bool)
    differ = jax.tree.map(
        lambda a, b: jnp.any(jnp.sign(a) != jnp.sign(b)), kinks(ahead), kinks(behind)
    )
    return jnp.any(jnp.stack(jax.tree.leaves(differ)))
