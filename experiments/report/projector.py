"""Figures for a projector: 16:9, letters for the last row, pictures that fill the slide."""

import textwrap
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.transforms import Bbox

from experiments.report import style
from experiments.report.findings import Plot

SIZE = (style.WIDTH, style.WIDTH * 9 / 16)  # inches
DPI = 1920 / style.WIDTH
FLOOR, LEAST = 11.0, 9.0  # points of a letter on a slide, of one within a square of a picture


def for_slides(plot: Plot) -> Plot:
    """The figure for a projector: 16:9, no wider than on the page, its letters for the last row.

    No letter is smaller than `FLOOR` points; what is written into the squares of a picture may
    shrink to `LEAST` and is left out where even that does not fit.  Pictures fill the slide.
    """
    figure = plot.figure
    figure.set_size_inches(SIZE)
    figure.set_dpi(DPI)
    _raise_letters(figure)
    _in_one_row(figure)
    _name_columns_once(figure)
    for axes in figure.axes:
        axes.set_anchor("C")
        if axes in style.MOSAICS and len(figure.axes) == 1:
            _fill(axes, style.MOSAICS[axes])
    engine: Any = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.1, h_pad=0.1)
    for finish in (_turn_names, _wrap_title, _fit_letters):
        figure.draw_without_rendering()  # only then is it known who has room
        for axes in figure.axes:
            finish(axes)
    return plot._replace(name=f"{plot.name}.slides")


def _raise_letters(figure: Figure) -> None:
    """Give every text the size `FLOOR` at least."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            sizes = [label.get_fontsize() for label in axis.get_ticklabels()]
            axis.set_tick_params(labelsize=max([FLOOR, *sizes]))
    for text in figure.findobj(Text):
        text.set_fontsize(max(FLOOR, text.get_fontsize()))


def _in_one_row(figure: Figure) -> None:
    """Stand panels that keep their shape in one row, where a slide has most room for them."""
    panels = [axes for axes in figure.axes if axes.get_visible()]
    specs = [axes.get_subplotspec() for axes in panels]
    square = all(axes.get_aspect() != "auto" and axes not in style.MOSAICS for axes in panels)
    if not square or not 1 < len(panels) <= 4 or None in specs:
        return
    if specs[0].get_gridspec().nrows == 1:  # type: ignore[union-attr]
        return
    name = next(filter(None, (axes.get_xlabel() for axes in panels)), "")
    places = GridSpec(1, len(panels), figure=figure)
    for place, axes in enumerate(panels):
        axes.set_subplotspec(places[place])
        axes.set_xlabel(name)
        axes.tick_params(labelbottom=True, labelleft=axes is panels[0])
        axes.set_ylabel(axes.get_ylabel() if axes is panels[0] else "")


def _name_columns_once(figure: Figure) -> None:
    """Where panels above each other have the same name of y, one name serves them all."""
    named = [axes for axes in figure.axes if axes.get_ylabel()]
    if len(named) > 1 and len({axes.get_ylabel() for axes in named}) == 1:
        specs = [axes.get_subplotspec() for axes in named]
        if None not in specs and len({spec.colspan.start for spec in specs if spec}) == 1:
            figure.supylabel(named[0].get_ylabel(), size=named[0].yaxis.label.get_fontsize())
            for axes in named:
                axes.set_ylabel("")


def _turn_names(axes: Axes) -> None:
    """Turn names above columns of pictures that would touch each other."""
    names = axes.get_xticklabels()
    boxes = [name.get_window_extent() for name in names]
    if axes.xaxis.get_ticks_position() == "top" and _touching(boxes):
        for name in names:
            name.set(rotation=30, ha="left", rotation_mode="anchor")


def _touching(boxes: Iterable[Bbox]) -> bool:
    return any(a.padded(1).overlaps(b) for a, b in combinations(boxes, 2))


def _wrap_title(axes: Axes) -> None:
    """Break a title that is wider than its panel into two lines."""
    title = axes.title
    if title.get_window_extent().width > axes.bbox.width and "\n" not in title.get_text():
        title.set_text("\n".join(textwrap.wrap(title.get_text(), len(title.get_text()) // 2 + 3)))


def _fit_letters(axes: Axes) -> None:
    """Shrink what is written into the squares of a picture until it does not touch, or omit it."""
    texts = [text for text in axes.texts if text.get_text()]
    for size in np.arange(FLOOR, LEAST - 0.01, -0.5):
        for text in texts:
            text.set_fontsize(size)
        boxes = [text.get_window_extent() for text in texts]
        if not axes.images or not _touching(boxes):
            return
    for text in texts:
        text.set_visible(False)


def _fill(axes: Axes, mosaic: style.Mosaic) -> None:
    """Lay out pictures that have a slide to themselves, in the blocks that make them largest.

    Columns stand as far apart as their names are long, where there is room for that.
    """
    down, across, height, width, _ = mosaic.pictures.shape
    names = max((_inches(line) for row in mosaic.rows for line in row.split("\n")), default=0)
    room = SIZE[0] - names - 0.4, SIZE[1] - 0.7
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
    return TextPath((0, 0), name, size=FLOOR).vertices[:, 0].max() / 72 if name.strip() else 0.0
