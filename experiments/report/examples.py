"""How a report names and draws examples: images, or vectors of features."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.lab.record import Record
from experiments.report import style

STRIP = 64  # features of a vector that a picture shows, the first ones


def are_vectors(record: Record) -> bool:
    """Whether the examples are vectors, which a record keeps as images of one line."""
    height, _, channels = record.image_shape
    return height == channels == 1


def noun(record: Record) -> str:
    """What an example is called."""
    return "vector" if are_vectors(record) else "image"


def size(record: Record) -> str:
    """What an example holds: "8 × 8 × 1 numbers", "32 features"."""
    if are_vectors(record):
        return f"{record.image_shape[1]:,} features"
    return f"{' × '.join(map(str, record.image_shape))} numbers"


def colours(record: Record, images: np.ndarray) -> np.ndarray:
    """Images (..., H, W, C) as colours; a vector as a strip, a quarter as high as wide."""
    if are_vectors(record):
        images = images[..., :STRIP, :]
        images = np.repeat(images, max(1, images.shape[-2] // 4), axis=-3)
    levels = record.data["levels"]
    return style.pixels(np.clip(images, *levels), levels)


def grid(
    record: Record,
    images: np.ndarray,
    names: Sequence[str],
    columns: Sequence[str] = (),
    *,
    title: str,
) -> tuple[Figure, list[list[Rectangle]]]:
    """A figure of images (R, C, H, W, channels) in rows with names, and their outlines."""
    pictures = colours(record, images)
    rows, across, height, width, _ = pictures.shape
    room = 6.9 - 0.08 * max(len(line) for name in names for line in name.split("\n"))
    shape = (height / width + 0.14) / 1.14  # of a picture with the gap beside it
    tall = room * rows / across * shape + (0.3 if columns else 0.1)
    figure, axes = style.canvas(height=tall, title=title)
    return figure, style.tiles(axes, pictures, names, columns)
