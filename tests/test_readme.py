"""What the READMEs show runs as it stands, prints what its comments say, and stays short."""

import contextlib
import importlib
import io
import re
import shlex
import sys
from pathlib import Path

import jax
import pytest

from experiments.lab import options

ROOT = Path(__file__).parent.parent
FOLDERS = (
    ".", "lincls", "lincls/data", "lincls/knn", "experiments", "experiments/bench",
    "experiments/probe",
)  # fmt: skip
TEXTS = {folder: (ROOT / folder / "README.md").read_text() for folder in FOLDERS}
BLOCKS = [
    block for text in TEXTS.values() for block in re.findall(r"```python\n(.*?)```", text, re.S)
]
FILES = [block for block in BLOCKS if block.startswith("# experiments/")]
COMMANDS = [
    command
    for text in TEXTS.values()
    for block in re.findall(r"```(?:sh|text)\n(.*?)```", text, re.S)
    for command in re.findall(r"\.venv/bin/python -m (experiments[^\n&]*?)(?:  .*)?$", block, re.M)
] + [
    command
    for text in TEXTS.values()
    for command in re.findall(r"`\.venv/bin/python -m (experiments[^`]*)`", text)
]
OTHERS = (
    "check_homework",
    "class_counts",
    "classify",
    "knn_memory",
    "knn_profile",
    "bench.estimators",
)  # without `options`; tested elsewhere
COMMANDS = sorted({one for one in COMMANDS if not any(name in one for name in OTHERS)})
NUMBER = r"[-+]?\d+(?:\.\d+)?"


def numbers(text):
    return [float(number) for number in re.findall(NUMBER, text)]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b not in FILES], ids=lambda b: b[-40:])
def test_code_prints_what_it_says(block, tmp_path, monkeypatch):
    """On another machine a few digits may fall otherwise."""
    monkeypatch.chdir(tmp_path)  # some write a file
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), jax.numpy_dtype_promotion("standard"):
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    said = re.findall(r"^print\(.*\)  # (.*)$", block, re.M)
    lines = printed.getvalue().splitlines()
    assert len(lines) == len(said) == block.count("\nprint(")
    for line, comment in zip(lines, said, strict=True):
        assert re.sub(NUMBER, "", line) == re.sub(NUMBER, "", comment)
        assert numbers(line) == pytest.approx(numbers(comment), rel=0.01)


def test_the_experiment_runs(tmp_path, monkeypatch, capsys):
    import experiments
    from experiments import report, run

    for block in FILES:
        folder, name = re.match(r"# experiments/(report/)?(\w+)\.py", block).groups("")
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.py").write_text(block)
    for package, folder in ((experiments, tmp_path), (report, tmp_path / "report")):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    assert run.main(f"{name}.py", ["--out", str(tmp_path)]) == 0
    assert "The counts are [143, 146," in capsys.readouterr().out
    for place in ("experiments", "experiments.report"):
        sys.modules.pop(f"{place}.{name}")


class Read(Exception):
    """The command line has been read; the rest of the program need not run."""


def start(command):
    """Run a program of `options` by the words of its command line."""
    name, *words = shlex.split(command)
    run, program = importlib.import_module("experiments.run"), importlib.import_module(name)
    if name == "experiments":
        return run.main_all(words)
    if hasattr(program, "__path__"):
        program = importlib.import_module(f"{name}.__main__")
    main = getattr(program, "main", None)
    return main(words) if main else run.main(program.__file__, words)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_read_as_they_stand(command, monkeypatch, capsys):
    parse = options.parse

    def only_read(*arguments):
        raise Read from (parse(*arguments) and None)

    monkeypatch.setattr(options, "parse", only_read)
    with pytest.raises((Read, SystemExit)) as ended:
        start(command)
    assert ended.type is Read or ended.value.code == 0, capsys.readouterr().err


def test_commands_were_found():
    assert len(COMMANDS) > 8


def test_recipes_are_short():
    for folder in (".", "lincls"):
        for block in re.findall(r"```python\n(.*?)```", TEXTS[folder], re.S):
            assert len(block.strip().splitlines()) <= 16, block


def test_readme_is_short():
    assert len(TEXTS["."].splitlines()) <= 180


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_it_names_exist(folder):
    for path in re.findall(r"\]\(([^):]+)\)", TEXTS[folder]):
        assert (ROOT / folder / path).exists(), path
