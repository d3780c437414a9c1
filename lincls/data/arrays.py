"""A data set of one's own: from arrays, from an .npz file, or from .npy files in a folder.

Labels may be integers or text; whatever they are, they become numbers 0..C-1 with names.
Arrays in files stay on disk and are memory-mapped, unless the file is compressed.
"""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from lincls import checks
from lincls.data import dataset
from lincls.data.dataset import Dataset, Split
from lincls.structs import ALIGNMENT

# The names that an array may have in a file.
KEYS: Mapping[str, tuple[str, ...]] = {
    "images": ("train_images", "X_train", "x_train", "images", "X", "x", "data"),
    "labels": ("train_labels", "y_train", "labels", "y", "target"),
    "test_images": ("test_images", "X_test", "x_test"),
    "test_labels": ("test_labels", "y_test"),
    "class_names": ("class_names", "target_names"),
}
_EXTRA = struct.Struct("<HH")  # number and length of an extra field
_HEADER = 30 + _EXTRA.size + 16  # bytes of a member's header and of its field of long sizes


def from_arrays(
    images: Any,
    labels: Any,
    test_images: Any = None,
    test_labels: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    test_fraction: float = 0.2,
    seed: int | None = 0,
    name: str = "arrays",
    location: str = "arrays in memory",
) -> Dataset:
    """Make a `Dataset` of arrays.

    Without a test part, `test_fraction` of the examples become one: those that
    `numpy.random.default_rng(seed).permutation(N)` lists first, in their own order.  With
    `seed=None` they are the last ones, and both parts are views: right for memory-mapped
    arrays whose examples are already mixed.

    Args:
        images: (N, H, W, C), (N, H, W) for one channel, or features (N, D).  uint8 and
            floating values stay as they are; other integers must lie in 0..255 and
            become uint8.
        labels: (N,) or (N, 1), whole numbers or text.  Numbers stay as they are where
            all lie in 0..C-1, with C the length of `class_names` or, without those, where
            each of 0..C-1 occurs.  Others, and text, are numbered in sorted order.
        test_images: the test part, likewise; give both or neither.
        test_labels: the test part, likewise.
        class_names: a name for each number; by default the labels as text.
        test_fraction: the share of the test part where none is given, above 0, below 1.
        seed: of the choice of the test part, or None for the last examples.
        name: what results call the data set.
        location: where they say it lies.

    Raises:
        TypeError, ValueError: for anything else than the above.
    """
    if (test_images is None) != (test_labels is None):
        raise ValueError("test_images and test_labels must be given together, or neither")
    images = _as_images(images, "images")
    labels = _as_labels(labels, "labels")
    if test_images is None:
        train_index, test_index = _split(len(images), test_fraction, seed)
        _check_length(images, labels, "labels")
        test_images, test_labels = images[test_index], labels[test_index]
        images, labels = images[train_index], labels[train_index]
    else:
        test_images = _as_images(test_images, "test_images")
        test_labels = _as_labels(test_labels, "test_labels")
    numbers, class_names = _number(np.concatenate([labels, test_labels]), class_names)
    train = Split(images, numbers[: len(labels)])
    test = Split(test_images, numbers[len(labels) :])
    return dataset.build(name, class_names, train, test, location=location)


