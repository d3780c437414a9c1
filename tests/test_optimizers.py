"""Hand-written SGD against optax's, and projections that hold exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest

from lincls import batches, linear, losses, optimizers, penalties, training
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")

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


def sparse_momentum(learning_rate, strength):
    shrink = optimizers.proximal(penalties.soft_threshold, learning_rate * strength, 0.9)
    return optax.chain(optimizers.sgd(learning_rate), shrink)


def test_proximal_with_momentum_ends_at_the_optimum_with_l1():
    """The conditions of optimality, with the gradient from numpy."""
    rng = np.random.default_rng(44)
    X = rng.normal(size=(60, 6))
    y = (X[:, :3] + rng.normal(size=(60, 3))).argmax(axis=1)
    recipe = training.Recipe(
        Objective(losses.softmax, penalties.none), sparse_momentum, batches.full
    )
    hyper = Hyper({"learning_rate": 0.1, "strength": [0.01, 0.05, 0.2]})
    state = training.start(jax.random.key(0), linear.init(jax.random.key(1), 6, 3), recipe, hyper)
    state, _ = training.fit(state, X.astype(np.float32), y, recipe, hyper, num_steps=3000)
    zeros = []
    for g, strength in enumerate(hyper.optimizer["strength"]):
        W, b = (np.asarray(p[g], np.float64) for p in state.params)
        _, dW, db = oracles.softmax_l2(X, y, 0.0)(W, b)
        zero = W == 0
        assert (np.abs(dW[zero]) <= strength + 1e-5).all()
        np.testing.assert_allclose(dW[~zero], -strength * np.sign(W[~zero]), atol=1e-5)
        np.testing.assert_allclose(db, 0, atol=1e-5)
        zeros.append(zero.sum())
    assert zeros[0] < zeros[1] < zeros[2]


def test_proximal_with_momentum_is_the_numpy_loop():
    chain = optax.chain(
        optimizers.sgd(0.02), optimizers.proximal(penalties.soft_threshold, 0.02 * 3, 0.8)
    )
    path = trajectory(chain)
    before = W, b = [np.asarray(p, np.float64) for p in START]
    for t in range(20):
        dW, db = 4 * W**3 + [3.0, 1.0, -1.0], 2 * b
        moved = W - 0.02 * dW + 0.8 * (W - before[0])
        new = np.sign(moved) * np.maximum(np.abs(moved) - 0.06, 0)
        before, (W, b) = (W, b), (new, b - 0.02 * db + 0.8 * (b - before[1]))
        np.testing.assert_allclose(path.W[t], W, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(path.b[t], b, rtol=1e-4, atol=1e-6)


SHRINK = optimizers.proximal(penalties.soft_threshold, 0.01)
REMEMBERS = {
    "momentum": optax.chain(optimizers.sgd(0.1, 0.9), SHRINK),
    "nesterov": optax.chain(optimizers.nesterov(0.1, 0.9), SHRINK),
    "adam": optax.chain(optax.adam(0.1), SHRINK),
    "nested": optax.chain(optax.chain(optax.trace(0.9), optax.scale(-0.1)), SHRINK),
    "two": optax.chain(optax.chain(SHRINK, optimizers.sgd(0.1, 0.9)), SHRINK),
}
FORGETS = {
    "plain": optax.chain(optimizers.sgd(0.1), SHRINK),
    "schedule": optax.chain(optimizers.sgd(lambda step: 0.1 / (1 + step)), SHRINK),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optimizers.sgd(0.1), SHRINK),
    "own momentum": optax.chain(
        optimizers.sgd(0.1), optimizers.proximal(penalties.soft_threshold, 0.01, 0.9)
    ),
    "averaged": optax.chain(optimizers.sgd(0.1), SHRINK, optimizers.averaging()),
    "balls": optax.chain(optimizers.sgd(0.1, 0.9), optimizers.max_norm(1.0)),
    "both": optax.chain(optimizers.sgd(0.1), SHRINK, optimizers.max_norm(1.0)),
}


@pytest.mark.parametrize("name", [*REMEMBERS, *FORGETS])
def test_a_proximal_step_after_momentum_is_refused(name):
    chain = {**REMEMBERS, **FORGETS}[name]
    recipe = training.Recipe(optimizer=lambda: chain)
    params = linear.init(jax.random.key(0), 3, 2)
    for hyper in (Hyper({}), Hyper({}, [0.0, 0.1])):
        if name in FORGETS:
            training.start(jax.random.key(0), params, recipe, hyper)
        else:
            with pytest.raises(ValueError, match=r"optimizers.proximal\(fn, amount, momentum\)"):
                training.start(jax.random.key(0), params, recipe, hyper)
