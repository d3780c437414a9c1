"""What `experiments.knn_plane` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import DIFFERS, Answer, Findings, Plot
from lincls import evaluation

SLIDES = "18-19"
QUESTION = "What does a vote of k neighbours change?"
CLAIM = (
    "The label is the one most frequent among the k nearest training samples: 5-NN has smoother "
    "regions than NN, and ties between them (18). What can be said of the accuracy on the "
    "training data for k = 1 and k = 5 (19)?"
)
SECONDS = 2


def findings(record: Record) -> Findings:
    """Islands, ties, accuracy on the training data."""
    ks, numbers, verdicts = record.settings["ks"], record.numbers, _verdicts(record)
    sentences = [
        f"k = {k}: the regions are {islands} pieces, {ties:.1%} of the square is a tie."
        for k, islands, ties in zip(ks, numbers["islands"][0], numbers["ties"], strict=True)
    ]
    more = _more(record)
    smoother = (
        f"over {len(numbers['islands'])} draws of the points k = {ks[0]} has {more.low:z.1f} to "
        f"{more.high:z.1f} pieces more than k = {ks[-1]} (95% interval)"
    )
    sentences.append(f"{words.capital(smoother)}.")
    sentences += [_about(record, place) for place in range(len(ks))]
    sentences.append(
        "A point is its own nearest neighbour: with k = 1 the training data are all right unless "
        "equal images have different labels. It says nothing of other images; what each one's "
        "neighbours say without it does."
    )
    on_itself = "; ".join(
        f"k = {k}: {own / numbers['images']['total']:.1%} of its own training images right"
        for k, own in zip(ks, numbers["images"]["own"], strict=True)
    )
    answers = {
        "18": Answer(verdicts["18"], smoother),
        "19": Answer(verdicts["19"], on_itself),
    }
    return Findings(sentences, answers)


def _verdicts(record: Record) -> dict[str, str]:
    """Whether the last k has fewer pieces; whether k = 1 has all of its own right, more than it."""
    ks, found = record.settings["ks"], record.numbers["images"]
    last = evaluation.wilson_interval(found["own"][-1], found["total"])
    perfect = ks[0] != 1 or found["own"][0] == found["total"]
    below = evaluation.Interval(*(found["own"][0] / found["total"] - np.array(last))[::-1])
    return {
        "18": intervals.above_zero(_more(record)),
        "19": intervals.above_zero(below) if perfect else DIFFERS,
    }


def _more(record: Record) -> evaluation.Interval:
    """Pieces that the first k has more than the last: the interval of their mean over draws."""
    islands = np.asarray(record.numbers["islands"])
    return intervals.of_mean(islands[:, 0] - islands[:, -1])


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
    ks, islands = record.settings["ks"], record.numbers["islands"][0]
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
