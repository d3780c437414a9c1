"""Memory-mapped data give the same bits as data in memory, and need not fit into it."""

import os
import time

import data_fakes
import jax
import numpy as np
import pytest

from lincls import Hyper, Objective, Recipe, data, knn, linear, losses, penalties, training
from lincls.data import cache, catalog, official


def write(kind: str, made: data.Dataset, folder) -> data.Dataset:
    """The same data set, memory-mapped from a file."""
    if kind == "cache":
        cache.write(made, folder / "entry.npz")
        return cache.read(folder / "entry.npz")
    names = ("train_images", "train_labels", "test_images", "test_labels")
    arrays = dict(zip(names, (*made.train, *made.test), strict=True))
    if kind == "npz":
        np.savez(folder / "mine.npz", **arrays)
        return data.load(folder / "mine.npz")
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return data.load(folder)


def trained(dataset: data.Dataset) -> np.ndarray:
    params = linear.init(jax.random.key(0), 48, 3)
    hyper = Hyper({"learning_rate": 1e-5}, 1e-3)
    recipe = Recipe(Objective(losses.softmax, penalties.l2), batch_size=32)
    state = training.start(jax.random.key(1), params, recipe, hyper)
    state, _ = training.fit(state, *dataset.train, recipe, hyper, num_steps=12)
    return np.asarray(state.params.W)


@pytest.mark.parametrize("kind", ["cache", "npz", "npy"])
def test_memory_mapped_data_give_the_same_bits(kind, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(150, 4, 4, 3), dtype=np.uint8)
    made = data.from_arrays(images, rng.integers(3, size=150), images[:9], np.arange(9) % 3)
    mapped = write(kind, made, tmp_path)
    assert isinstance(mapped.train.images, np.memmap)
    assert isinstance(data.rows(mapped.train.images), np.memmap)
    found, expected = (
        knn.neighbors(knn.fit(d.train.images), d.test.images, 3) for d in (mapped, made)
    )
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)
    np.testing.assert_array_equal(trained(mapped), trained(made))


@pytest.mark.skipif(not data_fakes.WHOLE, reason="writes 180 MB; LINCLS_WHOLE=1 runs it")
def test_the_second_load_of_cifar10_takes_less_than_a_third_of_a_second(tmp_path, monkeypatch):
    monkeypatch.setenv("LINCLS_CACHE", str(tmp_path))
    images = np.random.default_rng(0).integers(256, size=(60_000, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(60_000) % 10
    names = catalog.CIFAR10.class_names
    made = data.from_arrays(images, labels, class_names=names, test_fraction=1 / 6, seed=None)
    cache.write(made, tmp_path / official.entry(catalog.CIFAR10))
    del made, images
    seconds = []
    for _ in range(3):
        begin = time.process_time()  # others may be at work on this machine
        loaded = data.load("cifar10")
        seconds.append(time.process_time() - begin)
    assert loaded.train.images.shape == (50_000, 32, 32, 3)
    assert min(seconds) < 0.3


SEARCH = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
from lincls import knn
loaded = data.load(FOLDER)
X = data.rows(loaded.train.images)
assert isinstance(X, np.memmap) and X.nbytes > 6e9
best = knn.neighbors(knn.fit(X), loaded.test.images, 1)
print(best.indices[:, 0].tolist(), best.distances[:, 0].tolist())
"""


TRAIN = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
import jax
from lincls import Hyper, Recipe, linear, training
X, y = data.load(FOLDER).train
assert isinstance(X, np.memmap) and X.nbytes > 6e9
recipe, hyper = Recipe(), Hyper({"learning_rate": 1e-5})
state = training.start(jax.random.key(0), linear.init(jax.random.key(1), 3072, 10), recipe, hyper)
state, history = training.fit(state, X, y, recipe, hyper, num_steps=50)
print(history.alive.all(), len(history.loss))
"""


@pytest.mark.skipif(not data_fakes.WHOLE, reason="maps 6 GB; LINCLS_WHOLE=1 runs it")
@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_six_gigabytes_are_searched_and_trained_on_in_two(tmp_path):
    folder, places = tmp_path / "large", [0, 1_234_567, 1_999_999]
    folder.mkdir()
    shape = (2_000_000, 32, 32, 3)
    images = np.lib.format.open_memmap(folder / "train_images.npy", "w+", np.uint8, shape)
    images[places] = np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "train_labels.npy", np.arange(len(images)) % 10)
    np.save(folder / "test_images.npy", images[places])
    np.save(folder / "test_labels.npy", np.array(places) % 10)
    del images
    ended = data_fakes.fork(SEARCH.replace("FOLDER", repr(str(folder))), tmp_path)
    assert ended.stdout.strip() == f"{places} [0, 0, 0]", ended.stderr
    ended = data_fakes.fork(TRAIN.replace("FOLDER", repr(str(folder))), tmp_path)
    assert ended.stdout.strip() == "True 50", ended.stderr
