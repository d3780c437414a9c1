"""Distances between images as `Metric` values: L1, L2 and cosine, and any function of two points.

A metric is two functions.  `prepare(X)` turns rows (N, D) into a pytree with a leading axis N,
which `knn.fit` computes once.  `pairwise(q, x)` turns two prepared sets into their (M, N)
distances.  L1 and L2 between uint8 pixels are exact integers, so they are the same on every
device, for every block size and in any order of summation.  Floating rows are compared in their
own precision, at least float32.  `pointwise(fn)` makes a metric from a function of two points.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Num

from lincls import checks, precision, sums
from lincls.structs import AnyArray, AnyRows

# Signed products of shifted pixels are at most 2**14, pixel differences squared at most 255**2;
# 2**31 - 2**24 is the largest integer that has a floating key (see `knn.search.order_keys`).
MAX_NARROW_FEATURES = (2**31 - 2**24) // 255**2
_CACHED = 2**22  # bytes
_FEW = 192  # features; XLA breaks up longer sums of arrays, which costs a factor of ten
_POINTS_AT_ONCE = 2048  # in a loop over points, so that temporaries stay small
_PARALLEL = 2.0**-10  # a cosine distance below which 1 - a . b loses digits that float64 has


class Metric(NamedTuple):
    """A distance.  Hashable and static under `jit`: build it from module-level functions.

    Attributes:
        name: what a person calls it.
        prepare: rows (N, D), uint8 or floating, to a pytree with leading axis N.
        pairwise: prepared queries, prepared training points -> (M, N) distances, at least 0.
        pairs: a function: prepared points, as many others -> distances in pairs (P,); or None.
        cost: work for a pair of points, in units of an int8 product; sets the block size.
        degree: distances grow with this power of the unit (1 for L1, 2 for a sum of squares, 0
            for cosine), which says what float32 can hold; None where it is not known.
    """

    name: str
    prepare: Callable[[Any], Any]
    pairwise: Callable[[Any, Any], Any]
    pairs: Any = None
    cost: float = 1.0
    degree: int | None = None


def is_wide(X: AnyRows) -> bool:
    """Whether distances between pixels of this many features (D > 32,767) need 64-bit integers."""
    return X.dtype == jnp.uint8 and X.shape[-1] > MAX_NARROW_FEATURES


def exact_scope(*arrays: AnyRows) -> contextlib.AbstractContextManager[Any]:
    """A context that keeps digits: 64-bit types where rows are wide or numbers have 64 bits."""
    wide = any(is_wide(array) or array.dtype.itemsize == 8 for array in arrays)
    return jax.enable_x64(True) if wide else contextlib.nullcontext()


def integer_dtype(X: AnyArray) -> Any:
    """The dtype of distances between pixels: int32, or int64 where `is_wide`.

    Raises:
        ValueError: wide rows while 64-bit types are off.
    """
    if not is_wide(X):
        return jnp.int32
    if jax.dtypes.canonicalize_dtype(np.int64) != np.int64:  # 64-bit types are off
        raise ValueError(
            f"integer distances between rows of {X.shape[-1]} pixels can pass 32 bits (more than "
            f"{MAX_NARROW_FEATURES} features); use knn.neighbors, or `with jax.enable_x64(True):`"
        )
    return jnp.int64


def _on_device(X: AnyArray) -> Array:
    """Rows as they are; ValueError for float64 rows of numpy while 64-bit types are off."""
    X = checks.as_array(X, "X")
    if jax.dtypes.canonicalize_dtype(X.dtype) != X.dtype and isinstance(X, np.ndarray):
        raise ValueError(
            f"X is {X.dtype}, which JAX would narrow to 32 bits; use knn.neighbors, `with "
            "jax.enable_x64(True):`, or X.astype(np.float32)"
        )
    return jnp.asarray(X)


def _floating(X: AnyArray) -> Array:
    """Rows in at least float32; uint8, float16 and bfloat16 are widened, which is exact."""
    X = _on_device(X)
    return X.astype(jnp.float32) if X.dtype.itemsize < 4 else X


# --- L2: the sum of squares ------------------------------------------------------------------


class Pixels(NamedTuple):
    """Pixels as they are, not copied, and the squared norms of pixels minus 128.

    The shift moves no distance; products of the shifted pixels fit an int8 product.
    """

    rows: Any  # (N, D) uint8
    square_norms: Any  # (N,) int32, int64 where wide


def signed(X: AnyArray) -> Array:
    """uint8 pixels minus 128, as int8: the top bit flipped."""
    return lax.bitcast_convert_type(jnp.bitwise_xor(jnp.asarray(X), jnp.uint8(128)), jnp.int8)


def dot(a: Array, b: Array, dtype: Any) -> Array:
    """Products of int8 rows (M, D) and (N, D), exact: int32 within every 2**15 features."""
    total = jnp.zeros((), dtype)
    for start in range(0, a.shape[1], 2**15):
        part = slice(start, start + 2**15)
        dims = (((1,), (1,)), ((), ()))
        product = lax.dot_general(a[:, part], b[:, part], dims, preferred_element_type=jnp.int32)
        total = total + product.astype(dtype)
    return total


@jax.jit
def _square_norms(X: Array) -> Array:
    """Of pixels minus 128, some rows at a time, because the squares of all would fill memory."""
    dtype, size = integer_dtype(X), min(X.shape[0], _POINTS_AT_ONCE)

    def of_some(start: Any) -> Array:
        some = signed(lax.dynamic_slice_in_dim(X, start, size)).astype(jnp.int32)
        return jnp.sum(jnp.square(some), axis=1, dtype=dtype)

    return filled(jnp.zeros(X.shape[0], dtype), size, of_some)


def filled(found: Array, size: int, of_some: Callable[[Any], Array]) -> Array:
    """`found` (.., N) filled with `of_some(start)`, so many at a time; the last ones overlap."""
    num_points = found.shape[-1]

    def body(i: Any, found: Array) -> Array:
        start = jnp.minimum(i * size, num_points - size)
        return lax.dynamic_update_slice_in_dim(found, of_some(start), start, axis=-1)

    return lax.fori_loop(0, -(-num_points // size), body, found)


def _prepare_l2(X: AnyArray) -> Any:
    X = _on_device(X)
    if X.dtype != jnp.uint8:
        return _floating(X)
    return Pixels(X, _square_norms(X))


def _l2_pairs(q: Any, x: Any) -> Array:
    if not isinstance(x, Pixels):
        return jnp.sum(jnp.square(q - x), axis=1)
    return sums.in_slices(_square_gap, q.rows, x.rows, x.square_norms.dtype)


def _square_gap(a: Array, b: Array) -> Array:
    return jnp.square(a.astype(jnp.int32) - b.astype(jnp.int32))


def _products(q: Array, x: Array, dtype: Any) -> Array:
    """Products (M, N) of pixels minus 128; on a CPU of as many x at a time as the cache holds."""
    q, num_points = signed(q), x.shape[0]
    size = min(num_points, max(1, _CACHED // x.shape[1]))
    if jax.default_backend() != "cpu" or size == num_points:
        return dot(q, signed(x), dtype)

    def of_some(start: Any) -> Array:
        some = lax.optimization_barrier(signed(lax.dynamic_slice_in_dim(x, start, size)))
        return dot(q, some, dtype)

    return filled(jnp.zeros((q.shape[0], num_points), dtype), size, of_some)


def _l2_pairwise(q: Any, x: Any) -> Array:
    if isinstance(x, Pixels):
        products = _products(q.rows, x.rows, x.square_norms.dtype)
        return q.square_norms[:, None] + x.square_norms[None] - 2 * products
    return lax.map(lambda point: _l2_pairs(point[None], x), q)


l2 = Metric("l2", _prepare_l2, _l2_pairwise, _l2_pairs, degree=2)
"""Sum of squares sum_p (a_p - b_p)**2 (slide 17, without the root).

