"""Which functions and methods of a file have a role, and which have none.

A class is tried through its own methods: one with `train` or `fit` and distances or `predict` is
a nearest neighbour classifier, one with `loss` or with a learning rate in `train` a linear one.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.check_homework.roles import SYNONYMS, Arguments, Role, Unbound, bound
from experiments.check_homework.torches import uses_torch, with_tensors


class Found(NamedTuple):
    """A function of the student that has a role; `call` takes the role's arguments."""

    name: str
    role: Role
    call: Callable[[Arguments], Any]
    absent: frozenset[str] = frozenset()  # optional arguments that it does not take


class Left(NamedTuple):
    """A function that was not checked, and why."""

    name: str
    why: str


def find(names: Mapping[str, Any], roles: tuple[Role, ...]) -> tuple[list[Found], list[Left]]:
    """All that can be checked in the names of a file, and what is left over."""
    found: list[Found] = []
    left: list[Left] = []
    for name, value in _own(names).items():
        tried = list(_of_class(value, roles) if inspect.isclass(value) else
                     _of_function(name, value, roles))  # fmt: skip
        good = [one for one in tried if isinstance(one, Found)]
        found += [one for one in good if one.name not in {other.name for other in found}]
        if not good and not _is_base(value):
            bad = [one for one in tried if isinstance(one, Left)]
            left += bad[:1] or [Left(name, near(name, roles))]
    if uses_torch(names):
        found = [one._replace(call=with_tensors(one.call)) for one in found]
    return found, left


def _own(names: Mapping[str, Any]) -> dict[str, Any]:
    """Functions and classes that the file defines, without those it imports and private ones."""
    here = names.get("__name__")
    return {
        name: value
        for name, value in names.items()
        if callable(value) and not name.startswith("_")
        and getattr(value, "__module__", here) in (here, None)
    }  # fmt: skip


def _of_function(
    name: str, fn: Callable[..., Any], roles: tuple[Role, ...]
) -> Iterator[Found | Left]:
    """The first role of this name whose arguments fit; else why the nearest one does not."""
    unfit: list[Unbound] = []
    for role in roles:
        if role.names and re.fullmatch(role.names, name):
            try:
                taken = bound(fn, role, role.arguments)
            except Unbound as why:
                unfit.append(why)
                continue
            yield Found(name, role, _caller(fn, taken), _absent(role, taken, role.arguments))
            return
    if unfit:
        yield Left(name, str(min(unfit, key=lambda one: one.off)))


def _caller(fn: Callable[..., Any], taken: Mapping[str, str]) -> Callable[[Arguments], Any]:
    return lambda arguments: fn(**{theirs: arguments[ours] for theirs, ours in taken.items()})


def _absent(role: Role, taken: Mapping[str, str], names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name in names if name not in taken.values())


def near(name: str, roles: tuple[Role, ...]) -> str:
    """A name that is known and close, in a sentence, or ""."""
    known = sorted({re.split(r"[( ,]", role.title)[0] for role in roles if role.names})
    close = difflib.get_close_matches(name.lower(), known, 1, 0.6)
    return f"did you mean {close[0]}?" if close else "no known name"


# --- classes -----------------------------------------------------------------------------------


def _of_class(cls: type, roles: tuple[Role, ...]) -> Iterator[Found | Left]:
    kind = _kind(cls)
    if not kind or _is_base(cls):
        return
    if kind == "linear" and (needed := _needed(cls)):
        yield Left(cls.__name__, f"its constructor needs {', '.join(needed)}: give them defaults")
        return
    methods = {
        name: method
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }
    for name, method in methods.items():
        fitting = [role for role in roles if role.kind == kind and re.fullmatch(role.method, name)]
        if kind == "linear" and name == "loss":
            fitting = [role for role in roles if role.kind == kind
                       and re.fullmatch(role.method, cls.__name__)]  # fmt: skip
        yield from _of_method(cls, name, method, fitting)


