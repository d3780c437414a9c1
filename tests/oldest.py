"""Prints the oldest versions that pyproject.toml allows, as constraints for pip."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
wanted = project["dependencies"] + project["optional-dependencies"]["experiments"]
print("\n".join(one.replace(">=", "==") for one in wanted if ">=" in one))
