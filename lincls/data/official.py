"""The public data sets, read from the files of their publishers.

`find` looks for a known layout: IDX files, CIFAR's binary records or pickles, in a folder or
in their archive, or what TFDS has prepared.  `read` turns it into a `Dataset`,
`authenticate` says whether the content is the official one, and `entry` names it in the
cache.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lincls.data import archives, cache, cifar, dataset, idx, tfds
from lincls.data.archives import Buffer
from lincls.data.catalog import OWNERS, Layout, Official
from lincls.data.dataset import Dataset, Split


class Found(NamedTuple):
    """A layout of a data set and the place where its files lie."""

    format: str  # a key of Official.layouts, or "tfds"
    place: Path  # a folder, or an archive
    files: Mapping[str, Path]  # the files by name; of an archive, empty


def entry(official: Official, found: Found | None = None) -> str:
    """Return the name of the cache's entry for the files that were found, or the publisher's."""
    if found is None:
        checksums = {download.filename: download.sha256 for download in official.downloads}
    else:
        paths = found.files.values() or (found.place,)
        checksums = {path.name: archives.sha256(path) for path in paths}
    return cache.filename(official.name, checksums)


def find(official: Official, data_dir: Path) -> Found | None:
    """Return where a public data set lies in or below `data_dir`, or None.

    A folder named after the data set comes before `data_dir` itself (MNIST and
    Fashion-MNIST share their file names).  `data_dir` may be the archive itself, under
    any name if it is the publisher's.

    Raises:
        ValueError: some of its files are there and some are missing.
    """
    if data_dir.is_file() and "binary" in official.layouts and _is_published(official, data_dir):
        return Found("binary", data_dir, {})
    places = [*(data_dir / folder for folder in official.folders), data_dir]
    found = (
        _find_layout(place, *layout) for place in places for layout in official.layouts.items()
    )
    return next(filter(None, found), None) or find_prepared(official, data_dir)


def find_prepared(official: Official, data_dir: Path) -> Found | None:
    """Return where TFDS has prepared a data set in its folder `data_dir`, or None."""
    found = tfds.find(official.name, data_dir)
    return None if found is None else Found("tfds", *found)


def _find_layout(place: Path, format: str, layout: Layout) -> Found | None:
    for folder in dict.fromkeys((place / layout.folder, place)):
        files = {name: _find_file(folder, name) for name in layout.train + layout.test}
        there = {name: path for name, path in files.items() if path is not None}
        missing = [name for name in files if name not in there]
        if there and missing:
            raise ValueError(f"{folder} holds {', '.join(there)} but not {', '.join(missing)}")
        if there:
            return Found(format, folder, there)
    for archive in (place, place / layout.archive):
        if layout.archive and archive.name == layout.archive and archive.is_file():
            return Found(format, archive, {})
    return None


def _find_file(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, gzipped or not; some copies of MNIST say `.idx`."""
    spellings = dict.fromkeys((name, name.replace("-idx", ".idx")))
    candidates = (folder / f"{s}{end}" for s in spellings for end in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def read(official: Official, found: Found) -> Dataset:
    """Read the files of a public data set.

    Raises:
        ValueError: they are damaged, or hold another data set.
    """
    read_parts = _read_prepared if found.format == "tfds" else _read_files
    train, test, checksums = read_parts(official, found)
    verdict = authenticate(official, found, checksums, train, test)
    return dataset.build(
        official.name,
        official.class_names,
        train,
        test,
        location=str(found.place),
        official=verdict,
        description=DESCRIPTIONS[verdict].format(official.name),
    )


Parts = tuple[Split, Split, Mapping[str, str]]  # training, test, MD5 by unpacked file


def _read_files(official: Official, found: Found) -> Parts:
    layout = official.layouts[found.format]
    contents: Mapping[str, Buffer] = (
        {name: archives.read_file(path, official.largest) for name, path in found.files.items()}
        if found.files
        else archives.read_tar(found.place, layout.train + layout.test, official.largest)
    )
    checksums = _checksums(official, found, contents)
    train, test = (
        _parse(official, found, {name: contents[name] for name in names})
        for names in (layout.train, layout.test)
    )
    return train, test, checksums


def _read_prepared(official: Official, found: Found) -> Parts:
    train, test = tfds.read(found.place)
    if "idx" not in official.layouts:
        return train, test, {}
    layout = official.layouts["idx"]
    arrays = (train.images[..., 0], train.labels, test.images[..., 0], test.labels)
    contents = map(idx.unparse, arrays)
    files = dict(zip(layout.train + layout.test, contents, strict=True))
    return train, test, _checksums(official, found, files)


def _parse(official: Official, found: Found, contents: Mapping[str, Buffer]) -> Split:
    """Parse the files of one split: IDX images and labels, or batches of CIFAR."""
    names = {name: f"{found.files.get(name, f'{found.place}: {name}')}" for name in contents}
    if found.format == "idx":
        axes = zip(names.items(), (3, 1), strict=True)
        images, labels = (idx.parse(contents[n], file, ndim) for (n, file), ndim in axes)
        return Split(images[..., None], labels.astype(np.int32))
    if found.format == "binary":
        num_label_bytes = 2 if official.name == "cifar100" else 1
        batches = [cifar.parse_binary(contents[n], names[n], num_label_bytes) for n in contents]
    else:
        batches = [cifar.parse_pickle(contents[n], names[n]) for n in contents]
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return Split(images, labels.astype(np.int32))


DESCRIPTIONS: Mapping[bool | None, str] = {
    True: "{0}, the official files",
    False: "{0}, not the official files",
    None: "{0}, official by sums of pixels and numbers of labels (their order is not verified)",
}


def authenticate(
    official: Official, found: Found, checksums: Mapping[str, str], train: Split, test: Split
) -> bool | None:
    """Say whether the content is the official one.

    Args:
        official: what the catalog says of the data set.
        found: the files.
        checksums: MD5 by unpacked file, of those that the catalog may know.
        train: what the files hold.
        test: likewise.

    Returns:
        True where the SHA-256 of the archive, or the MD5 of every unpacked file, is the
        published one.  None where neither is published for these files, but the sums of all
        pixels and the number of labels of each class are (CIFAR).  False otherwise.
    """
    if checksums and checksums in [layout.md5 for layout in official.layouts.values()]:
        return True
    if not found.files and _is_published(official, found.place):
        return True
    parts = {"train": train, "test": test}
    sums = {part: pixel_sums(split.images) for part, split in parts.items()}
    num_classes = len(official.class_names)
    counts = [np.bincount(split.labels, minlength=num_classes) for split in parts.values()]
    agree = sums == official.pixel_sums and all(len(set(count)) == 1 for count in counts)
    return None if agree else False


def _is_published(official: Official, archive: Path) -> bool:
    return archives.sha256(archive) in {download.sha256 for download in official.downloads}


def pixel_sums(images: np.ndarray) -> tuple[int, ...]:
    """Return the sum of all pixels of images (N, H, W, C), by channel."""
    return tuple(int(total) for total in images.sum(axis=(0, 1, 2), dtype=np.int64))


def _checksums(
    official: Official, found: Found, contents: Mapping[str, Buffer]
) -> Mapping[str, str]:
    """The MD5 of unpacked files, which must not be another data set's."""
    checksums = {
        name: hashlib.md5(content, usedforsecurity=False).hexdigest()
        for name, content in contents.items()
    }
    for name, md5 in checksums.items():
        owner = OWNERS.get(md5, official.name)
        if owner != official.name:
            raise ValueError(
                f"{found.files.get(name, name)} belongs to {owner}, not to {official.name}: "
                "the files of both have the same names, keep them in a folder each"
            )
    return checksums


def how_to_get(official: Official) -> str:
    """Say what to download from where, and where to put it."""
    files = "; ".join(
        f"{d.filename} ({d.size:,} bytes, SHA-256 {d.sha256})" for d in official.downloads
    )
    address = official.downloads[0].url.rsplit("/", 1)[0] + "/"
    return (
        f"to get {official.name} by hand, download {files} from {address}, put that into a "
        "folder of its own and name the folder as data_dir (on the command line, --data-dir), "
        "or take the data set 'digits', which comes with the package"
    )
