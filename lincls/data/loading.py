"""`load`: a data set by its name, or from the path of your own files."""

import difflib
import sys
import warnings
from pathlib import Path

from lincls import files
from lincls.data import arrays, cache, digits, folders, formats, official, tfds, toys
from lincls.data.catalog import OFFICIAL, Official
from lincls.data.dataset import Dataset, DataUnavailable
from lincls.data.download import OnProgress, fetch

NAMES: tuple[str, ...] = ("digits", *OFFICIAL, *toys.TOYS)


def load(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    *,
    url: str | None = None,
    size: int | tuple[int, int] | None = None,
    crop: bool = False,
    labels: str | None = None,
    groups: str | None = None,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Return a data set by its name, or from a path.

    A name is one of `NAMES`.  `digits` comes with scikit-learn, and the toy sets are
    generated.  `mnist`, `fashion_mnist`, `cifar10` and `cifar100` are looked for

    1. in `data_dir`: the publisher's files, packed or unpacked, what TFDS has prepared
       there, or a copy of a file of the cache,
    2. in the cache,
    3. in TFDS's folder ($TFDS_DATA_DIR, or ~/tensorflow_datasets),
    4. at `url`, or at the publisher's address.  They are downloaded once, and prepared in
       TFDS's folder as TFDS itself would.

    A path is an .npz file, a folder of .npy files (`from_npz`), a .safetensors, .pt, .parquet or
    .csv file or a folder of several (`from_file`), or a folder of images (`from_folder`).  A name
    comes before a path of the same spelling: give `./digits` for the path.

    Args:
        name_or_path: what to load.
        data_dir: a folder with the files of a public data set, or its archive.  It is never
            written.
        size, crop: pixels of the images of a folder, and whether they are cut to that shape
            instead of stretched, as in `from_folder`.
        url: another address to download from, of the archive or of the folder of the files.
        labels: the label column of .parquet or .csv files (`from_file`).
        groups: the column of such files that says who belongs together, as in `from_file`.
        on_progress: called with each piece of a download; by default a line on stderr.

    Returns:
        The data set, memory-mapped where the files allow it.

    Raises:
        DataUnavailable: a public data set is not there and cannot be downloaded.  The
            message says why, and what to put where.  It is an OSError.
        FileNotFoundError: there is no such name and no such path; the nearest name is given.
        TypeError: `name_or_path` is no text and no Path.
        ValueError: files are incomplete, damaged, unfit, or belong to another data set; a size
            of data that are no folder of images; a label column of data that are no table.
        ImportError: the package that reads a file is missing; the message says what to type.
    """
    files.check_path(name_or_path, "name_or_path")
    name = str(name_or_path)
    path = Path(name_or_path).expanduser()
    is_known = name in NAMES
    for what, column in (("labels", labels), ("groups", groups)):
        if column is not None and (is_known or (path.exists() and not is_of_tables(path))):
            raise ValueError(
                f"{what} names a column of a .csv or .parquet file, and {name} is none"
            )
    if not is_known and path.is_dir() and not _is_of_arrays(path):
        return folders.from_folder(path, size=size, crop=crop)
    if not is_known and not path.exists():
        raise FileNotFoundError(_nothing_called(path))
    if size is not None or crop:
        raise ValueError(f"size and crop are for a folder of images, and {name} is none")
    if name == "digits":
        return digits.load()
    if name in toys.TOYS:
        return toys.toy(name)
    if name in OFFICIAL:
        folder = None if data_dir is None else Path(data_dir).expanduser()
        return _load_official(OFFICIAL[name], folder, url, on_progress)
    return _load_path(path, labels, groups)


def _load_official(
    known: Official, data_dir: Path | None, url: str | None, on_progress: OnProgress | None
) -> Dataset:
    looked = ""
    try:
        if data_dir is not None:
            if (named := _load_named(known, data_dir)) is not None:
                return named
            looked = f"{data_dir} holds nothing of {known.name}, and "
        return _load_kept(known) or _load_downloads(known, _download(known, url, on_progress))
    except (OSError, ValueError) as error:  # an OSError: files that this user may not read
        kind = ValueError if isinstance(error, ValueError) else DataUnavailable
        raise kind(f"{looked}{error}; {official.how_to_get(known)}") from None


def _load_named(known: Official, data_dir: Path) -> Dataset | None:
    """Load from the folder or the archive that the caller has named."""
    if not data_dir.exists():
        raise DataUnavailable(f"data_dir must be a folder that exists, there is no {data_dir}")
    found = official.find(known, data_dir)
    if found is not None:
        return _load_found(known, found)
    if data_dir.is_file():
        raise ValueError(f"data_dir must be a folder or an archive of {known.name}: {data_dir}")
    return cache.read(data_dir / official.entry(known))


def _load_kept(known: Official) -> Dataset | None:
    """Load from the cache, or from the folder of TFDS, which nobody has named: it may be broken."""
    cached = cache.read(cache.directory() / official.entry(known))
    prepared = official.find_prepared(known, tfds.directory()) if cached is None else None
    try:
        return cached if prepared is None else _load_found(known, prepared)
    except (OSError, ValueError) as error:
        warnings.warn(f"{files.one_line(error)}; it is passed over", stacklevel=2)
        return None


def _load_found(known: Official, found: official.Found) -> Dataset:
    """Read files, or the entry of the cache that was made from the same content."""
    entry = cache.directory() / official.entry(known, found)
    cached = cache.read(entry)
    if cached is not None:
        return cached._replace(source=cached.source._replace(location=str(found.place)))
    loaded = official.read(known, found)
    cache.write(loaded, entry)
    return loaded


def _download(known: Official, url: str | None, on_progress: OnProgress | None) -> Path:
    """Fetch the files of a public data set into a folder of the cache, and return that."""
    folder = cache.directory() / "downloads" / known.name
    for wanted in known.downloads:
        address = url
        if url is not None and (url.endswith("/") or len(known.downloads) > 1):
            address = f"{url.rstrip('/')}/{wanted.filename}"
        fetch(wanted, folder, url=address, on_progress=on_progress)
    return folder


def _load_downloads(known: Official, folder: Path) -> Dataset:
    """Read the publisher's files, keep them in the cache, and prepare them for TFDS.

    In this order: nothing that happens in TFDS, not even a crash, costs the data.
    """
    found = official.find(known, folder)
    assert found is not None, folder
    loaded = official.read(known, found)
    cache.write(loaded, cache.directory() / official.entry(known))
    place = tfds.directory()
    print(f"{known.name}: preparing it for TensorFlow Datasets in {place}", file=sys.stderr)
    try:
        tfds.prepare(known, loaded, folder, place)
    except Exception as error:  # TFDS may fail anywhere, and nothing here depends on it
        if tfds.find(known.name, place) is None:  # nor has another process done it
            warnings.warn(
                f"{known.name} was loaded, but TensorFlow Datasets could not prepare it in "
                f"{place} ({files.one_line(error)}); that matters only to other programs",
                stacklevel=2,
            )
    return loaded


def _is_of_arrays(folder: Path) -> bool:
    return _is_of_npy(folder) or bool(formats.files_of(folder))


def _is_of_npy(folder: Path) -> bool:
    return any(folder.glob("[!.]*.npy"))


def is_of_tables(path: Path) -> bool:
    """Whether a path is a table, or a folder with one."""
    found = formats.files_of(path) if path.is_dir() else [path]
    return any(file.suffix in formats.TABLES for file in found)


def _load_path(path: Path, labels: str | None, groups: str | None) -> Dataset:
    if path.is_dir():
        is_npy = _is_of_npy(path)
        if is_npy:
            return arrays.from_npz(path)
        return formats.from_file(path, labels=labels, groups=groups)
    if path.is_file() and path.suffix in (".npz", ".npy"):
        return arrays.from_npz(path)
    if path.is_file() and path.suffix in formats.READERS:
        return formats.from_file(path, labels=labels, groups=groups)
    raise ValueError(
        f"{path} must be a file of arrays ({', '.join(('.npz', *formats.READERS))}), a folder "
        "of .npy files or a folder of images; for a public data set give its name and data_dir "
        "(on the command line, --data-dir)"
    )


def _nothing_called(path: Path) -> str:
    """That there is neither data set nor path, and what was probably meant."""
    beside = [str(each) for each in path.parent.glob("*")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(str(path).lower(), NAMES, 1)
    near = near or difflib.get_close_matches(str(path), beside, 1)
    hint = f"; did you mean {near[0]}?" if near else f"; the names are {', '.join(NAMES)}"
    return f"there is no data set and no path {path}{hint}"
