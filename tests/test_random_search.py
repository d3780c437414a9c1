import jax
import numpy as np
import oracles
import pytest

from lincls import linear, losses, penalties, preprocessing, random_search
from lincls.objective import Objective
from lincls.structs import Hyper

pytestmark = pytest.mark.usefixtures("quick_compiles")

RNG = np.random.default_rng(80)
X = RNG.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
Y = RNG.integers(0, 3, 60)
KEY = jax.random.key(81)


def search(num_draws, **kw):
    kw = {"objective": Objective(losses.hinge, penalties.none), **kw}
    return random_search.search(
        KEY, X, Y, num_draws=num_draws, scale=1e-2, affine=preprocessing.mean_image(X), **kw
    )


def test_keeps_the_draw_of_the_least_loss_over_all_data():
    done = []
    params, found = search(120, on_block=lambda i, n: done.append((i, n)))
    assert found.loss.shape == (120,)
    assert found.best.tolist() == np.minimum.accumulate(found.loss).tolist()
    assert found.draw == found.loss.argmin()
    rows = X.reshape(60, 16) - X.reshape(60, 16).mean(axis=0)
    by_hand = oracles.hinge(rows @ np.asarray(params.W, np.float64).T + params.b, Y).mean()
    assert found.loss.min() == pytest.approx(by_hand, rel=1e-4)
    assert done == [(50, 120), (100, 120), (120, 120)]


def test_more_draws_begin_with_the_same_ones():
    np.testing.assert_allclose(search(120)[1].loss[:60], search(60)[1].loss, rtol=1e-6)


def test_draws_fill_the_bias_column_too():
    params = random_search.draw(KEY, 3072, 10)
    assert linear.fold_bias(params).shape == (10, 3073)
    assert float(params.W.std()) == pytest.approx(1e-4, rel=0.02)
    assert params.b.any()


def test_the_penalty_counts():
    plain = search(20)[1].loss
    penalised = search(
        20, objective=Objective(losses.hinge, penalties.l2), hyper=Hyper({}, reg=5.0)
    )[1].loss
    assert (penalised > plain).all()
    np.testing.assert_allclose(penalised - plain, 5 * 3 * 16 * 1e-4, rtol=0.6)


def test_a_grid_is_refused():
    with pytest.raises(ValueError, match="scalars"):
        search(20, hyper=Hyper({}, [1.0, 2.0]))
