"""Damaged files, generated: `PYTHONPATH=. python tests/fuzz_files.py --cases 10000 --seed 0`.

Every kind of file that lincls reads is damaged in every way below and read again.  Either the
values are those of the whole file, or the reader says in one sentence that names the file that it
is damaged.  A reader of finished work may also pass it over, and then it is computed again.
Never are there other values, an error from the depths, a wait of 20 seconds, or a lot of memory.

Formats without a checksum cannot notice damage inside of their values: `.npy`, `.safetensors`,
CSV, unpacked IDX and CIFAR, JPEG, and parquet without sums of its pages.  Nor can any format notice
an archive that was written anew.  Such cases are counted apart, as cannot be noticed.
"""

import argparse
import collections
import contextlib
import functools
import gzip
import io
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import data_fakes
import jax
import numpy as np
import PIL.Image
import safetensors.numpy

from experiments.lab import record
from experiments.lab.experiment import Classifier, Outcome
from experiments.lab.parts import Parts
from experiments.probe import compare, groups, keeping, sets
from experiments.probe.multilabel import source
from experiments.report import figures
from lincls import checkpoint, data, files, knn, linear, models, preprocessing, training
from lincls.data import cache, official
from lincls.data.catalog import OFFICIAL
from lincls.structs import Hyper

SECONDS = 20  # for a file of a few kilobytes
MEGABYTES = 200  # that a case may add to the memory of the process
RNG = np.random.default_rng(0)
Y = np.arange(40) % 3
X = (RNG.normal(size=(40, 6)) + Y[:, None]).astype(np.float32)
IMAGES = RNG.integers(0, 256, (12, 9, 8, 3), np.uint8)
SPLIT = {"X_train": X[:30], "y_train": Y[:30], "X_test": X[30:], "y_test": Y[30:]}
RECIPE, HYPER = training.Recipe(batch_size=8), Hyper({"learning_rate": 0.1, "momentum": 0.9})
NAMES = {"class_names": np.array(["cat", "dog", "emu"])}


class Kind(NamedTuple):
    """A kind of file, how it is written and read, and what its format can notice."""

    write: Callable[[Path], Path]  # into a folder; the file to damage
    read: Callable[[Path], Any]  # a tree of its values; None: passed over
    sums: bool = True  # whether a checksum covers every value
    anew: bool = False  # whether an archive that was written anew is noticed too


# --- kinds of files ----------------------------------------------------------------------------


def of_dataset(dataset):
    return dataset.class_names, dataset.train, dataset.test


def loaded(path):
    return of_dataset(data.load(path))


def beside(path):
    return of_dataset(data.load(path.parent))


def in_file(name, fill):
    """A writer of one file."""

    def write(folder):
        fill(folder / name)
        return folder / name

    return write


def write_npy(folder, damaged="X_train"):
    for name, array in SPLIT.items():
        np.save(folder / f"{name}.npy", array)
    return folder / f"{damaged}.npy"


def frame():
    import pandas

    table = pandas.DataFrame(X, columns=[f"feature {i}" for i in range(6)])
    table["label"] = NAMES["class_names"][Y]
    return table


def to_safetensors(path):
    path.write_bytes(safetensors.numpy.save(SPLIT))


def to_torch(path):
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in SPLIT.items()}, path)


def to_parquet(path, **how):
    frame().to_parquet(path, **how)


def write_mnist(folder, zipped, damaged):
    data_fakes.write_mnist(folder, seed=0, zipped=zipped)
    return folder / (data_fakes.MNIST_FILES[damaged] + ".gz" * zipped)


def write_cifar(folder, kind, name):
    data_fakes.write_files(folder, data_fakes.cifar10_files(kind)[0])
    return folder / name


def read_official(name, path):
    """Without the cache, which has an entry for each content."""
    place = path if path.name.endswith(".tar.gz") else path.parent
    found = official.find(OFFICIAL[name], place)
    if found is None:
        raise FileNotFoundError(f"nothing of {name} at {path}")
    return of_dataset(official.read(OFFICIAL[name], found))


def to_archive(path):
    path.write_bytes(data_fakes.archive("cifar10"))


def of_cache(path):
    found = cache.read(path)
    return found and of_dataset(found)


def to_cache(path):
    cache.write(data.from_arrays(*SPLIT.values(), **NAMES), path)


def write_photos(folder, suffix):
    for i, image in enumerate(IMAGES):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        PIL.Image.fromarray(image).save(folder / "ab"[i % 2] / f"{i}{suffix}")
    return folder / "a" / f"4{suffix}"


