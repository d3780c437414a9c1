"""Optima with zeros, paths of strengths and their gaps, against scikit-learn and scipy."""

import jax
import numpy as np
import oracles
import pytest
import scipy.optimize
from sklearn.linear_model import LogisticRegression

from experiments.bench import optimum as bench
from lincls import certificate, losses, optimum, penalties, placement
from lincls.optimum import smooth, sparse
from lincls.structs import LinearParams

RNG = np.random.default_rng(41)
N, D, C = 60, 8, 3
X = RNG.normal(size=(N, D))
Y = (X[:, :C] + RNG.normal(size=(N, C))).argmax(axis=1)
WEIGHT = RNG.integers(0, 4, N).astype(np.float64)
BETA = 0.5
REGS = [0.003, 0.1, 0.03]
RATIOS = {penalties.l1: 1.0, penalties.elastic_net: 1 / (1 + 2 * BETA)}
VALUES = {
    penalties.l2: lambda W: (W**2).sum(),
    penalties.l1: lambda W: np.abs(W).sum(),
    penalties.elastic_net: lambda W: (BETA * W**2 + np.abs(W)).sum(),
}


def objective(penalty, loss, reg, W, b):
    """In numpy, float64."""
    scores = X @ W.T + b
    if loss is losses.squared_hinge:
        each = oracles.squared_hinge(scores, Y)
    else:
        each = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(N), Y]
    return np.average(each, weights=WEIGHT) + reg * VALUES[penalty](W)


def scikit_learns(penalty, reg):
    """saga minimises C sum_i loss_i + (1 - r) / 2 |W|**2 + r |W|; it gets repeated rows."""
    ratio = RATIOS[penalty]
    strength = 1 / (WEIGHT.sum() * reg * (1 if ratio == 1 else 1 + 2 * BETA))
    model = LogisticRegression(C=strength, l1_ratio=ratio, solver="saga", tol=1e-9, max_iter=20_000)
    times = WEIGHT.astype(int)
    return model.fit(np.repeat(X, times, axis=0), np.repeat(Y, times))


def solved(penalty, loss=losses.softmax, reg=REGS, **how):
    how = {"weight": WEIGHT, "beta": BETA, "dtype": np.float64, "tol": 1e-9} | how
    return optimum.optimum(X, Y, reg=reg, penalty=penalty, loss=loss, **how)


@pytest.mark.parametrize("penalty", [penalties.l1, penalties.elastic_net])
def test_a_path_has_scikit_learns_optimum_and_zeros_at_each_strength(penalty):
    path = solved(penalty)
    assert path.converged.all()
    assert path.params.W.shape == (3, C, D)
    for place, reg in enumerate(REGS):
        W, b = path.params.W[place], path.params.b[place]
        theirs = scikit_learns(penalty, reg)
        np.testing.assert_allclose(W, theirs.coef_, atol=5e-4)
        least = objective(penalty, losses.softmax, reg, theirs.coef_, theirs.intercept_)
        assert path.loss[place] == pytest.approx(objective(penalty, losses.softmax, reg, W, b))
        assert path.loss[place] - path.gap[place] <= least
        assert path.loss[place] <= least + path.gap[place]
        np.testing.assert_array_equal(W == 0, np.abs(theirs.coef_) < 1e-6)
    assert (path.params.W[1] == 0).sum() > (path.params.W[0] == 0).sum()


@pytest.mark.parametrize("loss", [losses.softmax, losses.squared_hinge])
@pytest.mark.parametrize("penalty", list(VALUES))
def test_the_gap_bounds_how_far_any_parameters_are_from_the_minimum(penalty, loss):
    best = solved(penalty, loss, reg=0.02)
    assert best.converged
    assert best.loss == pytest.approx(objective(penalty, loss, 0.02, *best.params), rel=1e-12)
    sizes = []
    for spread in (1e-5, 1e-3, 0.1, 10.0):
        W = best.params.W + spread * RNG.normal(size=(C, D))
        gap = certificate.duality_gap(
            LinearParams(W, np.zeros(C)), X, Y, reg=0.02, loss=loss, penalty=penalty, beta=BETA,
            weight=WEIGHT,
        )  # fmt: skip
        assert gap.dual <= best.loss + 1e-12
        assert gap.primal == pytest.approx(objective(penalty, loss, 0.02, W, gap.bias), rel=1e-12)
        others = (objective(penalty, loss, 0.02, W, gap.bias + RNG.normal(size=C)) for _ in "12345")
        assert gap.primal <= min(others)
        sizes.append(gap.size)
    assert sizes == sorted(sizes)
    assert sizes[0] < 2e-3


def test_the_squared_hinge_is_at_scipys_minimum():
    best = solved(penalties.l2, losses.squared_hinge, reg=0.02)

    def fn(flat):
        W, b = flat[: C * D].reshape(C, D), flat[C * D :]
        return objective(penalties.l2, losses.squared_hinge, 0.02, W, b)

    found = scipy.optimize.minimize(fn, np.zeros(C * D + C), tol=1e-12)
    assert abs(best.loss - found.fun) <= best.gap


