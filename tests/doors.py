"""One table: which check each argument of a public function passes.  Run it to walk the table.

For each argument every bad value of its kind must end in a TypeError or a ValueError that names
the argument.  It runs as a program of its own, because the run-time types of the test suite would
refuse many of these values first.
"""

import inspect
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from lincls import (
    audit,
    batches,
    certificate,
    checkpoint,
    crossval,
    gradcheck,
    hyper,
    knn,
    linear,
    losses,
    multilabel,
    objective,
    optimizers,
    optimum,
    passes,
    penalties,
    preprocessing,
    probe,
    quick,
    random_search,
    training,
)
from lincls.structs import Affine, Examples, Hyper, LinearParams, Neighbors

MODULES = (
    audit, batches, certificate, checkpoint, crossval, gradcheck, hyper, linear, losses,
    multilabel, objective, optimizers, optimum, passes, penalties, preprocessing, probe, quick,
    random_search, training,
)  # fmt: skip
RNG = np.random.default_rng(70)
N, D, C = 12, 3, 2
KEY = jax.random.key(71)
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = np.arange(N, dtype=np.int32) % C
PARAMS = linear.init(KEY, D, C)
AFFINE = preprocessing.fit(X)
HYPER = Hyper({"learning_rate": 0.1})
RECIPE = training.Recipe(batch_size=4)
STATE = training.start(KEY, PARAMS, RECIPE, HYPER)
DATA = Examples(X, Y, np.ones(N, np.float32))
MODEL = knn.fit(X, Y)
MATRIX = np.stack([Y, np.arange(N) % 3 == 0], axis=1).astype(int)
FOLDS = np.arange(N) // 6
ANSWERS = multilabel.fit_knn(X, MATRIX, FOLDS, [1, 3])
FOUND = knn.neighbors(MODEL, None, 3)


def masked(values):
    return np.ma.array(values, mask=np.arange(values.size).reshape(values.shape) == 1)


def changed(values, value):
    values = np.array(values, np.float64)
    values.flat[1] = value
    return values