def of_photos(path):
    return of_dataset(data.load(path.parent.parent))


@functools.cache
def start():
    params = linear.init(jax.random.key(1), 6, 3)
    return training.start(jax.random.key(0), params, RECIPE, HYPER)


def to_checkpoint(path):
    checkpoint.save(path, start())


def of_checkpoint(path):
    return checkpoint.restore(path, start()), checkpoint.note(path)


def fit(path):
    return training.fit(start(), X, Y, RECIPE, HYPER, num_steps=4, checkpoint=path,
                        validation=(X, Y), every=2)  # fmt: skip


def to_linear(path):
    params = linear.init(jax.random.key(2), 6, 3)
    names = NAMES["class_names"].tolist()
    models.save(path, params, class_names=names, affine=preprocessing.fit(X), image_shape=(6,))


def to_knn(path):
    models.save(path, knn.fit(X, Y), k=3, class_names=["a", "b", "c"])


def of_model(path):
    saved = models.load(path)
    return saved._replace(model=jax.tree.map(np.asarray, saved.model))


META = {"fingerprint": "f", "settings": {"k": 3}, "seed": 0, "data": {"name": "digits"}}


def write_record(folder, name):
    rows = [Classifier("linear", "rate = 0.1", 9, 10, 21)]
    record.save(folder, META, Outcome({"accuracy": 0.9123}, {"W": X, "y": Y}, rows))
    return folder / name


def of_record(path):
    found = record.load(path.parent)
    return found and (found.meta, found.arrays)


def write_part(folder):
    Parts(folder, "mark").kept("part", lambda: SPLIT)
    return folder / "part-mark.npz"


def of_part(path):
    found = Parts(path.parent, "mark").kept("part", dict)
    return found or None


def write_probe(folder, name):
    row = {"probe": ["l2"], "shots": ["all"], "seed": [0], "predictions": [Y], "labels": Y}
    arrays = {"predictions": {key: np.array(value) for key, value in row.items()}}
    keeping.save(folder, {"fingerprint": "f", "seed": 0, "results": [0.25, 7]}, arrays, {})
    return folder / name


def of_probe(path):
    standing = keeping._standing(path.parent, "f")
    found = None if standing is None else compare.read(path.parent)
    return found and (standing, found.said)


def compared(path):
    found = compare.read(path.parent)
    return found.about, found.said


def to_figures(path):
    shown = figures.Shown("a", "found", "how to read", "shown", 300, 200)
    files.write_json(path, {"figures": [shown._asdict()]})


def of_figures(path):
    return figures.standing(path.parent)


def to_groups(path):
    further = {"X_test_far": X[:5], "y_test_far": Y[:5], "groups_test_far": Y[:5]}
    np.savez(path, **SPLIT, groups=Y[:30], groups_test=Y[30:], **further)


def of_groups(path):
    assert source.has_matrices(path) in (True, False)
    found = [groups.read_array(str(path), name, n)
             for name, n in (("groups", 30), ("groups_test", 10))]  # fmt: skip
    there = groups.has_array(str(path), "groups"), groups.has_array(str(path), "nothing")
    far = sets.further(str(path), data.load(path))
    return found, there, [(one.name, one.split, one.groups) for one in far]


