"""How every figure looks: one set of parameters, colours that the colour-blind can tell apart.

Figures are made with `canvas`, which draws no window and keeps no global state, and are
saved with `save` as PNG and SVG.  A figure's title is what it found; the axes carry the units.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.textpath import TextPath

from experiments.report import words
from experiments.report.findings import Plot
from lincls import files

# Okabe and Ito's palette (2008), one colour per method, the same in every figure.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, INK, FAINT = "#CC79A7", "#56B4E9", "#F0E442", "#222222", "#8A8A8A"
COLORS = {"l1": ORANGE, "l2": BLUE, "cosine": GREEN, "svm": RED, "softmax": BLUE}
CYCLE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")
RIGHT, WRONG = GREEN, RED
PATCH: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # behind a text on a grid

WIDTH = 7.2  # inches: a text column
DPI = 200
TITLE: Any = {"weight": "bold", "size": 12}
LINE = 0.24  # inches: a line of the title
COLUMN = "name of a column"  # the gid of those that `lay` writes

# Names of classes may be of any script; which of these fonts there are depends on the machine.
SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "PingFang SC", "Yu Gothic",
           "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS")  # fmt: skip

PARAMETERS: Any = {
    "font.family": ["DejaVu Sans", *sorted({*SCRIPTS} & {*fontManager.get_font_names()})],
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


class Mosaic(NamedTuple):
    """Pictures (R, C, H, W, 3) side by side in an axes, their names and their outlines."""

    pictures: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    outlines: list[list[Rectangle]]


class Panel(Axes):
    """The axes of a figure; what `tiles` has shown in it is kept to be laid out anew."""

    mosaic: Mosaic | None = None


def mosaic_of(axes: Axes) -> Mosaic | None:
    """The pictures that `tiles` has shown in an axes, if any."""
    return axes.mosaic if isinstance(axes, Panel) else None


def canvas(
    rows: int = 1, columns: int = 1, *, height: float = 4.0, title: str = "", **kwargs: Any
) -> tuple[Figure, Any]:
    """A figure of the page's width and its axes: one, or an array (rows, columns) squeezed.

    Args:
        height: inches, without the title.
        title: what the figure found, in one sentence.
        kwargs: to `Figure.subplots`.
    """
    lines = wrapped(words.typeset(title), 0.96 * WIDTH)
    figure = Figure(figsize=(WIDTH, height + LINE * len(lines)))
    if lines:
        figure.suptitle("\n".join(lines), x=0.012, ha="left", **TITLE)
    kwargs["subplot_kw"] = {"axes_class": Panel} | kwargs.get("subplot_kw", {})
    return figure, figure.subplots(rows, columns, **kwargs)


def wrapped(title: str, width: float, size: float = TITLE["size"]) -> list[str]:
    """A title in as few lines of at most so many inches as it takes, about equally long."""
    font = FontProperties(weight=TITLE["weight"], size=size)
    least = _broken(title, width, font)
    narrower = (_broken(title, part * width, font) for part in (0.55, 0.7, 0.85))
    return next((lines for lines in narrower if len(lines) == len(least) > 1), least)


def _broken(title: str, width: float, font: FontProperties) -> list[str]:
    lines = list[str]()
    for word in title.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and inches(longer, font) > width:
            lines.append(word)
        else:
            lines[-1:] = [longer]
    return lines


def inches(line: str, font: FontProperties) -> float:
    """How wide a line of text is."""
    path = TextPath((0, 0), line.replace("$", r"\$"), prop=font)
    return float(path.vertices[:, 0].max()) / 72 if line.strip() else 0.0


def as_typed(figure: Figure) -> None:
    """Show a dollar sign as one, instead of reading the letters behind it as a formula."""
    for text in figure.findobj(Text):
        formula = text.get_text().startswith(r"$\mathdefault")  # the tick of a logarithmic axis
        if "$" in text.get_text() and not formula:
            text.set_parse_math(False)


def whole_marks(figure: Figure) -> None:
    """Do not cut marks at the edge of their panel: lines that stay inside need no cutting."""
    for axes in figure.axes:
        low, high = np.sort(axes.viewLim.get_points(), axis=0)
        for line in axes.get_lines():
            points = line.get_xydata()
            if line.get_transform() == axes.transData and np.all(
                (low <= points) & (points <= high)
            ):
                line.set_clip_on(False)


def save(plot: Plot, folder: Path, dpi: float | None = None) -> None:
    """Write <name>.png and <name>.svg, each at once or not at all."""
    dots = mpl.rcParams["savefig.dpi"] if dpi is None else dpi
    as_typed(plot.figure)
    if plot.figure.get_layout_engine() is not None:
        if dots != "figure":
            plot.figure.set_dpi(dots)  # letters are as wide as their dots allow
        for _ in range(1 + _keeps_shapes(plot.figure)):
            plot.figure.draw_without_rendering()
        plot.figure.set_layout_engine("none")  # laid out for both, not again for each
    whole_marks(plot.figure)
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        files.write(
            folder / f"{plot.name}.{kind}",
            lambda file, kind=kind, metadata=metadata: plot.figure.savefig(  # type: ignore[misc]
                file, format=kind, metadata=metadata, dpi=dpi
            ),
        )


def _keeps_shapes(figure: Figure) -> bool:
    """Whether panels keep their shape: only once they have it is it known who has room."""
    return any(axes.get_aspect() != "auto" for axes in figure.axes)


def legend(figure: Figure, title: str = "") -> None:
    """The legend of a figure's lines, right of all axes, where it covers nothing."""
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    named = [line for label, line in lines.items() if not str(label).startswith("_")]
    figure.legend(handles=named, title=title, loc="outside right center")


