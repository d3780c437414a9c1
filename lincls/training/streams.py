"""Training on data in a large file: the batches of one run, gathered on the host piece by piece.

`fit` hands `run` a piece instead of all data: T batches laid out so that the batch of step t
stands at place t mod T.  `batches.sequential` over a piece reads exactly those, so the loop, its
steps and its bits are those of data on the device, and memory holds a piece.
"""

from functools import partial
from typing import Any

import jax
import numpy as np

from lincls import batches, placement
from lincls.structs import AnyArray, Examples
from lincls.training.core import Recipe


def steps_per_piece(X: AnyArray, batch_size: int) -> int:
    """How many batches fit into a piece, at least one."""
    return max(1, placement.limits().piece_bytes // (batch_size * X[:1].nbytes))


class Pieces:
    """The batches of one run, piece by piece; keeps the order of the epoch at hand."""

    def __init__(self, data: Examples, key: jax.Array, recipe: Recipe, num_steps: int) -> None:
        """Args: data on the host; the run's key and recipe; T steps a piece."""
        self.data, self.num_steps, self.batch_size = data, num_steps, recipe.batch_size
        sizes = {"num_examples": len(data.y), "batch_size": recipe.batch_size}
        self._epoch_steps = batches.steps_per_epoch(**sizes)
        self._order_of = jax.jit(lambda epoch: recipe.sampling.order(key, epoch, len(data.y)))
        self._rows = partial(_rows, key=key, sampling=recipe.sampling, **sizes)
        self._epoch, self._order = -1, ()

    def piece(self, begin: int, stop: int) -> Examples:
        """The batches of steps begin..stop-1, at most T, and places of weight 0 for the rest."""
        rows = np.zeros((self.num_steps, self.batch_size), np.int32)
        present = np.zeros(rows.shape, bool)
        steps = np.arange(begin, stop, dtype=np.int32)
        for epoch in np.unique(steps // self._epoch_steps).tolist():
            here = steps[steps // self._epoch_steps == epoch]
            found = self._rows(self._order_in(epoch), np.resize(here, self.num_steps))
            for mine, theirs in zip((rows, present), found, strict=True):
                mine[here % self.num_steps] = np.asarray(theirs)[: len(here)]
        return self._gathered(rows.ravel(), present.ravel())

    def _order_in(self, epoch: int) -> Any:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._order_of(np.int32(epoch))
        return self._order

    def _gathered(self, rows: np.ndarray, present: np.ndarray) -> Examples:
        return placement.read(self.data, rows, present)


@partial(jax.jit, static_argnames=("sampling", "num_examples", "batch_size"))
def _rows(
    order: Any, steps: jax.Array, *, key: jax.Array, sampling: batches.Sampling,
    num_examples: int, batch_size: int,
) -> Any:  # fmt: skip
    """Rows and presence of the batches of steps (T,) of one epoch, (T, B) each."""
    return jax.vmap(lambda step: sampling.rows(order, key, step, num_examples, batch_size))(steps)
