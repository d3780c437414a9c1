"""Two embeddings on one test set: the difference, its interval, and McNemar's p-value."""

import numpy as np
import pytest
import scipy.stats

from experiments.probe import compare
from lincls import evaluation, files

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(12)
LABELS = np.arange(400) % 4
GOOD = np.where(RNG.random(400) < 0.9, LABELS, (LABELS + 1) % 4)
FAIR = np.where(RNG.random(400) < 0.8, LABELS, (LABELS + 2) % 4)


def test_the_paired_interval_is_scipys():
    found = compare.difference(GOOD, FAIR, LABELS, num_samples=4000)
    gains = (GOOD == LABELS).astype(float) - (FAIR == LABELS)
    theirs = scipy.stats.bootstrap(
        (gains,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.value == pytest.approx(gains.mean())
    np.testing.assert_allclose(found.interval, theirs, atol=0.006)
    assert found.p == evaluation.mcnemar(GOOD, FAIR, LABELS)


def written(folder, predictions, labels=LABELS):
    folder.mkdir()
    files.write_json(folder / "results.json", {"seed": 3})
    np.savez(folder / "predictions.npz", labels=labels, probe=["l2", "l2"], shots=["all", "all"],
             seed=[3, 4], predictions=[predictions, labels])  # fmt: skip
    return str(folder)


def test_the_program_prints_a_line_for_every_row_of_the_first_seed(tmp_path, capsys):
    folders = [written(tmp_path / "vit_b", GOOD), written(tmp_path / "vit_s", FAIR)]
    assert compare.main(folders) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    shares = [100 * np.mean(said == LABELS) for said in (GOOD, FAIR)]
    assert line.startswith(f"| vit_s | l2, all | {shares[0]:.1f} % | {shares[1]:.1f} % | +")


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    one, other = written(tmp_path / "a", GOOD), written(tmp_path / "b", FAIR, LABELS[::-1])
    for folders, told in (
        ([one], "at least two folders"),
        ([one, str(tmp_path)], "has no results.json"),
        ([one, other], "has other test labels"),
    ):
        with pytest.raises(SystemExit, match="2"):
            compare.main(folders)
        assert told in capsys.readouterr().err
