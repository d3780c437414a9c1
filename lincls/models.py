"""A classifier in a file, for another process, another library and another year.

    models.save("digits.safetensors", params, class_names="0123456789", image_shape=(8, 8, 1))
    saved = models.load("digits.safetensors")
    names = models.predict(saved, images)

The file is in the safetensors format: plain arrays and a text, which torch, numpy and JAX read
without lincls.  Nothing in it is ever executed.  A linear model has the arrays `weight` (C, D) and
`bias` (C,), the names of a `torch.nn.Linear`; a kNN model has `X` (N, D) and `y` (N,).  A digest
over text and arrays shows damage.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lincls import checks, data, distances, files, knn, linear
from lincls.data.dataset import Dataset, digest
from lincls.distances import Metric
from lincls.files import AnyPath
from lincls.knn import KNN
from lincls.structs import Affine, AnyArray, LinearParams

Arrays = Mapping[str, np.ndarray]
_FORMAT = 1
_METRICS = {metric.name: metric for metric in (distances.l1, distances.l2, distances.cosine)}
LOSSES = ("softmax", "svm")


class TrainedOn(NamedTuple):
    """Which data a model was made from."""

    name: str
    digest: str  # SHA-256 of the training examples, as a kNN model's reference has it
    num_examples: int


class Saved(NamedTuple):
    """A model and what belongs to it."""

    model: LinearParams | KNN
    class_names: tuple[str, ...] | None
    image_shape: tuple[int, ...] | None  # of one example, such as (H, W, channels)
    affine: Affine | None  # the preprocessing that a linear model acts behind
    k: int | None  # how many neighbours of a kNN model vote
    trained_on: TrainedOn | None = None
    loss: str | None = None  # of a linear model, one of LOSSES; None where it is not known
    value_range: tuple[float, float] | None = None  # of the training images: least and greatest


def save(
    path: AnyPath,
    model: LinearParams | KNN,
    *,
    class_names: Sequence[str] | None = None,
    image_shape: Sequence[int] | None = None,
    affine: Affine | None = None,
    k: int | None = None,
    dataset: str | Path | None = None,
    trained_on: Dataset | None = None,
    loss: str | None = None,
) -> None:
    """Write a linear or a kNN model to a file, whole or not at all.

    Args:
        path: the file; the usual ending is .safetensors.
        model: LinearParams W (C, D) and b (C,), or what `knn.fit` made with labels.
        class_names: C texts, what the labels 0..C-1 mean.
        image_shape: of one example, such as (H, W, channels); its product is D.
        affine: preprocessing that a linear model acts behind; None where it acts on the data.
        k: how many neighbours of a kNN model vote, default 1.
        dataset: of a kNN model, the name or path that `data.load` reads its training data from.
            Then the file holds their digest, not the data.
        trained_on: the data set of the training.  The file keeps its name, the number of its
            training examples, their digest and the range of their values, and where not given
            its class names and shape.
        loss: of a linear model, "softmax" or "svm": whether its scores give probabilities.

    Raises:
        ImportError: the package safetensors is missing.
        TypeError, ValueError: an argument of another kind or shape, by name; a model whose
            training data are not those of `dataset`.
        OSError: the file cannot be written.
    """
    checks.on_host("models.save", "call it with the result", model, affine)
    if trained_on is not None:
        checks.kind(trained_on, Dataset, "trained_on", 'data.load("digits")')
        class_names = trained_on.class_names if class_names is None else class_names
        image_shape = trained_on.train.images.shape[1:] if image_shape is None else image_shape
    if isinstance(model, KNN):
        if affine is not None:
            raise ValueError("affine belongs to a linear model; give knn.fit preprocessed rows")
        arrays, about = _of_knn(model, k, dataset)
        sizes: Any = model.num_classes, model.X.shape[1]
    else:
        if k is not None or dataset is not None:
            raise ValueError("k and dataset belong to a kNN model, and model is a linear one")
        arrays, about = _of_linear(model, affine)
        sizes = arrays["weight"].shape
    about |= {"format": _FORMAT, "class_names": _names(class_names, sizes[0]),
              "image_shape": _shape(image_shape, sizes[1]),
              "trained_on": _trained_on(trained_on), "value_range": _range(trained_on),
              "loss": _loss(loss, about["kind"])}  # fmt: skip
    files.write_tensors(path, arrays, about)


def load(
    path: AnyPath, *, dataset: str | Path | None = None, metric: Metric | None = None
) -> Saved:
    """Read a model that `save` wrote.

    Args:
        path: the file.
        dataset: where the training data of a kNN model lie now, if it refers to them.
        metric: of a kNN model with a distance of one's own; its name must be the saved one.

    Returns:
        Saved(model, class_names, image_shape, affine, k, trained_on, loss, value_range).

    Raises:
        ImportError: the package safetensors is missing.
        ValueError: a damaged or truncated file, or one that `save` did not write; training data
            or a metric other than the saved ones.
        OSError: there is no such file, or it cannot be read.
    """
    arrays, about = files.read_tensors(path)
    try:
        if about["format"] != _FORMAT:
            raise ValueError(f"it has format {about['format']}, this lincls reads {_FORMAT}")
        if about["kind"] == "linear":
            model: Any = checks.params(LinearParams(arrays["weight"], arrays["bias"]))
            sizes, affine, k = model.W.shape, _affine(arrays), None
        else:
            model, affine, k = _to_knn(arrays, about, dataset, metric), None, about["k"]
            sizes = model.num_classes, model.X.shape[1]
        names, shape = about["class_names"], about["image_shape"]
        names, shape = _names(names, sizes[0]), _shape(shape, sizes[1])
        known, values = about.get("trained_on"), about.get("value_range")  # missing in older files
        trained_on = None if known is None else TrainedOn(**known)
        loss = _loss(about.get("loss"), about["kind"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no model that can be used: {error}") from error
    return Saved(model, None if names is None else tuple(names),
                 None if shape is None else tuple(shape), affine, k, trained_on, loss,
                 None if values is None else (float(values[0]), float(values[1])))  # fmt: skip


def probabilities(saved: Saved, images: AnyArray) -> np.ndarray:
    """The softmax probabilities of a linear model, or the shares of votes of kNN, (M, C).

    Args:
        saved: of `load`.
        images: (M, *image_shape) or rows (M, D), in the units of the training data.

    Raises:
        TypeError, ValueError: images of another kind or shape; a model of the SVM loss, whose
            scores are no probabilities.
    """
    X = _rows(saved, images)
    if isinstance(saved.model, KNN):
        found = knn.neighbors(saved.model, X, saved.k or 1)
        return np.asarray(knn.probabilities(saved.model, found))
    if saved.loss == "svm":
        raise ValueError("saved is a model of the SVM loss and has no probabilities; use scores")
    return np.asarray(linear.probabilities(_on_pixels(saved), X))


def scores(saved: Saved, images: AnyArray) -> np.ndarray:
    """The scores W x + b of a linear model, or the shares of votes of kNN, (M, C).

    Args:
        saved, images: as for `probabilities`.

    Raises:
        TypeError, ValueError: images of another kind or shape.
    """
    if isinstance(saved.model, KNN):
        return probabilities(saved, images)
    X = _rows(saved, images)
    return np.asarray(linear.scores(_on_pixels(saved), X))


def predict(saved: Saved, images: AnyArray) -> np.ndarray:
    """The class names (M,) of images, or their labels where the file has no names.

    Args:
        saved, images: as for `probabilities`.

    Raises:
        TypeError, ValueError: as `probabilities`; NaN or infinity in images.
    """
    X = _rows(saved, images)
    if isinstance(saved.model, KNN):
        labels = np.asarray(knn.predict(saved.model, X, saved.k or 1))
    else:
        labels = np.asarray(linear.predict(_on_pixels(saved), X))
    return labels if saved.class_names is None else np.array(saved.class_names)[labels]


def _on_pixels(saved: Saved) -> LinearParams:
    params = checks.params(saved.model, "saved.model")
    return params if saved.affine is None else linear.on_pixels(params, saved.affine)


def _rows(saved: Saved, images: AnyArray) -> AnyArray:
    """Rows (M, D) of images whose shape is that of the training data."""
    checks.kind(saved, Saved, "saved", "models.load(path)")
    images, shape = checks.as_array(checks.concrete(images, "images"), "images"), saved.image_shape
    if shape is not None and images.ndim > 2 and images.shape[1:] != shape:
        hint = "; for one image use images[None]" if images.shape == shape else ""
        raise ValueError(
            f"images must be (M, {', '.join(map(str, shape))}), got {images.shape}{hint}"
        )
    model = saved.model
    if isinstance(model, KNN):
        X = checks.finite(checks.rows(images, "images", model.X.shape[1]), "images")
        if (X.dtype == np.uint8) != (model.X.dtype == np.uint8):
            raise TypeError(
                f"images are {X.dtype} and the training data {model.X.dtype}; give both as uint8, "
                "if the values are whole numbers 0..255, or both as floating"
            )
        return X
    return checks.rows(images, "images", model.W.shape[1])


# --- what a file holds ------------------------------------------------------------------------


def _of_linear(params: Any, affine: Affine | None) -> tuple[dict[str, Any], dict[str, Any]]:
    W, b = (np.asarray(leaf) for leaf in checks.params(params, "model"))
    if W.ndim != 2:
        raise ValueError(f"model.W must be (C, D), got {W.shape}; save one setting of the grid")
    arrays = {"weight": W, "bias": b}
    if affine is not None:
        shift, scale = checks.affine(affine, W.shape[1])
        arrays |= {"shift": np.asarray(shift), "scale": np.asarray(scale)}
    return arrays, {"kind": "linear"}


def _affine(arrays: Arrays) -> Affine | None:
    if "shift" not in arrays:
        return None
    return checks.affine(Affine(arrays["shift"], arrays["scale"]), arrays["weight"].shape[1])


def _of_knn(model: KNN, k: Any, dataset: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if model.y is None:
        raise ValueError("model has no labels; use knn.fit(X, y)")
    k = checks.count(1 if k is None else k, "k", high=model.X.shape[0])
    about = {"kind": "knn", "metric": model.metric.name, "num_classes": model.num_classes, "k": k}
    arrays = {"X": np.asarray(model.X), "y": np.asarray(model.y)}
    if dataset is None:
        return arrays, about
    train = data.load(dataset).train
    X, y = data.rows(train.images), train.labels
    if not (np.array_equal(X, arrays["X"]) and np.array_equal(y, arrays["y"])):
        raise ValueError(f"the training data of model are not those of dataset = {dataset}")
    return {}, about | {"dataset": str(dataset), "digest": digest(train)}


def _to_knn(arrays: Arrays, about: Mapping[str, Any], dataset: Any, metric: Any) -> KNN:
    name = about["metric"]
    metric = _METRICS.get(name) if metric is None else metric
    if metric is None or metric.name != name:
        raise ValueError(f"its metric is {name}, a function of its own; give load(.., metric=)")
    if "digest" not in about:
        X, y = arrays["X"], arrays["y"]
    else:
        place = about["dataset"] if dataset is None else dataset
        X, y = train = data.load(place).train
        if digest(train) != about["digest"]:
            raise ValueError(f"{place} holds other training data than those it was made from")
    return knn.fit(X, y, metric=metric, num_classes=about["num_classes"])


def _trained_on(dataset: Dataset | None) -> dict[str, Any] | None:
    if dataset is None:
        return None
    train = dataset.train
    return TrainedOn(dataset.name, digest(train), len(train.labels))._asdict()


def _range(dataset: Dataset | None) -> tuple[float, float] | None:
    """The least and the greatest value of the training images, to know their units by."""
    if dataset is None:
        return None
    images = dataset.train.images
    return float(images.min()), float(images.max())


def _loss(loss: Any, kind: str) -> str | None:
    if loss is None:
        return None
    if kind != "linear":
        raise ValueError("loss belongs to a linear model, and model is a kNN model")
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {checks.shown(loss)}")
    return str(loss)


def _names(names: Any, num_classes: int) -> list[str] | None:
    if names is None:
        return None
    try:
        names = list(names)
    except TypeError:
        names = [names]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names must be texts, got {checks.shown(names)}")
    if len(names) != num_classes:
        raise ValueError(f"class_names must be {num_classes} texts, got {len(names)}")
    return [str(name) for name in names]


def _shape(shape: Any, num_features: int) -> list[int] | None:
    if shape is None:
        return None
    shape = checks.counts(shape, "image_shape")
    if int(np.prod(shape)) != num_features:
        raise ValueError(f"image_shape {tuple(shape)} is not of {num_features} features")
    return shape
