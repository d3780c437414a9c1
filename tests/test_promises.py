"""What README promises, one test for each line, against numbers that lincls did not compute."""

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
from shares import further
from sklearn.linear_model import LogisticRegression

from experiments.lab import gate
from experiments.probe import choosing
from lincls import (
    batches,
    certificate,
    checkpoint,
    crossval,
    data,
    distances,
    knn,
    linear,
    optimizers,
    splits,
    training,
)
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams
from lincls.training import Recipe

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(110)
X = RNG.integers(0, 40, (230, 12), dtype=np.uint8)  # few values: many equal distances
QUERIES = RNG.integers(0, 40, (21, 12), dtype=np.uint8)
METRICS = {"l1": distances.l1, "l2": distances.l2}
FLOATS = RNG.normal(size=(60, 5)).astype(np.float32)
Y = (FLOATS[:, :3] + RNG.normal(size=(60, 3))).argmax(axis=1)
PARAMS = linear.init(jax.random.key(111), 5, 3, scale=0.1)
HYPER = Hyper({"learning_rate": 0.1, "momentum": 0.9}, reg=0.01)


def by_integers(X, queries, k, name):
    """Distances (M, k) and indices by Python's integers: by (distance, index)."""
    apart = np.abs(queries[:, None].astype(np.int64) - X.astype(np.int64))
    total = (apart if name == "l1" else apart**2).sum(axis=-1)
    order = np.argsort(total, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(total, order, axis=1), order


def assert_neighbours(found, expected):
    np.testing.assert_array_equal(found.distances, expected[0])
    np.testing.assert_array_equal(found.indices, expected[1])


def train(num_steps, hyper=HYPER, optimizer=optimizers.sgd, state=None, key=112, **kw):
    recipe = Recipe(
        Objective(), optimizer, batches.shuffled, 16, kw.pop("params_fn", training.last)
    )
    if state is None:
        state = training.start(jax.random.key(key), PARAMS, recipe, hyper)
    return training.fit(state, FLOATS, Y, recipe, hyper, num_steps=num_steps, **kw)


def bits(tree):
    leaves = [jax.random.key_data(leaf) if hasattr(leaf, "dtype") and jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key) else leaf for leaf in jax.tree.leaves(tree)]  # fmt: skip
    return [np.asarray(leaf).tobytes() for leaf in leaves]


# --- neighbours ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_neighbours_are_those_of_integer_arithmetic(name):
    model = knn.fit(X, metric=METRICS[name])
    assert_neighbours(knn.neighbors(model, QUERIES, 9), by_integers(X, QUERIES, 9, name))


@pytest.mark.parametrize("name", METRICS)
def test_k_neighbours_are_the_first_of_k_plus_1(name):
    model = knn.fit(X, metric=METRICS[name])
    for k in (1, 10, 20):
        fewer, more = (knn.neighbors(model, QUERIES, n) for n in (k, k + 1))
        np.testing.assert_array_equal(fewer.indices, more.indices[:, :k])


def test_the_answer_does_not_depend_on_blocks_batches_threads_or_pruning(monkeypatch):
    expected = by_integers(X, QUERIES, 7, "l2")
    for size in (1, 5, 8, None):
        assert_neighbours(knn.neighbors(knn.fit(X), QUERIES, 7, block_size=size), expected)
    assert_neighbours(knn.neighbors(knn.fit(X, prune=False), QUERIES, 7), expected)
    alone = [knn.neighbors(knn.fit(X), QUERIES[i : i + 1], 7) for i in range(len(QUERIES))]
    np.testing.assert_array_equal(np.concatenate([a.indices for a in alone]), expected[1])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert_neighbours(knn.neighbors(knn.fit(X), QUERIES, 7, block_size=5), expected)


def test_adding_a_constant_to_all_pixels_changes_nothing():
    expected = knn.neighbors(knn.fit(X), QUERIES, 7)
    moved = knn.neighbors(knn.fit(X + np.uint8(200)), QUERIES + np.uint8(200), 7)
    assert_neighbours(moved, (expected.distances, expected.indices))


def test_permuted_training_rows_permute_the_indices_up_to_ties():
    order = np.random.default_rng(113).permutation(len(X))
    found, moved = (
        knn.neighbors(knn.fit(X), QUERIES, 7),
        knn.neighbors(knn.fit(X[order]), QUERIES, 7),
    )
    np.testing.assert_array_equal(found.distances, moved.distances)
    last = found.distances[:, -1:]
    for mine, theirs, inner in zip(
        found.indices, order[moved.indices], found.distances < last, strict=True
    ):
        assert set(mine[inner]) == set(theirs[inner])


