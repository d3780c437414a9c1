"""Every public function refuses what its arguments must not be, and names the argument."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.sparse

from lincls import (
    audit,
    certificate,
    checkpoint,
    checks,
    crossval,
    data,
    gradcheck,
    knn,
    linear,
    losses,
    models,
    multilabel,
    objective,
    optimum,
    passes,
    penalties,
    preprocessing,
    probe,
    quick,
    random_search,
    training,
)
from lincls.estimators import KNNClassifier, SoftmaxClassifier
from lincls.structs import Affine, Examples, Hyper, LinearParams, Neighbors

pytestmark = pytest.mark.usefixtures("quick_compiles")

HERE = Path(__file__).parent
X = np.eye(4, dtype=np.float32)
Y = np.array([0, 1, 0, 1])
PARAMS = LinearParams(X[:2], X[0, :2])


def test_the_table_of_doors_is_whole_and_each_door_holds():
    program = [sys.executable, str(HERE / "doors.py")]
    walked = subprocess.run(program, cwd=HERE.parent, capture_output=True, text=True)
    assert walked.returncode == 0, walked.stdout + walked.stderr


class Tensor:
    """As tensors and frames of other libraries, it hands itself to numpy."""

    def __array__(self, dtype=None, copy=None):
        return np.array(X, dtype)


class Guarded:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("can't call numpy() on a tensor that requires grad")


def test_what_numpy_can_convert_is_taken():
    for given in (Tensor(), X.tolist(), np.ma.array(X)):
        rows = checks.rows(given)
        assert type(rows) is np.ndarray
        np.testing.assert_array_equal(rows, X)


def test_the_error_of_another_library_names_the_argument():
    with pytest.raises(TypeError, match="images must be an array; can't call numpy"):
        checks.rows(Guarded(), "images")


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.coo_array])
def test_sparse_rows_are_refused_with_what_to_type(kind):
    with pytest.raises(TypeError, match=rf"the sparse {kind.__name__}; use images.toarray\(\)"):
        checks.rows(kind(X), "images")


def test_what_a_mask_hides_is_not_used():
    hidden = np.ma.array(X, mask=X > 0)
    with pytest.raises(ValueError, match=r"X has masked entries; use X.filled"):
        preprocessing.fit(hidden)
    weight = np.ma.array(np.ones(4), mask=[0, 0, 0, 1])
    with pytest.raises(ValueError, match="weight has masked"):
        preprocessing.fit(X, weight)


def everything_of(swap):
    """What every function that takes arrays makes of arrays in one byte order."""
    rng = np.random.default_rng(3)
    rows, y = swap(rng.normal(size=(6, 3)).astype(np.float32)), swap(np.array([0, 1] * 3))
    params = LinearParams(*(swap(rng.normal(size=s).astype(np.float32)) for s in ((2, 3), (2,))))
    affine = Affine(swap(np.full(3, 0.25, np.float32)), swap(np.float64(2)))
    weight = swap(np.arange(1, 7) / 7)
    data, hyper = Examples(rows, y, weight), Hyper({"learning_rate": swap(np.array([0.1, 0.2]))})
    recipe, key = training.Recipe(batch_size=4), jax.random.key(0)
    one = Hyper({"learning_rate": swap(np.float32(0.1))}, swap(np.float32(0.1)))
    grid, state = (training.start(key, params, recipe, h) for h in (hyper, one))
    how = {"weight": weight, "affine": affine}
    return [
        linear.scores(params, rows), linear.predict(params, rows), linear.fold_bias(params),
        linear.on_pixels(params, affine), linear.templates(params, (3,)),
        *(loss(rows, y) for loss in (losses.softmax, losses.hinge, losses.hinge_kinks)),
        *(p(rows) for p in (penalties.l1, penalties.l2, penalties.elastic_net, penalties.l1_kinks)),
        penalties.soft_threshold(rows, 0.1), penalties.max_norm(rows, 1.0),
        preprocessing.fit(rows, weight), preprocessing.apply(affine, rows),
        objective.evaluate(objective.Objective(), params, data, one)[0],
        objective.step_size(rows, affine, losses.softmax, 2),
        passes.accuracies(params, data, affine),
        grid.params, training.step(state, data, recipe, one)[0].params,
        training.run(grid, data, affine, recipe, hyper, num_steps=2)[1].loss,
        training.fit(grid, rows, y, recipe, hyper, num_steps=2, **how)[1].loss,
        optimum.optimum(rows, y, reg=0.1, affine=affine, params=params, max_steps=4).loss,
        certificate.duality_gap(params, rows, y, reg=0.1, **how)[:2],
        random_search.search(key, rows, y, num_draws=2, objective=objective.Objective(),
                             affine=affine)[1].loss,
        gradcheck.numerical_gradient(lambda x: (x**2).sum(), rows),
    ]  # fmt: skip


def test_arrays_of_the_other_byte_order_are_read_as_what_they_are():
    swapped = everything_of(lambda array: array.astype(array.dtype.newbyteorder("S")))
    for found, expected in zip(swapped, everything_of(lambda array: array), strict=True):
        jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        ("training.fit", lambda x: fit(x)),
        ("quick.fit", lambda x: quick.fit(jax.random.key(0), x, Y)),
        ("preprocessing.fit", preprocessing.fit),
        ("optimum.optimum", lambda x: optimum.optimum(x, Y, reg=0.1)),
        ("gradcheck.check", lambda x: gradcheck.check(jax.random.key(0), np.sum, x, x)),
        ("gradcheck.taylor", lambda x: gradcheck.taylor(jax.random.key(0), np.sum, x, x)),
        ("numerical_gradient", lambda x: gradcheck.numerical_gradient(np.sum, x)),
        ("knn.fit", lambda x: knn.fit(x, Y)),
        ("the search of knn", lambda x: knn.neighbors(knn.fit(X, Y), x, 1)),
        ("audit.shapley", lambda x: audit.shapley(knn.fit(X, Y), x, Y, 1)),
        (
            "duality_gap",
            lambda x: certificate.duality_gap(linear.init(jax.random.key(1), 4, 2), x, Y, reg=0.1),
        ),
        (
            "random_search.search",
            lambda x: random_search.search(
                jax.random.key(0), x, Y, objective=objective.Objective()
            ),
        ),
        (
            "crossval.linear",
            lambda x: crossval.linear(
                jax.random.key(0),
                x,
                Y,
                Y,
                training.Recipe(),
                Hyper({"learning_rate": 0.1}),
                params=linear.init(jax.random.key(1), 4, 2),
                num_steps=1,
            ),
        ),
        ("probe.fit_linear", lambda x: probe.fit_linear(x, Y, Y)),
        ("probe.fit_knn", lambda x: probe.fit_knn(x, Y, Y, [1])),
        ("multilabel.optima", lambda x: multilabel.optima(x, X, regs=[0.1])),
        ("multilabel.fit_linear", lambda x: multilabel.fit_linear(x, X, Y)),
        ("multilabel.fit_knn", lambda x: multilabel.fit_knn(x, X, Y, [1])),
        ("checkpoint.save", lambda x: checkpoint.save("nowhere/x.npz", x)),
        ("models.save", lambda x: models.save("nowhere/x.st", LinearParams(x, np.zeros(4)))),
    ],
)
def test_what_cannot_be_traced_says_so_in_a_sentence(verb, call):
    with pytest.raises(TypeError, match=rf"^{verb} cannot run inside jit, grad or vmap; \w"):
        jax.jit(call)(X)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("images", lambda x: data.from_arrays(x, Y)),
        ("labels", lambda x: data.from_arrays(X, x[0])),
        ("images", lambda x: models.predict(models.Saved(PARAMS, *[None] * 4), x)),
        ("images", lambda x: models.probabilities(models.Saved(PARAMS, *[None] * 4), x)),
        ("X", lambda x: SoftmaxClassifier().fit(x, Y)),
        ("y", lambda x: KNNClassifier(1).fit(X, x[0])),
        ("X", lambda x: KNNClassifier(1).fit(X, Y).predict(x)),
        ("indices", lambda x: audit.shapley_by_query(x.astype(int), Y, Y, 1)),
        (r"found\.distances", lambda x: audit.contradictions(Neighbors(x, x.astype(int)), Y)),
    ],
)
def test_what_looks_at_values_says_so_under_jit(name, call):
    with pytest.raises(TypeError, match=f"^{name} must hold values; call this outside of jit"):
        jax.jit(call)(X)


def fit(x):
    recipe, hyper = training.Recipe(), Hyper({"learning_rate": 0.1})
    state = training.start(jax.random.key(0), linear.init(jax.random.key(1), 4, 2), recipe, hyper)
    return training.fit(state, x, Y, recipe, hyper, num_steps=1)


def test_one_class_alone_is_refused():
    for labels in (np.zeros(4, int), np.full(4, 3)):
        with pytest.raises(ValueError, match=r"a classifier needs two classes|num_classes"):
            quick.fit(jax.random.key(0), X, labels)
