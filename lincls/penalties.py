"""Penalties on the weights, and the projections that take their place.

A penalty is `penalty(W, **numbers) -> ()`; the objective multiplies it by the strength
`reg` (lambda on slide 41).  No one half anywhere, and the bias is never penalised.
A penalty of your own is a function of the same form.

`soft_threshold` and `max_norm` are functions `(W, amount) -> W` for
`optimizers.proximal`: they enforce what a penalty only asks for.  With them the
objective's penalty is `none`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from lincls import checks
from lincls.structs import AnyArray


def none(W: Float[AnyArray, "C D"]) -> Float[jax.Array, ""]:
    """No penalty: R(W) = 0."""
    return jnp.zeros((), _weights(W).dtype)


def l2(W: Float[AnyArray, "C D"]) -> Float[jax.Array, ""]:
    """R(W) = sum of W**2 (slide 41; without one half, so its gradient is 2 W)."""
    return jnp.sum(jnp.square(_weights(W)))


def l1(W: Float[AnyArray, "C D"]) -> Float[jax.Array, ""]:
    """R(W) = sum of |W| (slide 41), with subgradient 0 where a weight is exactly 0."""
    return jnp.sum(_abs(_weights(W)))


def elastic_net(W: Float[AnyArray, "C D"], beta: Any = 1.0) -> Float[jax.Array, ""]:
    """R(W) = sum of (beta * W**2 + |W|) (slide 41); beta = 0 is `l1`."""
    W = _weights(W)
    return jnp.sum(_like(beta, "beta", W) * jnp.square(W) + _abs(W))


def l1_kinks(W: Float[AnyArray, "C D"]) -> Float[AnyArray, "C D"]:
    """The arguments of every |.| in `l1` and `elastic_net`: W itself."""
    return _weights(W)


def soft_threshold(W: Float[AnyArray, "C D"], amount: Any) -> Float[jax.Array, "C D"]:
    """Proximal map of amount * |W|: sign(W) * max(|W| - amount, 0); small weights become 0.

    It minimises amount * sum|V| + 1/2 * sum(V - W)**2 over V (Parikh and Boyd,
    Proximal Algorithms, 2014, section 6.5.2).
    """
    W = _weights(W)
    return jnp.sign(W) * jax.nn.relu(jnp.abs(W) - _like(amount, "amount", W))


def max_norm(W: Float[AnyArray, "C D"], radius: Any) -> Float[jax.Array, "C D"]:
    """Scale every class row whose Euclidean norm exceeds `radius` back onto that radius.

    Source: slide 41; Srebro and Shraibman 2005, Srivastava et al. 2014 (constraint per row).
    """
    W = _weights(W)
    radius = _like(radius, "radius", W)
    squares = jnp.sum(jnp.square(W), axis=-1, keepdims=True)
    too_long = squares > radius**2
    norm = jnp.sqrt(jnp.where(too_long, squares, 1.0))  # no 0 / 0 in value or gradient
    return jnp.where(too_long, W * (radius / norm), W)


def _weights(W: Any) -> AnyArray:
    """W (C, D), or with leading axes, as floats (TypeError, ValueError)."""
    W = checks.floats(W, "W")
    if W.ndim < 2:
        raise ValueError(f"W must have shape (C, D), got {W.shape}")
    return W


def _like(number: Any, name: str, W: AnyArray) -> jax.Array:
    """One real number in the dtype of W (TypeError, ValueError)."""
    number = checks.floats(number, name)
    if number.ndim:
        raise ValueError(f"{name} must be one number, got shape {number.shape}")
    return jnp.asarray(number, W.dtype)


def _abs(W: Float[AnyArray, "C D"]) -> Float[jax.Array, "C D"]:
    # The gradient of jnp.abs at 0 is 1, which would push every weight that starts at zero.
    return jnp.where(W == 0, 0.0, jnp.abs(W))