uint8: exact, int32 up to D = 32,767 and int64 above.  Floating: the differences are squared and
summed in their own precision (float16 in float32).  The relative rounding is at most about
D * eps, and two equal points are at distance 0.
"""


# --- L1: the sum of absolute differences -----------------------------------------------------


def _prepare_l1(X: AnyArray) -> Array:
    return _on_device(X) if X.dtype == jnp.uint8 else _floating(X)


def _l1_pairs(q: Array, x: Array) -> Array:
    if x.dtype != jnp.uint8:
        return jnp.sum(jnp.abs(q - x), axis=1)
    return sums.in_slices(_gap, q, x, integer_dtype(x))


def _gap(a: Array, b: Array) -> Array:
    return (jnp.maximum(a, b) - jnp.minimum(a, b)).astype(jnp.uint16)


def _l1_of_one(q: Array, x: Array) -> Array:
    """Distances of one point (1, D) from all."""
    if x.dtype != jnp.uint8:
        return jnp.sum(jnp.abs(q - x), axis=1)
    return sums.in_lanes(_gap(q, x), jnp.uint16, integer_dtype(x))


def _l1_of_few(q: Array, x: Array) -> Array:
    """|a - b| = 2 max(a, b) - a - b, feature by feature, with many points side by side.

    A sum of at most `_FEW` bytes fits in 16 bits.
    """
    features = x.T

    def maxima(point: Array) -> Array:
        total = jnp.zeros(x.shape[0], jnp.uint16)
        for value, of_feature in zip(point, features, strict=True):
            total = total + jnp.maximum(value, of_feature).astype(jnp.uint16)
        return total

    of_q, of_x = (jnp.sum(points, axis=1, dtype=jnp.int32) for points in (q, x))
    return 2 * lax.map(maxima, q).astype(jnp.int32) - of_q[:, None] - of_x[None]


def _l1_pairwise(q: Array, x: Array) -> Array:
    if x.dtype == jnp.uint8 and x.shape[1] <= _FEW:
        return _l1_of_few(q, x)
    return lax.map(lambda point: _l1_of_one(point[None], x), q)


l1 = Metric("l1", _prepare_l1, _l1_pairwise, _l1_pairs, cost=16.0, degree=1)
"""Sum of absolute differences sum_p |a_p - b_p| (slide 14).

