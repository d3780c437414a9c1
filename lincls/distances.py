"""Distances between images as `Metric` values: L1, L2 and cosine, and any function of two points.

A metric is two functions.  `prepare(X)` turns rows (N, D) into what the metric wants to know
of a set of points, a pytree with a leading axis N that `knn.fit` computes once; `pairwise(q, x)`
turns two prepared sets into the (M, N) distances between them.  Between uint8 pixels L1 and L2
are exact integers, so they are the same on every device, for every block size and in any
order of summation.  A new metric is a new pair of functions; `pointwise(fn)` makes one from a
function of two points.  `order_keys` gives the floating keys by which distances are ranked.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

from lincls.structs import AnyArray

# Signed products of shifted pixels are at most 2**14, pixel differences squared at most 255**2;
# 2**31 - 2**24 is the largest integer that has a floating key (see `order_keys`).
MAX_NARROW_FEATURES = (2**31 - 2**24) // 255**2
_LANES = 128  # features that are summed side by side in L1, at most
_CACHED = 2**22  # bytes
_FEW = 192  # features; XLA breaks up longer sums of arrays, which costs a factor of ten
_POINTS_AT_ONCE = 2048  # in a loop over points, so that temporaries stay small


class Metric(NamedTuple):
    """A distance.  Hashable and static under `jit`: build it from module-level functions.

    Attributes:
        name: what a person calls it.
        prepare: rows (N, D), uint8 or floating, to a pytree with leading axis N.
        pairwise: prepared queries, prepared training points -> (M, N) distances, at least 0.
        pairs: a function: prepared points, as many others -> distances in pairs (P,); or None.
        cost: work for a pair of points, in units of an int8 product; sets the block size.
    """

    name: str
    prepare: Callable[[Any], Any]
    pairwise: Callable[[Any, Any], Any]
    pairs: Any = None
    cost: float = 1.0


def is_wide(X: AnyArray) -> bool:
    """Whether distances between pixels of this many features (D > 32,767) need 64-bit integers."""
    return X.dtype == jnp.uint8 and X.shape[-1] > MAX_NARROW_FEATURES


def exact_scope(X: AnyArray) -> contextlib.AbstractContextManager[Any]:
    """A context in which distances between the rows of X are exact: 64-bit where they are wide."""
    return jax.enable_x64(True) if is_wide(X) else contextlib.nullcontext()


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


def order_keys(distances: Num[AnyArray, "..."]) -> Float[Array, "..."]:
    """Floating keys in the order of the distances, because `top_k` of floats is far faster.

    A floating distance is its own key.  An int32 distance d in 0..2**31 - 2**24 - 1 becomes the
    float whose bits are d + 2**23: positive floats are ordered as their bits are, the shift keeps
    clear of the denormals, which XLA flushes to zero, and the limit of the bits of infinity
    (2**31 - 2**23).  An int64 distance below 2**53 is exact as a float64.
    """
    if distances.dtype == jnp.int32:
        return lax.bitcast_convert_type(distances + (1 << 23), jnp.float32)
    if distances.dtype == jnp.int64:
        return jnp.asarray(distances, jnp.float64)
    # An overflow to infinity must stay before the empty places, whose key is infinity.
    distances = jnp.asarray(distances)
    return jnp.minimum(distances, jnp.finfo(distances.dtype).max)


def from_keys(keys: Float[Array, "..."], dtype: Any) -> Num[Array, "..."]:
    """The distances of finite keys; the largest distance of `dtype` where a key is infinite."""
    if not jnp.issubdtype(dtype, jnp.integer):
        return jnp.minimum(keys, jnp.finfo(dtype).max)
    if dtype == jnp.int32:
        distances = lax.bitcast_convert_type(keys, jnp.int32) - (1 << 23)
    else:
        distances = jnp.where(jnp.isinf(keys), 0, keys).astype(dtype)
    return jnp.where(jnp.isinf(keys), jnp.iinfo(dtype).max, distances)


def _floating(X: AnyArray) -> Array:
    """Rows in at least float32; uint8, float16 and bfloat16 are widened, which is exact."""
    X = jnp.asarray(X)
    return X.astype(jnp.float32) if X.dtype.itemsize < 4 else X


def _sum_lanes(terms: Array, narrow: Any, dtype: Any) -> Array:
    """Sums of rows (P, D): each lane's terms by 256 in `narrow`, which holds them, then `dtype`.

    Padding costs five times the sums, so lanes and terms are numbers that divide D, if there are.
    """
    lanes = _divisor(terms.shape[1], 32, _LANES) or _LANES
    in_lane = -(-terms.shape[1] // lanes)
    width = lanes * (_divisor(in_lane, 8, 256) or min(256, in_lane))
    terms = jnp.pad(terms, ((0, 0), (0, -terms.shape[1] % width)))
    terms = terms.reshape(terms.shape[0], -1, width // lanes, lanes)
    return jnp.sum(jnp.sum(terms, axis=2, dtype=narrow).astype(dtype), axis=(1, 2), dtype=dtype)


def _divisor(number: int, least: int, most: int) -> int:
    """The largest divisor of a number from `least` to `most`, or 0."""
    return next((n for n in range(most, least - 1, -1) if number % n == 0), 0)


# --- L2: the sum of squares ------------------------------------------------------------------


class Pixels(NamedTuple):
    """Pixels as they are, not copied, and the squared norms of pixels minus 128.

    The shift moves no distance; products of the shifted pixels fit an int8 product.
    """

    rows: Any  # (N, D) uint8
    square_norms: Any  # (N,) int32, int64 where wide


def _sign(X: AnyArray) -> Array:
    """uint8 pixels minus 128, as int8: the top bit flipped."""
    return lax.bitcast_convert_type(jnp.bitwise_xor(jnp.asarray(X), jnp.uint8(128)), jnp.int8)


def _dot(a: Array, b: Array, dtype: Any) -> Array:
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
    dtype, num_points = integer_dtype(X), X.shape[0]
    size = min(num_points, _POINTS_AT_ONCE)

    def body(i: Any, norms: Array) -> Array:
        start = jnp.minimum(i * size, num_points - size)
        some = _sign(lax.dynamic_slice_in_dim(X, start, size)).astype(jnp.int32)
        found = jnp.sum(jnp.square(some), axis=1, dtype=dtype)
        return lax.dynamic_update_slice(norms, found, (start,))

    return lax.fori_loop(0, -(-num_points // size), body, jnp.zeros(num_points, dtype))


def _prepare_l2(X: AnyArray) -> Any:
    X = jnp.asarray(X)
    if X.dtype != jnp.uint8:
        return _floating(X)
    return Pixels(X, _square_norms(X))


def _l2_pairs(q: Any, x: Any) -> Array:
    if not isinstance(x, Pixels):
        return jnp.sum(jnp.square(q - x), axis=1)
    gap = q.rows.astype(jnp.int32) - x.rows.astype(jnp.int32)
    return jnp.sum(jnp.square(gap), axis=1, dtype=x.square_norms.dtype)


def _products(q: Array, x: Array, dtype: Any) -> Array:
    """Products (M, N) of pixels minus 128; on a CPU of as many x at a time as the cache holds."""
    q, num_points = _sign(q), x.shape[0]
    size = min(num_points, max(1, _CACHED // x.shape[1]))
    if jax.default_backend() != "cpu" or size == num_points:
        return _dot(q, _sign(x), dtype)

    def body(i: Any, products: Array) -> Array:
        start = jnp.minimum(i * size, num_points - size)
        some = lax.optimization_barrier(_sign(lax.dynamic_slice_in_dim(x, start, size)))
        return lax.dynamic_update_slice_in_dim(products, _dot(q, some, dtype), start, axis=1)

    nothing = jnp.zeros((q.shape[0], num_points), dtype)
    return lax.fori_loop(0, -(-num_points // size), body, nothing)


def _l2_pairwise(q: Any, x: Any) -> Array:
    if isinstance(x, Pixels):
        products = _products(q.rows, x.rows, x.square_norms.dtype)
        return q.square_norms[:, None] + x.square_norms - 2 * products
    return lax.map(lambda point: _l2_pairs(point[None], x), q)


l2 = Metric("l2", _prepare_l2, _l2_pairwise, _l2_pairs)
"""Sum of squares sum_p (a_p - b_p)**2 (slide 17, without the root).

