"""One contract for every penalty and projection, and what is special about each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lincls import gradcheck, penalties

pytestmark = pytest.mark.usefixtures("quick_compiles")

W = np.random.default_rng(3).normal(size=(4, 9)).astype(np.float32)
ORACLES = {
    penalties.none: lambda W: 0.0,
    penalties.l2: lambda W: (W**2).sum(),
    penalties.l1: lambda W: np.abs(W).sum(),
    penalties.elastic_net: lambda W: (W**2 + np.abs(W)).sum(),
}


@pytest.fixture(params=ORACLES, ids=lambda penalty: penalty.__name__)
def penalty(request):
    return request.param


def test_equals_the_formula(penalty):
    value = jax.jit(penalty)(W)
    assert (value.shape, value.dtype) == ((), jnp.float32)
    assert float(value) == pytest.approx(ORACLES[penalty](W.astype(np.float64)), rel=1e-6)


def test_vmap_over_settings_is_a_loop(penalty):
    stack = np.stack([W, 2 * W, 0 * W])
    alone = [penalty(w) for w in stack]
    np.testing.assert_allclose(jax.jit(jax.vmap(penalty))(stack), alone, rtol=1e-6)


def test_gradient_against_finite_differences(penalty):
    report = gradcheck.check(
        jax.random.key(4), penalty, W, jax.grad(penalty), kinks=penalties.l1_kinks
    )
    assert report.passed, str(report)


def test_zero_weights_cost_nothing_and_have_gradient_zero(penalty):
    zero = jnp.zeros((2, 3))
    assert float(penalty(zero)) == 0
    assert not np.any(jax.jit(jax.grad(penalty))(zero))


def test_elastic_net_at_its_edges():
    assert penalties.elastic_net(W, beta=0.0) == penalties.l1(W)
    big = penalties.elastic_net(W, beta=1e6) / 1e6
    np.testing.assert_allclose(big, penalties.l2(W), rtol=1e-5)


def test_soft_threshold_is_the_proximal_map():
    amount = 0.7
    ours = penalties.soft_threshold(W, amount)
    grid = np.linspace(-4, 4, 80_001)
    for w, v in zip(W.ravel()[:12], np.asarray(ours).ravel(), strict=False):
        objective = amount * np.abs(grid) + 0.5 * (grid - w) ** 2
        assert v == pytest.approx(grid[objective.argmin()], abs=1e-4)
    assert (np.asarray(ours)[np.abs(W) <= amount] == 0).all()


def test_max_norm_projects_rows_and_leaves_the_short_ones_alone():
    rows = np.float32([[3, 4], [0.3, 0.4], [0, 0]])
    projected = np.asarray(penalties.max_norm(rows, 1.0))
    np.testing.assert_allclose(projected[0], [0.6, 0.8], rtol=1e-6)
    assert (projected[1:] == rows[1:]).all()
    again = penalties.max_norm(projected, 1.0)
    np.testing.assert_allclose(again, projected, rtol=1e-6)
    slopes = jax.jit(jax.grad(lambda W: penalties.max_norm(W, 1.0).sum()))(rows)
    assert np.isfinite(slopes).all()
