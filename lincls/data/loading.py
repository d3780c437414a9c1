"""One door to every data set: a name, or the path of one's own files."""

from pathlib import Path

from lincls.data import arrays, digits, folders, official, toys
from lincls.data.catalog import OFFICIAL
from lincls.data.dataset import Dataset, DataUnavailable

NAMES: tuple[str, ...] = ("digits", *OFFICIAL, *toys.TOYS)


def load(name_or_path: str | Path, data_dir: str | Path | None = None) -> Dataset:
    """Return a data set by its name, or from a path.

    A name is one of `NAMES`: `digits` comes with scikit-learn, the toy sets are
    generated, and `mnist`, `fashion_mnist`, `cifar10` and `cifar100` are read from the
    files of their publishers, as they are or unpacked, in `data_dir`.  A path is an .npz
    file, a folder of .npy files (`from_npz`), or a folder of images (`from_folder`).  A
    name comes before a path of the same spelling; say `./digits` for the path.

    Raises:
        DataUnavailable: a public data set is not in `data_dir`; the message says what to
            download from where.  It is an OSError.
        FileNotFoundError: neither a name nor a path.
        ValueError: files are incomplete, damaged, or belong to another data set.
    """
    name = str(name_or_path)
    if name == "digits":
        return digits.load()
    if name in toys.TOYS:
        return toys.toy(name)
    if name in OFFICIAL:
        return _load_official(name, data_dir)
    return _load_path(Path(name_or_path).expanduser())


def _load_official(name: str, data_dir: str | Path | None) -> Dataset:
    if data_dir is None:
        raise DataUnavailable(official.how_to_get(OFFICIAL[name], None))
    data_dir = Path(data_dir).expanduser()
    if not data_dir.exists():
        raise DataUnavailable(f"data_dir must be a folder that exists, there is no {data_dir}")
    return official.load(OFFICIAL[name], data_dir)


def _load_path(path: Path) -> Dataset:
    if path.is_dir():
        return arrays.from_npz(path) if any(path.glob("*.npy")) else folders.from_folder(path)
    if path.suffix in (".npz", ".npy") and path.is_file():
        return arrays.from_npz(path)
    if path.is_file():
        raise ValueError(
            f"{path} must be an .npz file, a folder of .npy files or a folder of images; for a "
            "public data set give its name and data_dir (on the command line, --data-dir)"
        )
    raise FileNotFoundError(f"there is no data set and no path {path}; names: {', '.join(NAMES)}")