KINDS = {
    "npz, stored": Kind(in_file("a.npz", lambda p: np.savez(p, **SPLIT, **NAMES)), loaded),
    "npz, compressed": Kind(
        in_file("a.npz", lambda p: np.savez_compressed(p, **SPLIT, **NAMES)), loaded
    ),
    "npy": Kind(write_npy, beside, sums=False),
    "npy of labels": Kind(functools.partial(write_npy, damaged="y_test"), beside, sums=False),
    "safetensors": Kind(in_file("a.safetensors", to_safetensors), loaded, sums=False),
    "pt": Kind(in_file("a.pt", to_torch), loaded),
    "csv": Kind(in_file("a.csv", lambda p: frame().to_csv(p, index=False)), loaded, sums=False),
    "parquet": Kind(in_file("a.parquet", to_parquet), loaded, sums=False),
    "parquet with sums": Kind(
        in_file("a.parquet", lambda p: to_parquet(p, write_page_checksum=True)), loaded, sums=False
    ),
    "one csv of a folder": Kind(
        in_file("train.csv", lambda p: frame().to_csv(p, index=False)), beside, sums=False
    ),
    "idx, gz": Kind(
        lambda f: write_mnist(f, True, 0), functools.partial(read_official, "mnist")
    ),
    "idx of labels": Kind(
        lambda f: write_mnist(f, False, 3), functools.partial(read_official, "mnist"), sums=False
    ),
    "idx": Kind(
        lambda f: write_mnist(f, False, 0), functools.partial(read_official, "mnist"), sums=False
    ),
    "cifar, binary": Kind(
        lambda f: write_cifar(f, "binary", "data_batch_2.bin"),
        functools.partial(read_official, "cifar10"), sums=False,
    ),
    "cifar, pickle": Kind(
        lambda f: write_cifar(f, "pickle", "test_batch"),
        functools.partial(read_official, "cifar10"), sums=False,
    ),
    "cifar, archive": Kind(
        in_file("cifar-10-binary.tar.gz", to_archive), functools.partial(read_official, "cifar10")
    ),
    "cache": Kind(in_file("mine-0123.npz", to_cache), of_cache),
    "png": Kind(lambda f: write_photos(f, ".png"), of_photos),
    "jpeg": Kind(lambda f: write_photos(f, ".jpg"), of_photos, sums=False),
    "bmp": Kind(lambda f: write_photos(f, ".bmp"), of_photos, sums=False),
    "tiff": Kind(lambda f: write_photos(f, ".tiff"), of_photos, sums=False),
    "gif": Kind(lambda f: write_photos(f, ".gif"), of_photos, sums=False),
    "webp": Kind(lambda f: write_photos(f, ".webp"), of_photos, sums=False),
    "checkpoint": Kind(in_file("state.npz", to_checkpoint), of_checkpoint, anew=True),
    "checkpoint of a training": Kind(in_file("run.npz", fit), fit, anew=True),
    "linear model": Kind(in_file("m.safetensors", to_linear), of_model, anew=True),
    "kNN model": Kind(in_file("m.safetensors", to_knn), of_model, anew=True),
    "record's results": Kind(lambda f: write_record(f, "results.json"), of_record, anew=True),
    "record's arrays": Kind(lambda f: write_record(f, "arrays.npz"), of_record),
    "part": Kind(write_part, of_part),
    "probe's results": Kind(lambda f: write_probe(f, "results.json"), of_probe, anew=True),
    "probe's predictions": Kind(lambda f: write_probe(f, "predictions.npz"), of_probe),
    "probes compared": Kind(lambda f: write_probe(f, "results.json"), compared, anew=True),
    "predictions compared": Kind(lambda f: write_probe(f, "predictions.npz"), compared),
    "list of figures": Kind(in_file("figures.json", to_figures), of_figures, anew=True),
    "groups and further tests": Kind(in_file("a.npz", to_groups), of_groups),
}  # fmt: skip

# --- damages: the content that is there instead ------------------------------------------------


def flip(content, rng, times=1):
    damaged = bytearray(content)
    for place in rng.integers(len(content), size=times):
        damaged[place] ^= 1 << rng.integers(8)
    return bytes(damaged)


def flip_of_header(content, rng):
    """A flip where formats have their lengths: among the first and the last bytes."""
    ends = [*range(min(300, len(content))), *range(max(0, len(content) - 300), len(content))]
    damaged = bytearray(content)
    damaged[rng.choice(ends)] ^= 1 << rng.integers(8)
    return bytes(damaged)


def change_byte(content, rng):
    place = rng.integers(len(content))
    return content[:place] + rng.bytes(1) + content[place + 1 :]


