"""Valid calls of functions that no table of doors has: models, data, files, meshes, estimators."""

import tempfile
from pathlib import Path

import doors
import numpy as np

from lincls import checkpoint, data, files, knn, models, placement, preprocessing
from lincls.estimators import KNNClassifier, LinearProbeCV, SoftmaxClassifier, SVMClassifier
from lincls.structs import Hyper

FOLDER = Path(tempfile.mkdtemp())
X, Y, PARAMS = doors.X, doors.Y, doors.PARAMS
NAMES = ["cat", "dog"]
LINEAR, NEAREST, TREE = (FOLDER / name for name in ("linear.st", "nearest.st", "tree.npz"))
models.save(LINEAR, PARAMS, class_names=NAMES, affine=preprocessing.fit(X))
models.save(NEAREST, knn.fit(X, Y), class_names=NAMES, k=3)
checkpoint.save(TREE, {"a": X})
OF_SKLEARN = (  # what its own doors say
    "Complex data|string to float|real number|array|samples?|features?|input|classes|class|"
    "label type|data type"
)


def nearest(X, y, n_neighbors, metric, weights, queries):
    """KNNClassifier.  `queries` are the X of `predict_proba`."""
    fitted = KNNClassifier(n_neighbors, metric=metric, weights=weights).fit(X, y)
    return fitted.predict_proba(queries), fitted.kneighbors(queries)


def softmax(X, y, sample_weight, reg, penalty, solver, tol, max_iter):
    fitted = SoftmaxClassifier(reg=reg, penalty=penalty, solver=solver, tol=tol, max_iter=max_iter)
    return fitted.fit(X, y, sample_weight).decision_function(doors.X)


def by_sgd(X, y, sample_weight, C, num_epochs, random_state, class_weight):
    fitted = SVMClassifier(solver="sgd", C=C, num_epochs=num_epochs, random_state=random_state,
                           class_weight=class_weight)  # fmt: skip
    return fitted.fit(X, y, sample_weight).decision_function(doors.X)


def probed(X, y, sample_weight, regs, cv, choice, loss):
    fitted = LinearProbeCV(regs=regs, cv=cv, choice=choice, loss=loss, max_iter=20)
    return fitted.fit(X, y, sample_weight).decision_function(doors.X)


OF_ESTIMATORS = (nearest, softmax, by_sgd, probed)


def sharded(mesh, array, num_blocks):
    return [
        placement.gathered(part) for part in placement.shard(mesh, array, num_blocks=num_blocks)
    ]


def of_processes(mesh, array, num_blocks):
    (part,) = placement.from_processes(mesh, array, num_blocks=num_blocks)
    return placement.gathered(part)


def settings_sharded(mesh, hyper, num_blocks):
    return placement.shard_settings(mesh, hyper, num_blocks).reg.array


def one_array(path, array):
    """An .npz file of an array, read back."""
    files.write(path, lambda file: files.save_npz(file, array=array))
    return files.read_npz(path)["array"]


MESH = placement.mesh(1)
RATES = Hyper({"learning_rate": np.array([0.1, 0.2])}, reg=np.array([0.1, 0.0]))
PLAIN, JSON = FOLDER / "plain.npy", FOLDER / "values.json"
np.save(PLAIN, X)
files.write_json(JSON, {"a": 1})
WEIGHT = np.ones(doors.N)
CALLS = [
    (models.save, {"path": FOLDER / "again.st", "model": PARAMS, "class_names": NAMES,
                   "image_shape": (doors.D,), "affine": doors.AFFINE}),
    (models.save, {"path": FOLDER / "third.st", "model": doors.MODEL, "class_names": NAMES, "k": 3,
                   "image_shape": (1, doors.D)}),
    (models.save, {"path": FOLDER / "fourth.st", "model": PARAMS,
                   "trained_on": data.from_arrays(X, Y, X, Y, class_names=NAMES)}),
    (models.load, {"path": LINEAR}),
    (models.predict, {"saved": models.load(LINEAR), "images": X}),
    (models.predict, {"saved": models.load(NEAREST), "images": X}),
    (models.probabilities, {"saved": models.load(LINEAR), "images": X}),
    (models.probabilities, {"saved": models.load(NEAREST), "images": X}),
    (data.from_arrays, {"images": X, "labels": Y, "class_names": NAMES, "test_fraction": 0.25,
                        "seed": 3}),
    (data.from_arrays, {"images": X, "labels": Y, "test_images": X, "test_labels": Y}),
    (data.from_arrays, {"images": X, "labels": Y, "groups": np.arange(doors.N) // 3}),
    (data.rows, {"images": X}),
    (data.toy, {"name": "blobs", "seed": 1, "num_train": 9, "num_test": 8, "noise": 0.1}),
    (data.load, {"name_or_path": "digits"}),
    (checkpoint.save, {"path": FOLDER / "other.npz", "tree": {"a": X}}),
    (checkpoint.note, {"path": TREE}),
    (checkpoint.restore, {"path": TREE, "like": {"a": X}}),
    (placement.mesh, {"devices": 1}),
    (sharded, {"mesh": MESH, "array": X, "num_blocks": 2}),
    (of_processes, {"mesh": MESH, "array": Y, "num_blocks": 2}),
    (settings_sharded, {"mesh": MESH, "hyper": RATES, "num_blocks": 2}),
    (placement.rows_here, {"mesh": MESH, "num_rows": doors.N, "num_blocks": 2}),
    (one_array, {"path": FOLDER / "one.npz", "array": X}),
    (files.read_npz, {"path": TREE}),
    (files.names_in_npz, {"path": TREE}),
    (files.check_zip, {"path": TREE}),
    (files.map_npy, {"path": PLAIN}),
    (files.read_json, {"path": JSON}),
    (files.write_json, {"path": FOLDER / "more.json", "values": {"a": 1}}),
    (nearest, {"X": X, "y": Y, "n_neighbors": 3, "metric": "l2", "weights": "distance",
               "queries": X}),
    (softmax, {"X": X, "y": Y, "sample_weight": WEIGHT, "reg": 0.1, "penalty": "l2",
               "solver": "optimum", "tol": 1e-3, "max_iter": 50}),
    (by_sgd, {"X": X, "y": Y, "sample_weight": WEIGHT, "C": 1.0, "num_epochs": 2,
              "random_state": 0, "class_weight": None}),
    (probed, {"X": X, "y": Y, "sample_weight": WEIGHT, "regs": [0.1, 1.0], "cv": 3,
              "choice": "best", "loss": "softmax"}),
]  # fmt: skip
