"""The data that `bench_knn` searches beside the images as they are."""

import itertools

import numpy as np

SHIFTS = sorted(
    itertools.product(range(-4, 5), range(-4, 5)), key=lambda shift: abs(shift[0]) + abs(shift[1])
)
NUM_CLUSTERS = 1000
SPREAD = 0.7  # of a cluster, over the length of its centre
_PART = 2**14  # rows drawn at a time


def more_images(images: np.ndarray, count: int) -> np.ndarray:
    """At least min(count, 162 N) images that look like images: (N, H, W, C), the given ones first.

    After them come the same mirrored, then shifted by one pixel, that mirrored, and so on; what
    a shift uncovers repeats the border.
    """
    variants = itertools.product(SHIFTS, (False, True))
    enough = itertools.islice(variants, -(-count // len(images)))
    return np.concatenate([variant(images, *how) for how in enough])[:count]


def variant(images: np.ndarray, shift: tuple[int, int], mirrored: bool) -> np.ndarray:
    """The images shifted by (rows, columns) of pixels, perhaps mirrored."""
    if mirrored:
        images = images[:, :, ::-1]
    for axis, by in enumerate(shift, start=1):
        if by:
            size = images.shape[axis]
            images = images.take(np.clip(np.arange(size) - by, 0, size - 1), axis)
    return images


def as_images(images: np.ndarray) -> np.ndarray:
    """Rows (N, D) as images of one line, (N, 1, D, 1); images as they are."""
    return images if images.ndim == 4 else images.reshape(len(images), 1, -1, 1)


def unit_vectors(
    rng: np.random.Generator, count: int, num_features: int, centres: np.ndarray | None = None,
    members: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Rows of length 1, float32 (count, D): Gaussian around a centre each, or around zero.

    `members` (count,) says around which centre; by default they are drawn.
    """
    X = np.empty((count, num_features), np.float32)
    for start in range(0, count, _PART):
        part = X[start : start + _PART]
        rng.standard_normal(out=part, dtype=np.float32)
        if centres is not None:
            part *= SPREAD
            if members is None:
                part += centres[rng.integers(0, len(centres), len(part))]
            else:
                part += centres[members[start : start + _PART]]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return X


def generated(seed: int, kind: str, counts: tuple[int, int], D: int) -> list[np.ndarray]:
    """Training rows and queries of one kind, "clustered" or "isotropic"."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((NUM_CLUSTERS, D), np.float32) if kind == "clustered" else None
    return [unit_vectors(rng, count, D, centres) for count in counts]


def clouds(seed: int, counts: tuple[int, int], D: int) -> list[np.ndarray]:
    """Rows and queries, float32, of ten Gaussian clouds around centres of the same spread."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((10, D), np.float32)
    return [
        centres[rng.integers(0, 10, count)] + rng.standard_normal((count, D), np.float32)
        for count in counts
    ]
