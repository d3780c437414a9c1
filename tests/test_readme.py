"""README's code runs as it stands, prints what its comments say, and stays as short as it says."""

import contextlib
import io
import re
import sys
from pathlib import Path

import jax
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
FILES = [block for block in BLOCKS if block.startswith("# experiments/")]
NUMBER = r"[-+]?\d+(?:\.\d+)?"


def numbers(text):
    return [float(number) for number in re.findall(NUMBER, text)]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b not in FILES], ids=lambda b: b[-40:])
def test_code_prints_what_it_says(block):
    """On another machine a few digits may fall otherwise."""
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


def test_recipes_are_short():
    recipes = README.split("## Recipes")[1]
    for block in re.findall(r"```python\n(.*?)```", recipes, re.S):
        assert len(block.strip().splitlines()) <= 15, block


def test_files_it_names_exist():
    root = Path(__file__).parent.parent
    for path in re.findall(r"\]\(([^):]+)\)", README):
        assert (root / path).exists(), path
