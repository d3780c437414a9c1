"""What the experiments about distances do with images: changes, backgrounds, a map.

A change (slides 4-8) keeps the class of an image and moves its pixels.  Strengths are parts of
the image, so that 8 x 8 digits and 32 x 32 photographs are changed alike.
"""

import numpy as np
from scipy import linalg, ndimage
from scipy.optimize import linear_sum_assignment
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lincls import distances, knn

CHANGES = ("viewpoint", "illumination", "deformation", "occlusion", "clutter")
SMALLEST = 4  # pixels of a side, below which there is nothing to turn or to cover


def all_distances(X: np.ndarray, metric: distances.Metric) -> np.ndarray:
    """Distances (N, N) between all rows, by the library's search; L2 with its root."""
    found = knn.neighbors(knn.fit(X, metric=metric), X, len(X))
    apart = np.empty((len(X), len(X)))
    np.put_along_axis(apart, found.indices, found.distances.astype(np.float64), axis=1)
    return np.sqrt(apart) if metric is distances.l2 else apart


def changed(images: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    """Copies of uint8 images (N, H, W, C) by the name of the change.

    Args:
        images: what is changed.
        others: as many other images, the clutter: their margins in colour; in grey, where the
            ground is empty, they are faint behind the whole image.
    """
    height, width = images.shape[1:3]
    low, high = int(images.min()), int(images.max())
    middle = np.array([[[height - 1]], [[width - 1]]]) / 2
    y, x = np.indices((height, width)) - middle
    dark = low + 0.6 * (images.astype(np.float64) - low)
    covered = images.copy()
    covered[:, height // 2 :, width // 2 :] = (low + high) // 2
    return {
        "viewpoint": _resampled(images, _seen_from_the_side(y, x) + middle),
        "illumination": np.rint(dark).astype(images.dtype),
        "deformation": _resampled(images, _waves(y, x, height, width) + middle),
        "occlusion": covered,
        "clutter": _cluttered(images, others, (y / height) ** 2 + (x / width) ** 2 < 0.4**2),
    }


def _cluttered(images: np.ndarray, others: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Images before others: in their margin if in colour, else behind all of it at half height."""
    if images.shape[-1] == 1:
        return np.maximum(images, others // 2)
    return np.where(centre[..., None], images, others)


def _seen_from_the_side(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Where pixels come from when a plane is turned by 15 degrees and narrowed to 3/4."""
    angle = np.deg2rad(15)
    across = (x * np.cos(angle) + y * np.sin(angle)) / 0.75
    return np.stack([y * np.cos(angle) - x * np.sin(angle), across])


def _waves(y: np.ndarray, x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where pixels come from when rows and columns are bent by a twelfth of the image."""
    down = y + height / 12 * np.sin(2 * np.pi * x / width)
    return np.stack([down, x + width / 12 * np.sin(2 * np.pi * y / height)])


def _resampled(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Images with the values found at places (2, H, W), bilinear, the margin continued."""
    planes = np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3]).astype(np.float32)
    moved = np.stack([
        ndimage.map_coordinates(plane, places, order=1, mode="nearest") for plane in planes
    ])  # fmt: skip
    moved = moved.reshape(len(images), images.shape[-1], *images.shape[1:3])
    return np.moveaxis(np.rint(moved).astype(images.dtype), 1, -1)


def background(images: np.ndarray) -> np.ndarray:
    """Brightness (N,) of the background: of the margin in colour, of the whole image in grey.

    Grey digits stand on black: their margin says nothing, how much ink they have does.
    """
    bright = images.mean(axis=-1)
    if images.shape[-1] == 1:
        return bright.mean(axis=(1, 2))
    rim = max(1, images.shape[1] // 8)
    margin = np.ones(images.shape[1:3], bool)
    margin[rim:-rim, rim:-rim] = False
    return bright[:, margin].mean(axis=1)


def equal_groups(values: np.ndarray, num_groups: int) -> np.ndarray:
    """Groups 0..num_groups-1 (N,) of as many examples each, the least values first."""
    ranks = np.argsort(np.argsort(values, kind="stable"))
    return ranks * num_groups // len(values)


def map_by_distance(apart: np.ndarray, seed: int) -> np.ndarray:
    """Places (N, 2) in the plane whose near ones are near in `apart` (N, N): t-SNE.

    It starts at the classical scaling of the distances (Torgerson, 1952), so that far places
    mean something too, and runs on one thread: N is small, and threads wait for each other.

    Source: van der Maaten and Hinton, JMLR 2008; scikit-learn.
    """
    start = _scaled(apart)
    start *= 1e-4 / start[:, 1].std()
    perplexity = min(30, (len(apart) - 1) / 3)
    with threadpool_limits(1):
        return TSNE(
            metric="precomputed", init=start, random_state=seed, max_iter=500,
            perplexity=perplexity,
        ).fit_transform(apart)  # fmt: skip


def _scaled(apart: np.ndarray) -> np.ndarray:
    """Coordinates (N, 2) along the two greatest directions of the doubly centred squares."""
    squares = apart**2
    products = squares.mean(axis=0) + squares.mean(axis=1)[:, None] - squares - squares.mean()
    size = len(apart)
    powers, directions = linalg.eigh(products / 2, subset_by_index=[size - 2, size - 1])
    return directions * np.sqrt(np.maximum(powers, 1e-12))


def on_grid(places: np.ndarray) -> np.ndarray:
    """Which example (side, side) stands on each cell of a grid, N = side**2 of them.

    All cells are filled and the sum of squares that examples move is the least.
    """
    side = round(np.sqrt(len(places)))
    low, high = places.min(axis=0), places.max(axis=0)
    wanted = (places - low) / (high - low) * (side - 1)
    down, across = np.divmod(np.arange(side * side), side)
    cells = np.stack([across, down], axis=1)
    costs = np.sum((cells[:, None] - wanted) ** 2, axis=-1)
    return linear_sum_assignment(costs)[1].reshape(side, side)


def same_near(places: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
    """Share (N,) of each example's k nearest others in the plane that are of its group."""
    found = knn.neighbors(knn.fit(places.astype(np.float32)), None, k)
    return np.mean(groups[found.indices] == groups[:, None], axis=1)
