"""The data of one experiment, with the test set behind a gate that counts.

An experiment chooses on the training set and opens the test set once, at the end.  Each
opening is counted and says what for; the count stands in results.json and on the page.
"""

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from experiments.lab import progress
from lincls import checks, data
from lincls.data.dataset import Dataset, Split

SOURCE = ("dataset", "data_dir", "data_url", "size", "crop", "labels")  # flags, as `load` has them


class Data:
    """A data set: `train` at hand, the test split through `open_test` alone.

    Attributes:
        name: e.g. "digits".
        class_names: one text per class.
        train: `images` (N, H, W, C) and `labels` (N,).
        source: for people: what the data are, and whether the pixels are the official ones.
        digest: a hash of every image and label.
        groups: of the training and the test examples, where a column of a table was named.
        test_uses: what the test set was opened for, once per opening.

    Raises:
        ValueError: NaN or infinity in either part, told before hours are spent on choosing.
    """

    def __init__(self, dataset: Dataset) -> None:
        checks.finite(dataset.train.images, "the training part of the features")
        checks.finite(dataset.test.images, "the test part of the features")
        self.name = dataset.name
        self.class_names = list(dataset.class_names)
        self.train = dataset.train
        self.source = dataset.source.description
        self.digest = dataset.source.digest
        self.num_test = len(dataset.test.labels)
        self.test_uses: list[str] = []
        self._test = dataset.test
        self.groups = dataset.groups

    def open_test(self, purpose: str) -> Split:
        """The test split; `purpose` says what it is used for, and is written down."""
        self.test_uses.append(purpose)
        return self._test

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """How an example is drawn: (H, W, C); a row of features as an image of one line."""
        shape = self.train.images.shape[1:]
        return shape if len(shape) == 3 else (1, shape[0], 1)

    @cached_property  # it looks at all of them
    def levels(self) -> tuple[float, float]:
        """The least and the greatest value a picture of these data is drawn with."""
        return float(self.train.images.min()), float(self.train.images.max())


@lru_cache(maxsize=1)
def load(
    name_or_path: str,
    data_dir: str,
    data_url: str = "",
    size: int = 0,
    crop: bool = False,
    labels: str = "",
    groups: str = "",
) -> Dataset:
    """The data set behind the flags of these names, read once for all experiments."""
    folder = Path(data_dir) if data_dir else None
    with progress.noting():
        return data.load(
            name_or_path, data_dir=folder, url=data_url or None, size=size or None, crop=crop,
            labels=labels or None, groups=groups or None,
        )  # fmt: skip


def of(common: Any, groups: str = "") -> Dataset:
    """The data set that a program's shared flags name; `groups` names a column of a table."""
    return load(*(getattr(common, name) for name in SOURCE), groups=groups)
