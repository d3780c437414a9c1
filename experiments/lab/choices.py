"""What a command line can name: metrics and losses, and how people write them."""

from lincls import distances, losses

METRICS = {"l1": distances.l1, "l2": distances.l2, "cosine": distances.cosine}
LOSSES = {"svm": losses.hinge, "softmax": losses.softmax, "squared hinge": losses.squared_hinge}
NAMES = {
    "l1": "L1", "l2": "L2", "cosine": "cosine",
    "svm": "SVM", "softmax": "softmax", "squared hinge": "squared hinge",
}  # fmt: skip
