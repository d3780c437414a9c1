"""TensorFlow Datasets (TFDS) without TensorFlow: read what it has prepared, or prepare it.

TFDS's own builders need TensorFlow to unpack archives and to encode images.  `prepare`
replaces these two steps.  Everything else is TFDS's: addresses, checksums, versions,
features, shuffling, files.  `tfds.data_source` reads what `prepare` writes, and `read` reads
what TFDS has prepared in version 3 or later, as array_record or tfrecord.

TFDS shuffles examples by a hash of their place in the official files.  `read` restores the
order: CIFAR's records carry that place, and for MNIST the hash is computed again.

TFDS is imported by the functions that need it, because that takes a quarter of a second.
"""

import contextlib
import io
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt32
from PIL import Image

from lincls import files
from lincls.data import archives
from lincls.data.catalog import Official
from lincls.data.dataset import Dataset, Split

PARTS = ("train", "test")
INFO = "dataset_info.json"  # in every preparation
COARSE_NAMES = "coarse_label_names.txt"  # in the archive of CIFAR-100
Example = tuple[int, dict[str, Any]]  # its place in the official files, and its features


def directory() -> Path:
    """Return the folder where TFDS keeps data sets: $TFDS_DATA_DIR, or its default."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find(name: str, data_dir: Path) -> tuple[Path, Mapping[str, Path]] | None:
    """Return the newest preparation of a data set below `data_dir`, and its files by name.

    None if there is none, or none that this user may read.
    """
    versions = {}
    with contextlib.suppress(OSError):
        for folder in (data_dir / name).iterdir():
            if re.fullmatch(r"[3-9]\.\d+\.\d+", folder.name):
                found = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
                if INFO in found:
                    versions[tuple(map(int, folder.name.split(".")))] = folder, found
    return versions[max(versions)] if versions else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS without its prints, its progress bars and its advice to install OpenCV.

    stderr stays what it is: a log that begins in here keeps writing to what it finds there.
    """
    import tensorflow_datasets as tfds
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logging.set_verbosity(verbosity)


def read(folder: Path) -> tuple[Split, Split]:
    """Return the training and the test part of a preparation, in the official order.

    Raises:
        ValueError: it is damaged, or of another format than array_record and tfrecord.
    """
    import tensorflow_datasets as tfds

    try:
        with _quiet():
            builder = tfds.builder_from_directory(folder)
            train, test = (_read_part(builder, part) for part in PARTS)
    except Exception as error:  # readers of records, features and images may fail anywhere
        raise ValueError(f"{folder}, prepared by TFDS, cannot be read: {error}") from error
    return train, test


def _read_part(builder: Any, part: str) -> Split:
    info, features = builder.info.splits[part], builder.info.features
    images = np.empty((info.num_examples, *features["image"].shape), np.uint8)
    labels = np.empty(info.num_examples, np.int32)
    seen = np.zeros(info.num_examples, bool)
    places = None if "id" in features else _places(part, info.num_examples)
    for i, record in enumerate(_records(info.filepaths)):
        example = features.deserialize_example_np(record)
        place = int(example["id"].decode().split("_")[1]) if places is None else places[i]
        images[place], labels[place], seen[place] = example["image"], example["label"], True
    if not seen.all():
        raise ValueError(f"{np.count_nonzero(~seen)} of its {part} examples are missing")
    return Split(images, labels)


def _places(part: str, num_examples: int) -> list[int]:
    """The places in the official files of a part's records, in the order of TFDS."""
    from tensorflow_datasets.core import hashing

    return sorted(range(num_examples), key=hashing.Hasher(part).hash_key)


def _records(paths: Iterable[Any]) -> Iterator[bytes]:
    """The serialised examples of the files of a part."""
    for path in map(str, paths):
        with files.open_regular(path) as file:
            if ".array_record" in path:
                from array_record.python import array_record_module  # type: ignore[import-untyped]

                yield from array_record_module.ArrayRecordReader(path).read_all()
            elif ".tfrecord" in path:
                yield from _tfrecords(file.read())
            else:
                raise ValueError(f"{path} is neither array_record nor tfrecord")


# --- tfrecord ---------------------------------------------------------------------------------

_CRC_TABLE = np.arange(256, dtype=np.uint32)
for _ in range(8):
    _CRC_TABLE[:] = _CRC_TABLE >> 1 ^ 0x82F63B78 * (_CRC_TABLE & 1)