def ticks(axes: Axes, places: Iterable[float]) -> None:
    """Ticks of x at these places alone, the numbers written out (on a logarithmic axis too)."""
    axes.set_xticks(list(places), [f"{place:,}" for place in places])
    axes.set_xticks([], minor=True)


def pixels(images: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Images (..., H, W, 1 or 3) as colours (..., H, W, 3) in 0..1; grey ones: black is low."""
    low, high = levels
    scaled = (images.astype(np.float64) - low) / (high - low)
    return np.broadcast_to(scaled, (*scaled.shape[:-1], 3))


def weights(templates: np.ndarray) -> np.ndarray:
    """Rows of W as `linear.templates` gives them, 0.5 for a weight of zero, as colours.

    Colour images show as colours; grey ones from blue (speaks against the class) over
    white to red (speaks for it).
    """
    if templates.shape[-1] == 3:
        return templates
    return mpl.colormaps["RdBu_r"](templates[..., 0])[..., :3]


def tiles(
    axes: Panel, pictures: np.ndarray, rows: Sequence[str], columns: Sequence[str] = ()
) -> list[list[Rectangle]]:
    """Pictures (R, C, H, W, 3) side by side, with names of the rows and of the columns.

    Returns:
        The outline of every picture, invisible; `frame` makes it one to see.
    """
    down, across, height, width, _ = pictures.shape
    outlines = [[_outline(axes, width, height) for _ in range(across)] for _ in range(down)]
    axes.mosaic = Mosaic(pictures, rows, columns, outlines)
    gap = max(1, round(0.14 * width))
    lay(axes, axes.mosaic, (gap, gap))
    longest = max(1, *(len(line) for row in rows for line in row.split("\n")))
    size = min(9, 70 / max(map(len, columns), default=1))
    axes.tick_params(axis="y", labelsize=min(10, 150 / longest))
    axes.tick_params(axis="x", labelsize=size)
    axes.set_anchor("N")
    return outlines


def lay(
    axes: Axes,
    mosaic: Mosaic,
    gaps: tuple[int, int],
    blocks: int = 1,
    head: int = 0,
    size: float = 9,
) -> None:
    """Place the pictures with gaps (down, across) in pixels.

    Args:
        blocks: the columns are broken into so many groups, one below the other.
        head: pixels above each later block, for the names of its columns.
        size: of those names, in points.
    """
    down, across, height, width, _ = mosaic.pictures.shape
    wide = -(-across // blocks)
    x = np.arange(wide) * (width + gaps[1])
    tall = down * (height + gaps[0]) + head  # of a block
    y = np.concatenate([np.arange(down) * (height + gaps[0]) + block * tall
                        for block in range(blocks)])  # fmt: skip
    canvas = np.ones((y[-1] + height, x[-1] + width, 4))
    canvas[..., 3] = 0  # no colour of its own between the pictures
    for row, column in np.ndindex(down, across):
        block, place = divmod(column, wide)
        top, left = y[block * down + row], x[place]
        place = canvas[top : top + height, left : left + width]
        place[..., :3], place[..., 3] = mosaic.pictures[row, column], 1
        mosaic.outlines[row][column].set_xy((left - 0.5, top - 0.5))
    for old in [*axes.images, *(text for text in axes.texts if text.get_gid() == COLUMN)]:
        old.remove()
    axes.imshow(canvas, interpolation="nearest")
    axes.set_yticks(y + (height - 1) / 2, list(mosaic.rows) * blocks)
    axes.set_xticks(x[: len(mosaic.columns)] + (width - 1) / 2, mosaic.columns[:wide])
    for column, name in enumerate(mosaic.columns[wide:], wide):
        block, place = divmod(column, wide)
        axes.text(x[place] + (width - 1) / 2, block * tall - gaps[0], name, size=size,
                  ha="center", va="bottom", gid=COLUMN)  # fmt: skip
    axes.set(xlim=(-gaps[1] / 2, canvas.shape[1] + gaps[1] / 2),
             ylim=(canvas.shape[0] + gaps[0] / 2, -gaps[0]))  # fmt: skip
    axes.xaxis.tick_top()
    _no_frame(axes)


def _outline(axes: Axes, width: int, height: int) -> Rectangle:
    outline = Rectangle((0, 0), width, height, fill=False, visible=False)
    axes.add_patch(outline)
    return outline


def frame(outline: Rectangle, color: str, dashed: bool = False) -> None:
    """Draw a picture's outline in a colour."""
    line = (0, (2, 1.2)) if dashed else "-"
    outline.set(visible=True, edgecolor=color, linewidth=2.5, linestyle=line)


def cell(axes: Axes, row: int, column: int, line: str = "-", inset: float = 0.0) -> None:
    """Frame a square of a picture whose squares are 1 wide, such as a heat map's."""
    corner, side = (column - 0.5 + inset, row - 0.5 + inset), 1 - 2 * inset
    axes.add_patch(Rectangle(corner, side, side, fill=False, ec=RED, lw=2.5, ls=line))


def _no_frame(axes: Axes) -> None:
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def matrix(axes: Axes, counts: np.ndarray, names: Sequence[str], title: str) -> None:
    """A confusion matrix, rows the label, columns the prediction, counts written in."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    _no_frame(axes)
    places = np.arange(len(names))
    axes.set(title=title, xlabel="predicted", ylabel="label")
    axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 2 else 0, size=9)
    axes.set_yticks(places, names, size=9)
    if len(names) > 20:
        axes.set(xticks=[], yticks=[])
        return
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, column] > 0.5 else INK
            axes.text(column, row, str(count), ha="center", va="center", size=7, color=color)
