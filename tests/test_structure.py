"""The plan of the house, held: which way imports look, what is public, what is documented."""

import ast
import importlib
import inspect
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import experiments
import lincls
from experiments.lab import fingerprint

ROOT = Path(__file__).parent.parent
ORDER = [
    "structs",
    "files",
    "checks",
    "precision",
    "sums",
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
    "certificate",
    "optimum",
    "quick",
    "random_search",
    "knn",
    "audit",
    "crossval",
    "probe",
    "multilabel",
    "forecast",
    "models",
    "estimators",
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
    inner = {"checks", "files", "precision", "sums", "estimators"}  # the last needs half a second
    assert set(ORDER) - inner <= set(lincls.__all__)


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


def test_signatures_and_files_are_short():
    for parameter in public_functions():
        fn = parameter.values[0]
        # The plan gives `training.fit` and `optimum` thirteen.
        is_long = fn.__module__ in ("lincls.training.driver", "lincls.optimum.door")
        assert len(inspect.signature(fn).parameters) <= 12 + is_long, fn
    for path in SOURCES:
        assert len(path.read_text().splitlines()) <= 350, path
    for title in experiments.ORDER:  # what a reader of the lecture opens
        for folder in ("experiments", "experiments/report"):
            path = ROOT / folder / f"{title}.py"
            assert len(path.read_text().splitlines()) <= 310, path


def packages_imported(folder):
    """The packages that the files of a folder import, anywhere in them."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[0]


DISTRIBUTIONS = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
    "mpl_toolkits": "matplotlib",
    "cycler": "matplotlib",
}
INDIRECT = {"jaxlib", "importlib_resources"}  # what jax and TFDS need and lincls does not import
OF_TFDS = {"absl", "array_record"}
OPTIONAL = {"tensorflow", "torch", "faiss", "cv2", "usearch", "numkong", "IPython"}
OPTIONAL |= {"safetensors", "pandas"}  # extras of lincls


def needed(folder):
    """The distributions that a folder imports and Python does not have."""
    names = set(packages_imported(folder)) - set(sys.stdlib_module_names)
    names -= {"lincls", "experiments", "tests"} | OPTIONAL | OF_TFDS
    return {DISTRIBUTIONS.get(name, name) for name in names}


def declared(requirements):
    return {re.match(r"[\w.-]+", one)[0] for one in requirements} - {"lincls"}


def test_the_wheel_needs_what_lincls_imports_and_the_extra_what_experiments_import():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheel = declared(project["dependencies"])
    assert wheel - INDIRECT == needed(ROOT / "lincls")
    extra = declared(project["optional-dependencies"]["experiments"])
    through_models = {"safetensors"}  # `classify` saves by `lincls.models`
    assert needed(ROOT / "experiments") - wheel == extra - through_models


def test_the_library_shows_nothing():
    shown = {"matplotlib", "jinja2", "argparse", "tqdm"} & set(packages_imported(ROOT / "lincls"))
    assert not shown


@pytest.mark.parametrize("title", experiments.ORDER)
def test_a_question_never_imports_what_tells_it(title):
    """The law behind the fingerprints: a reworded sentence computes nothing again."""
    closure = fingerprint.closure(ROOT / "experiments" / f"{title}.py")
    assert (
        ROOT / "lincls" / "linear.py" in closure or ROOT / "lincls" / "knn" / "model.py" in closure
    )
    places = {path.relative_to(ROOT).parts[:2] for path in closure}
    assert ("experiments", "report") not in places
    others = {f"{other}.py" for other in experiments.ORDER} - {f"{title}.py"}
    assert not others & {place[1] for place in places if place[0] == "experiments"}


def test_the_wheel_holds_lincls_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    assert set(project["tool"]["setuptools"]["packages"]) == packages
    assert (ROOT / "lincls" / "py.typed").exists()
