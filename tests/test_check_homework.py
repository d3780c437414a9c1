"""The homework checker passes right homework of every shape, and names each planted mistake."""

import dataclasses

import jax
import numpy as np
import pytest
from homework_faults import FAULTS
from homework_shapes import SHAPES, TORCH

from experiments.check_homework import tables
from experiments.check_homework.finding import Found, find
from experiments.check_homework.judging import FAIL, NOTE, PASS, disagreements, gathered, judge
from experiments.check_homework.roles import Form
from experiments.check_homework.trying import right_parts
from lincls import evaluation, gradcheck, knn, linear, losses, penalties, splits
from lincls.structs import LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")


def lines(source, *names):
    """The lines of the functions of these names, or of all."""
    module = {"__name__": "homework", "xrange": range}
    exec(source.replace("from past.builtins", "#"), module)
    found, _ = find(module, tables.ROLES)
    chosen = [one for one in found if not names or one.name in names]
    told = [line for one in chosen for line in judge(one)]
    return list(gathered([*told, *disagreements(told, tables.ROLES)]))


def planted(shape, stands, mistake):
    """A right file with one mistake in it."""
    source = SHAPES[shape]
    assert source.count(stands) == 1, (shape, stands)
    return source.replace(stands, mistake)


@pytest.mark.parametrize("shape", SHAPES)
def test_right_homework_passes(shape):
    found = lines(SHAPES[shape])
    assert [str(line) for line in found if line.verdict == FAIL] == []
    assert len([line for line in found if line.verdict == PASS]) >= 2


def test_right_homework_in_torch_passes_and_a_mistake_is_named():
    pytest.importorskip("torch")
    found = lines(TORCH)
    assert [str(line) for line in found if line.verdict == FAIL] == []
    assert len([line for line in found if line.verdict == PASS]) == 7
    wrong = TORCH.replace(
        "return loss, dW / X.shape[0] + 2 * reg * W", "return loss, dW / X.shape[0]"
    )
    (failed,) = (line for line in lines(wrong) if line.verdict == FAIL)
    assert "missing in the gradient" in failed.why


def test_every_role_is_in_a_right_file():
    told = [line.role for source in SHAPES.values() for line in lines(source)]
    assert {role.title for role in tables.ROLES[:-1]} - set(told) == {
        "squared_svm_loss(W, b, X, y, reg) -> (loss, dW, db)",
        "squared_svm_loss(W, X, y, reg) -> (loss, dW)",
        "svm_loss(scores, y) -> (mean loss, gradient by the scores)",
        "softmax_loss(scores, y) -> (mean loss, gradient by the scores)",
    }


@pytest.mark.parametrize(
    ("shape", "function", "stands", "mistake", "sentence"), FAULTS, ids=lambda one: str(one)[:30]
)
def test_a_planted_mistake_is_named_once(shape, function, stands, mistake, sentence):
    failed = [one for one in lines(planted(shape, stands, mistake), function)
              if one.verdict == FAIL]  # fmt: skip
    assert [one.function for one in failed] == [function], [str(one) for one in failed]
    assert sentence in failed[0].why


WRONG = {  # one for each sentence of a role, of the first convention that has it
    (role.title, says): (role, fn)
    for role in tables.ROLES
    for says, fn in reversed(list(role.wrong))
}


def returned_by(fn):
    """A function of the tables as a student's function of the same arguments."""

    def call(arguments):
        found = fn(**arguments)
        return tuple(found.values()) if isinstance(found, dict) else found

    return call


def as_found(role, fn):
    """Without another layout, because the tables' functions have ours."""
    whole = dict(vars(role))
    parts = role.returns if role.returns[0] != "loss" else ("loss", "gradient")
    plain = type(role)(**whole | {"forms": (Form(),), "always": (), "returns": parts})
    return Found("f", plain, returned_by(fn))


def test_there_are_many_known_mistakes():
    assert len({says for _, says in WRONG}) > 90


@pytest.mark.parametrize(("title", "says"), WRONG, ids=lambda one: one[:40])
def test_every_known_mistake_is_named(title, says):
    role, fn = WRONG[title, says]
    told = list(judge(as_found(role, fn)))
    assert [line.why for line in told if line.verdict != PASS] == [says]


@pytest.mark.parametrize("role", tables.ROLES[:-1], ids=lambda role: role.title[:40])
def test_every_right_convention_passes(role):
    for says, fn in role.right.items():
        told = list(judge(as_found(role, fn)))
        assert [(line.verdict, line.convention) for line in told] == [(PASS, says)]


def test_a_loss_of_another_name_is_checked_without_a_right_answer():
    source = SHAPES["loops and classes"].replace("def svm_loss_naive", "def my_loss")
    assert [line.verdict for line in lines(source, "my_loss")] == [PASS]
    wrong = source.replace("    loss /= num_train\n    dW /= num_train\n", "")
    (line,) = lines(wrong, "my_loss")
    assert line.why.startswith("With every example twice the loss goes from")
    wrong = source.replace("    dW += 2 * reg * W\n", "")
    (line,) = lines(wrong, "my_loss")
    assert line.why.startswith("The gradient is not that of its own loss: gradient[0, 0]")