BAD = {
    "key": [0, None, jax.random.PRNGKey(0), jax.random.split(KEY)],
    "count": [0, -1, 1.5, "3", True, None],
    "number": ["0.1", None, np.nan, [0.1, 0.2], 1j, True],
    "positive": [0.0, -1.0, np.inf, "0.1", np.nan, None],
    "strengths": [[0.1, 0.0], [], [[0.1]], [0.1, np.nan], ["0.1"]],
    "number at least 0": ["0.1", None, np.nan, -1.0],
    "rows": [X[0], X.astype(np.int64), X.astype(complex), X[:0], [[1.0], [1.0, 2.0]], "images",
             None, masked(X), scipy.sparse.csr_matrix(X), X.astype(object)],
    "fitted rows": [changed(X, np.nan), changed(X, np.inf)],
    "narrowed rows": [changed(X, 1e300), np.float64(X) * 1e-60, 1e9 + np.float64(X) * 1e-3],
    "labels": [Y[:, None], np.eye(C, dtype=int)[Y], Y.astype(float), Y.astype(str), Y[:-1],
               Y - 1, masked(Y), None, "labels"],
    "label matrix": [Y, MATRIX[:0], MATRIX[:, :0], 2 * MATRIX, MATRIX - 1,
                     changed(MATRIX, np.nan), changed(MATRIX, 0.5), MATRIX.astype(str), "labels",
                     None, masked(MATRIX), scipy.sparse.csr_matrix(MATRIX), MATRIX[None],
                     MATRIX.astype(object), MATRIX * 1j],
    "other labels": [MATRIX[:-1]],
    "judging labels": [np.zeros_like(MATRIX), np.ones_like(MATRIX)],
    "answers": [None, MODEL, X, tuple(ANSWERS)],
    "list of strengths": [0.1, [], [0.1, 0.0], [[0.1]], [0.1, np.nan], ["0.1"], None],
    "list of counts": [3, [], [0], [1.5], ["3"], [N], None],
    "known labels": [Y + C, Y.astype(np.int64) + 2**33],
    "weight": [np.ones(N + 1), np.ones((N, 1)), -np.ones(N), np.zeros(N), masked(np.ones(N)),
               changed(np.ones(N), np.nan), changed(np.ones(N), 1e-50), "weight", np.full(N, 1j)],
    "params": [None, (PARAMS.W, PARAMS.b), {"W": PARAMS.W}, LinearParams(PARAMS.b, PARAMS.W),
               LinearParams(PARAMS.W, np.float32(0)), LinearParams(PARAMS.W, np.zeros((C, 1))),
               LinearParams(np.ones((C, D)) * 1j, PARAMS.b), LinearParams("W", PARAMS.b)],
    "affine": [1.0, (AFFINE.shift, AFFINE.scale), Affine(np.zeros(D + 1), 1.0), Affine(0.0, 1.0),
               Affine(AFFINE.shift, np.ones(D + 1)), Affine(AFFINE.shift, "1"),
               Affine(AFFINE.shift, np.nan), Affine(AFFINE.shift, np.inf)],
    "objective": ["softmax", losses.softmax, objective.Objective("softmax"),
                  objective.Objective(penalty=0.1), objective.Objective(lambda s, y: s),
                  objective.Objective(penalty=lambda W: W)],
    "loss": ["hinge", None, lambda s, y: losses.softmax(s, y).mean(),
             lambda s, y: losses.softmax(s, y)[:, None], lambda s, y: None],
    "recipe": ["sgd", None, objective.Objective(), HYPER],
    "hyper": [0.1, None, {"learning_rate": 0.1}, Hyper(0.1), Hyper({"learning_rate": "0.1"}),
              Hyper({"learning_rate": None}), Hyper({"learning_rate": np.nan}),
              Hyper({"learning_rate": np.datetime64("2026-01-01")}), Hyper({"learning_rate": 1j}),
              Hyper({"learning_rate": True}), Hyper({"learning_rate": [0.1, "0.2"]})],
    "narrowed hyper": [Hyper({"learning_rate": 1e-50}), Hyper({"learning_rate": 1e39}),
                       Hyper({"learning_rate": 0.1}, reg=1e-60)],
    "state": [None, PARAMS, STATE.params.W],
    "scores": [X[0], X[None], X.astype(complex), X.astype(str), masked(X), "scores", None],
    "targets": [X[:, :1], X[0, :C], Y, -X, 2 * np.ones((N, C)), changed(np.ones((N, C)), np.nan),
                masked(np.ones((N, C))), "targets", None, np.ones((N, C)) * 1j],
    "W": ["W", None, X.astype(complex), masked(X), scipy.sparse.csr_matrix(X)],
    "fn": ["fn", None, 3.0, lambda x: x.astype(jnp.float32).sum(), lambda x: x, lambda x: x[None]],
    "real tree": [np.ones(3) * 1j, ["x"], masked(np.ones(3))],
    "real number": ["0.1", None, 1j, scipy.sparse.csr_matrix(X)],
    "share": [1.0, 2.0],
    "negative": [-1, 1.5, "3"],
    "many": [2**31, 10**12],
    "one class": [np.ones(N, int)],
    "folds": [Y[:-1], Y * 2, np.zeros(N, int), Y[:, None], Y.astype(float), "folds"],
    "function": ["adam", None, 0.1],
    "functions": ["softmax", losses.softmax, objective.Objective("softmax"),
                  objective.Objective(penalty=0.1)],
    "leaf": [{"a": object()}, {"a": np.array(["x"], object)}, {"a": masked(X)}],
    "data": [DATA._replace(X=X[0]), DATA._replace(X=X[:, :2]), DATA._replace(y=Y[:, None]),
             DATA._replace(y=Y[:-1]), DATA._replace(weight=np.ones((N, 1))), DATA._replace(X="X"),
             DATA._replace(weight=np.ones(N - 1)), DATA._replace(weight="1"),
             DATA._replace(y=np.eye(C, dtype=int)[Y])],
    "labelled data": [DATA._replace(y=Y + C), DATA._replace(weight=-np.ones(N))],
    "pair": [X, (X, Y, Y), "pair"],
    "model": [None, X, (X, Y), "model", {"X": X}],
    "labelled model": [knn.fit(X)],
    "found": [None, X, tuple(FOUND), Neighbors(X[0], Y), FOUND._replace(indices=X),
              FOUND._replace(distances=X[:2]), FOUND._replace(indices=FOUND.indices + N)],
    "order": [X, Y, Y[None], "indices", None, [[1, 2]]],
    "scores of folds": [np.ones(3), np.ones((3, 1)), changed(np.ones((3, 2)), np.nan)],
}  # fmt: skip

