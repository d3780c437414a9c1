"""A researcher's own pieces, each at most ten lines outside the package, used like ours."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from shares import further

from lincls import linear, losses, optimizers, penalties, training
from lincls.objective import Objective
from lincls.structs import Hyper
from lincls.training import Recipe

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(50)
N, D, C, T = 90, 8, 4, 50
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = (X[:, :C] + 0.5 * RNG.normal(size=(N, C))).argmax(axis=1)
PARAMS = linear.init(jax.random.key(51), D, C, scale=0.1)


def focal(scores, labels, gamma):
    """Lin et al., ICCV 2017: (1 - p)**gamma times the softmax loss."""
    loss = losses.softmax(scores, labels)
    return (1 - jnp.exp(-loss)) ** gamma * loss


def pixelwise(W):
    """Group lasso: a pixel matters to all classes or to none."""
    return jnp.sum(jnp.sqrt(jnp.sum(W**2, axis=0) + 1e-12))


def shrink_pixels(W, amount):
    norm = jnp.sqrt(jnp.sum(W**2, axis=0) + 1e-12)
    return W * jax.nn.relu(1 - amount / norm)


def sgd_pixelwise(learning_rate, strength):
    shrink = optimizers.proximal(shrink_pixels, learning_rate * strength)
    return optax.chain(optimizers.sgd(learning_rate), shrink)


def adamw_cosine(learning_rate, weight_decay):
    schedule = optax.cosine_decay_schedule(learning_rate, decay_steps=T)
    return optax.adamw(schedule, weight_decay=weight_decay)


def numbers(low, high):
    return np.geomspace(low, high, 8).astype(np.float32)


RATE = {"learning_rate": 0.1}
STRENGTHS = {"learning_rate": 0.1, "strength": numbers(1e-3, 0.3)}
DECAYS = {"learning_rate": numbers(1e-3, 1), "weight_decay": 0.01}
EXTENSIONS = {
    "loss": (Objective(focal), optimizers.sgd, Hyper(RATE, 0.01, {"gamma": np.linspace(0, 4, 8)})),
    "penalty": (Objective(penalty=pixelwise), optimizers.sgd, Hyper(RATE, numbers(1e-3, 0.3))),
    "proximal": (Objective(penalty=penalties.none), sgd_pixelwise, Hyper(STRENGTHS)),
    "optimiser": (Objective(), adamw_cosine, Hyper(DECAYS, 0.0)),
}


class Counted:
    """A loss that counts how often it is traced; equal by identity, like any function."""

    def __init__(self, loss):
        self.loss, self.traces = loss, 0

    def __call__(self, scores, labels, **numbers):
        self.traces += 1
        return self.loss(scores, labels, **numbers)


def train(objective, optimizer, hyper):
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules promote their counts
        recipe = Recipe(objective, optimizer, batch_size=32)
        state = training.start(jax.random.key(52), PARAMS, recipe, hyper)
        state, history = training.fit(state, X, Y, recipe, hyper, num_steps=T)
    return state.params, history.loss


def one(hyper, i):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[i] if np.ndim(leaf) else leaf, hyper)


@pytest.mark.parametrize("name", ["loss", "proximal", further("penalty"), further("optimiser")])
def test_a_sweep_is_its_single_runs_in_one_trace_each(name):
    objective, optimizer, hyper = EXTENSIONS[name]
    objective = objective._replace(loss=Counted(objective.loss))
    params, loss = train(objective, optimizer, hyper)
    of_the_sweep, objective.loss.traces = objective.loss.traces, 0
    singles = [train(objective, optimizer, one(hyper, i)) for i in range(8)]
    assert objective.loss.traces == of_the_sweep, "8 single runs trace as often as one sweep"
    for i, (alone, its_loss) in enumerate(singles):
        np.testing.assert_allclose(loss[:, i], its_loss, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(params.W[i], alone.W, rtol=1e-4, atol=1e-5)
    assert len(np.unique(loss[-1])) == 8, "the values make a difference"
    train(objective, optimizer, jax.tree.map(lambda leaf: np.multiply(leaf, 0.5), hyper))
    assert objective.loss.traces == of_the_sweep, "other values do not trace again"


def test_a_float_an_int_and_a_numpy_number_are_one_trace():
    objective = Objective(Counted(losses.softmax))
    for reg in (1.0, 1, np.float64(1), np.int32(1), jnp.ones(())):
        train(objective, optimizers.sgd, Hyper({"learning_rate": reg}, reg))
    first, objective.loss.traces = objective.loss.traces, 0
    train(objective, optimizers.sgd, Hyper({"learning_rate": 0.3}, 0.7))
    assert (first > 0, objective.loss.traces) == (True, 0)


def test_the_proximal_step_switches_whole_pixels_off():
    params, _ = train(*EXTENSIONS["proximal"])
    off = (np.asarray(params.W) == 0).all(axis=1).sum(axis=1)
    assert off[0] < off[-1]


@pytest.mark.parametrize("fn", [focal, pixelwise, shrink_pixels, sgd_pixelwise, adamw_cosine])
def test_each_is_at_most_ten_lines(fn):
    assert len(inspect.getsource(fn).splitlines()) <= 10
