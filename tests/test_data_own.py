"""Data sets of one's own: arrays, .npz and .npy files, folders of images, and toy sets."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from lincls import data
from lincls.data import dataset
from lincls.files import digests


def some_arrays(num_examples: int = 20):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(num_examples, 4, 3, 3), dtype=np.uint8)
    return images, np.arange(num_examples) % 4


# from_arrays


def test_rows_flatten_images():
    images, _ = some_arrays()
    assert data.rows(images).shape == (20, 36)
    np.testing.assert_array_equal(data.rows(images)[3], images[3].ravel())


def test_given_parts_are_kept_as_they_are():
    images, labels = some_arrays()
    made = data.from_arrays(images, labels, images[:5], labels[:5], name="mine")
    np.testing.assert_array_equal(made.train.images, images)
    np.testing.assert_array_equal(made.test.labels, labels[:5])
    assert made.train.labels.dtype == np.int32
    assert made.class_names == ("0", "1", "2", "3")
    assert made.source.official is None
    assert made.source.description == "mine"


def test_the_split_is_the_documented_one():
    images, labels = some_arrays()
    made = data.from_arrays(images, labels, test_fraction=0.25, seed=3)
    chosen = np.sort(np.random.default_rng(3).permutation(20)[:5])
    np.testing.assert_array_equal(made.test.images, images[chosen])
    np.testing.assert_array_equal(made.test.labels, labels[chosen])
    np.testing.assert_array_equal(made.train.images, np.delete(images, chosen, axis=0))


def test_without_a_seed_the_last_examples_are_views():
    images, labels = some_arrays()
    made = data.from_arrays(images, labels, seed=None)
    np.testing.assert_array_equal(made.test.labels, labels[16:])
    assert np.shares_memory(made.train.images, images)
    assert np.shares_memory(made.test.images, images)


@pytest.mark.parametrize(
    ("labels", "class_names", "numbers", "names"),
    [
        (["dog", "cat", "dog", "emu"], None, [1, 0, 1, 2], ("cat", "dog", "emu")),
        (["dog", "cat", "dog", "emu"], ["emu", "dog", "cat"], [1, 2, 1, 0], ("emu", "dog", "cat")),
        ([b"dog", b"cat", b"dog", b"cat"], None, [1, 0, 1, 0], ("cat", "dog")),
        (np.array(["b", "a", "b", "a"], object), None, [1, 0, 1, 0], ("a", "b")),
        ([3, 7, 3, 9], None, [0, 1, 0, 2], ("3", "7", "9")),
        ([-1, 1, 1, -1], None, [0, 1, 1, 0], ("-1", "1")),
        ([0, 2, 0, 2], ["a", "b", "c"], [0, 2, 0, 2], ("a", "b", "c")),
        ([1.0, 0.0, 1.0, 0.0], None, [1, 0, 1, 0], ("0", "1")),
        ([[1], [0], [1], [0]], None, [1, 0, 1, 0], ("0", "1")),
        ([True, False, True, False], None, [1, 0, 1, 0], ("False", "True")),
    ],
)
def test_labels_become_numbers_with_names(labels, class_names, numbers, names):
    images = np.zeros((4, 5), np.float32)
    made = data.from_arrays(images, labels, images[:1], labels[:1], class_names=class_names)
    assert made.train.labels.tolist() == numbers
    assert made.test.labels.tolist() == numbers[:1]
    assert made.class_names == names


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, jnp.bfloat16, np.uint8])
def test_features_keep_their_dtype(dtype):
    features = np.arange(20).reshape(5, 4).astype(dtype)
    made = data.from_arrays(features, [0, 1, 0, 1, 0])
    assert made.train.images.dtype == dtype
    assert made.train.images.shape == (4, 4)


def test_integers_in_range_become_pixels():
    images = np.arange(6 * 4 * 3).reshape(6, 4, 3)
    made = data.from_arrays(images, [0, 1, 0, 1, 0, 1], seed=None)
    assert made.train.images.dtype == np.uint8
    np.testing.assert_array_equal(made.train.images[..., 0], images[:5])


def test_jax_arrays_are_taken():
    made = data.from_arrays(jnp.zeros((6, 3)), jnp.arange(6) % 2)
    assert isinstance(made.train.images, np.ndarray)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((np.full((4, 2), 256), [0, 1, 0, 1]), r"must lie in 0\.\.255"),
        ((np.zeros((4, 2)), np.eye(4)), "argmax"),
        ((np.zeros((4, 2)), [0, 1, 0]), "labels must have shape"),
        ((np.zeros((4, 2)), [0, 1, 0, 1], np.zeros((2, 2))), "together"),
        ((np.zeros((4, 2)), [0, 1, 0, 1], np.zeros((2, 3)), [0, 1]), "must agree"),
        ((np.zeros((4, 2)), [0, 1, 0, 1], np.zeros((2, 2)), [0]), "2 images and 1 labels"),
        ((np.zeros((4, 2)), [0, 1, 0, 1], np.zeros((0, 2)), []), "no rows"),
        ((np.zeros((2, 1, 1, 1, 1)), [0, 1]), "must be"),
        ((np.zeros((1, 2)), [0]), "too few"),
    ],
)
def test_unfit_arrays_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        data.from_arrays(*arguments)


@pytest.mark.parametrize("labels", [[0.5, 1.0], np.array([0, None]), np.array([0, 1j])])
def test_labels_of_other_kinds_are_refused(labels):
    with pytest.raises(TypeError, match="text, or whole numbers"):
        data.from_arrays(np.zeros((2, 2)), labels)


@pytest.mark.parametrize("names", [["a"], ["a", "c"]])
def test_labels_must_have_a_name(names):
    with pytest.raises(ValueError):
        data.from_arrays(np.zeros((2, 2)), ["a", "b"], class_names=names)
    if len(names) == 1:
        with pytest.raises(ValueError, match=r"must lie in 0\.\.0"):
            data.from_arrays(np.zeros((2, 2)), [0, 1], class_names=names)


def test_the_digest_follows_the_content():
    images, labels = some_arrays()
    split = data.Split(images, labels)
    other = data.Split(images.copy(), labels)
    assert dataset.digest(split) == dataset.digest(other)
    other.images[19, 3, 2, 1] ^= 1
    changed = {
        dataset.digest(split),
        dataset.digest(other),
        dataset.digest(split._replace(images=images.reshape(20, 36))),
        dataset.digest(split._replace(labels=labels.astype(np.int32))),
        dataset.digest(split._replace(images=images.view(np.int8))),
    }
    assert len(changed) == 5


def test_the_digest_does_not_depend_on_blocks(monkeypatch):
    split = data.Split(*some_arrays())
    whole = dataset.digest(split)
    monkeypatch.setattr(digests, "HASH_BLOCK", 50)
    assert dataset.digest(split) == whole
    assert dataset.digest(data.Split(np.asfortranarray(split.images), split.labels)) == whole


# what a caller may get wrong


class Lazy:
    """An array that hands itself to numpy, as a column of pandas does."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


