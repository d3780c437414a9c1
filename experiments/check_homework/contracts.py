"""What a function of the lecture must do: named inputs, and what lincls makes of them.

A contract is a name, a form, our function in float64, and cases chosen for what goes wrong by
hand: ties, a margin that is exactly 0, labels at both ends, one example, scores too large for
a careless exp, pixels that wrap around in uint8, arguments that a function changes in place.
Gradients are compared with numerical ones; what JAX can trace is also differentiated by it.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lincls import distances, evaluation, gradcheck, knn, linear, losses, penalties, splits
from lincls.structs import LinearParams

RTOL, ATOL = 1e-4, 1e-5  # a float32 answer passes
PASS, FAIL, SKIP = "pass", "FAIL", "skip"

Arguments = dict[str, Any]
Cases = dict[str, Arguments]


@dataclass(frozen=True, eq=False)
class Contract:
    """One function: how it is called, what it must return, and where that is tried.

    Attributes:
        form: its signature and what comes back, for people.
        ours: the same function here, by the same argument names.
        cases: what is tried -> arguments by name, given by position as far as the form has them.
        differentiable: the case and the argument at which jax.grad is tried as well, or "".
    """

    form: str
    ours: Callable[..., Any]
    cases: Cases
    differentiable: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        return self.form.partition("(")[0]


class Line(NamedTuple):
    """The result of one check."""

    verdict: str
    function: str
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.verdict}  {self.function}: {self.what}" + (
            f": {self.why}" if self.why else ""
        )


class Check(NamedTuple):
    """A check that has not run yet; `run` returns "" or what is wrong, and may raise."""

    function: str
    what: str
    run: Callable[[], str]

    def line(self) -> Line:
        """Run it; what the student's function raises is the reason of the failure."""
        try:
            why = self.run()
        except NotTraceable:
            return Line(SKIP, self.function, self.what, "JAX cannot trace it")
        except Exception as error:
            why = f"raised {type(error).__name__}: {shortened(error)}"
        return Line(FAIL if why else PASS, self.function, self.what, why)


class NotTraceable(Exception):
    """JAX cannot differentiate this function, which is no mistake."""


def checks(functions: Mapping[str, Any]) -> list[Check]:
    """All checks of the functions that have a contract's name, in the contracts' order."""
    return [
        check
        for contract in CONTRACTS
        if callable(functions.get(contract.name))
        for check in _checks(contract, functions[contract.name])
    ]


def _checks(contract: Contract, fn: Callable[..., Any]) -> Iterator[Check]:
    for what, arguments in contract.cases.items():
        if _takes(fn, arguments):
            yield Check(contract.name, what, partial(_value, contract, fn, what))
    what, argument = contract.differentiable
    if what:
        run = partial(_gradient, fn, contract.cases[what], argument)
        yield Check(contract.name, f"its gradient by JAX, {what}", run)


def _takes(fn: Callable[..., Any], arguments: Arguments) -> bool:
    """Whether a function can be tried: a number such as margin or beta may be left out."""
    try:
        names = inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return True
    return all(name in names for name in arguments.keys() & {"margin", "beta"})


@lru_cache
def _expected(contract: Contract, what: str) -> np.ndarray:
    return np.asarray(contract.ours(**contract.cases[what]), np.float64)


def _value(contract: Contract, fn: Callable[..., Any], what: str) -> str:
    arguments = contract.cases[what]
    with jax.enable_x64(True):
        expected = _expected(contract, what)
        given = _copied(arguments)
        numbers = {name: given.pop(name) for name in ("margin", "beta") if name in given}
        got = np.asarray(fn(*given.values(), **numbers), np.float64)
    if got.shape != expected.shape:
        problem = f"expected the shape {expected.shape}, got {got.shape}"
    elif not np.allclose(got, expected, RTOL, ATOL):
        problem = f"expected {shortened(expected)}, got {shortened(got)}"
    elif _changed(given, arguments):
        problem = f"it changed its argument {_changed(given, arguments)}"
    else:
        return ""
    return f"{problem}, for {', '.join(f'{n} = {shortened(v)}' for n, v in arguments.items())}"


