"""Small files in the official formats, with random content, written by code of our own."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np

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
        "stack_global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x08echo ran\x85R.",
        "numpy.load": b"\x80\x02cnumpy\nload\nT\x01\x00\x00\x00x\x85R.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"\x80\x02Px\n.",
    }