FEATURES = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize("part", ["images", "labels", "test_images", "test_labels"])
@pytest.mark.parametrize("masked", [True, False])
def test_masked_values_are_not_used(part, masked):
    arrays = {"images": FEATURES, "labels": [0, 1, 0, 1]}
    arrays |= {f"test_{name}": array for name, array in arrays.items()}
    arrays[part] = np.ma.array(arrays[part], mask=False)
    if not masked:
        assert type(data.from_arrays(**arrays).train.images) is np.ndarray
        return
    arrays[part][1] = np.ma.masked
    with pytest.raises(ValueError, match=rf"{part} has . masked values.*\.filled\("):
        data.from_arrays(**arrays)


@pytest.mark.parametrize("part", ["images", "labels"])
def test_sparse_arrays_are_refused_with_the_remedy(part):
    arrays = {"images": FEATURES, "labels": [0, 1, 0, 1]}
    arrays[part] = scipy.sparse.csr_matrix(np.ones((4, 1)))
    with pytest.raises(TypeError, match=rf"csr_matrix.*{part}\.toarray\(\)"):
        data.from_arrays(**arrays)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (Lazy(np.array(["b", "a", "b", "a"], object)), ("a", "b")),
        (Lazy(np.array([7, 3, 7, np.int64(3)], object)), ("3", "7")),
        (np.array(["b", "a", "b", "a"], np.dtypes.StringDType()), ("a", "b")),
        (np.array([2**53, 2**53 + 1] * 2, np.uint64), (str(2**53), str(2**53 + 1))),
        (np.array([-(2**63), 2**63 - 1] * 2), (str(-(2**63)), str(2**63 - 1))),
        (np.array([0, 2.0**53] * 2), ("0", str(2**53))),
        (np.array([0, 1] * 2, np.float16), ("0", "1")),
    ],
)
def test_labels_keep_their_names(labels, names):
    made = data.from_arrays(FEATURES, labels, FEATURES, labels)
    assert made.class_names == names
    assert sorted(made.train.labels.tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize("kinds", [*itertools.permutations(["u1", "u8", "i4", "i8", "f8"], 2)])
def test_labels_of_both_parts_are_numbered_together(kinds):
    first, second = (np.array([0, 1, 2, 1], kind) for kind in kinds)
    made = data.from_arrays(FEATURES, first, FEATURES[:2], second[2:])
    assert made.class_names == ("0", "1", "2")
    assert made.test.labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    "odd", [np.nan, np.inf, -np.inf, 1e20, 2.0**54, 0.5, None, 2**70, 1.5 + 1j]
)
def test_labels_that_are_no_class_are_refused_with_their_row(odd):
    labels = [0, 1, odd, 1]
    with pytest.raises(TypeError, match="labels must be text, or whole numbers") as caught:
        data.from_arrays(FEATURES, labels, FEATURES, [0, 1, 0, 1])
    assert "in row 2" in str(caught.value) or isinstance(odd, complex)


