"""A picture of photos, each beside the training photos nearest to it."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from experiments.report import style, words
from lincls import checks, files, knn, models
from lincls.knn import KNN

MOST = 20  # photos in a picture


def draw(
    path: Path, saved: models.Saved, given: Sequence[Path], images: np.ndarray, count: int
) -> None:
    """Write a PNG: a row for each photo, then its nearest training photos with their labels.

    Raises:
        ValueError: as `check`.
    """
    check(saved, count)
    assert isinstance(saved.model, KNN)
    assert saved.image_shape is not None
    names = saved.class_names or tuple(map(str, range(saved.model.num_classes or 0)))
    given, images = given[:MOST], images[:MOST]
    found = knn.neighbors(saved.model, images, count)
    near = np.asarray(saved.model.X)[found.indices].reshape(-1, count, *saved.image_shape)
    labels = np.asarray(knn.neighbor_labels(saved.model, found))
    pictures = np.concatenate([images[:, None], near], axis=1)
    rows = [
        f"{words.shortened(file.name, 20)}\n{', '.join(names[label] for label in row)}"
        for file, row in zip(given, labels, strict=True)
    ]
    columns = ["photo", *(str(rank + 1) for rank in range(count))]
    with mpl.rc_context(style.PARAMETERS):
        figure, axes = style.canvas(height=0.6 + 6.0 * len(rows) / (count + 1))
        style.tiles(axes, style.pixels(pictures, (0, 255)), rows, columns)
        style.as_typed(figure)
        files.write(path, lambda file: figure.savefig(file, format="png"))


def check(saved: models.Saved, count: int) -> None:
    """Refuse what cannot be drawn.

    Raises:
        ValueError: the model is linear, or has fewer training photos.
    """
    if not isinstance(saved.model, KNN):
        raise ValueError("--neighbors needs a kNN model; use train ... --classifier knn")
    checks.count(count, "--neighbors", high=saved.model.X.shape[0])
