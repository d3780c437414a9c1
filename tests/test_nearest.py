"""The figure of kNN that can be touched: in a browser, against what lincls computes."""

import base64
import io

import numpy as np
import pytest
from browser import needed, open_page
from PIL import Image

from experiments.report import page
from experiments.report.page import nearest
from lincls import distances, knn

METRICS = {"l1": distances.l1, "l2": distances.l2}
SIDE, CELLS = nearest.SIDE, nearest.CELLS


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page with nothing on it but this figure."""
    environment = page.environment()
    body = environment.get_template("nearest.html").render(near=nearest.picture())
    style = environment.get_template("page.css").render()
    path = tmp_path_factory.mktemp("near") / "index.html"
    head = "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    path.write_text(f"{head}<style>{style}</style><body>{body}", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(file):
    with open_page(file, width=600, height=1400) as shown:
        yield shown


@pytest.fixture
def shown(browser):
    """The figure as it starts; a failing script would be told."""
    browser.act("restart")
    yield browser
    assert browser.complaints == []


def choose(shown, name, value):
    shown.evaluate(f"document.querySelector('[name={name}][value=\"{value}\"]').click()")


def slide(shown, name, value):
    shown.evaluate(
        f"(() => {{ const one = document.querySelector('[name={name}]'); one.value = {value};"
        "one.dispatchEvent(new Event('input')); })()"
    )


def text(shown, name):
    return shown.evaluate(f"document.querySelector('[data-name={name}]').textContent")


def mouse(shown, *events):
    for kind, (x, y) in events:
        shown.mouse(kind, *shown.in_window(x, y))


def click(shown, at):
    mouse(shown, ("Moved", at), ("Pressed", at), ("Released", at))


def points(shown):
    """The points that are drawn (N, 2), and their labels, by their places and colours."""
    found = shown.evaluate(
        "[...document.querySelectorAll('[data-points] path')].map(one => "
        "[one.getAttribute('transform').match(/-?[\\d.]+/g).map(Number), one.getAttribute('fill')])"
    )
    colors = list(nearest.COLORS)
    return np.array([at for at, _ in found]), np.array([colors.index(color) for _, color in found])


def regions(shown):
    """The label of every cell (CELLS, CELLS), by its colour; 5 for white."""
    address = shown.evaluate("document.querySelector('canvas').toDataURL('image/png')")
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))
    assert pixels.shape == (CELLS, CELLS, 4)
    assert (pixels[..., 3] == 255).all()
    same = (pixels[..., None, :3] == nearest.tints()).all(axis=-1)
    assert (same.sum(axis=-1) == 1).all()
    return same.argmax(axis=-1)


def expected(X, y, metric, k):
    """lincls' labels of all cells; where votes tie, 5."""
    model = knn.fit(X.astype(np.float32), y, metric=METRICS[metric])
    found = knn.neighbors(model, nearest.places().astype(np.float32), k)
    return nearest.regions(y, found)


# --- the numbers -----------------------------------------------------------------------------


@needed
@pytest.mark.parametrize(("metric", "k", "classes"), [("l2", 5, 3), ("l1", 1, 3), ("l1", 4, 5),
                                                      ("l2", 15, 2)])  # fmt: skip
def test_regions_are_lincls_labels_and_its_ties_are_white(shown, metric, k, classes):
    choose(shown, "metric", metric)
    slide(shown, "k", k)
    slide(shown, "classes", classes)
    X, y = points(shown)
    assert len(X) == nearest.EACH * classes
    found, wanted = regions(shown), expected(X, y, metric, k)
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(found)) == classes + (k > 1 and (k, classes) != (15, 2))
    assert (text(shown, "k"), text(shown, "classes")) == (str(k), str(classes))


