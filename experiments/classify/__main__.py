"""Trains a classifier on a folder of photos, and asks it about other photos.

    python -m experiments.classify train PHOTOS --size 32 --out cats.safetensors
    python -m experiments.classify predict cats.safetensors IMAGE...

PHOTOS holds one folder for each class, or train/ and test/ with such folders. With --size, photos
are cut square around their middle and resized. `train` cross-validates kNN, softmax and SVM, tests
each once, saves the best one and writes a page. `predict` prints file and label. Beside them stand
the probability of softmax, the votes of kNN, or how far an SVM's score lies above the second.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import jobs
from experiments.classify import certainty, choosing, neighbours, page, photos
from experiments.lab import options, progress
from experiments.report import words
from lincls import models

HEADER = ("classifier", "setting", "cross-validation", "test accuracy")


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit status."""
    parser = options.Parser(
        prog="python -m experiments.classify", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="train|predict")
    _add_train(commands)
    _add_predict(commands)
    arguments = parser.parse_args(argv)
    with parser.refusing(), progress.noting():
        status: int = arguments.run(arguments)
    return status


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="from a folder of photos to a model in a file")
    train.add_argument("photos", type=Path, metavar="PHOTOS", help="one folder for each class")
    train.add_argument(
        "--out", type=Path, default=Path("model.safetensors"), metavar="FILE",
        help="the model; the page is written beside it (default: %(default)s)",
    )  # fmt: skip
    options.add(train, choosing.Settings)
    train.set_defaults(run=_train)


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser("predict", help="the labels of photos")
    predict.add_argument("model", type=Path, metavar="MODEL", help="what train has saved")
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="files or folders")
    predict.add_argument(
        "--neighbors", type=int, default=0, metavar="N",
        help="of a kNN model: a picture of the N nearest training photos",
    )  # fmt: skip
    predict.add_argument(
        "--out", type=Path, default=Path("neighbors.png"), metavar="FILE",
        help="that picture (default: %(default)s)",
    )  # fmt: skip
    predict.set_defaults(run=_predict)


def _train(arguments: Any) -> int:
    """Read, choose, test, save the model and the page, print the table."""
    settings = options.values(choosing.Settings, vars(arguments), smoke=False)
    if arguments.out.suffix != ".safetensors":
        raise ValueError(f"--out must end in .safetensors, got {arguments.out.name}")
    read = photos.read(arguments.photos, settings.size, settings.seed)
    progress.say(f"{len(read.train.y)} training and {len(read.test.y)} test photos")
    folder = arguments.out.parent / f"{arguments.out.stem}-page"
    jobs.check_writable(folder)  # before anything takes long
    found = choosing.compute(read, settings)
    saved = choosing.picked(found, settings)
    chosen = saved.chosen
    model, k, loss = chosen.model, chosen.k, chosen.loss
    models.save(arguments.out, model, k=k, loss=loss, trained_on=read.source)
    written = page.write(folder, read, found, saved)
    print("\n".join(words.aligned([HEADER, *page.rows(read, found)])))
    print(f"\nSaved {saved.chosen.name} in {arguments.out}.")
    print(f"Open {written.resolve().as_uri()}")
    return 0


def _predict(arguments: Any) -> int:
    """Print a line for each photo; show its neighbours if asked."""
    saved = models.load(arguments.model)
    if saved.image_shape is None or len(saved.image_shape) != 3:
        raise ValueError(f"{arguments.model} holds no model of images; save it with image_shape")
    if arguments.neighbors:
        neighbours.check(saved, arguments.neighbors)
    files = photos.below(arguments.images)
    images = photos.as_trained(files, saved.image_shape)
    photos.note_units(saved, images)
    labels = [str(label) for label in models.predict(saved, images)]
    title, cells = certainty.column(saved, images)
    lines = zip(map(str, files), labels, cells, strict=True)
    print("\n".join(words.aligned([("file", "label", title), *lines])))
    if arguments.neighbors:
        neighbours.draw(arguments.out, saved, files, images, arguments.neighbors)
        print(f"\nNearest training photos: {arguments.out}")
    if saved.trained_on is not None:
        print(f"\n{_origin(saved.trained_on)}")
    return 0


def _origin(on: models.TrainedOn) -> str:
    """Which data a model was made from, in a sentence."""
    name = words.shortened(on.name, 60)
    return f"Trained on {on.num_examples} examples of {name} (SHA-256 {on.digest[:16]})."


if __name__ == "__main__":
    sys.exit(main())
