"""Figures for a projector: 16:9, letters for the last row, pictures and panels that fill the slide.

A figure is laid out anew.  Panels of many rows lie down or become several slides, and a title
moves beside pictures that are as high as the slide but not as wide.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.gridspec import GridSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from experiments.report import style
from experiments.report.findings import Plot

SIZE = (style.WIDTH, style.WIDTH * 9 / 16)  # inches
DPI = 1920 / style.WIDTH
FLOOR = 11.0  # points of a letter on a slide, at least
LEAST, MOST = 6.5, 18.0  # points of what is written within the squares of a picture
PANELS = 6  # on one slide, at most, where they can be divided
LARGE = 16.0  # points of a title that has much room
BESIDE = 0.34  # of the slide's width, for a title beside a picture
NARROW, LOW = 0.64, 0.55  # of the slide: what is less leaves room beside it, or above it


def for_slides(plot: Plot) -> Iterator[Plot]:
    """The slides of a figure, one after another: save each before the next is asked for.

    No letter is smaller than `FLOOR` points, but what is written into the squares of a picture
    may shrink to `LEAST`, and is left out where even that does not fit.
    """
    figure = plot.figure
    style.as_typed(figure)
    figure.set_size_inches(SIZE)
    figure.set_dpi(DPI)
    _raise_letters(figure)
    title = figure.get_suptitle().replace("\n", " ")
    arrangements = _arrangements(figure)
    for number, arrangement in enumerate(arrangements, 1):
        if arrangement:
            _arrange(figure, arrangement)
        _lay_out(figure, title)
        yield plot._replace(name=f"{plot.name}.slides" + (f".{number}" if number > 1 else ""))


def _raise_letters(figure: Figure) -> None:
    """Give every text the size `FLOOR` at least."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            sizes = [label.get_fontsize() for label in axis.get_ticklabels()]
            axis.set_tick_params(labelsize=max([FLOOR, *sizes]))
    for text in figure.findobj(Text):
        text.set_fontsize(max(FLOOR, text.get_fontsize()))


def _lay_out(figure: Figure, title: str) -> None:
    """Place title, panels and pictures, and then the letters for which that leaves room."""
    engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure.set_layout_engine(engine)
    _name_columns_once(figure)
    for axes in figure.axes:
        axes.set_anchor("C")
    _set_title(figure, title, style.TITLE["size"])
    _fill(figure, SIZE[0], SIZE[1] - 0.4)
    figure.draw_without_rendering()
    width, height = _used(figure)
    if width < NARROW:
        _set_title(figure, "", style.TITLE["size"])
        lines = style.wrapped(title, BESIDE * SIZE[0] - 0.45, LARGE)
        figure.text(0.03, 0.5, "\n".join(lines), va="center", **style.TITLE | {"size": LARGE})
        engine.set(rect=(BESIDE, 0, 1 - BESIDE, 1))
        _fill(figure, (1 - BESIDE) * SIZE[0], SIZE[1])
    elif height < LOW:
        _set_title(figure, title, LARGE)
    for finish in (_turn_names, _thin_out, _wrap_title, _fit_letters):
        figure.draw_without_rendering()  # only then is it known who has room
        for axes in figure.axes:
            finish(axes)


def _set_title(figure: Figure, title: str, size: float) -> None:
    lines = style.wrapped(title, 0.96 * SIZE[0], size)
    figure.suptitle("\n".join(lines), x=0.012, ha="left", **style.TITLE | {"size": size})


def _used(figure: Figure) -> tuple[float, float]:
    """The parts of the slide's width and height that the panels and the legends take."""
    shown = [*(axes for axes in figure.axes if axes.get_visible()), *figure.legends]
    box = Bbox.union(list(filter(None, (one.get_tightbbox() for one in shown))))
    return box.width / figure.bbox.width, box.height / figure.bbox.height


# --- panels ----------------------------------------------------------------------------------


class Place(NamedTuple):
    """A panel with the names it has by itself or from those below it, beside it, above it."""

    axes: Axes
    x: str
    y: str
    title: str


def _arrangements(figure: Figure) -> list[list[list[Place]]]:
    """The rows of panels of each slide; none of a figure that stays as it is."""
    grid = _grid(figure)
    panels = [place for row in grid for place in row]
    square = all(
        one.axes.get_aspect() != "auto" and not style.mosaic_of(one.axes) for one in panels
    )
    if len(grid) > 1 and square and len(panels) <= 4:
        return [[panels]]
    if len(grid) < 3 or len(grid[0]) < 2:
        return [[]]
    if len(panels) <= PANELS:
        return [[list(column) for column in zip(*grid, strict=True)]]
    return [[row] for row in grid]


def _grid(figure: Figure) -> list[list[Place]]:
    """The panels by rows and columns; no rows unless each has one place of the same grid."""
    specs = {axes.get_subplotspec(): axes for axes in figure.axes if axes.get_visible()}
    known = [spec for spec in specs if spec is not None]
    if not known or len(known) != len(figure.axes):
        return []
    grid = known[0].get_gridspec()
    by_place = {spec.num1: specs[spec] for spec in known
                if spec.get_gridspec() is grid and spec.num1 == spec.num2}  # fmt: skip
    if len(by_place) != grid.nrows * grid.ncols or len(known) != len(by_place):
        return []
    rows = [[by_place[row * grid.ncols + column] for column in range(grid.ncols)]
            for row in range(grid.nrows)]  # fmt: skip
    return [
        [_named(axes, row, [other[place] for other in rows]) for place, axes in enumerate(row)]
        for row in rows
    ]


