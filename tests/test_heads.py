"""Parameters of any tree, read by a `scores_fn` of one's own: research heads."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lincls import (
    Hyper,
    Objective,
    Recipe,
    batches,
    crossval,
    losses,
    optimizers,
    passes,
    penalties,
    preprocessing,
    splits,
    training,
)
from lincls.structs import Examples, LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")
N, D, C = 60, 5, 3
RNG = np.random.default_rng(170)
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = np.argmax(X @ RNG.normal(size=(D, C)), axis=1).astype(np.int32)
W = RNG.normal(size=(C, D)).astype(np.float32)
KEY = jax.random.key(171)


# Four heads, each in a few lines: what a research extension writes.


def tempered(params, X):
    return jnp.exp(params["temperature"]) * (X @ params["W"].T + params["b"])


def scaled(params, X):
    return (X @ params["W"].T) * params["scale"]


def layer_normed(params, X):
    rows = (X - X.mean(axis=1, keepdims=True)) / jnp.sqrt(X.var(axis=1, keepdims=True) + 1e-5)
    return (rows * params["gain"]) @ params["W"].T


def normalised(params, X):
    rows, W = (a / jnp.linalg.norm(a, axis=1, keepdims=True) for a in (X, params["W"]))
    return 8 * rows @ W.T


HEADS = {
    tempered: {"W": W, "b": np.zeros(C, np.float32), "temperature": np.zeros((), np.float32)},
    scaled: {"W": W, "scale": np.ones(C, np.float32)},
    layer_normed: {"W": W, "gain": np.ones(D, np.float32)},
    normalised: {"W": W},
}


def l2_of_all(params):
    return optax.tree.norm(params, squared=True)


def recipe_of(head, **more):
    return Recipe(Objective(losses.softmax, l2_of_all, head), **({"batch_size": 16} | more))


def trained(params, recipe, hyper, num_steps=12, **how):
    state = training.start(KEY, params, recipe, hyper)
    return training.fit(state, X, Y, recipe, hyper, num_steps=num_steps, **how)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_eight_values_in_one_trace_are_their_eight_single_runs(head):
    regs, params, traces = np.geomspace(1e-4, 1e-1, 8), HEADS[head], []

    def counted(params, X):
        traces.append(X.shape)
        return head(params, X)

    grid, history = trained(params, recipe_of(counted), Hyper({"learning_rate": 0.1}, reg=regs))
    assert traces.count((16, D)) == 1
    assert history.loss.shape == (12, 8)
    for place in (0, 3, 7):
        hyper = Hyper({"learning_rate": 0.1}, reg=regs[place])
        single, _ = trained(params, recipe_of(head), hyper)
        of_grid = jax.tree.map(lambda leaf, p=place: leaf[p], grid.params)
        chex.assert_trees_all_close(of_grid, single.params, rtol=1e-5, atol=1e-6)


def test_gradient_descent_of_a_head_is_optax_on_the_same_function():
    def value(params):
        loss = optax.softmax_cross_entropy_with_integer_labels(tempered(params, X), Y).mean()
        return loss + 0.01 * l2_of_all(params)

    params, sgd = HEADS[tempered], optax.sgd(0.1)
    state = sgd.init(params)
    for _ in range(5):
        updates, state = sgd.update(jax.grad(value)(params), state)
        params = optax.apply_updates(params, updates)
    recipe = recipe_of(tempered, sampling=batches.full)
    hyper = Hyper({"learning_rate": 0.1}, reg=0.01)
    found, history = trained(HEADS[tempered], recipe, hyper, 5)
    chex.assert_trees_all_close(found.params, params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(history.loss[0], value(HEADS[tempered]), rtol=1e-5)


def averaged_sgd(learning_rate):
    return optax.chain(optimizers.sgd(learning_rate), optimizers.averaging())


def test_a_head_is_validated_averaged_and_goes_on_from_a_file(tmp_path):
    recipe = recipe_of(tempered, optimizer=averaged_sgd, params_fn=optimizers.averaged)
    hyper = Hyper({"learning_rate": [0.1, 0.3]})
    how = {"validation": (X[:20], Y[:20]), "patience": 4, "checkpoint": tmp_path / "run.npz"}
    state, history = trained(HEADS[tempered], recipe, hyper, **how)
    again, same = trained(HEADS[tempered], recipe, hyper, **how)
    chex.assert_trees_all_equal(state.params, again.params)
    chex.assert_trees_all_equal(history, same)
    scores = jax.vmap(tempered, (0, None))(optimizers.averaged(state), X[:20])
    right = (np.argmax(scores, axis=2) == Y[:20]).mean(axis=1)
    np.testing.assert_allclose(history.validation.accuracy[-1], right)


def test_cross_validation_of_a_head_judges_its_own_scores():
    folds, affine = splits.folds(N, 3), preprocessing.fit(X)
    args = (KEY, X, Y, folds, recipe_of(tempered), Hyper({"learning_rate": [0.1, 0.3]}))
    how = {"num_steps": 12, "affine": affine, "params": HEADS[tempered]}

    def right(scores, labels):
        return float((np.argmax(scores, axis=1) == labels).mean())

    found = crossval.linear(*args, **how)
    by_scores = crossval.linear(*args, score_fn=right, **how)
    np.testing.assert_allclose(found.accuracies, by_scores.accuracies)
    params = jax.tree.map(lambda leaf: leaf[1, 2], found.params)
    scores = tempered(params, preprocessing.apply(affine, X[folds == 2]))
    assert right(scores, Y[folds == 2]) == pytest.approx(found.accuracies[1, 2])
    with pytest.raises(TypeError, match="params must be a tree of arrays"):
        crossval.linear(*args, num_steps=12)


def plain(params, X):
    return X @ params["W"].T + params["b"]


def l2_of_W(params):
    return penalties.l2(params["W"])


def test_a_wrapped_linear_head_is_the_linear_classifier():
    b, hyper = np.zeros(C, np.float32), Hyper({"learning_rate": 0.1}, reg=0.01)
    wrapped = Recipe(Objective(losses.hinge, l2_of_W, plain), batch_size=16)
    usual = Recipe(Objective(losses.hinge), batch_size=16)
    head, _ = trained({"W": W, "b": b}, wrapped, hyper)
    of_linear, _ = trained(LinearParams(W, b), usual, hyper)
    np.testing.assert_allclose(head.params["W"], of_linear.params.W, rtol=1e-5, atol=1e-6)
    args = (Examples(X, Y, np.ones(N, np.float32)), preprocessing.identity(D))
    of_head = passes.accuracies(head.params, *args, scores_fn=plain, is_grid=False)
    assert of_head == passes.accuracies(of_linear.params, *args)


def broken(params, X):
    return X @ params["V"].T


def without_classes(params, X):
    return X[:, 0]


@pytest.mark.parametrize(
    ("scores_fn", "params", "said"),
    [
        (broken, HEADS[scaled], "scores_fn does not take these params"),
        (tempered, HEADS[tempered] | {"W": W[:, :4]}, "scores_fn does not take these params"),
        (without_classes, HEADS[scaled], r"scores_fn\(params, X\) must be \(B, C\)"),
        (scaled, {"W": W, "scale": "1"}, r"params\['scale'\]"),
        (scaled, {"W": W, "scale": np.ones(C)}, "one dtype"),
        (scaled, {}, "tree of arrays"),
        (scaled, None, "tree of arrays"),
        ("linear", HEADS[scaled], "objective.scores_fn"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(scores_fn, params, said):
    with pytest.raises((TypeError, ValueError), match=said):
        trained(params, recipe_of(scores_fn), Hyper({"learning_rate": 0.1}), 2)


def bounded(learning_rate):
    return optax.chain(optimizers.sgd(learning_rate), optimizers.max_norm(1.0))


def test_a_link_that_changes_W_alone_is_refused_for_another_tree():
    with pytest.raises(TypeError, match=r"LinearParams\(W, b\)"):
        trained(HEADS[scaled], recipe_of(scaled, optimizer=bounded), Hyper({"learning_rate": 0.1}))
