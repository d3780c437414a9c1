"""Small files in the official formats, with random content, written by code of our own.

A server on loopback offers them, while the catalog believes that they are the published
ones; and code that is to be killed or to reach a limit runs in forks of a process of its own.
"""

import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tensorflow_datasets.core.download import checksums

from lincls.data import catalog, download

# LINCLS_WHOLE=1 makes the tests that damage and kill do so more often.
WHOLE = bool(os.environ.get("LINCLS_WHOLE"))

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR10_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def mnist_contents(seed: int) -> dict[str, np.ndarray]:
    """The arrays of the four files: 20 training and 10 test images of 28 x 28."""
    rng = np.random.default_rng(seed)
    shapes = ((20, 28, 28), (20,), (10, 28, 28), (10,))
    highs = (256, 10, 256, 10)
    return {
        name: rng.integers(high, size=shape, dtype=np.uint8)
        for name, shape, high in zip(MNIST_FILES, shapes, highs, strict=True)
    }


def write_mnist(folder: Path, seed: int, zipped: bool) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    contents = mnist_contents(seed)
    for name, array in contents.items():
        data = idx_bytes(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    return contents


def cifar_batch(seed: int, num_examples: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Planes (N, 3072) and labels (N,) of a batch."""
    rng = np.random.default_rng(seed)
    planes = rng.integers(256, size=(num_examples, 3072), dtype=np.uint8)
    return planes, rng.integers(10, size=num_examples, dtype=np.uint8)


def binary_bytes(planes: np.ndarray, labels: np.ndarray, coarse: bool = False) -> bytes:
    """Records of one label byte (two with a coarse label before it) and 3,072 pixels."""
    columns = [labels[:, None] // 5, labels[:, None]] if coarse else [labels[:, None]]
    return np.concatenate([*columns, planes], axis=1).tobytes()


def py2_string(text: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(text)) + text


def pickle_bytes(planes: np.ndarray, labels: np.ndarray, label_key: bytes = b"labels") -> bytes:
    """A batch as Python 2 pickled it (protocol 2), opcode by opcode."""
    dtype = b"cnumpy\ndtype\n" + py2_string(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + py2_string(b"|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\nK\x00\x85"
    array += py2_string(b"b") + b"\x87R"
    shape = b"M" + struct.pack("<H", len(planes)) + b"M\x00\x0c\x86"
    array += b"(K\x01" + shape + dtype + b"\x89" + py2_string(planes.tobytes()) + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    entries = {b"data": array, label_key: numbers, b"batch_label": py2_string(b"a batch")}
    items = b"".join(py2_string(key) + value for key, value in entries.items())
    return b"\x80\x02}(" + items + b"u."


def cifar10_files(kind: str) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """The six files of CIFAR-10 by name, and all planes and labels in order."""
    batches = [cifar_batch(seed) for seed in range(6)]
    write = {"binary": binary_bytes, "pickle": pickle_bytes}[kind]
    end = {"binary": ".bin", "pickle": ""}[kind]
    files = {f"{name}{end}": write(*b) for name, b in zip(CIFAR10_FILES, batches, strict=True)}
    planes, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return files, planes, labels


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def tar_bytes(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class Trap:
    """What a hostile pickle holds: unpickling it calls `print`, or worse."""

    def __reduce__(self) -> tuple:
        return (print, ("a pickle has run code",))


def hostile_pickles() -> dict[str, bytes]:
    """Pickles that run code, or reach for names that may, when an ordinary reader loads them."""
    return {
        "reduce": pickle.dumps({"data": Trap(), "labels": [0]}, protocol=2),
        "os.system": b"cos\nsystem\n(S'echo ran'\ntR.",
        "builtins.eval": b"\x80\x02cbuiltins\neval\nT\x03\x00\x00\x001+1\x85R.",
        "instance": b"(S'echo ran'\nios\nsystem\n.",
        "a class": b"cio\nFileIO\n(S'a pickle has made this file'\nS'w'\ntR.",
        "stack_global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x08echo ran\x85R.",
        "numpy.load": b"\x80\x02cnumpy\nload\nT\x01\x00\x00\x00x\x85R.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"\x80\x02Px\n.",
    }


def believe(name: str) -> str:
    """Code that makes another process's catalog believe the same."""
    downloads = tuple(map(tuple, catalog.OFFICIAL[name].downloads))
    return (
        f"catalog.OFFICIAL[{name!r}] = catalog.OFFICIAL[{name!r}]._replace("
        f"downloads=tuple(catalog.Download(*d) for d in {downloads!r}))\n"
    )


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def archive(name: str) -> bytes:
    """The binary archive of cifar10 or cifar100: 24 images in the official folder."""
    if name == "cifar10":
        files = cifar10_files("binary")[0]
    else:
        batches = [cifar_batch(seed, n) for seed, n in ((0, 20), (1, 4))]
        contents = (binary_bytes(planes, labels * 9, coarse=True) for planes, labels in batches)
        files = dict(zip(("train.bin", "test.bin"), contents, strict=True))
        files["coarse_label_names.txt"] = "".join(f"coarse_{i}\n" for i in range(20)).encode()
    folder = catalog.OFFICIAL[name].layouts["binary"].folder
    return tar_bytes({f"{folder}/{file}": content for file, content in files.items()})


def published_contents(name: str) -> list[bytes]:
    """What the publisher of a data set offers, in the order of the catalog."""
    if "cifar" in name:
        return [archive(name)]
    arrays = mnist_contents(seed=len(name)).values()
    return [gzip.compress(idx_bytes(array), mtime=0) for array in arrays]


def publish(
    monkeypatch: pytest.MonkeyPatch, name: str, contents: Sequence[bytes]
) -> catalog.Official:
    """Let the catalog believe that these are the published files of a data set.

    TFDS writes what it learns into its own list of checksums, so it gets an empty one each time.
    """
    monkeypatch.setattr(checksums, "get_all_url_infos", dict)
    known = catalog.OFFICIAL[name]
    downloads = tuple(
        download._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for download, content in zip(known.downloads, contents, strict=True)
    )
    known = known._replace(downloads=downloads)
    monkeypatch.setitem(catalog.OFFICIAL, name, known)
    return known


def quiet(progress: download.Progress) -> None:
    """For a load whose progress nobody looks at."""


def assert_says_it_all(message: str, address: str) -> None:
    """One sentence on why CIFAR-10 is not there, what to download, and where to put it."""
    wanted = catalog.OFFICIAL["cifar10"].downloads[0]
    for part in ("cifar10", address, f"{wanted.size:,}", wanted.sha256, "data_dir", "'digits'"):
        assert part in message, (part, message)
    assert "\n" not in message


@contextlib.contextmanager
def serving(answer):
    """A server on loopback that gives each request to `answer(handler)`; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def send(handler, content: bytes, status: int = 200, kind: str = "application/x-gzip", **headers):
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", headers.pop("length", str(len(content))))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def send_range(handler, content: bytes, upto: int | None = None):
    """Answer as a good server does, but break off before byte `upto`."""
    start = int(re.findall(r"\d+", handler.headers.get("Range", "0"))[0])
    rest = content[start:upto]
    length = str(len(content) - start)
    if start:
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        send(handler, rest, 206, length=length, Content_Range=span)
    else:
        send(handler, rest, length=length)


class Ended(NamedTuple):
    """How a fork has ended."""

    signal: int  # that killed it, or 0
    stdout: str
    stderr: str


_FORKS = """
import json, os, sys, traceback
import numpy as np
import tensorflow_datasets.image_classification
from array_record.python import array_record_module
from lincls import data
from lincls.data import cache, catalog, loading, tfds

def run(code, environ, folder):
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(environ)
    try:
        exec(code, globals())
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(*json.loads(line))
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def _forks() -> subprocess.Popen:
    """A process with everything imported and no threads; it ends when its input does."""
    environ = os.environ | {"JAX_PLATFORMS": "cpu", "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", _FORKS], stdin=pipe, stdout=pipe, text=True, env=environ
    )


def fork(code: str, folder: Path) -> Ended:
    """Run `code` in a process of its own, with its cache and its TFDS below `folder`."""
    environ = {"LINCLS_CACHE": str(folder / "cache"), "TFDS_DATA_DIR": str(folder / "tfds")}
    folder.mkdir(parents=True, exist_ok=True)
    process = _forks()
    job = (textwrap.dedent(code), environ, str(folder))
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    signal = int(process.stdout.readline())
    return Ended(signal, *((folder / name).read_text() for name in ("stdout", "stderr")))