def test_the_parts_of_a_training_set_merge_to_the_whole():
    parts = [knn.neighbors(knn.fit(part), QUERIES, 7) for part in (X[:100], X[100:])]
    shifted = parts[1]._replace(indices=parts[1].indices + 100)
    assert_neighbours(knn.merge(parts[0], shifted, 7), by_integers(X, QUERIES, 7, "l2"))


# --- weights, grids, folds -----------------------------------------------------------------------


def test_weight_2_is_an_example_twice_and_0_not_there():
    weight = np.random.default_rng(114).permutation(np.arange(60) % 3)  # 60 rows again
    rows = np.repeat(np.arange(60), weight)
    recipe = Recipe(Objective(), sampling=batches.full)
    state = training.start(jax.random.key(0), PARAMS, recipe, HYPER)
    weighted, _ = training.fit(state, FLOATS, Y, recipe, HYPER, num_steps=20, weight=weight)
    repeated, _ = training.fit(state, FLOATS[rows], Y[rows], recipe, HYPER, num_steps=20)
    np.testing.assert_allclose(weighted.params.W, repeated.params.W, rtol=1e-5, atol=1e-6)
    W = LinearParams(np.ones((3, 5)) * [[1], [2], [3]], np.zeros(3))
    gaps = (
        certificate.duality_gap(W, FLOATS, Y, reg=0.1, weight=weight),
        certificate.duality_gap(W, FLOATS[rows], Y[rows], reg=0.1),
    )
    assert gaps[0].size == pytest.approx(gaps[1].size, rel=1e-9)
    labels = np.array([[0, 1, 2, 1]])
    votes = knn.votes(labels, 3, np.array([[1.0, 2, 0, 1]]))
    assert votes.tolist() == [[1, 3, 0]]


def test_a_grid_is_its_single_runs():
    rates = [0.01, 0.1, 0.5]
    together, _ = train(40, Hyper({"learning_rate": rates, "momentum": 0.9}, 0.01))
    for g, rate in enumerate(rates):
        alone, _ = train(40, Hyper({"learning_rate": rate, "momentum": 0.9}, 0.01))
        np.testing.assert_allclose(together.params.W[g], alone.params.W, rtol=1e-4, atol=1e-6)


def test_folds_by_weights_are_rows_removed():
    folds, recipe = splits.folds(60, 3), Recipe(Objective(), sampling=batches.full)
    found = crossval.linear(
        jax.random.key(0), FLOATS, Y, folds, recipe, HYPER, num_steps=20, params=PARAMS
    )
    for fold in range(3):
        W, b = (np.asarray(p, np.float64) for p in PARAMS)
        velocity, value = (
            [0.0, 0.0],
            oracles.softmax_l2(FLOATS[folds != fold], Y[folds != fold], 0.01),
        )
        for _ in range(20):
            velocity = [0.9 * v + g for v, g in zip(velocity, value(W, b)[1:], strict=True)]
            W, b = W - 0.1 * velocity[0], b - 0.1 * velocity[1]
        np.testing.assert_allclose(found.params.W[0, fold], W, rtol=1e-4, atol=1e-5)


# --- runs ----------------------------------------------------------------------------------------


def averaged_sgd(learning_rate, momentum, start):
    sgd = optimizers.sgd(learning_rate, momentum)
    return optax.chain(sgd, optimizers.averaging(start))


@pytest.mark.parametrize("parts", [further((13, 13)), further((1, 1, 24)), (7, 1, 18)], ids=str)
def test_a_run_that_stops_and_goes_on_ends_in_the_same_bits(parts, tmp_path):
    hyper = Hyper({"learning_rate": [0.1, 0.3], "momentum": 0.9, "start": 3}, [0.01, 0.0])
    how = {"optimizer": averaged_sgd, "params_fn": optimizers.averaged, "validation": (FLOATS, Y)}
    whole, _ = train(26, hyper, **how)
    state = None
    for num_steps in parts:
        state, _ = train(num_steps, hyper, state=state, **how)
        checkpoint.save(tmp_path / "run.npz", state)
        state = checkpoint.restore(tmp_path / "run.npz", like=state)
    assert bits(state) == bits(whole)


