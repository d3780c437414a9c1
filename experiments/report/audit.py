"""An audit of a data set, told and drawn: a table, and a picture of a few findings."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from experiments.probe.audit import CONTRADICTED, EXACT, NEAR, TEST, TRAIN, Audit, Finding
from experiments.report import style, words

SETS = {TEST: "test and training set", TRAIN: "training set"}
NAMES = {TEST: "test", TRAIN: "training"}
PAIRS, LABELS, NEIGHBORS = 6, 4, 5  # pairs, contradicted labels and their neighbours in a picture
SIDE = 40  # pixels of a side: what is larger is averaged, so that the file stays small
DPI = 110


def table(counts: Sequence[dict[str, Any]]) -> list[str]:
    """The number of findings in Markdown."""
    lines = ["| finding | in | number | labels differ |", "| --- | --- | ---: | ---: |"]
    for one in counts:
        number = f"{one['found']:,}" if one["complete"] else f"at least {one['found']:,}"
        differ = "" if one["labels_differ"] is None else f"{one['labels_differ']:,}"
        where = (
            "test set" if (one["kind"], one["set"]) == (CONTRADICTED, TEST) else SETS[one["set"]]
        )
        lines.append(f"| {one['kind']}s | {where} | {number} | {differ} |")
    return lines


def sentences(body: dict[str, Any]) -> list[str]:
    """What audit.json says, in words."""
    data, settings, values = body["data"], body["settings"], body["shapley"]
    told = [
        f"{data['source']}: {data['num_train']:,} training and {data['num_test']:,} test examples, "
        f"normalise {settings['normalise']}.",
        _near(body["near"], settings["near"]),
        f"Contradicted: none of the {settings['k']} nearest training examples has the label.",
        f"The test set was opened {_times(body['test_set']['times_used'])}; nothing was chosen.",
    ]
    if values is None:
        return told
    least = values["least"][0]
    return [
        *told,
        f"Shapley values over {values['num_tests']:,} of {data['num_test']:,} test examples: their "
        f"sum is {values['sum']:.4f}, the mean share of right votes.",
        f"{values['below_zero']:,} of {data['num_train']:,} values are below 0. The least is "
        f"{least['value']:.2g}, of training row {least['row']}.",
    ]


def _near(length: float, share: float) -> str:
    if not length:
        return "No nearest distance is above 0, so no distance counts as near."
    told = f"Near: a Euclidean distance of at most {length:.3g}"
    return f"{told}, which is {share:g} of the median nearest distance."


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


# --- the picture -------------------------------------------------------------------------------


def picture(
    found: Audit, images: dict[str, np.ndarray], names: Sequence[str], levels: tuple[float, float]
) -> bytes | None:
    """A PNG of some pairs and some contradicted labels, None where there is neither.

    Args:
        found: the audit.
        images: by set: (rows, H, W, 1 or 3).
        names: of the classes.
        levels: the least and the greatest value that is drawn.
    """
    pairs = [one for one in found.findings if one.kind in (EXACT, NEAR)][:PAIRS]
    doubtful = [one for one in found.findings if one.kind == CONTRADICTED]
    doubtful = sorted(doubtful, key=lambda one: one.set == TEST)[:LABELS]
    panels = [kind for kind in (pairs, doubtful) if kind]
    if not panels:
        return None
    short = words.labels(names, 12)
    with mpl.rc_context(style.PARAMETERS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a box is drawn
        tall = _heights(panels, pairs, images[TRAIN].shape)
        figure, axes = style.canvas(
            len(panels), height=sum(tall), squeeze=False, height_ratios=tall
        )  # fmt: skip
        for panel, kind in zip(axes[:, 0], panels, strict=True):
            if kind is pairs:
                _draw_pairs(panel, pairs, images, short, levels)
            else:
                _draw_labels(panel, doubtful, found, images, short, levels)
        style.as_typed(figure)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI, bbox_inches="tight",
                       metadata={"Software": None})  # fmt: skip
    return content.getvalue()


def _heights(panels: Sequence[Any], pairs: Any, shape: tuple[int, ...]) -> list[float]:
    """Inches of each panel, from the form of an image."""
    row = 0.1 + 0.9 * min(2.0, shape[1] / shape[2])
    return [0.95 + 2 * row if kind is pairs else 0.6 + len(kind) * row for kind in panels]


def _draw_pairs(
    axes: style.Panel, pairs: Sequence[Finding], images: dict[str, np.ndarray],
    names: Sequence[str], levels: tuple[float, float],
) -> None:  # fmt: skip
    """Each pair, one image above the other, with both labels where they differ."""
    rows = (
        [images[one.set][one.row] for one in pairs],
        [images[one.other_set][one.other_row] for one in pairs],
    )
    columns = [
        "\n".join([f"rows {one.row}, {one.other_row}",
                   *dict.fromkeys([names[one.label], names[one.other_label]])]) for one in pairs
    ]  # fmt: skip
    sets = dict.fromkeys(NAMES[one.set] for one in pairs)
    both = [" or ".join(sets), "its duplicate\nin training"]
    style.tiles(axes, style.pixels(shrunk(np.array(rows)), levels), both, columns)
    axes.tick_params(labelsize=8)
    axes.set_title("Nearest pairs, with their labels", loc="left", size=11, weight="bold")


def _draw_labels(
    axes: style.Panel, doubtful: Sequence[Finding], found: Audit, images: dict[str, np.ndarray],
    names: Sequence[str], levels: tuple[float, float],
) -> None:  # fmt: skip
    """Each example with a contradicted label beside its nearest training examples."""
    count = min(NEIGHBORS, min(found.neighbors[one.set].shape[1] for one in doubtful))
    pictures = []
    for one in doubtful:
        near = found.neighbors[one.set][one.row, :count]
        there = np.minimum(near, len(images[TRAIN]) - 1)
        pictures.append([images[one.set][one.row], *images[TRAIN][there]])
    rows = [
        f"{NAMES[one.set]} row {one.row}: {names[one.label]}\nneighbours: {names[one.other_label]}"
        for one in doubtful
    ]
    columns = ["example", *(str(rank + 1) for rank in range(count))]
    style.tiles(axes, style.pixels(shrunk(np.array(pictures)), levels), rows, columns)
    axes.tick_params(labelsize=8)
    axes.set_title("Contradicted labels, the surest first", loc="left", size=11, weight="bold")


def shrunk(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Images (.., H, W, C) of at most so many pixels a side, each the mean of a square."""
    *lead, height, width, channels = images.shape
    step = -(-max(height, width) // side)
    if step == 1:
        return images
    step = min(step, height, width)
    high, wide = height // step, width // step
    cut = images[..., : high * step, : wide * step, :]
    squares = cut.reshape(*lead, high, step, wide, step, channels)
    return squares.mean(axis=(-4, -2))
