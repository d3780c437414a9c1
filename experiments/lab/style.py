"""How every figure looks: one set of parameters, colours that the colour-blind can tell apart.

Figures are made with `canvas`, which draws no window and keeps no global state, and are
saved with `save` as PNG (for the page) and SVG (for print).  A figure's title is what it
found; the axes carry the units.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.experiment import Plot
from experiments.lab.record import write_file

# Okabe and Ito's palette (2008), one colour per method, the same in every figure.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, INK, FAINT = "#CC79A7", "#56B4E9", "#F0E442", "#222222", "#8A8A8A"
COLORS = {"l1": ORANGE, "l2": BLUE, "cosine": GREEN, "svm": RED, "softmax": BLUE}
CYCLE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")
RIGHT, WRONG = GREEN, RED

WIDTH = 7.2  # inches: a text column
DPI = 200

PARAMETERS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
    "figure.constrained_layout.use": True,
    "savefig.dpi": DPI,
    "svg.hashsalt": "lincls",
}


def canvas(
    rows: int = 1, columns: int = 1, *, height: float = 4.0, title: str = "", **kwargs: Any
) -> tuple[Figure, Any]:
    """A figure of the page's width and its axes: one, or an array (rows, columns) squeezed.

    Args:
        height: inches, without the title.
        title: what the figure found, in one sentence.
        kwargs: to `Figure.subplots`.
    """
    lines = textwrap.wrap(title, 68)
    figure = Figure(figsize=(WIDTH, height + 0.24 * len(lines)))
    if lines:
        figure.suptitle("\n".join(lines), x=0.012, ha="left", weight="bold", size=12)
    return figure, figure.subplots(rows, columns, **kwargs)


def save(plot: Plot, folder: Path) -> None:
    """Write <name>.png and <name>.svg, each at once or not at all."""
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        write_file(
            folder / f"{plot.name}.{kind}",
            lambda file, kind=kind, metadata=metadata: plot.figure.savefig(  # type: ignore[misc]
                file, format=kind, metadata=metadata
            ),
        )


def legend(figure: Figure, title: str = "") -> None:
    """The legend of a figure's lines, right of all axes, where it covers nothing."""
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    named = [line for label, line in lines.items() if not str(label).startswith("_")]
    figure.legend(handles=named, title=title, loc="outside right center")


def bare(axes: Axes) -> Axes:
    """Axes without ticks, grid and frame, for a picture."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return axes


def frame(axes: Axes, color: str, dashed: bool = False) -> None:
    """A coloured frame around a picture."""
    line = (0, (2, 1.2)) if dashed else "-"
    axes.spines[:].set(visible=True, color=color, linewidth=2.5, linestyle=line)


def picture(axes: Axes, image: np.ndarray, levels: Sequence[float] = (0, 255)) -> None:
    """An image (H, W), (H, W, 1) or (H, W, 3) with crisp pixels; grey levels: black is low."""
    bare(axes)
    if image.shape[-1] == 3 and image.ndim == 3:
        low, high = levels
        axes.imshow((image.astype(float) - low) / (high - low), interpolation="nearest")
    else:
        grey = image.reshape(image.shape[0], -1)
        axes.imshow(grey, cmap="gray", vmin=levels[0], vmax=levels[1], interpolation="nearest")


def template(axes: Axes, image: np.ndarray) -> None:
    """A row of W as `linear.templates` gives it, in 0..1 with 0.5 for a weight of zero.

    Colour images show as colours; grey ones from blue (speaks against the class) over
    white to red (speaks for it).
    """
    bare(axes)
    if image.ndim == 3 and image.shape[-1] == 3:
        axes.imshow(image, interpolation="nearest")
    else:
        flat = image.reshape(image.shape[0], -1)
        axes.imshow(flat, cmap="RdBu_r", vmin=0, vmax=1, interpolation="nearest")


def matrix(axes: Axes, counts: np.ndarray, names: Sequence[str], title: str) -> None:
    """A confusion matrix, rows the label, columns the prediction, counts written in."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    places = np.arange(len(names))
    axes.set(xticks=places, yticks=places, title=title, xlabel="predicted", ylabel="label")
    axes.set_xticklabels(names, rotation=90 if max(map(len, names)) > 2 else 0, size=9)
    axes.set_yticklabels(names, size=9)
    axes.tick_params(length=0)
    if len(names) > 20:
        return
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, column] > 0.5 else INK
            axes.text(column, row, str(count), ha="center", va="center", size=7, color=color)
