"""Photos of a folder as training and test examples that keep their file names."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.lab.tuning import Rows
from lincls import checks, models, splits
from lincls.data import Dataset, Split, dataset, folders
from lincls.knn import KNN

TEST_FRACTION = 0.2
BEYOND = 1.0  # ranges of the training values, above the greatest, before units must differ


class Photos(NamedTuple):
    """A folder's photos, some of them set aside for the test."""

    name: str
    class_names: list[str]
    image_shape: tuple[int, int, int]
    train: Rows
    test: Rows
    test_files: list[Path]
    source: Dataset  # the same examples, for `models.save(trained_on=)`


def read(folder: Path, size: int, seed: int) -> Photos:
    """Read a folder with one folder for each class, or with train/ and test/ of such.

    Args:
        size: pixels of a side; photos are cut square around their middle. 0: as they are.
        seed: of the choice of the test photos, one fifth of each class, where there is no test/.

    Raises:
        FileNotFoundError, ValueError: as `data.from_folder`; fewer than two classes.
    """
    listed = folders.listed(folder)
    if len(listed.class_names) < 2:
        raise ValueError(f"{folder} holds one class, {listed.class_names[0]}; two are needed")
    files = [file for part in listed.paths for file in part]
    labels = np.concatenate(listed.labels)
    images = folders.read_images(files, size=size or None, crop=bool(size))
    if len(listed.paths) == 2:
        is_test = np.arange(len(files)) >= len(listed.paths[0])
    else:
        checks.count(len(files), "the number of photos", 5)
        is_test = splits.validation_mask(jax.random.key(seed), labels, TEST_FRACTION)
    name, labels = folder.absolute().name, labels.astype(np.int32)
    parts = [Split(images[part], labels[part]) for part in (~is_test, is_test)]
    source = dataset.build(name, listed.class_names, *parts, location=str(folder))
    train, test = (Rows(X.reshape(len(X), -1), y) for X, y in parts)
    tested = [file for file, test in zip(files, is_test, strict=True) if test]
    return Photos(name, listed.class_names, images.shape[1:], train, test, tested, source)


def as_trained(files: Sequence[Path], image_shape: tuple[int, ...]) -> np.ndarray:
    """Photos in the shape of the training images (H, W, C), cut around their middle.

    Raises:
        ValueError: files that are no images; all are counted.
    """
    height, width, channels = image_shape
    return folders.read_images(files, size=(height, width), crop=True, channels=channels)


def below(paths: Sequence[Path]) -> list[Path]:
    """Files as they are given, and all image files of folders.

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: a folder without images.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no image {path}")
        found += folders.images_below(path) if path.is_dir() else [path]
    return found


def note_units(saved: models.Saved, images: np.ndarray) -> None:
    """Warn of photos that are brighter than any training image by more than their whole range."""
    values = saved.value_range
    if values is None and isinstance(saved.model, KNN):
        X = np.asarray(saved.model.X)
        values = float(X.min()), float(X.max())
    if values is not None and images.max() > values[1] + BEYOND * (values[1] - values[0]):
        warnings.warn(
            f"photos have values up to {images.max()}, and the training images had "
            f"{values[0]:g} to {values[1]:g}; a model trained in other units misleads",
            stacklevel=2,
        )
