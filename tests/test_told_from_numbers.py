"""What the page says of copies, lines and the best classifier follows from the numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import linear_plane
from experiments.report import unintuitive as unintuitive_report
from experiments.report.findings import AGREES, DIFFERS, ELSEWHERE, UNDECIDED


def copies(*shares, count=1000):
    """A record of images whose copies of each kind keep their class in these shares."""
    rng = np.random.default_rng(23)
    kept = rng.permuted(np.arange(count) < count * np.array(shares)[:, None], axis=1)
    right = np.column_stack([np.ones(count, bool), *kept])
    return SimpleNamespace(arrays={"judged_right": right})


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [((0.5, 0.9, 0.5), AGREES), ((0.5, 0.52, 0.5), UNDECIDED), ((1.0, 1.0, 1.0), DIFFERS)],
)
def test_slide_23_equal_distance_must_hide_a_difference_that_an_interval_shows(shares, verdict):
    assert unintuitive_report._unequal(copies(*shares)) == verdict


def test_slide_23_the_copies_that_keep_their_class_most_and_least_often_are_compared():
    best, worst, interval = unintuitive_report._widest(copies(0.5, 0.9, 0.2))
    assert (best, worst) == (1, 2)
    assert interval.low < 0.7 < interval.high


@pytest.mark.parametrize(
    ("shape", "background", "verdict"),
    [
        ((8, 8, 3), 0.6, AGREES),
        ((8, 8, 3), 0.1, DIFFERS),
        ((8, 8, 3), 0.3, UNDECIDED),
        ((8, 8, 1), 0.6, ELSEWHERE),  # grey images have no background
        ((1, 8, 1), 0.1, ELSEWHERE),
    ],
)
def test_slide_25_compares_class_and_background_where_there_is_one(shape, background, verdict):
    same = {"class": np.tile([0.2, 0.4], 50), "background": np.full(100, background)}
    record = SimpleNamespace(
        arrays={f"map_same_{name}": share for name, share in same.items()},
        settings={"num_near": 5},
        image_shape=shape,
    )
    assert unintuitive_report._of_background(record).verdict == verdict


@pytest.mark.parametrize("shares", [(1.0, 0.95, 0.0), (1.0, 0.05, 0.0)])
def test_slide_23_no_interval_leaves_100_points(shares):
    pairs = unintuitive_report._pairs_of_copies(copies(*shares, count=20))
    assert all(-1 <= interval.low <= interval.high <= 1 for *_, interval in pairs)
    assert max(interval.high for *_, interval in pairs) == 1


@pytest.mark.parametrize(
    ("points", "labels", "divided"),
    [
        ([[0, 0], [1, 1], [0, 1], [1, 0]], [0, 0, 1, 1], False),
        ([[0, 0], [0, 1], [3, 0], [3, 1]], [0, 0, 1, 1], True),
        ([[5, 9], [5.001, 9], [6, 9]], [0, 1, 1], True),
        ([[0, 0], [1, 0], [2, 0]], [0, 1, 0], False),
    ],
)
def test_slide_26_a_linear_program_finds_a_line_wherever_there_is_one(points, labels, divided):
    assert linear_plane._divided(np.array(points, float), np.array(labels)) is divided
