"""Image classification with nearest neighbours and linear models, in JAX.

    from lincls import data, knn, linear, quick

Importing it touches no device and no network, and sets no flag of JAX.
"""

from lincls import (
    batches,
    checkpoint,
    crossval,
    data,
    distances,
    evaluation,
    gradcheck,
    knn,
    linear,
    losses,
    objective,
    optimizers,
    penalties,
    preprocessing,
    quick,
    random_search,
    reference,
    splits,
    streams,
    structs,
    training,
)
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper, LinearParams, Neighbors

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "Examples",
    "Hyper",
    "LinearParams",
    "Neighbors",
    "Objective",
    "batches",
    "checkpoint",
    "crossval",
    "data",
    "distances",
    "evaluation",
    "gradcheck",
    "knn",
    "linear",
    "losses",
    "objective",
    "optimizers",
    "penalties",
    "preprocessing",
    "quick",
    "random_search",
    "reference",
    "splits",
    "streams",
    "structs",
    "training",
]
