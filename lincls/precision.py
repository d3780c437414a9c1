"""Numbers that have to survive the way to the working precision.

JAX computes in float32 unless told otherwise.  What a float64 array holds may overflow there,
vanish, or lose its differences: then it is refused by name, or computed in float64.
"""

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lincls import checks
from lincls.structs import AnyArray, AnyRows, Sharded

Function = TypeVar("Function", bound=Callable[..., Any])
_FAR = 1e5  # standard deviations from 0 at which float32 keeps two digits of a difference
_ROUNDING_OF_64 = 1e-12
_SAMPLE = 512  # rows of which the mean and the deviation are looked at


def survives(x: AnyArray, name: str, dtype: Any = np.float32) -> AnyArray:
    """Return finite numbers that neither overflow nor all vanish in `dtype` (ValueError)."""
    _check_range(checks.greatest(x, name), name, dtype)
    return x


def number(value: Any, name: str, **bounds: float | int) -> Any:
    """Return one finite number that float32 holds, as `checks.number` (TypeError, ValueError)."""
    value = checks.number(value, name, **bounds)
    if checks.is_concrete(value):
        _check_range(abs(value), name, np.float32)
    return value


def _check_range(greatest: float, name: str, dtype: Any) -> None:
    limits = jnp.finfo(dtype)
    if greatest > float(limits.max) or 0 < greatest < float(limits.tiny):
        raise ValueError(
            f"{name} holds {greatest:.3g}, which {jnp.dtype(dtype)} cannot; "
            f"use {name} * 2.0**{-math.frexp(greatest)[1]}"
        )


def in_range(X: AnyRows, name: str = "X", dtype: Any = np.float32, weight: Any = None) -> Any:
    """Return finite rows (N, D) that `dtype` holds.  Those of weight 0 become 0 if they overflow.

    Raises:
        ValueError: NaN, infinity, or numbers that overflow or all vanish in `dtype`.
    """
    greatest = checks.greatest(X, name)
    overflows = greatest > float(jnp.finfo(dtype).max)
    if weight is not None and overflows and not isinstance(X, Sharded):
        there = np.asarray(weight).reshape(-1, len(X)).any(axis=0, keepdims=True)
        X = np.where(there.T, np.asarray(X), 0)
        greatest = checks.greatest(X, name)
    _check_range(greatest, name, dtype)
    return X


def working(X: AnyRows, name: str = "X", dtype: Any = np.float32, weight: Any = None) -> Any:
    """Return finite rows (N, D) that survive in `dtype`, the precision of a training.

    Raises:
        ValueError: what `in_range` refuses, and float64 rows whose differences would be lost.
    """
    X = in_range(X, name, dtype, weight)
    if isinstance(X, Sharded):
        if X.dtype.itemsize > jnp.dtype(dtype).itemsize:
            raise ValueError(f"{name} is {X.dtype} and the training {jnp.dtype(dtype)}; shard "
                             f"{name}.astype(np.{jnp.dtype(dtype)})")  # fmt: skip
        return X
    if X.dtype == np.float64 and jnp.dtype(dtype) != np.float64 and checks.is_concrete(X):
        sample = np.asarray(X[:: -(-len(X) // _SAMPLE)])
        digits(sample.mean(axis=0), sample.var(axis=0), name)
    return X


def digits(mean: np.ndarray, variance: np.ndarray, name: str = "X") -> None:
    """ValueError where float32, 6e-8 of the value, has few digits left of the differences."""
    deviation = np.sqrt(variance)
    varies = deviation > _ROUNDING_OF_64 * np.abs(mean)  # else it is a constant
    far = varies & (np.abs(mean) > _FAR * deviation)
    if far.any():
        worst = int(far.argmax())
        raise ValueError(
            f"{name} is float64 and its feature {worst} lies at {mean[worst]:.3g} with a standard "
            f"deviation of only {deviation[worst]:.3g}, whose digits float32 does not hold; use "
            f"{name} - {name}.mean(axis=0), and subtract the same numbers before predicting"
        )


def in_float64(fn: Function) -> Function:
    """Decorator: run `fn` in float64 where JAX would narrow an argument, a float64 host array.

    Results keep the dtypes that they would have without it.  Tracers are left as they are.
    """

    @functools.wraps(fn)
    def wide(*args: Any, **kw: Any) -> Any:
        leaves = jax.tree.leaves((args, kw))
        if not all(map(_is_number, leaves)) or not any(map(_is_narrowed, leaves)):
            return fn(*args, **kw)
        narrow = jax.eval_shape(fn, *args, **kw)
        with jax.enable_x64(True):
            args, kw = jax.tree.map(_doubled, (args, kw))
            return jax.tree.map(lambda x, like: x.astype(like.dtype), fn(*args, **kw), narrow)

    return wide  # type: ignore[return-value]


def _is_number(x: Any) -> bool:
    """Whether JAX could take it, and its values are known: the door refuses the rest."""
    is_array = isinstance(x, AnyArray) and not np.ma.isMaskedArray(x)
    return checks.is_concrete(x) and (is_array or isinstance(x, float) or _is_small(x))


def _is_small(x: Any) -> bool:
    return isinstance(x, int) and abs(x) < 2**31


def _is_narrowed(x: Any) -> bool:
    is_double = isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.dtype.itemsize == 8
    return is_double and jnp.result_type(float) != np.float64


def _doubled(x: Any) -> Any:
    is_floating = isinstance(x, AnyArray) and jnp.issubdtype(x.dtype, jnp.floating)
    return jnp.asarray(np.asarray(x, np.float64)) if is_floating else x


def lifted(X: jax.Array) -> jax.Array:
    """Rows (N, D) of very small numbers times a power of two: XLA takes numbers below `tiny` for 0.

    Such a number is a fraction in units of the least one, so it is made from its bits.
    """
    info, half = jnp.finfo(X.dtype), -int(jnp.finfo(X.dtype).minexp) // 2
    with jax.enable_x64(True) if info.bits == 64 else contextlib.nullcontext():
        bits = lax.bitcast_convert_type(X, jnp.int64 if info.bits == 64 else jnp.int32)
        exponents = (bits >> info.nmant) & (2**info.nexp - 1)
        fractions = (bits & (2**info.nmant - 1)).astype(X.dtype)
        least = jnp.where(bits < 0, -fractions, fractions) * 2.0 ** (
            half + info.minexp - info.nmant
        )
        large = jnp.where(exponents == 0, least, X * 2.0**half)
        return jnp.where(jnp.max(exponents, axis=1, keepdims=True) < half, large, X)
