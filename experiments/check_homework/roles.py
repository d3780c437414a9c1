"""What a function of the course is for, and how one that was found is called.

A `Role` is one task, such as the SVM loss of W: the names and the arguments by which a function
is found, inputs to try it on, right functions (one for each convention of the courses) and wrong
ones, each with the sentence that names its mistake.  Roles are tables; `judging` reads them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Arguments = dict[str, Any]
Parts = dict[str, np.ndarray]  # what a function returns, by the names of its parts
Function = Callable[..., Any]  # (**arguments) -> an array, or parts
Law = Callable[[Callable[[Arguments], Parts], Arguments], str]  # "" or what was seen
VALUE = "result"  # the part of a function that returns one array


class Form(NamedTuple):
    """One way to lay out the same numbers, such as W with a row or a column for each class."""

    says: str = ""
    give: Callable[[Arguments], Arguments] = dict  # our arguments -> the student's
    take: Callable[[Parts], Parts] = dict  # the student's parts -> ours


@dataclass(frozen=True, eq=False)
class Role:
    """One task of the course.

    Attributes:
        title: how a function of this role is called and what it returns, for people.
        names: regular expression for the names of functions.
        arguments: our names of its arguments, in their usual order.
        cases: name -> arguments to try.
        right: convention -> function; a student may follow any of them, but the same everywhere.
        wrong: (sentence, function) pairs.
        doubly: likewise, of two mistakes at once, tried where no single one explains the numbers.
        forms: layouts of the arguments that are tried until one fits.
        laws: what holds for every right function, tried where no wrong one explains the numbers.
        always: laws that are tried in any case.
        optional: arguments that a function may lack -> what stands for them then.
        returns: the names of what comes back, in order.
        may_change: an argument that may be changed in place; where nothing is returned, it counts.
        remarks: cases that the course does not ask for -> what to say where they go wrong.
        method: regular expression for names of methods in classes of this kind.
        kind: the kind of class: "neighbours" or "linear".
        alike: whether all functions of this role in a file must follow one convention.
        smooth: the argument in which JAX's own derivative is tried too, or "".
    """

    title: str
    names: str
    arguments: tuple[str, ...]
    cases: Mapping[str, Arguments]
    right: Mapping[str, Function] = field(default_factory=dict)
    wrong: Sequence[tuple[str, Function]] = ()
    doubly: Sequence[tuple[str, Function]] = ()
    forms: Sequence[Form] = (Form(),)
    laws: Sequence[Law] = ()
    always: Sequence[Law] = ()
    optional: Mapping[str, Any] = field(default_factory=dict)
    returns: tuple[str, ...] = (VALUE,)
    may_change: str = ""
    remarks: Mapping[str, str] = field(default_factory=dict)
    method: str = ""
    kind: str = ""
    alike: bool = False
    smooth: str = ""


def parts(result: Any) -> Parts:
    """What one of our functions returned, as parts."""
    whole = result if isinstance(result, dict) else {VALUE: result}
    return {name: np.asarray(part, np.float64) for name, part in whole.items()}


class Unbound(Exception):
    """A function that cannot be called as its role is; says why, and how far off it is."""

    def __init__(self, why: str, off: int = 0) -> None:
        super().__init__(why)
        self.off = off


# How students name what we name: compared without regard to case.
SYNONYMS = {
    "W": "w weights weight theta",
    "b": "b bias",
    "X": "x x_train xtr x_tr train_x data train_data x_batch x_dev features images",
    "y": "y true truth y_train ytr y_tr train_y labels label targets target y_batch y_dev y_true t",
    "reg": "reg reg_strength regularization regularisation lam lambda_ lmbda lambd l2_reg alpha",
    "scores": "scores score s f z x logits outputs",
    "queries": "queries query x_test xte x_te test_x test x_query q x",
    "k": "k num_neighbors n_neighbors num_neighbours neighbors",
    "dists": "dists dist distances d",
    "dW": "dw grad gradient grads dw_",
    "learning_rate": "learning_rate lr step_size eta alpha rate stepsize",
    "num_steps": "num_iters num_steps iterations n_iters num_iterations steps",
    "batch_size": "batch_size batchsize",
    "predictions": "predictions y_pred pred preds predicted y_hat",
    "num_folds": "num_folds n_folds folds nfolds k_folds k",
    "k_choices": "k_choices ks k_values choices",
    "num_examples": "num_examples n num_train",
    "num_classes": "num_classes c n_classes",
    "params": "params parameters p theta",
    "loss_fn": "loss_func loss_fn loss loss_function f",
    "fn": "fn f func function",
    "x": "x point",
    "margin": "margin delta",
    "beta": "beta",
    "radius": "radius r max_norm",
}


def bound(fn: Callable[..., Any], role: Role, names: Sequence[str]) -> dict[str, str]:
    """The student's parameters -> our arguments: by name; by place if no name is known.

    Raises:
        Unbound: the function takes other arguments than its role.
    """
    parameters = _parameters(fn)
    taken: dict[str, str] = {}
    for parameter in parameters:
        ours = next((n for n in names if n not in taken.values() and _same(parameter, n)), None)
        if ours:
            taken[parameter.name] = ours
    required = [p.name for p in parameters if p.default is p.empty]
    needed = [name for name in names if name not in role.optional]
    if not taken and len(required) == len(needed):
        return dict(zip(required, needed, strict=True))
    if not {*required} <= taken.keys() or not {*needed} <= {*taken.values()}:
        given = ", ".join(p.name for p in parameters)
        off = abs(len(required) - len(needed))
        raise Unbound(f"it takes ({given}), expected ({', '.join(names)})", off)
    return taken


def _same(parameter: inspect.Parameter, name: str) -> bool:
    return parameter.name == name or parameter.name.lower() in SYNONYMS.get(name, name).split()


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        found = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError) as error:
        raise Unbound("its arguments cannot be read") from error
    return [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