uint8: exact, int32 up to D = 32,767 and int64 above.  Floating: the differences are squared and
summed in their own precision (float16 in float32), so the relative rounding is at most about
D * eps and two equal points are at distance 0.
"""


# --- L1: the sum of absolute differences -----------------------------------------------------


def _prepare_l1(X: AnyArray) -> Array:
    return jnp.asarray(X) if X.dtype == jnp.uint8 else _floating(X)


def _l1_pairs(q: Array, x: Array) -> Array:
    if x.dtype != jnp.uint8:
        return jnp.sum(jnp.abs(q - x), axis=1)
    gap = jnp.maximum(q, x) - jnp.minimum(q, x)
    return _sum_lanes(gap.astype(jnp.uint16), jnp.uint16, integer_dtype(x))


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
    return 2 * lax.map(maxima, q).astype(jnp.int32) - of_q[:, None] - of_x


def _l1_pairwise(q: Array, x: Array) -> Array:
    if x.dtype == jnp.uint8 and x.shape[1] <= _FEW:
        return _l1_of_few(q, x)
    return lax.map(lambda point: _l1_pairs(point[None], x), q)


l1 = Metric("l1", _prepare_l1, _l1_pairwise, _l1_pairs, cost=16.0)
"""Sum of absolute differences sum_p |a_p - b_p| (slide 14).

