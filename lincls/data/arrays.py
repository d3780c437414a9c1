"""A data set of one's own: from arrays, from an .npz file, or from .npy files in a folder.

Labels are whole numbers or text.  They become numbers 0..C-1, and the classes get names.
Arrays in files stay on disk and are memory-mapped, unless the file is compressed.
"""

import numbers
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lincls import checks, files
from lincls.data import dataset
from lincls.data.dataset import Dataset, Groups, Split

# The names that an array may have in a file.
KEYS: Mapping[str, tuple[str, ...]] = {
    "images": (
        "train_images", "X_train", "x_train", "train_embeddings", "train_features", "train_feats",
        "images", "X", "x", "data", "embeddings", "features", "feats",
    ),
    "labels": ("train_labels", "y_train", "labels", "y", "target"),
    "test_images": (
        "test_images", "X_test", "x_test", "test_embeddings", "test_features", "test_feats",
    ),
    "test_labels": ("test_labels", "y_test"),
    "class_names": ("class_names", "target_names"),
    "row_groups": ("row_groups",), "test_row_groups": ("test_row_groups",),  # of tables
}  # fmt: skip
EXACT = 2**53  # a floating number of 64 bits counts exactly up to here


def from_arrays(
    images: Any,
    labels: Any,
    test_images: Any = None,
    test_labels: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    groups: Any = None,
    test_groups: Any = None,
    test_fraction: float = 0.2,
    seed: int | None = 0,
    name: str = "arrays",
    location: str = "arrays in memory",
) -> Dataset:
    """Make a `Dataset` of arrays.

    Without a test part, a share of the examples is set aside: those that
    `numpy.random.default_rng(seed).permutation(N)` lists first, in their own order.  With
    `seed=None` they are the last ones, and both parts are views.  That suits memory-mapped
    arrays whose examples are already mixed.

    Args:
        images: (N, H, W, C) with C = 1 or 3, (N, H, W) for one channel, or features (N, D).
            uint8 and floating values stay as they are.  Other integers must lie in 0..255
            and become uint8.
        labels: (N,) or (N, 1), whole numbers or text.  Numbers stay as they are where all
            lie in 0..C-1, with C the length of `class_names`, or, without class names, where
            each of 0..C-1 occurs.  Other numbers, and text, are numbered in sorted order.
        test_images: the test part, in the units of `images`.  Give both of it or neither.
        test_labels: its labels, numbers or text as `labels` are.
        class_names: C names, one for each number.  By default, the labels as text.
        groups: (N,) numbers or text, who belongs together.  No group is set aside in part.
        test_groups: those of the test part, if there is one.
        test_fraction: the share to set aside, above 0 and below 1.
        seed: of the choice of the examples to set aside, or None for the last ones.
        name: what results call the data set.
        location: where results say that it lies.

    Returns:
        The data set, with images (N, H, W, C) or (N, D) and int32 labels.

    Raises:
        TypeError: an argument of another kind, such as text, objects or a sparse matrix;
            bytes in one part and floats in the other.
        ValueError: another shape, values out of range, masked values.
    """
    if (test_images is None) != (test_labels is None):
        raise ValueError("test_images and test_labels must be given together, or neither")
    images, labels = _as_images(images, "images"), _as_labels(labels, "labels")
    groups = _as_groups(groups, "groups", len(images))
    if test_images is None:
        train_index, test_index = _split(len(images), test_fraction, seed, groups)
        if len(images) != len(labels):
            raise ValueError(f"labels must have shape ({len(images)},), got {labels.shape}")
        if groups is not None:
            groups, test_groups = groups[train_index], groups[test_index]
        test_images, test_labels = images[test_index], labels[test_index]
        images, labels = images[train_index], labels[train_index]
    else:
        test_images = _as_images(test_images, "test_images")
        test_labels = _as_labels(test_labels, "test_labels")
        if (labels.dtype.kind == "U") != (test_labels.dtype.kind == "U"):
            raise TypeError(
                "labels and test_labels must both be numbers or both be text, got "
                f"{labels.dtype} and {test_labels.dtype}"
            )
    indices, names = _number(np.concatenate([labels, test_labels]), class_names)
    train = Split(images, indices[: len(labels)])
    test = Split(test_images, indices[len(labels) :])
    found = dataset.build(name, names, train, test, location=location)
    test_groups = _as_groups(test_groups, "test_groups", len(test_images))
    if (groups is None) != (test_groups is None):
        raise ValueError("groups and test_groups must be given together, or neither")
    return found if groups is None else found._replace(groups=Groups(groups, test_groups))


