"""The figure of kNN that one can touch: points in the plane, their regions, the votes at a place.

What it starts from, and every number it shows before it is touched, are lincls' own.  Without
scripts it is a picture with a table; `nearest.js` makes it move.  Coordinates are multiples of
`UNIT`, so that distances are exact in any arithmetic and a tie is a tie.
"""

import base64
import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from experiments.report import style
from lincls import knn
from lincls.structs import Neighbors

SIDE, CELLS, UNIT = 2, 256, 1 / 128  # the plane is [-SIDE, SIDE]; its regions have CELLS x CELLS
K, CLASSES, MOST_K, EACH = 5, 3, 15, 9  # to start with; the greatest k; points of a class
QUERY = (0.28125, -0.15625)
NAMES = ("circles", "squares", "triangles", "diamonds", "wedges")
MARKS = "●■▲◆▼"
SHAPES = (
    "M-.05 0a.05.05 0 1 0 .1 0a.05.05 0 1 0 -.1 0", "M-.045-.045h.09v.09h-.09z",
    "M-.055-.045h.11l-.055.1z", "M0-.065l.055.065-.055.065-.055-.065z", "M-.055.045h.11l-.055-.1z",
)  # fmt: skip
COLORS = style.CYCLE[: len(NAMES)]
SHADE = 0.3  # of a class's colour in its region; ties are white


@lru_cache
def start() -> dict[str, Any]:
    """JSON-able: points, labels, the settings, and what lincls finds at the first place."""
    points, labels = _drawn()
    shown = labels < CLASSES
    found = nearest(points[shown], labels[shown], np.array([QUERY]), K)
    return {
        "side": SIDE, "cells": CELLS, "unit": UNIT, "k": K, "classes": CLASSES, "metric": "l2",
        "query": list(QUERY), "points": points.tolist(), "labels": labels.tolist(),
        "shapes": SHAPES, "colors": COLORS, "tints": tints().tolist(), "names": NAMES,
        "neighbours": found.indices[0].tolist(), "distances": np.sqrt(found.distances[0]).tolist(),
        "votes": votes(labels[shown], found)[0].tolist(),
    }  # fmt: skip


def _drawn() -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) about the corners of a polygon, labels (N,); classes in turn."""
    rng, labels = np.random.default_rng(5), np.tile(np.arange(len(NAMES)), EACH)
    angles = 2 * np.pi * (labels / len(NAMES) + 0.05)
    centres = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    points = centres + rng.normal(scale=0.5, size=(len(labels), 2))
    return np.clip(np.round(points / UNIT) * UNIT, -SIDE + 0.125, SIDE - 0.125), labels


def nearest(points: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int) -> Neighbors:
    """The k nearest points of each query, by lincls."""
    model = knn.fit(points.astype(np.float32), labels)
    return knn.neighbors(model, queries.astype(np.float32), k)


def votes(labels: np.ndarray, found: Neighbors) -> np.ndarray:
    """Votes of each class (M, C)."""
    return np.asarray(knn.votes(labels[np.asarray(found.indices)], len(NAMES)))


def places() -> np.ndarray:
    """The middles of the cells (CELLS^2, 2), line by line from the top."""
    ticks = -SIDE + (np.arange(CELLS) + 0.5) * (2 * SIDE / CELLS)
    return np.stack(np.meshgrid(ticks, -ticks), axis=-1).reshape(-1, 2)


def regions(labels: np.ndarray, found: Neighbors) -> np.ndarray:
    """What each cell is shown as (CELLS, CELLS): a label, or the number of classes for a tie."""
    voters = labels[np.asarray(found.indices)]
    ks = [voters.shape[1]]
    said = np.array(knn.predictions_by_k(voters, ks, len(NAMES))[0])
    said[knn.ties_by_k(voters, ks, len(NAMES))[0]] = len(NAMES)
    return said.reshape(CELLS, CELLS)


def tints() -> np.ndarray:
    """The colours of the regions, and white for ties: (C + 1, 3) uint8."""
    pure = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in COLORS])
    return np.vstack([np.round(255 + SHADE * (pure - 255)), [[255] * 3]]).astype(np.uint8)


def picture() -> dict[str, Any]:
    """What the template draws."""
    shown = start()
    here = [i for i, label in enumerate(shown["labels"]) if label < CLASSES]
    drawn = [{"at": shown["points"][i], "label": shown["labels"][i]} for i in here]
    near = [drawn[i] for i in shown["neighbours"]]
    return {"start": shown, "drawn": drawn, "near": near, "regions": _image(), "marks": MARKS,
            "reach": shown["distances"][-1], "most_k": MOST_K,
            "counts": [shown["labels"].count(label) for label in range(len(NAMES))]}  # fmt: skip


@lru_cache
def _image() -> str:
    """The regions to start with, as the address of a PNG."""
    points, labels = _drawn()
    shown = labels < CLASSES
    found = nearest(points[shown], labels[shown], places(), K)
    image = Image.fromarray(regions(labels[shown], found).astype(np.uint8), "P")
    image.putpalette(tints().tobytes())
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
