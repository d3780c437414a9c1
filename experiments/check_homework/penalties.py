"""Penalties, their gradients, a projection, and the numerical gradient, right and wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.check_homework.laws import differences
from experiments.check_homework.roles import Function, Role

Array = np.ndarray
_RANDOM = np.random.default_rng(0)
RANDOM = {"W": _RANDOM.normal(0, 1, (3, 5))}
CASES: dict[str, dict[str, Any]] = {
    "random weights": RANDOM,
    "W1 of slide 42": {"W": np.array([[1.0, 0.0, 0.0, 0.0]])},
    "negative weights": {"W": np.array([[-2.0, -0.5], [-1.0, -3.0]])},
    "no weights but zeros": {"W": np.zeros((2, 3))},
}
NOT_HALF = "There is a factor one half: l2 is sum(W**2)."
AVERAGED = "The mean is taken: sum all weights."
SIGNED = "The absolute value is missing: negative weights count too."
ROOT = "A root is taken: the sum of squares is asked for."


def elastic(W: Array, beta: float = 1.0) -> Any:
    """sum(beta * W**2 + |W|)."""
    return (beta * W**2 + np.abs(W)).sum()


def shortened(W: Array, radius: float) -> Array:
    """Rows no longer than a radius."""
    norm = np.sqrt((W**2).sum(axis=1, keepdims=True))
    return W * np.minimum(1, radius / np.maximum(norm, 1e-12))


def _shortened_columns(W: Array, radius: float) -> Array:
    return shortened(W.T, radius).T


def _shortened_whole(W: Array, radius: float) -> Array:
    return shortened(W.reshape(1, -1), radius).reshape(W.shape)


def _always_scaled(W: Array, radius: float) -> Array:
    return W * radius / np.maximum(np.sqrt((W**2).sum(axis=1, keepdims=True)), 1e-12)


def _clipped(W: Array, radius: float) -> Array:
    return np.clip(W, -radius, radius)


def _penalty(name: str, right: Function, wrong: list[tuple[str, Function]], **more: Any) -> Role:
    return Role(f"{name}(W) -> ()", name, ("W",), CASES, {"": right}, wrong, smooth="W", **more)


def _square(x: Any) -> Any:
    return (x * x).sum()


def _cube_and_product(x: Any) -> Any:
    return (x * x * x).sum() + x[0, 0] * x[1, 1]


DIFFERENCE_CASES = {
    "the sum of squares of a row": {"fn": _square, "x": np.array([0.5, -1.5, 2.0])},
    "a function of a matrix": {"fn": _cube_and_product, "x": _RANDOM.normal(0, 1, (2, 3))},
    "at a minimum": {"fn": _square, "x": np.zeros(2)},
}


def _difference(h: float, change: Callable[[Function, Array, Array], Any]) -> Function:
    """Differences made of f, x and a step along one number of x."""

    def gradient(fn: Function, x: Array) -> Array:
        slopes = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[place] = h
            slopes[place] = change(fn, x, step) / h
        return slopes

    return gradient


def _kept(fn: Function, x: Array) -> Array:
    """Every step stays, so that its difference counts in all that follow."""
    return np.cumsum(differences(fn, x)).reshape(x.shape)


def _in_float32(two_sides: bool) -> Function:
    def change(fn: Function, x: Array, step: Array) -> Any:
        x, step = x.astype(np.float32), step.astype(np.float32)
        other = fn(x - step) if two_sides else fn(x)
        return (fn(x + step) - other) / (2 if two_sides else 1)

    return _difference(1e-5, change)


NUMERICAL = Role(
    "numerical_gradient(fn, x) -> like x", "(eval_)?numeric(al)?_gradient(_array)?", ("fn", "x"),
    DIFFERENCE_CASES, {"": lambda fn, x: differences(fn, x)},
    [
        ("The difference is the wrong way round: f(x + h) - f(x).",
         _difference(1e-5, lambda fn, x, h: fn(x) - fn(x + h))),
        ("It is not divided by 2 h: f(x + h) and f(x - h) are 2 h apart.",
         _difference(1e-5, lambda fn, x, h: fn(x + h) - fn(x - h))),
        ("It is not divided by h.", _difference(1e-5, lambda fn, x, h: (fn(x + h) - fn(x)) * 1e-5)),
        ("f(x + h) - f(x) is divided by 2 h: it is one step h long.",
         _difference(1e-5, lambda fn, x, h: (fn(x + h) - fn(x)) / 2)),
        ("x is not put back after a step: x[place] must be what it was.", _kept),
        ("h is too large: 1e-5 leaves an error too small to see.",
         _difference(0.1, lambda fn, x, h: fn(x + h) - fn(x))),
        ("h is too large: 1e-5 leaves an error too small to see.",
         _difference(0.01, lambda fn, x, h: fn(x + h) - fn(x))),
        ("h is too small: rounding is larger than the difference; take 1e-5.",
         _difference(1e-15, lambda fn, x, h: fn(x + h) - fn(x))),
        ("float32 rounds the difference away: compute it in float64.", _in_float32(True)),
        ("float32 rounds the difference away: compute it in float64.", _in_float32(False)),
        ("All numbers of x move at once: move one at a time.",
         _difference(1e-5, lambda fn, x, h: fn(x + h.max()) - fn(x))),
    ],
)  # fmt: skip
ROLES = (
    _penalty("l1", lambda W: np.abs(W).sum(),
             [(SIGNED, lambda W: W.sum()), (AVERAGED, lambda W: np.abs(W).mean()),
              ("The largest weight is taken: sum them all.", lambda W: np.abs(W).max()),
              ("This is l2: sum absolute values.", lambda W: (W**2).sum())]),
    _penalty("l2", lambda W: (W**2).sum(),
             [(NOT_HALF, lambda W: (W**2).sum() / 2), (ROOT, lambda W: np.sqrt((W**2).sum())),
              (AVERAGED, lambda W: (W**2).mean()),
              ("The sum is squared: square each weight, then sum.", lambda W: W.sum() ** 2),
              ("This is l1: sum squares.", lambda W: np.abs(W).sum())]),
    Role("elastic_net(W, beta=1.0) -> ()", "elastic_net", ("W", "beta"),
         CASES | {"another beta": RANDOM | {"beta": 0.25}}, {"": elastic},
         [("beta is not used: sum(beta * W**2 + |W|).", lambda W, beta=1.0: elastic(W)),
          ("beta stands at |W|: sum(beta * W**2 + |W|).",
           lambda W, beta=1.0: (W**2 + beta * np.abs(W)).sum()),
          ("beta mixes: sum(beta * W**2 + (1 - beta) * |W|) is another penalty.",
           lambda W, beta=1.0: (beta * W**2 + (1 - beta) * np.abs(W)).sum())],
         optional={"beta": 1.0}, smooth="W"),
    Role("l1_gradient(W) -> like W", "l1_grad(ient)?", ("W",), {"random weights": RANDOM},
         {"": lambda W: np.sign(W)},
         [("All signs are +: the derivative of |w| is -1 below 0.",
           lambda W: np.ones_like(W)),
          ("This is W / |W| of the whole: take the sign of each weight.",
           lambda W: W / np.sqrt((W**2).sum()))]),
    Role("l2_gradient(W) -> like W", "l2_grad(ient)?", ("W",), CASES, {"": lambda W: 2 * W},
         [("The factor 2 is missing: the derivative of W**2 is 2 * W.", lambda W: W),
          ("The weights are squared: the derivative of W**2 is 2 * W.", lambda W: W**2)]),
    Role("max_norm(W, radius) -> like W, rows no longer than radius", "max_norm", ("W", "radius"),
         {what: case | {"radius": 1.5} for what, case in CASES.items()}, {"": shortened},
         [("Columns are shortened: a class is a row.", _shortened_columns),
          ("The whole matrix is shortened: each row has its own norm.", _shortened_whole),
          ("Short rows are made longer: leave them.", _always_scaled),
          ("Each weight is clipped: scale the whole row.", _clipped)]),
    NUMERICAL,
)  # fmt: skip
