"""The figure that can be touched: in a browser, against what lincls computes."""

import jax
import numpy as np
import pytest
from browser import needed, open_page

from experiments.report import page
from experiments.report.page import interactive
from lincls import linear, losses, penalties
from lincls.objective import Objective, evaluate
from lincls.structs import Examples, Hyper, LinearParams

CLASSES, RATE = range(3), 0.1
LOSSES = {"hinge": losses.hinge, "softmax": losses.softmax, "squared": losses.squared_hinge,
          "worst": losses.crammer_singer_hinge}  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page with nothing on it but this figure."""
    environment = page.environment()
    body = environment.get_template("interactive.html").render(play=interactive.picture())
    path = tmp_path_factory.mktemp("play") / "index.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{body}", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(file):
    with open_page(file, width=600, height=1400) as shown:
        yield shown


@pytest.fixture
def shown(browser):
    """The figure as it starts; a failing script would be told."""
    browser.act("reset")
    yield browser
    assert browser.complaints == []


def choose(shown, kind):
    shown.evaluate(f"document.querySelector('[value={kind}]').click()")


def value(shown, name):
    return float(shown.evaluate(f"document.querySelector('[data-name={name}]').dataset.exact"))


def values(shown, name):
    return [value(shown, f"{name}{k}") for k in CLASSES]


def parameters(shown):
    table = [[value(shown, f"parameter{k}{j}") for j in range(3)] for k in CLASSES]
    return LinearParams(*np.split(np.array(table), [2], axis=1))


def drag(shown, start, end):
    for kind, (x, y) in (("Pressed", start), ("Moved", end), ("Released", end)):
        shown.mouse(kind, *shown.in_window(x, y))


# --- the numbers -----------------------------------------------------------------------------


@needed
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("steps", [0, 1, 10])
def test_loss_after_steps_of_gradient_descent_is_lincls_own(shown, kind, steps):
    given, objective = interactive.start(), Objective(LOSSES[kind], penalties.l2)
    with jax.enable_x64(True):
        params = LinearParams(*(jax.numpy.asarray(given[name]) for name in ("W", "b")))
        points, labels = (np.array(given[name]) for name in ("points", "labels"))
        batch = Examples(points, labels, np.ones(len(labels)))
        loss = jax.jit(
            jax.value_and_grad(
                lambda params: evaluate(objective, params, batch, Hyper({}, given["reg"]))[0]
            )
        )
        for _ in range(steps):
            slopes = loss(params)[1]
            params = jax.tree.map(lambda p, g: p - RATE * g, params, slopes)
        expected, slopes = loss(params)
        expected = float(expected)
        right = float(np.mean(np.argmax(linear.scores(params, points), axis=1) == labels))
    choose(shown, kind)
    set_range(shown, "rate", np.log10(RATE))
    if steps:
        shown.act({1: "step", 10: "ten"}[steps])
    assert value(shown, "total") == pytest.approx(expected, abs=1e-6)
    assert value(shown, "mean") + value(shown, "penalty") == pytest.approx(expected, abs=1e-6)
    assert value(shown, "accuracy") == pytest.approx(right, abs=1e-6)
    found = np.hstack([parameters(shown).W, parameters(shown).b])
    np.testing.assert_allclose(found[:, :2], params.W, atol=1e-6)
    np.testing.assert_allclose(found[:, 2], params.b, atol=1e-6)
    table = [[value(shown, f"slope{k}{j}") for j in range(3)] for k in CLASSES]
    np.testing.assert_allclose(table, np.column_stack([slopes.W, slopes.b]), atol=1e-6)


@needed
@pytest.mark.parametrize("kind", LOSSES)
def test_another_strength_changes_the_penalty_and_the_gradient(shown, kind):
    choose(shown, kind)
    before = np.array([[value(shown, f"slope{k}{j}") for j in range(3)] for k in CLASSES])
    set_range(shown, "reg", 0.4)
    after = np.array([[value(shown, f"slope{k}{j}") for j in range(3)] for k in CLASSES])
    params, more = parameters(shown), 0.4 - interactive.start()["reg"]
    np.testing.assert_allclose((after - before)[:, :2], 2 * more * params.W, atol=1e-6)
    np.testing.assert_array_equal(after[:, 2], before[:, 2])
    assert value(shown, "penalty") == pytest.approx(0.4 * float(penalties.l2(params.W)), abs=1e-6)


@needed
def test_classes_that_tie_for_the_worst_share_its_slope_and_kinks_have_none(shown):
    """Equal scores of all points, then margins of exactly 0."""
    for b in (0.0, 1.0):
        for k in CLASSES:
            for j in range(3):
                slide(shown, f"{k}{j}", b * (k == 0) if j == 2 else 0)
        set_range(shown, "reg", 0)
        for kind in LOSSES:
            choose(shown, kind)
            given = interactive.start()
            params = LinearParams(np.zeros((3, 2)), np.array([b, 0, 0]))
            with jax.enable_x64(True):
                params = jax.tree.map(jax.numpy.asarray, params)
                points, labels = (np.array(given[name]) for name in ("points", "labels"))
                slopes = interactive.gradient(kind, params, points, labels)
            table = [[value(shown, f"slope{k}{j}") for j in range(3)] for k in CLASSES]
            np.testing.assert_allclose(table, np.column_stack([slopes.W, slopes.b]), atol=1e-6)


def slide(shown, name, value):
    shown.evaluate(
        f"(() => {{ const one = document.querySelector('[data-slider=\"{name}\"]'); one.value = "
        f"{value}; one.dispatchEvent(new Event('input')); }})()"
    )


@needed
def test_numbers_of_the_marked_point_are_lincls_own(shown):
    given = interactive.start()
    np.testing.assert_allclose(values(shown, "score"), given["scores"], atol=1e-6)
    np.testing.assert_allclose(values(shown, "softmax"), given["shares"], atol=1e-6)
    terms = interactive.picture()["terms"]
    for kind in LOSSES:
        assert value(shown, kind) == pytest.approx(given["of_marked"][kind], abs=1e-6)
        np.testing.assert_allclose(values(shown, kind), terms[kind], atol=1e-6)
    for kind in ("hinge", "squared", "worst"):
        assert sum(values(shown, kind)) == pytest.approx(given["of_marked"][kind], abs=1e-6)


@needed
def test_without_scripts_the_same_numbers_and_the_picture_stand_there(file):
    given = interactive.start()
    with open_page(file, scripts=False) as shown:
        text = shown.evaluate("document.body.innerText")
        assert "With scripts switched on" in text
        numbers = (*given["scores"], *given["of_marked"].values(), given["mean"]["hinge"])
        for number in (*numbers, given["penalty"], *np.ravel(given["gradient"])):
            assert f"{number:.3f}" in text
        assert shown.evaluate("document.querySelectorAll('path').length") == len(given["points"])
        assert shown.evaluate("document.querySelectorAll('line').length") == 9
        assert "One step" not in text


# --- the hands -------------------------------------------------------------------------------


@needed
def test_a_dragged_line_goes_through_the_pointer_and_keeps_its_direction(shown):
    before = parameters(shown)
    end = np.array([-1.7, -1.5])
    drag(shown, on_line(before, 1, -1.6), end)
    after = parameters(shown)
    assert after.W[1] @ end + after.b[1] == pytest.approx(0, abs=0.02)
    np.testing.assert_array_equal(after.W, before.W)
    np.testing.assert_array_equal(after.b[[0, 2]], before.b[[0, 2]])


def on_line(params, k, x):
    """The point of class k's line with this first coordinate."""
    (u, v), (b,) = params.W[k], params.b[k]
    return x, -(b + u * x) / v


