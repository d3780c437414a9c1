"""A model in a file: the same bits elsewhere, readable by others, and refused when damaged."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression

from lincls import data, distances, files, knn, linear, models, preprocessing
from lincls.structs import LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")

DIGITS = data.load("digits")
X = DIGITS.train.images.reshape(-1, 64)[:300]
Y = DIGITS.train.labels[:300]
QUERIES = DIGITS.test.images[:40]
RNG = np.random.default_rng(150)
PARAMS = LinearParams(RNG.normal(size=(10, 64)).astype(np.float32), np.arange(10, dtype=np.float32))
NAMES = [f"digit <{i}>" for i in range(10)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def bits(model):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model)]


@pytest.mark.parametrize("affine", [None, preprocessing.fit(X)], ids=["plain", "affine"])
def test_a_linear_model_comes_back_in_the_same_bits(path, affine):
    models.save(path, PARAMS, class_names=NAMES, image_shape=(8, 8, 1), affine=affine)
    saved = models.load(path)
    assert bits(saved.model) == bits(PARAMS)
    assert bits(saved.affine) == bits(affine)
    assert saved.class_names == tuple(NAMES)
    assert saved.image_shape == (8, 8, 1)
    params = PARAMS if affine is None else linear.on_pixels(PARAMS, affine)
    expected = np.array(NAMES)[np.asarray(linear.predict(params, QUERIES))]
    assert models.predict(saved, QUERIES).tolist() == expected.tolist()
    np.testing.assert_array_equal(
        models.probabilities(saved, QUERIES), linear.probabilities(params, QUERIES)
    )


@pytest.mark.parametrize("metric", [distances.l1, distances.l2, distances.cosine])
def test_a_knn_model_finds_the_same_neighbours(path, metric):
    model = knn.fit(X, Y, metric=metric)
    models.save(path, model, k=3)
    saved = models.load(path)
    assert (saved.k, saved.model.metric) == (3, metric)
    found, expected = (knn.neighbors(m, QUERIES, 5) for m in (saved.model, model))
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert models.predict(saved, QUERIES).tolist() == knn.predict(model, QUERIES, 3).tolist()
    assert models.probabilities(saved, QUERIES).sum(axis=1) == pytest.approx(1)


def test_a_knn_model_may_refer_to_a_data_file_by_digest(path, tmp_path):
    place, elsewhere = tmp_path / "mine.npz", tmp_path / "moved.npz"
    parts = dict(zip(("X_train", "y_train"), (X, Y), strict=True))
    np.savez(place, **parts, X_test=X[:9], y_test=Y[:9])
    train = data.load(place).train
    model = knn.fit(data.rows(train.images), train.labels)
    models.save(path, model, dataset=place)
    assert path.stat().st_size < 1000
    assert bits(models.load(path).model) == bits(model)
    place.rename(elsewhere)
    assert bits(models.load(path, dataset=elsewhere).model) == bits(model)
    np.savez(elsewhere, **(parts | {"X_train": X[::-1]}), X_test=X[:9], y_test=Y[:9])
    with pytest.raises(ValueError, match=r"moved.npz holds other training data"):
        models.load(path, dataset=elsewhere)
    with pytest.raises(ValueError, match="not those of dataset"):
        models.save(path, knn.fit(X[:30], Y[:30]), dataset=elsewhere)


def test_a_distance_of_ones_own_is_given_again(path):
    metric = distances.pointwise(chebyshev)
    models.save(path, knn.fit(X[:50], Y[:50], metric=metric))
    with pytest.raises(ValueError, match=r"its metric is chebyshev.*metric="):
        models.load(path)
    assert models.load(path, metric=metric).model.metric == metric
    with pytest.raises(ValueError, match="its metric is chebyshev"):
        models.load(path, metric=distances.l1)


def chebyshev(a, b):
    return abs(a - b).max()


def test_other_libraries_read_the_arrays_without_lincls(path):
    models.save(path, PARAMS)
    program = f"""
import safetensors.numpy
state = safetensors.numpy.load_file({str(path)!r})
print(sorted(state), state["weight"].shape, "lincls" in __import__("sys").modules)
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert shown.stdout == "['bias', 'weight'] (10, 64) False\n"