PARTS = {
    **dict.fromkeys(("batch", "data"), "data|X|y|labels|weight"),
    "objective": "objective|loss|penalty",
    "tree": "leaf",
}  # what is said of them
ROWS = "rows / fitted rows"
TRAINED = f"{ROWS} / narrowed rows"
LABELS = "labels / known labels"
ANSWERED = "label matrix / other labels"
JUDGED = f"{ANSWERED} / judging labels"
LOSS = {"scores": "scores", "labels": LABELS, "margin": "real tree"}
TABLE = {
    linear.init: {"key": "key", "num_features": "count", "num_classes": "count", "scale": "number"},
    linear.scores: {"params": "params", "X": "rows"},
    linear.predict: {"params": "params", "images": ROWS},
    linear.probabilities: {"params": "params", "X": "rows"},
    linear.on_pixels: {"params": "params", "affine": "affine"},
    linear.fold_bias: {"params": "params"},
    linear.templates: {"params": "params", "shape": ""},
    losses.hinge: LOSS,
    losses.squared_hinge: LOSS,
    losses.crammer_singer_hinge: LOSS,
    losses.softmax: {"scores": "scores", "labels": LABELS},
    losses.smoothed_softmax: {"scores": "scores", "labels": LABELS, "smoothing": "number / share"},
    losses.cross_entropy: {"scores": "scores", "targets": "targets"},
    losses.binary_cross_entropy: {"scores": "scores", "targets": "targets"},
    losses.hinge_kinks: LOSS,
    losses.crammer_singer_kinks: LOSS,
    penalties.none: {"W": "W"},
    penalties.l2: {"W": "W"},
    penalties.l1: {"W": "W"},
    penalties.elastic_net: {"W": "W", "beta": "real number"},
    penalties.l1_kinks: {"W": "W"},
    penalties.soft_threshold: {"W": "W", "amount": "real number"},
    penalties.max_norm: {"W": "W", "radius": "real number"},
    preprocessing.fit: {"X": TRAINED, "weight": "weight", "per_feature": ""},
    preprocessing.mean_image: {"X": TRAINED, "weight": "weight"},
    preprocessing.identity: {"num_features": "count"},
    preprocessing.checked: {"affine": "affine", "num_features": ""},
    preprocessing.apply: {"affine": "affine", "X": "rows", "dtype": ""},
    objective.step_size: {"X": ROWS, "affine": "affine", "loss": "loss", "num_classes": "count",
                          "reg": "number"},
    objective.evaluate: {"objective": "objective", "params": "params", "batch": "data",
                         "hyper": "hyper"},
    passes.accuracies: {"params": "params", "data": "data / labelled data", "affine": "affine",
                        "scores_fn": "", "is_grid": ""},
    hyper.plain: {"hyper": "hyper"},
    hyper.num_settings: {"hyper": "hyper"},
    hyper.as_arrays: {"hyper": "hyper / narrowed hyper", "dtype": ""},
    hyper.repeated: {"hyper": "hyper", "times": ""},
    hyper.split: {"hyper": "hyper", "num_groups": ""},
    gradcheck.numerical_gradient: {"fn": "fn", "x": "real tree", "h": "positive", "centred": ""},
    gradcheck.check: {"key": "key", "fn": "fn", "params": "real tree", "grads": "real tree",
                      "kinks": "", "h": "positive", "rtol": "positive / share",
                      "num_coordinates": "negative", "num_directions": "negative"},
    gradcheck.taylor: {"key": "key", "fn": "fn", "params": "real tree", "grads": "real tree",
                       "kinks": "", "h": "positive", "num_directions": "count"},
    checkpoint.save: {"path": "", "tree": "leaf", "note": ""},
    checkpoint.note: {"path": ""},
    checkpoint.restore: {"path": "", "like": ""},
    training.Recipe: {"objective": "functions", "optimizer": "function", "sampling": "function",
                      "batch_size": "count", "params_fn": "function"},
    training.start: {"key": "key", "params": "params", "recipe": "recipe",
                     "hyper": "hyper / narrowed hyper"},
    training.step: {"state": "state", "batch": "data", "recipe": "recipe", "hyper": "hyper"},
    training.run: {"state": "state", "data": "data", "affine": "affine", "recipe": "recipe",
                   "hyper": "hyper", "num_steps": "negative", "stop": ""},
    training.fit: {"state": "state", "X": TRAINED, "y": LABELS, "recipe": "recipe",
                   "hyper": "hyper / narrowed hyper", "num_steps": "count / many",
                   "weight": "weight", "affine": "affine", "validation": "pair", "every": "count",
                   "patience": "count", "checkpoint": "", "on_chunk": ""},
    optimum.optimum: {"X": TRAINED, "y": "labels", "reg": "positive / strengths", "loss": "loss",
                      "penalty": "functions", "beta": "number at least 0", "num_classes": "count",
                      "weight": "weight", "affine": "affine", "params": "params", "dtype": "",
                      "tol": "number", "max_steps": "negative"},
    certificate.duality_gap: {"params": "params", "X": ROWS, "y": LABELS, "reg": "positive",
                              "loss": "function", "penalty": "functions",
                              "beta": "number at least 0", "weight": "weight", "affine": "affine"},
    audit.near_distance: {"model": "model", "found": "found", "share": "number / share"},
    audit.duplicates: {"found": "found", "y": "labels", "labels": "labels",
                       "at_most": "number at least 0"},
    audit.contradictions: {"found": "found", "y": "labels", "labels": "labels"},
    audit.shapley: {"model": "model / labelled model", "queries": ROWS, "labels": "labels",
                    "k": "count", "weight": "weight", "block_size": "count",
                    "on_block": "function"},
    audit.shapley_by_query: {"indices": "order", "y": "labels", "labels": "labels", "k": "count"},
    quick.fit: {"key": "key", "images": TRAINED, "labels": "labels / one class",
                "num_classes": "count", "weight": "weight", "loss": "loss",
                "penalty": "functions", "reg": "number", "beta": "", "num_epochs":
                "positive / many", "batch_size": "count"},
    quick.choose: {"X": "", "affine": "", "num_classes": "", "loss": "loss",
                   "penalty": "functions", "reg": "", "beta": "",
                   "num_epochs": "positive / many", "batch_size": "count"},
    probe.fit_linear: {"X": TRAINED, "y": "labels", "folds": "folds", "regs": "", "loss": "loss",
                       "weight": "weight", "tol": "number"},
    probe.fit_knn: {"X": ROWS, "y": "labels", "folds": "folds", "ks": "", "metric": ""},
    multilabel.rarest: {"Y": "label matrix"},
    multilabel.optima: {"X": TRAINED, "Y": ANSWERED, "regs": "list of strengths",
                        "weight": "weight", "affine": "affine", "tol": "number",
                        "max_steps": "negative"},
    multilabel.fit_linear: {"X": TRAINED, "Y": JUDGED, "folds": "folds",
                            "regs": "list of strengths", "per_feature": "", "tol": "number"},
    multilabel.fit_knn: {"X": ROWS, "Y": JUDGED, "folds": "folds",
                         "ks": "list of counts", "metric": "", "per_feature": ""},
    multilabel.shares: {"found": "answers", "X": ROWS},
    multilabel.probabilities: {"params": "params", "X": "rows"},
    random_search.draw: {"key": "key", "num_features": "count", "num_classes": "count",
                         "scale": "positive"},
    random_search.search: {"key": "key", "X": TRAINED, "y": "labels", "num_classes": "count",
                           "num_draws": "count / many", "scale": "positive",
                           "objective": "objective", "hyper": "hyper", "affine": "affine",
                           "on_block": ""},
    crossval.choose: {"accuracies": "scores of folds", "complexity": ""},
    crossval.linear: {"key": "key", "X": TRAINED, "y": "labels", "folds": "folds",
                      "recipe": "recipe", "hyper": "hyper / narrowed hyper",
                      "num_steps": "count / many", "weight": "weight", "affine": "affine",
                      "params": "params", "score_fn": "", "on_chunk": ""},
}  # fmt: skip
"""For each function the kinds of its arguments; "" is taken as it is."""