@needed
def test_a_dragged_tip_turns_the_line_about_its_foot(shown):
    before = parameters(shown)
    foot = -before.b[0] * before.W[0] / (before.W[0] @ before.W[0])
    drag(shown, foot + before.W[0] / 2, foot + np.array([1.2, 1.0]))
    after = parameters(shown)
    np.testing.assert_allclose(after.W[0], [2.4, 2.0], atol=0.02)
    assert after.W[0] @ foot + after.b[0] == pytest.approx(0, abs=1e-9)


@needed
def test_a_dragged_point_is_the_marked_one_and_its_scores_follow(shown):
    given, params = interactive.start(), parameters(shown)
    place = int(np.argmin(np.array(given["points"])[:, 1]))  # the lowest lies free
    end = np.array([-1.6, -1.6])
    drag(shown, given["points"][place], end)
    np.testing.assert_allclose(values(shown, "score"), params.W @ end + params.b[:, 0], atol=0.02)
    np.testing.assert_array_equal(parameters(shown).W, params.W)


@needed
def test_keys_move_the_ringed_point_and_ring_another_one(shown):
    given, params = interactive.start(), parameters(shown)
    shown.evaluate("document.querySelector('svg').focus()")
    for key in ("PageDown", "ArrowLeft", "ArrowLeft", "ArrowUp"):
        for kind in ("keyDown", "keyUp"):
            shown.call("Input.dispatchKeyEvent", type=kind, key=key)
    end = np.array(given["points"][given["marked"] + 1]) + np.array([-0.1, 0.05])
    expected = params.W @ end + params.b[:, 0]
    np.testing.assert_allclose(values(shown, "score"), expected, atol=1e-6)


