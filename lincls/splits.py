"""Which example is in which part: fold numbers and weights, never copies of the data.

A fold assignment is one array (N,) of fold numbers 0..F-1.  Training on all folds but f
is training with the weights `folds != f`; the two parts of a train/validation split are
the assignment with F = 2.  Slide 21.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, Shaped

from lincls import checks
from lincls.structs import AnyArray


def folds(num_examples: int, num_folds: int) -> Int[np.ndarray, "N"]:
    """Contiguous folds in file order, of the sizes of `numpy.array_split` (int32).

    Raises:
        ValueError: fewer than 2 folds, or more folds than examples.
    """
    checks.count(num_folds, "num_folds", 2, num_examples)
    sizes = [len(part) for part in np.array_split(np.empty(num_examples), num_folds)]
    return np.repeat(np.arange(num_folds, dtype=np.int32), sizes)


def shuffled_folds(key: jax.Array, num_examples: int, num_folds: int) -> Int[np.ndarray, "N"]:
    """Folds of the same sizes as `folds`, dealt at random."""
    return folds(num_examples, num_folds)[_permutation(key, num_examples)]


def stratified_folds(
    key: jax.Array, labels: Shaped[AnyArray, "N"], num_folds: int
) -> Int[np.ndarray, "N"]:
    """Random folds in which every class has its share: counts of a class differ by at most 1.

    Fold sizes differ by at most 1 as well, because the dealing goes on from one class
    to the next where it stopped.

    Raises:
        ValueError: as `folds`.
    """
    labels = np.asarray(labels)
    checks.count(num_folds, "num_folds", 2, len(labels))
    shuffled = _permutation(key, len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    assignment = np.empty(len(labels), np.int32)
    assignment[by_class] = np.arange(len(labels)) % num_folds
    return assignment


def grouped_folds(
    key: jax.Array, groups: Shaped[AnyArray, "N"], num_folds: int
) -> Int[np.ndarray, "N"]:
    """Folds that never part a group (a writer, a patient, a burst of near-duplicates).

    The groups, greatest first, ties in random order, each go to the fold that is smallest
    so far, so sizes come as close as this greedy rule brings them.

    Raises:
        ValueError: more folds than groups.
    """
    names, member, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    checks.count(num_folds, "num_folds", 2, len(names))
    order = _permutation(key, len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group = np.empty(len(names), np.int32)
    filled = np.zeros(num_folds, np.int64)
    for group in order:
        fold_of_group[group] = smallest = filled.argmin()
        filled[smallest] += sizes[group]
    return fold_of_group[member]


def train_weights(folds: Int[AnyArray, "N"], num_folds: int | None = None) -> np.ndarray:
    """The weights (F, N) float32 of F trainings: row f is 0 on fold f and 1 elsewhere."""
    folds = np.asarray(folds)
    num_folds = int(folds.max()) + 1 if num_folds is None else num_folds
    return (folds[None, :] != np.arange(num_folds)[:, None]).astype(np.float32)


class Parts(NamedTuple):
    """How much each example counts in F trainings, and where it is held out of them."""

    fitted: Any  # (F, N) float32
    held_out: Any  # (F, N) float32, 0 where an example does not judge


def parts(folds: Int[AnyArray, "N"], weight: AnyArray | None = None) -> Parts:
    """The trainings of a cross-validation: number f sees all folds but f, and is judged on f.

    Args:
        folds: (N,) fold numbers 0..F-1.  An example of fold -1 is never held out, so one fold
            of others makes a validation part.
        weight: (N,), how much each example counts; default all 1.

    Raises:
        ValueError: fold numbers with gaps, nothing to train on, or a part without any weight.
    """
    folds = checks.folds(folds, len(folds), spared=True)
    weight = checks.example_weights(weight, len(folds))
    fitted = train_weights(folds)
    found = Parts(*(part.astype(np.float32) for part in (fitted * weight, (1 - fitted) * weight)))
    for part, where in zip(found, ("outside", "in"), strict=True):
        if (empty := ~part.any(axis=1)).any():
            raise ValueError(f"weight is 0 for all examples {where} fold {int(empty.argmax())}")
    return found


def balanced_weights(labels: Int[AnyArray, "N"]) -> np.ndarray:
    """Weights (N,) float32 that give every class the same total: N / (C * count of its class).

    Their mean is 1; C is the number of classes that occur.  Source: King and Zeng 2001.
    """
    _, member, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    return (len(member) / (len(counts) * counts[member])).astype(np.float32)


def validation_mask(
    key: jax.Array, labels: Int[AnyArray, "N"], fraction: float = 0.2
) -> Bool[np.ndarray, "N"]:
    """True for a random, stratified part of about `fraction` of the examples, False for the rest.

    Args:
        fraction: strictly between 0 and 1; round(fraction * N) examples are taken, each
            class as near to its share as whole examples allow.

    Raises:
        ValueError: a fraction outside (0, 1), or one that leaves a part empty.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    labels = np.asarray(labels)
    size = round(fraction * len(labels))
    checks.count(size, "the size of the validation part", 1, len(labels) - 1)
    # Rank the examples inside their class, spread evenly over 0..1; the lowest are taken.
    shuffled = _permutation(key, len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(starts, sizes)
    quantile = (rank + 0.5) / np.repeat(sizes, sizes)
    mask = np.zeros(len(labels), bool)
    mask[by_class[np.argsort(quantile, kind="stable")[:size]]] = True
    return mask


def _permutation(key: Any, size: int) -> np.ndarray:
    return np.asarray(jax.random.permutation(key, jnp.arange(size, dtype=jnp.int32)))
