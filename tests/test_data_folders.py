"""Folders of images: what is read, what is refused by name, and what is passed over."""

import os

import data_fakes
import numpy as np
import pytest
from PIL import Image

from lincls import data


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
    with pytest.raises(ValueError, match=r"unequal .*size=32 .*1\.png \(5 x 3 pixels, not 4 x 3\)"):
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
    with pytest.raises(ValueError, match=r"1 of 2 .*1\.png \(no image\)"):
        data.load(tmp_path)
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "a" / "1.png")
    with pytest.raises(ValueError, match=r"1\.png \(pixels of mode I;16"):
        data.load(tmp_path)


def test_a_class_that_is_only_tested_is_refused(tmp_path):
    write_images(tmp_path / "train", {"a": [(2, 2)] * 2})
    write_images(tmp_path / "test", {"b": [(2, 2)] * 2})
    with pytest.raises(ValueError, match=r"holds classes that .*train lacks: b"):
        data.load(tmp_path)


# what a folder may hold


def write(path, *, value=0, size=(4, 3), kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], (value,) * 3).save(path, kind)


@pytest.fixture
def two_classes(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        write(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("parted", [True, False])
def test_images_in_folders_below_belong_to_the_class_above(parted, two_classes, tmp_path_factory):
    root = two_classes
    if parted:
        root = tmp_path_factory.mktemp("parted")
        two_classes.rename(root / "train")
        write(root / "test" / "dog" / "deep" / "x.png", value=5)
    write((root / "train" if parted else root) / "bird" / "set1" / "deeper" / "1.png", value=9)
    made = data.from_folder(root) if parted else data.from_folder(root, seed=None)
    assert made.class_names == ("bird", "cat", "dog")
    assert made.train.images[0].max() == 9
    assert made.train.labels.tolist() == ([0, 1, 1, 2, 2] if parted else [0, 1, 1, 2])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jfif", "JPEG"),
        ("a.JPG", "JPEG"),
        ("a.jpe", "JPEG"),
        ("a.pnm", "PPM"),
        ("a.WebP", "WEBP"),
    ],
)
def test_kinds_of_images_go_by_many_suffixes(name, kind, two_classes):
    write(two_classes / "fish" / name, kind=kind)
    assert data.load(two_classes).class_names == ("cat", "dog", "fish")


def test_classes_without_images_are_all_named(two_classes):
    (two_classes / "empty").mkdir()
    (two_classes / "hollow" / "inside").mkdir(parents=True)
    (two_classes / "strange").mkdir()
    (two_classes / "strange" / "1.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty, hollow, strange.*\.jfif") as caught:
        data.load(two_classes)
    assert "cat" not in str(caught.value).split("classes without images")[1].split("remove")[0]


@pytest.mark.parametrize("name", ["cat/notes.txt", "cat/deep/1.heic", "3.png"])
def test_files_that_are_not_read_are_named_in_a_warning(name, two_classes):
    (two_classes / name).parent.mkdir(exist_ok=True)
    (two_classes / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=f"1 file not read.*{name}"):
        assert len(data.load(two_classes).train.images) == 3


@pytest.mark.parametrize(
    "name",
    [
        "cat/._1.png",
        "._x.npy",
        "._cat/1.png",
        ".git/x/1.png",
        "__MACOSX/cat/1.png",
        "cat/Thumbs.db",
    ],
)
def test_hidden_files_are_passed_over_in_silence(name, two_classes, recwarn):
    (two_classes / name).parent.mkdir(parents=True, exist_ok=True)
    (two_classes / name).write_bytes(b"\0\5\x16\7" + bytes(100))
    made = data.load(two_classes)
    assert len(made.train.images) + len(made.test.images) == 4
    assert made.class_names == ("cat", "dog")
    assert not recwarn.list


