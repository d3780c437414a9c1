"""Arrays in .npz and .npy files: memory-mapped, verified, never executed."""

import io
import zipfile

import jax
import numpy as np
import pytest

from lincls import data, files, placement
from lincls.data import cache


def some_arrays(num_examples: int = 20):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(num_examples, 4, 3, 3), dtype=np.uint8)
    return images, np.arange(num_examples) % 4


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
        files.save_npz(file, **entry)
    mapped = files.read_npz(tmp_path / "entry.npz", mapped=True)
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
        with pytest.raises(ValueError, match=r"mine\.npz.*Python objects"):
            data.load(path)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("said", [3, 5])
def test_an_npz_member_of_another_length_than_its_header_says_is_refused(tmp_path, mapped, said):
    """A map of the longer one would hold the bytes of the member that follows."""
    path, content = tmp_path / "mine.npz", io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (said,)}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", content.getvalue() + np.arange(4.0).tobytes())
        archive.writestr("y.npy", bytes(1000))
    with pytest.raises(ValueError, match=rf"mine\.npz is damaged.*32 bytes are no array \({said},"):
        files.read_npz(path, mapped=mapped, wanted=lambda name: name == "X")


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_at_the_end_of_a_long_npz_member_is_found(tmp_path, save, mapped):
    """A member of some kilobytes is read at once with its header, and so is its checksum."""
    path = tmp_path / "mine.npz"
    save(path, X=np.random.default_rng(0).integers(256, size=100_000, dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[99_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.npz is damaged"):
        files.read_npz(path, mapped=mapped)


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


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"y": np.array([0, 1, np.nan, 1])}, "labels must be text, or whole numbers"),
        ({"X": np.zeros((4, 2), complex)}, "images must be uint8 or floating"),
        ({"X": np.zeros((4, 8, 8, 4), np.uint8)}, "1 or 3 channels"),
    ],
)
def test_an_unfit_file_is_no_mistake_of_types(wrong, says, tmp_path):
    np.savez(tmp_path / "mine.npz", **({"X": np.zeros((4, 2)), "y": np.arange(4) % 2} | wrong))
    with pytest.raises(ValueError, match=says):
        data.load(tmp_path / "mine.npz")


def test_names_of_classes_may_be_bytes_or_numbers(tmp_path):
    for names, expected in (([b"cat", b"dog"], ("cat", "dog")), ([5, 7], ("5", "7"))):
        np.savez(tmp_path / "mine.npz", X=np.zeros((4, 2)), y=np.arange(4) % 2, class_names=names)
        assert data.load(tmp_path / "mine.npz").class_names == expected