def _named(axes: Axes, row: Sequence[Axes], column: Sequence[Axes]) -> Place:
    x = axes.get_xlabel() or column[-1].get_xlabel()
    return Place(axes, x, axes.get_ylabel() or row[0].get_ylabel(),
                 axes.get_title() or column[0].get_title())  # fmt: skip


def _arrange(figure: Figure, rows: Sequence[Sequence[Place]]) -> None:
    """Show these panels alone, in these rows, each with the names and ticks it then needs."""
    for axes in figure.axes:
        axes.set_visible(False)
    places = GridSpec(len(rows), len(rows[0]), figure=figure)
    for row, panels in enumerate(rows):
        for column, (axes, x, y, title) in enumerate(panels):
            axes.set_visible(True)
            axes.set_subplotspec(places[row, column])
            below, left = rows[-1][column].axes, panels[0].axes
            axes.tick_params(
                labelbottom=axes is below or axes.get_xlim() != below.get_xlim(),
                labelleft=axes is left or axes.get_ylim() != left.get_ylim(),
            )
            axes.set(xlabel=x if axes is below else "", ylabel=y if axes is left else "",
                     title=title)  # fmt: skip


def _name_columns_once(figure: Figure) -> None:
    """Where panels above each other have the same name of y, one name serves them all."""
    named = [axes for axes in figure.axes if axes.get_ylabel() and axes.get_visible()]
    if len(named) > 1 and len({axes.get_ylabel() for axes in named}) == 1:
        specs = [axes.get_subplotspec() for axes in named]
        if None not in specs and len({spec.colspan.start for spec in specs if spec}) == 1:
            figure.supylabel(named[0].get_ylabel(), size=named[0].yaxis.label.get_fontsize())
            for axes in named:
                axes.set_ylabel("")


# --- letters ---------------------------------------------------------------------------------


def _turn_names(axes: Axes) -> None:
    """Turn names above columns of pictures that would touch each other."""
    names = axes.get_xticklabels()
    boxes = [name.get_window_extent() for name in names]
    if axes.xaxis.get_ticks_position() == "top" and _touching(boxes):
        for name in names:
            name.set(rotation=30, ha="left", rotation_mode="anchor")


def _thin_out(axes: Axes) -> None:
    """Leave out numbers below a panel that would touch the one before."""
    if axes.xaxis.get_ticks_position() == "top" or not axes.xaxis.get_visible():
        return
    last = None
    for name in axes.get_xticklabels():
        box = name.get_window_extent()
        if last is not None and _touching([last, box]):
            name.set_visible(False)
        elif name.get_text():
            last = box


def _touching(boxes: Iterable[Bbox]) -> bool:
    return any(a.padded(1).overlaps(b) for a, b in combinations(boxes, 2))


def _wrap_title(axes: Axes) -> None:
    """Break a title that is wider than its panel into two lines."""
    title = axes.title
    if title.get_window_extent().width > axes.bbox.width and "\n" not in title.get_text():
        title.set_text("\n".join(textwrap.wrap(title.get_text(), len(title.get_text()) // 2 + 3)))


def _fit_letters(axes: Axes) -> None:
    """Write into the squares of a picture as large as all of it fits; omit what never does."""
    texts = [text for text in axes.texts if text.get_text()]
    if not texts or not axes.images or style.mosaic_of(axes):
        return
    box, (height, width) = axes.images[0].get_window_extent(), axes.images[0].get_size()
    room = np.array([0.92 * box.width / width, 0.8 * box.height / height])
    extents = np.array([text.get_window_extent().size for text in texts])
    sizes = extents / np.array([[text.get_fontsize()] for text in texts])
    largest = (room / sizes).min(axis=1)  # points of each text
    usual = min(MOST, np.quantile(largest, 0.1))  # the few longest texts are smaller
    for text, size in zip(texts, np.minimum(largest, usual), strict=True):
        text.set_fontsize(max(size, LEAST))
        text.set_visible(bool(size >= LEAST))


# --- pictures --------------------------------------------------------------------------------


def _fill(figure: Figure, width: float, height: float) -> None:
    """Lay out pictures that have a slide, or so many inches of it, to themselves."""
    mosaic = style.mosaic_of(figure.axes[0])
    if mosaic and len(figure.axes) == 1:
        _lay_pictures(figure.axes[0], mosaic, (width, height))


def _lay_pictures(axes: Axes, mosaic: style.Mosaic, inches: tuple[float, float]) -> None:
    """Lay out pictures in the blocks that make them largest.

    Columns stand as far apart as their names are long, where there is room for that.
    """
    down, across, height, width, _ = mosaic.pictures.shape
    names = max((_inches(line) for row in mosaic.rows for line in row.split("\n")), default=0)
    room = inches[0] - names - 0.4, inches[1] - 0.3
    head = 1.6 * FLOOR / 72 if mosaic.columns else 0.0
    found = []
    for blocks in range(1, across + 1 if mosaic.columns else 2):
        high = (room[1] - blocks * head) / (1.14 * down * blocks * height)
        found.append((min(high, room[0] / (1.14 * -(-across // blocks) * width)), -blocks))
    pixel, blocks = max(found)
    pitch = max(1.14 * width * pixel, max(map(_inches, mosaic.columns), default=0) + 0.15)
    pitch = min(pitch, room[0] / -(across // blocks))
    gaps = max(1, round(0.14 * height)), max(1, int(pitch / pixel) - width)
    style.lay(axes, mosaic, gaps, -blocks, int(np.ceil(head / pixel)), FLOOR)


def _inches(name: str) -> float:
    """How wide a text is at `FLOOR` points."""
    return style.inches(name, FontProperties(size=FLOOR))
