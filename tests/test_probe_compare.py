"""Two embeddings on the same test examples: the difference, its interval, McNemar's p-value."""

import numpy as np
import pytest
import scipy.stats

from experiments.probe import compare
from lincls import evaluation, files

RNG = np.random.default_rng(12)
LABELS = np.arange(400) % 4
GOOD = np.where(RNG.random(400) < 0.9, LABELS, (LABELS + 1) % 4)
FAIR = np.where(RNG.random(400) < 0.8, LABELS, (LABELS + 2) % 4)
GROUPS = np.arange(400) // 40


def said(groups=None):
    return compare.Said({}, LABELS, groups)


def test_of_one_seed_the_difference_is_that_of_the_library():
    found = compare.compared([GOOD], [FAIR], said())
    theirs = evaluation.paired_difference(GOOD == LABELS, FAIR == LABELS)
    assert found.shares == (np.mean(GOOD == LABELS), np.mean(FAIR == LABELS))
    np.testing.assert_allclose(found.difference.interval, theirs.interval)
    assert found.p == evaluation.mcnemar(GOOD, FAIR, LABELS)


def test_of_several_seeds_the_interval_contains_their_spread():
    found = compare.compared([GOOD, FAIR, GOOD], [FAIR, FAIR, GOOD], said())
    gains = np.array([np.mean(GOOD == LABELS) - np.mean(FAIR == LABELS), 0, 0])
    drawn = scipy.stats.t.ppf(0.975, 2) * gains.std(ddof=1) / np.sqrt(3)
    assert found.difference.value == pytest.approx(gains.mean())
    assert found.difference.interval.high - found.difference.value > drawn
    same = compare.compared([GOOD, GOOD], [FAIR, FAIR], said()).difference
    np.testing.assert_allclose(
        same.interval, compare.compared([GOOD], [FAIR], said()).difference.interval
    )


def test_groups_widen_the_interval_and_have_no_p_value():
    together = np.where(GROUPS < 5, LABELS, FAIR)  # whole groups are right
    alone = compare.compared([together], [FAIR], said()).difference.interval
    found = compare.compared([together], [FAIR], said(GROUPS))
    grouped = found.difference.interval
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)
    assert found.p is None


def written(folder, predictions, labels=LABELS, further=None, seeds=(3, 4), **more):
    folder.mkdir()
    about = {"seed": 3, "further": {name: {} for name in further or {}}}
    files.write_json(folder / "results.json", about)
    row = {"probe": ["l2", "l2"], "shots": ["all", "all"], "seed": seeds} | more
    np.savez(folder / "predictions.npz", labels=labels, predictions=[predictions, labels], **row)
    for name, (found, truth) in (further or {}).items():
        np.savez(folder / f"predictions-{name}.npz", labels=truth, predictions=[found, found],
                 **row)  # fmt: skip
    return str(folder)


def test_the_program_prints_the_mean_over_the_seeds_of_every_row_and_test_set(tmp_path, capsys):
    far = {"far": (GOOD, LABELS)}
    folders = [
        written(tmp_path / "vit_b", GOOD, further=far, groups=GROUPS),
        written(tmp_path / "vit_s", FAIR, further=far | {"other": (FAIR, LABELS)}),
    ]
    assert compare.main(folders) == 0
    *_, main, of_far = capsys.readouterr().out.splitlines()
    shares = [50 * np.mean(each == LABELS) + 50 for each in (GOOD, FAIR)]
    assert main.startswith(f"| vit_s | test | l2, all | {shares[0]:.1f} % | {shares[1]:.1f} % | +")
    assert main.endswith("| none: groups |")
    assert of_far.startswith("| vit_s | far | l2, all |")
    assert "| +0.0 (95 % CI" in of_far


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    one, other = written(tmp_path / "a", GOOD), written(tmp_path / "b", FAIR, LABELS[::-1])
    elsewhere = written(tmp_path / "c", FAIR, seeds=(5, 6))
    for folders, told in (
        ([one], "at least two folders"),
        ([one, str(tmp_path)], "has no results.json"),
        ([one, other], "has other labels of the test set test"),
        ([one, elsewhere], "no probe, shots and seed in common"),
    ):
        with pytest.raises(SystemExit, match="2"):
            compare.main(folders)
        assert told in capsys.readouterr().err