uint8: exact, int32 up to D = 32,767 and int64 above.  Floating: relative rounding at most about
D * eps; two equal points are at distance 0.
"""


# --- cosine ----------------------------------------------------------------------------------


def _prepare_cosine(X: AnyArray) -> Any:
    """Rows of length 1 (a row of zeros stays zero), in the precision of X."""
    X = _floating(X)
    _, exponent = jnp.frexp(jnp.max(jnp.abs(X), axis=1, keepdims=True))
    X = jnp.ldexp(X, -exponent)  # exact, and no square passes the floating range
    length = jnp.sqrt(jnp.sum(jnp.square(X), axis=1, keepdims=True))
    return X / jnp.where(length == 0, 1, length)


def _cosine_pairwise(q: Array, x: Array) -> Array:
    cosines = jnp.matmul(q, x.T, precision=lax.Precision.HIGHEST)
    return jnp.maximum(1 - cosines, 0)


def _cosine_pairs(q: Array, x: Array) -> Array:
    return jnp.maximum(1 - jnp.sum(q * x, axis=1), 0)


cosine = Metric("cosine", _prepare_cosine, _cosine_pairwise, _cosine_pairs)
"""1 - (a . b) / (|a| |b|), in 0..2; 1 where either point is zero.

Computed in the floating precision of the data (float32 for uint8 and float16), with products in
full precision on every device; the rounding of a distance is at most about D * eps.
"""


# --- any function of two points --------------------------------------------------------------


@dataclass(frozen=True)
class _Pairwise:
    """All distances by a function of two points; equal for the same function, so static."""

    fn: Callable[[Any, Any], Any]

    def __call__(self, q: Array, x: Array) -> Array:
        def from_point(point: Array) -> Array:
            return lax.map(lambda other: self.fn(point, other), x, batch_size=_POINTS_AT_ONCE)

        return lax.map(from_point, q)


def pointwise(fn: Callable[[Array, Array], Num[Array, ""]], cost: float = 32.0) -> Metric:
    """A metric from `fn(a, b)` of two rows (D,), traceable, with a scalar distance >= 0.

    The rows arrive in floating point (uint8 and float16 as float32).  The same function gives an
    equal metric, so it is compiled once; a fresh lambda is a fresh compile.

    Args:
        fn: the distance, for instance `lambda a, b: jnp.max(jnp.abs(a - b))`, at module level.
        cost: its work in units of an int8 product per feature; a larger one makes blocks smaller.
    """
    return Metric(getattr(fn, "__name__", "pointwise"), _floating, _Pairwise(fn), None, cost)
