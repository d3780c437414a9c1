"""The page of one folder of photos: accuracies, confusion, templates, and what is wrong."""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from PIL import Image

from experiments.classify import choosing
from experiments.classify.choosing import Tested
from experiments.classify.photos import Photos
from experiments.report import figures, style, words
from experiments.report.findings import Plot
from lincls import evaluation, files

HERE = Path(__file__).parent
CSS = HERE.parent / "report" / "page" / "page.css"
SHOWN = 60  # wrong photos
MOST_TEMPLATES = 20  # classes


def write(folder: Path, photos: Photos, found: Sequence[Tested], saved: Tested) -> Path:
    """Write index.html and its figures to a folder; returns the page."""
    with mpl.rc_context(style.PARAMETERS):
        shown = figures.publish(_draw(photos, found, saved), folder)
    environment = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(HERE))
    wrong = np.flatnonzero(saved.predicted != photos.test.y)
    text = environment.get_template("page.html").render(
        photos=photos, best=found[0], saved=saved, headline=headline(photos, saved),
        css=CSS.read_text(encoding="utf-8"), rows=rows(photos, found), figures=shown,
        wrong=[_wrong(photos, saved, i) for i in wrong[:SHOWN]], num_wrong=len(wrong),
    )  # fmt: skip
    files.write(folder / "index.html", lambda file: file.write(text.encode()))
    return folder / "index.html"


def headline(photos: Photos, saved: Tested) -> str:
    """The result in one sentence."""
    return f"{saved.chosen.name} classifies {_accuracy(photos, saved)} of the test photos correctly"


def rows(photos: Photos, found: Sequence[Tested]) -> list[tuple[str, ...]]:
    """A line for each classifier: name, setting, accuracy in cross-validation and on the test."""
    return [
        (one.chosen.name, one.chosen.setting, words.percent(one.chosen.validated),
         _accuracy(photos, one)) for one in found
    ]  # fmt: skip


def _accuracy(photos: Photos, one: Tested) -> str:
    return words.of_count(int(np.sum(one.predicted == photos.test.y)), len(photos.test.y))


def _wrong(photos: Photos, saved: Tested, index: int) -> dict[str, Any]:
    predicted = int(saved.predicted[index])
    return {
        "picture": _picture(photos.test.X[index].reshape(photos.image_shape)),
        "file": photos.test_files[index].name,
        "label": photos.class_names[photos.test.y[index]],
        "predicted": photos.class_names[predicted],
        "certainty": f"{saved.certainty.title} {saved.certainty.cells[index]}",
    }


def _picture(image: np.ndarray) -> str:
    """An image (H, W, 1 or 3) within the page itself."""
    content = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _draw(photos: Photos, found: Sequence[Tested], saved: Tested) -> Iterator[Plot]:
    """Confusion of the saved classifier, templates of the linear ones."""
    names = words.labels(photos.class_names)
    counts = evaluation.confusion(saved.predicted, photos.test.y, len(names))
    figure, axes = style.canvas(height=5.0, title=f"Confusion of {saved.chosen.name}")
    style.matrix(axes, np.asarray(counts), names, "")
    yield Plot("confusion", figure, "Rows: the label. Columns: the prediction. Test photos.",
               f"Confusion matrix of {saved.chosen.name} on the test photos")  # fmt: skip
    if len(names) > MOST_TEMPLATES:
        return
    for name, templates in choosing.templates(list(found), photos.image_shape):
        figure, axes = style.canvas(height=1.2 + 5 / len(names), title=f"Templates of {name}")
        style.tiles(axes, style.weights(templates)[None], [""], names)
        yield Plot(f"templates_{name.lower()}", figure,
                   "The weights of each class as an image. "
                   "Grey photos: red speaks for the class, blue against it.",
                   f"One image of weights for each class: {', '.join(names)}")  # fmt: skip