def between(content, rng):
    """Two places, near to one another as often as not."""
    start = int(rng.integers(len(content)))
    length = int(rng.integers(1, 9 if rng.random() < 0.5 else max(2, len(content) // 2)))
    return start, start + length


def insert(content, rng):
    start, stop = between(content, rng)
    return content[:start] + rng.bytes(stop - start) + content[start:]


def remove(content, rng):
    start, stop = between(content, rng)
    return content[:start] + content[stop:]


def zero(content, rng):
    start, stop = between(content, rng)
    return content[:start] + bytes(len(content[start:stop])) + content[stop:]


def swap(content, rng):
    """Two blocks of equal length."""
    length = int(rng.integers(1, max(2, len(content) // 3)))
    first = int(rng.integers(0, max(1, len(content) - 2 * length)))
    second = int(rng.integers(first + length, max(first + length, len(content) - length) + 1))
    block, other = (content[i : i + length] for i in (first, second))
    rest = content[first + length : second], content[second + length :]
    return content[:first] + other + rest[0] + block + rest[1]


def truncate(content, rng):
    return content[: rng.integers(len(content))]


def number_grows(content, rng):
    """A number in digits, such as a shape of a header, with others in its place."""
    found = list(re.finditer(rb"\d+", content))
    if not found:
        return flip_of_header(content, rng)
    at = found[rng.integers(len(found))]
    number = rng.choice([b"9" * len(at[0]), b"4294967296", b"-1", b"99999999999999999999", b"0"])
    return content[: at.start()] + bytes(number) + content[at.end() :]


DTYPES = {b"<f4": b"<i4", b"<i8": b"<f8", b"|u1": b"|i1", b"F32": b"I32", b"I64": b"F64",
          b"<u4": b"<f4", b"<U3": b"<V3"}  # fmt: skip


def other_dtype(content, rng):
    """Another dtype of the same size, once or everywhere."""
    there = [name for name in DTYPES if name in content]
    if not there:
        return change_byte(content, rng)
    name = there[rng.integers(len(there))]
    return content.replace(name, DTYPES[name], int(rng.choice([1, -1])))


def big_shape(content, rng):
    """Enormous sizes where headers of IDX, PNG, BMP and others have them."""
    place = int(rng.integers(min(40, len(content))))
    size = bytes(rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\xff\xff"]))
    return content[:place] + size + content[place + 4 :]


BYTES = {
    "a bit": flip, "a bit of a header": flip_of_header,
    "ten bits": functools.partial(flip, times=10), "a byte": change_byte, "cut off": truncate,
    "bytes inserted": insert, "bytes removed": remove, "a block of zeros": zero,
    "two blocks swapped": swap, "bytes behind": lambda c, rng: c + rng.bytes(rng.integers(1, 40)),
    "bytes before": lambda c, rng: rng.bytes(rng.integers(1, 40)) + c,
    "twice": lambda c, rng: c + c, "empty": lambda c, rng: b"", "noise": lambda c, rng:
    rng.bytes(len(c)), "a number of digits": number_grows, "another dtype": other_dtype,
    "a large size": big_shape,
}  # fmt: skip


def rewritten(content, change):
    """The file with its members changed, and with checksums that agree."""
    if content.startswith(b"\x1f\x8b"):
        return gzip.compress(change({"": gzip.decompress(content)})[""])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in change(members).items():
            archive.writestr(name, member)
    return buffer.getvalue()


def of_member(damage):
    def damaged(content, rng):
        def change(members):
            name = list(members)[rng.integers(len(members))]
            return members | {name: damage(members[name], rng)}

        return rewritten(content, change)

    return damaged


def swapped_members(content, rng):
    def change(members):
        names = list(members)
        if len(names) < 2:
            return {name: member[::-1] for name, member in members.items()}
        one, other = rng.choice(len(names), 2, replace=False)
        one, other = names[one], names[other]
        return members | {one: members[other], other: members[one]}

    return rewritten(content, change)


def without_member(content, rng):
    def change(members):
        names = list(members)
        left_out = names[rng.integers(len(names))]
        return {name: member for name, member in members.items() if name != left_out or not name}

    return rewritten(content, change)


ANEW = {f"anew: {name} of a member": of_member(BYTES[name])
        for name in ("a bit", "cut off", "bytes behind", "a number of digits", "another dtype",
                     "empty", "a large size")}  # fmt: skip
ANEW |= {"anew: members swapped": swapped_members, "anew: a member missing": without_member}
PLACES = ("a folder", "a FIFO", "a loop of links", "a link to nothing", "not there")


def put(path, place):
    """Something that is no file where a file belongs."""
    if place == "a folder":
        path.mkdir()
    elif place == "a FIFO":
        os.mkfifo(path)
    elif place != "not there":
        path.symlink_to(path.name if place == "a loop of links" else "nothing")


def remove_any(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# --- the judge ---------------------------------------------------------------------------------


class TooLong(BaseException):
    pass


def ring(*_):
    raise TooLong


@contextlib.contextmanager
def within(seconds):
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def frozen(tree):
    """What a tree holds, to compare after its file is gone."""
    if isinstance(tree, dict):
        return {name: frozen(value) for name, value in tree.items()}
    if isinstance(tree, tuple | list):
        return [frozen(value) for value in tree]
    if isinstance(tree, jax.Array) and jax.dtypes.issubdtype(tree.dtype, jax.dtypes.prng_key):
        tree = jax.random.key_data(tree)
    if isinstance(tree, np.ndarray | jax.Array):
        array = np.asarray(tree)
        return str(array.dtype), array.shape, array.tobytes()
    return tree if isinstance(tree, str | float | int | None) else repr(tree)


def verdict(kind, path, expected):
    """ "same", "refused", "passed over", "other values", or what is wrong."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with within(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.read(path)
            found = None if found is None else frozen(found)
    except TooLong:
        return "took 20 s"
    except (ValueError, OSError) as error:
        said = str(error)
        ours = type(error).__module__.split(".")[0] in ("builtins", "lincls")
        if not ours or isinstance(error, UnicodeError):
            return f"from the depths: {type(error).__name__}: {said[:200]}"
        if path.name not in said and str(path.parent) not in said:
            return f"names no file: {said[:200]}"
        if "\n" in said or len(said) > 1500:
            return f"no sentence: {said[:300]!r}"
        return "refused"
    except Exception as error:
        return f"from the depths: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 2**10
    if more > MEGABYTES:
        return f"took {more:.0f} MB"
    if found is None:
        return "passed over"
    return "same" if found == expected else "other values"


class Home:
    """The folders of all kinds, with a whole file each."""

    def __init__(self, folder, only=""):
        self.kinds, self.paths, self.contents, self.expected = {}, {}, {}, {}
        for name, kind in KINDS.items():
            if not re.search(only, name) or (name == "pt" and not has_torch()):
                continue
            place = folder / re.sub(r"\W+", "_", name)
            place.mkdir()
            path = self.paths[name] = kind.write(place)
            self.kinds[name], self.contents[name] = kind, path.read_bytes()
            self.expected[name] = frozen(kind.read(path))
            assert verdict(kind, path, self.expected[name]) == "same", name

    def case(self, name, damage, rng):
        """The verdict on one damage of a file, which is whole again afterwards."""
        path, content, kind = self.paths[name], self.contents[name], self.kinds[name]
        is_anew, beside = damage in ANEW, set(path.parent.iterdir())
        if damage in PLACES:
            path.unlink()
            put(path, damage)
        else:
            path.write_bytes((BYTES | ANEW)[damage](content, rng))
        try:
            said = verdict(kind, path, self.expected[name])
            unnoticed = not kind.sums or (is_anew and not kind.anew)
            unnoticed |= kind.read is of_photos and damage in ("not there", "a folder")
            return "cannot be noticed" if said == "other values" and unnoticed else said
        finally:
            for other in set(path.parent.iterdir()) - beside:
                remove_any(other)
            remove_any(path)
            path.write_bytes(content)


def has_torch():
    with contextlib.suppress(ImportError):
        import torch

        return bool(torch)
    return False


def damages(name, content):
    """The damages of a kind: those of an archive only where it is one."""
    is_archive = content.startswith((b"PK", b"\x1f\x8b"))
    return [*BYTES, *PLACES, *(ANEW if is_archive else ())]


FINE = ("same", "refused", "passed over", "cannot be noticed")


def main(num_cases, seed, only=""):
    """Run so many cases and return their faults, each once for a kind, a damage and a reason."""
    counted, faults = collections.Counter(), {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LINCLS_CACHE"] = f"{folder}/cache"
        os.environ["TFDS_DATA_DIR"] = f"{folder}/tfds"
        home = Home(Path(folder), only)
        pairs = [(name, damage) for name, content in home.contents.items()
                 for damage in damages(name, content)]  # fmt: skip
        order = np.random.default_rng(seed).permutation(len(pairs))
        for case in range(num_cases):
            name, damage = pairs[order[case % len(pairs)]]
            said = home.case(name, damage, np.random.default_rng([seed, case]))
            counted[said if said in FINE else "faults"] += 1
            if said not in FINE:
                place = re.sub(r"\d+", "0", said.replace(folder, ""))[:60]
                faults.setdefault((name, place), f"{name}, {damage}, case {case}: {said}")
    shown = ", ".join(f"{counted[what]} {what}" for what in FINE)
    print(f"{num_cases} cases of {len(home.paths)} kinds of files, {counted['faults']} faults; "
          f"{shown}")  # fmt: skip
    return sorted(faults.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a pattern of the kinds of files")
    options = parser.parse_args()
    found = main(options.cases, options.seed, options.only)
    print(*found, sep="\n")
    sys.exit(bool(found))
