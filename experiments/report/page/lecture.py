"""The lecture slide by slide: which experiment answers what, and which slips it found."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from experiments.report.findings import Answer, Findings, Printed, Table


class Row(NamedTuple):
    """Slides, what is on them, and the name of the experiment that answers them."""

    slides: str
    what: str
    title: str


ROWS = (
    Row("1-2", "the task: one label per image", "images"),
    Row("3", "the semantic gap: integers 0 to 255", "images"),
    Row("4-8", "viewpoint, illumination, deformation, occlusion, clutter", "images"),
    Row("9", "variation within a class", "images"),
    Row("10", "the data-driven approach: train and predict", "nearest_neighbor"),
    Row("11", "the label of the most similar training image", "nearest_neighbor"),
    Row("12", "labels, counts and samples", "images"),
    Row("13", "the ten nearest neighbours of test images", "nearest_neighbor"),
    Row("14", "the L1 distance of the example", "nearest_neighbor"),
    Row("15-16", "reference code, accuracy", "nearest_neighbor"),
    Row("17", "a query's time is linear in N; L1 and L2", "nearest_neighbor"),
    Row("18", "a vote of k, its regions and ties", "knn_plane"),
    Row("19", "accuracy on the training data", "knn_plane"),
    Row("20", "which k, which distance; to choose them on the test set", "choose_k"),
    Row("21", "validation data and folds choose, the test set is used once", "choose_rate"),
    Row("22", "the 5-fold example: k of about 7", "choose_k"),
    Row("23-24", "three altered images, equally far in L2; the summary", "unintuitive"),
    Row("25", "the map of images by L2 distance, the background", "unintuitive"),
    Row("26-27", "dividing by a straight line; nothing to remember", "linear_plane"),
    Row("28", "the scores of a 2 × 2 image", "linear_plane"),
    Row("29-31", "which classes are hard; scores, weights as pictures", "svm_softmax"),
    Row("32-36", "the SVM loss of three examples", "svm_loss"),
    Row("37-38", "questions about the loss; L_i_vectorized", "svm_loss"),
    Row("39-40", "is W unique? 2W", "svm_loss"),
    Row("41", "kinds of regularisation; they improve generalisation", "regularisation"),
    Row("42", "no input has a very large influence by itself", "regularisation"),
    Row("43-45", "the softmax loss, its range, its value at small W", "softmax_loss"),
    Row("46-47", "SVM against softmax, moved scores", "softmax_loss"),
    Row("48", "recap: scores, losses, regularisation, all of it trained", "svm_softmax"),
    Row("49-50", "random search", "random_search"),
    Row("51-57", "numerical and analytic gradients, the check", "gradient_check"),
    Row("58", "gradient descent: step by step downhill", "gradient_descent"),
    Row("59-60", "minibatches, the step size", "gradient_descent"),
)
# Mistakes that are no numbers: slide, printed, correct, reason.
IN_WORDS = (
    (
        "16", "np.abs(self.Xtr - X[i, :])", "on floats or signed integers",
        "on uint8 it wraps around, as the example of slide 14 shows above",
    ),
    ("48, 56", "L_i + R(W); mean + sum of W²", "with λ, on 48 with the mean", "as on 41"),
    (
        "49-50", "bestW, then Wbest; X_test, then Xte_cols", "one name each",
        "it does not run as printed, and is Python 2",
    ),
    (
        "52-55", "h = 0.0001 in the tables, 0.00001 in the code", "either, but say which",
        "losses with five decimals give each entry of dW to 0.1 only",
    ),
)  # fmt: skip


def answers(found: Mapping[str, Findings | str]) -> list[tuple[Row, Answer]]:
    """Every slide with what the experiment says of it.

    Args:
        found: of every experiment, by name, its findings, or why there are none.
    """
    return [(row, _answer(row, found)) for row in ROWS]


def _answer(row: Row, found: Mapping[str, Findings | str]) -> Answer:
    of_title = found.get(row.title, "not run")
    return Answer(of_title, "–") if isinstance(of_title, str) else of_title.answers[row.slides]


def errata(printed: Iterable[Printed]) -> Table:
    """Every mistake on the slides; those that are numbers as they were recomputed."""
    numbers = [
        (one.slide, f"{one.what}: {one.printed}", one.computed, one.why)
        for one in printed
        if not one.right
    ]
    rows = sorted([*numbers, *IN_WORDS], key=lambda row: int(row[0][:2]))
    return Table("Every number was recomputed.", ("slide", "printed", "correct", "reason"), rows)
