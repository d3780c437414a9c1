"""Published protocols: each beside an independent transcription of its arithmetic."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.probe import __main__ as program
from experiments.probe import choosing, features, fits, least_squares, probing, protocols
from experiments.probe.settings import Settings
from lincls import batches, splits

pytestmark = pytest.mark.usefixtures("optax_promotes")

RNG = np.random.default_rng(12)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Overlapping classes: 320 examples to train on and 80 to test, 7 features, 4 classes."""
    rng = np.random.default_rng(2)
    y = rng.permutation(np.arange(400) % 4)
    X = (5 + 3 * rng.normal(size=(4, 7))[y] + 4 * rng.normal(size=(400, 7))).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "a.npz"
    np.savez(path, X_train=X[:320], y_train=y[:320], X_test=X[320:], y_test=y[320:])
    return path


def run(file, out, *words):
    """What a run wrote: results, predictions by row name, and the arrays of the data."""
    assert program.main(["--dataset", str(file), "--out", str(out), *words]) == 0
    (folder,) = (path.parent for path in out.glob("a/probe/*/results.json"))
    with np.load(folder / "predictions.npz") as saved:
        said = dict(zip(saved["name"].astype(str), saved["predictions"], strict=True))
    with np.load(file) as arrays:
        return json.loads((folder / "results.json").read_text()), said, dict(arrays)


