"""From a folder of photos to a model in a file, and from the file to an answer."""

import numpy as np
import pytest
from PIL import Image

from experiments.classify import __main__ as classify
from experiments.classify import certainty, choosing, photos
from lincls import data, knn, models
from lincls.data import dataset as data_set
from lincls.structs import LinearParams

pytestmark = [
    pytest.mark.usefixtures("optax_promotes"),
    pytest.mark.filterwarnings("ignore:1 file not read"),
]
FEW = ["--size", "6", "--ks", "1", "3", "--regs", "0.1", "--steps", "60", "--folds", "3"]
COLOURS = {"red <apple>": (220, 40, 40), "leaf": (40, 170, 60)}


def photo(colour, rng):
    """Unequal sizes, one colour with noise."""
    height, width = rng.integers(9, 20, 2)
    pixels = np.array(colour) + rng.normal(0, 25, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of two colours; one leaf looks like an apple, one lies in a folder below."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(5)
    for name, colour in COLOURS.items():
        (root / name / "below").mkdir(parents=True)
        for i in range(15):
            place = root / name / ("below" if i == 3 else "")
            photo(colour, rng).save(place / f"{i:02}.jfif", "JPEG")
    (root / "leaf" / ".hidden.jpg").write_bytes(b"no image")
    (root / "leaf" / "notes.txt").write_text("no image")
    return root


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """The file that `train` has saved, its page, and what was printed."""
    file = tmp_path_factory.mktemp("out") / "fruit.safetensors"
    assert (
        classify.main(["train", str(folder), "--out", str(file), "--classifier", "knn", *FEW]) == 0
    )
    return file, (file.parent / "fruit-page" / "index.html").read_text()


def error(capsys, *arguments):
    """The one line that a refused command prints."""
    with pytest.raises(SystemExit) as ended:
        classify.main([str(one) for one in arguments])
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_the_page_has_accuracies_figures_and_escaped_names(trained):
    _, page = trained
    for name in ("kNN", "softmax", "SVM"):
        assert f"<td>{name}</td>" in page
    assert "kNN classifies 100.0 % (95 % CI" in page
    assert "No test photo is wrong" in page
    for figure in ("confusion", "templates_softmax", "templates_svm"):
        assert f'src="{figure}.svg"' in page
    assert "red &lt;apple&gt;" in page
    assert "<apple>" not in page


def test_wrong_photos_are_shown_with_what_they_were_taken_for(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        models, "predict", lambda saved, X: np.asarray(knn.predict(saved.model, X, 1)) * 0
        if saved.k else np.zeros(len(X), int)
    )  # fmt: skip
    file = tmp_path / "model.safetensors"
    assert classify.main(["train", str(folder), "--out", str(file), *FEW]) == 0
    page = (tmp_path / "model-page" / "index.html").read_text()
    assert "wrong on 3 of 6 test photos" in page
    assert page.count("red &lt;apple&gt;, taken for <b>leaf</b>") == 3
    assert page.count('<img src="data:image/png;base64,') == 3


def test_predict_names_file_label_and_votes(trained, folder, tmp_path, capsys):
    rng = np.random.default_rng(6)
    for name, colour in zip("ab", COLOURS.values(), strict=True):
        photo(colour, rng).save(tmp_path / f"{name}.png")
    picture = tmp_path / "near.png"
    command = ["predict", trained[0], tmp_path, "--neighbors", "2", "--out", picture]
    assert classify.main([str(one) for one in command]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split() == ["file", "label", "votes"]
    assert told[1].split() == [str(tmp_path / "a.png"), "red", "<apple>", "100", "%"]
    assert told[2].split() == [str(tmp_path / "b.png"), "leaf", "100", "%"]
    digest = models.load(trained[0]).trained_on.digest
    assert told[-1] == f"Trained on 24 examples of {folder.name} (SHA-256 {digest[:16]})."
    with Image.open(picture) as drawn:
        assert drawn.width > drawn.height > 100


def test_the_saved_model_is_the_tested_one(trained, folder):
    saved = models.load(trained[0])
    assert saved.class_names == ("leaf", "red <apple>")
    assert saved.image_shape == (6, 6, 3)
    read = photos.read(folder, 6, 0)
    assert (len(read.train.y), len(read.test.y)) == (24, 6)
    assert np.bincount(read.test.y).tolist() == [3, 3]
    images = read.train.X.reshape(24, 6, 6, 3)
    digest = data_set.digest(data.Split(images, read.train.y))
    assert saved.trained_on == (folder.name, digest, 24)
    shown = photos.as_trained(read.test_files, saved.image_shape)
    np.testing.assert_array_equal(shown.reshape(6, -1), read.test.X)


def test_folders_train_and_test_stay_as_they_are(folder, tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).symlink_to(folder)
    read = photos.read(tmp_path, 6, 0)
    assert (len(read.train.y), len(read.test.y)) == (30, 30)


def test_what_cannot_be_used_is_refused_in_one_line(trained, folder, tmp_path, capsys):
    assert "--size 32" in error(capsys, "train", folder, "--out", tmp_path / "x.safetensors")
    out = tmp_path / "x.safetensors"
    line = error(capsys, "train", folder, "--size", 6, "--ks", 30, "--out", out)
    assert "--ks must be at most 19" in line
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "text.png").write_text("no image")
    line = error(capsys, "predict", trained[0], tmp_path / "broken.png", tmp_path / "text.png")
    assert "2 of 2 images cannot be used" in line
    assert "broken.png" in line
    assert "there is no image" in error(capsys, "predict", trained[0], tmp_path / "nowhere.png")
    line = error(capsys, "predict", tmp_path / "none.safetensors", tmp_path)
    assert line == f"error: there is no file {tmp_path / 'none.safetensors'}"
    line = error(capsys, "train", folder, "--size", 6, "--out", tmp_path / "text.png" / out.name)
    assert f"--out: cannot write to {tmp_path / 'text.png'}" in line
    assert "holds one class" in error(capsys, "train", _one_class(tmp_path), "--size", 6)


def test_what_cannot_be_predicted_is_refused_before_anything_is_printed(
    trained, folder, tmp_path, capsys
):
    (tmp_path / "empty").mkdir()
    line = error(capsys, "predict", trained[0], tmp_path / "empty")
    assert f"{tmp_path / 'empty'} holds no image (.bmp, .gif, " in line
    line = error(capsys, "train", folder, "--size", 6, "--out", tmp_path / "x.txt")
    assert "--out must end in .safetensors, got x.txt" in line


@pytest.mark.parametrize(
    ("tried", "chosen", "told"),
    [
        ((0.01, 0.1, 1.0), 1.0, ", the greatest of --regs"),
        ((0.01, 0.1, 1.0), 0.01, ", the least of --regs"),
        ((0.01, 0.1, 1.0), 0.1, ""),
        ((1.0,), 1.0, ""),
        ((0.0, 1.0), 0.0, ""),
    ],
)
def test_a_choice_at_the_end_of_those_tried_is_told(tried, chosen, told):
    assert choosing._edge("--regs", tried, chosen) == told


def _one_class(root):
    (root / "one" / "only").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(root / "one" / "only" / "1.png")
    return root / "one"


def test_crop_keeps_the_shape_of_what_is_shown(tmp_path):
    """A wide photo with a black left and right third: cropping cuts them away."""
    pixels = np.zeros((30, 90, 3), np.uint8)
    pixels[:, 30:60] = 200
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    cropped = data.load(tmp_path, size=10, crop=True).train.images
    stretched = data.load(tmp_path, size=10).train.images
    assert cropped.min() > 150  # the edge is smoothed
    assert stretched.min() == 0
    with pytest.raises(ValueError, match="crop needs a size"):
        data.load(tmp_path, crop=True)
    with pytest.raises(ValueError, match="for a folder of images, and digits is none"):
        data.load("digits", size=10)


def test_predict_draws_transparency_on_white_and_says_so(trained, tmp_path, capsys):
    for name, hidden in (("black", 0), ("red", 255)):
        Image.new("RGBA", (8, 8), (hidden, 0, 0, 0)).save(tmp_path / f"{name}.png")
    assert classify.main(["predict", str(trained[0]), str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "note: 2 images with transparency, drawn on white" in told.err
    black, red = (line.split()[1:] for line in told.out.splitlines()[1:3])
    assert black == red


def _saved_by(classifier, folder, tmp_path):
    """The file of one classifier."""
    file = tmp_path / f"{classifier}.safetensors"
    command = ["train", str(folder), "--out", str(file), "--classifier", classifier, *FEW]
    assert classify.main(command) == 0
    return file


@pytest.mark.parametrize(("name", "title"), [("softmax", "probability"), ("svm", "margin")])
def test_only_softmax_prints_a_probability(name, title, folder, tmp_path, capsys):
    photo((220, 40, 40), np.random.default_rng(6)).save(tmp_path / "a.png")
    file = _saved_by(name, folder, tmp_path)
    capsys.readouterr()
    assert classify.main(["predict", str(file), str(tmp_path / "a.png")]) == 0
    header, line = capsys.readouterr().out.splitlines()[:2]
    assert header.split() == ["file", "label", title]
    saved = models.load(file)
    assert saved.loss == name
    images = photos.as_trained([tmp_path / "a.png"], saved.image_shape)
    if name == "svm":
        low, high = np.sort(models.scores(saved, images)[0])
        assert line.endswith(f" {high - low:.2f}")
        with pytest.raises(ValueError, match="no probabilities; use scores"):
            models.probabilities(saved, images)


@pytest.mark.parametrize(("logit", "told"), [(5.38, "99.5 %"), (9.0, "> 99.9 %"), (0.0, "50.0 %")])
def test_a_probability_below_one_is_never_rounded_to_all(logit, told):
    params = LinearParams(np.array([[logit], [0.0]], np.float32), np.zeros(2, np.float32))
    saved = models.Saved(params, None, None, None, None, loss="softmax")
    title, cells = certainty.column(saved, np.ones((1, 1), np.float32))
    assert (title, cells) == ("probability", [told])


def test_photos_in_other_units_than_the_training_are_noted(trained, tmp_path, capsys):
    Image.new("L", (8, 8), 255).save(tmp_path / "a.png")
    file = tmp_path / "digits.safetensors"
    params = LinearParams(np.zeros((10, 64), np.float32), np.zeros(10, np.float32))
    models.save(file, params, trained_on=data.load("digits"))
    assert models.load(file).value_range == (0.0, 16.0)
    assert classify.main(["predict", str(file), str(tmp_path / "a.png")]) == 0
    assert "note: photos have values up to 255, and the training" in capsys.readouterr().err
    assert classify.main(["predict", str(trained[0]), str(tmp_path / "a.png")]) == 0
    assert "note: " not in capsys.readouterr().err


def test_too_many_neighbors_are_refused_before_the_table(trained, folder, capsys):
    with pytest.raises(SystemExit):
        classify.main(["predict", str(trained[0]), str(folder / "leaf"), "--neighbors", "500"])
    told = capsys.readouterr()
    assert not told.out
    assert "--neighbors must be" in told.err
