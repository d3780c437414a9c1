"""What `experiments.linear_plane` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from experiments.lab.record import Record
from experiments.linear_plane import B, W, X
from experiments.report import style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    Answer,
    Findings,
    Plot,
    Printed,
    Table,
)
from lincls import evaluation

SLIDES = "26-31"
QUESTION = "What can a straight line separate?"
CLAIM = (
    "A linear classifier decides by a weighted sum of the features (26). It need not keep the "
    "training data (27). In the 2 × 2 example the scores are −96.8, 437.9 and 61.95 (28)."
)
SECONDS = 2
SEPARABLE = {None: "–", True: "yes", False: "no"}
REACH = 1.7  # the figures show [-REACH, REACH] in both features


def findings(record: Record) -> Findings:
    """Accuracies in the plane, what no line separates, what a model stores, slide 28."""
    numbers, toys, printed = record.numbers, record.settings["toys"], _printed(record)
    shares = ", ".join(f"{words.percent(_accuracy(record, name))} on {name}" for name in toys)
    lines = _about_lines(record) or f"lines separate {', '.join(toys)}"
    stored, kept = numbers["kept_by_linear"], numbers["kept_by_knn"]
    memory = f"the linear model stores {stored:,} numbers, nearest neighbour {kept:,}"
    scores = ", ".join(one.computed for one in printed)
    wrong = [f"; the slide prints {one.printed}: {one.why}" for one in printed if not one.right]
    answers = {
        "26-27": Answer(_of_lines(record), f"{lines}; {memory}"),
        "28": Answer(words.agreement(printed), f"scores {scores}{''.join(wrong)}"),
    }
    told = [f"a linear classifier has a test accuracy of {shares}", lines, memory]
    sentences = [f"{words.capital(one)}." for one in told]
    return Findings(sentences, answers, (_table(record),), printed)


def _about_lines(record: Record) -> str:
    """Which sets of points no line separates; empty if there are none."""
    toys = record.settings["toys"]
    impossible = [name for name in toys if record.numbers[name]["divided"] is False]
    return f"no straight line separates {', '.join(impossible)}" if impossible else ""


def _of_lines(record: Record) -> str:
    """Whether a line separates the blobs alone, and the model stores less than the data."""
    numbers = record.numbers
    as_expected = all(
        _hard(record, name) == (name != "blobs") and not numbers[name]["divided"]
        for name in record.settings["toys"]
    )
    less = numbers["kept_by_linear"] < numbers["kept_by_knn"]
    return AGREES if as_expected and less else DIFFERS


def _accuracy(record: Record, name: str) -> float:
    return record.numbers[name]["right"] / record.numbers[name]["total"]


def _hard(record: Record, name: str) -> bool:
    """Whether the accuracy is less than half way from the most frequent class to 100 %."""
    found = record.numbers[name]
    interval = evaluation.wilson_interval(found["right"], found["total"])
    return interval.high < (1 + found["chance"]) / 2


def _printed(record: Record) -> tuple[Printed, ...]:
    why = "b = −1.2 was not added"
    pairs = zip(("-96.8", "437.9", "61.95"), record.numbers["scores"], strict=True)
    return tuple(
        Printed("28", f"score of class {place}", text, number, why)
        for place, (text, number) in enumerate(pairs, 1)
    )


def _table(record: Record) -> Table:
    """Every set of points: the accuracy, chance, and whether any line separates it."""
    rows = [
        (name, words.of_count(found["right"], found["total"]), words.percent(found["chance"]),
         SEPARABLE[found["divided"]])
        for name, found in ((name, record.numbers[name]) for name in record.settings["toys"])
    ]  # fmt: skip
    caption = (
        "Test accuracy of a linear classifier in the plane. Of two classes, a linear program "
        "decides whether any line separates the training points."
    )
    header = ("points", "test accuracy", "most frequent class", "separable")
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """Slide 28's templates; the points in the plane with what a classifier makes of them."""
    yield _draw_example(record)
    yield _draw_plane(record)


