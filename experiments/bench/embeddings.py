"""Features to compare probes on: made from images without learning, or drawn.

    python -m experiments.bench.embeddings hog mnist.npz --dataset mnist --data-dir FOLDER

hog: histograms of oriented gradients (Dalal and Triggs, CVPR 2005), cells of 4 pixels, 9 angles,
blocks of 2 x 2 cells of norm 1.  conv: random filters of 6 x 6 patches, the positive part, the
mean over quarters (Coates, Ng and Lee, AISTATS 2011).  tail: 100 normal clusters, the largest 100
times as frequent as the smallest, rows of norm 1.  few: 300 rows of 2,048 features, 5 clusters.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab import gate, options
from experiments.lab.options import flag
from lincls import files

_BLOCK = 500  # images at a time
_ANGLES, _CELL, _FILTER = 9, 4, 6
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """The flags of the features."""

    max_train: int = flag(0, "training images, the first ones; 0: all", low=0)
    filters: int = flag(256, "random filters of conv", low=1)


def hog(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) as rows (N, D): at each pixel the channel of the greatest gradient counts."""
    gray = images.astype(np.float32)
    across, down = (np.gradient(gray, axis=axis) for axis in (2, 1))
    channel = np.hypot(across, down).argmax(axis=-1)[..., None]
    across, down = (np.take_along_axis(g, channel, -1)[..., 0] for g in (across, down))
    place = np.mod(np.arctan2(down, across), np.pi) / np.pi * _ANGLES
    low, share = np.floor(place).astype(int), place - np.floor(place)
    size = np.hypot(across, down)
    angles = np.arange(_ANGLES)
    votes = size[..., None] * (
        (1 - share)[..., None] * (low[..., None] % _ANGLES == angles)
        + share[..., None] * ((low[..., None] + 1) % _ANGLES == angles)
    )
    rows, columns = (side // _CELL for side in images.shape[1:3])
    votes = votes[:, : rows * _CELL, : columns * _CELL]
    cells = votes.reshape(len(images), rows, _CELL, columns, _CELL, _ANGLES).sum(axis=(2, 4))
    blocks = np.concatenate(
        [cells[:, i : rows - 1 + i, j : columns - 1 + j] for i in (0, 1) for j in (0, 1)], axis=-1
    )
    norms = np.sqrt(np.square(blocks).sum(axis=-1, keepdims=True) + 1e-2)
    return (blocks / norms).reshape(len(images), -1).astype(np.float32)


def filters(images: np.ndarray, num_filters: int, seed: int) -> np.ndarray:
    """Random patches (6, 6, C, F) of the images, of mean 0 and norm 1."""
    rng, (height, width) = np.random.default_rng(seed), images.shape[1:3]
    number = rng.integers(len(images), size=num_filters)
    top, left = (rng.integers(side - _FILTER + 1, size=num_filters) for side in (height, width))
    places = zip(number, top, left, strict=True)
    patches = np.stack([images[n, t : t + _FILTER, s : s + _FILTER] for n, t, s in places])
    patches = patches.astype(np.float32)
    patches -= patches.mean(axis=(1, 2, 3), keepdims=True)
    norms = np.sqrt(np.square(patches).sum(axis=(1, 2, 3), keepdims=True) + 1)
    return np.moveaxis(patches / norms, 0, -1)


@jax.jit
def convolved(images: jax.Array, patches: jax.Array) -> jax.Array:
    """The positive part of the filters' answers above their mean, as means of quarters."""
    found = jax.lax.conv_general_dilated(
        images / 255, patches, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = jnp.maximum(found - found.mean(axis=-1, keepdims=True), 0)
    quarters = [part for half in jnp.array_split(found, 2, axis=1)
                for part in jnp.array_split(half, 2, axis=2)]  # fmt: skip
    return jnp.concatenate([part.mean(axis=(1, 2)) for part in quarters], axis=-1)


def of_images(kind: str, data: gate.Data, settings: Settings, seed: int) -> Arrays:
    """Features of both parts of a data set of images."""
    train = data.train.images[: settings.max_train or None]
    test = data.open_test("features that are made of every image alike")
    patches = jnp.asarray(filters(train, settings.filters, seed)) if kind == "conv" else None

    def rows(images: np.ndarray) -> np.ndarray:
        blocks = (images[i : i + _BLOCK] for i in range(0, len(images), _BLOCK))
        if patches is None:
            return np.concatenate([hog(each) for each in blocks])
        floats = (jnp.asarray(each, jnp.float32) for each in blocks)
        return np.concatenate([np.asarray(convolved(each, patches)) for each in floats])

    return {"X_train": rows(train), "y_train": data.train.labels[: len(train)],
            "X_test": rows(test.images), "y_test": test.labels}  # fmt: skip


def drawn(kind: str, seed: int) -> Arrays:
    """Normal clusters: a long tail of classes, or few rows of many features."""
    num_classes, size, noise, counts = {
        "tail": (100, 768, 1.0, (40_000, 10_000)), "few": (5, 2048, 3.0, (300, 2000)),
    }[kind]  # fmt: skip
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(num_classes, size)).astype(np.float32) * size**-0.25
    frequency = np.geomspace(1, 0.01, num_classes) if kind == "tail" else np.ones(num_classes)
    parts: Arrays = {}
    for part, count in zip(("train", "test"), counts, strict=True):
        y = rng.choice(num_classes, count, p=frequency / frequency.sum())
        X = means[y] + noise * rng.normal(size=(count, size)).astype(np.float32)
        parts |= {f"X_{part}": X / np.linalg.norm(X, axis=1, keepdims=True), f"y_{part}": y}
    return parts


def main(argv: Sequence[str] | None = None) -> int:
    """Make the features and write the file; the exit status."""
    groups = {"embeddings": Settings}
    parser = options.build(
        "python -m experiments.bench.embeddings", __doc__ or "", groups, lambda: "embeddings",
        options.Source,
    )  # fmt: skip
    parser.add_argument("kind", choices=("hog", "conv", "tail", "few"))
    parser.add_argument("file", type=Path)
    typed = sys.argv[1:] if argv is None else list(argv)
    common, chosen = options.parse(parser, groups, typed, options.Source)
    given = parser.parse_args(typed)
    with parser.refusing():
        if given.kind in ("hog", "conv"):
            data = gate.Data(gate.of(common))
            arrays = of_images(given.kind, data, chosen["embeddings"], common.seed)
        else:
            arrays = drawn(given.kind, common.seed)
        files.write(given.file, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    rows, features = arrays["X_train"].shape
    print(f"{given.file}: {rows:,} x {features:,} and {len(arrays['y_test']):,} test rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
