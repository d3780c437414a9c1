"""A share of the generated bad input; `python tests/fuzz.py --cases 10000` has more."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz.py"


@pytest.mark.parametrize("cases", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_generated_bad_input_is_refused_by_name_or_answered(cases):
    program = [sys.executable, str(FUZZ), "--cases", str(cases), "--seed", "160"]
    ran = subprocess.run(program, cwd=FUZZ.parent.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{cases} cases, 0 faults" in ran.stdout
