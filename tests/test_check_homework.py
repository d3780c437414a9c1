"""The homework checker passes right functions, and fails each planted mistake for its reason."""

import re

import numpy as np
import pytest

from experiments.check_homework import __main__ as check_homework
from experiments.check_homework import contracts

RIGHT = """
import numpy as np

def l1_distances(queries, X):
    return np.abs(queries[:, None].astype(float) - X.astype(float)).sum(axis=-1)

def l2_distances(queries, X):
    return np.square(queries[:, None].astype(float) - X.astype(float)).sum(axis=-1)

def nearest_neighbor(X, y, queries):
    return y[l1_distances(queries, X).argmin(axis=1)]

def knn(X, y, queries, k):
    order = np.argsort(l2_distances(queries, X), axis=1, kind="stable")[:, :k]
    return np.array([np.bincount(labels).argmax() for labels in y[order]])

def accuracy(predictions, labels):
    return np.mean(predictions == labels)

def confusion(predictions, labels, num_classes):
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, predictions), 1)
    return counts

def folds(num_examples, num_folds):
    parts = np.array_split(np.arange(num_examples), num_folds)
    return np.concatenate([np.full(len(part), f) for f, part in enumerate(parts)])

def scores(params, X):
    W, b = params
    return X @ W.T + b

def margins(scores, labels, margin):
    rows = np.arange(len(labels))
    found = np.maximum(scores - scores[rows, labels][:, None] + margin, 0)
    found[rows, labels] = 0
    return found

def hinge(scores, labels, margin=1.0):
    return margins(scores, labels, margin).sum(axis=1)

def squared_hinge(scores, labels, margin=1.0):
    return (margins(scores, labels, margin) ** 2).sum(axis=1)

def crammer_singer_hinge(scores, labels, margin=1.0):
    return margins(scores, labels, margin).max(axis=1)

def log_shares(scores):
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

def softmax(scores, labels):
    return -log_shares(scores)[np.arange(len(labels)), labels]

def hinge_gradient(scores, labels):
    rows, found = np.arange(len(labels)), (margins(scores, labels, 1.0) > 0) * 1.0
    found[rows, labels] = -found.sum(axis=1)
    return found

def squared_hinge_gradient(scores, labels):
    rows, found = np.arange(len(labels)), 2 * margins(scores, labels, 1.0)
    found[rows, labels] = -found.sum(axis=1)
    return found

def softmax_gradient(scores, labels):
    shares = np.exp(log_shares(scores))
    shares[np.arange(len(labels)), labels] -= 1
    return shares

def l1(W):
    return np.abs(W).sum()

def l2(W):
    return (W * W).sum()

def elastic_net(W, beta=1.0):
    return (beta * W * W).sum() + np.abs(W).sum()

def l1_gradient(W):
    return np.sign(W)

def l2_gradient(W):
    return 2 * W

def max_norm(W, radius):
    norm = np.sqrt((W * W).sum(axis=1, keepdims=True))
    return W * np.minimum(1, radius / np.maximum(norm, 1e-12))

def numerical_gradient(fn, x, h=1e-5):
    slopes = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = h
        slopes[place] = (fn(x + step) - fn(x - step)) / (2 * h)
    return slopes
"""
FAULTS = [  # function, what stands there, the mistake, the check that must fail
    ("l1_distances", "np.abs(queries[:, None].astype(float) - X.astype(float))",
     "np.abs(queries[:, None] - X)", "slide 14 (uint8)"),
    ("l2_distances", "np.square(queries[:, None].astype(float) - X.astype(float)).sum(axis=-1)",
     "np.sqrt(np.square(queries[:, None].astype(float) - X).sum(axis=-1))", "points"),
    ("nearest_neighbor", "l1_distances(queries, X)", "np.abs(queries[:, None] - X).sum(axis=-1)",
     "pixels in uint8"),
    ("nearest_neighbor", "l1_distances(queries, X)", "np.abs(X - queries[:, None]).sum(axis=-1)",
     "pixels in uint8"),
    ("nearest_neighbor", "y[l1_distances(queries, X).argmin(axis=1)]",
     "y[len(X) - 1 - l1_distances(queries, X)[:, ::-1].argmin(axis=1)]", "the first counts"),
    ("knn", "np.bincount(labels).argmax()", "labels[0]", "the smaller label wins"),
    ("accuracy", "np.mean(predictions == labels)", "np.sum(predictions == labels)", "all right"),
    ("confusion", "(labels, predictions), 1", "(predictions, labels), 1", "three classes"),
    ("folds", "np.full(len(part), f)", "np.full(num_examples // num_folds, f)", "(4, 4, 3)"),
    ("scores", "X @ W.T + b", "X @ W.T", "slide 28"),
    ("hinge", "margins(scores, labels, margin).sum(axis=1)",
     "margins(scores, labels, margin).sum(axis=1) + margin", "equal scores"),
    ("hinge", "margins(scores, labels, margin).sum(axis=1)",
     "margins(scores, labels, margin).sum(axis=1).mean()", "slide 32"),
    ("hinge", "margins(scores, labels, margin).sum(axis=1)",
     "margins(scores, labels, 1.0).sum(axis=1)", "another margin"),
    ("squared_hinge", "(margins(scores, labels, margin) ** 2)", "margins(scores, labels, margin)",
     "slide 32"),
    ("crammer_singer_hinge", "margin).max(axis=1)", "margin).sum(axis=1)", "equal scores"),
    ("softmax", "-log_shares(scores)[",
     "-np.log(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))[", "scores of 10,000"),
    ("softmax", "-log_shares(scores)[", "-log_shares(scores)[:, :1][", "first and the last label"),
    ("softmax", "-log_shares(scores)[", "scores.__isub__(1); return -log_shares(scores)[",
     "one example alone"),
    ("hinge_gradient", "-found.sum(axis=1)", "-1.0", "five random"),
    ("squared_hinge_gradient", "2 * margins", "margins", "five random"),
    ("softmax_gradient", "shares[np.arange(len(labels)), labels] -= 1",
     "shares /= len(labels); shares[np.arange(len(labels)), labels] -= 1 / len(labels)", "five"),
    ("l1", "np.abs(W).sum()", "W.sum()", "negative weights"),
    ("l2", "(W * W).sum()", "0.5 * (W * W).sum()", "slide 42"),
    ("elastic_net", "beta * W * W", "W * W", "another beta"),
    ("l1_gradient", "np.sign(W)", "np.ones_like(W)", "random weights"),
    ("l2_gradient", "2 * W", "W", "random weights"),
    ("max_norm", "sum(axis=1, keepdims=True))", "sum())", "random weights"),
    ("numerical_gradient", "step[place] = h", "step[place] = -h", "sum of squares"),
    ("numerical_gradient", "slopes[place] = (fn(x + step)", "x += step; slopes[place] = (fn(x)",
     "it changed"),
]  # fmt: skip