def of_torch():
    """torch on one thread; skips where it is not installed."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


def held_out(y, seed=0):
    return splits.validation_mask(jax.random.key(seed), y, 0.2)


# --- the flags ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_a_protocol_sets_flags_that_exist_and_what_is_typed_stands(name):
    (settings,) = protocols.applied(Settings(protocol=(name,), seeds=7), ["--seeds", "7"])
    assert settings.seeds == 7
    fixed = protocols.PROTOCOLS[name].flags
    assert {key: getattr(settings, key) for key in fixed} == fixed | (
        {"seeds": 7} if "seeds" in fixed else {}
    )


# --- kNN and least squares ---------------------------------------------------------------------


def test_dino_knn_votes_as_its_paper_says():
    """Votes exp(cosine / 0.07) of the k nearest rows of norm 1, here by matrix products."""
    (settings,) = protocols.applied(Settings(protocol=("dino-knn",)), [])
    assert settings.tried(200).tolist() == [10, 20, 100, 200]
    X, queries = (RNG.normal(size=(n, 8)).astype(np.float32) for n in (300, 20))
    y = RNG.integers(0, 4, 300)
    X, queries = (features.prepared(rows, 0, settings.normalise == "unit") for rows in (X, queries))
    near = features.search("cosine", X, y, queries, 200, settings.temperature)
    votes, found = choosing.vote("exp", near, 4, settings.tried(200))
    cosines = queries.astype(np.float64) @ X.T.astype(np.float64)
    for place, k in enumerate((10, 20, 100, 200)):
        first = np.argsort(-cosines, axis=1)[:, :k]
        weights = np.exp(np.take_along_axis(cosines, first, axis=1) / 0.07)
        expected = np.stack([(weights * (y[first] == c)).sum(axis=1) for c in range(4)], axis=1)
        np.testing.assert_array_equal(found[place], expected.argmax(axis=1))
    shares = [each / each.sum(axis=1, keepdims=True) for each in (votes, expected)]
    np.testing.assert_allclose(*shares, rtol=1e-3)


@pytest.mark.parametrize(("rows", "size"), [(40, 6), (12, 30)])
def test_least_squares_is_that_of_big_vision(rows, size):
    """Its arithmetic in float64: the normal equations on whitened rows with a constant 100."""
    X, y = RNG.normal(3, 2, size=(rows, size)), RNG.integers(0, 3, rows)
    queries = RNG.normal(3, 2, size=(20, size))
    found = least_squares.fit(X, y, 4, 2.0**10)
    Z, Q = ((each - X.mean(axis=0)) / (X.std(axis=0) + 1e-5) for each in (X, queries))
    Z, Q = (np.pad(each, ((0, 0), (0, 1)), constant_values=100.0) for each in (Z, Q))
    V = np.linalg.solve(Z.T @ Z + 2.0**10 * np.eye(size + 1), Z.T @ (2 * np.eye(4)[y] - 1))
    np.testing.assert_allclose(queries @ found.W.T + found.b, Q @ V, atol=1e-4)


def test_the_few_shot_protocol_of_big_vision_runs(tmp_path, capsys):
    y = RNG.permutation(np.arange(160) % 4)
    X = (RNG.normal(size=(4, 6))[y] + RNG.normal(size=(160, 6))).astype(np.float32)
    np.savez(tmp_path / "a.npz", X_train=X[:120], y_train=y[:120], X_test=X[120:], y_test=y[120:])
    words = ["--dataset", str(tmp_path / "a.npz"), "--out", str(tmp_path)]
    assert program.main([*words, "--protocol", "fewshot-lsr"]) == 0
    told = capsys.readouterr().out
    assert told.count("| linear, least squares | ") == 4
    assert "strength 1.0e+03 |" in told
    (folder,) = (path.parent for path in tmp_path.glob("a/probe/*/heads.npz"))
    with np.load(folder / "heads.npz") as heads, np.load(folder / "predictions.npz") as said:
        scores = X[120:] @ heads["W"][-1].T + heads["b"][-1]  # 25 shots, the last draw
        np.testing.assert_array_equal(scores.argmax(axis=1), said["predictions"][-1])


# --- SGD ---------------------------------------------------------------------------------------


RATES = np.array([1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1])


def by_torch(torch, key, X, y, plan, rates):
    """dinov2's eval/linear.py on rows as they are: W (G, C, D), b (G, C), with our first W.

    Batches are ours as well; everything else is torch's.
    """
    start = fits.first(key, 4, X.shape[1], 0.01)
    heads = [torch.nn.Linear(X.shape[1], 4) for _ in rates]
    for head in heads:
        head.weight.data = torch.tensor(start.W)
        head.bias.data.zero_()
    scaled = [{"params": head.parameters(), "lr": rate * plan.batch_size / 256}
              for head, rate in zip(heads, rates, strict=True)]  # fmt: skip
    steps = plan.examples // plan.batch_size
    optimizer = torch.optim.SGD(scaled, momentum=0.9, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=0)
    num, size = len(X), min(plan.batch_size, len(X))
    for step in range(steps):
        order = batches.shuffled.order(key, jnp.asarray(step // -(-num // size)), num)
        rows, there = batches.shuffled.rows(order, key, jnp.asarray(step), num, size)
        rows = np.array(rows)[np.array(there)]
        data, labels = torch.tensor(X[rows]), torch.tensor(y[rows])
        loss = sum(torch.nn.functional.cross_entropy(head(data), labels) for head in heads)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return [np.stack([leaf.detach().numpy() for leaf in leaves])
            for leaves in zip(*(head.parameters() for head in heads), strict=True)]  # fmt: skip


def test_dinov2_linear_is_torchs_from_the_same_start_on_the_same_batches(file, tmp_path):
    torch = of_torch()
    words = ["--protocol", "dinov2-linear", "--examples", "2560"]
    found, said, data = run(file, tmp_path, *words)
    (result,) = found["results"]
    X, y, key = data["X_train"], data["y_train"], jax.random.fold_in(jax.random.key(0), 2)
    plan = fits.Plan(0, 2560, 128, 0)
    held, rates = held_out(y), RATES
    W, b = by_torch(torch, key, X[~held], y[~held], plan, rates)
    there = probing.kept(X, scaled=False)
    weights = np.tile((~held).astype(np.float32), (13, 1))
    grid, _ = fits.FITS["sgd"](key, there, y, 4, weights, rates, plan)
    for ours, theirs in zip(grid, (W, b), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
    accuracy = np.mean(np.argmax(X[held] @ W.transpose(0, 2, 1) + b[:, None], -1) == y[held], -1)
    best = accuracy.argmax()  # the smallest rate of equals
    assert (result["learning_rate"], result["strength"]) == (rates[best], None)
    assert result["selection"] == pytest.approx(accuracy[best])
    (W,), (b,) = by_torch(torch, key, X, y, plan, rates[best : best + 1])
    np.testing.assert_array_equal(said[result["name"]], (data["X_test"] @ W.T + b).argmax(axis=1))


def test_a_chosen_learning_rate_is_called_so_everywhere(file, tmp_path, capsys):
    words = ["--protocol", "dinov2-linear", "--examples", "1280", "--rates", "0.1", "1e-3"]
    found, *_ = run(file, tmp_path, *words)
    (result,) = found["results"]
    told = capsys.readouterr()
    assert result["epochs"] == 1280 / 320
    assert (
        f"| learning rate {result['learning_rate']:.1e} (edge of the grid), epochs 4 |" in told.out
    )
    assert "Learning rate chosen by accuracy on a validation part of 20%" in told.out
    assert "is at the edge of the grid; widen it with --rates" in told.err
    (csv,) = tmp_path.glob("a/probe/*/results.csv")
    assert ",learning_rate," in csv.read_text()
    assert "strength" not in csv.with_name("table.md").read_text()
    assert "learning rate" in csv.with_name("index.html").read_text()


# --- logistic regression -----------------------------------------------------------------------


def scaling(X):
    """Less the mean row, over one scale."""
    return lambda rows: (rows - X.mean(axis=0)) / np.sqrt(X.var(axis=0).mean())


def regression(torch, rows, y, reg):
    """The minimum of softmax + reg * sum(W**2) by torch's L-BFGS in float64: what it predicts."""
    data, labels = torch.tensor(rows, dtype=torch.float64), torch.tensor(y)
    head = torch.nn.Linear(rows.shape[1], 4, dtype=torch.float64)
    search = torch.optim.LBFGS(head.parameters(), max_iter=500, tolerance_grad=1e-9,
                               tolerance_change=1e-14, line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        search.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(data), labels)
        loss = loss + reg * head.weight.square().sum()
        loss.backward()
        return loss

    search.step(closure)
    W, b = (leaf.detach().numpy() for leaf in head.parameters())
    return lambda queries: (queries @ W.T + b).argmax(axis=1)