@pytest.mark.parametrize("odd", [np.nan, None, 3])
def test_text_with_gaps_is_refused_with_the_row(odd):
    with pytest.raises(TypeError, match=f"got {odd} in row 1"):
        data.from_arrays(FEATURES, np.array(["a", odd, "b", "a"], object))


def test_unsigned_labels_beyond_64_bits_are_refused():
    with pytest.raises(TypeError, match=f"got {2**63} in row 3"):
        data.from_arrays(FEATURES, np.array([0, 1, 0, 2**63], np.uint64))


def test_numbers_and_text_are_not_mixed():
    with pytest.raises(TypeError, match="both be numbers or both be text"):
        data.from_arrays(FEATURES, [0, 1, 0, 1], FEATURES, ["0", "1", "0", "1"])


@pytest.mark.parametrize("order", [1, -1])
def test_bytes_and_floats_do_not_fit_together(order):
    images = np.full((4, 16), 40, np.uint8)
    parts = (images, images / 255.0)[::order]
    with pytest.raises(TypeError, match=r"uint8|float64") as caught:
        data.from_arrays(parts[0], [0, 1, 0, 1], parts[1], [0, 1, 0, 1])
    assert "0..255" in str(caught.value)
    data.from_arrays(FEATURES, [0, 1, 0, 1], FEATURES.astype(float), [0, 1, 0, 1])


def test_only_one_hot_labels_are_advised_to_use_argmax():
    labels = np.zeros((4, 14), int)
    labels[:, 5] = 1
    with pytest.raises(ValueError, match=r"labels\.argmax"):
        data.from_arrays(FEATURES, labels)
    for change in ((0, 3, 1), (0, 5, 0), (0, 5, 2), (0, 4, -1)):
        several = labels.copy()
        several[change[:2]] = change[2]
        with pytest.raises(ValueError, match="exactly one class") as caught:
            data.from_arrays(FEATURES, several)
        assert "argmax" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "becomes"),
    [
        ((4, 8, 8, 4), (8, 8, 3)),  # RGBA
        ((4, 4, 4, 4), (4, 4, 3)),
        ((4, 3, 8, 8), (8, 8, 3)),  # channels first
        ((4, 1, 8, 8), (8, 8, 1)),
        ((4, 8, 8, 2), (128,)),  # bands
        ((4, 8, 8, 13), (832,)),
        ((4, 2, 8, 8, 3), (384,)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_other_channels_are_refused_with_what_to_type(shape, becomes, dtype):
    images = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    with pytest.raises(ValueError, match="1 or 3 channels") as caught:
        data.from_arrays(images, [0, 1, 0, 1])
    assert str(shape) in str(caught.value)
    remedy = str(caught.value).rsplit(" use ", 1)[1]
    made = data.from_arrays(eval(remedy), [0, 1, 0, 1])
    assert made.train.images.shape[1:] == becomes


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_names": "ab"},
        {"class_names": ["a", "b", "a"]},
        {"test_fraction": "0.2"},
        {"test_fraction": 1.0},
        {"test_fraction": float("nan")},
        {"seed": "0"},
        {"seed": -1},
    ],
    ids=str,
)
def test_other_arguments_are_refused_by_name(wrong):
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        data.from_arrays(FEATURES, [0, 1, 0, 1], **wrong)
