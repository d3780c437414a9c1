"""kNN in the plane: regions and ties for several k, and accuracy on its own training data."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from scipy import ndimage

from experiments.lab import run, style, tuning, words
from experiments.lab.experiment import AGREES, DIFFERS, Answer, Findings, Outcome, Plot
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import evaluation, knn
from lincls.data import toy

SLIDES = "18-19"
QUESTION = "What does a vote of k neighbours change?"
CLAIM = (
    "The label is the one most frequent among the k nearest training samples: 5-NN has smoother "
    "regions than NN, and ties between them (18). What can be said of the accuracy on the "
    "training data for k = 1 and k = 5 (19)?"
)
SECONDS = 2


@dataclass(frozen=True)
class Settings:
    ks: tuple[int, ...] = flag((1, 5), "numbers of neighbours", low=1)
    num_points: int = flag(150, "points in the plane, of three classes", low=10)
    noise: float = flag(0.4, "blur of the classes", low=0)
    resolution: int = flag(180, "places along an axis that are classified", low=2, smoke=60)
    max_train: int = flag(2000, "training images, the first ones", low=10, smoke=300)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Regions and ties among points; accuracy on what the neighbours are, and without itself."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    points, labels = toy("blobs", rng, num_train=settings.num_points, noise=settings.noise).train
    reach = 1.05 * float(np.abs(points).max())
    ticks = np.linspace(-reach, reach, settings.resolution, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    voters, _ = _voters(tuning.Rows(points, labels), grid.reshape(-1, 2), max(settings.ks))
    shape = (len(settings.ks), *grid.shape[:2])
    regions = np.reshape(knn.predictions_by_k(voters, settings.ks, 3), shape)
    ties = knn.ties_by_k(voters, settings.ks, 3).reshape(shape)
    numbers = {
        "reach": reach,
        "islands": [_islands(region) for region in regions],
        "ties": ties.mean(axis=(1, 2)),
        "points": _on_itself(tuning.Rows(points, labels), 3, settings.ks),
        "images": _on_itself(
            tuning.rows(data.train, settings.max_train), data.num_classes, settings.ks
        ),
    }
    arrays = {"points": points, "labels": labels, "regions": regions, "ties": ties}
    return Outcome(numbers, arrays)


def _voters(train: tuning.Rows, queries: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and indices (M, k) of the nearest training examples."""
    found = knn.neighbors(knn.fit(train.X), queries, k)
    return train.y[found.indices], np.asarray(found.indices)


def _islands(region: np.ndarray) -> int:
    """How many connected pieces the classes' regions fall into."""
    return sum(ndimage.label(region == label)[1] for label in np.unique(region))


def _on_itself(train: tuning.Rows, num_classes: int, ks: tuple[int, ...]) -> dict[str, Any]:
    """Training examples right for each k, with their own vote and without it."""
    voters, indices = _voters(train, train.X, max(ks) + 1)
    others = np.where(indices == np.arange(len(train.y))[:, None], -1, voters)
    with_own = knn.predictions_by_k(voters, ks, num_classes)
    without = knn.predictions_by_k(others, [k + 1 for k in ks], num_classes)
    return {
        "total": len(train.y),
        "own": np.sum(np.asarray(with_own) == train.y, axis=1),
        "others": np.sum(np.asarray(without) == train.y, axis=1),
    }


def findings(record: Record) -> Findings:
    """Islands, ties, accuracy on the training data."""
    ks, numbers = record.settings["ks"], record.numbers
    sentences = [
        f"k = {k}: the regions are {islands} pieces, {ties:.1%} of the square is a tie."
        for k, islands, ties in zip(ks, numbers["islands"], numbers["ties"], strict=True)
    ]
    sentences += [_about(record, place) for place in range(len(ks))]
    first, last = (numbers["images"]["own"][place] for place in (0, -1))
    smoother = numbers["islands"][-1] <= numbers["islands"][0]
    perfect = ks[0] != 1 or first == numbers["images"]["total"]
    sentences.append(
        "A point is its own nearest neighbour: with k = 1 the training data are all right unless "
        "equal images have different labels. It says nothing of other images; what each one's "
        "neighbours say without it does."
    )
    verdict = AGREES if smoother and perfect and last <= first else DIFFERS
    told = "; ".join(
        f"k = {k}: {islands} pieces, {own / numbers['images']['total']:.1%} of its own training "
        "images right"
        for k, islands, own in zip(ks, numbers["islands"], numbers["images"]["own"], strict=True)
    )
    return Findings(sentences, verdict, by_slides={"18-19": Answer(verdict, told)})


def _about(record: Record, place: int) -> str:
    """Accuracy on the training images for one k, with and without an image's own vote."""
    found = record.numbers["images"]
    own, others, total = (found["own"][place], found["others"][place], found["total"])
    interval = words.between(evaluation.wilson_interval(others, total))
    return (
        f"k = {record.settings['ks'][place]} on {record.data['name']}: {own / total:.1%} of "
        f"{total:,} training images right, {others / total:.1%} without their own vote (95% "
        f"interval {interval}%)."
    )


def draw(record: Record) -> Iterator[Plot]:
    """The regions for every k, ties white."""
    ks, islands = record.settings["ks"], record.numbers["islands"]
    title = f"k = {ks[-1]} leaves {islands[-1]} pieces of the {islands[0]} that k = {ks[0]} has"
    figure, axes = style.canvas(1, len(ks), height=3.95, title=title, sharey=True, squeeze=False)
    own = record.numbers["points"]
    for place, axis in enumerate(axes[0]):
        _draw_regions(axis, record, place)
        axis.set_title(f"k = {ks[place]}: {own['own'][place] / own['total']:.0%} of its own right")
    yield Plot(
        "regions",
        figure,
        f"{own['total']} points of three classes (dots, squares, triangles), the square shaded by "
        "the vote of the nearest ones. White: a tie of votes, which goes to the smaller label. "
        "Islands around single points are what k = 1 learned from noise.",
        f"{len(ks)} pictures of shaded regions around scattered points, ragged for small k, "
        f"smoother for greater, with white places of tied votes. {title}.",
    )


def _draw_regions(axes: Axes, record: Record, place: int) -> None:
    reach, arrays = record.numbers["reach"], record.arrays
    extent, colors = (-reach, reach) * 2, style.CYCLE[:3]
    region = np.ma.masked_array(arrays["regions"][place], arrays["ties"][place])
    axes.imshow(region, origin="lower", extent=extent, cmap=ListedColormap(colors), vmin=0,
                vmax=2, alpha=0.3, interpolation="nearest")  # fmt: skip
    for label, (color, marker) in enumerate(zip(colors, style.MARKERS, strict=False)):
        chosen = arrays["points"][arrays["labels"] == label]
        axes.plot(*chosen.T, marker, ms=4, color=color, mec="white", mew=0.4)
    axes.grid(False)
    axes.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1), xlabel="first feature")
    axes.set(ylabel="second feature" if place == 0 else "")


if __name__ == "__main__":
    sys.exit(run.main(__file__))
