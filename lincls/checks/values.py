"""Checks of single values: numbers, functions, keys, and what can be looked at."""

import numbers
import operator
import os
from typing import Any

import jax
import numpy as np

from lincls.structs import AnyArray

_MOST = 2**31 - 1  # JAX counts in 32 bits
_USED_BY = list[int]()  # the process that was the first to call a verb


def shown(value: Any) -> str:
    """A value as an error shows it: its kind alone where its text is long."""
    text = repr(value)
    return text if len(text) <= 80 else type(value).__name__


def is_concrete(x: Any) -> bool:
    """Whether the values of `x` can be looked at (it is not a tracer of jit, grad or vmap)."""
    return not isinstance(x, jax.core.Tracer)


def concrete(x: Any, name: str) -> Any:
    """Return what is no tracer of jit, grad or vmap (TypeError): its values will be looked at."""
    if not is_concrete(x):
        raise TypeError(f"{name} must hold values; call this outside of jit, grad and vmap")
    return x


def number(
    value: Any, name: str, *,
    least: float | int = -np.inf, above: float | int = -np.inf, below: float | int = np.inf,
) -> Any:  # fmt: skip
    """Return one real number between the given ones as float (TypeError, ValueError)."""
    if not is_concrete(value):
        return value
    if isinstance(value, AnyArray) and value.ndim == 0 and not is_key(value):
        value = value.item()
    if isinstance(value, bool | np.bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be one number, got {shown(value)}")
    value = float(value)
    if not (value >= least and above < value < below):
        bounds = {"at least": least, "greater than": above, "less than": below}
        wanted = " and ".join(f"{k} {v:g}" for k, v in bounds.items() if np.isfinite(v))
        raise ValueError(f"{name} must be {wanted or 'finite'}, got {value}")
    return value


def positive(reg: Any) -> float:
    """Return a strength greater than 0 as float (TypeError, ValueError)."""
    if not number(reg, "reg") > 0:
        raise ValueError(
            f"reg must be one number greater than 0, got {reg}: without it there is no optimum"
        )
    return float(reg)


def floating(dtype: Any, name: str = "dtype") -> np.dtype:
    """Return a dtype of real numbers (TypeError for anything else)."""
    try:
        found = np.dtype(dtype)
        if dtype is not None and jax.dtypes.issubdtype(found, np.floating):
            return found
    except TypeError:
        pass
    raise TypeError(f"{name} must be floating, such as np.float32, got {shown(dtype)}")


def share(value: Any, name: str) -> np.ndarray:
    """Return numbers in [0, 1) as float64 (ValueError)."""
    shares = np.asarray(value, np.float64)
    if not np.all((shares >= 0) & (shares < 1)):
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value}")
    return shares


def count(value: Any, name: str, low: int = 1, high: int | None = None) -> int:
    """Return a whole number `low <= value <= high` as int (TypeError, ValueError)."""
    try:
        whole = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a whole number, got {shown(value)}") from error
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value}")
    most = _MOST if high is None else high
    if not low <= whole <= most:
        upper = "" if high is None and whole < low else f" and at most {most}"
        raise ValueError(f"{name} must be at least {low}{upper}, got {whole}")
    return whole


def counts(values: Any, name: str, high: int | None = None) -> list[int]:
    """Return a list of whole numbers, each at least 1 and at most `high`, at least one of them."""
    if not hasattr(values, "__iter__") or getattr(values, "ndim", 1) == 0:
        raise TypeError(
            f"{name} must be a list of whole numbers, such as [1, 5], got {shown(values)}"
        )
    values = [count(value, name, high=high) for value in values]
    if not values:
        raise ValueError(f"{name} must hold at least one number, got []")
    return values


def kind(value: Any, of: Any, name: str, example: str) -> None:
    """TypeError unless `value` is of a type, with an example of what to give."""
    if not isinstance(value, of):
        raise TypeError(f"{name} must be such as {example}, got {shown(value)}")


def function(value: Any, name: str, *, needed: bool = False) -> Any:
    """Return a function, or None unless it is needed (TypeError)."""
    if not callable(value) and (needed or value is not None):
        raise TypeError(f"{name} must be a function, got {shown(value)}")
    return value


def is_key(x: Any) -> bool:
    """Whether x is a typed key, or an array of them."""
    return jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.prng_key)


def key(key: Any) -> jax.Array:
    """Return one typed key of JAX's random numbers (TypeError, ValueError)."""
    if not is_key(key):
        raise TypeError(f"key must be a typed key such as jax.random.key(0), got {shown(key)}")
    if key.shape != ():
        raise ValueError(f"key must be one key, got {key.shape} of them; take key[0]")
    return key


def on_host(verb: str, instead: str, *arguments: Any) -> None:
    """TypeError if a leaf of the arguments is a tracer, because `verb` works on the host.

    RuntimeError in a forked child of a process that called such a verb: the threads of JAX are
    not there, and the child would wait for them for ever.
    """
    if not _USED_BY:
        _USED_BY.append(os.getpid())
    if _USED_BY[0] != os.getpid():
        raise RuntimeError(
            f"{verb} cannot run in a process that was forked after JAX was used; start processes "
            'with multiprocessing.get_context("spawn")'
        )
    if not all(is_concrete(leaf) for leaf in jax.tree.leaves(arguments)):
        raise TypeError(f"{verb} cannot run inside jit, grad or vmap; {instead}")