def _gradient(fn: Callable[..., Any], arguments: Arguments, argument: str) -> str:
    """jax.grad of the summed function against differences of the same function."""

    def total(x: Any) -> jax.Array:
        return jnp.sum(fn(*(arguments | {argument: x}).values()))

    with jax.enable_x64(True):
        try:
            got = np.asarray(jax.grad(total)(jnp.asarray(arguments[argument])))
        except Exception as error:
            raise NotTraceable from error
        expected = gradcheck.numerical_gradient(total, arguments[argument])
    if np.allclose(got, expected, RTOL, ATOL):
        return ""
    return f"differences give {shortened(expected)}, jax.grad {shortened(got)}"


def _copied(arguments: Arguments) -> Arguments:
    """Copies of all arrays; a dict of its own, because a tree's would be sorted by name."""
    return {name: jax.tree.map(_copy, value) for name, value in arguments.items()}


def _copy(value: Any) -> Any:
    return np.copy(value) if isinstance(value, np.ndarray) else value


def _changed(after: Arguments, before: Arguments) -> str:
    """The name of an argument that is no longer what it was, or ""."""
    for name, value in after.items():
        same = jax.tree.map(lambda a, b: callable(a) or np.array_equal(a, b), value, before[name])
        if not all(jax.tree.leaves(same)):
            return name
    return ""


def shortened(value: Any, length: int = 160) -> str:
    """A value on one line of so many letters."""
    if callable(value):
        return getattr(value, "__name__", "a function")
    if isinstance(value, np.ndarray):
        value = np.array2string(value, precision=5, threshold=20, separator=", ")
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 1] + "…"


# --- the cases ---------------------------------------------------------------------------------

_RANDOM = np.random.default_rng(0)
TABLE = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
OFF_KINK = "five random examples of four classes"

