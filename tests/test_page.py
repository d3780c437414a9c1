"""The page as a browser shows it: from a file, without network, on a phone, dark, printed."""

import re
from importlib import import_module

import numpy as np
import pytest
from browser import needed, open_page
from matplotlib.image import imread

from experiments import run
from experiments.report import figures, projector, style

BROKEN = "[...document.images].filter(one => !one.naturalWidth).map(one => one.src)"
WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"
PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two experiments and one that fails, in all looks; the last is left out."""
    out = tmp_path_factory.mktemp("page")
    titles = ("images", "softmax_loss", "svm_loss", "gradient_check")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "ORDER", titles)
        patch.setattr(run, "QUICK", titles[:3])
        patch.setattr(import_module("experiments.svm_loss"), "compute", None)
        patch.setitem(style.PARAMETERS, "savefig.dpi", 20)  # drawn faster
        patch.setattr(projector, "DPI", projector.DPI / 8)
        arguments = ["--smoke", "--quick", "--style", "slides", "--out", str(out)]
        assert run.main_all(arguments) == 1
    return out / "digits-smoke"


# --- in a browser ----------------------------------------------------------------------------


@needed
@pytest.mark.parametrize(("width", "dark"), [(360, False), (1200, True)])
def test_page_is_whole_and_as_wide_as_the_window(folder, width, dark):
    with open_page(folder / "index.html", width=width, dark=dark) as shown:
        assert shown.evaluate("document.images.length") >= 4
        assert shown.evaluate(BROKEN) == []
        assert shown.complaints == []
        needed_width, given = shown.evaluate(WIDTHS)
        assert needed_width <= given == width
        lightness = np.mean([int(part) for part in re.findall(r"\d+", shown.evaluate(PAPER))])
        assert (lightness < 128) == dark


@needed
@pytest.mark.parametrize("width", [360, 1280, 1920])
def test_figures_are_whole_within_the_window_and_open_large(folder, width):
    with open_page(folder / "index.html", width=width) as shown:
        boxes = shown.evaluate(
            "[...document.querySelectorAll('figure img')].map(one => one.getBoundingClientRect())"
            ".map(box => [box.left, box.right, box.width / box.height])"
        )
        shapes = shown.evaluate(
            "[...document.querySelectorAll('figure img')].map(one => one.width / one.height)"
        )
        assert len(boxes) >= 3
        for (left, right, shape), own in zip(boxes, shapes, strict=True):
            assert 0 <= left < right <= width
            assert right - left > min(0.8 * width, 400)
            assert shape == pytest.approx(own, rel=0.02)
        links = shown.evaluate("[...document.querySelectorAll('figure a')].map(one => one.href)")
        assert len(links) == len(boxes)
        assert all(link.endswith(".svg") for link in links)
        assert shown.evaluate("[...document.querySelectorAll('figure a')][0].target") == "_blank"


@needed
def test_a_figure_says_its_title_once(folder):
    with open_page(folder / "index.html") as shown:
        title = shown.evaluate("document.querySelector('.finding').textContent")
        assert shown.evaluate("document.querySelector('#images').innerText").count(title) == 1
    assert title.split(":")[0] not in (folder / "images" / "numbers.svg").read_text()


@needed
@pytest.mark.parametrize("dark", [False, True])
def test_figures_follow_dark_mode_in_the_page_and_alone(folder, tmp_path, dark):
    for file in (folder / "index.html", folder / "images" / "distances.svg"):
        with open_page(file, width=900, dark=dark) as shown:
            shown.evaluate("document.querySelector('img[src*=distances]')?.scrollIntoView()")
            shown.picture(tmp_path / "seen.png", whole=False)
        pixels = imread(tmp_path / "seen.png")[:, :, :3].mean(axis=2)
        assert (np.median(pixels) < 0.3) == dark


@needed
def test_a_table_of_many_columns_has_the_width_of_a_desktop(folder):
    with open_page(folder / "index.html", width=1280) as shown:
        widths = shown.evaluate(
            "[...document.querySelectorAll('#slides th')]"
            ".map(one => one.getBoundingClientRect().width)"
        )
        assert sum(widths) > 0.85 * 1280
        assert widths[3] > 400
        assert widths[1] > 200


@needed
def test_page_needs_no_scripts(folder):
    with open_page(folder / "index.html", scripts=False) as shown:
        assert shown.evaluate(BROKEN) == []
        question = import_module("experiments.report.softmax_loss").QUESTION
        assert question in shown.evaluate("document.body.innerText")


@needed
def test_links_of_the_contents_lead_somewhere_and_figures_have_texts(folder):
    with open_page(folder / "index.html") as shown:
        lost = "[...document.querySelectorAll('a[href^=\"#\"]')].map(one => one.hash.slice(1))"
        assert shown.evaluate(f"{lost}.filter(name => !document.getElementById(name))") == []
        assert shown.evaluate("document.querySelectorAll('nav li a').length") == 7
        marks = shown.evaluate(
            "[...document.querySelectorAll('nav .verdict')].map(one => one.textContent)"
        )
        assert marks[2] == "failed"
        assert "agree" in marks[0]
        texts = shown.evaluate("[...document.images].map(one => one.alt)")
        assert min(map(len, texts)) > 40


@needed
def test_print_has_no_dark_paper_and_divides_no_figure(folder):
    with open_page(folder / "index.html", dark=True, media="print") as shown:
        assert shown.evaluate(PAPER) == "rgb(255, 255, 255)"
        style_of = "getComputedStyle(document.querySelector('figure')).breakInside"
        assert shown.evaluate(style_of) == "avoid"
        tall = "Math.max(...[...document.images].map(one => one.getBoundingClientRect().height))"
        assert shown.evaluate(tall) < 1000  # a sheet has 1,123 pixels
        assert shown.pdf().startswith(b"%PDF")


# --- one that fails --------------------------------------------------------------------------


def test_page_tells_the_failure_beside_what_succeeded(folder):
    text = (folder / "index.html").read_text()
    failed = text.split('id="svm_loss"')[1].split("</section>")[0]
    assert "This experiment failed" in failed
    assert "TypeError" in failed
    assert "This experiment failed" not in text.split('id="softmax_loss"')[1].split("</section>")[0]


# --- for a projector -------------------------------------------------------------------------


def test_slides_stand_beside_the_figures_of_the_page_sixteen_to_nine(folder):
    figures = [path for path in folder.rglob("*.png") if ".slides" not in path.stem]
    assert len(figures) >= 4
    for path in figures:
        assert imread(path.with_suffix(".slides.png")).shape[:2] == (1080 // 8, 1920 // 8)
        assert path.with_suffix(".slides.svg").is_file()
    assert ".slides.png" not in (folder / "index.html").read_text()


def test_another_style_computes_nothing(folder, monkeypatch):
    module = import_module("experiments.softmax_loss")
    monkeypatch.setattr(module, "compute", None)
    for picture in (folder / "softmax_loss").glob("*.slides.*"):
        picture.unlink()
    arguments = ["--smoke", "--style", "slides", "--out", str(folder.parent)]
    assert run.main(module.__file__, arguments) == 0
    assert (folder / "softmax_loss" / "moved_scores.slides.png").is_file()


def test_a_long_title_stays_on_the_figure():
    title = "Dropout does best: 81.6%, without any 80.9%: not more than chance explains, WMWMWM"
    with style.mpl.rc_context(style.PARAMETERS):
        figure, _ = style.canvas(title=title)
        figure.draw_without_rendering()
        assert figure.texts[0].get_window_extent().x1 < figure.bbox.x1
        assert figure.texts[0].get_text().count("\n") == 1
        figure, _ = style.canvas(title="i" * 120)  # narrow letters need no second line
        assert "\n" not in figure.texts[0].get_text()


def _names_of_rows(_):
    figure, axes = style.canvas(height=1.5)
    axes.set_yticks([0, 1], ["random search, first of 5", "short"], size=11)
    return figure


def _names_of_pictures(names):
    figure, axes = style.canvas(height=5.9)
    style.tiles(axes, np.full((10, 10, 32, 32, 3), 0.5), names)
    return figure


@pytest.mark.parametrize("drawn", [_names_of_rows, _names_of_pictures])
def test_the_longest_name_of_a_row_is_whole(drawn, tmp_path):
    with style.mpl.rc_context(style.PARAMETERS):
        figure = drawn(["automobile (5,000)", *["ship (5,000)"] * 9])
        style.save(style.Plot("figure", figure, "", ""), tmp_path, dpi=style.DPI)
    image = imread(tmp_path / "figure.png")
    assert np.all(image[:, :4, :3] == 1)  # a margin, where letters stood that were laid out smaller


def _kept(figure, tmp_path):
    """The texts of a figure that keep their colours in dark mode."""
    axes = figure.axes[0]
    with style.mpl.rc_context(style.PARAMETERS):
        figures.publish([style.Plot("one", figure, "", "")], tmp_path)
    gids = {text.get_text(): text.get_gid() for text in axes.texts}
    return {name for name, gid in gids.items() if gid and gid.startswith(figures.KEPT)}


def test_letters_on_a_colour_keep_theirs_in_dark_mode(tmp_path):
    figure, axes = style.canvas(height=2.0, title="A title")
    axes.bar([0], [1], color=style.SKY)
    axes.bar([2], [1], color=style.SKY, alpha=0.2)
    for name, x in (("on the bar", 0), ("beside it", 1), ("on a shade", 2)):
        axes.text(x, 0.5, name)
    assert _kept(figure, tmp_path) == {"on the bar"}
    figure, axes = style.canvas(height=2.0)
    axes.imshow(np.zeros((2, 2)))
    axes.text(0, 0, "on a picture")
    axes.text(1, 1, "on a patch", bbox=style.PATCH)
    assert _kept(figure, tmp_path) == {"on a picture"}


def test_a_listed_figure_is_what_was_saved(tmp_path):
    figure, _ = style.canvas(height=2.0, title="A title")
    (shown,) = figures.publish([style.Plot("one", figure, "A caption", "A text")], tmp_path)
    assert figures.standing(tmp_path) == [shown]
    assert shown[:4] == ("one", "A title", "A caption", "A text")
    pixels = imread(tmp_path / "one.png").shape
    assert (shown.height / shown.width) == pytest.approx(pixels[0] / pixels[1], rel=0.01)