def _tfrecords(data: bytes) -> list[bytes]:
    """Records of: length (8 bytes), its checksum (4), content, its checksum (4)."""
    contents, checksums, start = [], [], 0
    while start < len(data):
        end = start + 12 + struct.unpack_from("<Q", data, start)[0]
        contents.append(data[start + 12 : end])
        checksums.append(struct.unpack_from("<I", data, end)[0])
        start = end + 4
    for first in range(0, len(contents), 4096):
        some = slice(first, first + 4096)
        crc = _crc32c(contents[some])
        masked = (crc >> 15 | crc << 17) + np.uint32(0xA282EAD8)
        if not np.array_equal(masked, np.array(checksums[some], np.uint32)):
            raise ValueError("the checksum of a record does not fit its content")
    return contents


def _crc32c(records: list[bytes]) -> UInt32[np.ndarray, " N"]:
    """CRC-32C (RFC 3720, B.4) of records of at least 4 bytes, all at once, byte by byte.

    Records end in the same row, so zeros precede the short ones.  These leave a register
    of 0 as it is, and 32 inverted bits at a record's start stand for one of all ones.
    """
    height = max(map(len, records))
    rows = np.zeros((height, len(records)), np.uint8)
    for i, record in enumerate(records):
        start = height - len(record)
        rows[start:, i] = np.frombuffer(record, np.uint8)
        rows[start : start + 4, i] ^= 255
    crc = np.zeros(len(records), np.uint32)
    for row in rows:
        crc = _CRC_TABLE[(crc ^ row) & 255] ^ crc >> 8
    return ~crc


# --- preparing --------------------------------------------------------------------------------


def prepare(known: Official, official: Dataset, downloads: Path, data_dir: Path) -> Path:
    """Prepare a data set as TFDS would, as array_record, unless it is there.

    Args:
        known: what the catalog says of it.
        official: its content.
        downloads: the folder of the files it came from, which TFDS verifies once more.
        data_dir: the folder where TFDS keeps data sets.

    Returns:
        The folder of the preparation, NAME/VERSION in `data_dir`.

    Raises:
        Exception: whatever TFDS raises where it cannot prepare, as on Windows.
    """
    import tensorflow_datasets as tfds

    builder = _builder_class(known, official)(data_dir=data_dir, file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=downloads)
    with _quiet():
        builder.download_and_prepare(download_config=config)
    return Path(builder.data_path)


def _builder_class(known: Official, official: Dataset) -> Any:
    """TFDS's builder of a data set, its examples made without TensorFlow."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums

    base: Any = tfds.builder_cls(known.name)

    class Builder(base, skip_registration=True):  # type: ignore[call-arg]
        __module__ = base.__module__  # written into the preparation
        name = known.name
        url_infos: Mapping[str, Any] = {
            d.url: checksums.UrlInfo(d.size, d.sha256, d.filename) for d in known.downloads
        }

        def _split_generators(self, dl_manager: Any) -> Mapping[str, Iterator[Example]]:
            paths = dl_manager.download([d.url for d in known.downloads])
            features = self.info.features
            coarse: Mapping[str, Any] = dict.fromkeys(PARTS)
            if "id" in features:
                features["label"].names = known.class_names
            if "coarse_label" in features:
                features["coarse_label"].names, coarse = _coarse_labels(
                    Path(paths[0]), known.largest
                )
            return {
                part: _examples(getattr(official, part), part, "id" in features, coarse[part])
                for part in PARTS
            }

    return Builder


def _coarse_labels(
    archive: Path, largest: int
) -> tuple[list[str], Mapping[str, UInt8[np.ndarray, " N"]]]:
    """The names and numbers of CIFAR-100's coarse classes, the first byte of each record."""
    names = {part: f"{part}.bin" for part in PARTS}
    found = archives.read_tar(archive, (COARSE_NAMES, *names.values()), largest)
    coarse = {part: np.frombuffer(found[name], np.uint8)[::3074] for part, name in names.items()}
    return bytes(found[COARSE_NAMES]).decode().split(), coarse


def _examples(
    split: Split, part: str, with_id: bool, coarse: UInt8[np.ndarray, " N"] | None
) -> Iterator[Example]:
    """The examples of a part, numbered and named as TFDS does."""
    for i, (image, label) in enumerate(zip(*split, strict=True)):
        example = {"image": _png(image), "label": int(label)}
        if with_id:
            example["id"] = f"{part}_{i:05d}"
        if coarse is not None:
            example["coarse_label"] = int(coarse[i])
        yield i, example


def _png(image: UInt8[np.ndarray, "H W C"]) -> bytes:
    file = io.BytesIO()
    pixels = image[..., 0] if image.shape[2] == 1 else image
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
