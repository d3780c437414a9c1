"""Runs a student's file, statement by statement, and keeps what it defines.

A statement that raises is noted, and the rest goes on: a missing package or data file should not
hide the functions.  Of a notebook only imports, functions, classes and constants are run, because
its other cells train and draw.
"""

import ast
import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.check_homework.trying import told


class Statement(NamedTuple):
    """One statement at the top of a file or cell."""

    node: ast.stmt
    where: str  # file name, or cell


def namespace(file: Path) -> tuple[dict[str, Any], list[str]]:
    """The names that a file defines, and notes about what went wrong there.

    Raises:
        SyntaxError: the file is no Python; says where.
        ValueError: a notebook is no notebook.
    """
    statements = list(_notebook(file) if file.suffix == ".ipynb" else _script(file))
    module = _module(file, statements)
    names, notes = vars(module), []
    _old_python()
    for node, where in statements:
        program = ast.Module([node], [])
        try:
            exec(compile(program, where, "exec", _future(statements), True), names)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            notes.append(f"{where}: {told(error)}")
    return names, notes


def _script(file: Path) -> Iterator[Statement]:
    for node in ast.parse(file.read_bytes(), file.name).body:
        yield Statement(node, file.name)


def _notebook(file: Path) -> Iterator[Statement]:
    """Imports, functions, classes and constants of the cells, without IPython's own commands."""
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file.name} is no notebook of Jupyter (version 4)") from error
    for number, source in enumerate(sources, 1):
        where = f"code cell {number}"
        for node in ast.parse(_without_commands(source), where).body:
            if _defines(node):
                yield Statement(node, where)


def _without_commands(source: str) -> str:
    """Lines such as %matplotlib and !pip become empty, so that line numbers stay."""
    if source.lstrip().startswith("%%"):
        return ""
    lines = source.splitlines()
    return "\n".join("pass" if line.startswith(("%", "!", "?")) else line for line in lines)


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return isinstance(node.value, ast.Constant)
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(node, kinds)


def _module(file: Path, statements: list[Statement]) -> types.ModuleType:
    """An empty module at the place of the file: its neighbours and its package can be imported."""
    above = [n.level for n, _ in statements if isinstance(n, ast.ImportFrom)]
    folders = list(file.resolve().parents)
    depth = max(above, default=0)
    while depth < len(folders) and (folders[depth] / "__init__.py").exists():
        depth += 1
    package = ".".join(folder.name for folder in reversed(folders[:depth]))
    sys.path[:0] = [str(folders[0]), str(folders[min(depth, len(folders) - 1)])]
    name = "homework" if not package else f"{package}.{file.stem}"
    module = types.ModuleType(name)
    module.__package__, module.__file__ = package or None, str(file)
    sys.modules[name] = module
    return module


def _old_python() -> None:
    """Public assignments import `xrange` from a package that brings back Python 2."""
    if importlib.util.find_spec("past") is None:
        past, builtins = types.ModuleType("past"), types.ModuleType("past.builtins")
        builtins.xrange = range  # type: ignore[attr-defined]
        sys.modules |= {"past": past, "past.builtins": builtins}


def _future(statements: list[Statement]) -> int:
    """The flags of `from __future__ import ...`, which hold for the whole file."""
    import __future__

    flags = 0
    for node, _ in statements:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                flags |= getattr(__future__, alias.name).compiler_flag
    return flags
