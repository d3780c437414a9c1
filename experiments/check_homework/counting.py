"""Accuracy, confusion, folds, scores and cross-validation of k, right and wrong."""

from collections.abc import Callable

import numpy as np

from experiments.check_homework.distances import l2
from experiments.check_homework.neighbours import classifier
from experiments.check_homework.roles import Function, Role
from experiments.check_homework.votes import majority

Array = np.ndarray
_RANDOM = np.random.default_rng(0)
COUNTED = {"predictions": np.array([0, 2, 2, 1, 0]), "y": np.array([0, 1, 2, 1, 2])}
ACCURACY = Role(
    "accuracy(predictions, labels) -> share in 0..1", "(compute_)?accuracy(_score)?",
    ("predictions", "y"),
    {"three of five": COUNTED, "all right": {"predictions": np.arange(4), "y": np.arange(4)},
     "one wrong example": {"predictions": np.array([1]), "y": np.array([0])}},
    {"": lambda predictions, y: np.mean(predictions == y)},
    [("The number of right ones is returned: divide by all.",
      lambda predictions, y: np.sum(predictions == y)),
     ("This is in percent: return a share in 0..1.",
      lambda predictions, y: 100 * np.mean(predictions == y)),
     ("This is the share of wrong ones.", lambda predictions, y: np.mean(predictions != y)),
     ("The division drops its fraction: use / instead of //.",
      lambda predictions, y: np.sum(predictions == y) // len(y))],
)  # fmt: skip


def confused(predictions: Array, y: Array, num_classes: int) -> Array:
    """Counts (C, C): a row for each label."""
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (y, predictions), 1)
    return counts


def _once(predictions: Array, y: Array, num_classes: int) -> Array:
    return np.minimum(confused(predictions, y, num_classes), 1)


THREE = COUNTED | {"num_classes": 3}
TWICE = {"predictions": np.array([1, 1, 0, 1]), "y": np.array([0, 0, 0, 1]), "num_classes": 2}
CONFUSION = Role(
    "confusion(predictions, labels, num_classes) -> (C, C), rows are labels",
    "confusion(_matrix)?", ("predictions", "y", "num_classes"),
    {"three classes": THREE, "two classes": TWICE}, {"": confused},
    [("Rows and columns are swapped: a row is a label, a column a prediction.",
      lambda predictions, y, num_classes: confused(predictions, y, num_classes).T),
     ("Repeated pairs count once: use np.add.at, as counts[y, p] += 1 forgets repeats.", _once),
     ("Shares are returned: return counts.",
      lambda predictions, y, num_classes: confused(predictions, y, num_classes) / len(y))],
)  # fmt: skip


def split(num_examples: int, num_folds: int) -> Array:
    """Fold numbers in the order of the file; the first folds are the larger ones."""
    parts = np.array_split(np.arange(num_examples), num_folds)
    return np.concatenate([np.full(len(part), f) for f, part in enumerate(parts)])


def _cut(num_examples: int, num_folds: int) -> Array:
    size = num_examples // num_folds
    return np.repeat(np.arange(num_folds), size)


FOLDS = Role(
    "folds(num_examples, num_folds) -> fold numbers (N,), in file order", "folds",
    ("num_examples", "num_folds"),
    {"10 examples, 5 folds": {"num_examples": 10, "num_folds": 5},
     "11 examples, 3 folds (4, 4, 3)": {"num_examples": 11, "num_folds": 3},
     "as many folds as examples": {"num_examples": 4, "num_folds": 4}},
    {"": split},
    [("The last examples are in no fold: N need not divide by the folds.", _cut),
     ("The folds take turns: keep the order of the file, one block for each fold.",
      lambda num_examples, num_folds: np.arange(num_examples) % num_folds),
     ("The folds are numbered from 1: count from 0.",
      lambda num_examples, num_folds: split(num_examples, num_folds) + 1),
     ("The last fold takes the whole rest: sizes differ by one at most.",
      lambda num_examples, num_folds: np.minimum(
          np.arange(num_examples) // (num_examples // num_folds), num_folds - 1))],
)  # fmt: skip

SLIDE_28 = (
    np.array([[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0.0, 0.25, 0.2, -0.3]]),
    np.array([1.1, 3.2, -1.2]),
)
SCORES = Role(
    "scores(params, X) -> (N, C), params = (W, b)", "scores", ("params", "X"),
    {"six rows": {"params": SLIDE_28, "X": _RANDOM.normal(0, 1, (6, 4))},
     "the image of slide 28 (uint8)": {"params": SLIDE_28,
                                       "X": np.array([[56, 231, 24, 2]], np.uint8)},
     "as many rows as features": {"params": SLIDE_28, "X": _RANDOM.normal(0, 1, (4, 4))}},
    {"": lambda params, X: X @ params[0].T + params[1]},
    [("The bias b is missing.", lambda params, X: X @ params[0].T),
     ("The bias b is subtracted.", lambda params, X: X @ params[0].T - params[1]),
     ("The result is transposed: a row for each example.",
      lambda params, X: (X @ params[0].T + params[1]).T)],
)  # fmt: skip

# --- cross-validation of k ---------------------------------------------------------------------

Part = Callable[[Array, Array], tuple[Array, Array]]  # folds' numbers, fold -> training, held out


def validated(part: Part, k_of: Callable[[int, list[int]], int] | None = None) -> Function:
    """Accuracies (K, F): one row for each k, one column for each fold."""

    def function(X: Array, y: Array, num_folds: int, k_choices: list[int]) -> Array:
        numbers, predict = split(len(X), num_folds), classifier(l2, majority)
        found = np.zeros((len(k_choices), num_folds))
        for row, k in enumerate(k_choices):
            used = k_of(k, k_choices) if k_of else k
            for fold in range(num_folds):
                train, held = part(numbers, np.array(fold))
                found[row, fold] = np.mean(predict(X[train], y[train], X[held], used) == y[held])
        return found

    return function


def _held_out(numbers: Array, fold: Array) -> tuple[Array, Array]:
    return numbers != fold, numbers == fold


def _errors(X: Array, y: Array, num_folds: int, k_choices: list[int]) -> Array:
    return 1 - validated(_held_out)(X, y, num_folds, k_choices)


RIGHT = validated(_held_out)
LINE = {"X": _RANDOM.permutation(24)[:, None] ** 1.1, "y": _RANDOM.integers(0, 2, 24)}
CROSS_VALIDATION = Role(
    "knn_cross_validate(X, y, num_folds, k_choices) -> {k: accuracies of the folds}",
    r"(?i)(knn_|k_?fold_)?cross_?valid(ate|ation)(_k(nn)?)?", ("X", "y", "num_folds", "k_choices"),
    {"four folds": LINE | {"num_folds": 4, "k_choices": [3, 5, 9]},
     "two folds": LINE | {"num_folds": 2, "k_choices": [3, 7, 9]}},
    {"folds in the order of the file": RIGHT,
     "means over the folds": lambda **a: RIGHT(**a).mean(axis=1)},
    [("The held-out fold is left in the training set.",
      validated(lambda numbers, fold: (numbers >= 0, numbers == fold))),
     ("The accuracy is that of the training folds: predict the held-out one.",
      validated(lambda numbers, fold: (numbers != fold, numbers != fold))),
     ("Training and held-out folds are swapped.",
      validated(lambda numbers, fold: (numbers == fold, numbers != fold))),
     ("k is fixed in the loop: every k has the accuracy of the first one.",
      validated(_held_out, lambda k, ks: ks[0])),
     ("k is fixed in the loop: every k has the accuracy of the last one.",
      validated(_held_out, lambda k, ks: ks[-1])),
     ("k is not passed on: every k has the accuracy of k = 1.",
      validated(_held_out, lambda k, ks: 1)),
     ("The held-out fold is always the first.",
      validated(lambda numbers, fold: (numbers != 0, numbers == 0))),
     ("These are errors: return accuracies.", _errors)],
)  # fmt: skip
ROLES = (ACCURACY, CONFUSION, FOLDS, SCORES, CROSS_VALIDATION)