def from_npz(
    path: str | Path,
    *,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> Dataset:
    """Read a data set from an .npz file, or from a folder of .npy files.

    The arrays are those of `from_arrays`, called `images` and `labels` (or `X`, `y`; `x`;
    `data`, `target`), or `train_images`, `train_labels`, `test_images`, `test_labels` (or
    `X_train`, `y_train`, `X_test`, `y_test`; `x_train`, ...), and if you like
    `class_names`.  In a folder each lies in a file of that name with `.npy`; `path` may
    then also be one of the files.  Arrays of .npy files, and of .npz files that
    `numpy.savez` wrote, are memory-mapped; `numpy.savez_compressed` forbids that.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is damaged, or arrays are missing or unfit.
    """
    path = Path(path)
    if path.suffix == ".npy":
        path = path.parent
    arrays = _open_folder(path) if path.is_dir() else open_npz(path)
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
    return from_arrays(
        **found,
        class_names=None if names is None else [str(n) for n in names.tolist()],
        test_fraction=test_fraction,
        seed=seed,
        name=path.stem,
        location=str(path),
    )


def _as_images(images: Any, name: str) -> np.ndarray:
    images = np.asanyarray(checks.as_array(images, name))
    if images.dtype.kind in "iub" and images.dtype != np.uint8:
        if images.size and (images.min() < 0 or images.max() > 255):
            raise ValueError(
                f"{name} of {images.dtype} must lie in 0..255, got {images.min()}..{images.max()}; "
                f"for features use {name}.astype(np.float32)"
            )
        images = images.astype(np.uint8)
    checks.rows(images, name)
    if images.ndim > 4:
        raise ValueError(f"{name} must be (N, H, W, C), (N, H, W) or (N, D), got {images.shape}")
    return images[..., None] if images.ndim == 3 else images


def _as_labels(labels: Any, name: str) -> np.ndarray:
    """Labels (N,) as integers or text."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"{name} must have shape (N,), got {labels.shape}; "
            f"for one-hot labels use {name}.argmax(axis=1)"
        )
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels):
        return labels.astype(str)
    if labels.dtype.kind == "f" and np.array_equal(labels, np.floor(labels)):
        return labels.astype(np.int64)
    if labels.dtype.kind not in "iubU":
        raise TypeError(f"{name} must be whole numbers or text, got {labels.dtype}")
    return labels


def _check_length(images: np.ndarray, labels: np.ndarray, name: str) -> None:
    if len(images) != len(labels):
        raise ValueError(f"{name} must have shape ({len(images)},), got {labels.shape}")


def _number(
    labels: np.ndarray, class_names: Sequence[str] | None
) -> tuple[np.ndarray, Sequence[str]]:
    """Labels as int32 in 0..C-1, and the C names."""
    values, numbers = np.unique(labels, return_inverse=True)
    if class_names is None:
        return numbers.astype(np.int32), [str(value) for value in values]
    if labels.dtype.kind == "U":
        known = {name: i for i, name in enumerate(class_names)}
        if unknown := [value for value in values.tolist() if value not in known]:
            raise ValueError(f"labels holds {unknown[0]!r}, which is none of class_names")
        return np.array([known[v] for v in values.tolist()], np.int32)[numbers], class_names
    if len(values) and not 0 <= values[0] <= values[-1] < len(class_names):
        raise ValueError(
            f"labels must lie in 0..{len(class_names) - 1}, for {len(class_names)} class_names; "
            f"got {values[0]}..{values[-1]}"
        )
    return labels.astype(np.int32), class_names


def _split(
    num_examples: int, test_fraction: float, seed: int | None
) -> tuple[np.ndarray | slice, np.ndarray | slice]:
    """Indices of the training and of the test part."""
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must be above 0 and below 1, got {test_fraction}")
    num_test = max(1, round(num_examples * test_fraction))
    if num_test >= num_examples:
        raise ValueError(f"images has {num_examples} examples, too few to set a test part aside")
    if seed is None:
        return slice(num_examples - num_test), slice(num_examples - num_test, None)
    is_test = np.zeros(num_examples, bool)
    is_test[np.random.default_rng(seed).permutation(num_examples)[:num_test]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _open_folder(path: Path) -> Mapping[str, np.ndarray]:
    """The .npy files of a folder, memory-mapped."""
    try:
        return {file.stem: np.load(file, mmap_mode="r") for file in sorted(path.glob("*.npy"))}
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"a .npy file in {path} cannot be read: {error}") from error


def open_npz(path: Path) -> Mapping[str, np.ndarray]:
    """Return the arrays of an .npz file, memory-mapped where they are not compressed.

    Raises:
        ValueError: it is damaged (its checksums are compared), or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            return {
                info.filename.removesuffix(".npy"): _read_member(archive, info, file)
                for info in archive.infolist()
            }
    except OSError:
        raise
    except Exception as error:  # the readers of zip files and of headers may fail anywhere
        raise ValueError(f"{path} is damaged, or holds more than plain arrays: {error}") from error


def save_npz(file: BinaryIO, /, **entry: np.ndarray) -> None:
    """`numpy.savez` with arrays at multiples of `ALIGNMENT`, where JAX takes mapped ones over.

    A field of zeros before the content fills up (its number is that of Android's `zipalign`).
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in entry.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            start = file.tell() + _HEADER + len(info.filename.encode()) + _EXTRA.size
            info.extra = _EXTRA.pack(0xD935, -start % ALIGNMENT) + bytes(-start % ALIGNMENT)
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: BinaryIO) -> np.ndarray:
    """An array of an .npz file: mapped from `file` at its place in the archive, or read."""
    with archive.open(info) as member:
        if info.compress_type != zipfile.ZIP_STORED:
            return np.lib.format.read_array(member, allow_pickle=False)
        while member.read(1 << 20):  # to the end, where zipfile compares the checksum
            pass
    # What precedes the content: a header of 30 bytes that ends with the lengths of the
    # name and of an extra field (PKWARE's APPNOTE, 4.3.7).
    file.seek(info.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    file.seek(name_length + extra_length, io.SEEK_CUR)
    shape, fortran, dtype = _read_header(file)
    order: Literal["C", "F"] = "F" if fortran else "C"
    return np.memmap(file, dtype, "r", file.tell(), shape, order)


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and dtype of an array in NumPy's format."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        header = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of NumPy's format")
    if header[2].hasobject:
        raise ValueError("an array of Python objects; save text as an array of dtype str")
    return header