def test_two_mistakes_at_once_are_both_named():
    source = SHAPES["loops and classes"].replace(
        "            if j == y[i]:\n                continue\n", ""
    )
    source = source.replace("    loss += reg * np.sum(W * W)\n    dW += 2 * reg * W\n", "")
    (line,) = lines(source, "svm_loss_naive")
    assert "The true class is counted too" in line.why
    assert "The penalty is missing" in line.why


K_AT_THE_START = """
import numpy as np
class KNN:
    def __init__(self, k=3):
        self.k = k
    def fit(self, X, y):
        self.X, self.y = X, y
        return self
    def predict(self, X):
        apart = ((X[:, None] - self.X[None]) ** 2).sum(axis=-1)
        nearest = np.argsort(apart, axis=1, kind="stable")[:, :self.k]
        return np.array([np.bincount(row).argmax() for row in self.y[nearest]])
class TwoLayerNet:
    def loss(self, X, y):
        return self.params["W1"]
    def predict(self, X):
        return X
class SoftmaxClassifier:
    def fit(self, X, y):
        return self
    def predict(self, X):
        return X[:, 0]
"""


def test_k_may_be_given_at_the_start_and_other_classes_are_left():
    found = [line for line in lines(K_AT_THE_START) if line.verdict != NOTE]
    assert [(line.function, line.verdict) for line in found] == [("KNN.predict", PASS)]
    (wrong,) = lines(K_AT_THE_START.replace("[:, :self.k]", "[:, :3]"), "KNN.predict")
    assert wrong.verdict == FAIL


@pytest.mark.parametrize("form", ["predict(model, X)", "train(model, X, y)", "update(state, W)"])
def test_functions_of_other_arguments_are_not_checked(form):
    assert lines(f"def {form}:\n    return X\n") == []


def test_versions_of_one_function_must_follow_one_convention():
    source = planted("loops and classes", "np.sqrt(np.sum((self.X_train - X[i]) ** 2, axis=1))",
                     "np.sum((self.X_train - X[i]) ** 2, axis=1)")  # fmt: skip
    failed = [line for line in lines(source) if line.verdict == FAIL]
    assert len(failed) == 1
    assert "compute_distances_one_loop: a row for each query; squares of L2" in failed[0].why


def test_a_cause_in_two_functions_is_told_once_in_full():
    source = planted("loops and classes", "    p[rows, y] -= 1\n", "")
    failed = {line.function: line.why for line in lines(source) if line.verdict == FAIL}
    assert failed["softmax_loss_vectorized"].startswith("The true class's 1")
    assert failed["Softmax.loss"] == "The same as softmax_loss_vectorized."


def test_what_the_course_does_not_ask_for_is_a_remark():
    found = lines(SHAPES["loops and classes"], "KNearestNeighbor.predict")
    assert [line.verdict for line in found] == [PASS, NOTE, NOTE]
    assert "uint8 pixels wrap" in found[1].why
    assert "kind='stable'" in found[2].why


def test_jax_functions_are_differentiated_by_jax_too():
    def softmax(scores, labels):
        return losses.softmax(scores, labels)

    def stopped(scores, labels):
        return losses.softmax(jax.lax.stop_gradient(scores), labels)

    told = []
    for fn in (softmax, stopped):
        (found,), _ = find({"__name__": __name__, "softmax": fn}, tables.ROLES)
        one_case = dict(list(found.role.cases.items())[:1])  # each shape would be compiled
        told += judge(found._replace(role=dataclasses.replace(found.role, cases=one_case)))
    assert [line.verdict for line in told] == [PASS, FAIL]
    assert told[1].why.startswith("jax.grad differs from differences: gradient[0, 0]: numerically")


OURS = [
    ("hinge(", losses.hinge), ("squared_hinge(", losses.squared_hinge),
    ("crammer_singer_hinge(", losses.crammer_singer_hinge),
    ("softmax(scores, labels", losses.softmax),
    ("l1(", penalties.l1), ("l2(", penalties.l2), ("elastic_net(", penalties.elastic_net),
    ("max_norm(", penalties.max_norm), ("accuracy(", evaluation.accuracy),
    ("confusion(", evaluation.confusion), ("folds(", splits.folds),
    ("numerical_gradient(", gradcheck.numerical_gradient),
    ("scores(", lambda params, X: linear.scores(LinearParams(*params), X)),
    ("predict(W", lambda W, X: linear.predict(LinearParams(W.T, np.zeros(3)), X)),
    ("knn(", lambda X, y, queries, k: knn.predict(knn.fit(X, y), queries, k)),
]  # fmt: skip


@pytest.mark.parametrize(("start", "ours"), OURS, ids=[start for start, _ in OURS])
def test_the_right_answers_are_those_of_lincls(start, ours):
    (role,) = [one for one in tables.ROLES if one.title.startswith(start)]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        cases = list(role.cases.values())
        for case in cases[-3:] if role.title.startswith("knn") else cases:  # the rest takes long
            (expected,) = right_parts(role.right[""], case).values()
            np.testing.assert_allclose(ours(*case.values()), expected, rtol=1e-5, atol=1e-6)
