"""Figures for a projector: letters for the last row, pictures that fill the slide."""

import numpy as np
import pytest
from matplotlib.text import Text
from shares import further

from experiments.report import projector, style

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(autouse=True)
def _look():
    with style.mpl.rc_context(style.PARAMETERS):
        yield


def shown(figure):
    """A figure as it stands on a slide, and what is written on it."""
    figure = next(projector.for_slides(style.Plot("figure", figure, "", ""))).figure
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


@pytest.mark.parametrize(("largest", "kept"), [(113, 200), (113_500, 0), further(8, 200)])
def test_counts_that_do_not_fit_their_squares_are_left_out(largest, kept):
    figure, texts = shown(confusion(largest))
    found = [text for text in texts if text.get_text() == str(largest)]
    assert len(found) == kept
    square = figure.axes[0].images[0].get_window_extent().width / 10
    assert all(text.get_window_extent().width < square for text in found)
    assert all(text.get_fontsize() >= projector.LEAST for text in found)


def test_two_rows_of_templates_fill_the_slide_and_every_column_has_its_name():
    figure, axes, pictures = templates()
    figure, texts = shown(figure)
    assert axes.bbox.height > 0.7 * figure.bbox.height
    names = [text.get_text() for text in texts]
    assert [names.count(name) for name in [*NAMES, "SVM"]] == [1] * 10 + [2]
    mosaic = np.asarray(axes.images[0].get_array())
    for row, column in ((0, 0), (1, 4), (0, 7), (1, 9)):
        place = axes.mosaic.outlines[row][column]
        left, top = (round(corner + 0.5) for corner in place.get_xy())
        np.testing.assert_array_equal(
            mosaic[top : top + 8, left : left + 8, :3], pictures[row, column]
        )


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


def grid(rows, columns):
    """Panels with names on the outside alone, and the axes that the columns share."""
    figure, panels = style.canvas(rows, columns, height=6.0, sharex="col", sharey="row")
    for (row, column), axes in np.ndenumerate(panels):
        axes.plot([0, 1 + column], [0, 1 + row], "o", ms=14)
        axes.set(xlabel=f"x {column}", ylabel=f"y {row}", title="" if row else f"column {column}")
        axes.label_outer()
    return figure, panels


def test_flat_panels_lie_down_and_keep_names_and_ticks():
    figure, panels = grid(3, 2)
    figure, _ = shown(figure)
    low, high = panels[0, 1].bbox, panels[0, 0].bbox
    assert (low.x0, low.y1 < high.y0) == (pytest.approx(high.x0), True)
    assert min(axes.bbox.height for axes in panels.flat) > 0.2 * figure.bbox.height
    assert [axes.get_xlabel() for axes in panels[:, 1]] == ["x 1"] * 3
    for axes in panels.flat:  # no two columns have the same y here
        assert any(label.get_visible() and label.get_text() for label in axes.get_yticklabels())


def test_many_panels_become_several_slides_of_one_row_each():
    figure, panels = grid(3, 3)
    found = []
    for number, slide in enumerate(projector.for_slides(style.Plot("f", figure, "", ""))):
        figure.draw_without_rendering()
        seen = [axes for axes in figure.axes if axes.get_visible()]
        assert seen == list(panels[number])
        assert min(axes.bbox.height for axes in seen) > 0.5 * figure.bbox.height
        assert [axes.get_title() for axes in seen] == ["column 0", "column 1", "column 2"]
        assert [axes.get_xlabel() for axes in seen] == ["x 0", "x 1", "x 2"]
        found.append(slide.name)
    assert found == ["f.slides", "f.slides.2", "f.slides.3"]


def test_a_title_stands_beside_pictures_that_are_narrow():
    figure, axes = style.canvas(
        height=5.0, title="Ten images of each class differ among themselves"
    )
    style.tiles(axes, np.zeros((10, 10, 8, 8, 3)), NAMES)
    figure, texts = shown(figure)
    (title,) = [text for text in texts if "differ" in text.get_text()]
    assert title.get_window_extent().x1 < axes.get_tightbbox().x0
    assert axes.bbox.height > 0.9 * figure.bbox.height


def test_names_of_columns_are_written_once_where_the_title_moves_beside():
    names = [str(digit) for digit in range(10)]
    figure, axes, _ = templates(rows=2, names=names)
    figure, texts = shown(figure)
    assert axes.bbox.x0 > 0.3 * figure.bbox.width
    told = [text.get_text() for text in texts]
    assert [told.count(name) for name in names] == [1] * 10


def test_a_mark_at_the_edge_of_a_panel_is_whole():
    figure, axes = style.canvas()
    (inside,) = axes.plot([0, 1], [0, 1], "o", ms=30)
    (beyond,) = axes.plot([0, 9], [0, 9])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    style.whole_marks(figure)
    assert (inside.get_clip_on(), beyond.get_clip_on()) == (False, True)


def test_low_panels_above_each_other_share_one_name_of_y():
    figure, panels = style.canvas(3, 1, height=6.0)
    for axes in panels:
        axes.set_ylabel("accuracy (%)")
    _, texts = shown(figure)
    assert [text.get_text() for text in texts].count("accuracy (%)") == 1