@pytest.mark.parametrize(
    ("rows", "hyper"),
    [
        (1, Hyper({"learning_rate": 0.1, "momentum": 0.9}, reg=1e-3)),
        further(1437, Hyper({"learning_rate": [0.01, 0.03, 0.1], "momentum": 0.9}, reg=1e-3)),
    ],
    ids=["one example", "a grid on digits"],
)
def test_a_run_that_goes_on_one_step_at_a_time_ends_in_the_same_bits(rows, hyper):
    """Here a loop of one step, which XLA inlines, would round otherwise."""
    images, y = data.load("digits").train
    features, classes = (64, 10) if rows > 1 else (7, 3)
    rng = np.random.default_rng(0)
    x = data.rows(images) if rows > 1 else rng.normal(size=(1, 7)).astype(np.float32)
    recipe = Recipe(sampling=batches.full)

    def run(*parts):
        params = linear.init(jax.random.key(1), features, classes, scale=0.1)
        state, told = training.start(jax.random.key(0), params, recipe, hyper), []
        for num_steps in parts:
            state, history = training.fit(state, x, y[:rows] % classes, recipe, hyper,
                                          num_steps=num_steps)  # fmt: skip
            told.append(history.loss)
        return bits(state), np.concatenate(told).tobytes()

    assert run(1, 1, 1, 1, 1) == run(5)


PROGRAM = """
import sys, hashlib
sys.path.insert(0, "tests")
import test_promises as t
t.knn.neighbors(t.knn.fit(t.X), t.QUERIES, 3)  # what the process did before
state, _ = t.train(30)
print(hashlib.sha256(b"".join(t.bits(state.params))).hexdigest())
"""


def test_the_same_seed_gives_the_same_bits_in_every_process():
    (here, _), (other, _) = train(30), train(30, key=113)
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "7"}, cwd=ROOT, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == hashlib.sha256(b"".join(bits(here.params))).hexdigest()
    assert bits(here.params) != bits(other.params)


def test_what_is_chosen_never_saw_the_test_set():
    test_X, test_y = FLOATS[:20] + 1, Y[:20]
    noise = np.random.default_rng(115)
    chosen = []
    for test in ((test_X, test_y), (noise.normal(size=(20, 5)).astype(np.float32), test_y[::-1])):
        examples = gate.Data(data.from_arrays(FLOATS, Y, *test))
        settings = choosing.Settings(strengths=3, seeds=1, examples=2000, steps=50, num_neighbors=5)
        with jax.numpy_dtype_promotion("standard"):  # optax promotes its counts
            _, found = choosing.choose(examples, settings, 0)
        chosen.append([(one.probe, one.value, one.selection) for one in found])
        assert examples.test_uses == []
    assert chosen[0] == chosen[1]


def test_a_certificate_is_never_below_the_true_gap():
    reg = 0.05
    model = LogisticRegression(C=1 / (2 * 60 * reg), tol=1e-12, max_iter=10_000)
    model.fit(FLOATS.astype(np.float64), Y)
    value = oracles.softmax_l2(FLOATS, Y, reg)
    least = value(model.coef_, model.intercept_)[0]
    for size in (0.0, 0.1, 1.0, 30.0):
        W = size * np.random.default_rng(116).normal(size=(3, 5))
        gap = certificate.duality_gap(LinearParams(W, np.zeros(3)), FLOATS, Y, reg=reg)
        assert gap.size >= value(W, gap.bias)[0] - least - 1e-9


# --- files ---------------------------------------------------------------------------------------


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_nothing_that_is_loaded_is_executed(tmp_path):
    mark, bomb = tmp_path / "mark", np.empty(1, object)
    bomb[0] = Bomb(mark)
    np.savez(tmp_path / "bomb.npz", X=bomb, y=bomb, images=bomb, labels=bomb, allow_pickle=True)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Bomb(mark)))
    for name in ("bomb.npz", "pickle.npz"):
        with pytest.raises((ValueError, TypeError)):
            data.load(tmp_path / name)
        with pytest.raises((ValueError, TypeError)):
            checkpoint.restore(tmp_path / name, like={"X": jnp.zeros(1)})
    assert not mark.exists()


def test_what_is_refused_changes_nothing_on_disk(tmp_path):
    path = tmp_path / "run.npz"
    checkpoint.save(path, PARAMS)
    before = path.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        checkpoint.save(path, {"text": np.array(["a", None], object)})
    with pytest.raises(ValueError, match="holds another tree"):
        checkpoint.restore(path, like={"other": jnp.zeros(1)})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]
