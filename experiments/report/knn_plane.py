"""What `experiments.knn_plane` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import AGREES, DIFFERS, UNDECIDED, Answer, Findings, Plot, Table
from lincls.evaluation import Interval

SLIDES = "18-19"
QUESTION = "What does a vote of k neighbours change?"
CLAIM = (
    "The label is the most frequent one among the k nearest training samples. 5-NN has smoother "
    "regions than NN, and ties (18). What is the accuracy on the training data for k = 1 and "
    "k = 5 (19)?"
)
SECONDS = 2


def findings(record: Record) -> Findings:
    """How many regions there are, and the accuracy on the training data."""
    ks, fewer, table = record.settings["ks"], _fewer(record), _table(record)
    smoother = (
        f"with k = {ks[-1]} there are {fewer.low:z.1f} to {fewer.high:z.1f} fewer regions than "
        f"with k = {ks[0]} (95 % CI, {len(record.numbers['islands'])} draws of points)"
    )
    own = ", ".join(f"{row[3]} (k = {row[0]})" for row in table.rows)
    trained = f"the accuracy on the training data is {own}"
    others = f"without an example's own vote it is {table.rows[0][4]} for k = {ks[0]}"
    answers = {
        "18": Answer(intervals.above_zero(fewer), smoother),
        "19": Answer(_perfect(record), trained),
    }
    told = [f"{words.capital(one)}." for one in (smoother, trained, others)]
    return Findings(told, answers, (table,))


def _fewer(record: Record) -> Interval:
    """Regions of the first k less those of the last: the interval of the mean over draws."""
    islands = np.asarray(record.numbers["islands"])
    return intervals.of_mean(islands[:, 0] - islands[:, -1])


def _perfect(record: Record) -> str:
    """Whether k = 1 makes no mistake on the training data: a fact of these data."""
    ks, found = record.settings["ks"], record.numbers["images"]
    if 1 not in ks:
        return UNDECIDED
    return AGREES if found["own"][ks.index(1)] == found["total"] else DIFFERS


def _table(record: Record) -> Table:
    """Regions and ties in the plane, accuracy on the training data, for each k."""
    numbers, found = record.numbers, record.numbers["images"]
    own = [words.percent(count / found["total"]) for count in found["own"]]
    others = [words.of_count(count, found["total"]) for count in found["others"]]
    regions, ties = map(str, numbers["islands"][0]), map(words.percent, numbers["ties"])
    rows = list(zip(map(str, record.settings["ks"]), regions, ties, own, others, strict=True))
    caption = (
        f"The points of the figure, and {found['total']:,} training examples of "
        f"{record.data['name']}. An example is its own nearest neighbour."
    )
    header = ("k", "regions", "area of ties", "training accuracy", "without its own vote")
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The regions for every k, ties white."""
    ks, islands, own = record.settings["ks"], record.numbers["islands"][0], record.numbers["points"]
    title = f"{islands[0]} regions with k = {ks[0]}, {islands[-1]} with k = {ks[-1]}"
    figure, axes = style.canvas(1, len(ks), height=3.95, title=title, sharey=True, squeeze=False)
    for place, axis in enumerate(axes[0]):
        _draw_regions(axis, record, place)
        share = words.percent(own["own"][place] / own["total"], 0)
        axis.set_title(f"k = {ks[place]}: training accuracy {share}")
    caption = (
        f"{own['total']} points of three classes; the shade is the vote of the k nearest. White: a "
        "tie of votes, which goes to the smaller label."
    )
    alt = f"{len(ks)} pictures of shaded regions around scattered points. {title}."
    yield Plot("regions", figure, caption, alt)


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
