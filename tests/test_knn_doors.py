"""What each public function of knn, distances, evaluation and splits checks of its arguments.

TABLE says it: for each function a call that is valid, and the kind of each argument.  BAD holds
values that are no such thing.  Each must end in a TypeError or ValueError that names the argument.
"""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from lincls import crossval, distances, evaluation, forecast, knn, placement, splits, training
from lincls.knn import search
from lincls.structs import Hyper, Neighbors

RNG = np.random.default_rng(80)
X = RNG.normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 3
KEY = jax.random.key(81)
MODEL = knn.fit(X, Y)
SHARDED = knn.fit(*placement.shard(placement.mesh(), X, Y))
ANGLES = knn.fit(X, Y, metric=distances.cosine)
FOUND = knn.neighbors(MODEL, X[:4], 5)
LABELS = np.asarray(knn.neighbor_labels(MODEL, FOUND))
SCORES = RNG.normal(size=(12, 3))
SHARES = np.eye(3)[Y]
FOLDS = np.arange(12) % 4


def masked(values):
    return np.ma.array(values, mask=np.arange(np.size(values)).reshape(np.shape(values)) == 0)


def with_nan(values):
    values = np.array(values, np.float64)
    values.flat[1] = np.nan
    return values


def gap(a, b):
    return jnp.sum(jnp.abs(a - b))


NO_ARRAYS = [[[1, 2], [3]], scipy.sparse.csr_matrix(X), np.array([{}, None]), np.array(["a", "b"])]
WRONG = {
    "rows": [*NO_ARRAYS, masked(X), with_nan(X), X[0], X[:0], X.astype(int), X.astype(complex)],
    "shape of rows": [X[0], X[:0], X.astype(int), X.astype(complex), X.tolist(), "X", None],
    "recipe": ["sgd", None, Hyper({"learning_rate": 0.1})],
    "hyper": [0.1, None, Hyper({"learning_rate": "0.1"}), Hyper({"learning_rate": 1e-50})],
    "floating dtype": [int, np.uint8, "int32", None],
    "queries": [X[:4, :2], np.zeros((4, 3), np.uint8), with_nan(X[:4]), masked(X[:4]), X[0], "X"],
    "labels": [Y[:, None], np.eye(3)[Y], Y - 1, Y / 2, Y.astype(str), masked(Y), Y[:5], *NO_ARRAYS],
    "labels of scores": [Y + 1, Y[:, None], Y - 1, Y / 2, masked(Y), Y[:5], Y.astype(str)],
    "classes": [Y[:, None], np.eye(3)[Y], masked(Y), with_nan(Y), np.array([None, "a"] * 6), "abc"],
    "label matrix": [2 * SHARES, SHARES[:, 0], SHARES[:5], SHARES - 0.5, with_nan(SHARES),
                     masked(SHARES), SHARES.astype(str), *NO_ARRAYS[:2]],
    "scores of a matrix": [Y, SCORES[:5], SCORES.astype(str), with_nan(SCORES), masked(SCORES)],
    "predictions": [Y + 0.5, Y.astype(str), Y[:, None], masked(Y), with_nan(Y), Y[:5]],
    "predicted labels": [Y + 1, Y - 1, Y.astype(str), Y[:, None], masked(Y), Y + 0.5],
    "folds": [Y[:, None], Y / 2, Y - 2, Y.astype(str), masked(Y), with_nan(Y)],
    "scores": [Y, SCORES.astype(str), masked(SCORES), SCORES.astype(complex), *NO_ARRAYS[:2]],
    "probabilities": [SCORES, 100 * SHARES, SHARES / 2, -SHARES, with_nan(SHARES), masked(SHARES)],
    "weight": [-np.ones(12), np.zeros(12), np.ones(5), with_nan(np.ones(12)), np.ones((12, 1))],
    "neighbour labels": [LABELS + 5, LABELS - 5, LABELS[0], LABELS / 2, masked(LABELS)],
    "vote weights": [
        np.ones((4, 4)), -np.ones((4, 5)), with_nan(np.ones((4, 5))), np.full((4, 5), "a"),
        np.full((4, 5), 1e308), np.full((4, 5), 5e-324), np.ones(5), np.ones((4, 5), bool),
    ],
    "accuracies": [SCORES[0], with_nan(SCORES), SCORES.astype(str)],
    "complexity": [[1, 2], ["a"] * 12, with_nan(Y)],
    "found": [X, tuple(FOUND), FOUND._replace(indices=FOUND.indices[:1]), None],
    "neighbours of the model": [X, FOUND._replace(indices=FOUND.indices + 20), tuple(FOUND)],
    "model": [X, (X, Y), None],
    "model with labels": [X, knn.fit(X), None],
    "metric": ["l2", "euclid", gap, None, 2],
    "function": ["accuracy", 3, X],
    "needed function": ["accuracy", 3, X, None],
    "key": [0, "seed", np.arange(2), jax.random.split(KEY)],
    "count": [0, -1, 1.5, "3", True],
    "counts": [3, [], [0], [1.5], ["1"], [100]],
    "positive": [0, -1, "1", np.nan, [1, 2], None],
    "confidence": [0, 1, 95, "0.95", np.nan],
    "values in 0..1": [[0.5], [0, 2], [0.5, -0.1], [0.5, np.nan], ["a", "b"], np.ones((3, 1)), 1],
    "estimate": [0.5, None, (0.5, 0.4), SCORES],
}  # fmt: skip