STRENGTHS = ["--strengths", "5", "--weakest", "1e-4", "--strongest", "3", "--gap", "1e-7"]


def chosen_by_torch(torch, rows, y, learned, held):
    """The strength of the best accuracy on what is held out, the strongest of equals; accuracy."""
    regs = np.geomspace(3, 1e-4, 5)
    heads = [regression(torch, rows[learned], y[learned], reg) for reg in regs]
    accuracies = [np.mean(head(rows[held]) == y[held]) for head in heads]
    best = int(np.argmax(accuracies))
    return regs[best], accuracies[best]


@pytest.mark.parametrize(("name", "seeds"), [("clip", 1), ("vtab-1k", 3)])
def test_a_strength_is_chosen_on_a_part_and_refitted_on_all_as_by_torch(
    name, seeds, file, tmp_path
):
    torch = of_torch()
    found, said, data = run(file, tmp_path, "--protocol", name, *STRENGTHS)
    X, y, scaled = data["X_train"], data["y_train"], scaling(data["X_train"])
    assert [row["seed"] for row in found["results"]] == list(range(seeds))
    for row in found["results"]:
        held = held_out(y, row["seed"])
        reg, accuracy = chosen_by_torch(torch, scaled(X), y, ~held, held)
        assert row["strength"] == pytest.approx(reg)
        assert row["selection"] == pytest.approx(accuracy)
        head = regression(torch, scaled(X), y, reg)
        np.testing.assert_array_equal(said[row["name"]], head(scaled(data["X_test"])))


def test_mteb_draws_few_of_each_class_ten_times_and_tells_the_mean(file, tmp_path):
    """Its logistic regression at each draw, at the strength that was chosen for it."""
    torch = of_torch()
    found, said, data = run(file, tmp_path, "--protocol", "mteb", *STRENGTHS)
    X, y, scaled = data["X_train"], data["y_train"], scaling(data["X_train"])
    accuracies = []
    for seed, row in enumerate(found["results"]):
        key = jax.random.fold_in(jax.random.key(seed), 1)
        (drawn,) = features.shot_weights(key, y, np.ones((1, 320), bool), 8) > 0
        assert np.bincount(y[drawn]).tolist() == [8] * 4
        head = regression(torch, scaled(X)[drawn], y[drawn], row["strength"])
        expected = head(scaled(data["X_test"]))
        np.testing.assert_array_equal(said[row["name"]], expected)
        accuracies.append(np.mean(expected == data["y_test"]))
    assert len(accuracies) == 10
    (mean,) = found["spread"]
    assert mean["top1"] == pytest.approx(np.mean(accuracies))
    assert mean["top1_sd"] == pytest.approx(np.std(accuracies, ddof=1))
