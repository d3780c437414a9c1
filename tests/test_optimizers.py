"""Hand-written SGD against optax's, and projections that hold exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lincls import optimizers, penalties
from lincls.structs import LinearParams

START = LinearParams(jnp.array([[1.0, -2.0, 0.5]]), jnp.array([0.25]))


def trajectory(transformation, num_steps=20):
    """Parameters after every step down a bent valley, in one scan."""

    def loss(p):
        return jnp.sum(p.W**4) + jnp.sum(p.W * jnp.array([3.0, 1.0, -1.0])) + jnp.sum(p.b**2)

    def body(carry, _):
        params, state = carry
        updates, state = transformation.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.lax.scan(body, (START, transformation.init(START)), length=num_steps)[1]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optimizers.sgd(0.01), optax.sgd(0.01)),
        (optimizers.sgd(0.01, 0.9), optax.sgd(0.01, momentum=0.9)),
        (optimizers.nesterov(0.01, 0.9), optax.sgd(0.01, momentum=0.9, nesterov=True)),
        (
            optimizers.sgd(optax.cosine_decay_schedule(0.02, 15), 0.5),
            optax.sgd(optax.cosine_decay_schedule(0.02, 15), momentum=0.5),
        ),
    ],
    ids=["plain", "momentum", "nesterov", "schedule"],
)
def test_equals_optax_step_by_step(ours, theirs):
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules promote their counts
        ours, theirs = trajectory(ours), trajectory(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), ours, theirs)


def test_momentum_zero_is_plain():
    np.testing.assert_allclose(
        trajectory(optimizers.sgd(0.01, 0.0)).W, trajectory(optimizers.sgd(0.01)).W, rtol=1e-6
    )


def test_numbers_may_be_traced():
    ends = jax.vmap(lambda lr: trajectory(optimizers.sgd(lr, 0.9)).W[-1])(jnp.array([0.01, 0.002]))
    np.testing.assert_allclose(ends[1], trajectory(optimizers.sgd(0.002, 0.9)).W[-1], rtol=1e-6)


def test_proximal_l1_makes_exact_zeros_and_leaves_the_bias_alone():
    rate, strength = 0.01, 30.0
    chain = optax.chain(
        optimizers.sgd(rate), optimizers.proximal(penalties.soft_threshold, rate * strength)
    )
    path = trajectory(chain)
    assert (path.W[-1] == 0).all()
    np.testing.assert_allclose(path.b, trajectory(optimizers.sgd(rate)).b, rtol=1e-6)


def test_max_norm_holds_at_every_step():
    path = trajectory(optax.chain(optimizers.sgd(0.05), optimizers.max_norm(0.5)))
    norms = np.linalg.norm(path.W, axis=-1)
    assert (norms <= 0.5 * (1 + 1e-6)).all()
    assert norms[-1] == pytest.approx(0.5, rel=1e-5)


def test_a_projection_needs_the_parameters():
    link = optimizers.max_norm(1.0)
    with pytest.raises(ValueError, match="parameters"):
        link.update(START, link.init(START))


OURS = {
    "warmup": (
        optimizers.warmup_cosine,
        lambda peak, warmup, steps, start, end: optax.warmup_cosine_decay_schedule(
            start, peak, warmup, steps, end
        ),
        [(0.1, 20, 100, 0.0, 0.0), (0.3, 5, 60, 0.02, 0.01), (0.2, 0, 50, 0.0, 0.0)],
    ),
    "exponential": (
        optimizers.exponential,
        optax.exponential_decay,
        [(0.1, 10, 0.9), (0.3, 5, 0.5), (0.2, 40, 0.99)],
    ),
}


@pytest.mark.parametrize("name", OURS)
def test_a_schedule_is_optaxs_and_all_its_numbers_are_swept_in_one_trace(name):
    ours, theirs, settings = OURS[name]
    steps, traces = jnp.arange(120, dtype=jnp.int32), []

    @jax.jit
    @jax.vmap
    def swept(numbers):
        traces.append(numbers)
        return jax.vmap(ours(*numbers))(steps)

    found = swept(tuple(jnp.array(column, jnp.float32) for column in zip(*settings, strict=True)))
    assert len(traces) == 1
    for rates, numbers in zip(found, settings, strict=True):
        with jax.numpy_dtype_promotion("standard"):
            expected = jax.vmap(theirs(*numbers))(steps)
        np.testing.assert_allclose(rates, expected, rtol=2e-5, atol=1e-8)
        np.testing.assert_allclose(jax.vmap(ours(*numbers))(steps), expected, rtol=2e-5, atol=1e-8)
