"""Figures for a projector: letters for the last row, pictures that fill the slide."""

import numpy as np
import pytest
from matplotlib.text import Text

from experiments.report import projector, style

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(autouse=True)
def _look():
    with style.mpl.rc_context(style.PARAMETERS):
        yield


def shown(figure):
    """A figure as it stands on a slide, and what is written on it."""
    figure = projector.for_slides(style.Plot("figure", figure, "", "")).figure
    figure.draw_without_rendering()
    texts = (text for text in figure.findobj(Text) if text.get_visible())
    return figure, [text for text in texts if text.get_text().strip() and text.get_visible()]


def heights(figure, texts):
    """Heights of lines, from what is drawn of each, in parts of the slide's."""
    for text in texts:
        box = text.get_window_extent()
        high = box.width if text.get_rotation() == 90 else box.height
        if text.get_rotation() in (0, 90):
            yield high / (1 + text.get_text().count("\n")) / figure.bbox.height


def confusion(largest):
    figure, panels = style.canvas(1, 2, height=4.0, title="Most frequent mistakes")
    for axes in panels:
        style.matrix(axes, np.full((10, 10), largest), NAMES, "SVM, 39.9% right")
    return figure


def templates(rows=2, names=NAMES):
    figure, axes = style.canvas(height=2.6, title="Each row of W is a picture")
    pictures = np.random.default_rng(30).uniform(size=(rows, len(names), 8, 8, 3))
    style.tiles(axes, pictures, ["SVM", "softmax", "hinge"][:rows], names)
    return figure, axes, pictures


def chart():
    figure, axes = style.canvas(title="A curve")
    axes.plot([0, 1], [0, 1], label="one")
    axes.tick_params(labelsize=7)
    axes.annotate("41.2%", (0.5, 0.5), size=6)
    axes.legend()
    return figure


@pytest.mark.parametrize("drawn", [chart, lambda: confusion(8), lambda: templates()[0]])
def test_every_letter_is_as_high_as_the_last_row_needs(drawn):
    figure, texts = shown(drawn())
    assert len(texts) > 5
    assert min(heights(figure, texts)) > 0.035
    assert min(text.get_size() for text in texts) >= projector.FLOOR
    assert figure.get_size_inches().tolist() == pytest.approx([7.2, 4.05])


@pytest.mark.parametrize(("largest", "kept"), [(8, 200), (1135, 0)])
def test_counts_that_do_not_fit_their_squares_are_left_out(largest, kept):
    _, texts = shown(confusion(largest))
    assert sum(text.get_text() == str(largest) for text in texts) == kept


def test_two_rows_of_templates_fill_the_slide_and_every_column_has_its_name():
    figure, axes, pictures = templates()
    figure, texts = shown(figure)
    assert axes.bbox.height > 0.7 * figure.bbox.height
    names = [text.get_text() for text in texts]
    assert [names.count(name) for name in [*NAMES, "SVM"]] == [1] * 10 + [2]
    mosaic = np.asarray(axes.images[0].get_array())
    for row, column in ((0, 0), (1, 4), (0, 7), (1, 9)):
        place = style.MOSAICS[axes].outlines[row][column]
        left, top = (round(corner + 0.5) for corner in place.get_xy())
        np.testing.assert_array_equal(mosaic[top : top + 8, left : left + 8], pictures[row, column])


def test_names_of_columns_do_not_touch():
    figure, axes, _ = templates(rows=3)
    figure, _ = shown(figure)
    labels = axes.get_xticklabels()
    touching = projector._touching([label.get_window_extent() for label in labels])
    assert not touching or {label.get_rotation() for label in labels} == {30}


def test_panels_that_keep_their_shape_stand_in_one_row_with_their_names():
    figure, panels = style.canvas(2, 2, height=7.0)
    for axes in panels.flat:
        axes.set(aspect="equal", xlabel="first feature", ylabel="second feature")
        axes.label_outer()
    shown(figure)
    assert len({round(axes.bbox.y0) for axes in panels.flat}) == 1
    assert [axes.get_xlabel() for axes in panels.flat] == ["first feature"] * 4
    assert [axes.get_ylabel() for axes in panels.flat] == ["second feature", "", "", ""]


def test_low_panels_above_each_other_share_one_name_of_y():
    figure, panels = style.canvas(3, 1, height=6.0)
    for axes in panels:
        axes.set_ylabel("accuracy (%)")
    _, texts = shown(figure)
    assert [text.get_text() for text in texts].count("accuracy (%)") == 1