def _is_base(value: Any) -> bool:
    """A class that others derive from is tried through them."""
    return inspect.isclass(value) and bool(value.__subclasses__())


def _kind(cls: type) -> str:
    """linear: it has a loss of self.W.  neighbours: by its name, its methods or a k."""
    methods = dict(inspect.getmembers(cls, inspect.isfunction))
    if "loss" in methods:
        of_W = any("W" in method.__code__.co_names for method in methods.values())
        return "linear" if of_W else ""
    named = re.search("(?i)knn|neighbou?r", cls.__name__) or _k_at_start(cls)
    told = any(re.match("(?i)compute_dist|predict_label", name) for name in methods)
    return "neighbours" if named or told else ""


def _k_at_start(cls: type) -> str:
    """The parameter that gives k when a classifier is made, or ""."""
    if "__init__" not in vars(cls):
        return ""
    names = inspect.signature(cls).parameters
    return next((name for name in names if name.lower() in SYNONYMS["k"].split()), "")


def _at_start(cls: type) -> bool:
    """Whether a class takes the training set when it is made."""
    return "__init__" in vars(cls) and len(_needed(cls)) >= 2


def _needed(cls: type) -> list[str]:
    """The arguments without which a class cannot be made."""
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.default is p.empty
            and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]  # fmt: skip


def _of_method(
    cls: type, name: str, method: Callable[..., Any], roles: list[Role]
) -> Iterator[Found | Left]:
    """The last role that fits: the one with the most arguments comes first."""
    whole = method.__qualname__  # an inherited one by the class that has it
    for role in sorted(roles, key=lambda one: -len(one.arguments)):
        given = (*GIVEN[role.kind], *(["k"] if _k_at_start(cls) else []))
        names = tuple(one for one in role.arguments if one not in given)
        try:
            taken = bound(_unbound(method), role, names)
        except Unbound as why:
            yield Left(whole, str(why))
            continue
        made = MAKERS[role.kind](cls, name, taken)
        yield Found(whole, role, made, _absent(role, taken, names))
        return


def _unbound(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method without self, for its signature."""

    def stand_in() -> None: ...

    signature = inspect.signature(method)
    rest = list(signature.parameters.values())[1:]
    stand_in.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    return stand_in


def _neighbours(cls: type, name: str, taken: Mapping[str, str]) -> Callable[[Arguments], Any]:
    """Make the classifier, give it the training set, call the method."""

    def call(arguments: Arguments) -> Any:
        X, y = arguments.get("X"), arguments.get("y")
        if X is None:  # distances are given: the images do not matter
            X = np.zeros((len(arguments["y"]), 2))
        if y is None:
            y = np.zeros(len(X), int)
        at_start = _k_at_start(cls)
        numbers = {at_start: arguments["k"]} if at_start and "k" in arguments else {}
        if _at_start(cls):
            model = cls(X, y, **numbers)
        else:
            model = cls(**numbers)
            (getattr(model, "train", None) or model.fit)(X, y)
        return getattr(model, name)(**{p: arguments[ours] for p, ours in taken.items()})

    return call


def _linear(cls: type, name: str, taken: Mapping[str, str]) -> Callable[[Arguments], Any]:
    """Make the classifier, set its W, call the method."""

    def call(arguments: Arguments) -> Any:
        model = cls()
        model.W = arguments["W"]
        if "loss_fn" in arguments:  # a training loop calls the loss of its own class
            model.loss = lambda X, y, reg: arguments["loss_fn"](model.W, X, y, reg)
        result = getattr(model, name)(**{p: arguments[ours] for p, ours in taken.items()})
        return (result, model.W) if "loss_fn" in arguments else result

    return call


GIVEN = {"neighbours": ("X", "y"), "linear": ("W", "loss_fn")}  # what the model has already
MAKERS = {"neighbours": _neighbours, "linear": _linear}
