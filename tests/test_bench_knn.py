"""The benchmark of neighbours: its oracles, its clock, its data and what it says, on tiny data."""

import json
from functools import partial

import numpy as np
import pytest

from experiments import bench_knn
from experiments.bench import (
    knn_data,
    knn_engines,
    knn_memory,
    knn_oracles,
    knn_profile,
    knn_telling,
    knn_timing,
    timing,
)
from experiments.bench.knn_engines import OURS, Engine
from experiments.bench.knn_oracles import Right, Truth
from experiments.report import style

ABSENT = Engine("an absent engine", "package_that_nobody_has", lambda *_: None)
LECTURE = Engine("the lecture's loop", "numpy", knn_engines.the_lecture)


@pytest.mark.usefixtures("quick_compiles")
def test_a_smoke_run_measures_every_part_without_any_peer(tmp_path, monkeypatch, capsys):
    """All answers are exact; who is not installed is named and takes no part."""
    monkeypatch.setitem(style.PARAMETERS, "savefig.dpi", 20)
    monkeypatch.setattr(knn_engines, "BYTES", [*OURS, LECTURE, ABSENT])
    monkeypatch.setattr(knn_engines, "FLOATS", OURS)
    trees = knn_engines.SIZES[2:]  # scikit-learn's, of numpy alone
    monkeypatch.setattr(knn_engines, "SIZES", [OURS[0], *trees])
    assert bench_knn.main(["--smoke", "--out", str(tmp_path)]) == 0
    folder = tmp_path / "bench_knn-smoke"
    found = json.loads((folder / "results.json").read_text())
    assert found["missing"] == [ABSENT.package]
    assert [row["engine"] for row in found["engines"]] == 2 * [
        *(e.name for e in OURS),
        LECTURE.name,
    ]
    for row in found["engines"] + found["float"]:
        assert row["right_indices"] == row["right_distances"] == row["checked"] == 8
        assert row["search_ratio"] > 0
        assert row["whole_ratio"] > 0
    assert {(row["data"], row["metric"]) for row in found["float"]} == {
        (kind, metric) for kind in ("clustered", "isotropic") for metric in ("l2", "cosine")
    }
    assert [row["difference"] for row in found["cv"]] == [0, 0]
    assert len(found["growth"]) == 2 * 2 * (2 + 2)
    shapes = [(row["N"], row["D"], row["M"]) for row in found["sizes"]]
    assert shapes == [(30, 2, 1), (30, 2, 5), (30, 70, 1), (30, 70, 5)]
    assert [len(row["seconds"]) for row in found["sizes"]] == [4, 4, 2, 2], "trees up to 64"
    assert {share for row in found["sizes"] for share in row["right"].values()} == {1.0}
    assert (folder / "growth.png").is_file()
    told = capsys.readouterr()
    assert f"pip install {ABSENT.package}" in told.err
    assert "not exact" not in told.out
    assert "The grid search was timed at k = 1 alone, on 2 of 2 folds" in told.out


def test_parts_not_chosen_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(bench_knn.PARTS, "float", lambda *_: [])
    flags = ["--smoke", "--parts", "float", "--out", str(tmp_path)]
    assert bench_knn.main(flags) == 0
    found = json.loads((tmp_path / "bench_knn-smoke" / "results.json").read_text())
    assert found["float"] == []
    assert not {"engines", "cv", "growth", "memory", "sizes"} & set(found)


# --- oracles ---------------------------------------------------------------------------------


def test_the_integer_oracle_orders_by_distance_then_index(monkeypatch):
    """Across its blocks as well, at the greatest distances that bytes have."""
    monkeypatch.setattr(knn_oracles, "_BLOCK", 2)
    X = np.array([[255, 255], [0, 0], [0, 1], [1, 0], [0, 0]], np.uint8)
    queries = np.zeros((1, 2), np.uint8)
    for metric, largest in (("l1", 510), ("l2", 130_050)):
        truth = knn_oracles.nearest(knn_oracles.integer_table, X, queries, metric, 5)
        np.testing.assert_array_equal(truth.indices, [[1, 4, 2, 3, 0]])
        np.testing.assert_array_equal(truth.distances, [[0, 0, 1, 1, largest]])


def test_equal_counts_the_queries_that_are_wholly_right():
    truth = Truth(np.array([[0, 1], [2, 3], [4, 5]]), np.array([[1, 2], [1, 1], [0, 9]]))
    found = np.array([[0, 1], [3, 2], [4, 5]]), np.array([[1, 2], [1, 1], [0, 8]])
    assert knn_oracles.equal(truth, found) == Right(indices=2, distances=2)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_close_forgives_ties_within_the_tolerance_and_nothing_else(metric):
    X = np.float32([[1, 0], [1, 1e-7], [0, 1], [-1, 0]])
    queries = np.float32([[0.8, 0.6]])
    truth = knn_oracles.nearest(knn_oracles.float_table, X, queries, metric, 3)
    np.testing.assert_allclose(truth.distances[0, 0], {"l2": 0.4, "cosine": 0.2}[metric], rtol=1e-6)

    def right(indices, by=0.0):
        found = np.array([indices]), truth.distances * (1 + by)
        return knn_oracles.close(truth, found, X, queries, metric)

    assert right([0, 1, 2]) == right([1, 0, 2]) == right([0, 1, 2], by=5e-6) == Right(1, 1)
    assert right([0, 2, 1]) == right([0, 0, 2]) == Right(0, 1)
    assert right([0, 1, 2], by=2e-5) == Right(1, 0)


# --- timing ----------------------------------------------------------------------------------


