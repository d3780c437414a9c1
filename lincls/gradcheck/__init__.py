"""The gradient check: is this gradient the slope of that function? (slides 51-57)

    report = gradcheck.check(key, fn, params, jax.grad(fn))     difference quotients, a tolerance
    report = gradcheck.taylor(key, fn, params, jax.grad(fn))    the order of the remainder, none

The first says how wrong each part of a gradient is.  The second needs no tolerance.
"""

from lincls.gradcheck.differences import (
    GradReport,
    LeafReport,
    check,
    numerical_gradient,
    relative_error,
)
from lincls.gradcheck.remainder import TaylorLeaf, TaylorReport, taylor

__all__ = [
    "GradReport",
    "LeafReport",
    "TaylorLeaf",
    "TaylorReport",
    "check",
    "numerical_gradient",
    "relative_error",
    "taylor",
]
