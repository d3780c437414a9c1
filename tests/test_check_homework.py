"""The homework checker passes right homework of every shape, and names each planted mistake."""

import itertools

import numpy as np
import pytest
from homework_faults import FAULTS
from homework_shapes import SHAPES

from experiments.check_homework import tables
from experiments.check_homework.finding import Found, find
from experiments.check_homework.judging import FAIL, PASS, disagreements, gathered, judge
from experiments.check_homework.roles import Form
from experiments.check_homework.trying import right_parts


def lines(source, *names):
    """The lines of the functions of these names, or of all."""
    module = {"__name__": "homework", "xrange": range}
    exec(source.replace("from past.builtins import xrange\n", ""), module)
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
    whole = {name: value for name, value in vars(role).items()}
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


@pytest.mark.parametrize("role", tables.ROLES[:-1], ids=lambda role: role.title[:40])
def test_right_conventions_differ_from_each_other(role):
    for (_, one), (_, other) in itertools.combinations(role.right.items(), 2):
        assert any(
            right_parts(one, case | dict(role.optional) | case).keys()
            and not all(
                np.array_equal(a, b)
                for a, b in zip(
                    right_parts(one, {**role.optional, **case}).values(),
                    right_parts(other, {**role.optional, **case}).values(),
                    strict=True,
                )
            )
            for case in role.cases.values()
        )
