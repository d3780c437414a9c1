"""The lecture's experiments: `python -m experiments`, or one alone by its name.

To add one, write `experiments/<question>.py` with the names of `lab.experiment.Experiment`
and put it into the order below.

`readme.png` is `results/digits/classifiers.png` as `python -m experiments` writes it.
"""

ORDER = (
    "images",
    "nearest_neighbor",
    "knn_plane",
    "choose_k",
    "unintuitive",
    "linear_plane",
    "svm_loss",
    "regularisation",
    "softmax_loss",
    "svm_softmax",
    "random_search",
    "gradient_check",
    "gradient_descent",
)