def from_npz(
    path: str | Path,
    *,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> Dataset:
    """Read a data set from an .npz file, or from a folder of .npy files.

    The arrays are those of `from_arrays`.  Their names are `images` and `labels` (or `X`,
    `y`; `x`; `data`, `target`; `embeddings`, `features`, `feats`), or `train_images`,
    `train_labels`, `test_images` and `test_labels` (or `X_train`, `y_train`, `X_test`, `y_test`;
    `x_train`, `x_test`; `train_embeddings`, ..), and `class_names` if there are any.  Arrays of
    other names are not used.

    Arrays of .npy files, and of .npz files that `numpy.savez` wrote, are memory-mapped.
    Those that `numpy.savez_compressed` wrote are read into memory.

    Args:
        path: an .npz file; a folder with an .npy file for each array; or one of those files.
        test_fraction: the share to set aside where there is no test part.
        seed: of the choice of these examples, as in `from_arrays`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is damaged (the checksums of an .npz are compared), or arrays are
            missing or unfit.
    """
    path = Path(path)
    if path.suffix == ".npy":
        if not any(path.stem in keys for keys in KEYS.values()):
            raise ValueError(
                f"{path} must be called X.npy, with its labels in y.npy beside it; or keep both "
                "in one file by np.savez(path, X=X, y=y)"
            )
        path = path.parent
    return from_named(named(path), path, test_fraction=test_fraction, seed=seed)


def from_named(
    arrays: Mapping[str, np.ndarray], path: Path, *, test_fraction: float, seed: int | None
) -> Dataset:
    """Make a `Dataset` of the arrays that a file holds, by their names.

    Raises:
        ValueError: arrays that are missing or unfit, with the path.
    """
    found = {
        role: next((arrays[key] for key in keys if key in arrays), None)
        for role, keys in KEYS.items()
    }
    for role in ("images", "labels"):
        if found[role] is None:
            raise ValueError(
                f"{path} must hold an array called {' or '.join(KEYS[role])}, "
                f"it holds {', '.join(arrays) or 'none'}"
            )
    names = found.pop("class_names")
    groups, test_groups = found.pop("row_groups"), found.pop("test_row_groups")
    try:
        return from_arrays(
            **found,
            groups=groups,
            test_groups=test_groups,
            class_names=None if names is None else [*map(str, _as_labels(names, "class_names"))],
            test_fraction=test_fraction,
            seed=seed,
            name=path.absolute().name.removesuffix(".npz"),  # f.csv and f.npz are two data sets
            location=str(path),
        )
    except (TypeError, ValueError) as error:  # the file is to blame, not the caller
        raise ValueError(f"{path}: {error}") from error


def named(path: Path, also: Callable[[str], bool] = lambda name: False) -> Mapping[str, np.ndarray]:
    """The arrays of an .npz file, or of the .npy files of a folder, memory-mapped where possible.

    Args:
        path: the file or the folder.
        also: which names of a folder's files are used beside those of KEYS; no other is opened.
    """
    if not path.is_dir():
        return files.read_npz(path, mapped=True)
    known = {key for keys in KEYS.values() for key in keys}
    found = sorted(file for file in path.glob("*.npy") if file.stem in known or also(file.stem))
    return {file.stem: files.map_npy(file) for file in found}


def _as_images(images: Any, name: str) -> np.ndarray:
    images = np.asanyarray(checks.as_array(_unmasked(images, name), name))
    if images.dtype.kind in "iub" and images.dtype != np.uint8:
        if images.size and (images.min() < 0 or images.max() > 255):
            raise ValueError(
                f"{name} of {images.dtype} must lie in 0..255, got {images.min()}..{images.max()}; "
                f"for features use {name}.astype(np.float32)"
            )
        images = images.astype(np.uint8)
    checks.rows(images, name)
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim > 4 or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise ValueError(
            f"{name} must be (N, H, W, C) with 1 or 3 channels, (N, H, W) or features (N, D), "
            f"got {images.shape}; {_how_to_shape(images.shape, name)}"
        )
    return images


def _how_to_shape(shape: tuple[int, ...], name: str) -> str:
    """What to type for images whose channels are others than 1 or 3, or are elsewhere."""
    if len(shape) == 4 and shape[3] == 4:
        return f"to drop the transparency use {name}[..., :3]"
    if len(shape) == 4 and shape[1] in (1, 3):
        return f"to put the channels last use np.moveaxis({name}, 1, -1)"
    return f"to take them as features use {name}.reshape(len({name}), -1)"


def _unmasked(values: Any, name: str) -> Any:
    """`values`, unless something in them is hidden by a mask, by jit, or left out as zero."""
    checks.concrete(values, name)
    if hasattr(values, "toarray"):
        raise TypeError(
            f"{name} must be an array, got the sparse {type(values).__name__}; use {name}.toarray()"
        )
    if isinstance(values, np.ma.MaskedArray):
        if count := np.ma.count_masked(values):
            raise ValueError(
                f"{name} has {count} masked values; leave out their examples, or say what they "
                f"are by {name}.filled(value)"
            )
        return values.data
    return values


def _as_labels(labels: Any, name: str) -> np.ndarray:
    """Labels (N,) as int64, bool or text."""
    labels = _unmasked(labels, name)
    try:
        labels = np.asarray(labels)
    except Exception as error:  # of the library whose array this is
        raise TypeError(f"{name} must be a list of numbers or of text; {error}") from error
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        remedy = f"for one-hot labels use {name}.argmax(axis=1)"
        several = "each example needs exactly one class; lincls.multilabel takes several"
        remedy = remedy if is_one_hot(labels) else several
        raise ValueError(f"{name} must have shape (N,), got {labels.shape}; {remedy}")
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind in "bU":
        return labels
    if np.can_cast(labels.dtype, np.int64):
        return labels.astype(np.int64)
    values = labels.tolist()
    are_text = any(isinstance(value, str) for value in values)
    fits = [isinstance(value, str) if are_text else _is_whole(value) for value in values]
    if not all(fits):
        row = fits.index(False)
        raise TypeError(
            f"{name} must be text, or whole numbers that are exact in 64 bits; "
            f"got {values[row]!r} in row {row}"
        )
    return np.array(values, str if are_text else np.int64)


def _as_groups(groups: Any, name: str, num_examples: int) -> np.ndarray | None:
    """Groups (N,) as whole numbers or text."""
    if groups is None:
        return None
    groups = _as_labels(groups, name)
    if groups.shape != (num_examples,):
        raise ValueError(f"{name} must have shape ({num_examples},), got {groups.shape}")
    return groups


def is_one_hot(labels: np.ndarray) -> bool:
    is_flags = labels.ndim == 2 and labels.dtype.kind in "biuf" and np.isin(labels, (0, 1)).all()
    return bool(is_flags and (labels.sum(axis=1) == 1).all())


def _is_whole(value: Any) -> bool:
    """Whether a Python value is a whole number that keeps its digits as int64."""
    if isinstance(value, numbers.Integral):
        return abs(int(value)) < 2**63
    return isinstance(value, numbers.Real) and abs(float(value)) <= EXACT and value % 1 == 0


def _number(
    labels: np.ndarray, class_names: Sequence[str] | None
) -> tuple[np.ndarray, Sequence[str]]:
    """Labels as int32 in 0..C-1, and the C names."""
    values, indices = np.unique(labels, return_inverse=True)
    if class_names is None:
        return indices.astype(np.int32), [str(value) for value in values]
    if isinstance(class_names, str) or np.ndim(class_names) != 1:
        raise TypeError(f"class_names must be a list of names, got {checks.shown(class_names)}")
    known = {str(name): i for i, name in enumerate(class_names)}
    if len(known) < len(class_names):
        raise ValueError(f"class_names must differ from one another, got {list(class_names)}")
    if labels.dtype.kind == "U":
        if unknown := [value for value in values.tolist() if value not in known]:
            raise ValueError(f"labels holds {unknown[0]!r}, which is none of class_names")
        return np.array([known[v] for v in values.tolist()], np.int32)[indices], list(known)
    if len(values) and not 0 <= values[0] <= values[-1] < len(known):
        raise ValueError(
            f"labels must lie in 0..{len(known) - 1}, for {len(known)} class_names; "
            f"got {values[0]}..{values[-1]}"
        )
    return labels.astype(np.int32), list(known)


def _split(
    num_examples: int, test_fraction: float, seed: int | None, groups: np.ndarray | None = None
) -> tuple[np.ndarray | slice, np.ndarray | slice]:
    """Indices of the training and of the test part; of groups, whole ones."""
    checks.kind(test_fraction, numbers.Real, "test_fraction", "0.2")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must be above 0 and below 1, got {test_fraction}")
    if groups is not None:
        return _split_groups(groups, test_fraction, 0 if seed is None else seed)
    num_test = max(1, round(num_examples * test_fraction))
    if num_test >= num_examples:
        raise ValueError(f"images has {num_examples} examples, too few to set a test part aside")
    if seed is None:
        return slice(num_examples - num_test), slice(num_examples - num_test, None)
    order = np.random.default_rng(checks.count(seed, "seed", 0)).permutation(num_examples)
    return np.sort(order[num_test:]), np.sort(order[:num_test])


def _split_groups(
    groups: np.ndarray, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices without and with the groups that are drawn until they hold the share of examples."""
    values, of_row, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(values) < 2:
        raise ValueError(f"groups must hold at least 2 groups, got {values[0]} everywhere")
    order = np.random.default_rng(checks.count(seed, "seed", 0)).permutation(len(values))
    held = np.cumsum(counts[order]) - counts[order] < test_fraction * len(groups)
    held[-1] = False
    is_test = np.isin(of_row, order[held])
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
