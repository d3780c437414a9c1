"""Calls a student's function on copies of a case and notes what came of it."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from experiments.check_homework.finding import Found
from experiments.check_homework.roles import Arguments, Form, Parts, Role, parts


class Outcome(NamedTuple):
    """What one call returned, or why it returned nothing."""

    parts: Parts
    problem: str = ""
    changed: str = ""  # the argument that is no longer what it was
    is_jax: bool = False


class Unusable(Exception):
    """A result that has no numbers; says what it was."""


def try_case(found: Found, form: Form, arguments: Arguments) -> Outcome:
    """One call; whatever it raises is its outcome."""
    given = form.give(copied(arguments))
    before = copied(given)
    np.random.seed(0)  # noqa: NPY002 -- what students draw is drawn from here
    try:
        with quietly():
            result = found.call(given)
            if result is None and found.role.may_change:
                result = _changed_alone(given, found.role)
            got = form.take(named_parts(result, found.role.returns))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Outcome({}, told(error))
    return Outcome(got, "", _changed(given, before, found.role.may_change), _of_jax(result))


def _changed_alone(given: Arguments, role: Role) -> Any:
    """What a function returned that changed its argument in place, and returned nothing."""
    if len(role.returns) == 1:
        return given[role.may_change]
    return tuple(given[name] if name == role.may_change else None for name in role.returns)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without warnings about overflow, and in float64 where the student uses JAX."""
    jax = sys.modules.get("jax")
    with np.errstate(all="ignore"), jax.enable_x64(True) if jax else contextlib.nullcontext():
        yield


def right_parts(function: Callable[..., Any], arguments: Arguments) -> Parts:
    """What one of our own functions makes of a case."""
    with np.errstate(all="ignore"):
        return parts(function(**copied(arguments)))


def copied(arguments: Arguments) -> Arguments:
    """Copies of all arrays, also of those in tuples."""
    return {name: _copy(value) for name, value in arguments.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_copy(one) for one in value)
    return value.copy() if isinstance(value, np.ndarray | list) else value


def _changed(after: Arguments, before: Arguments, allowed: str) -> str:
    names = (name for name, value in after.items() if not _same(value, before[name]))
    return next((name for name in names if name != allowed), "")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(map(_same, a, b))
    return not isinstance(a, np.ndarray) or np.array_equal(a, b)


def named_parts(result: Any, names: tuple[str, ...]) -> Parts:
    """A student's result by the names of its parts; of several, some may be None or left out.

    Raises:
        Unusable: the result has no numbers, or more parts than it should.
    """
    if result is None:
        raise Unusable("it returned None: is `return` missing?")
    if isinstance(result, tuple) and len(names) == 1:
        raise Unusable(f"it returned a tuple of {len(result)}: one array is expected")
    if not isinstance(result, tuple):
        return {names[0]: numbers(result)}
    given = zip(names, _flat(result), strict=False)
    there = {name: numbers(part) for name, part in given if part is not None}
    if not there:
        raise Unusable("it returned None in a tuple")
    return there


def _flat(result: tuple[Any, ...]) -> list[Any]:
    """A tuple in which {"W": dW, "b": db} stands for two parts."""
    flat: list[Any] = []
    for part in result:
        flat += part.values() if isinstance(part, dict) else [part]
    return flat


def numbers(value: Any) -> np.ndarray:
    """An array of float64 of numpy, JAX or torch; a dict by its sorted keys."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise Unusable(f"it returned {_kind(value)}: an array of numbers is expected") from error


def _kind(value: Any) -> str:
    return "None in an array" if value is None else f"a {type(value).__name__}"


def _of_jax(result: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(result, jax.Array)


def told(error: BaseException) -> str:
    """An exception in one line, with the line of the student's file where it was raised."""
    if isinstance(error, Unusable):
        return str(error)
    if isinstance(error, SystemExit):
        return "it ends the program (exit): return a value instead"
    message = " ".join(str(error).split())
    text = type(error).__name__ + (f": {message[:120]}" if message else "")
    return f"it raised {text}{_line(error)}"


def _line(error: BaseException) -> str:
    """The last line of the student's own file that the error came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "check_homework" not in
              f.filename and "site-packages" not in f.filename]  # fmt: skip
    return f" (line {frames[-1].lineno})" if frames else ""
