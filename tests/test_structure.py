"""The plan of the house, held: which way imports look, what is public, what is documented."""

import ast
import importlib
import inspect
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import lincls

ROOT = Path(__file__).parent.parent
ORDER = [
    "structs",
    "checks",
    "precision",
    "placement",
    "losses",
    "penalties",
    "linear",
    "distances",
    "splits",
    "preprocessing",
    "evaluation",
    "gradcheck",
    "checkpoint",
    "data",
    "hyper",
    "batches",
    "objective",
    "optimizers",
    "passes",
    "training",
    "optimum",
    "certificate",
    "quick",
    "random_search",
    "knn",
    "crossval",
]
SOURCES = sorted((ROOT / "lincls").rglob("*.py"))


def place(path):
    """The position in ORDER of the module or package a file of lincls belongs to."""
    return ORDER.index(path.relative_to(ROOT / "lincls").with_suffix("").parts[0])


def imported(path):
    """The modules and packages of lincls that a file imports, as parts of ORDER."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lincls"):
            inner = node.module.split(".")[1:]
            yield from [inner[0]] if inner else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from [name[1] for name in names if name[0] == "lincls" and len(name) > 1]


def functions(path):
    tree = ast.parse(path.read_text())
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_module_has_its_place():
    assert {ORDER[place(path)] for path in SOURCES if path.name != "__init__.py"} == set(ORDER)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_look_only_upwards_in_the_order(path):
    if path == ROOT / "lincls" / "__init__.py":
        return
    here = place(path)
    later = [name for name in imported(path) if ORDER.index(name) > here]
    assert not later, f"{path.name} imports {later}, which come after it"


def test_importing_touches_no_device_no_flag_and_no_heavy_package():
    program = """
import sys, jax
before = dict(jax.config.values)
import lincls
assert dict(jax.config.values) == before, "a flag of JAX was set"
heavy = {"tensorflow_datasets", "tensorflow", "matplotlib", "sklearn"} & set(sys.modules)
assert not heavy, heavy
from jax._src import xla_bridge
assert not xla_bridge._backends, "a device was touched"
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_public_names_are_there_and_documented():
    for name in lincls.__all__:
        value = getattr(lincls, name)
        assert inspect.getdoc(value), name
    assert set(ORDER) - {"checks", "precision"} <= set(lincls.__all__)


def public_functions():
    for name in ORDER:
        module = importlib.import_module(f"lincls.{name}")
        for key, value in vars(module).items():
            ours = inspect.isfunction(value) and value.__module__.startswith("lincls")
            if ours and not key.startswith("_"):
                yield pytest.param(inspect.unwrap(value), id=f"{name}.{key}")


@pytest.mark.parametrize("fn", list(public_functions()))
def test_public_functions_are_documented_and_annotated(fn):
    assert inspect.getdoc(fn), "a public function has a docstring"
    parameters = inspect.signature(fn).parameters
    bare = [name for name, p in parameters.items() if p.annotation is inspect.Parameter.empty]
    assert not bare, f"without annotation: {bare}"


def test_functions_are_short():
    """Lines of a function without its docstring."""
    lengths = []
    for path in SOURCES:
        for fn in functions(path):
            documented = ast.get_docstring(fn) is not None and len(fn.body) > 1
            first = fn.body[1] if documented else fn.body[0]
            lengths.append(fn.end_lineno - first.lineno + 1)
    assert statistics.median(lengths) <= 10
    assert max(lengths) <= 45


def test_the_wheel_holds_lincls_alone():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    assert set(project["tool"]["setuptools"]["packages"]) == packages
    assert (ROOT / "lincls" / "py.typed").exists()
