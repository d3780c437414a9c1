"""Slides 1-25 on the page: changed images, slide 16's class, the map, intervals of verdicts."""

import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from shares import further

from experiments import choose_k, images, nearest_neighbor, unintuitive
from experiments.lab import pictures, record
from experiments.lab.slide_code import NearestNeighbor
from experiments.report import examples, intervals, style
from experiments.report.findings import AGREES, DIFFERS, UNDECIDED, together
from lincls import distances

pytestmark = pytest.mark.usefixtures("quick_compiles")


@pytest.fixture(scope="module")
def stripes():
    """20 images (8, 8, 1) of a few pixels on black."""
    rng = np.random.default_rng(4)
    return np.uint8(rng.integers(0, 200, (20, 8, 8, 1)) * (rng.random((20, 8, 8, 1)) < 0.4))


def test_changes_keep_shape_and_type_and_move_what_they_are_named_for(stripes):
    copies = pictures.changed(stripes, np.roll(stripes, 1, axis=0))
    assert tuple(copies) == pictures.CHANGES
    for copy in copies.values():
        assert (copy.shape, copy.dtype) == (stripes.shape, np.uint8)
        assert np.any(copy != stripes)
    np.testing.assert_array_equal(copies["illumination"], np.rint(0.6 * stripes))
    np.testing.assert_array_equal(copies["occlusion"][:, :4], stripes[:, :4])
    assert np.unique(copies["occlusion"][:, 4:, 4:]).size == 1
    assert np.all(copies["clutter"] >= stripes)


def test_clutter_in_colour_keeps_the_middle_and_replaces_the_corners():
    mine, other = np.zeros((1, 9, 9, 3), np.uint8), np.full((1, 9, 9, 3), 7, np.uint8)
    cluttered = pictures.changed(mine, other)["clutter"][0, ..., 0]
    assert cluttered[4, 4] == 0
    assert cluttered[[0, 0, 8, 8], [0, 8, 0, 8]].tolist() == [7] * 4


def test_a_warp_of_a_flat_image_is_flat():
    flat = np.full((2, 8, 8, 3), 9, np.uint8)
    copies = pictures.changed(flat, flat)
    assert np.all(copies["viewpoint"] == 9)
    assert np.all(copies["deformation"] == 9)


def test_the_side_view_narrows_a_ramp_about_its_middle():
    ramp = np.uint8(10 * np.arange(11) * np.ones((1, 11, 1)))[..., None]
    seen = pictures.changed(ramp, ramp)["viewpoint"][0, 5, :, 0]
    places = 5 + (np.arange(11) - 5) * np.cos(np.pi / 12) / 0.75
    np.testing.assert_allclose(seen, 10 * np.clip(places, 0, 10), atol=0.51)


@pytest.mark.parametrize(("metric", "order"), [(distances.l1, 1), (distances.l2, 2)])
def test_all_distances_are_numpys(stripes, metric, order):
    X = stripes.reshape(20, -1)
    gaps = X[:, None].astype(float) - X
    expected = np.linalg.norm(gaps, ord=order, axis=-1)
    np.testing.assert_allclose(pictures.all_distances(X, metric), expected, rtol=1e-12)


def test_background_is_the_margin_in_colour_and_the_whole_in_grey():
    image = np.zeros((1, 8, 8, 3))
    image[:, 1:-1, 1:-1] = 5
    assert pictures.background(image).tolist() == [0]
    assert pictures.background(image[..., :1]) == pytest.approx(5 * 36 / 64)
    image[:, 0] = 28  # 8 of the 28 pixels of the margin
    assert pictures.background(image) == pytest.approx(8)


def test_groups_are_equally_large_and_in_order():
    assert pictures.equal_groups(np.array([5.0, 1, 3, 1, 9, 7]), 3).tolist() == [1, 0, 1, 0, 2, 2]