@needed
def test_a_slider_changes_its_parameter(shown):
    slide(shown, "12", 1.5)
    assert value(shown, "parameter12") == 1.5


def set_range(shown, name, value):
    shown.evaluate(
        f"(() => {{ const one = document.querySelector('[name={name}]'); one.value = {value};"
        "one.dispatchEvent(new Event('input')); })()"
    )


@needed
@pytest.mark.parametrize("kind", LOSSES)
def test_a_large_step_size_explodes_and_all_that_can_be_grasped_stays_within_the_frame(shown, kind):
    choose(shown, kind)
    set_range(shown, "rate", 1)  # 10, as its logarithm
    before = value(shown, "total")
    for _ in range(3):
        shown.act("step")
    assert value(shown, "total") > 10 * before
    for _ in range(20):
        shown.act("ten")
    assert np.isfinite(value(shown, "total"))
    assert shown.evaluate("document.querySelector('.exploded').hidden") is False
    tips = shown.evaluate(
        "[...document.querySelectorAll('.tip')]"
        ".map(tip => [+tip.getAttribute('cx'), +tip.getAttribute('cy')])"
    )
    assert np.abs(tips).max() < 1.9


@needed
def test_start_again_resets_all_that_one_can_change(shown):
    seen = "[...document.querySelectorAll('output')].map(one => one.dataset.exact).join()"
    inputs = "[...document.querySelectorAll('input')].map(one => [one.value, one.checked]).join()"
    before = shown.evaluate(seen), shown.evaluate(inputs)
    choose(shown, "softmax")
    set_range(shown, "rate", 0)
    set_range(shown, "reg", 0.4)
    shown.act("ten")
    drag(shown, interactive.start()["points"][7], (-1.5, -1.5))
    shown.act("reset")
    assert (shown.evaluate(seen), shown.evaluate(inputs)) == before


@needed
def test_a_tip_that_the_frame_holds_back_can_be_dragged_home(shown):
    set_range(shown, "rate", 1)
    for _ in range(4):
        shown.act("step")
    tip = shown.evaluate(
        "['cx', 'cy'].map(name => +document.querySelector('.tip').getAttribute(name))"
    )
    drag(shown, tip, 0.8 * np.array(tip))
    assert np.abs(parameters(shown).W[0]).max() < 10
