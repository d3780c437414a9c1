"""Two embeddings on one test set: the difference, its interval, and McNemar's p-value."""

import numpy as np
import pytest
import scipy.stats

from experiments.probe import __main__ as program
from experiments.probe import choosing, compare, features, least_squares, protocols
from experiments.probe.settings import Settings
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


# --- protocols ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_a_protocol_sets_flags_that_exist_and_what_is_typed_stands(name):
    (settings,) = protocols.applied(Settings(protocol=(name,), seeds=7), ["--seeds", "7"])
    assert settings.seeds == 7
    fixed = protocols.PROTOCOLS[name].flags
    assert {key: getattr(settings, key) for key in fixed} == fixed | (
        {"seeds": 7} if "seeds" in fixed else {}
    )


def test_dino_knn_votes_as_its_paper_says():
    """Votes exp(cosine / 0.07) of the k nearest rows of norm 1, here by matrix products."""
    (settings,) = protocols.applied(Settings(protocol=("dino-knn",)), [])
    assert settings.tried(200).tolist() == [10, 20, 100, 200]
    X, queries = (RNG.normal(size=(n, 8)).astype(np.float32) for n in (300, 20))
    y = RNG.integers(0, 4, 300)
    X, queries = (features.prepared(rows, 0, settings.normalise == "unit") for rows in (X, queries))
    near = features.search("cosine", X, y, queries, 200, settings.temperature)
    votes, found = choosing.vote("exp", near, 4, settings.tried(200))
    cosines = queries.astype(np.float64) @ X.T.astype(np.float64)
    for place, k in enumerate((10, 20, 100, 200)):
        first = np.argsort(-cosines, axis=1)[:, :k]
        weights = np.exp(np.take_along_axis(cosines, first, axis=1) / 0.07)
        expected = np.stack([(weights * (y[first] == c)).sum(axis=1) for c in range(4)], axis=1)
        np.testing.assert_array_equal(found[place], expected.argmax(axis=1))
    shares = [each / each.sum(axis=1, keepdims=True) for each in (votes, expected)]
    np.testing.assert_allclose(*shares, rtol=1e-3)


@pytest.mark.parametrize(("rows", "size"), [(40, 6), (12, 30)])
def test_least_squares_is_that_of_big_vision(rows, size):
    """Its arithmetic in float64: the normal equations on whitened rows with a constant 100."""
    X, y = RNG.normal(3, 2, size=(rows, size)), RNG.integers(0, 3, rows)
    queries = RNG.normal(3, 2, size=(20, size))
    found = least_squares.fit(X, y, 4, 2.0**10)
    Z, Q = ((each - X.mean(axis=0)) / (X.std(axis=0) + 1e-5) for each in (X, queries))
    Z, Q = (np.pad(each, ((0, 0), (0, 1)), constant_values=100.0) for each in (Z, Q))
    V = np.linalg.solve(Z.T @ Z + 2.0**10 * np.eye(size + 1), Z.T @ (2 * np.eye(4)[y] - 1))
    np.testing.assert_allclose(queries @ found.W.T + found.b, Q @ V, atol=1e-4)


def test_the_few_shot_protocol_of_big_vision_runs(tmp_path, capsys):
    y = RNG.permutation(np.arange(160) % 4)
    X = (RNG.normal(size=(4, 6))[y] + RNG.normal(size=(160, 6))).astype(np.float32)
    np.savez(tmp_path / "a.npz", X_train=X[:120], y_train=y[:120], X_test=X[120:], y_test=y[120:])
    words = ["--dataset", str(tmp_path / "a.npz"), "--out", str(tmp_path)]
    assert program.main([*words, "--protocol", "fewshot-lsr"]) == 0
    told = capsys.readouterr().out
    assert told.count("| linear, least squares | ") == 4
    assert "strength 1.0e+03 |" in told
    (folder,) = (path.parent for path in tmp_path.glob("a/probe/*/heads.npz"))
    with np.load(folder / "heads.npz") as heads, np.load(folder / "predictions.npz") as said:
        scores = X[120:] @ heads["W"][-1].T + heads["b"][-1]  # 25 shots, the last draw
        np.testing.assert_array_equal(scores.argmax(axis=1), said["predictions"][-1])