def test_map_keeps_two_far_clusters_apart_and_every_cell_has_one_example():
    rng = np.random.default_rng(25)
    X = np.uint8(np.repeat([[20] * 6, [200] * 6], 18, axis=0) + rng.integers(0, 9, (36, 6)))
    cluster = np.repeat([0, 1], 18)
    places = pictures.map_by_distance(pictures.all_distances(X, distances.l2), 0)
    assert pictures.same_near(places, cluster, 5).tolist() == [1] * 36
    assert sorted(pictures.on_grid(places).ravel().tolist()) == list(range(36))


def test_a_grid_of_places_stays_where_it_is():
    across, down = np.meshgrid(np.arange(4), np.arange(4))
    places = np.stack([across.ravel(), down.ravel()], axis=1).astype(float)
    np.testing.assert_array_equal(pictures.on_grid(places), np.arange(16).reshape(4, 4))


def test_slide_16s_class_is_right_on_floats_and_wraps_on_uint8():
    # By L1 the second image (4 darker) is nearer than the first (9 brighter); in uint8,
    # 96 - 100 is 252 and 109 - 100 is 9.
    train, labels, query = np.uint8([[109], [96], [50]]), np.arange(3), np.uint8([[100]])
    slide = NearestNeighbor()
    slide.train(train.astype(float), labels)
    assert slide.predict(query.astype(float)).tolist() == [1]
    slide.train(train, labels)
    assert slide.predict(query).tolist() == [0]


def test_interval_of_a_mean_is_students():
    low, high = intervals.of_mean(np.array([1.0, 2, 3, 4, 5]))
    assert (low, high) == pytest.approx((3 - 1.96324, 3 + 1.96324), abs=1e-4)


def test_verdicts_wait_for_their_intervals():
    interval = intervals.Interval
    above = [interval(0.1, 0.2), interval(-0.2, -0.1), interval(-0.1, 0.2)]
    assert [intervals.above_zero(one) for one in above] == [AGREES, DIFFERS, UNDECIDED]
    powers = [interval(0.9, 1.1), interval(0.2, 0.5), interval(1.3, 2), interval(0.5, 1)]
    told = [intervals.inside(one, 0.75, 1.25) for one in powers]
    assert told == [AGREES, DIFFERS, DIFFERS, UNDECIDED]
    assert together([AGREES, UNDECIDED]) == UNDECIDED
    assert together([UNDECIDED, DIFFERS, AGREES]) == DIFFERS
    assert together([AGREES, AGREES]) == AGREES


def test_choosing_on_noise_flatters_and_choosing_among_equals_does_not():
    import jax

    rng = np.random.default_rng(20)
    noise = rng.random((30, 200)) < 0.5
    equal = np.repeat(noise[:1], 30, axis=0)
    key = jax.random.key(0)
    assert choose_k._flattery(key, noise, 400).mean() > 0.03
    assert abs(choose_k._flattery(key, equal, 400).mean()) < 0.01


def drawn_from(shape):
    """What the pictures of a record of such examples are drawn from."""
    return SimpleNamespace(image_shape=shape, data={"levels": [-1.0, 1.0]})


