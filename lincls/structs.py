"""The values that travel between the modules, and the letters of their shapes.

Shape letters, the same in every docstring and annotation:

    N training examples    M queries    D features      C classes    B batch
    K neighbours           F folds      G settings      T steps      S blocks of a mesh

Everything here is a pytree of arrays.  A grid of G settings is the same value
with a leading axis G on its leaves; nothing else changes.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

ALIGNMENT = 64  # bytes; JAX takes over host memory at multiples of them on a CPU
AnyArray = jax.Array | np.ndarray
Numbers = Mapping[str, Any]  # keyword numbers of a function, each a scalar or (G,)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("array",),
    meta_fields=("num_rows", "num_blocks", "mesh", "axis"),
)
@dataclasses.dataclass(frozen=True, eq=False)
class Sharded:
    """Rows that lie on the devices of a mesh; made by `placement.shard`.

    The rows are cut into S blocks of equal length, and each device holds S / n of them.  S does not
    depend on the number n of devices, so sums in the order of the blocks do not either.

    Attributes:
        array: the rows, filled up with zeros to S equal blocks; sharded along `axis`.
        num_rows: N, without the filling.
        num_blocks: S.
        mesh: the devices, with one axis named `rows`.
        axis: 0, or 1 for weights (G, N).
    """

    array: Any
    num_rows: int
    num_blocks: int
    mesh: Mesh
    axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape without the filling."""
        padded = self.array.shape
        return (*padded[: self.axis], self.num_rows, *padded[self.axis + 1 :])

    @property
    def block_rows(self) -> int:
        """Rows of a block with its filling."""
        return self.array.shape[self.axis] // self.num_blocks

    @property
    def device_rows(self) -> int:
        """Rows of a device with their filling."""
        return self.array.shape[self.axis] // self.mesh.size

    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: int(np.prod(self.shape)))
    nbytes = property(lambda self: self.size * self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def with_array(self, array: Any) -> "Sharded":
        """The same layout of another array."""
        return dataclasses.replace(self, array=array)


AnyRows = AnyArray | Sharded


class LinearParams(NamedTuple):
    """The parameters of f(x, W, b) = W x + b (slide 30).  A row of W is a class template."""

    W: Any  # (C, D) floating
    b: Any  # (C,) floating


Params = Any  # LinearParams, or another tree of floating arrays that a `scores_fn` reads


class Affine(NamedTuple):
    """Preprocessing x -> (x - shift) * scale, an argument of whoever turns pixels into floats."""

    shift: Any  # (D,) floating, in the units of the data
    scale: Any  # () or (D,) floating


class Examples(NamedTuple):
    """Rows, their labels, and how much each counts; weight 0 means "not there"."""

    X: Any  # (N, D) uint8 or floating
    y: Any  # (N,) int32
    weight: Any  # (N,) floating, or (G, N) where settings see different examples


class Hyper(NamedTuple):
    """Every number that one may want to tune, as array leaves: scalars, or (G,) for a grid.

    The traced program calls `optimizer(**hyper.optimizer)`, `loss(scores, labels,
    **hyper.loss)` and `penalty(W, **hyper.penalty)`.  `reg` is lambda in
    `data loss + lambda R(W)` (slide 41).  `dropout` is the share of the features that
    `batches.drop` sets to 0, in [0, 1); None drops nothing.
    """

    optimizer: Numbers
    reg: Any = 0.0
    loss: Numbers = {}  # noqa: RUF012 (a NamedTuple default, never written to)
    penalty: Numbers = {}  # noqa: RUF012
    dropout: Any = None


class Parts(NamedTuple):
    """The two terms of an objective: the weighted mean loss, and reg * R(W)."""

    data: Any
    penalty: Any


class TrainState(NamedTuple):
    """What the next step needs.  `key` and `step` are shared by all settings of a grid."""

    params: Params  # (G, ...) leaves in a grid
    opt: Any  # the optimiser's state, likewise
    alive: Any  # () or (G,) bool: False once loss, gradient or parameters were not finite
    key: Any  # () typed PRNG key of the run
    step: Any  # () int32, the number of steps taken


class StepInfo(NamedTuple):
    """What a person wants to see of a step, measured before the step moves the parameters."""

    loss: Any  # () the objective on the batch: data + penalty
    data: Any  # () weighted mean loss of the batch
    penalty: Any  # () reg * R(W)
    grad_norm: Any  # () Euclidean norm of the gradient over all parameters
    alive: Any  # () bool, whether the setting is still training after this step


class Validation(NamedTuple):
    """Accuracies on held-out examples while training, V of them, and the best parameters met."""

    steps: Any  # (V,) int, after how many steps each was taken
    accuracy: Any  # (V,) or (V, G), in 0..1
    best_step: Any  # () or (G,) int: the first step of greatest accuracy
    best_accuracy: Any  # () or (G,)
    best_params: Params  # those at that step


class History(NamedTuple):
    """What `training.fit` saw: the fields of StepInfo over all T steps, and the validation."""

    loss: Any  # (T,) or (T, G), numpy
    data: Any
    penalty: Any
    grad_norm: Any
    alive: Any
    validation: Validation | None = None


class Neighbors(NamedTuple):
    """The K nearest training examples of each query, by (distance, training index).

    For L2 the distance is the sum of squares.  An empty place (fewer than K
    candidates) has the largest distance of its dtype and index N.
    """

    distances: Any  # (M, K) int32 on pixels, floating otherwise
    indices: Any  # (M, K) int32
