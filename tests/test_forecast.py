"""A forecast says the bytes that a run takes, on one device and on many, and what does not fit."""

import gc
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from lincls import distances, forecast, knn, linear, losses, optimizers, placement
from lincls import training as trainings
from lincls.forecast import layout
from lincls.objective import Objective
from lincls.placement import memory
from lincls.structs import Hyper
from lincls.training import Recipe, room

pytestmark = pytest.mark.usefixtures("quick_compiles")
RNG = np.random.default_rng(60)
N, D, C = 4200, 260, 3
X = RNG.integers(0, 256, (N, D), dtype=np.uint8)
Y = (X[:, 0] > 100).astype(np.int32) + (X[:, 1] > 200)
GRID = Hyper({"learning_rate": np.linspace(0.01, 0.1, 40), "momentum": 0.9}, reg=0.01)
HUGE = jax.ShapeDtypeStruct((10**9, 784), np.uint8)


def live_bytes():
    """Bytes of all arrays of JAX, each buffer counted once, those of a mesh on all its devices."""
    gc.collect()
    pieces = {
        shard.data.unsafe_buffer_pointer(): shard.data.nbytes
        for array in jax.live_arrays()
        if not jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
        for shard in array.addressable_shards
    }
    return sum(pieces.values())


@pytest.fixture
def no_clock(monkeypatch):
    """Nothing is timed: a measured call takes a second."""
    monkeypatch.setattr(layout, "shortest", lambda call: 1.0)


# --- bytes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "dtype"),
    [("l1", np.uint8), ("l2", np.uint8), ("cosine", np.uint8), ("l2", np.float32)],
)
def test_bytes_of_a_model_are_those_of_its_buffers(metric, dtype, no_clock):
    rows = np.where(np.arange(D) < 40, X, 128).astype(dtype)  # sketches of few directions pay
    metric = getattr(distances, metric)
    told = forecast.neighbors(rows, 10, 5, metric=metric)
    before = live_bytes()
    model = knn.fit(rows, metric=metric)
    found = live_bytes() - before
    assert knn.route(model, 5) == told.route == "pruned"
    assert found <= told.data + told.state <= 1.3 * found
    of_blocks = forecast.neighbors(rows, 300, 5, metric=metric)
    assert of_blocks.route == knn.route(model, 5, num_queries=300)
    assert of_blocks.state == told.state, "sketches are there, whichever search runs"


@pytest.mark.parametrize("devices", [1, 8])
def test_bytes_of_a_training_are_those_of_its_buffers(devices, no_clock):
    recipe = Recipe(Objective(losses.hinge), optimizers.sgd, batch_size=64)
    before, seen = live_bytes(), []
    state = trainings.start(jax.random.key(0), linear.init(jax.random.key(1), D, C), recipe, GRID)
    rows = (X, Y) if devices == 1 else placement.shard(placement.mesh(devices), X, Y)
    how = {"num_steps": 6}
    with placement.limited(call_flops=1):
        told = forecast.training(X, recipe, GRID, num_classes=C, num_devices=devices, **how)
        trainings.fit(state, *rows, recipe, GRID, **how,
                      on_chunk=lambda *_: seen.append(live_bytes() - before))  # fmt: skip
    assert told.num_devices == devices
    copies = 2 if devices == 1 else 1 + devices  # the first state is the caller's
    expected = devices * told.data + copies * told.state // 3
    assert max(seen) == pytest.approx(expected, rel=0.02)


CHILD = """
import json, sys
import jax, numpy as np
from experiments.bench.knn_memory import most_bytes
from lincls import linear, training, Hyper, Recipe
X, y = np.zeros((20_000, 1000), np.uint8), np.arange(20_000) % 10
recipe, hyper = Recipe(), Hyper({"learning_rate": np.full(1000, 0.01)})
small = Hyper({"learning_rate": np.full(2, 0.01)})
params = linear.init(jax.random.key(0), 1000, 10)
def run(hyper):
    state = training.start(jax.random.key(0), params, recipe, hyper)
    jax.block_until_ready(training.fit(state, X, y, recipe, hyper, num_steps=2)[0].params)
run(small)
before = most_bytes()
run(hyper)
print(json.dumps({"peak": most_bytes() - before}))
"""


@pytest.mark.slow
def test_the_peak_of_a_process_is_near_the_forecast(no_clock):
    """Parameters of 40 MB, 1,000 settings: what XLA plans is what the process takes."""
    command = [sys.executable, "-c", CHILD]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = json.loads(ran.stdout.splitlines()[-1])["peak"]
    shape = jax.ShapeDtypeStruct((20_000, 1000), np.uint8)
    hyper = Hyper({"learning_rate": np.full(1000, 0.01)})
    told = forecast.training(shape, Recipe(), hyper, num_steps=2, num_classes=10)
    assert peak == pytest.approx(told.state + told.work, rel=0.4)


def test_rows_that_are_there_are_not_needed_again(no_clock):
    on_mesh = placement.shard(placement.mesh(8), X)[0]
    told = forecast.neighbors(on_mesh, 10, 5)
    assert told.num_devices == 8
    assert told.data == told.held == on_mesh.array.nbytes // 8
    assert told.needed == told.state + told.work
    assert told.route == "shards"