@pytest.mark.parametrize(
    ("shape", "picture", "size"),
    [
        ((8, 8, 1), (8, 8), "8 × 8 × 1 numbers"),
        ((6, 9, 3), (6, 9), "6 × 9 × 3 numbers"),
        ((1, 32, 1), (8, 32), "32 features"),
        ((1, 3, 1), (1, 3), "3 features"),
        ((1, 2048, 1), (16, 64), "2,048 features"),
    ],
)
def test_images_are_drawn_as_they_are_and_vectors_as_strips(shape, picture, size):
    of, rng = drawn_from(shape), np.random.default_rng(32)
    shown = examples.colours(of, rng.uniform(-1, 1, (2, 5, *shape)))
    assert shown.shape == (2, 5, *picture, 3)
    assert examples.size(of) == size
    assert examples.noun(of) == ("vector" if shape[0] == 1 else "image")


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (1, 32, 1), (1, 512, 1)])
def test_a_grid_of_examples_fills_its_figure(shape):
    of, shown = drawn_from(shape), np.zeros((4, 10, *shape))
    with style.mpl.rc_context(style.PARAMETERS):
        figure, _ = examples.grid(of, shown, ["cat", "automobile", "a", "b"], title="Four")
        for _ in range(2):
            figure.draw_without_rendering()  # a layout that collapses warns
    (axes,) = figure.axes
    assert axes.bbox.width > 0.7 * figure.bbox.width
    assert axes.bbox.height > 0.6 * figure.bbox.height
    names = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(names))


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        (images, {"numbers", "samples", "changes", "moved", "distances"}),
        further(nearest_neighbor, {"example", "neighbors", "query_time"}, id="nearest_neighbor"),
        further(choose_k, {"folds", "cross_validation", "test_set"}),
        (unintuitive, {"copies", "map", "sorting"}),
    ],
    ids=("images", "nearest_neighbor", "choose_k", "unintuitive"),
)
def test_every_figure_of_the_first_slides_is_there(module, wanted, tmp_path, monkeypatch):
    from experiments import run

    monkeypatch.setitem(style.PARAMETERS, "savefig.dpi", 20)
    monkeypatch.setitem(style.PARAMETERS, "figure.constrained_layout.use", False)
    assert run.main(module.__file__, ["--smoke", "--out", str(tmp_path)]) == 0
    folder = tmp_path / "digits-smoke" / module.__name__.rpartition(".")[2]
    assert {path.stem for path in folder.glob("*.png")} == wanted
    found = json.loads((folder / "results.json").read_text())["numbers"]
    if module is nearest_neighbor:
        assert found["slide"] == {"num_train": 300, "same": 20}  # all of those asked
    if module is unintuitive:
        arrays = np.load(folder / "arrays.npz")
        assert np.unique(arrays["map_grid"]).size == 64
        share = arrays["l2_same_class"].mean()
        assert share > 3 * found["chance_class"]  # on digits near ones are of one class


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        (images, {"samples", "distances"}),
        further(nearest_neighbor, {"example", "neighbors", "query_time"}, id="nearest_neighbor"),
        (unintuitive, {"copies", "map", "sorting"}),
    ],
    ids=("images", "nearest_neighbor", "unintuitive"),
)
def test_vectors_are_told_and_drawn_as_vectors(module, wanted, tmp_path, monkeypatch):
    from experiments import run
    from experiments.loading import entries

    rng = np.random.default_rng(400)
    labels = np.arange(80) % 4
    vectors = rng.normal(size=(80, 32)) + rng.normal(size=(4, 32))[labels]
    np.savez(tmp_path / "mine.npz", X=vectors.astype(np.float32), y=labels)
    monkeypatch.setitem(style.PARAMETERS, "savefig.dpi", 20)
    arguments = ["--smoke", "--dataset", str(tmp_path / "mine.npz"), "--out", str(tmp_path)]
    assert run.main(module.__file__, arguments) == 0
    title = module.__name__.rpartition(".")[2]
    folder = tmp_path / "mine-smoke" / title
    assert {path.stem for path in folder.glob("*.png")} == wanted
    found = entries([title])[title].report.findings(record.load(folder))
    told = str((found.sentences, found.answers, found.tables))
    assert "vectors" in told
    assert "1 × 32" not in told


@pytest.mark.parametrize("labels", [np.arange(12), np.zeros(12, int)])
def test_images_without_a_pair_of_each_kind_are_refused_by_the_flag(labels):
    train = SimpleNamespace(images=np.arange(48.0).reshape(12, 4).astype(np.float32), labels=labels)
    with pytest.raises(ValueError, match="--num-compared 12 takes no two"):
        images._pairs(SimpleNamespace(train=train), 12, "l2")
