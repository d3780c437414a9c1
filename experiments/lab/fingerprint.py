"""A fingerprint of all that decides a record's numbers.

While it stands, a question need not be computed again.  The code that counts is the import
closure of the question's file: the file, the modules of `experiments` and `lincls` that it
imports, those that these import, and so on.  Docstrings, comments, layout and what runs under
`if __name__ == "__main__"` do not count, and a question never imports `report/`.
"""

import ast
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import experiments
import lincls

PACKAGES = {module.__name__: Path(str(module.__file__)).parent for module in (experiments, lincls)}


def of(source: Path, settings: Any, seed: int, data_digest: str) -> str:
    """A hash of settings, seed, data, versions, backend and code."""
    computing = {name: version(name) for name in ("jax", "jaxlib", "numpy")}
    parts = (dataclasses.asdict(settings), seed, data_digest, computing, code_version(source))
    text = json.dumps([*parts, jax.default_backend()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_version(source: Path) -> str:
    """A hash of the code in the import closure of a file."""
    hashed = hashlib.sha256()
    for _, tree in sorted(closure(source).items()):
        hashed.update(ast.dump(tree).encode())
    return hashed.hexdigest()


def closure(source: Path) -> dict[Path, ast.Module]:
    """The files whose code runs when `source` is imported, with that code."""
    met, waiting = dict[Path, ast.Module](), [source]
    while waiting:
        path = waiting.pop()
        if path not in met:
            met[path] = _code(path)
            waiting += [file for name in _imported(met[path]) if (file := _file(name))]
    return met


class _Code(ast.NodeTransformer):
    """Drops texts that stand alone (docstrings), and what runs as a program only."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        program = ast.unparse(node.test) == "__name__ == '__main__'"
        return None if program else self.generic_visit(node)


def _code(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    _Code().visit(tree)
    return tree


def _imported(tree: ast.Module) -> Iterator[str]:
    """The names of modules that are imported, as far as they can be: `a.b` of `from a import b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)


def _file(name: str) -> Path | None:
    """The file of a module, or of the module that holds the name; None outside of PACKAGES."""
    package, *rest = name.split(".")
    if package not in PACKAGES:
        return None
    path = PACKAGES[package].joinpath(*rest)
    candidates = (path.with_suffix(".py"), path / "__init__.py", path.parent.with_suffix(".py"),
                  path.parent / "__init__.py")  # fmt: skip
    return next((file for file in candidates if file.is_file()), None)
