"""Homework: training loops, constructors, layouts, and causes that are told only where they fit."""

import numpy as np
import pytest
from homework_shapes import SHAPES

from experiments.check_homework import laws, tables
from experiments.check_homework.finding import find
from experiments.check_homework.judging import FAIL, PASS, disagreements, judge

TRAIN = """
import numpy as np

class LinearClassifier:
    def __init__(self):
        self.W = None

    def train(self, X, y, learning_rate=1e-3, reg=1e-5, num_iters=100, batch_size=200):
        num_train, dim = X.shape
        num_classes = np.max(y) + 1
        if self.W is None:
            self.W = 0.001 * np.random.randn(dim, num_classes)
        losses = []
        for it in range(num_iters):
            rows = np.random.choice(num_train, batch_size)
            loss, grad = self.loss(X[rows], y[rows], reg)
            losses.append(loss)
            self.W -= learning_rate * grad
        return losses

    def loss(self, X, y, reg):
        return 0.0, 0 * self.W
"""
LOSS = """
import numpy as np

def softmax_loss_naive(W, X, y, reg):
    loss, dW = 0.0, np.zeros_like(W)
    num_train = X.shape[0]
    for i in range(num_train):
        s = X[i] @ W
        s = s - s.max()
        p = np.exp(s) / np.exp(s).sum()
        loss += np.log(np.exp(s).sum()) - s[y[i]]
        p[y[i]] -= 1
        dW += np.outer(X[i], p)
    return loss / num_train + reg * np.sum(W * W), dW / num_train + 2 * reg * W
"""


def judged(source, stands="", mistake=""):
    assert source.count(stands) == 1 or not stands, stands
    names = {"__name__": "homework"}
    exec(source.replace(stands, mistake) if stands else source, names)
    found, left = find(names, tables.ROLES)
    return [line for one in found for line in judge(one)], left


def failed(source, stands, mistake):
    return [line.why for line in judged(source, stands, mistake)[0] if line.verdict == FAIL]


def test_the_right_ones_pass():
    for source in (TRAIN, LOSS):
        assert [str(line) for line in judged(source)[0] if line.verdict == FAIL] == []


@pytest.mark.parametrize(
    ("stands", "mistake", "told"),
    [
        ("if self.W is None:", "if True:", "It starts from a W of its own although one is set"),
        ("choice(num_train, batch", "choice(batch_size, batch", "Only the first batch_size"),
        ("np.max(y) + 1", "np.max(y)", "it makes one of shape (4, 2) for 4 features"),
        ("np.max(y) + 1", "10", "it makes one of shape (4, 10) for 4 features"),
    ],
)
def test_mistakes_of_a_training_loop_are_named(stands, mistake, told):
    (why,) = failed(TRAIN, stands, mistake)
    assert told in why


def test_a_training_loop_that_returns_nothing_is_judged_by_its_W():
    (line,) = judged(TRAIN, "return losses\n", "return None\n")[0]
    assert line.verdict == PASS
    assert "the W alone: no losses returned" in line.why
    (why,) = failed(TRAIN.replace("return losses\n", ""), "-= learning_rate", "+= learning_rate")
    assert "uphill" in why


def test_a_class_that_cannot_be_made_is_not_checked():
    found, left = judged(TRAIN, "def __init__(self):", "def __init__(self, dim, num_classes):")
    assert found == []
    assert left[0].why == "its constructor needs dim, num_classes: give them defaults"


@pytest.mark.parametrize(
    ("stands", "mistake", "told"),
    [
        ("s - s.max()", "s - s.min()", "Each row's least score is subtracted, so exp overflows"),
        ("range(num_train)", "range(num_train - 1)", "The last example is left out"),
        ("loss += np", "loss = np", "Only the last example counts in the loss"),
        ("dW += np", "dW = np", "Only the last example counts in the gradient"),
        ("np.outer(X[i], p)", "p", "The gradient lacks its factor X"),
    ],
)
def test_mistakes_of_loops_over_examples_are_named(stands, mistake, told):
    (why,) = failed(LOSS, stands, mistake)
    assert told in why


@pytest.mark.parametrize(
    ("times", "told"), [(2.0, "a mean stays. Divide the sum by N, once."), (1.7, "a mean stays.")]
)
def test_the_number_of_examples_is_blamed_only_where_the_loss_doubles(times, told):
    def call(arguments):
        loss = times if len(arguments["X"]) > 2 else 1.0
        return {"loss": np.array(loss + 10 * arguments["reg"])}

    case = {"X": np.ones((2, 3)), "y": np.array([0, 1]), "reg": 0.5}
    assert laws.doubled(call, case).endswith(told)


def test_versions_of_a_distance_must_have_one_layout():
    source = SHAPES["loops and classes"]
    stands = "return dists"
    place = source.rindex(stands, 0, source.index("def predict_labels"))
    turned = source[:place] + "return dists.T" + source[place + len(stands) :]
    found, _ = judged(turned.replace("from past.builtins", "#"))
    (line,) = disagreements(found, tables.ROLES)
    assert "Versions of one function differ" in line.why
    assert "a row for each training image" in line.why
