"""The linear score function f(x, W, b) = W x + b (slides 26-30), batched.

`LinearParams` acts on the raw data that it was fitted to: training on preprocessed
pixels ends with `on_pixels`, which folds the preprocessing into W and b, so nothing
but (W, b) travels with a model.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped

from lincls import checks, precision
from lincls.structs import Affine, AnyArray, LinearParams


def init(key: jax.Array, num_features: int, num_classes: int, scale: float = 1e-4) -> LinearParams:
    """Draw W from a normal distribution with standard deviation `scale`; b is 0.

    Args:
        key: a typed key, `jax.random.key(0)`.
        num_features: D.
        num_classes: C.
        scale: 1e-4 as on slide 49; 0 starts at zero.

    Returns:
        LinearParams of the default floating dtype, W (C, D) and b (C,).

    Raises:
        TypeError, ValueError: an argument of another kind, by name.
    """
    checks.count(num_features, "num_features")
    checks.count(num_classes, "num_classes")
    scale = precision.number(scale, "scale", least=0)
    W = scale * jax.random.normal(checks.key(key), (num_classes, num_features))
    return LinearParams(W, jnp.zeros((num_classes,), W.dtype))


@precision.in_float64
def scores(params: LinearParams, X: Shaped[AnyArray, "N ..."]) -> Float[jax.Array, "*G N C"]:
    """Scores of every class, W x + b for each row x of X, in the dtype of the parameters.

    Args:
        params: W (C, D) and b (C,), or (G, C, D) and (G, C) of a grid.
        X: rows (N, D) or images (N, H, W, C), uint8 or floating.

    Returns:
        (N, C), or (G, N, C).  Where W or X is a float64 host array, the sums are float64.

    Raises:
        TypeError, ValueError: params or X of another kind or shape, by name.

    Source: slides 28-30.
    """
    W, b = map(jnp.asarray, checks.params(params))
    X = jnp.asarray(checks.rows(X, num_features=W.shape[-1])).astype(W.dtype)
    return X @ W.swapaxes(-1, -2) + b[..., None, :]


def predict(params: LinearParams, images: AnyArray) -> Int[jax.Array, "*G N"]:
    """The class of the greatest score, int32; equal scores go to the smaller label.

    Args:
        params: W (C, D) and b (C,), or (G, C, D) and (G, C) of a grid.
        images: (N, H, W, channels) or rows (N, D), uint8 or floating.

    Returns:
        (N,), or (G, N).  Under a caller's own `jit`, where it cannot be refused, an example
        whose greatest score is not finite has label -1.

    Raises:
        TypeError, ValueError: as `scores`; NaN or infinity in images or scores.
    """
    params = checks.params(params)
    X = checks.rows(images, "images", params.W.shape[-1])
    found = _predict(params, X)
    if checks.is_concrete(found) and (np.asarray(found) < 0).any():
        checks.finite(X, "images")
        raise ValueError("params and images give scores that are NaN or infinite")
    return found


def probabilities(params: LinearParams, X: AnyArray) -> Float[jax.Array, "N C"]:
    """Softmax of the scores, e^{s_k} / sum_j e^{s_j} (slide 43); rows sum to 1.

    Arguments as `scores`; (N, C), or (G, N, C).
    """
    return jax.nn.softmax(scores(params, X), axis=-1)


def on_pixels(params: LinearParams, affine: Affine) -> LinearParams:
    """Fold the preprocessing x -> (x - shift) * scale into the parameters.

    W' = W * scale and b' = b - W' shift, so scores(params', x) = scores(params, x'),
    up to rounding.  Leading axes (a grid) are kept.

    Raises:
        TypeError, ValueError: params or affine of another kind or shape, by name.
    """
    params = checks.params(params)
    affine = checks.affine(affine, params.W.shape[-1])
    xp = np if all(isinstance(leaf, np.ndarray) for leaf in (*params, affine.shift)) else jnp
    shift, scale = (xp.asarray(number, params.W.dtype) for number in affine)
    W = params.W * scale
    return LinearParams(W, params.b - W @ shift)


def fold_bias(params: LinearParams) -> Float[jax.Array, "C D1"]:
    """The bias trick: [W | b], (C, D + 1), to act on rows that end in a 1 (slide 49's 3073)."""
    params = checks.params(params)
    return jnp.concatenate([params.W, jnp.asarray(params.b)[..., None]], axis=-1)


def templates(params: LinearParams, shape: tuple[int, ...]) -> np.ndarray:
    """The rows of W as images in 0..1, (C, *shape), for showing (slide 30).

    Each row is scaled by its own greatest absolute weight; 0.5 is a weight of zero.
    """
    W = np.asarray(checks.params(params).W, np.float64)
    _check_single(W)
    greatest = np.abs(W).max(axis=1, keepdims=True)
    scaled = np.divide(W, greatest, out=np.zeros_like(W), where=greatest > 0)
    return (0.5 + 0.5 * scaled).reshape(-1, *shape)


def _check_single(W: AnyArray) -> None:
    if W.ndim != 2:
        raise ValueError(
            f"params.W must be (C, D), got {W.shape}; of a grid take setting g by "
            "jax.tree.map(lambda p: p[g], params)"
        )


@precision.in_float64
@jax.jit
def _predict(params: LinearParams, X: AnyArray) -> jax.Array:
    found = scores(params, X)
    labels = jnp.argmax(found, axis=-1).astype(jnp.int32)
    return jnp.where(jnp.isfinite(jnp.max(found, axis=-1)), labels, -1)
