"""Images as arrays: type, shape and range, the pixel grid, samples, and distances between them."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
from matplotlib.axes import Axes

from experiments.lab import run, style, tuning, words
from experiments.lab.experiment import DIFFERS, Findings, Outcome, Plot, Printed, Table
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import distances, knn

SLIDES = "1-14"
QUESTION = "What does a classifier get to see of an image?"
CLAIM = (
    "Images are 3-D arrays of integers between 0 and 255 (3). Images of one class differ among "
    "themselves (4-9). CIFAR-10 has 50,000 training images of 32 × 32 (12). The L1 distance of "
    "the example is 456 (14)."
)
SECONDS = 1
WORKED_EXAMPLE = (  # slide 14: the test image and the training image
    (56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220),
    (10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112),
)


@dataclass(frozen=True)
class Settings:
    num_samples: int = flag(10, "images shown of each class, the first ones", low=1, smoke=3)
    num_compared: int = flag(500, "training images compared, the first ones", low=10, smoke=100)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """What the arrays are; samples of each class; distances within and between classes."""
    images, labels = data.train
    classes = [np.flatnonzero(labels == label) for label in range(min(10, data.num_classes))]
    shown = min(settings.num_samples, *map(len, classes))
    samples = np.stack([images[places[:shown]] for places in classes])
    compared = tuning.rows(data.train, settings.num_compared)
    within, between = _distances(compared)
    numbers = {
        "dtype": str(images.dtype),
        "low": images.min(),
        "high": images.max(),
        "counts": np.bincount(labels, minlength=data.num_classes),
        "worked": _worked_example(),
        "num_compared": len(compared.y),
        "nearer": float(np.mean(np.median(between) > within)),
    }
    arrays = {"grid": images[0].reshape(data.image_shape),
              "samples": samples.reshape(len(classes), shown, *data.image_shape),
              "within": within, "between": between}  # fmt: skip
    return Outcome(numbers, arrays)


def _worked_example() -> dict[str, int]:
    """Slide 14's distance, by the library and by slide 16's line on uint8, which wraps around."""
    test, train = np.array(WORKED_EXAMPLE, np.uint8)
    ours = knn.neighbors(knn.fit(train[None], metric=distances.l1), test[None], 1).distances
    return {"ours": int(ours[0, 0]), "slide_16": int(np.sum(np.abs(train - test)))}


def _distances(examples: tuning.Rows) -> tuple[np.ndarray, np.ndarray]:
    """L2 distances of all pairs of the same class, and of different classes."""
    X = examples.X.astype(np.float64)
    squares = np.sum(X**2, axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0))
    same = examples.y[:, None] == examples.y
    pairs = np.triu(np.ones_like(same), k=1).astype(bool)
    return apart[pairs & same], apart[pairs & ~same]


def findings(record: Record) -> Findings:
    """What an image is here, the counts, the worked example, within and between classes."""
    numbers, shape = record.numbers, record.image_shape
    printed, counts = _printed(record), numbers["counts"]
    within, between = record.arrays["within"], record.arrays["between"]
    sentences = [
        f"An image of {record.data['name']} is an array of shape {' × '.join(map(str, shape))} "
        f"and type {numbers['dtype']}, its numbers from {numbers['low']} to {numbers['high']}: "
        f"{np.prod(shape):,} numbers, {'in colour' if shape[-1] == 3 else 'brightness alone'}.",
        f"{record.data['num_train']:,} training and {record.data['num_test']:,} test images, "
        f"{min(counts):,} to {max(counts):,} training images in each of {len(counts)} classes.",
        f"Among {numbers['num_compared']} training images, two of one class are on average "
        f"{within.mean():.3g} apart (L2), two of different classes {between.mean():.3g}; "
        f"{numbers['nearer']:.0%} of the pairs of one class are nearer than half of the others.",
    ]
    fits = numbers["dtype"] == "uint8" and numbers["low"] >= 0 and numbers["high"] <= 255
    # The second line is what slide 16's code makes of slide 14, a trap and no print of the slide.
    agreement = words.agreement(printed[:1])
    tables = (_counts(record),)
    return Findings(sentences, agreement if fits else DIFFERS, tables, printed)


def _printed(record: Record) -> tuple[Printed, ...]:
    worked = record.numbers["worked"]
    trap = "np.abs(Xtr - x) wraps around on uint8; it is right for floats"
    return (
        Printed("14", "L1 distance", "456", worked["ours"]),
        Printed("16", "the same by slide 16's code on uint8", "456", worked["slide_16"], trap),
    )


def _counts(record: Record) -> Table:
    """Training images of each class."""
    pairs = zip(record.class_names, record.numbers["counts"], strict=True)
    rows = [(name, f"{count:,}") for name, count in list(pairs)[:20]]
    return Table("Training images of each class.", ("class", "images"), rows)


def draw(record: Record) -> Iterator[Plot]:
    """An image beside its numbers; samples of every class; distances as histograms."""
    yield _draw_numbers(record)
    yield _draw_samples(record)
    yield _draw_distances(record)


def _draw_numbers(record: Record) -> Plot:
    image, size = record.arrays["grid"], 12
    channel = image.mean(axis=-1)
    top, left = (max(0, (length - size) // 2) for length in channel.shape)
    part = channel[top : top + size, left : left + size]
    title = "What we see, and what a classifier gets: " + " × ".join(map(str, image.shape))
    figure, (seen, numbers) = style.canvas(1, 2, height=3.6, title=f"{title} numbers")
    seen.imshow(style.pixels(image, record.data["levels"]), interpolation="nearest")
    seen.set_title("the first training image")
    numbers.imshow(part, cmap="Greys_r", alpha=0.35, interpolation="nearest", aspect="equal")
    for (row, column), value in np.ndenumerate(part):
        numbers.text(column, row, f"{value:.0f}", ha="center", va="center", size=9)
    numbers.set_title("its numbers" if part.shape == channel.shape else "the middle of it")
    for axes in (seen, numbers):
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
    colour = " (the mean of the three channels)" if image.shape[-1] == 3 else ""
    return Plot(
        "numbers",
        figure,
        f"One image and the integers it is stored as{colour}. Nothing in them says which class "
        "it is: the semantic gap of slide 3.",
        f"A small image on the left, a grid of integers on the right. {title} numbers.",
    )


def _draw_samples(record: Record) -> Plot:
    samples, counts = record.arrays["samples"], record.numbers["counts"]
    rows, columns = samples.shape[:2]
    names = [f"{name} ({count:,})" for name, count in zip(record.class_names, counts, strict=True)]
    height = 5.9 * rows / columns * record.image_shape[0] / record.image_shape[1]
    title = f"Images of one class differ: the first {columns} of each"
    figure, axes = style.canvas(height=height, title=title)
    style.tiles(axes, style.pixels(samples, record.data["levels"]), names[:rows])
    return Plot(
        "samples",
        figure,
        f"The first {columns} training images of each class, with the class's number of training "
        "images (slide 12).",
        f"A grid of small images, {rows} classes by {columns} samples: {', '.join(names[:rows])}.",
    )


def _draw_distances(record: Record) -> Plot:
    within, between = record.arrays["within"], record.arrays["between"]
    title = (
        f"Two images of one class are {within.mean():.0f} apart on average, of two classes "
        f"{between.mean():.0f}"
    )
    figure, axes = style.canvas(height=2.9, title=title)
    _draw_histograms(axes, within, between)
    return Plot(
        "distances",
        figure,
        f"L2 distances between all pairs of the first {record.numbers['num_compared']} training "
        "images, as densities. Where the two overlap, distance alone cannot tell whether two "
        "images are of one class.",
        f"Two overlapping histograms of distances. {title}.",
    )


def _draw_histograms(axes: Axes, within: np.ndarray, between: np.ndarray) -> None:
    edges = np.linspace(0, max(within.max(), between.max()), 60).tolist()
    for values, label, color in (
        (between, "different classes", style.RED),
        (within, "the same class", style.BLUE),
    ):
        axes.hist(values, edges, density=True, histtype="stepfilled", alpha=0.25, color=color)
        axes.hist(values, edges, density=True, histtype="step", lw=2, color=color, label=label)
    axes.set(xlabel="L2 distance between two images", ylabel="density")
    axes.legend()


if __name__ == "__main__":
    sys.exit(run.main(__file__))