NEAR = {"model": (MODEL, "model with labels"), "queries": (X[:4], "queries")}
VOTES = {"labels": (LABELS, "neighbour labels"), "num_classes": (3, "count")}
SCORED = {"scores": (SCORES, "scores"), "labels": (Y, "labels of scores")}
PREDICTED = {"predictions": (Y, "predictions"), "labels": (Y, "classes")}
COUNTED = {"predictions": (Y, "predicted labels"), "labels": (Y, "labels of scores")}
RANKED = {
    "scores": (SCORES, "scores of a matrix"), "labels": (SHARES.astype(int), "label matrix"),
}  # fmt: skip
CHOSEN = {
    "predictions": (SHARES.astype(int), "label matrix"),
    "labels": (SHARES.astype(int), "label matrix"),
}
TABLE = {
    knn.fit: {"X": (X, "rows"), "y": (Y, "labels"), "metric": (distances.l1, "metric")},
    knn.neighbors: {
        "model": (MODEL, "model"), "queries": (X[:4], "queries"), "k": (3, "count"),
        "block_size": (2, "count"), "on_block": (print, "function"),
    },
    knn.search_block: {"queries": (X[:4], "queries"), "model": (MODEL, None), "k": (3, None)},
    knn.search_shards: {
        "queries": (X[:4], "queries"), "model": (SHARDED, "model"), "k": (3, "count"),
    },
    knn.route: {
        "model": (MODEL, "model"), "k": (3, "count"), "num_queries": (300, "count"),
    },
    knn.merge: {"a": (FOUND, "found"), "b": (FOUND, "found"), "k": (3, "count")},
    knn.neighbor_labels: {
        "model": (MODEL, "model with labels"), "found": (FOUND, "neighbours of the model"),
    },
    knn.inverse_distances: {"model": (MODEL, "model"), "found": (FOUND, "found")},
    knn.exp_cosines: {
        "model": (ANGLES, "model"), "found": (FOUND, "found"), "temperature": (0.1, "positive"),
    },
    knn.probabilities: {"model": (MODEL, "model with labels"), "found": (FOUND, "found")},
    knn.votes: VOTES | {"weights": (FOUND.distances, "vote weights")},
    knn.predictions_by_k: VOTES
    | {"ks": ([1, 3], "counts"), "weights": (FOUND.distances, "vote weights")},
    knn.ties_by_k: VOTES | {"ks": ([1, 3], "counts")},
    knn.duplicates: {
        "model": (MODEL, "model"), "queries": (X[:4], "queries"), "below": (0.5, "positive"),
    },
    knn.predict: NEAR | {"k": (3, "count")},
    knn.predict_by_k: NEAR | {"ks": ([1, 3], "counts")},
    knn.accuracy_by_k: NEAR | {"labels": (Y[:4], "labels"), "ks": ([1, 3], "counts")},
    forecast.neighbors: {
        "X": (X, "shape of rows"), "num_queries": (4, "count"), "k": (3, "count"),
        "metric": (distances.l1, "metric"), "num_devices": (1, "count"),
        "limit_bytes": (9, "count"),
    },
    forecast.training: {
        "X": (X, "shape of rows"), "recipe": (training.Recipe(), "recipe"),
        "hyper": (Hyper({"learning_rate": 0.1}), "hyper"), "num_steps": (2, "count"),
        "num_classes": (3, "count"), "num_devices": (1, "count"), "limit_bytes": (9, "count"),
        "dtype": (np.float32, "floating dtype"),
    },
    distances.pointwise: {"fn": (gap, "needed function")},
    evaluation.accuracy: PREDICTED | {"weight": (np.ones(12), "weight")},
    evaluation.in_top_k: SCORED | {"k": (2, "count")},
    evaluation.top_k_accuracy: SCORED | {"k": (2, "count"), "weight": (np.ones(12), "weight")},
    evaluation.confusion: COUNTED | {"num_classes": (3, "count")},
    evaluation.per_class_accuracy: COUNTED | {"num_classes": (3, "count")},
    evaluation.log_loss: SCORED | {"weight": (np.ones(12), "weight")},
    evaluation.reliability: {
        "probabilities": (SHARES, "probabilities"), "labels": (Y, "labels of scores"),
        "num_bins": (5, "count"),
    },
    evaluation.brier: {
        "probabilities": (SHARES, "probabilities"), "labels": (Y, "labels of scores"),
        "weight": (np.ones(12), "weight"),
    },
    evaluation.mean: {"values": (Y == 1, "values in 0..1")},
    evaluation.mean_per_class: COUNTED | {"num_classes": (3, "count")},
    evaluation.macro_f1: COUNTED | {"num_classes": (3, "count")},
    evaluation.auroc: SCORED,
    evaluation.average_precision: SCORED,
    evaluation.per_class_average_precision: RANKED,
    evaluation.multilabel_average_precision: RANKED,
    evaluation.multilabel_micro_f1: CHOSEN,
    evaluation.multilabel_macro_f1: CHOSEN,
    evaluation.interval: {
        "estimate": (evaluation.mean(Y == 1), "estimate"), "confidence": (0.9, "confidence"),
    },
    evaluation.wilson_interval: {
        "num_correct": (5, None), "num_examples": (9, "count"), "confidence": (0.9, "confidence"),
    },
    evaluation.bootstrap: {
        "key": (KEY, "key"), "statistic": (jnp.sum, "needed function"),
        "num_examples": (9, "count"),
        "num_samples": (3, "count"), "args": ((), None),
    },
    evaluation.paired_difference: {
        "a": (Y == 1, "values in 0..1"), "b": (Y == 2, "values in 0..1"),
        "confidence": (0.9, "confidence"),
    },
    evaluation.mcnemar: {
        "a": (Y, "predictions"), "b": (Y[::-1], "predictions"), "labels": (Y, "classes"),
    },
    splits.folds: {"num_examples": (9, "count"), "num_folds": (3, "count")},
    splits.shuffled_folds: {
        "key": (KEY, "key"), "num_examples": (9, "count"), "num_folds": (3, "count"),
    },
    splits.stratified_folds: {
        "key": (KEY, "key"), "labels": (Y, "classes"), "num_folds": (3, "count"),
    },
    splits.grouped_folds: {
        "key": (KEY, "key"), "groups": (Y, "classes"), "num_folds": (3, "count"),
    },
    splits.train_weights: {"folds": (FOLDS, "folds"), "num_folds": (4, "count")},
    splits.parts: {"folds": (FOLDS, "folds"), "weight": (np.ones(12), "weight")},
    splits.balanced_weights: {"labels": (Y, "classes")},
    splits.validation_mask: {
        "key": (KEY, "key"), "labels": (Y, "classes"), "fraction": (0.3, "confidence"),
    },
    crossval.choose: {"accuracies": (SCORES, "accuracies"), "complexity": (Y, "complexity")},
    crossval.knn_accuracies: {
        "X": (X, "rows"), "y": (Y, "labels"), "folds": (FOLDS, "folds"), "ks": ([1, 3], "counts"),
        "metric": (distances.l1, "metric"), "score_fn": (evaluation.accuracy, "function"),
    },
}  # fmt: skip


