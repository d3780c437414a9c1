"""What every reader of this package returns, and the error that it may raise.

A reader makes two `Split`s.  `dataset.build` checks them against each other, takes their
digest and returns the `Dataset`.  Everything is numpy on the host, memory-mapped where the
file allows it.  Nothing here touches a device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from lincls import checks, files
from lincls.structs import AnyArray


class DataUnavailable(OSError):
    """A data set is not there and cannot be fetched; the message says what to do."""


_SHOWN = 10  # classes that a data set is printed with


class Split(NamedTuple):
    """The examples of a training or test set, in the order of their source."""

    images: np.ndarray  # (N, H, W, C) uint8; (N, D) uint8 or floating for features
    labels: np.ndarray  # (N,) int32, indices of class_names


class Source(NamedTuple):
    """Where the bytes came from, for a record of results."""

    location: str  # path of the file or folder, or the package or function that made them
    official: bool | None  # whether they are the publisher's; None: not fully verifiable
    digest: str  # SHA-256 over dtype, shape and content of the arrays
    description: str  # for people: "cifar10, not the official files"


class Groups(NamedTuple):
    """Who belongs together: the group of every example, by number or by name."""

    train: np.ndarray  # (N,)
    test: np.ndarray  # (M,)


class Dataset(NamedTuple):
    """A classification task: `class_names[labels[i]]` is what `images[i]` shows."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    source: Source
    groups: Groups | None = None  # where a column of a table, or an array, was named

    def __repr__(self) -> str:
        """Shapes instead of pixels."""
        parts = (f"{name} {split.images.shape} {split.images.dtype}"
                 for name, split in (("train", self.train), ("test", self.test)))  # fmt: skip
        names = ", ".join(self.class_names[:_SHOWN])
        more = f", .. {len(self.class_names)} in all" if len(self.class_names) > _SHOWN else ""
        return f"<Dataset {self.name}: {', '.join(parts)}, classes {names}{more}>"


def rows(images: Shaped[AnyArray, "N ..."]) -> Shaped[AnyArray, "N D"]:
    """Return images (N, H, W, C) as rows (N, D), without copying where memory allows.

    Raises:
        TypeError, ValueError: as `checks.rows`.
    """
    return checks.rows(images, "images")


def build(
    name: str,
    class_names: Sequence[str],
    train: Split,
    test: Split,
    *,
    location: str,
    official: bool | None = None,
    description: str | None = None,
) -> Dataset:
    """Check two splits against each other and return them as a `Dataset`.

    Args:
        name: of the data set.
        class_names: C names.
        train: images (N, H, W, C) or features (N, D), and labels (N,).
        test: likewise, of the same shape of an example and in the same units.
        location: where the bytes came from.
        official: whether they are the publisher's; None where that cannot be verified.
        description: for people; by default the name.

    Raises:
        ValueError: a split without examples, images and labels of unequal length, a label
            outside `0..C-1`, or unequal image shapes.
        TypeError: bytes in one split and floats in the other.
    """
    for part, (images, labels) in (("train", train), ("test", test)):
        where = f"{name}: the {part} part of {location}"
        if len(images) == 0:
            raise ValueError(f"{where} holds no examples")
        if len(images) != len(labels):
            raise ValueError(f"{where} holds {len(images)} images and {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= len(class_names):
            found = f"{labels.min()}..{labels.max()}"
            raise ValueError(f"{where}: labels must lie in 0..{len(class_names) - 1}, got {found}")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{name}: an example has shape {train.images.shape[1:]} in the training part of "
            f"{location} and {test.images.shape[1:]} in its test part; they must agree"
        )
    dtypes = train.images.dtype, test.images.dtype
    if (dtypes[0] == np.uint8) != (dtypes[1] == np.uint8):
        raise TypeError(
            f"{name}: the training images of {location} are {dtypes[0]} and its test images "
            f"{dtypes[1]}; give both as bytes 0..255, or both as floats in the same units"
        )
    source = Source(location, official, digest(train, test), description or name)
    return Dataset(name, tuple(class_names), train, test, source)


def digest(*splits: Split) -> str:
    """Return the SHA-256 (hex) over dtype, shape and bytes of all arrays, in row-major order."""
    return files.digest(array for split in splits for array in split)