def test_images_that_cannot_be_used_are_all_named_at_once(two_classes):
    noise = np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(two_classes / "cat" / "cut.png")
    content = (two_classes / "cat" / "cut.png").read_bytes()
    (two_classes / "cat" / "cut.png").write_bytes(content[: len(content) // 2])
    (two_classes / "dog" / "none.png").write_bytes(b"")
    (two_classes / "dog" / "text.jpg").write_text("no image")
    (two_classes / "dog" / "gone.png").symlink_to(two_classes / "nowhere.png")
    Image.fromarray(np.zeros((4, 3), np.uint16)).save(two_classes / "dog" / "deep.png")
    with pytest.raises(ValueError, match="5 of 9 images cannot be used") as caught:
        data.load(two_classes)
    for name in ("cut.png", "none.png", "text.jpg", "gone.png", "deep.png"):
        assert f"{name} (" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_many_images_that_cannot_be_used_some_are_named_and_all_counted(two_classes):
    for i in range(30):
        (two_classes / "cat" / f"bad{i:02}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"30 of 34 .*bad00\.png.*and 25 more"):
        data.load(two_classes)


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["cat/x.png", "cat/x", "x.png"])
def test_a_pipe_is_never_waited_for(name, two_classes, tmp_path_factory):
    os.mkfifo(two_classes / name)
    code = f"""
    import signal
    signal.alarm(20)
    try:
        print(len(data.load({str(two_classes)!r}).train.images))
    except ValueError as error:
        print(error)
    """
    ended = data_fakes.fork(code, tmp_path_factory.mktemp("fork"))
    assert ended.signal == 0, ended.stderr
    if name == "cat/x.png":
        assert "x.png must be a regular file" in ended.stdout.replace("(", "").replace("/", " ")
    else:
        assert ended.stdout == "3\n"
        assert name in ended.stderr


def test_links_to_images_are_followed_and_links_to_folders_are_not(two_classes):
    (two_classes / "dog" / "3.png").symlink_to(two_classes / "cat" / "1.png")
    (two_classes / "dog" / "loop").symlink_to(two_classes)
    with pytest.warns(UserWarning, match="1 file not read.*loop"):
        made = data.load(two_classes)
    assert len(made.train.images) + len(made.test.images) == 5


TURNS = {  # what a camera notes, and how it has stored an upright picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def test_photographs_stand_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(4, 3, 3), dtype=np.uint8)
    upright = Image.fromarray(pixels)
    (tmp_path / "a").mkdir()
    upright.save(tmp_path / "a" / "1.png")
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright.transpose(turn).save(tmp_path / "a" / f"{orientation}.png", exif=exif)
    made = data.from_folder(tmp_path, seed=None)
    for image in (*made.train.images, *made.test.images):
        np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("names", [("train", "val"), ("training", "test"), ("Train", "valid")])
def test_parts_of_other_names_are_not_taken_for_classes(names, tmp_path):
    for name in names:
        write(tmp_path / name / "cat" / "1.png")
    with pytest.raises(ValueError, match="name two parts train and test"):
        data.load(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    write(tmp_path / "train" / "1.png")
    write(tmp_path / "bus" / "1.png")
    assert data.load(tmp_path).class_names == ("bus", "train")


def test_parts_may_be_capitalised_and_a_third_one_is_named(tmp_path):
    for name in ("Train", "Test", "val"):
        write(tmp_path / name / "cat" / "1.png")
    with pytest.warns(UserWarning, match="not read beside train and test: .*val"):
        assert len(data.load(tmp_path).test.images) == 1


@pytest.mark.parametrize("first", ["grey", "colour"])
def test_one_picture_in_colour_makes_all_of_them_rgb(first, tmp_path):
    (tmp_path / "a").mkdir()
    grey = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(4, 3))
    colour = Image.new("RGB", (3, 4), (1, 2, 3))
    for name, image in zip("123", [grey, colour, grey][first == "colour" :], strict=False):
        image.save(tmp_path / "a" / f"{name}.png")
    made = data.from_folder(tmp_path, seed=None)
    images = [*made.train.images, *made.test.images]
    assert images[0].shape == (4, 3, 3)
    for image in images:
        source = grey.convert("RGB") if image[0, 0, 0] == 0 else colour
        np.testing.assert_array_equal(image, np.asarray(source))


# transparency


def _with_alpha(mode, alpha):
    """A 2 x 2 image of black pixels whose first one has this alpha; the others are opaque."""
    if mode in ("RGB", "L"):
        grey = Image.fromarray(np.array([[9, 0], [0, 0]], np.uint8)).convert(mode)
        return grey, {} if alpha == 255 else {"transparency": 9 if mode == "L" else (9, 9, 9)}
    values = np.zeros((2, 2, 4), np.uint8)
    values[..., 3] = [[alpha, 255], [255, 255]]
    image = Image.fromarray(values)
    if mode == "P":
        palette = Image.fromarray(np.array([[1, 0], [0, 0]], np.uint8)).convert("P")
        return palette, {"transparency": bytes([255, alpha])}
    return image.convert(mode), {}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_images_with_transparency_are_drawn_on_white_and_counted(mode, tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(2):
        image, how = _with_alpha(mode, 0)
        image.save(tmp_path / "a" / f"{i}.png", **how)
    with pytest.warns(UserWarning, match=r"2 images have transparency; drawn on white: .*0\.png"):
        made = data.from_folder(tmp_path)
    assert made.train.images[0, 0, 0].min() == 255
    assert made.train.images[0].reshape(4, -1)[1:].max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_an_opaque_alpha_changes_nothing_and_is_not_told(mode, tmp_path, recwarn):
    (tmp_path / "a").mkdir()
    for i in range(2):
        image, how = _with_alpha(mode, 255)
        image.save(tmp_path / "a" / f"{i}.png", **how)
    made = data.from_folder(tmp_path)
    assert made.train.images.max() <= 1
    assert not recwarn.list


def test_what_a_transparent_pixel_hides_is_not_seen(tmp_path):
    (tmp_path / "a").mkdir()
    for name, hidden in (("black", 0), ("red", 255)):
        Image.new("RGBA", (2, 2), (hidden, 0, 0, 0)).save(tmp_path / "a" / f"{name}.png")
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "a" / "half.png")
    with pytest.warns(UserWarning, match="3 images have transparency"):
        made = data.from_folder(tmp_path, seed=None)
    black, half = made.train.images
    np.testing.assert_array_equal(black, made.test.images[0])
    assert (half == 127).all()
