"""Benchmarks of probes: the features, the engines on a small file, and records compared."""

import json

import numpy as np
import pytest

from experiments.bench import embeddings, probes, same

RNG = np.random.default_rng(21)


def test_hog_tells_the_angle_of_an_edge_and_not_its_contrast():
    """A vertical edge has all its gradient at angle 0, a horizontal one at 90 degrees."""
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[:, :, 4:] = 100
    across = embeddings.hog(image).reshape(4, 9)
    down = embeddings.hog(image.transpose(0, 2, 1, 3)).reshape(4, 9)
    assert across[:, 0].min() > 0.49
    assert across[:, 1:].max() == 0
    np.testing.assert_allclose(down[:, 4:6], 8**-0.5, atol=1e-3)  # 90 is between two angles
    np.testing.assert_allclose(embeddings.hog(2 * image), embeddings.hog(image), atol=1e-4)
    assert embeddings.hog(np.zeros((2, 28, 28, 1), np.uint8)).shape == (2, 1296)


def test_random_filters_are_patches_of_mean_0_and_features_are_quarters(tmp_path):
    images = RNG.integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    patches = embeddings.filters(images, 7, 0)
    assert patches.shape == (6, 6, 3, 7)
    np.testing.assert_allclose(patches.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    rows = np.asarray(embeddings.convolved(images.astype(np.float32), patches))
    assert rows.shape == (5, 4 * 7)
    answers = np.einsum(
        "ijk,ijkf->f", images[2, 1:7, 3:9].astype(np.float64) / 255, patches.astype(np.float64)
    )
    above = np.maximum(answers - answers.mean(), 0)
    only = np.asarray(embeddings.convolved(images[2:3, 1:7, 3:9].astype(np.float32), patches))
    np.testing.assert_allclose(only.reshape(4, 7)[0], above, atol=1e-4)


@pytest.mark.parametrize("engine", ["lincls", "sklearn"])
def test_an_engine_is_measured_on_a_small_file(engine, tmp_path, capsys, optax_promotes):
    y = RNG.permutation(np.arange(150) % 3)
    X = (7 + 2 * RNG.normal(size=(3, 5))[y] + RNG.normal(size=(150, 5))).astype(np.float32)
    file = tmp_path / "a.npz"
    np.savez(file, X_train=X[:100], y_train=y[:100], X_test=X[100:], y_test=y[100:])
    assert probes.main([str(file), "--one", "--engines", engine, "--strengths", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] > 0.6
    assert 0 <= found["relative gap"] < 2e-3
    assert found["first, s"] > 0
    assert len(probes.row("a", engine, found).split("|")) == len(probes.COLUMNS) + 2


def test_records_are_the_same_times_aside(tmp_path, capsys):
    for name, k, seconds in (("before", 3, 1.0), ("after", 3, 2.0), ("other", 4, 1.0)):
        folder = tmp_path / name / "choose_k"
        folder.mkdir(parents=True)
        numbers = {"best": {"k": k}, "sizes": [1, 2], "none": float("nan")}
        body = {"numbers": numbers, "classifiers": [{"correct": 5}], "seconds": {"all": seconds}}
        (folder / "results.json").write_text(json.dumps(body))
        np.savez(folder / "arrays.npz", accuracies=np.array([0.5, np.nan]) * (k - 2))
    before, after, other = (str(tmp_path / name) for name in ("before", "after", "other"))
    assert same.main([before, after]) == 0
    assert capsys.readouterr().out == "choose_k: 6 the same, 0 differ\n"
    assert same.main([before, other]) == 1
    told = "choose_k: 4 the same, 2 differ (numbers.best.k, arrays.accuracies)\n"
    assert capsys.readouterr().out == told