LOSS_CASES: Cases = {
    "the table of slide 32": {"scores": TABLE, "labels": np.array([0, 1, 2])},
    "one example alone": {"scores": TABLE[:1], "labels": np.array([0])},
    "equal scores": {"scores": np.full((2, 4), 0.7), "labels": np.array([0, 2])},
    "a margin of exactly 0 (10, 9, 9)": {
        "scores": np.array([[10.0, 9.0, 9.0]]),
        "labels": np.array([0]),
    },
    "the first and the last label": {
        "scores": np.array([[1.0, 2.0, 3.0, 4.5], [1.0, 2.5, 3.0, 4.0]]),
        "labels": np.array([0, 3]),
    },
    "scores of 10,000": {
        "scores": np.array([[1e4, 0.0, -1e4], [1e4, 0.0, -1e4]]),
        "labels": np.array([0, 2]),
    },
    OFF_KINK: {
        "scores": _RANDOM.normal(0, 3, (5, 4)),
        "labels": np.array([3, 0, 1, 1, 2]),
    },
}
HINGE_CASES = LOSS_CASES | {
    "another margin": LOSS_CASES[OFF_KINK] | {"margin": 2.5},
}
SMOOTH_CASES = {name: LOSS_CASES[name] for name in ("one example alone", OFF_KINK)}
WEIGHTS = "random weights"
PENALTY_CASES: Cases = {
    WEIGHTS: {"W": _RANDOM.normal(0, 1, (3, 5))},
    "W1 of slide 42": {"W": np.array([[1.0, 0.0, 0.0, 0.0]])},
    "negative weights": {"W": np.array([[-2.0, -0.5], [-1.0, -3.0]])},
    "no weights but zeros": {"W": np.zeros((2, 3))},
}
TEST = np.array([[56, 32, 10, 18, 90, 23, 128, 133, 24, 26, 178, 200, 2, 0, 255, 220]], np.uint8)
TRAIN = np.array([[10, 20, 24, 17, 8, 10, 89, 100, 12, 16, 178, 170, 4, 32, 233, 112]], np.uint8)
POINTS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [5.0, 5.0], [6.0, 5.0]])
DISTANCE_CASES: Cases = {
    "the images of slide 14 (uint8)": {"queries": TEST, "X": TRAIN},
    "points": {"queries": POINTS[:3] + 0.25, "X": POINTS},
    "one point with itself": {"queries": POINTS[:1], "X": POINTS[:1]},
}
WRAPPING = np.array([[90], [130]], np.uint8)  # 90 - 100 is 246 in uint8, and 120 - 130 is
NEAREST_CASES: Cases = {
    "points": {"X": POINTS, "y": np.array([3, 1, 4, 1, 5]), "queries": POINTS[::-1] + 0.25},
    "pixels in uint8 (100 and 120 among 90, 130)": {
        "X": WRAPPING, "y": np.array([0, 1]), "queries": np.array([[100], [120]], np.uint8),
    },
    "two equally near (the first counts)": {
        "X": POINTS[1:3], "y": np.array([2, 1]), "queries": np.zeros((1, 2)),
    },
    "one query, its own copy in the data": {
        "X": POINTS, "y": np.arange(5), "queries": POINTS[3:4],
    },
}  # fmt: skip
KNN_CASES: Cases = {f"{what}, k = 1": case | {"k": 1} for what, case in NEAREST_CASES.items()} | {
    "k = 3": {"X": POINTS, "y": np.array([3, 1, 1, 5, 5]), "queries": POINTS + 0.25, "k": 3},
    "a tied vote (the smaller label wins)": {
        "X": POINTS[:2], "y": np.array([7, 4]), "queries": np.array([[0.2, 0.0]]), "k": 2,
    },
    "k = all": {"X": POINTS, "y": np.array([0, 0, 0, 1, 1]), "queries": POINTS[4:], "k": 5},
}  # fmt: skip
SLIDE_28 = LinearParams(
    np.array([[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0.0, 0.25, 0.2, -0.3]]),
    np.array([1.1, 3.2, -1.2]),
)
SCORE_CASES: Cases = {
    "the image of slide 28 (uint8)": {
        "params": SLIDE_28,
        "X": np.array([[56, 231, 24, 2]], np.uint8),
    },
    "six rows": {"params": SLIDE_28, "X": _RANDOM.normal(0, 1, (6, 4))},
    "as many rows as features": {"params": SLIDE_28, "X": _RANDOM.normal(0, 1, (4, 4))},
}
COUNTED = {"predictions": np.array([0, 2, 2, 1, 0]), "labels": np.array([0, 1, 2, 1, 2])}
ACCURACY_CASES: Cases = {
    "three of five": COUNTED,
    "all right": {"predictions": np.arange(4), "labels": np.arange(4)},
    "one wrong example": {"predictions": np.array([1]), "labels": np.array([0])},
}
FOLD_CASES: Cases = {
    "10 examples, 5 folds": {"num_examples": 10, "num_folds": 5},
    "11 examples, 3 folds (4, 4, 3)": {"num_examples": 11, "num_folds": 3},
    "as many folds as examples": {"num_examples": 4, "num_folds": 4},
}


def _square(x: Any) -> Any:
    return (x * x).sum()


def _cube_and_product(x: Any) -> Any:
    return (x * x * x).sum() + x[0, 0] * x[1, 1]


DIFFERENCE_CASES: Cases = {
    "the sum of squares of a row": {"fn": _square, "x": np.array([0.5, -1.5, 2.0])},
    "a function of a matrix": {"fn": _cube_and_product, "x": _RANDOM.normal(0, 1, (2, 3))},
    "at a minimum": {"fn": _square, "x": np.zeros(2)},
}


# --- the contracts -----------------------------------------------------------------------------


