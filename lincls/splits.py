"""Which example is in which part: fold numbers and weights, never copies of the data.

A fold assignment is one array (N,) of fold numbers 0..F-1 (slide 21).  To train on all folds but
f is to train with the weights `folds != f`.  The two parts of a train/validation split are the
assignment with F = 2.
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

    Args:
        num_examples: N.
        num_folds: F, 2..N.

    Raises:
        TypeError, ValueError: no whole numbers, fewer than 2 folds, more folds than examples.
    """
    num_examples = checks.count(num_examples, "num_examples", high=2**31 - 1)
    num_folds = checks.count(num_folds, "num_folds", 2, num_examples)
    sizes = [len(part) for part in np.array_split(np.empty(num_examples), num_folds)]
    return np.repeat(np.arange(num_folds, dtype=np.int32), sizes)


def shuffled_folds(key: jax.Array, num_examples: int, num_folds: int) -> Int[np.ndarray, "N"]:
    """Folds of the same sizes as `folds`, dealt at random (arguments as there)."""
    return folds(num_examples, num_folds)[_permutation(key, num_examples)]


def stratified_folds(
    key: jax.Array, labels: Shaped[AnyArray, "N"], num_folds: int
) -> Int[np.ndarray, "N"]:
    """Random folds in which every class has its share: counts of a class differ by at most 1.

    Fold sizes differ by at most 1 as well, because the dealing goes on from one class
    to the next where it stopped.

    Args:
        labels: (N,) classes, numbers or text.
        num_folds: F, 2..N.

    Raises:
        TypeError, ValueError: as `folds`; labels of another shape, or missing ones.
    """
    labels = checks.column(labels, "labels")
    num_folds = checks.count(num_folds, "num_folds", 2, len(labels))
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

    Args:
        groups: (N,) names of groups, numbers or text.
        num_folds: F, at least 2 and at most the number of groups.

    Raises:
        TypeError, ValueError: as `folds`; groups of another shape, or missing ones.
    """
    groups = checks.column(groups, "groups")
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    num_folds = checks.count(num_folds, "num_folds", 2, len(names))
    order = _permutation(key, len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group = np.empty(len(names), np.int32)
    filled = np.zeros(num_folds, np.int64)
    for group in order:
        fold_of_group[group] = smallest = filled.argmin()
        filled[smallest] += sizes[group]
    return fold_of_group[member]


def train_weights(folds: Int[AnyArray, "N"], num_folds: int | None = None) -> np.ndarray:
    """The weights (F, N) float32 of F trainings: row f is 0 on fold f and 1 elsewhere.

    Args:
        folds: (N,) fold numbers 0..F-1; an example of fold -1 is in every training.
        num_folds: F; by default the largest fold number plus one.

    Raises:
        TypeError, ValueError: folds that are not integers, another shape, one out of range.
    """
    folds = checks.column(folds, "folds")
    high = len(folds) if num_folds is None else checks.count(num_folds, "num_folds")
    checks.within(folds, "folds", -1, high - 1)
    num_folds = int(folds.max(initial=-1)) + 1 if num_folds is None else num_folds
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
        TypeError: fold numbers or weights that are not numbers.
        ValueError: fold numbers with gaps, nothing to train on, or a part without any weight.
    """
    folds = checks.within(checks.column(folds, "folds"), "folds", -1, np.iinfo(np.int32).max)
    folds = checks.folds(folds, len(folds), spared=True)
    weight = checks.example_weights(weight, len(folds))
    fitted = train_weights(folds)
    found = Parts(*(part.astype(np.float32) for part in (fitted * weight, (1 - fitted) * weight)))
    for part, where in zip(found, ("outside", "in"), strict=True):
        if (empty := ~part.any(axis=1)).any():
            raise ValueError(f"weight is 0 for all examples {where} fold {int(empty.argmax())}")
    return found


def balanced_weights(labels: Shaped[AnyArray, "N"]) -> np.ndarray:
    """Weights (N,) float32 that give every class the same total: N / (C * count of its class).

    Their mean is 1; C is the number of classes that occur.  Source: King and Zeng 2001.

    Args:
        labels: (N,) classes, numbers or text.

    Raises:
        TypeError, ValueError: objects, labels of another shape, or missing ones.
    """
    labels = checks.column(labels, "labels")
    _, member, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (len(member) / (len(counts) * counts[member])).astype(np.float32)


def validation_mask(
    key: jax.Array, labels: Shaped[AnyArray, "N"], fraction: float = 0.2
) -> Bool[np.ndarray, "N"]:
    """True for a random, stratified part of about `fraction` of the examples, False for the rest.

    Args:
        labels: (N,) classes, numbers or text.
        fraction: strictly between 0 and 1; round(fraction * N) examples are taken, each
            class as near to its share as whole examples allow.

    Raises:
        TypeError: no key, objects, a fraction that is not a number.
        ValueError: labels of another shape, or missing ones; a fraction outside (0, 1), or one
            that leaves a part empty.
    """
    if not 0 < checks.number(fraction, "fraction") < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    labels = checks.column(labels, "labels")
    size = round(fraction * len(labels))
    checks.count(size, "the validation part, fraction * N,", 1, len(labels) - 1)
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
    return np.asarray(jax.random.permutation(checks.key(key), jnp.arange(size, dtype=jnp.int32)))
