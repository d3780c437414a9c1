"""README's picture, composed of the records of one or two data sets.

python -m experiments.report.readme --results results/cifar10 --templates results/mnist
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab import choices, options
from experiments.lab.record import Record, load
from experiments.report import style, words
from experiments.report.page.closing import TEMPLATES
from lincls import files

SIZE, DPI = (8.0, 5.2), 160  # README shows it 800 pixels wide
NEEDED = ("nearest_neighbor", "choose_k", "gradient_descent", "svm_softmax")
QUERIES, NEIGHBORS = 5, 7
WINDOW = 20  # steps that a loss is averaged over


def read(folder: Path) -> dict[str, Record]:
    """The records that the picture is made of.

    Raises:
        FileNotFoundError: one of them does not stand in the folder.
    """
    found = {name: load(folder / name) for name in NEEDED}
    missing = [name for name, record in found.items() if record is None]
    if missing:
        raise FileNotFoundError(f"{folder} has no finished {', '.join(missing)}")
    return {name: record for name, record in found.items() if record}


def compose(records: dict[str, Record], of_templates: Record) -> Figure:
    """Neighbours and templates above, cross-validation and learning rates below."""
    figure = Figure(figsize=SIZE)
    parts: Any = figure.subfigures(2, 2, height_ratios=(0.95, 1), width_ratios=(1.04, 1))
    panels = [part.subplots(subplot_kw={"axes_class": style.Panel}) for part in parts.flat]
    titles = (
        _draw_neighbors(panels[0], records["nearest_neighbor"]),
        _draw_templates(panels[1], of_templates),
        _draw_folds(panels[2], records["choose_k"]),
        _draw_rates(panels[3], records["gradient_descent"]),
    )
    for part, title in zip(parts.flat, titles, strict=True):
        part.suptitle(title, x=0.02, ha="left", size=11, weight="bold")
    return figure


def _draw_neighbors(axes: style.Panel, record: Record) -> str:
    """Test images in a column, each with its nearest training images in a row."""
    arrays, metric = record.arrays, choices.NAMES[record.settings["metrics"][-1]]
    rows = slice(0, QUERIES)
    images = np.concatenate(
        [arrays["queries"][rows, None], arrays["neighbors"][rows, :NEIGHBORS]], axis=1
    )
    labels = arrays["query_labels"][rows]
    names = [words.shortened(record.class_names[label], 12) for label in labels]
    outlines = style.tiles(axes, style.pixels(images, record.data["levels"]), names)
    for row, label, found in zip(outlines, labels, arrays["neighbor_labels"], strict=False):
        for outline, other in zip(row[1:], found, strict=False):
            style.frame(outline, style.RIGHT if other == label else style.WRONG, other != label)
            outline.set_linewidth(1.4)
    axes.tick_params(axis="y", labelsize=9)
    return f"Nearest neighbours ({metric})"


def _draw_templates(axes: style.Panel, record: Record) -> str:
    """What softmax looks for, in two rows with names above."""
    names = words.labels(record.class_names[:10], 10)
    pictures = style.weights(record.arrays[TEMPLATES][: len(names)])
    style.tiles(axes, pictures[None], [""], names)
    height, width = pictures.shape[1:3]
    gaps = (max(1, round(0.1 * height)), max(1, round(0.14 * width)))
    if mosaic := style.mosaic_of(axes):
        style.lay(axes, mosaic, gaps, 2, round(0.24 * height), 8.5)
    axes.tick_params(axis="x", labelsize=8.5)
    return f"Templates learned by softmax ({record.data['name']})"


def _draw_folds(axes: Axes, record: Record) -> str:
    """Slide 22: accuracy against k, means over the folds with their standard deviations."""
    ks, size = record.settings["ks"], record.numbers["sizes"][-1]
    for name, marker in zip(record.settings["metrics"], style.MARKERS, strict=False):
        scores = 100 * record.arrays[name][-1]
        look: Any = {"color": style.COLORS[name], "label": choices.NAMES[name], "marker": marker}
        axes.errorbar(ks, scores.mean(1), scores.std(1, ddof=1), ms=4, lw=1.6, capsize=3, **look)
    axes.set(xscale="log", xlabel="neighbours k", ylabel="accuracy (%)")
    style.ticks(axes, [k for k in ks if k in (1, 3, 5, 10, 20, 50, 100)] or ks)
    axes.legend(title="distance")
    return f"{record.settings['num_folds']}-fold cross-validation, {size:,} images"


def _draw_rates(axes: Axes, record: Record) -> str:
    """Slide 60: the loss for several learning rates."""
    curves, features = record.arrays["rates"], int(np.prod(record.image_shape))
    window = min(WINDOW, len(curves))
    for curve, rate in zip(curves.T, record.settings["rates"], strict=True):
        means = np.convolve(curve, np.full(window, 1 / window), "valid")
        axes.plot(np.arange(len(means)) + window, means, lw=1.6, label=f"{rate / features:.1g}")
    axes.set(xlabel="step", ylabel="loss", yscale="log", xlim=(0, len(curves)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.legend(title="learning rate", loc="center left", bbox_to_anchor=(1, 0.5))
    return "Loss for several learning rates"


def save(figure: Figure, path: Path) -> int:
    """Write the picture, and return its size in bytes."""
    drawn = io.BytesIO()
    packed: Any = {"optimize": True, "compress_level": 9}
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs=packed)
    files.write(path, lambda file: file.write(drawn.getvalue()))
    return len(drawn.getvalue())


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, draw, write."""
    parser = options.Parser(
        prog="python -m experiments.report.readme", description="Draws README's picture."
    )
    results, out = Path("results/digits"), Path(__file__).parents[1] / "readme.png"
    add = parser.add_argument
    add("--results", type=Path, default=results, metavar="FOLDER", help="folder of records")
    add("--templates", type=Path, metavar="FOLDER", help="another one, of the templates")
    add("--out", type=Path, default=out, metavar="FILE", help="the picture")
    given = parser.parse_args(argv)
    with parser.refusing():
        records = read(given.results)
        of_templates = load((given.templates or given.results) / "svm_softmax")
    if of_templates is None:
        parser.error(f"{given.templates} has no finished svm_softmax")
    with mpl.rc_context(style.PARAMETERS | {"font.size": 9, "axes.labelsize": 9.5,
                                            "legend.fontsize": 8.5}):  # fmt: skip
        num_bytes = save(compose(records, of_templates), given.out)
    print(f"{given.out}: {words.size(num_bytes)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