uint8: exact, int32 up to D = 32,767 and int64 above.  Floating: relative rounding at most about
D * eps; two equal points are at distance 0.
"""


# --- cosine ----------------------------------------------------------------------------------


def _prepare_cosine(X: AnyArray) -> Any:
    """Rows of length 1 (a row of zeros stays zero), in the precision of X."""
    X = _floating(X) if X.dtype == jnp.uint8 else precision.lifted(_floating(X))
    _, exponent = jnp.frexp(jnp.max(jnp.abs(X), axis=1, keepdims=True))
    X = jnp.ldexp(X, -exponent)  # exact, and no square passes the floating range
    length = jnp.sqrt(jnp.sum(jnp.square(X), axis=1, keepdims=True))
    return X / jnp.where(length == 0, 1, length)


def _cosine_pairwise(q: Array, x: Array) -> Array:
    cosines = jnp.matmul(q, x.T, precision=lax.Precision.HIGHEST)
    distances = jnp.maximum(1 - cosines, 0)
    if distances.dtype != jnp.float64:
        return distances
    return lax.map(lambda row: _with_parallels(row[0], row[1], x), (q, distances))


def _cosine_pairs(q: Array, x: Array) -> Array:
    distances = jnp.maximum(1 - jnp.sum(q * x, axis=1), 0)
    if distances.dtype != jnp.float64:
        return distances
    halves = jnp.sum(jnp.square(q - x), axis=1) / 2  # the same between rows of length 1
    return jnp.where(distances < _PARALLEL, halves, distances)


def _with_parallels(point: Array, distances: Array, x: Array) -> Array:
    """Distances (N,) of a point, those of nearly parallel ones by differences."""
    size = min(len(x), _POINTS_AT_ONCE)

    def of_some(start: Any) -> Array:
        some, of_x = (lax.dynamic_slice_in_dim(part, start, size) for part in (distances, x))
        parallel = jnp.any(some < _PARALLEL)
        return lax.cond(parallel, lambda: _cosine_pairs(point[None], of_x), lambda: some)

    return filled(distances, size, of_some)


cosine = Metric("cosine", _prepare_cosine, _cosine_pairwise, _cosine_pairs, degree=0)
"""1 - (a . b) / (|a| |b|), in 0..2; 1 where either point is zero.

Computed in the floating precision of the data (float32 for uint8 and float16), with products in
full precision on every device.  The rounding of a distance is at most about D * eps.  In float64
the distance of nearly parallel rows is |a/|a| - b/|b||**2 / 2, which keeps angles to about 1e-15.
"""


# --- any function of two points --------------------------------------------------------------


@dataclass(frozen=True)
class _Pairwise:
    """All distances by a function of two points; equal for the same function, so static."""

    fn: Callable[[Any, Any], Any]

    def __call__(self, q: Array, x: Array) -> Array:
        def from_point(point: Array) -> Array:
            return lax.map(lambda other: self.distance(point, other), x, batch_size=_POINTS_AT_ONCE)

        return lax.map(from_point, q)

    def distance(self, a: Array, b: Array) -> Array:
        """One number, or TypeError."""
        name = getattr(self.fn, "__name__", "fn")
        try:
            found = jnp.asarray(self.fn(a, b))
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            raise TypeError(f"{name} cannot be traced; write it in jax.numpy") from error
        if found.shape:
            raise TypeError(f"{name} must give one number for two rows, got {found.shape}")
        return found


def pointwise(fn: Callable[[Array, Array], Num[Array, ""]], cost: float = 32.0) -> Metric:
    """A metric from `fn(a, b)` of two rows (D,), traceable, with a scalar distance >= 0.

    The rows arrive in floating point: uint8 and float16 as float32, float64 as float64.  The same
    function gives an equal metric, so it is compiled once; a fresh lambda is a fresh compile.

    Args:
        fn: the distance, for instance `lambda a, b: jnp.max(jnp.abs(a - b))`, at module level.
        cost: its work in units of an int8 product per feature; a larger one makes blocks smaller.

    Raises:
        TypeError: no function; when it is used, one that JAX cannot trace or of several numbers.
    """
    checks.function(fn, "fn", needed=True)
    return Metric(getattr(fn, "__name__", "pointwise"), _floating, _Pairwise(fn), None, cost)
