"""Metrics of predictions, and their uncertainty.

    found = evaluation.macro_f1(predictions, labels, num_classes=10)
    found.value, evaluation.interval(found)

Functions of scores or predictions and labels, on the host, in numpy.  The bootstrap is in JAX.
"""

from lincls.evaluation.estimates import Estimate, macro_f1, mean, mean_per_class
from lincls.evaluation.intervals import Interval, bootstrap, interval, wilson_interval
from lincls.evaluation.metrics import (
    Reliability,
    accuracy,
    brier,
    confusion,
    in_top_k,
    log_loss,
    per_class_accuracy,
    reliability,
    top_k_accuracy,
)
from lincls.evaluation.multilabel import (
    multilabel_average_precision,
    multilabel_macro_f1,
    multilabel_micro_f1,
    per_class_average_precision,
)
from lincls.evaluation.paired import Difference, mcnemar, paired_difference
from lincls.evaluation.ranking import auroc, average_precision

__all__ = [
    "Difference",
    "Estimate",
    "Interval",
    "Reliability",
    "accuracy",
    "auroc",
    "average_precision",
    "bootstrap",
    "brier",
    "confusion",
    "in_top_k",
    "interval",
    "log_loss",
    "macro_f1",
    "mcnemar",
    "mean",
    "mean_per_class",
    "multilabel_average_precision",
    "multilabel_macro_f1",
    "multilabel_micro_f1",
    "paired_difference",
    "per_class_accuracy",
    "per_class_average_precision",
    "reliability",
    "top_k_accuracy",
    "wilson_interval",
]