def _compiled(*fns: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Whole programs: called as they are, each operation would be compiled for each shape."""
    return [jax.jit(fn) for fn in fns]


_hinge, _squared_hinge, _crammer_singer_hinge, _softmax = _compiled(
    losses.hinge, losses.squared_hinge, losses.crammer_singer_hinge, losses.softmax
)
_l1, _l2, _elastic_net, _max_norm = _compiled(
    penalties.l1, penalties.l2, penalties.elastic_net, penalties.max_norm
)


def _slope(fn: Callable[..., Any], argument: str) -> Callable[..., Any]:
    """The numerical gradient of a function's sum in one argument."""

    def slope(**arguments: Any) -> Any:
        def total(x: Any) -> jax.Array:
            return jnp.sum(fn(**(arguments | {argument: x})))

        return gradcheck.numerical_gradient(total, arguments[argument])

    slope.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    return slope


def _distances(metric: distances.Metric, queries: Any, X: Any) -> Any:
    return metric.pairwise(metric.prepare(queries), metric.prepare(X))


def _knn(X: Any, y: Any, queries: Any, k: int, metric: distances.Metric = distances.l2) -> Any:
    return knn.predict(knn.fit(X, y, metric=metric), queries, k)


def _nearest_neighbor(X: Any, y: Any, queries: Any) -> Any:
    return _knn(X, y, queries, 1, distances.l1)


CONTRACTS = (
    Contract("nearest_neighbor(X, y, queries) -> labels (M,), by L1 as on slide 15",
             _nearest_neighbor, NEAREST_CASES),
    Contract("l1_distances(queries, X) -> (M, N)", partial(_distances, distances.l1),
             DISTANCE_CASES),
    Contract("l2_distances(queries, X) -> (M, N), sums of squares",
             partial(_distances, distances.l2), DISTANCE_CASES),
    Contract("knn(X, y, queries, k) -> labels (M,), by L2", _knn, KNN_CASES),
    Contract("accuracy(predictions, labels) -> share in 0..1", evaluation.accuracy,
             ACCURACY_CASES),
    Contract("confusion(predictions, labels, num_classes) -> (C, C), rows are labels",
             evaluation.confusion, {"three classes": COUNTED | {"num_classes": 3}}),
    Contract("folds(num_examples, num_folds) -> fold numbers (N,), in file order", splits.folds,
             FOLD_CASES),
    Contract("scores(params, X) -> (N, C), params = (W, b)", linear.scores, SCORE_CASES),
    Contract("hinge(scores, labels, margin=1.0) -> (B,)", _hinge, HINGE_CASES,
             (OFF_KINK, "scores")),
    Contract("squared_hinge(scores, labels, margin=1.0) -> (B,)", _squared_hinge,
             HINGE_CASES, (OFF_KINK, "scores")),
    Contract("crammer_singer_hinge(scores, labels, margin=1.0) -> (B,)",
             _crammer_singer_hinge, HINGE_CASES, (OFF_KINK, "scores")),
    Contract("softmax(scores, labels) -> (B,), the loss in nats", _softmax, LOSS_CASES,
             (OFF_KINK, "scores")),
    Contract("hinge_gradient(scores, labels) -> (B, C), of each example's own loss",
             _slope(_hinge, "scores"), SMOOTH_CASES),
    Contract("squared_hinge_gradient(scores, labels) -> (B, C)",
             _slope(_squared_hinge, "scores"), SMOOTH_CASES),
    Contract("softmax_gradient(scores, labels) -> (B, C)", _slope(_softmax, "scores"),
             SMOOTH_CASES | {"equal scores": LOSS_CASES["equal scores"]}),
    Contract("l1(W) -> ()", _l1, PENALTY_CASES, (WEIGHTS, "W")),
    Contract("l2(W) -> (), without one half", _l2, PENALTY_CASES, (WEIGHTS, "W")),
    Contract("elastic_net(W, beta=1.0) -> ()", _elastic_net,
             PENALTY_CASES | {"another beta": PENALTY_CASES[WEIGHTS] | {"beta": 0.25}},
             (WEIGHTS, "W")),
    Contract("l1_gradient(W) -> like W", _slope(_l1, "W"),
             {WEIGHTS: PENALTY_CASES[WEIGHTS]}),
    Contract("l2_gradient(W) -> like W", _slope(_l2, "W"), PENALTY_CASES),
    Contract("max_norm(W, radius) -> like W, rows no longer than radius", _max_norm,
             {what: case | {"radius": 1.5} for what, case in PENALTY_CASES.items()}),
    Contract("numerical_gradient(fn, x) -> like x", gradcheck.numerical_gradient,
             DIFFERENCE_CASES),
)  # fmt: skip
