"""Image classification with nearest neighbours and linear models, in JAX.

    from lincls import data, knn, linear, quick

Importing it touches no device and no network, and sets no flag of JAX.
"""

from lincls import (
    audit,
    batches,
    certificate,
    checkpoint,
    crossval,
    data,
    distances,
    evaluation,
    forecast,
    gradcheck,
    hyper,
    knn,
    linear,
    losses,
    models,
    multilabel,
    objective,
    optimizers,
    optimum,
    passes,
    penalties,
    placement,
    preprocessing,
    probe,
    quick,
    random_search,
    splits,
    structs,
    training,
)
from lincls.objective import Objective
from lincls.structs import Affine, Examples, Hyper, LinearParams, Neighbors
from lincls.training import Recipe

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "Examples",
    "Hyper",
    "LinearParams",
    "Neighbors",
    "Objective",
    "Recipe",
    "audit",
    "batches",
    "certificate",
    "checkpoint",
    "crossval",
    "data",
    "distances",
    "evaluation",
    "forecast",
    "gradcheck",
    "hyper",
    "knn",
    "linear",
    "losses",
    "models",
    "multilabel",
    "objective",
    "optimizers",
    "optimum",
    "passes",
    "penalties",
    "placement",
    "preprocessing",
    "probe",
    "quick",
    "random_search",
    "splits",
    "structs",
    "training",
]
