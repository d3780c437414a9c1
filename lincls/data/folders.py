"""A data set from image files: a folder for each class, or `train/` and `test/` above them."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lincls.data import arrays
from lincls.data.dataset import Dataset

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
GREY_MODES = frozenset(("1", "L"))
COLOUR_MODES = frozenset(("CMYK", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"))


def from_folder(
    path: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> Dataset:
    """Read images that lie in one folder for each class.

    Classes are the folders in alphabetical order, examples the image files in them (of
    the kinds in `SUFFIXES`), likewise ordered.  If `path` holds folders `train` and
    `test`, the class folders are below those; otherwise a test part is set aside as in
    `from_arrays`.  Images become grey (C = 1) if all files are, else RGB (C = 3, without
    transparency).

    Args:
        path: the folder.
        size: resize every image to size x size, or to (height, width), by Pillow's
            bilinear filter; without it all images must have one size.
        test_fraction: the share of the test part where there is no `test`.
        seed: of the choice of the test part, as in `from_arrays`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no images, images of unequal size, a damaged or 16-bit image, or a
            class in `test` that is not in `train`.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}")
    parted = (path / "train").is_dir() and (path / "test").is_dir()
    train_files = _files_by_class(path / "train" if parted else path)
    test_files = _files_by_class(path / "test") if parted else {}
    names = list(train_files)
    if unknown := [name for name in test_files if name not in train_files]:
        raise ValueError(f"{path / 'test' / unknown[0]} is a class that is not in {path / 'train'}")
    files = [f for group in (train_files, test_files) for fs in group.values() for f in fs]
    labels = [names.index(f.parent.name) for f in files]
    images = _read_images(files, size)
    num_train = sum(map(len, train_files.values()))
    parts = (slice(num_train), slice(num_train, None)) if parted else (slice(None),)
    examples = [half for part in parts for half in (images[part], np.array(labels[part]))]
    return arrays.from_arrays(
        *examples,
        class_names=names,
        test_fraction=test_fraction,
        seed=seed,
        name=path.name,
        location=str(path),
    )


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    classes = sorted(d for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))
    files = {
        d.name: sorted(f for f in d.iterdir() if f.suffix.lower() in SUFFIXES) for d in classes
    }
    files = {name: found for name, found in files.items() if found}
    if not files:
        raise ValueError(
            f"{folder} must hold a folder of images for each class, or train/ and test/ with "
            f"those in them; no image was found ({', '.join(sorted(SUFFIXES))})"
        )
    return files


def _read_images(files: Sequence[Path], size: int | tuple[int, int] | None) -> np.ndarray:
    """All images as (N, H, W, C): two passes, so that only one is held beside the result."""
    modes, sizes = zip(*(_look_at(file) for file in files), strict=True)
    mode = "L" if GREY_MODES.issuperset(modes) else "RGB"
    if size is None:
        odd = next((i for i, other in enumerate(sizes) if other != sizes[0]), None)
        if odd is not None:
            raise ValueError(
                f"{files[odd]} is {_times(sizes[odd])} pixels and {files[0]} is "
                f"{_times(sizes[0])}; give size=, for example size={min(sizes[0])}"
            )
        width, height = sizes[0]
    else:
        height, width = (size, size) if isinstance(size, int) else size
    images = np.empty((len(files), height, width, len(mode)), np.uint8)
    for image, file in zip(images, files, strict=True):
        image[:] = _read_image(file, mode, (width, height)).reshape(image.shape)
    return images


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """An image file, not decoded yet; ValueError where it cannot be, now or within."""
    try:
        with Image.open(file) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from error


def _look_at(file: Path) -> tuple[str, tuple[int, int]]:
    """Mode and (width, height) of an image file."""
    with _opened(file) as image:
        mode, size = image.mode, image.size
    if mode not in GREY_MODES | COLOUR_MODES:
        raise ValueError(f"{file} has pixels of mode {mode}; convert it to 8 bits a channel")
    return mode, size


def _read_image(file: Path, mode: str, size: tuple[int, int]) -> np.ndarray:
    with _opened(file) as image:
        converted = image.convert(mode)
    if converted.size != size:
        converted = converted.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(converted)
