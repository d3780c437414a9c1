"""Data sets of one's own: arrays, .npz and .npy files, folders of images, and toy sets."""

import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from lincls import data, placement
from lincls.data import arrays, cache, dataset, toys


def some_arrays(num_examples: int = 20):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(num_examples, 4, 3, 2), dtype=np.uint8)
    return images, np.arange(num_examples) % 4


# from_arrays


def test_rows_flatten_images():
    images, _ = some_arrays()
    assert data.rows(images).shape == (20, 24)
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
    with pytest.raises(TypeError, match="whole numbers or text"):
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
        dataset.digest(split._replace(images=images.reshape(20, 24))),
        dataset.digest(split._replace(labels=labels.astype(np.int32))),
    }
    assert len(changed) == 4


def test_the_digest_does_not_depend_on_blocks(monkeypatch):
    split = data.Split(*some_arrays())
    whole = dataset.digest(split)
    monkeypatch.setattr(dataset, "HASH_BLOCK", 50)
    assert dataset.digest(split) == whole
    assert dataset.digest(data.Split(np.asfortranarray(split.images), split.labels)) == whole


# from_npz

NAMINGS = [
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_train", "y_train", "X_test", "y_test"),
]


@pytest.mark.parametrize("names", NAMINGS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_by_every_naming(tmp_path, names, save):
    images, labels = some_arrays()
    arrays = (images, labels, images[:5], labels[:5])
    save(tmp_path / "mine.npz", **dict(zip(names, arrays, strict=True)))
    made = data.load(tmp_path / "mine.npz")
    for array, expected in zip((*made.train, *made.test), arrays, strict=True):
        np.testing.assert_array_equal(array, expected)
    assert made.name == "mine"
    assert made.source.location == str(tmp_path / "mine.npz")
    assert isinstance(made.train.images, np.memmap) == (save is np.savez)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_is_mapped_at_the_right_place(tmp_path, order):
    images = np.asarray(np.random.default_rng(0).normal(size=(6, 5)), order=order)
    labels = np.array(["a", "b", "a", "b", "a", "b"])
    np.savez(tmp_path / "mine.npz", y=labels, X=images, class_names=["b", "a"])
    made = data.from_npz(tmp_path / "mine.npz", seed=None)
    np.testing.assert_array_equal(made.train.images, images[:5])
    assert made.class_names == ("b", "a")
    assert made.train.labels.tolist() == [1, 0, 1, 0, 1]
    assert isinstance(made.train.images, np.memmap)


@pytest.mark.parametrize("name", ["X", "images_of_the_test_part", "ä"])
def test_an_entry_of_the_cache_is_mapped_where_jax_takes_it_over(tmp_path, name):
    rng = np.random.default_rng(0)
    entry = {"y": np.arange(3), name: rng.integers(0, 256, (5, 7), np.uint8), "z": np.array("a")}
    with open(tmp_path / "entry.npz", "wb") as file:
        arrays.save_npz(file, **entry)
    mapped = arrays.open_npz(tmp_path / "entry.npz")
    with np.load(tmp_path / "entry.npz") as read:
        for key, array in entry.items():
            np.testing.assert_array_equal(mapped[key], array)
            np.testing.assert_array_equal(read[key], array)
            assert mapped[key].ctypes.data % 64 == 0
    assert mapped[name].ctypes.data == jax.device_put(mapped[name]).unsafe_buffer_pointer()


def test_the_cache_writes_images_where_a_training_takes_them_over(tmp_path):
    images, labels = some_arrays()
    cache.write(data.from_arrays(images, labels, name="mine"), tmp_path / "mine.npz")
    made = cache.read(tmp_path / "mine.npz")
    for part in (made.train, made.test):
        lent = placement.on_device(data.rows(part.images), lent=True)
        assert lent.unsafe_buffer_pointer() == part.images.ctypes.data


@pytest.mark.parametrize("given", ["the folder", "a file"])
def test_npy_files_are_mapped(tmp_path, given):
    images, labels = some_arrays()
    np.save(tmp_path / "X.npy", images)
    np.save(tmp_path / "y.npy", labels)
    made = data.load(str(tmp_path if given == "the folder" else tmp_path / "X.npy"))
    assert len(made.train.images) + len(made.test.images) == 20
    made = data.from_npz(tmp_path, seed=None)
    assert isinstance(made.train.images, np.memmap)
    np.testing.assert_array_equal(made.train.images, images[:16])


def test_npz_names_what_is_missing(tmp_path):
    np.savez(tmp_path / "mine.npz", X=np.zeros((4, 2)), z=np.zeros(4))
    with pytest.raises(ValueError, match="labels or y or target, it holds X, z"):
        data.load(tmp_path / "mine.npz")


def test_npz_never_unpickles(tmp_path):
    path = tmp_path / "mine.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, X=np.zeros((2, 2)), y=np.array([{}, []], object))
        with pytest.raises(ValueError, match=r"mine\.npz"):
            data.load(path)


def test_npz_damaged_at_random_places(tmp_path):
    path = tmp_path / "mine.npz"
    images, labels = some_arrays()
    np.savez(path, X=images, y=labels)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(100):
        path.write_bytes(content[: rng.integers(len(content))])
        with pytest.raises(ValueError, match=r"mine\.npz"):
            data.load(path)
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            made = data.from_npz(path, seed=None)
        except ValueError:
            outcomes.add("refused")
        else:  # the damage hit a date, or the like
            np.testing.assert_array_equal(made.train.images, images[:16])
            np.testing.assert_array_equal(made.test.labels, labels[16:])
            outcomes.add("read")
    assert outcomes == {"read", "refused"}


# from_folder


def write_images(folder, sizes, mode="RGB"):
    """One class folder per key of `sizes`, an image for each (height, width)."""
    rng = np.random.default_rng(0)
    pixels = {}
    for name, shapes in sizes.items():
        (folder / name).mkdir(parents=True)
        for i, (height, width) in enumerate(shapes):
            shape = (height, width, 3) if mode == "RGB" else (height, width)
            array = rng.integers(256, size=shape, dtype=np.uint8)
            Image.fromarray(array).save(folder / name / f"{i}.png")
            pixels[name, i] = array
    return pixels


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_a_folder_for_each_class(tmp_path, mode, channels):
    pixels = write_images(tmp_path, {"emu": [(4, 3)] * 4, "ant": [(4, 3)] * 6}, mode)
    (tmp_path / "emu" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    made = data.load(tmp_path)
    assert made.class_names == ("ant", "emu")
    assert made.train.images.shape == (8, 4, 3, channels)
    assert (len(made.test.images), made.name) == (2, tmp_path.name)
    both = data.from_folder(tmp_path, seed=None)
    first = pixels["ant", 0].reshape(4, 3, channels)
    np.testing.assert_array_equal(both.train.images[0], first)
    assert both.train.labels.tolist() == [0] * 6 + [1] * 2


def test_folders_train_and_test(tmp_path):
    write_images(tmp_path / "train", {"a": [(2, 2)] * 3, "b": [(2, 2)] * 2})
    tested = write_images(tmp_path / "test", {"b": [(2, 2)] * 2})
    made = data.load(tmp_path)
    assert made.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert made.test.labels.tolist() == [1, 1]
    np.testing.assert_array_equal(made.test.images[1], tested["b", 1])


def test_grey_and_colour_together_become_rgb(tmp_path):
    grey = write_images(tmp_path / "train", {"a": [(2, 2)] * 3}, mode="L")
    write_images(tmp_path / "test", {"a": [(2, 2)]})
    made = data.from_folder(tmp_path)
    np.testing.assert_array_equal(made.train.images[0], np.stack([grey["a", 0]] * 3, axis=-1))


def test_unequal_sizes_name_the_file(tmp_path):
    write_images(tmp_path, {"a": [(4, 3)] * 3, "b": [(4, 3), (5, 3)]})
    with pytest.raises(ValueError, match=r"1\.png is 5 x 3 pixels .* 4 x 3; give size="):
        data.from_folder(tmp_path)
    assert data.from_folder(tmp_path, size=6).train.images.shape == (4, 6, 6, 3)
    assert data.from_folder(tmp_path, size=(2, 7)).test.images.shape == (1, 2, 7, 3)


def test_resizing_keeps_a_flat_image_flat(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(2):
        Image.new("RGB", (5, 4), (10, 20, 30)).save(tmp_path / "a" / f"{i}.png")
    made = data.from_folder(tmp_path, size=3)
    np.testing.assert_array_equal(made.train.images[0, 1, 1], [10, 20, 30])


def test_bad_folders_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="a folder of images for each class"):
        data.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data.from_folder(tmp_path / "nowhere")
    write_images(tmp_path, {"a": [(2, 2)] * 2})
    (tmp_path / "a" / "1.png").write_bytes((tmp_path / "a" / "0.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"1\.png cannot be read"):
        data.load(tmp_path)
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "a" / "1.png")
    with pytest.raises(ValueError, match=r"1\.png has pixels of mode I;16"):
        data.load(tmp_path)


def test_a_class_that_is_only_tested_is_refused(tmp_path):
    write_images(tmp_path / "train", {"a": [(2, 2)] * 2})
    write_images(tmp_path / "test", {"b": [(2, 2)] * 2})
    with pytest.raises(ValueError, match="not in"):
        data.load(tmp_path)


# toy sets


@pytest.mark.parametrize("name", toys.TOYS)
def test_toys_repeat_by_seed(name):
    made, again = data.toy(name, 7), data.toy(name, np.random.default_rng(7))
    np.testing.assert_array_equal(made.train.images, again.train.images)
    assert made.train.images.dtype == np.float32
    assert made.train.images.shape == (300, 2)
    assert not np.array_equal(made.train.images, made.test.images)
    assert not np.array_equal(made.train.images, data.toy(name, 8).train.images)
    assert set(made.train.labels.tolist()) == set(range(len(made.class_names)))
    np.testing.assert_array_equal(data.load(name).train.images, data.toy(name).train.images)


@pytest.mark.parametrize(
    ("name", "straight"), [("blobs", True), ("rings", False), ("xor", False), ("stripes", False)]
)
def test_what_a_straight_line_can_divide(name, straight):
    toy = data.toy(name, 0, noise=0.0)
    line = LogisticRegression().fit(*toy.train).score(*toy.test)
    near = KNeighborsClassifier(1).fit(*toy.train).score(*toy.test)
    assert near > 0.9
    assert (line > 0.95) == straight
    assert straight or line < 0.75


def test_toys_refuse_other_names_and_numbers():
    with pytest.raises(ValueError, match="blobs, rings, xor, stripes"):
        data.toy("moons")
    with pytest.raises(ValueError, match="noise"):
        data.toy("xor", noise=-1.0)
    with pytest.raises(ValueError, match="num_test"):
        data.toy("xor", num_test=0)


# load


def test_unknown_names_are_answered_with_the_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="digits, mnist, fashion_mnist, cifar10, cifar100"):
        data.load("imagenet")
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ValueError, match=r"must be an \.npz file"):
        data.load(tmp_path / "file.txt")


def test_the_default_path_opens_no_socket(monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert len(data.load("digits").train.images) == 1437


def test_importing_data_imports_neither_tfds_nor_scikit_learn():
    code = "import sys, lincls.data; print([m for m in sys.modules if m.split('.')[0] in "
    code += "('tensorflow_datasets', 'sklearn', 'matplotlib', 'requests')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