def call(function, arguments, **changed):
    """Call without the type checks of the tests, so that the function's own are seen."""
    return inspect.unwrap(function)(**{name: a[0] for name, a in arguments.items()} | changed)


def wrong_calls():
    for function, arguments in TABLE.items():
        for name, (_, kind) in arguments.items():
            for number, value in enumerate(WRONG.get(kind, [])):
                named = f"{function.__module__}.{function.__name__}-{name}-{kind}-{number}"
                yield pytest.param(function, name, value, id=named)


@pytest.mark.parametrize(("function", "name", "value"), list(wrong_calls()))
def test_a_wrong_argument_is_refused_by_name(function, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(function, TABLE[function], **{name: value})
    assert re.search(rf"\b{name}\b", str(caught.value)), caught.value
    assert len(str(caught.value)) < 2000


def public_functions():
    modules = (knn, distances, evaluation, forecast, splits)
    names = [(module, name) for module in modules for name in vars(module) if name[0] != "_"]
    for module, name in names:
        value = getattr(module, name)
        if inspect.isfunction(value) and value.__module__.startswith(module.__name__):
            yield value


def test_the_table_is_complete():
    inner = {distances.is_wide, distances.exact_scope, distances.integer_dtype}
    inner |= {distances.signed, distances.dot, distances.filled}
    assert set(public_functions()) - inner <= set(TABLE)
    for function, arguments in TABLE.items():
        optional = {"num_classes", "prune", "weights", "groups", "query_groups", "on_block", "cost"}
        optional |= {"backend", "targets", "weight_of_each"}
        missing = set(inspect.signature(function).parameters) - set(arguments) - optional
        assert not missing, function


def swapped(value):
    """The same numbers in the other byte order."""
    if isinstance(value, Neighbors):
        return Neighbors(*map(swapped, value))
    if not isinstance(value, np.ndarray) or value.dtype.itemsize == 1:
        return value
    return value.astype(value.dtype.newbyteorder())


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.mark.parametrize("function", TABLE, ids=lambda function: function.__name__)
def test_the_other_byte_order_is_the_same_numbers(function):
    arguments = TABLE[function]
    other = {name: swapped(value) for name, (value, _) in arguments.items()}
    if function not in (distances.pointwise, forecast.neighbors, forecast.training):
        same(call(function, arguments, **other), call(function, arguments))


def host_functions():
    pure = {knn.search_block, knn.search_shards}
    for function, arguments in TABLE.items():
        for name, (value, kind) in arguments.items():
            rows = kind in ("rows", "queries", "classes", "scores", "probabilities", "predictions")
            if rows and isinstance(value, np.ndarray) and function not in pure:
                yield pytest.param(function, name, id=f"{function.__name__}-{name}")


@pytest.mark.parametrize(("function", "name"), list(host_functions()))
def test_what_works_on_the_host_says_so_inside_of_jit(function, name):
    value = TABLE[function][name][0]
    traced = jax.jit(lambda x: call(function, TABLE[function], **{name: x}))
    with pytest.raises(TypeError, match=r"\bjit\b"):
        traced(value)


def test_inside_of_jit_the_search_is_named_that_works_there():
    with pytest.raises(TypeError, match=r"knn\.search_block"):
        jax.jit(lambda queries: knn.predict(MODEL, queries, 1))(X)

    @jax.jit
    def predict(model, queries):
        found = knn.search_block(model, queries, 5)
        return knn.predictions_by_k(knn.neighbor_labels(model, found), [1, 5], 3)

    np.testing.assert_array_equal(predict(MODEL, X), knn.predict_by_k(MODEL, X, [1, 5]))


@pytest.mark.parametrize("wrong", [3, -2, 255])
def test_a_label_out_of_range_is_no_vote_inside_of_jit(wrong):
    labels = np.array([[0, 1, 1], [2, wrong, 0]])
    counts = np.asarray(jax.jit(lambda labels: knn.votes(labels, 3))(labels))
    assert counts.tolist() == [[1, 2, 0], [np.iinfo(np.int32).min] * 3]
    weights = np.ones((2, 3), np.float32)
    sums = np.asarray(jax.jit(lambda labels: knn.votes(labels, 3, weights))(labels))
    assert sums[0].tolist() == [1, 2, 0]
    assert np.isnan(sums[1]).all()
    predicted = jax.jit(lambda labels: knn.predictions_by_k(labels, [1, 3], 3))(labels)
    assert np.asarray(predicted).tolist() == [[0, -1], [1, -1]]


def test_a_metric_by_name_or_as_a_function_says_what_to_type():
    meant = {"L2": "distances.l2", "manhattan": "distances.l1", gap: "distances.pointwise"}
    for metric, typed in meant.items():
        with pytest.raises(TypeError, match=typed):
            call(knn.fit, TABLE[knn.fit], metric=metric)


def several(a, b):
    return jnp.abs(a - b)


def in_numpy(a, b):
    return float(np.sum(np.abs(np.asarray(a) - np.asarray(b))))


def nowhere(a, b):
    return jnp.sum((a - b) / jnp.sum(a - b))


@pytest.mark.parametrize(
    ("fn", "error", "says"),
    [
        (several, TypeError, "one number"),
        (in_numpy, TypeError, "jax.numpy"),
        (nowhere, ValueError, "NaN"),
    ],
)
def test_a_function_that_is_no_distance_is_named(fn, error, says):
    model = knn.fit(X, metric=distances.pointwise(fn))
    with pytest.raises(error, match=says) as caught:
        knn.neighbors(model, X, 2)
    assert fn.__name__ in str(caught.value)


def test_missing_groups_are_not_one_group():
    groups = np.repeat([0.0, 1.0, np.nan], 4)
    with pytest.raises(ValueError, match="groups"):
        splits.grouped_folds(KEY, groups, 2)
    with pytest.raises(ValueError, match="groups"):
        splits.grouped_folds(KEY, groups.astype("datetime64[s]"), 2)
    with pytest.raises(TypeError, match="groups"):
        splits.grouped_folds(KEY, np.array(["a", None, "b"] * 4, object), 2)
    names = np.array(["a", "b", "c"] * 4, object)  # as pandas keeps text
    np.testing.assert_array_equal(
        splits.grouped_folds(KEY, names, 2), splits.grouped_folds(KEY, names.astype(str), 2)
    )


def test_text_is_compared_with_text():
    names = np.array(["cat", "dog", "cat"])
    assert evaluation.accuracy(names, names[::-1]) == 1
    assert evaluation.accuracy(np.array([0.0, 1.0]), np.array([0, 0])) == 0.5
    with pytest.raises(TypeError, match="predictions and labels"):
        evaluation.accuracy(np.array(["0", "1"]), np.array([0, 1]))


def test_probabilities_of_nobody_s_vote_are_probabilities():
    empty = evaluation.reliability(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0, 0]), 2)
    assert empty.total.tolist() == [1, 1]


def test_narrow_weights_are_summed_in_float32():
    labels = np.zeros((1, 600), int)
    for dtype in (np.float16, jnp.bfloat16, np.uint8):
        assert knn.votes(labels, 2, np.ones((1, 600), dtype)).tolist() == [[600, 0]]
    assert search.order_keys(np.float32([np.nan]))[0] == -np.inf