def lines(source, *names):
    """The lines of the functions of these names, all by default."""
    functions = {}
    exec(source, functions)
    functions = {name: functions[name] for name in names or functions}
    with np.errstate(all="ignore"):
        return [check.line() for check in contracts.checks(functions)]


def planted(function, stands, mistake):
    """The right file with one mistake in one function."""
    before, start, rest = RIGHT.partition(f"def {function}(")
    body, end, after = rest.partition("\n\n")
    assert body.count(stands) == 1, (function, stands)
    return before + start + body.replace(stands, mistake) + end + after


def test_right_functions_pass():
    found = lines(RIGHT)
    assert {line.function for line in found} == {one.name for one in contracts.CONTRACTS}
    assert [str(line) for line in found if line.verdict == contracts.FAIL] == []


def test_every_checked_function_has_a_planted_mistake():
    assert {fault[0] for fault in FAULTS} == {one.name for one in contracts.CONTRACTS}


@pytest.mark.parametrize(("function", "stands", "mistake", "what"), FAULTS)
def test_a_planted_mistake_is_told_with_its_input(function, stands, mistake, what):
    failed = [str(line) for line in lines(planted(function, stands, mistake), function)
              if line.verdict == contracts.FAIL]  # fmt: skip
    assert any(what in line for line in failed), failed
    assert all(re.search("expected|raised|it changed its argument", line) for line in failed)


def test_jax_functions_are_differentiated_and_numpy_ones_are_not():
    from jax.lax import stop_gradient

    from lincls import losses

    def stopped(scores, labels):
        return losses.softmax(stop_gradient(scores), labels)

    def gradient_line(fn):
        found = contracts.checks({"softmax": fn})
        return next(check for check in found if "JAX" in check.what).line()

    assert gradient_line(losses.softmax).verdict == contracts.PASS
    assert gradient_line(stopped).verdict == contracts.FAIL
    assert "differences give" in gradient_line(stopped).why
    of_numpy = {}
    exec(RIGHT, of_numpy)
    assert gradient_line(of_numpy["softmax"]).verdict == contracts.SKIP


@pytest.mark.slow
def test_what_hangs_dies_or_raises_is_a_failed_line_and_the_rest_is_checked(tmp_path, capsys):
    file = tmp_path / "homework.py"
    file.write_text(
        "import os\n"
        "def accuracy(predictions, labels):\n    os._exit(0)\n"
        "def folds(num_examples, num_folds):\n    print('x' * 1_000_000)\n    return 1 / 0\n"
        "def confusion(predictions, labels, num_classes):\n    while True: print('x' * 10_000)\n"
        "def l2(W):\n    return (W**2).sum()\n"
    )
    status = check_homework.main([str(file), "--seconds", "8"])
    told = capsys.readouterr().out
    assert status == 1
    assert "FAIL  accuracy: three of five: the process ended by itself" in told
    assert "FAIL  confusion: three classes: no answer within 8 s" in told
    assert "raised ZeroDivisionError" in told
    assert "pass  l2: W1 of slide 42" in told
    assert "failed: accuracy, confusion, folds" in told


@pytest.mark.parametrize(
    ("source", "what"),
    [("x = 1\n", "nothing was checked"), ("import nothing_there\n", "ModuleNotFoundError")],
)
def test_nothing_to_check_has_a_status_of_its_own(source, what, tmp_path, capsys):
    file = tmp_path / "homework.py"
    file.write_text(source)
    assert check_homework.main([str(file)]) == 2
    assert what in capsys.readouterr().out


def test_a_missing_file_is_told():
    with pytest.raises(SystemExit) as stopped:
        check_homework.main(["nowhere.py"])
    assert stopped.value.code == 2