@needed
@pytest.mark.parametrize("metric", METRICS)
def test_equal_distances_go_to_the_point_that_was_added_first(shown, metric):
    """A cross of points around the middle: every line of symmetry is full of ties."""
    shown.act("clear")
    choose(shown, "metric", metric)
    slide(shown, "k", 2)
    for label, at in enumerate([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)]):
        choose(shown, "label", label % 3)
        click(shown, at)
    X, y = points(shown)
    np.testing.assert_array_equal(X, [[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    assert y.tolist() == [0, 1, 2, 0]
    np.testing.assert_array_equal(regions(shown), expected(X, y, metric, 2))
    mouse(shown, ("Moved", (0, 0)))
    assert [line[0] for line in lines(shown)] == [0, 1]


def lines(shown):
    """Of each line from the pointer, nearest first: which point, distance, start and end."""
    return shown.evaluate(
        "[...document.querySelectorAll('[data-lines] line')].map(one => [+one.dataset.near, "
        "+one.dataset.distance, ...['x1', 'y1', 'x2', 'y2'].map(name => +one.getAttribute(name))])"
    )


@needed
@pytest.mark.parametrize("metric", METRICS)
def test_lines_lead_from_the_pointer_to_lincls_neighbours_and_votes_are_theirs(shown, metric):
    choose(shown, "metric", metric)
    slide(shown, "k", 7)
    X, y = points(shown)
    for at in ((0.1, 0.2), (-1.5, 1.25), (1.9, -1.9)):
        mouse(shown, ("Moved", at))
        found = np.array(lines(shown))
        query = found[0, 2:4]
        np.testing.assert_allclose(query, at, atol=0.02)
        model = knn.fit(X.astype(np.float32), y, metric=METRICS[metric])
        near = knn.neighbors(model, query[None].astype(np.float32), 7)
        np.testing.assert_array_equal(found[:, 0], near.indices[0])
        lengths = np.sqrt(near.distances[0]) if metric == "l2" else near.distances[0]
        np.testing.assert_allclose(found[:, 1], lengths, rtol=1e-6)
        np.testing.assert_array_equal(found[:, 4:], X[np.asarray(near.indices[0])])
        votes = np.asarray(knn.votes(y[np.asarray(near.indices)], 3)[0])
        assert [int(text(shown, f"votes{label}")) for label in range(3)] == votes.tolist()
        told = "tie" if (votes == votes.max()).sum() > 1 else "most"
        marks = [told if count == votes.max() else "" for count in votes]
        assert [text(shown, f"most{label}") for label in range(3)] == marks


@needed
def test_without_scripts_the_same_picture_and_numbers_stand_there(file, shown):
    names = [f"{what}{label}" for what in ("votes", "count", "most") for label in range(3)]
    numbers = [text(shown, name) for name in names]
    told = shown.evaluate("document.querySelector('[data-told]').textContent")
    drawn = [points(shown)[0].tolist(), [line[2:] for line in lines(shown)]]
    with open_page(file, width=600, height=1400, scripts=False) as still:
        assert [text(still, name).strip() for name in names] == numbers
        assert still.evaluate("document.querySelector('[data-told]').textContent") == told
        ends = [line[2:] for line in lines(still)]
        assert [points(still)[0].tolist(), ends] == drawn
        seen = still.evaluate("document.body.innerText")
        assert "With scripts switched on" in seen
        assert "Start again" not in seen
        assert "diamonds" not in seen
        assert still.complaints == []
    np.testing.assert_array_equal(regions(shown), expected(*points(shown), "l2", nearest.K))


# --- the hands -------------------------------------------------------------------------------


@needed
def test_a_click_adds_a_point_of_the_chosen_class_and_a_double_click_removes_it(shown):
    X, y = points(shown)
    choose(shown, "label", 2)
    click(shown, (-1.5, 0.5))
    after, labels = points(shown)
    np.testing.assert_array_equal(after[:-1], X)
    np.testing.assert_allclose(after[-1], (-1.5, 0.5), atol=0.02)
    assert labels[-1] == 2
    assert text(shown, "count2") == str(nearest.EACH + 1)
    np.testing.assert_array_equal(regions(shown), expected(after, labels, "l2", nearest.K))
    double_click(shown, (-1.5, 0.5))
    np.testing.assert_array_equal(points(shown)[0], X)
    np.testing.assert_array_equal(points(shown)[1], y)


def double_click(shown, at):
    x, y = shown.in_window(*at)
    for count in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            shown.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                       clickCount=count)  # fmt: skip


@needed
def test_a_double_click_on_the_plane_adds_one_point_that_stays(shown):
    before = len(points(shown)[0])
    double_click(shown, (1.5, 1.5))
    assert len(points(shown)[0]) == before + 1


@needed
def test_a_dragged_point_stays_where_it_is_left_and_adds_none(shown):
    X, y = points(shown)
    end = (-1.25, -0.75)
    mouse(shown, ("Pressed", X[4]), ("Moved", (0, 0)), ("Moved", end), ("Released", end))
    mouse(shown, ("Moved", (1, 1)))
    after, labels = points(shown)
    np.testing.assert_allclose(after[4], end, atol=0.02)
    np.testing.assert_array_equal(np.delete(after, 4, 0), np.delete(X, 4, 0))
    np.testing.assert_array_equal(labels, y)
    np.testing.assert_array_equal(regions(shown), expected(after, y, "l2", nearest.K))


@needed
def test_points_dragged_out_of_the_plane_stop_at_its_edge(shown):
    X, _ = points(shown)
    mouse(shown, ("Pressed", X[0]), ("Moved", (1, 1)), ("Moved", (1.9, 2.6)), ("Released", (0, 3)))
    assert np.abs(points(shown)[0]).max() < SIDE


@needed
def test_few_points_and_none(shown):
    shown.act("clear")
    assert (regions(shown) == len(nearest.NAMES)).all()
    assert "no points" in shown.evaluate("document.querySelector('[data-told]').textContent")
    assert lines(shown) == []
    choose(shown, "label", 1)
    click(shown, (0.5, 0.5))
    assert (regions(shown) == 1).all()
    assert "1 of 1 points" in shown.evaluate("document.querySelector('[data-told]').textContent")


@needed
def test_classes_that_are_taken_away_come_back_and_cannot_be_chosen_meanwhile(shown):
    slide(shown, "classes", 5)
    choose(shown, "label", 4)
    click(shown, (0.5, 1.5))
    before = points(shown)
    slide(shown, "classes", 2)
    assert set(points(shown)[1]) == {0, 1}
    click(shown, (0.5, -1.5))
    assert points(shown)[1][-1] == 1
    slide(shown, "classes", 5)
    np.testing.assert_array_equal(points(shown)[0][:-1], before[0])


def press(shown, key, times=1, shift=False):
    for _ in range(times):
        for kind in ("keyDown", "keyUp"):
            shown.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 * shift)


@needed
def test_everything_can_be_done_with_keys(shown):
    shown.act("clear")
    shown.evaluate("document.querySelector('svg').focus()")
    start = np.array(nearest.QUERY)
    press(shown, "Enter")
    press(shown, "ArrowLeft", 16)
    press(shown, "ArrowUp", 2, shift=True)
    press(shown, "Enter")
    other = start + np.array([-1, 2 * nearest.UNIT])
    np.testing.assert_array_equal(points(shown)[0], [start, other])
    press(shown, " ")
    press(shown, "ArrowDown", 8)
    press(shown, " ")
    press(shown, "ArrowDown", 8)
    np.testing.assert_array_equal(points(shown)[0], [start, other - [0, 0.5]])
    press(shown, "Delete")  # nothing is near
    assert len(points(shown)[0]) == 2
    press(shown, "ArrowUp", 8)
    press(shown, "Delete")
    np.testing.assert_array_equal(points(shown)[0], [start])


@needed
@pytest.mark.parametrize("width", [1280, 640, 360])
def test_the_figure_fits_its_window(file, width):
    with open_page(file, width=width, height=900) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        sizes = shown.evaluate(
            "['canvas', 'svg'].map(name => { const box = document.querySelector(name)"
            ".getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })"
        )
        np.testing.assert_allclose(*sizes, atol=1.5)
        assert sizes[1][2] >= min(width, 544) - 40