def test_the_program_compiles_once_for_all_strengths():
    for solver, penalty in ((smooth, penalties.l2), (sparse, penalties.l1)):
        solved(penalty, reg=[0.1, 0.02])
        before = solver.minimise._cache_size()
        solved(penalty, reg=[0.5, 0.2, 0.1, 0.05, 0.01])
        assert solver.minimise._cache_size() == before


def test_a_path_is_in_the_callers_order_and_equal_to_single_fits():
    path = solved(penalties.l2)
    for place, reg in enumerate(REGS):
        one = solved(penalties.l2, reg=reg)
        assert (type(one.loss), type(one.num_steps)) == (float, int)
        assert path.loss[place] == pytest.approx(one.loss, rel=1e-9)
        np.testing.assert_allclose(path.params.W[place], one.params.W, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [penalties.l2, penalties.l1])
def test_it_arrives_at_a_penalty_so_weak_that_the_gap_rises_on_the_way(penalty):
    rng = np.random.default_rng(9)
    y = rng.permutation(np.arange(120) % 4)
    rows = rng.normal(size=(4, 6))[y] + rng.normal(size=(120, 6))
    best = optimum.optimum(rows, y, reg=1e-6, penalty=penalty, tol=1e-4, max_steps=100_000)
    assert best.converged


def test_fewer_rows_than_features_have_the_optimum_of_all_axes():
    wide, y = RNG.normal(size=(7, 20)), np.arange(7) % C
    wide[3] = wide[4]  # rows that depend on each other
    best = optimum.optimum(wide, y, reg=0.01, dtype=np.float64, tol=1e-10)
    theirs = LogisticRegression(C=1 / (2 * 7 * 0.01), tol=1e-12, max_iter=10_000).fit(wide, y)
    np.testing.assert_allclose(best.params.W, theirs.coef_, atol=1e-4)
    assert best.converged


def test_a_class_without_examples_has_no_weights_and_is_never_predicted():
    weight = np.where(Y == 1, 0.0, WEIGHT)
    best = solved(penalties.l1, reg=0.01, num_classes=4, weight=weight)
    assert not best.params.W[[1, 3]].any()
    assert best.converged
    assert np.isin((X @ best.params.W.T + best.params.b).argmax(axis=1), (0, 2)).all()


def test_start_at_the_optimum_takes_no_step():
    best = solved(penalties.l1, reg=0.03)
    again = solved(penalties.l1, reg=0.03, params=best.params)
    assert again.num_steps == 0
    assert again.loss == best.loss


def test_float32_certifies_what_it_returns():
    best = solved(penalties.l1, reg=0.03, dtype=np.float32, tol=1e-4)
    assert best.params.W.dtype == np.float32
    assert best.converged
    exact = solved(penalties.l1, reg=0.03)
    assert exact.loss <= best.loss + exact.gap
    assert best.loss - exact.loss <= best.gap


def test_what_it_cannot_solve_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"penalty must be penalties.l2, penalties.l1"):
        solved(penalties.none)
    with pytest.raises(ValueError, match=r"loss must be losses.softmax or losses.squared_hinge"):
        solved(penalties.l1, losses.hinge)
    with pytest.raises(ValueError, match="reg must be one number greater than 0"):
        solved(penalties.l1, reg=[0.1, -1.0])
    with pytest.raises(ValueError, match=r"params must have W of shape \(3, 8\)"):
        solved(penalties.l1, params=LinearParams(np.zeros((4, 8)), np.zeros(4)))
    np.save(tmp_path / "X.npy", X)
    file = np.load(tmp_path / "X.npy", mmap_mode="r")
    with placement.limited(device_bytes=100), pytest.raises(ValueError, match="in a large file"):
        optimum.optimum(file, Y, reg=0.1, penalty=penalties.l1)


@pytest.mark.slow
def test_rows_in_a_file_have_the_optimum_of_rows_in_memory(tmp_path):
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    file = np.load(tmp_path / "X.npy", mmap_mode="r")
    with placement.limited(device_bytes=100), jax.numpy_dtype_promotion("standard"):
        found = optimum.optimum(file, Y, reg=0.05, weight=WEIGHT, tol=1e-5)
    expected = optimum.optimum(np.asarray(file), Y, reg=0.05, weight=WEIGHT)
    assert found.converged
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)


@pytest.mark.slow
def test_the_benchmark_tells_equal_objectives(capsys):
    flags = ["--smoke", "--problems", "few", "--tol", "1e-3"]
    assert bench.main(flags) == 0
    rows = [line.split("|")[4:6] for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 2
    for mine, theirs in rows:
        assert float(mine) == pytest.approx(float(theirs), rel=2e-3)