WITHOUT = {
    # Traced inside of others, which have the door.
    batches.span, batches.take, batches.zero_absent, batches.drop, batches.steps_per_epoch,
    objective.labels, objective.checked_params, objective.dtype_of, objective.num_classes,
    objective.num_features, objective.of_present, objective.example_losses, objective.penalised,
    objective.weighted_mean, probe.of_strengths, probe.at_edge, crossval.simplest_best,
    preprocessing.principal_axes,
    passes.sum_over, passes.mean_over, passes.objective, passes.at_least_float32,
    passes.objective_and_gradient, passes.on_mesh, passes.mean_of_file,
    hyper.as_numbers, hyper.axes, hyper.gathered, crossval.held_out_scores,
    certificate.near_optimum, certificate.task, optimum.has_room, optimum.nearly,
    # Their numbers come from Hyper, which has the door.
    *(getattr(optimizers, name) for name in ("sgd", "nesterov", "annealed", "annealed_l1",
      "exponential", "warmup_cosine", "proximal", "max_norm", "averaging", "averaged",
      "check_proximal")),
    batches.stateless, objective.checked, training.last, gradcheck.relative_error,
    crossval.knn_accuracies,
}  # fmt: skip
GOOD = {
    "key": KEY, "num_features": D, "num_classes": C, "params": PARAMS, "X": X, "y": Y, "images": X,
    "labels": Y, "targets": np.ones((N, C)), "affine": AFFINE, "shape": (1, D),
    "scores": X[:, :C], "W": X, "amount": 0.1,
    "radius": 1.0, "loss": losses.softmax, "objective": objective.Objective(), "batch": DATA,
    "data": DATA, "hyper": HYPER, "dtype": np.float32, "times": 2, "num_groups": 2,
    "fn": lambda x: (x**2).sum(),
    "x": np.ones(3), "grads": np.full(3, 2.0), "recipe": RECIPE, "state": STATE, "num_steps": 2,
    "reg": 0.1, "folds": Y, "accuracies": np.ones((3, 2)), "path": "nowhere/file.npz",
    "ks": [1, 3], "regs": [0.1], "tree": {"a": X}, "like": {"a": X}, "validation": (X, Y),
    "patience": 1, "model": MODEL, "found": FOUND, "queries": X, "k": 3,
    "indices": np.tile(np.arange(N), (N, 1)),
}  # fmt: skip
GOOD_OF = {
    gradcheck.check: {"params": np.ones(3)},
    gradcheck.taylor: {"params": np.ones(3)},
    training.fit: {"validation": (X, Y)},
    multilabel.rarest: {"Y": MATRIX},
    multilabel.optima: {"Y": MATRIX},
    multilabel.fit_linear: {"Y": MATRIX, "folds": FOLDS},
    multilabel.fit_knn: {"Y": MATRIX, "folds": FOLDS},
    multilabel.shares: {"found": ANSWERS},
}