def _draw_example(record: Record) -> Plot:
    """Slide 28: the image, the rows of W as images of its size, the scores."""
    scores = record.numbers["scores"]
    best = int(np.argmax(scores))
    title = f"Row {best + 1} of W has the highest score: {scores[best]:.1f}"
    figure, axes = style.canvas(1, 4, height=2.6, title=title)
    image = np.reshape(X, (2, 2))
    _draw_pixels(axes[0], image, "the image x", "gray", (0, 255))
    most = np.abs(W).max()
    for place, (row, offset, score) in enumerate(zip(W, B, scores, strict=True), 1):
        _draw_pixels(
            axes[place], np.reshape(row, (2, 2)), f"row {place} of W", "RdBu_r", (-most, most)
        )
        axes[place].set_xlabel(words.typeset(f"b = {offset:g}\nscore {score:.2f}"))
    caption = (
        "Slide 28 as pictures: each row of W is a template. A score is the sum of pixels times "
        "weights, plus b. Red weights count for the class, blue ones against it."
    )
    listed = ", ".join(f"{score:.2f}" for score in scores)
    alt = f"An image of 2 × 2 pixels and three templates with scores {listed}. {title}."
    return Plot("example", figure, caption, alt)


def _draw_pixels(
    axes: Axes, values: np.ndarray, title: str, colours: str, levels: tuple[float, float]
) -> None:
    """Four values as an image of 2 x 2, each written into its square."""
    low, high = levels
    axes.imshow(values, cmap=colours, vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(values):
        strong = value < 128 if colours == "gray" else abs(value) > 0.6 * high
        axes.text(column, row, words.typeset(f"{value:g}"), ha="center", va="center",
                  color="white" if strong else style.INK)  # fmt: skip
    axes.set(title=title, xticks=[], yticks=[])
    axes.grid(False)


def _draw_plane(record: Record) -> Plot:
    """Every set of points with the regions, lines and directions of its classifier."""
    names = record.settings["toys"]
    title = words.capital(_about_lines(record) or f"linear classifiers of {', '.join(names)}")
    rows = -(-len(names) // 2)
    figure, axes = style.canvas(rows, 2, height=3.75 * rows, title=title, squeeze=False)
    for place, name in zip(axes.flat, names, strict=False):
        _draw_points(place, record, name)
        place.label_outer()
    for place in axes.flat[len(names) :]:
        place.set_visible(False)
    caption = (
        "Dots: training points; shade: predicted class; percent: test accuracy. On a line the "
        "score of its class is 0. The arrow, a row of W, points to higher scores."
    )
    shares = ", ".join(f"{name} {words.percent(_accuracy(record, name), 0)}" for name in names)
    alt = f"{len(names)} scatter plots with lines and arrows; accuracy: {shares}. {title}."
    return Plot("plane", figure, caption, alt)


def _draw_points(axes: Axes, record: Record, name: str) -> None:
    points, labels, W, b = (
        record.arrays[f"{name}_{part}"] for part in ("points", "labels", "W", "b")
    )
    grid = np.linspace(-REACH, REACH, 200)
    scores = np.stack(np.meshgrid(grid, grid), axis=-1) @ W.T + b
    shades = ListedColormap(style.CYCLE[: len(W)])
    axes.imshow(scores.argmax(axis=-1), origin="lower", extent=(-REACH, REACH) * 2, cmap=shades,
                vmin=0, vmax=len(W) - 1, alpha=0.18, interpolation="nearest")  # fmt: skip
    for label, (row, offset) in enumerate(zip(W, b, strict=True)):
        color, marker = style.CYCLE[label], style.MARKERS[label]
        chosen = points[labels == label]
        axes.plot(*chosen.T, marker, ms=3.5, color=color, mec="white", mew=0.3)
        _draw_direction(axes, row, offset, color, "--" if len(W) == 2 and label else "-")
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    axes.set(xlabel="first feature", ylabel="second feature")
    accuracy = words.percent(_accuracy(record, name))
    axes.set(title=f"{name}: {accuracy}", xticks=(-1, 0, 1), yticks=(-1, 0, 1))


def _draw_direction(axes: Axes, row: np.ndarray, offset: float, color: str, line: str) -> None:
    """The line where a score is 0, and the direction in which it rises."""
    length = np.linalg.norm(row)
    if not length:
        return
    direction, foot = row / length, -offset * row / length**2
    along = np.array([-direction[1], direction[0]])
    axes.plot(*np.stack([foot - 9 * along, foot + 9 * along], axis=1), color=color, ls=line, lw=2)
    axes.annotate("", tuple(foot + 0.5 * direction), tuple(foot), annotation_clip=True,
                  arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2.2})  # fmt: skip