def test_a_file_that_is_read_in_pieces_needs_a_piece(tmp_path, limited, no_clock):
    np.save(tmp_path / "X.npy", X)
    rows = np.load(tmp_path / "X.npy", mmap_mode="r")
    limited(device_bytes=2**18, part_bytes=2**16, piece_bytes=2**17)
    found = forecast.neighbors(rows, 10, 5)
    assert (found.route, found.data) == ("parts", 2**16 // D * D)
    recipe = Recipe(batch_size=64)
    piece = forecast.training(rows, recipe, GRID, num_steps=50, num_classes=C)
    assert piece.data <= 2**17 + 50 * 64 * 8


# --- time ------------------------------------------------------------------------------------


def test_time_grows_with_the_number_of_queries(no_clock):
    def searched(num_rows, num_queries):
        rows = jax.ShapeDtypeStruct((num_rows, 2**14), np.uint8)
        return forecast.neighbors(rows, num_queries, 5).seconds

    first = searched(2**15, 10_000)
    assert searched(2**15, 20_000) == pytest.approx(2 * first, rel=0.01)


@pytest.mark.slow
def test_the_time_is_that_of_the_run_within_an_order_of_magnitude():
    """A wide bound, because other programs may run meanwhile."""
    recipe = Recipe(batch_size=64)
    told = forecast.training(X, recipe, GRID, num_steps=400, num_classes=C)
    state = trainings.start(jax.random.key(0), linear.init(jax.random.key(1), D, C), recipe, GRID)

    def run():
        return trainings.fit(state, X, Y, recipe, GRID, num_steps=400)[0].params

    run()
    assert told.seconds / 10 < layout.shortest(run) < 10 * told.seconds


# --- what does not fit -----------------------------------------------------------------------


def test_too_many_rows_are_a_sentence_and_what_it_says_helps(no_clock):
    told = forecast.neighbors(HUGE, 100, 5, limit_bytes=10**9)
    assert not told.fits
    assert told.data == 784 * 10**9
    text = str(told)
    assert "1 GB are free, which is too little. Lay the rows over at least" in text
    devices = int(text.split("at least ")[1].split()[0])
    assert forecast.neighbors(HUGE, 100, 5, num_devices=devices, limit_bytes=10**9).fits
    assert devices < 1.2 * told.needed / 10**9


def test_too_many_settings_are_a_sentence_and_what_it_says_helps(no_clock):
    def told(settings):
        hyper = Hyper({"learning_rate": np.full(settings, 0.1), "momentum": 0.9})
        return forecast.training(X, Recipe(), hyper, num_steps=10, num_classes=C, limit_bytes=10**7)

    many = told(4000)
    text = str(many)
    assert not many.fits
    assert "10 MB are free, which is too little. Train at most" in text
    most = int(text.split("at most ")[1].split()[0])
    assert told(most).fits
    assert not told(2 * most).fits


def test_a_forecast_is_read_aloud():
    told = forecast.Forecast(
        "Training of 9 steps on 50 x 4 uint8", "", 2, 154_000_000, 31_460_000, 17_900_000,
        154_000_000, 22_800_000_000, 10**9, 200.0, False, "",
    )  # fmt: skip
    assert str(told) == (
        "Training of 9 steps on 50 x 4 uint8. 3.3 min without compilation. Memory on each of 2 "
        "devices: 49.4 MB more (data 154 MB, state 31.5 MB, intermediate results 17.9 MB), and "
        "22.8 GB are free."
    )


# --- the door of a grid ----------------------------------------------------------------------


def test_a_grid_without_room_is_refused_before_it_is_made(monkeypatch):
    params, key = linear.init(jax.random.key(1), D, C), jax.random.key(0)
    left = 100_000
    monkeypatch.setattr(placement, "available", lambda devices=1: left)
    with pytest.raises(ValueError, match=r"40 settings.* train at most 15 settings") as caught:
        trainings.start(key, params, Recipe(), GRID)
    assert "hyper" in str(caught.value)
    fewer = Hyper({"learning_rate": np.linspace(0.01, 0.1, 15), "momentum": 0.9})
    state = trainings.start(key, params, Recipe(), fewer)
    left = 50_000
    with pytest.raises(ValueError, match="train at most 7 settings"):
        trainings.fit(state, X, Y, Recipe(), fewer, num_steps=2)


def test_where_there_is_room_no_optimizer_is_traced():
    params = linear.init(jax.random.key(1), D, C)
    room.check_start(params, 40, lambda params: pytest.fail("traced"), is_shared=True)


# --- memory that is left ---------------------------------------------------------------------


def test_memory_is_what_the_system_and_the_container_leave(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:    1000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CONTAINER", tmp_path)
    assert placement.available() == 1_024_000
    assert placement.available(4) == 256_000
    (tmp_path / "memory.max").write_text("max")
    (tmp_path / "memory.current").write_text("70000")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 20000\n")
    assert placement.available() == 1_024_000
    (tmp_path / "memory.max").write_text("100000")
    assert placement.available() == 50_000


def test_devices_that_are_not_here_are_as_one_of_ours(no_clock):
    recipe = Recipe(batch_size=64)
    told = forecast.training(HUGE, recipe, GRID, num_steps=9, num_classes=C, num_devices=64)
    assert told.num_devices == 64
    assert told.data < 1.02 * HUGE.shape[0] / 64 * (784 + 8)
    on_mesh = placement.shard(placement.mesh(8), X)[0]
    with pytest.raises(ValueError, match="X lies on 8 devices"):
        forecast.neighbors(on_mesh, 10, 5, num_devices=2)
    eight = Hyper({"learning_rate": np.full(8, 0.1)})
    with pytest.raises(ValueError, match="hyper lies on a mesh; give the settings of one device"):
        forecast.training(X, recipe, placement.shard_settings(placement.mesh(8), eight),
                          num_steps=9, num_classes=C)  # fmt: skip


def test_rows_of_another_byte_order_are_told_as_the_same(no_clock):
    swapped = X.astype(np.dtype(np.float32).newbyteorder())
    told, plain = (forecast.neighbors(rows, 10, 5) for rows in (swapped, X.astype(np.float32)))
    assert (told.data, told.state, told.work) == (plain.data, plain.state, plain.work)
