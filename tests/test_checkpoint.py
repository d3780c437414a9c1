import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lincls import checkpoint, files, linear, training
from lincls.structs import Hyper
from lincls.training import Recipe

HYPER = Hyper({"learning_rate": 0.1, "momentum": 0.9})
STATE = training.start(jax.random.key(100), linear.init(jax.random.key(101), 6, 3), Recipe(), HYPER)


def test_round_trip_in_bits_with_keys(tmp_path):
    checkpoint.save(tmp_path / "state.npz", STATE)
    got = checkpoint.restore(tmp_path / "state.npz", like=STATE)
    assert jax.tree.structure(got) == jax.tree.structure(STATE)
    assert (jax.random.key_data(got.key) == jax.random.key_data(STATE.key)).all()
    assert (got.params.W == STATE.params.W).all()
    assert got.step.dtype == jnp.int32


def test_another_tree_shape_or_dtype_is_refused_by_leaf(tmp_path):
    path = tmp_path / "params.npz"
    checkpoint.save(path, STATE.params)
    with pytest.raises(ValueError, match="another tree"):
        checkpoint.restore(path, like=STATE)
    wider = linear.init(jax.random.key(0), 7, 3)
    with pytest.raises(ValueError, match=r"W is float32\(3, 6\), expected float32\(3, 7\)"):
        checkpoint.restore(path, like=wider)
    half = jax.tree.map(lambda p: p.astype(jnp.float16), STATE.params)
    with pytest.raises(ValueError, match="expected float16"):
        checkpoint.restore(path, like=half)
    checkpoint.save(path, {"W": jnp.ones(3, jnp.bfloat16)})
    with pytest.raises(ValueError, match=r"is bfloat16\(3,\), expected float16"):
        checkpoint.restore(path, like={"W": jnp.ones(3, jnp.float16)})


def test_float64_is_not_narrowed_in_silence(tmp_path):
    with jax.enable_x64(True):
        tree = {"W": jnp.arange(3, dtype=jnp.float64) / 7}
        checkpoint.save(tmp_path / "tree.npz", tree)
    with pytest.raises(ValueError, match="64-bit types are off"):
        checkpoint.restore(tmp_path / "tree.npz", like=tree)


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(tmp_path):
    path = tmp_path / "state.npz"
    checkpoint.save(path, STATE.params)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        try:
            found = checkpoint.restore(path, like=STATE.params)
        except ValueError:
            continue
        assert (np.asarray(found.W) == np.asarray(STATE.params.W)).all(), place


def test_an_interrupted_save_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    checkpoint.save(path, STATE)
    before = path.read_bytes()

    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "save_npz", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, STATE)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["state.npz"]


def test_bfloat16_and_numpy_leaves_come_back_as_they_were(tmp_path):
    tree = {"half": jnp.arange(4, dtype=jnp.bfloat16), "double": np.arange(3) / 7}
    checkpoint.save(tmp_path / "tree.npz", tree)
    back = checkpoint.restore(tmp_path / "tree.npz", like=tree)
    assert back["half"].dtype == jnp.bfloat16
    assert (back["half"] == tree["half"]).all()
    assert back["double"].dtype == np.float64
    assert (back["double"] == tree["double"]).all()


@pytest.mark.parametrize("content", [b"no checkpoint", b"", "cut", "npy"])
def test_what_is_no_checkpoint_is_said_in_a_sentence_that_names_it(tmp_path, content):
    path = tmp_path / "state.npz"
    checkpoint.save(path, STATE.params)
    if content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(path.read_bytes()[:-80] if content == "cut" else content)
    with pytest.raises(ValueError, match=r"state\.npz is not a file that checkpoint\.save wrote"):
        checkpoint.restore(path, like=STATE.params)


NAMED = ["bfloat16", "float16", "int16", "uint16"]


@pytest.mark.parametrize("saved", NAMED)
@pytest.mark.parametrize("like", NAMED)
def test_a_dtype_is_kept_by_its_name(tmp_path, saved, like):
    tree = {"W": jnp.arange(4).astype(saved)}
    checkpoint.save(tmp_path / "tree.npz", tree)
    other = {"W": jnp.zeros(4, like)}
    if saved == like:
        assert (checkpoint.restore(tmp_path / "tree.npz", like=other)["W"] == tree["W"]).all()
    else:
        says = rf"leaf\['W'\] is {saved}\(4,\), expected {like}\(4,\)"
        with pytest.raises(ValueError, match=says):
            checkpoint.restore(tmp_path / "tree.npz", like=other)


def test_a_key_of_another_generator_is_refused(tmp_path):
    kinds = ("rbg", "unsafe_rbg")  # their data are alike
    one, other = ({"key": jax.random.key(0, impl=kind)} for kind in kinds)
    checkpoint.save(tmp_path / "key.npz", one)
    assert checkpoint.restore(tmp_path / "key.npz", like=one)["key"].dtype == one["key"].dtype
    with pytest.raises(ValueError, match=r"leaf\['key'\]"):
        checkpoint.restore(tmp_path / "key.npz", like=other)


def test_arrays_of_the_other_byte_order_are_the_same_arrays(tmp_path):
    swapped = {"a": np.arange(5.0).astype(">f8")}
    checkpoint.save(tmp_path / "tree.npz", swapped)
    back = checkpoint.restore(tmp_path / "tree.npz", like={"a": np.zeros(5)})
    assert back["a"].tolist() == [0, 1, 2, 3, 4]
    assert checkpoint.restore(tmp_path / "tree.npz", like=swapped)["a"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("what", ["leaf", "about", "swapped", "cut member"])
def test_a_file_that_was_changed_is_refused(tmp_path, what):
    path = tmp_path / "tree.npz"
    checkpoint.save(path, {"a": np.arange(4), "b": np.arange(4)[::-1].copy()})
    arrays = dict(np.load(path))
    if what == "leaf":
        arrays["leaf['a']"] = arrays["leaf['a']"] + 1
    elif what == "about":
        del arrays["checkpoint"]
    elif what == "swapped":
        arrays["leaf['a']"], arrays["leaf['b']"] = arrays["leaf['b']"], arrays["leaf['a']"]
    else:
        arrays["leaf['a']"] = arrays["leaf['a']"][:2]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"tree\.npz is not a file that checkpoint\.save wrote"):
        checkpoint.restore(path, like={"a": np.zeros(4, int), "b": np.zeros(4, int)})


@pytest.mark.skipif(os.name == "nt", reason="Windows has no FIFOs")
def test_what_is_no_file_of_bytes_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(ValueError, match="is not a file that"):
            checkpoint.restore(path, like=STATE)
    with pytest.raises(FileNotFoundError):
        checkpoint.restore(tmp_path / "none.npz", like=STATE)


@pytest.mark.parametrize("leaf", [object(), np.array([None]), np.ma.array([1, 2], mask=[0, 1])])
def test_a_leaf_that_is_no_array_is_refused_by_name(tmp_path, leaf):
    with pytest.raises((TypeError, ValueError), match=r"leaf\['a'\] (must be|has masked)"):
        checkpoint.save(tmp_path / "tree.npz", {"a": leaf})
    assert not list(tmp_path.iterdir())