def test_torch_takes_the_file_as_the_state_of_a_linear_layer(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    models.save(path, PARAMS)
    layer = torch.nn.Linear(64, 10)
    layer.load_state_dict(load_file(path))
    rows = QUERIES.reshape(-1, 64).astype(np.float32)
    scores = layer(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(scores, linear.scores(PARAMS, rows), rtol=1e-4, atol=1e-3)


def test_scikit_learn_takes_the_weights(path):
    models.save(path, PARAMS)
    state = safetensors.numpy.load_file(path)
    theirs = LogisticRegression()
    theirs.classes_, theirs.coef_, theirs.intercept_ = np.arange(10), state["weight"], state["bias"]
    expected = linear.predict(PARAMS, QUERIES)
    assert theirs.predict(QUERIES.reshape(-1, 64)).tolist() == expected.tolist()


def test_any_damage_is_refused_in_a_sentence(path):
    models.save(path, PARAMS, class_names=NAMES, affine=preprocessing.fit(X))
    content = path.read_bytes()
    rng = np.random.default_rng(151)
    places = [*range(0, 1200, 40), *rng.integers(0, len(content), 60)]
    damaged = [content[:place] for place in places[::3]]
    damaged += [content[:p] + bytes([content[p] ^ 1 << rng.integers(8)]) + content[p + 1 :]
                for p in places]  # fmt: skip
    for one in damaged:
        path.write_bytes(one)
        with pytest.raises(ValueError, match=r"^\S+model.safetensors [^\n]*$"):
            models.load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no model",
        b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.",
        safetensors.numpy.save({"weight": PARAMS.W, "bias": PARAMS.b}),
        safetensors.numpy.save({"weight": PARAMS.W}, {"lincls": "{}", "sha256": ""}),
    ],
    ids=["empty", "text", "pickle", "another program's", "without a digest"],
)
def test_foreign_files_are_refused_and_nothing_runs(path, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged, or models\.save did not write it"):
        models.load(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"class_names": ["a"]}, "class_names must be 10"),
        ({"class_names": list(range(10))}, "class_names"),
        ({"image_shape": [3, 3]}, "image_shape"),
        ({"kind": "knn"}, "'metric'"),
    ],
)
def test_texts_that_do_not_fit_are_refused(path, change, message):
    """A file whose digest is right, but whose text is another program's."""
    models.save(path, PARAMS, class_names=NAMES)
    with safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["lincls"]) | change
    files.write_tensors(path, {"weight": PARAMS.W, "bias": PARAMS.b}, about)
    with pytest.raises(ValueError, match=message):
        models.load(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"class_names": ["a"]}, "class_names must be 10 texts, got 1"),
        ({"class_names": range(10)}, "class_names"),
        ({"image_shape": (8, 9)}, "image_shape"),
        ({"image_shape": 64}, "image_shape"),
        ({"k": 3}, "belong to a kNN model"),
        ({"affine": 2.0}, "affine"),
    ],
)
def test_what_does_not_fit_is_not_written(path, how, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.save(path, PARAMS, **how)
    assert not path.exists()


def test_an_image_of_another_shape_is_refused_with_what_to_type(path):
    models.save(path, PARAMS, image_shape=(8, 8, 1))
    saved = models.load(path)
    with pytest.raises(ValueError, match=r"for one image use images\[None\]"):
        models.predict(saved, QUERIES[0])
    with pytest.raises(ValueError, match=r"images must be \(M, 8, 8, 1\)"):
        models.predict(saved, np.zeros((2, 4, 16, 1), np.uint8))
    assert models.predict(saved, QUERIES[:1]).shape == (1,)
    with pytest.raises(ValueError, match="no labels"):
        models.save(path, knn.fit(X))


def test_a_missing_package_is_named(path, monkeypatch):
    models.save(path, PARAMS)
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: models.load(path), lambda: models.save(path, PARAMS)):
        with pytest.raises(ImportError, match="pip install safetensors"):
            call()


def test_bfloat16_is_kept_exactly_as_float32(path):
    narrow = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, jax.numpy.bfloat16), PARAMS)
    models.save(path, narrow)
    model = models.load(path).model
    assert model.W.dtype == np.float32
    np.testing.assert_array_equal(model.W, np.asarray(narrow.W).astype(np.float32))


def test_a_file_says_on_which_data_the_model_was_trained(path):
    models.save(path, PARAMS, trained_on=DIGITS)
    saved = models.load(path)
    assert saved.trained_on.name == "digits"
    assert saved.trained_on.num_examples == len(DIGITS.train.labels)
    assert (saved.class_names, saved.image_shape) == (DIGITS.class_names, (8, 8, 1))
    changed = DIGITS._replace(train=DIGITS.train._replace(images=DIGITS.train.images + 1))
    models.save(path, PARAMS, class_names=NAMES, trained_on=changed)
    assert models.load(path).trained_on.digest != saved.trained_on.digest
    assert models.load(path).class_names == tuple(NAMES)
    models.save(path, knn.fit(X, Y), trained_on=DIGITS)
    assert models.load(path).trained_on == saved.trained_on
    models.save(path, PARAMS)
    assert models.load(path).trained_on is None


def test_a_file_says_the_loss_and_the_range_of_the_training_values(path):
    models.save(path, PARAMS, trained_on=DIGITS, loss="svm")
    saved = models.load(path)
    assert (saved.loss, saved.value_range) == ("svm", (0.0, 16.0))
    np.testing.assert_array_equal(models.scores(saved, QUERIES), linear.scores(PARAMS, QUERIES))
    with pytest.raises(ValueError, match="has no probabilities; use scores"):
        models.probabilities(saved, QUERIES)
    models.save(path, PARAMS)
    assert (models.load(path).loss, models.load(path).value_range) == (None, None)
    with pytest.raises(ValueError, match="loss must be one of softmax, svm, got 'hinge'"):
        models.save(path, PARAMS, loss="hinge")
    with pytest.raises(ValueError, match="loss belongs to a linear model"):
        models.save(path, knn.fit(X, Y), loss="svm")


def test_a_file_that_is_not_there_is_named_in_a_sentence(path):
    with pytest.raises(FileNotFoundError, match=r"^there is no file .*model\.safetensors$"):
        models.load(path)
