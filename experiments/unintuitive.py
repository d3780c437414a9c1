"""Distances are unintuitive: three altered copies, all equally far from the original in L2."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np

from experiments.lab import run, style, tuning, words
from experiments.lab.experiment import AGREES, DIFFERS, Findings, Outcome, Plot, Table
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import knn

SLIDES = "23-24"
QUESTION = "What does L2 take for similar?"
CLAIM = (
    "Distances between whole images can be very unintuitive: three altered images have the same "
    "L2 distance to the original (23)."
)
SECONDS = 1
CHANGES = ("shifted", "dimmed", "covered")
TOLERANCE = 1e-4  # of a distance


@dataclass(frozen=True)
class Settings:
    num_originals: int = flag(3, "training images altered, the first of so many classes", low=1)
    num_searched: int = flag(2000, "training images searched, the first ones", low=10, smoke=200)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Copies of equal distance, and how many training images are nearer than they are."""
    train = tuning.rows(data.train, settings.num_searched)
    classes = range(min(settings.num_originals, data.num_classes))
    places = [int(np.argmax(train.y == label)) for label in classes]
    originals = train.X[places].astype(np.float64).reshape(-1, *data.image_shape)
    copies = np.stack([_altered(image, data.levels[0]) for image in originals])
    apart = np.sqrt(np.sum((copies - originals[:, None]) ** 2, axis=(2, 3, 4)))
    others = knn.neighbors(knn.fit(train.X), train.X[places], len(train.y))
    nearer = others.distances < apart.max(axis=1, keepdims=True) ** 2
    of_other_class = train.y[others.indices] != train.y[places][:, None]
    numbers = {
        "searched": len(train.y),
        "nearer": nearer.sum(axis=1) - 1,  # without the original itself
        "nearer_other": np.sum(nearer & of_other_class, axis=1),
    }
    arrays = {"originals": originals, "copies": copies, "apart": apart}
    return Outcome(numbers, arrays | {"labels": train.y[places]})


def _altered(image: np.ndarray, low: float) -> np.ndarray:
    """Shifted, dimmed and covered copies (3, H, W, C), as far as the weakest change reaches."""
    height, width = image.shape[:2]
    covered = image.copy()
    covered[height // 4 : height // 2 + 1, width // 4 : -(-3 * width // 4)] = low
    changes = np.stack([np.roll(image, 1, axis=1), np.full_like(image, low), covered]) - image
    lengths = np.sqrt(np.sum(changes**2, axis=(1, 2, 3), keepdims=True))
    if not lengths.min():
        raise ValueError("an image that a shift, dimming or a box does not change cannot be shown")
    return image + changes * (lengths.min() / lengths)


def findings(record: Record) -> Findings:
    """The distances, how equal they are, and what else is as near."""
    apart, numbers = record.arrays["apart"], record.numbers
    spread = float(np.max(np.ptp(apart, axis=1) / apart.min(axis=1)))
    nearer, total = sum(numbers["nearer"]), len(apart) * numbers["searched"]
    sentences = [
        f"The three copies of an image are equally far from it to {words.power(spread, 1)} of the "
        f"distance (to be at most {words.power(TOLERANCE)}), and do not look equally alike.",
        f"Of {total:,} comparisons with training images, {nearer:,} are nearer than the copies, "
        f"{sum(numbers['nearer_other']):,} of them of another class.",
    ]
    verdict = AGREES if spread <= TOLERANCE else DIFFERS
    return Findings(sentences, verdict, (_table(record),))


def _table(record: Record) -> Table:
    """The distances of the copies, to six digits."""
    rows = [
        (record.class_names[label], *(f"{distance:.6g}" for distance in distances), f"{nearer:,}")
        for label, distances, nearer in zip(
            record.arrays["labels"], record.arrays["apart"], record.numbers["nearer"], strict=True
        )
    ]
    header = ("image of", *CHANGES, "training images nearer than that")
    return Table("L2 distance of each copy to its original.", header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """Each original with its copies."""
    arrays = record.arrays
    pictures = np.concatenate([arrays["originals"][:, None], arrays["copies"]], axis=1)
    names = [record.class_names[label] for label in arrays["labels"]]
    rows, columns = pictures.shape[:2]
    height = 5.6 * rows / columns * record.image_shape[0] / record.image_shape[1] + 0.3
    title = f"L2 finds these {columns - 1} copies of each image equally far from it"
    figure, axes = style.canvas(height=height, title=title)
    colours = style.pixels(np.clip(pictures, *record.data["levels"]), record.data["levels"])
    labels = [f"{name}\nat {apart[0]:.3g}" for name, apart in
              zip(names, arrays["apart"], strict=True)]  # fmt: skip
    style.tiles(axes, colours, labels, ("original", *CHANGES))
    yield Plot(
        "copies",
        figure,
        "First column: a training image. Then three copies, each changed as far as the weakest "
        "change reaches: moved by a pixel, dimmed, a box over it. All three have the same L2 "
        "distance to the original, which stands beside its class.",
        f"A grid of {rows} images, each with a shifted, a dimmed and a covered copy. {title}.",
    )


if __name__ == "__main__":
    sys.exit(run.main(__file__))
