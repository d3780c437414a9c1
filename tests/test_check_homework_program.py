"""The homework checker as a program: files, notebooks, packages, and code that does not behave."""

import json

import pytest
from homework_shapes import SHAPES

from experiments.check_homework import __main__ as check_homework

L2 = "def l2(W):\n    return (W**2).sum()\n"


@pytest.fixture
def run(tmp_path, capsys):
    """Write a file, check it, and return the status and what was printed."""

    def program(source, *flags, name="homework.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        status = check_homework.main([str(file), *flags])
        return status, capsys.readouterr().out

    return program


def notebook(*cells):
    made = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": ["# kNN"]}, *made]})


def test_right_homework_has_status_0(run):
    status, told = run(SHAPES["loops and classes"])
    assert status == 0
    assert "pass  svm_loss_naive: 8 inputs (W is (D, C); penalty reg * sum(W**2))" in told
    assert told.endswith("13 checked: 13 passed, 0 failed\n")


def test_what_hangs_dies_or_raises_is_one_line_and_the_rest_is_checked(run):
    status, told = run(
        "import os, sys\n"
        "def accuracy(predictions, labels):\n    os._exit(0)\n"
        "def folds(num_examples, num_folds):\n    print('x' * 1_000_000)\n    return 1 / 0\n"
        "def confusion(predictions, labels, num_classes):\n    while True: print('x' * 10_000)\n"
        "def l1(W):\n    return input('how much? ')\n"
        "def max_norm(W, radius):\n    sys.exit('stop')\n" + L2,
        "--seconds", "3",
    )  # fmt: skip
    lines = told.splitlines()
    assert status == 1
    assert "FAIL  accuracy: It ends the process. [three of five]" in lines
    assert (
        "FAIL  confusion: No answer within 3 s: an endless loop, or too slow. [three classes]"
        in lines
    )
    assert "FAIL  folds: it raised ZeroDivisionError: division by zero (line 6)." in told
    assert "FAIL  l1: it raised EOFError: EOF when reading a line (line 10)." in told
    assert "FAIL  max_norm: it ends the program (exit): return a value instead." in told
    assert "pass  l2: 4 inputs" in lines
    assert "6 checked: 1 passed, 5 failed (accuracy, folds, confusion, l1, max_norm)" in lines


def test_a_notebook_is_read_without_its_training(run):
    source = notebook(
        "%matplotlib inline\nimport numpy as np\nfrom nowhere import load_data",
        "data = load_data()\nwhile True: pass",
        "def l2(W):\n    return np.sum(W * W) / 2",
        "%%time\nthis is no Python",
        "!pip install numpy\ndef l1(W):\n    return np.abs(W).sum()",
    )
    status, told = run(source, name="knn.ipynb")
    assert status == 1
    assert "code cell 1: it raised ModuleNotFoundError: No module named 'nowhere' (line 3)" in told
    assert "FAIL  l2: There is a factor one half" in told
    assert "pass  l1" in told


def test_a_file_of_a_package_imports_its_neighbours(run, tmp_path):
    folder = tmp_path / "course" / "classifiers"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "losses.py").write_text(SHAPES["loops and classes"])
    status, told = run(
        "from ..classifiers.losses import svm_loss_vectorized\n"
        "from .losses import LinearClassifier\n"
        "class LinearSVM(LinearClassifier):\n    def loss(self, X_batch, y_batch, reg):\n"
        "        return svm_loss_vectorized(self.W, X_batch, y_batch, reg)\n",
        name="course/classifiers/linear.py",
    )
    assert status == 0
    assert "pass  LinearSVM.loss" in told


def test_graders_get_json(run):
    status, told = run(
        L2.replace("**2", "**2 / 2") + "def l2_squared(W):\n    return W\n", "--json"
    )
    found = json.loads(told)
    assert status == found["status"] == 1
    assert found["failed"] == ["l2"]
    assert found["passed"] == []
    assert found["lines"][0]["why"].startswith("There is a factor one half")
    assert (
        "expected 13.25, got 6.625" in found["lines"][0]["evidence"]
        or found["lines"][0]["evidence"]
    )
    assert found["not_checked"][0]["name"] == "l2_squared"


def test_what_was_not_checked_is_listed_with_near_names(run):
    names = ("softmax_los(W)", "hinge(everything)", "helper(x)")
    status, told = run(L2 + "".join(f"def {name}:\n    return 0\n" for name in names))
    assert status == 0
    assert "not checked: softmax_los (did you mean softmax_loss?)" in told
    assert "not checked: hinge (it takes (everything), expected (scores, y, margin))" in told
    assert "not checked: helper (no known name)" in told
    assert told.endswith("1 checked: 1 passed, 0 failed; 3 not checked\n")


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("x = 1\n", "Nothing was checked"),
        ("import nothing_there\n", "ModuleNotFoundError"),
        ("def l2(W:\n", "homework.py is no Python: line 1: "),
        ("raise SystemExit(3)\n", "it ends the program (exit)"),
    ],
)
def test_nothing_checked_is_no_success(source, what, run):
    status, told = run(source)
    assert status == 2
    assert what in told


def test_a_statement_that_raises_does_not_hide_the_functions(run):
    status, told = run("open('cifar10.pickle')\n" + L2)
    assert status == 0
    assert "homework.py: it raised FileNotFoundError" in told


def test_a_broken_notebook_is_told(run):
    status, told = run("{}", name="knn.ipynb")
    assert status == 2
    assert told.startswith("FAIL  knn.ipynb is no notebook of Jupyter (version 4)\nNothing was")


def test_a_missing_file_is_told():
    with pytest.raises(SystemExit) as stopped:
        check_homework.main(["nowhere.py"])
    assert stopped.value.code == 2


def test_a_mistake_in_the_gradient_is_shown_by_numbers_of_the_gradient(run):
    """One half in the loss is a convention; the gradient that does not follow it is wrong."""
    status, told = run(
        "import numpy as np\n"
        "def svm_loss_vectorized(W, X, y, reg):\n"
        "    rows, scores = np.arange(len(y)), X @ W\n"
        "    margins = np.maximum(0, scores - scores[rows, y][:, None] + 1)\n"
        "    margins[rows, y] = 0\n"
        "    slope = (margins > 0) * 1.0\n"
        "    slope[rows, y] = -slope.sum(axis=1)\n"
        "    loss = margins.sum() / len(y) + 0.5 * reg * np.sum(W * W)\n"
        "    return loss, X.T @ slope / len(y) + 2 * reg * W\n"
    )
    assert status == 1
    assert "One half stands in the loss but not in its gradient" in told
    assert "[five random examples: gradient[0, 0]: expected" in told
