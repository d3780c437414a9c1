"""A data set from image files: a folder for each class, or `train/` and `test/` above them."""

import itertools
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from lincls import checks, files
from lincls.data import arrays
from lincls.data.dataset import Dataset

_JPEG = (".jfif", ".jpe", ".jpeg", ".jpg")
_PNM = (".pbm", ".pgm", ".pnm", ".ppm")
SUFFIXES = frozenset((*_JPEG, *_PNM, ".bmp", ".gif", ".png", ".tif", ".tiff", ".webp"))
PARTS = ("train", "test", "val", "valid", "validation")  # names of parts rather than of classes
CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")  # left by operating systems, not hidden
GREY_MODES = frozenset(("1", "L"))
COLOUR_MODES = frozenset(("CMYK", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"))
CLEAR_MODES = frozenset(("LA", "PA", "RGBA"))  # with transparency; others may have a clear colour
SHOWN = 5  # files that an error names


class Listed(NamedTuple):
    """The image files of a folder: of its training part, and of its test part if it has one."""

    class_names: list[str]
    paths: list[list[Path]]  # of each part
    labels: list[np.ndarray]  # of each part, indices of class_names


def from_folder(
    path: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    crop: bool = False,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> Dataset:
    """Read images that lie in one folder for each class.

    Classes are the folders in alphabetical order.  Their examples are the image files in
    them and in the folders below, in alphabetical order too.  If `path` holds folders `train`
    and `test`, the class folders are in those.  Otherwise a test part is set aside as in
    `from_arrays`.

    Images become grey (C = 1) if all files are grey, else RGB (C = 3).  What is transparent is
    drawn on white, and a warning counts the files.  Photographs are turned upright by their
    EXIF orientation.  Hidden files and folders are not read.  Nor are files whose suffix is
    not one of `SUFFIXES`, and a warning counts them.

    Args:
        path: the folder.
        size: pixels; resize every image to size x size, or to (height, width), by Pillow's
            bilinear filter.  Without it all images must have one size.
        crop: cut each image to the shape of `size` around its middle first, instead of
            stretching it.
        test_fraction: the share to set aside where there is no `test`.
        seed: of the choice of these examples, as in `from_arrays`.

    Returns:
        The data set, with images (N, H, W, C) uint8.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a class without images, or in `test` only; files that are no images, are
            damaged, or have more than 8 bits a channel (all are counted); unequal sizes;
            `crop` without `size`.
    """
    found = listed(path)
    images = read_images([file for part in found.paths for file in part], size=size, crop=crop)
    examples: list[np.ndarray] = []
    for labels in found.labels:
        examples += [images[: len(labels)], labels]
        images = images[len(labels) :]
    return arrays.from_arrays(
        *examples,
        class_names=found.class_names,
        test_fraction=test_fraction,
        seed=seed,
        name=Path(path).absolute().name,
        location=str(path),
    )


def listed(path: str | Path) -> Listed:
    """The image files of a folder with one folder for each class, as `from_folder` reads them.

    Raises:
        FileNotFoundError, ValueError: as `from_folder`.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}")
    folders = _parts(path)
    parts = [_files_by_class(folder) for folder in folders]
    names = list(parts[0])
    if unknown := [name for name in parts[-1] if name not in names]:
        raise ValueError(f"{folders[-1]} holds classes that {folders[0]} lacks: {_some(unknown)}")
    paths = [[file for files in part.values() for file in files] for part in parts]
    counts = [[len(files) for files in part.values()] for part in parts]
    labels = [
        np.repeat([names.index(name) for name in part], count)
        for part, count in zip(parts, counts, strict=True)
    ]
    return Listed(names, paths, labels)


def read_images(
    paths: Sequence[Path],
    *,
    size: int | tuple[int, int] | None = None,
    crop: bool = False,
    channels: int | None = None,
) -> np.ndarray:
    """Image files as (N, H, W, C) uint8, upright.  One is held beside the result.

    Args:
        paths: the files.
        size, crop: as in `from_folder`.
        channels: 1 for grey, 3 for RGB; by default RGB if any file has colours.

    Raises:
        ValueError: files that cannot be used, all counted; `crop` without `size`.
    """
    if crop and size is None:
        raise ValueError("crop needs a size; give size=32 too (on the command line, --size 32)")
    if size is not None:
        pair = (size, size) if isinstance(size, int) else size
        size = checks.count(pair[0], "size"), checks.count(pair[1], "size")
    images, clear, damaged, unequal = None, list[Path](), list[str](), list[str]()
    for i, path in enumerate(paths):
        try:
            image, is_clear = _read_image(path, size, crop, channels)
            clear += [path] if is_clear else []
            if images is None:
                images = np.empty((len(paths), *image.shape), np.uint8)
            if image.shape[2] > images.shape[3]:
                images = images.repeat(3, axis=3)
            if image.shape[:2] == images.shape[1:3]:
                images[i] = image
            else:
                unequal.append(f"{path} ({_times(image)} pixels, not {_times(images[0])})")
        except Exception as error:  # the readers of images may fail anywhere
            reason = "no image" if isinstance(error, Image.UnidentifiedImageError) else error
            damaged.append(f"{path} ({' '.join(str(reason).split())})")
    if not paths:
        raise ValueError("there is no image to read")
    if images is None or damaged or unequal:
        raise ValueError("; ".join(_faults(damaged, unequal, _count(paths, "image"))))
    if clear:
        what = f"{_count(clear, 'image')} with transparency, drawn on white: {_some(clear)}"
        warnings.warn(what, stacklevel=3)
    return images


def _faults(damaged: list[str], unequal: list[str], of_all: str) -> Iterator[str]:
    """What is wrong with files, and what to do: the sizes first, as the more common fault."""
    if unequal:
        yield (
            "the images have unequal sizes; give size=32 (on the command line, --size 32): "
            f"{_some(unequal)}"
        )
    if damaged:
        yield f"{len(damaged)} of {of_all} cannot be used; replace or remove them: {_some(damaged)}"


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, without hidden files and without clutter."""
    entries = (entry for entry in folder.iterdir() if entry.name not in CLUTTER)
    return sorted(entry for entry in entries if not entry.name.startswith("."))


def _parts(path: Path) -> list[Path]:
    """The folders of the training and of the test part; or `path`, where there are none."""
    found = {entry.name.lower(): entry for entry in _visible(path) if entry.is_dir()}
    if "train" in found and "test" in found:
        parts = [found.pop("train"), found.pop("test")]
        if found:
            warnings.warn(f"not read beside train and test: {_some(found.values())}", stacklevel=4)
        return parts
    for part in (found[name] for name in PARTS if name in found):
        if any(entry.is_dir() for entry in _visible(part)):
            raise ValueError(
                f"{part} holds folders of its own; name two parts train and test, or give the "
                f"path of the folder with the classes, such as {part}"
            )
    return [path]


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class.  No class may be without any."""
    classes = {entry.name: _below(entry) for entry in _visible(folder) if entry.is_dir()}
    images = {name: [*filter(_is_image, found)] for name, found in classes.items()}
    kinds = ", ".join(sorted(SUFFIXES))
    if not any(images.values()):
        loose = [*filter(_is_image, _visible(folder))]
        found = f"its {_count(loose, 'image')} must lie in such folders" if loose else (
            f"no image was found ({kinds})"
        )  # fmt: skip
        raise ValueError(
            f"{folder} must hold a folder of images for each class, or train/ and test/ with "
            f"those in them; {found}"
        )
    if empty := [name for name, found in images.items() if not found]:
        raise ValueError(
            f"{folder} holds classes without images: {_some(empty)} (images are {kinds}); "
            "remove a folder that is no class, or begin its name with a dot"
        )
    others = [file for found in classes.values() for file in found if not _is_image(file)]
    others += filter(_is_image, _visible(folder))
    if others:
        warnings.warn(
            f"{_count(others, 'file')} not read, as no image or of no class: {_some(others)}",
            stacklevel=4,
        )
    return images


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _below(folder: Path) -> list[Path]:
    """The files in a folder and in the folders below, but not behind links to folders."""
    found = []
    for entry in _visible(folder):
        walk = entry.is_dir() and not entry.is_symlink()
        found += _below(entry) if walk else [entry]
    return found


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and in the folders below, in alphabetical order.

    Raises:
        ValueError: there are none.
    """
    found = [*filter(_is_image, _below(folder))]
    if not found:
        raise ValueError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return found


def _read_image(
    path: Path, size: tuple[int, int] | None, crop: bool, channels: int | None
) -> tuple[np.ndarray, bool]:
    """An image (H, W, 1 or 3), upright, and whether some of it was transparent."""
    with files.open_regular(path) as file, Image.open(file) as image:
        if image.mode not in GREY_MODES | COLOUR_MODES:
            raise ValueError(f"pixels of mode {image.mode}; convert it to 8 bits a channel")
        grey = channels == 1 or (channels is None and image.mode in GREY_MODES)
        mode = "L" if grey else "RGB"
        solid, is_clear = _on_white(ImageOps.exif_transpose(image))
        upright = solid.convert(mode)
    if size is not None:
        shape, smooth = size[::-1], Image.Resampling.BILINEAR
        upright = ImageOps.fit(upright, shape, smooth) if crop else upright.resize(shape, smooth)
    return np.asarray(upright).reshape(upright.height, upright.width, len(mode)), is_clear


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """An image without transparency, and whether it had any: its hidden colours are nobody's."""
    if image.mode not in CLEAR_MODES and "transparency" not in image.info:
        return image, False
    layered = image.convert("RGBA")
    if np.asarray(layered.getchannel("A")).min() == 255:
        return image, False
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, layered), True


def _times(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"


def _count(entries: Collection[object], what: str) -> str:
    return f"{len(entries)} {what}{'' if len(entries) == 1 else 's'}"


def _some(entries: Collection[object]) -> str:
    """The first of many."""
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return ", ".join(map(str, itertools.islice(entries, SHOWN))) + more
