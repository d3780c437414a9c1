import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lincls import batches
from lincls.structs import Affine, Examples

pytestmark = pytest.mark.usefixtures("quick_compiles")

KEY = jax.random.key(20)


def rows_of(sampling, step, num_examples=10, batch_size=4, key=KEY):
    epoch = step // batches.steps_per_epoch(num_examples, batch_size)
    order = sampling.order(key, jnp.int32(epoch), num_examples)
    rows, present = sampling.rows(order, key, jnp.int32(step), num_examples, batch_size)
    return np.asarray(rows), np.asarray(present)


def test_shuffled_epochs_take_every_example_once_and_differ():
    epochs = []
    for epoch in range(3):
        parts = [rows_of(batches.shuffled, 3 * epoch + i) for i in range(3)]
        taken = np.concatenate([rows[present] for rows, present in parts])
        assert sorted(taken) == list(range(10))
        assert [present.sum() for _, present in parts] == [4, 4, 2]
        epochs.append(taken.tolist())
    assert epochs[0] != epochs[1] != epochs[2]


def test_replacement_is_uniform_and_a_function_of_key_and_step():
    drawn = np.concatenate([rows_of(batches.replacement, t, batch_size=500)[0] for t in range(20)])
    counts = np.bincount(drawn, minlength=10)
    assert (np.abs(counts - 1000) < 4 * np.sqrt(1000)).all()
    again = rows_of(batches.replacement, 7, batch_size=500)[0]
    assert (again == drawn[3500:4000]).all()
    other = rows_of(batches.replacement, 7, batch_size=500, key=jax.random.key(21))[0]
    assert (again != other).any()


def test_sequential_is_file_order_and_full_is_everything():
    assert [rows_of(batches.sequential, t)[0].tolist() for t in (0, 1, 3)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [0, 1, 2, 3],
    ]
    rows, present = rows_of(batches.full, 5)
    assert rows.tolist() == list(range(10))
    assert present.all()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 13])
def test_padding_is_marked_not_there_and_points_inside_the_data(batch_size):
    for sampling in (batches.shuffled, batches.sequential):
        for step in range(5):
            rows, present = rows_of(sampling, step, batch_size=batch_size)
            assert rows.shape == (min(batch_size, 10),)
            assert rows.min() >= 0
            assert rows.max() < 10
            assert present.any()


def test_take_gathers_converts_and_weighs():
    data = Examples(
        np.arange(12, dtype=np.uint8).reshape(4, 3),
        jnp.arange(4),
        jnp.array([[1.0] * 4, [0, 1, 2, 3]]),
    )
    affine = Affine(np.float32([1, 1, 1]), np.float32(0.5))
    rows, present = jnp.array([3, 1, 1]), jnp.array([True, True, False])
    batch = batches.take(jax.tree.map(jnp.asarray, data), affine, rows, present, jnp.float32)
    assert batch.X.tolist() == [[4, 4.5, 5], [1, 1.5, 2], [1, 1.5, 2]]
    assert batch.y.tolist() == [3, 1, 1]
    assert batch.weight.tolist() == [[1, 1, 0], [3, 1, 0]]


def test_a_stateless_sampling_of_the_same_function_is_equal():
    def fn(key, step, num_examples, batch_size):
        return jnp.zeros(batch_size, jnp.int32), jnp.ones(batch_size, bool)

    assert batches.stateless(fn) == batches.stateless(fn)
    assert hash(batches.stateless(fn)) == hash(batches.stateless(fn))


@pytest.mark.parametrize("sampling", ["shuffled", "sequential"])
def test_a_batch_size_beyond_the_data_is_all_of_them(sampling):
    sampling = getattr(batches, sampling)
    rows, present = rows_of(sampling, 3, batch_size=10**9)  # as int32 it would take 4 GB
    assert sorted(rows.tolist()) == list(range(10))
    assert present.all()
    assert sampling.num_rows(10, 10**9) == 10


def test_rows_of_weight_zero_in_all_settings_become_zero_and_no_others():
    data = Examples(
        np.array([[1.0, np.inf], [2, 3], [4, 5]], np.float32), np.array([-100, 1, 2]),
        np.array([[0, 1, 0], [0, 0, 2]], np.float32),
    )  # fmt: skip
    found = batches.zero_absent(data)
    assert found.X.tolist() == [[0, 0], [2, 3], [4, 5]]
    assert found.y.tolist() == [0, 1, 2]
    assert found.weight.tolist() == data.weight.tolist()
