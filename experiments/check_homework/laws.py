"""Checks that need no right answer, such as: a mean does not change when all examples stand twice.

A law takes `call(arguments) -> parts` and arguments, and returns "" or a sentence of what it saw.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.check_homework.roles import VALUE, Arguments, Parts

Call = Callable[[Arguments], Parts]
STEP = 1e-5


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal up to the rounding of float32."""
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)


def differences(call: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """The numerical gradient, by centred differences."""
    slopes = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = STEP
        slopes[place] = (call(x + step) - call(x - step)) / (2 * STEP)
    return slopes


def doubled(call: Call, arguments: Arguments) -> str:
    """A mean over the batch stays when every example stands twice."""
    of_data = arguments | ({"reg": 0.0} if "reg" in arguments else {})
    once, twice = (float(call(a)["loss"]) for a in (of_data, _repeated(of_data)))
    if near(np.array(once), np.array(twice)):
        return ""
    is_of_n = any(near(np.array(times * once), np.array(twice)) for times in (2.0, 0.5))
    return (
        f"With every example twice the loss goes from {once:.5g} to {twice:.5g}: a mean stays."
        + (" Divide the sum by N, once." if is_of_n else "")
    )


def order_of_rows(call: Call, arguments: Arguments) -> str:
    """The loss does not depend on the order of the examples."""
    turned = arguments | {name: arguments[name][::-1].copy() for name in ("X", "y")}
    before, after = (float(call(a)["loss"]) for a in (arguments, turned))
    if near(np.array(before), np.array(after)):
        return ""
    return f"Examples in reverse order change the loss from {before:.5g} to {after:.5g}."


def slope(call: Call, arguments: Arguments) -> str:
    """The gradient is the numerical one of the function's own loss."""
    found = call(arguments)
    if "gradient" not in found:
        return ""

    def loss(W: np.ndarray) -> float:
        return float(call(arguments | {"W": W})["loss"])

    expected = differences(loss, arguments["W"])
    if near(found["gradient"], expected):
        return ""
    return "The gradient is not that of its own loss: " + difference(
        "gradient", expected, found["gradient"], "numerically"
    )


def constant(call: Call, arguments: Arguments) -> str:
    """Adding a number to all scores of a row changes no loss."""
    moved = arguments | {"scores": arguments["scores"] + 3.0}
    if near(call(arguments)[VALUE], call(moved)[VALUE]):
        return ""
    return "Adding 3 to all scores changes the result: only differences of scores may count."


def rows_alone(call: Call, arguments: Arguments) -> str:
    """Examples in reverse order give the results in reverse order."""
    turned = arguments | {name: arguments[name][::-1].copy() for name in ("scores", "y")}
    if near(call(arguments)[VALUE][::-1], call(turned)[VALUE]):
        return ""
    return "Examples in reverse order do not give the results in reverse order."


def triangle(call: Call, arguments: Arguments) -> str:
    """Distances of points to themselves: 0, symmetric, and no detour is shorter."""
    X = np.asarray(arguments["X"], np.float64)
    apart = call(arguments | {"X": X, "queries": X})[VALUE]
    if apart.shape != (len(X), len(X)):
        return ""
    if not near(np.diag(apart), np.zeros(len(X))):
        return f"The distance of a point to itself is {np.diag(apart).max():.5g}, not 0."
    if not near(apart, apart.T):
        return "The distance from a to b is not that from b to a."
    root = np.sqrt(np.abs(apart))  # the root of a square or of an L1 distance is a metric
    if np.any(root[:, None] > root[:, :, None] + root[None] + 1e-6):
        return "A detour over a third point is shorter than the distance: no triangle has that."
    return ""


def difference(name: str, expected: np.ndarray, got: np.ndarray, by: str = "expected") -> str:
    """The first number that differs, and how all of them are related where that is simple."""
    if got.shape != expected.shape:
        return f"{by} the shape {expected.shape}, got {got.shape}"
    apart = ~np.isclose(got, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    place = tuple(int(i) for i in np.argwhere(apart)[0]) if apart.any() else ()
    at = f"{name}[{', '.join(map(str, place))}]" if place else name
    text = f"{at}: {by} {_number(expected[place])}, got {_number(got[place])}"
    return text + _relation(expected, got)


def _relation(expected: np.ndarray, got: np.ndarray) -> str:
    with np.errstate(all="ignore"):
        ratios = np.atleast_1d(got / expected)[np.atleast_1d(np.abs(expected) > 1e-6)]
    telling = ratios.size > 1 or (ratios.size and got.ndim == 0)  # of one label it says nothing
    if (
        telling
        and not near(ratios, np.ones_like(ratios))
        and np.isfinite(ratios).all()
        and np.ptp(ratios) < 1e-4 * abs(ratios[0])
    ):
        return f" ({ratios[0]:.4g} times as much)"
    return ""


def _number(value: np.ndarray) -> str:
    return f"{float(value):.5g}"


def _repeated(arguments: Arguments) -> Arguments:
    return arguments | {name: np.concatenate([arguments[name]] * 2) for name in ("X", "y")}


def derivative(call: Callable[[Arguments], Any], arguments: Arguments, name: str) -> str:
    """JAX's derivative of a sum against differences of the same function."""
    import jax
    import jax.numpy as jnp

    def total(x: Any) -> Any:
        return jnp.sum(call(arguments | {name: x}))

    try:
        found = np.asarray(jax.grad(total)(jnp.asarray(arguments[name])))
    except Exception:
        return ""  # not every right function can be traced
    expected = differences(lambda x: float(total(jnp.asarray(x))), arguments[name])
    if near(found, expected):
        return ""
    return "jax.grad differs from differences: " + difference(
        "gradient", expected, found, "numerically"
    )
