"""What `experiments.linear_plane` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from experiments.lab.record import Record
from experiments.linear_plane import B, W, X
from experiments.report import style, words
from experiments.report.findings import AGREES, DIFFERS, Answer, Findings, Plot, Printed
from lincls import evaluation

SLIDES = "26-31"
QUESTION = "What can a straight line divide?"
CLAIM = (
    "A linear classifier decides by a linear combination of the features (26) and need not "
    "remember the training data (27). In the 2 × 2 example the scores are −96.8, 437.9 and 61.95 "
    "(28). Which classes would be hard for it (29)?"
)
SECONDS = 2
REACH = 1.7  # the figures show [-REACH, REACH] in both features


def findings(record: Record) -> Findings:
    """Accuracies in the plane, slide 28's scores, what has to be stored."""
    printed = _printed(record)
    numbers = record.numbers
    kept, stored = numbers["kept_by_knn"], numbers["kept_by_linear"]
    solved = [name for name in record.settings["toys"] if not _hard(record, name)]
    hard = [name for name in record.settings["toys"] if _hard(record, name)]
    sentences = [
        f"{name}: {_accuracy(record, name):.1%} of {numbers[name]['total']} new points right, "
        f"always naming the more frequent class {numbers[name]['chance']:.1%}."
        for name in record.settings["toys"]
    ]
    sentences += [
        f"Lines divide {', '.join(solved) or 'none'}. Not better than naming one class, or by "
        f"less than half of what is possible: {', '.join(hard) or 'none'}.",
        _about_lines(record),
        f"On {record.data['name']}, nearest neighbours keep {kept:,} numbers, the linear model "
        f"{stored:,}: {kept / stored:,.0f} times fewer.",
    ]
    impossible = [name for name in hard if numbers[name]["divided"] is False]
    expected = impossible == hard == [name for name in record.settings["toys"] if name != "blobs"]
    expected = expected and stored < kept
    solved_and_hard = (
        f"lines divide {', '.join(solved) or 'none'}; by a linear program none divides "
        f"{', '.join(impossible) or 'what is not tested'}"
    )
    answers = {
        "26-27": Answer(
            AGREES if expected else DIFFERS,
            f"{solved_and_hard}; the model keeps {kept / stored:,.0f} times fewer numbers",
        ),
        "28": Answer(words.agreement(printed), words.compared(printed)),
    }
    return Findings(sentences, answers, printed=printed)


def _about_lines(record: Record) -> str:
    """What the linear program decided of the training points of two classes."""
    toys = [name for name in record.settings["toys"] if record.numbers[name]["divided"] is not None]
    lines = {True: "one divides", False: "none divides"}
    told = ", ".join(f"{lines[record.numbers[name]['divided']]} {name}" for name in toys)
    return (
        "Is there any straight line with all training points of one class on one side and all of "
        f"the other beyond, found by training or not? A linear program decides: {told or 'no set'}."
    )


def _accuracy(record: Record, name: str) -> float:
    return record.numbers[name]["right"] / record.numbers[name]["total"]


def _hard(record: Record, name: str) -> bool:
    """Whether, of the way from the most frequent class to perfect, not half can be claimed."""
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


def draw(record: Record) -> Iterator[Plot]:
    """Slide 28's templates; the points in the plane with what a classifier makes of them."""
    yield _draw_example(record)
    yield _draw_plane(record)


def _draw_example(record: Record) -> Plot:
    """Slide 28: the image, the rows of W as images of its size, the scores."""
    scores = record.numbers["scores"]
    best = int(np.argmax(scores))
    title = f"Row {best + 1} of W fits the image best: its score is {scores[best]:.1f}"
    figure, axes = style.canvas(1, 4, height=2.6, title=title)
    image = np.reshape(X, (2, 2))
    _draw_pixels(axes[0], image, "the image x", "gray", (0, 255))
    most = np.abs(W).max()
    for place, (row, offset, score) in enumerate(zip(W, B, scores, strict=True), 1):
        _draw_pixels(
            axes[place], np.reshape(row, (2, 2)), f"row {place} of W", "RdBu_r", (-most, most)
        )
        axes[place].set_xlabel(words.typeset(f"b = {offset:g}\nscore {score:.2f}"))
    return Plot(
        "example",
        figure,
        "Slide 28 as pictures: a row of W is a template of 2 × 2 pixels. Each pixel is multiplied "
        "with the weight in its place (red counts for the class, blue against it); their sum and b "
        "are the score.",
        "A grey image of 2 × 2 pixels beside three templates of its size with their weights "
        f"written in, and the scores {', '.join(f'{score:.2f}' for score in scores)}. {title}.",
    )


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
    impossible = [name for name in names if record.numbers[name]["divided"] is False]
    title = f"Straight lines divide the {names[0]}"
    if impossible:
        title = f"No straight line divides {', '.join(impossible)}"
    rows = -(-len(names) // 2)
    figure, axes = style.canvas(rows, 2, height=3.75 * rows, title=title, squeeze=False)
    for place, name in zip(axes.flat, names, strict=False):
        _draw_points(place, record, name)
        place.label_outer()
    for place in axes.flat[len(names) :]:
        place.set_visible(False)
    return Plot(
        "plane",
        figure,
        "Dots: training points, coloured and shaped by class. Shade: the class of the greatest "
        "score. That no line divides a set of two classes was decided by a linear program, for all "
        "lines. Scores are less their mean over the classes, which changes no decision. Line of a "
        "class's colour: where its score is 0 (of two classes it is one line; the second is "
        "dashed); the arrow stands upright on it "
        "and points to where the score rises, the row of W as a direction (slide 30's templates "
        "in two features).",
        f"{len(names)} scatter plots with shaded regions bounded by straight lines, one arrow per "
        f"class: {', '.join(f'{name} {_accuracy(record, name):.0%} right' for name in names)}. "
        f"{title}.",
    )


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
    axes.set(
        title=f"{name}: {_accuracy(record, name):.1%} right", xticks=(-1, 0, 1), yticks=(-1, 0, 1)
    )


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
