"""A share of the damaged files; `PYTHONPATH=. python tests/fuzz_files.py` has more."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.lab import record
from experiments.lab.experiment import Outcome
from lincls import data, files

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(os.name == "nt", reason="FIFOs and alarms of POSIX")
@pytest.mark.parametrize("cases", [700, pytest.param(9000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_by_name_or_read_as_they_were(cases):
    program = [sys.executable, str(ROOT / "tests/fuzz_files.py"), "--cases", str(cases)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [*program, "--seed", "170"], env=environ, cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith(f"{cases} cases of ")


def flipped_at(content, place):
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def test_a_parquet_file_whose_pages_have_sums_shows_a_flipped_bit(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.parquet"
    frame = pandas.DataFrame({"a": np.arange(999) / 7, "label": np.arange(999) % 3})
    frame.to_parquet(path, write_page_checksum=True, compression="none")
    whole, content = data.load(path), path.read_bytes()
    for place in range(100, 8000, 500):  # in the values of a
        path.write_bytes(flipped_at(content, place))
        with pytest.raises(ValueError, match=r"a\.parquet is damaged"):
            data.load(path)
    path.write_bytes(content)
    assert data.load(path).source.digest == whole.source.digest


def test_a_pt_file_shows_a_flipped_bit(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pt"
    X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    torch.save({"X": torch.from_numpy(X), "y": torch.arange(50) % 2}, path)
    content = path.read_bytes()
    place = content.index(X.tobytes())
    path.write_bytes(flipped_at(content, place + 9))
    with pytest.raises(ValueError, match=r"a\.pt is damaged"):
        data.load(path)


def test_a_record_with_one_other_digit_does_not_stand(tmp_path):
    meta = {key: {} for key in record.PARTS}
    record.save(tmp_path, meta, Outcome({"accuracy": 0.9123}, {"W": np.arange(50.0)}))
    assert record.load(tmp_path).numbers == {"accuracy": 0.9123}
    path = tmp_path / record.RESULTS
    text = path.read_text()
    path.write_text(text.replace("0.9123", "0.9723"))
    assert record.load(tmp_path) is None
    path.write_text(text)
    arrays = tmp_path / record.ARRAYS
    content = arrays.read_bytes()
    for place in range(0, len(content), 3):
        arrays.write_bytes(flipped_at(content, place))
        found = record.load(tmp_path)
        assert found is None or found.arrays["W"].tolist() == list(range(50)), place


def test_json_keeps_its_values_and_refuses_what_is_no_number(tmp_path):
    path = tmp_path / "a.json"
    values = {"text": "Zürich", "list": [1, 2.5, None, True], "in": {"x": 1e-300, "3": []}}
    files.write_json(path, values)
    assert files.read_json(path) == values
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            files.write_json(path, {"a": wrong})
    assert files.read_json(path) == values
    for content in (b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"sha256": 3}', b"null"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.json is damaged, or is no result"):
            files.read_json(path)