def test_ratios_survive_a_machine_that_slows_down(monkeypatch):
    """The peer takes three times as long in every round, and each round is slower than the last."""
    now, pace, calls = [0.0], [1.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def engine(name, cost):
        def search(queries):
            if name == "ours":
                pace[0] *= 1.5
            calls.append(name)
            now[0] += cost * pace[0] * len(queries)
            return np.zeros((len(queries), 1)), np.zeros((len(queries), 1))

        def build(X, metric, k):
            now[0] += 1e4
            return search

        return Engine(name, "numpy", build)

    engines = [
        engine("ours", 0.02),
        engine("peer", 0.06),
        Engine("lacks it", "numpy", ABSENT.build),
    ]
    problem = knn_timing.Problem(np.zeros((5, 2)), np.zeros((8, 2)), "l1", 1)
    effort = knn_timing.Effort(checked=4, rounds=3, seconds=100.0)
    rows = knn_timing.contest(engines, problem, effort, lambda *_: Right(4, 4))
    assert [row["engine"] for row in rows] == ["ours", "peer"]
    assert rows[1]["search_ratio"] == pytest.approx(3)
    assert rows[1]["whole_ratio"] == pytest.approx(1, abs=0.01)  # building is most of it
    assert rows[1]["build"] == pytest.approx(1e4)
    assert (rows[1]["queries"], rows[1]["all_queries"]) == (8, 8)
    assert calls[-8:] == ["ours", "peer"] * 4  # a round to warm up, and three


def test_a_short_call_is_repeated(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def search(queries):
        now[0] += knn_timing.SHORT / 5 * len(queries)
        calls.append(len(queries))

    one = knn_timing.Ready(LECTURE, search, 0.0, 0.0, first_call=0.0, right=Right(1, 1))
    effort = knn_timing.Effort(checked=1, rounds=1, seconds=100.0)
    each, counts = knn_timing.duel(one, one, np.zeros((1, 2)), effort)
    np.testing.assert_allclose(each, knn_timing.SHORT / 5)
    assert counts == [1, 1]
    assert len(calls) == 2 * 2 + 2 * 2 * 5, "to know its pace; then a round to warm up, and one"


def test_a_slow_engine_is_timed_on_fewer_queries(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def search(queries):
        now[0] += len(queries)

    slow = knn_timing.Ready(LECTURE, search, 0.0, 0.0, first_call=4.0, right=Right(4, 4))
    queries = np.zeros((100, 2))
    assert knn_timing.affordable(slow, queries, 4, seconds=30.0) == 30
    assert knn_timing.affordable(slow, queries, 4, seconds=0.1) == 1
    assert knn_timing.affordable(slow, queries, 4, seconds=1e6) == 100


# --- data and words --------------------------------------------------------------------------


def test_further_images_are_shifted_or_mirrored_ones():
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 1), dtype=np.uint8)
    more = knn_data.more_images(images, 40)
    assert more.shape == (40, 6, 5, 1)
    np.testing.assert_array_equal(more[:3], images)
    np.testing.assert_array_equal(more[3:6], images[:, :, ::-1])
    np.testing.assert_array_equal(more[6:9, 0], images[:, 1])  # by a row, the border repeated
    np.testing.assert_array_equal(more[6:9, -2:], images[:, [-1, -1]])
    assert len(np.unique(more.reshape(40, -1), axis=0)) == 40


@pytest.mark.parametrize("kind", ["clustered", "isotropic"])
def test_generated_vectors_have_length_one(kind):
    X, queries = knn_data.generated(0, kind, (300, 20), 64)
    assert X.shape == (300, 64)
    assert X.dtype == queries.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, rtol=1e-6)
    assert not np.isin(queries, X).all(axis=1).any()


SIZES = (100, 200, 400, 800)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ([1, 2, 4, 8], "linear"),
        ([1, 1.4, 2, 2.8], "less than linear"),
        ([1, 4, 16, 64], "more than linear"),
        ([1, 3, 2, 8], "undecided"),
    ],
)
def test_the_exponent_says_what_is_linear(seconds, told):
    assert knn_telling.verdict(knn_telling.exponent(SIZES, seconds)) == told


def test_the_title_says_which_search_is_linear():
    rows = [
        {"of": "N", "value": size, "metric": metric, "pruned": pruned,
         "each": size**0.5 if pruned else size}
        for size in SIZES for metric in ("l1", "l2") for pruned in (False, True)
    ]  # fmt: skip
    assert knn_telling.title(rows) == (
        "Time per query against N: linear for L1 brute force, L2 brute force; "
        "less than linear for L1 pruned, L2 pruned"
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_memory_is_that_of_a_process_of_its_own(dtype):
    pytest.importorskip("resource")
    found = knn_memory.peak("file", dtype, 300, 16)
    assert found["data"] == 300 * 16 * np.dtype(dtype).itemsize
    assert 2**24 < found["before"] <= found["built"] <= found["peak"]
    assert found["within"]
    assert found["allowed"] == int(1.35 * found["data"]) + 2**30


def test_the_profile_gives_all_processor_time_to_some_part():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(4096, 4)) @ rng.normal(size=(4, 256)) * 20 + 128).astype(np.uint8)
    search = partial(knn_profile.among_training, X[:8], 5)
    found = knn_profile.profile(X, search, "l2")
    assert set(found) <= {*knn_profile.PARTS.values(), knn_profile.OTHER}
    assert found["exact distances"] > 0
    lines = knn_profile.table({"l2": found}, 8).splitlines()
    shares = [float(line.split(" %")[0].split()[-1]) for line in lines[1:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.5)
