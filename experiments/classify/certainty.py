"""How sure a classifier is of its answers: a probability, a share of votes, or a margin."""

from typing import NamedTuple

import numpy as np

from experiments.report import words
from lincls import models
from lincls.structs import AnyArray


class Column(NamedTuple):
    """A column of a table."""

    title: str
    cells: list[str]


def column(saved: models.Saved, images: AnyArray) -> Column:
    """How sure a model is of each image (M,).

    Only the softmax loss gives probabilities.  Of an SVM, and where the loss is not known, it is
    the margin: how far the greatest score lies above the second.
    """
    if saved.k:
        shares = models.scores(saved, images).max(axis=1)
        return Column("votes", [_share(share, 0) for share in shares])
    if saved.loss == "softmax":
        shares = models.probabilities(saved, images).max(axis=1)
        return Column("probability", [_share(share, 1) for share in shares])
    scores = np.sort(models.scores(saved, images), axis=1)
    margins = scores[:, -1] - scores[:, -2] if scores.shape[1] > 1 else scores[:, -1]
    return Column("margin", [f"{margin:.2f}" for margin in margins])


def _share(share: float, digits: int) -> str:
    """A share 0..1 in percent; one below 1 is never rounded up to all."""
    text = words.percent(share, digits)
    highest = 100 - 10.0**-digits
    return f"> {highest:.{digits}f} %" if share < 1 and text == words.percent(1, digits) else text
