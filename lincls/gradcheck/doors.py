"""What both checks of a gradient ask of a function, of its parameters and of its gradient."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks

Tree = Any


def point_and_gradient(
    fn: Callable[[Tree], Any], params: Tree, grads: Tree | Callable[[Tree], Tree]
) -> tuple[Tree, Tree]:
    """Parameters and gradient in float64, once they and fn fit together (TypeError, ValueError)."""
    params = to_float64(params, "params")
    check_function(fn, params)
    grads = to_float64(grads(params) if callable(grads) else grads, "grads")
    _check_alike(params, grads)
    return params, grads


def to_float64(tree: Tree, name: str) -> Tree:
    """A tree of real numbers in float64 (TypeError)."""

    def double(path: Any, leaf: Any) -> jax.Array:
        return jnp.asarray(checks.floats(leaf, name + jax.tree_util.keystr(path)), jnp.float64)

    if not any(map(np.size, jax.tree.leaves(tree))):
        raise TypeError(f"{name} must hold numbers, got {checks.shown(tree)}")
    return jax.tree_util.tree_map_with_path(double, tree)


def check_function(fn: Callable[[Tree], Any], x: Tree) -> None:
    """TypeError unless fn maps float64 to one float64 number, in float64 all the way."""
    checks.kind(fn, Callable, "fn", "lambda params: loss(params), a function")
    program = jax.make_jaxpr(fn)(x)
    shapes = [value.shape for value in program.out_avals]
    if shapes != [()]:
        raise TypeError(f"fn must return one number, shape (), got {shapes}; sum or index it")
    if rounded := _rounded_to(program.jaxpr):
        raise TypeError(
            f"fn rounds to {rounded}, which hides its slope; let it follow the dtype of its "
            "argument, which is float64 here"
        )


def _rounded_to(program: Any) -> str:
    """The narrower floating dtype that a program turns float64 into, "" if there is none."""
    for step in program.eqns:
        if step.primitive.name in ("convert_element_type", "reduce_precision"):
            given, made = step.invars[0].aval.dtype, step.outvars[0].aval.dtype
            if given == np.float64 and jnp.issubdtype(made, jnp.floating) and made != given:
                return str(made)
        inner = [
            getattr(part, "jaxpr", part) for part in jax.tree.leaves(list(step.params.values()))
        ]
        for part in inner:
            if hasattr(part, "eqns") and (rounded := _rounded_to(part)):
                return rounded
    return ""


def _check_alike(params: Tree, grads: Tree) -> None:
    """ValueError unless a gradient has the shapes of the parameters."""
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (params, grads)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"grads must be shaped like params, {shapes[0]}, got {shapes[1]}")