def public_functions():
    """Every public function of the modules, and the recipe."""
    for module in MODULES:
        for name in dir(module):
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith(module.__name__)
            if ours and not name.startswith("_") and (
                inspect.isfunction(value) or value is training.Recipe
            ):  # fmt: skip
                yield value


def told(fn, arguments, name):
    """What is wrong with what a call says about its argument `name`, "" if nothing."""
    try:
        fn(**arguments)
    except (TypeError, ValueError) as error:
        named = re.search(rf"\b({PARTS.get(name, name)})\b", str(error))
        return "" if named else f"{type(error).__name__}: {str(error)[:150]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:150]}"
    return "no error"


def walk():
    """Every fault of every door."""
    for fn in public_functions():
        if fn not in TABLE and fn not in WITHOUT:
            yield f"{fn.__module__}.{fn.__name__} has no row"
    for fn, kinds in TABLE.items():
        signature = inspect.signature(fn).parameters
        if set(signature) != set(kinds):
            yield f"{fn.__module__}.{fn.__name__} has other arguments: {sorted(signature)}"
        good = {**GOOD, **GOOD_OF.get(fn, {})}
        required = {n: good[n] for n, p in signature.items() if p.default is p.empty}
        required |= GOOD_OF.get(fn, {})
        for name, kind in kinds.items():
            optional = signature[name].default is None
            for value in [bad for one in kind.split(" / ") if one for bad in BAD[one]]:
                if value is None and optional:
                    continue
                fault = told(fn, {**required, name: value}, name)
                if fault:
                    shown = " ".join(repr(value).split())[:60]
                    yield f"{fn.__module__}.{fn.__name__}({name}={shown}): {fault}"


if __name__ == "__main__":
    faults = list(walk())
    print(*faults, sep="\n")
    sys.exit(bool(faults))
