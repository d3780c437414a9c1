"""Regularisation: validation accuracy and sparsity against the strength of five kinds."""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lab import progress, tuning
from experiments.lab.experiment import Outcome, flag
from experiments.lab.gate import Data
from lincls import (
    batches,
    linear,
    losses,
    optimizers,
    penalties,
    preprocessing,
    training,
)
from lincls.objective import Objective, step_size
from lincls.structs import Hyper, LinearParams
from lincls.training import Recipe

OBJECTIVE = Objective(losses.softmax, penalties.l2)
KINDS = {  # names in the record, and for people
    "l2": "L2", "l1": "L1", "elastic": "elastic net", "max_norm": "max norm", "dropout": "dropout",
}  # fmt: skip
NUMBERS = {"l2": "l2_regs", "max_norm": "radii", "dropout": "shares"}  # what tunes a kind
MOST_ZEROS = 0.9  # of a template that is shown
FREE = 1e6  # the radius of a max norm that never binds
NONE = {"l2": np.zeros(1), "l1": np.zeros(1), "radius": np.full(1, FREE)}
FOR_DRAWS = 0.7  # of the training images, at most; the others choose and judge
MEASURES = ("influence", "share")


@dataclass(frozen=True)
class Settings:
    l2_regs: tuple[float, ...] = flag(
        (1e-2, 0.1, 1.0, 3.0, 10.0, 30.0), "strengths of L2, rising", low=0, smoke=(1e-2, 1.0)
    )
    regs: tuple[float, ...] = flag(
        (1e-3, 1e-2, 3e-2, 0.1), "strengths of L1 and elastic net, rising", low=0,
        smoke=(1e-3, 0.1),
    )  # fmt: skip
    radii: tuple[float, ...] = flag(
        (1.0, 0.3, 0.1, 0.03, 0.01), "greatest lengths of a row of W, falling", low=0,
        smoke=(1.0, 0.1),
    )  # fmt: skip
    shares: tuple[float, ...] = flag(
        (0.25, 0.9, 0.98), "shares of the features dropped", low=0, below=1, smoke=(0.5,)
    )
    rate: float = flag(5.0, "step size, a multiple of the derived one", above=0)
    num_steps: int = flag(200, "steps, each on all examples fitted", low=1, smoke=50)
    num_draws: int = flag(
        10, "draws of the training images, no image in two of them", low=2, smoke=2
    )
    max_fitted: int = flag(100, "training images of a draw", low=2)
    sizes: tuple[int, ...] = flag(
        (25, 400), "other numbers of training images, for L2, rising", low=2, smoke=(25,)
    )
    max_validation: int = flag(10000, "further training images, which choose and judge", low=2)


def places_of(settings: Mapping[str, Any], kind: str) -> slice:
    """Where a kind's settings stand in the arrays: none first, then the kinds in their order."""
    order = [(name, len(settings[NUMBERS.get(name, "regs")])) for name in KINDS]
    before = [count for name, count in order[: list(KINDS).index(kind)]]
    start = 1 + sum(before)
    return slice(start, start + dict(order)[kind])


class Drawn(NamedTuple):
    """Disjoint blocks of training images, and further images of which half choose."""

    blocks: list[tuning.Rows]
    held_out: tuning.Rows
    chooses: np.ndarray  # (V,) bool


def regularised(learning_rate: Any, threshold: Any, radius: Any) -> optax.GradientTransformation:
    """Gradient descent, then the proximal step of L1, then max norm: all off at 0 and FREE."""
    return optax.chain(
        optimizers.sgd(learning_rate),
        optimizers.proximal(penalties.soft_threshold, learning_rate * threshold),
        optimizers.max_norm(radius),
    )


RECIPE = Recipe(OBJECTIVE, regularised, batches.full)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Every kind at every strength on few images, L2 on fewer and more, in every draw."""
    drawn = _drawn(data, key, settings)
    chooses, most = drawn.chooses, len(drawn.blocks[0].y)
    outcome = Outcome(
        {"chosen_by": int(chooses.sum()), "judged_by": int((~chooses).sum()), **_slide_42()}
        | {"fitted": min(settings.max_fitted, most), "num_draws": len(drawn.blocks)}
    )
    right = _by_kind(outcome, data, key, drawn, settings)
    accuracy = outcome.arrays["accuracy"]
    places = [places_of(dataclasses.asdict(settings), kind) for kind in KINDS]
    best = np.stack([part.start + _chosen(accuracy[:, part]) for part in places])
    outcome.arrays["best"] = best
    outcome.arrays["right"] = _judged(right, chooses, [np.zeros_like(best[0]), *best])
    _by_size(outcome, data, key, drawn, right[:, : places[0].stop], settings)
    return outcome


def _drawn(data: Data, key: jax.Array, settings: Settings) -> Drawn:
    """The images of every draw and those that choose and judge, in random order."""
    images, labels = data.train
    largest = max(settings.max_fitted, *settings.sizes)
    block = max(2, min(largest, int(FOR_DRAWS * len(labels) / settings.num_draws)))
    pool = block * settings.num_draws
    order = np.asarray(jax.random.permutation(key, len(labels)))
    order = order[: pool + settings.max_validation]
    seen = tuning.Rows(np.asarray(images[order]).reshape(len(order), -1), labels[order])
    blocks = [
        tuning.Rows(seen.X[start : start + block], seen.y[start : start + block])
        for start in range(0, pool, block)
    ]
    chooses = np.arange(len(order) - pool) % 2 == 0
    return Drawn(blocks, tuning.Rows(seen.X[pool:], seen.y[pool:]), chooses)


def _by_kind(
    outcome: Outcome, data: Data, key: jax.Array, drawn: Drawn, settings: Settings
) -> np.ndarray:
    """Zeros, influence and concentration of every setting; what each has right (draws, G, V)."""
    grid, found = _grid(settings), list[np.ndarray]()
    measured: dict[str, list[np.ndarray]] = {name: [] for name in ("zeros", *MEASURES)}
    for draw in progress.bar(range(len(drawn.blocks)), "draws", len(drawn.blocks)):
        fitted = tuning.Rows(*(part[: settings.max_fitted] for part in drawn.blocks[draw]))
        trained = [_trained(key, fitted, data.num_classes, grid, 0.0, settings)]
        trained += [_trained(key, fitted, data.num_classes, NONE, share, settings)
                    for share in settings.shares]  # fmt: skip
        W, b = (np.concatenate(leaves) for leaves in zip(*trained, strict=True))
        found.append(_right(LinearParams(W, b), drawn.held_out))
        varies = fitted.X.min(axis=0) < fitted.X.max(axis=0)
        measured["zeros"].append(np.mean(W[:, :, varies] == 0, axis=(1, 2)))
        measured["influence"].append(_influence(W) * (data.levels[1] - data.levels[0]))
        measured["share"].append(_share(W))
        if draw == 0:
            places = [0, *(_strong(measured["zeros"][0], settings, kind) for kind in KINDS)]
            templates = [linear.templates(LinearParams(W[place], b[place]), data.image_shape)
                         for place in places]  # fmt: skip
            outcome.arrays |= {"shown": places, "templates": np.stack(templates)}
    right = np.stack(found)
    outcome.arrays |= {name: np.stack(rows) for name, rows in measured.items()}
    outcome.arrays["accuracy"] = right[:, :, drawn.chooses].mean(axis=2)
    return right


def _influence(W: np.ndarray) -> np.ndarray:
    """The greatest weight of each setting (G,)."""
    return np.abs(W).max(axis=(1, 2))


def _share(W: np.ndarray) -> np.ndarray:
    """max |w| / sum |w| of a row, the mean over rows (G,): of slide 42, W1 has 1, W2 1/4."""
    rows = np.abs(W)
    return (rows.max(axis=2) / np.maximum(rows.sum(axis=2), np.finfo(W.dtype).tiny)).mean(axis=1)


def _by_size(
    outcome: Outcome, data: Data, key: jax.Array, drawn: Drawn, right: np.ndarray,
    settings: Settings,
) -> None:  # fmt: skip
    """L2 and none for every number of images: what is right in `right_<size>`, and the strength.

    `right` is of the settings none and L2 on as many images as all kinds are fitted to.
    """
    regs = np.array([0.0, *settings.l2_regs])
    grid = {"l2": regs, "l1": 0 * regs, "radius": FREE + 0 * regs}
    rights = {outcome.numbers["fitted"]: right}
    for size in sorted({min(size, len(drawn.blocks[0].y)) for size in settings.sizes} - {*rights}):
        blocks = [tuning.Rows(X[:size], y[:size]) for X, y in drawn.blocks]
        rights[size] = np.stack([
            _right(_trained(key, fitted, data.num_classes, grid, 0.0, settings), drawn.held_out)
            for fitted in progress.bar(blocks, f"{size} images", len(blocks))
        ])  # fmt: skip
    outcome.numbers["sizes"] = sorted(rights)
    best = {}
    for size in sorted(rights):
        best[size] = 1 + _chosen(rights[size][:, 1:, drawn.chooses].mean(axis=2))
        outcome.arrays[f"right_{size}"] = _judged(
            rights[size], drawn.chooses, [np.zeros_like(best[size]), best[size]]
        )
    outcome.numbers["size_regs"] = [regs[places] for places in best.values()]


def _chosen(accuracy: np.ndarray) -> np.ndarray:
    """For each draw the place of the setting that is best in the mean of the others (draws,)."""
    return (accuracy.sum(axis=0) - accuracy).argmax(axis=1)


def _judged(right: np.ndarray, chooses: np.ndarray, places: Any) -> np.ndarray:
    """What is right (draws, G, V) at a place for each draw: (places, draws, images that judge)."""
    draws = np.arange(len(right))
    return np.stack([right[draws, place][:, ~chooses] for place in places])


def _right(params: LinearParams, examples: tuning.Rows) -> np.ndarray:
    """Whether the class of the greatest score is right, for a grid on pixels (G, V)."""
    W, b = (np.asarray(leaf) for leaf in params)
    scores = examples.X.astype(W.dtype) @ W.reshape(-1, W.shape[-1]).T + b.ravel()
    return (scores.reshape(-1, *b.shape).argmax(axis=-1) == examples.y[:, None]).T


def _strong(zeros: np.ndarray, settings: Settings, kind: str) -> int:
    """The place of a kind's strongest setting that leaves something to see, else its weakest."""
    places = places_of(dataclasses.asdict(settings), kind)
    seen = np.flatnonzero(zeros[places] < MOST_ZEROS)
    return places.start + int(seen[-1] if len(seen) else 0)


def _grid(settings: Settings) -> dict[str, np.ndarray]:
    """The numbers of every setting (G,): none first, then each kind but dropout in turn."""
    none, regs, radii = [0.0], list(settings.regs), list(settings.radii)
    of_l2, off = list(settings.l2_regs), [0.0] * len(settings.regs)
    l2 = none + of_l2 + off + regs + [0.0] * len(radii)
    l1 = none + [0.0] * len(of_l2) + regs + regs + [0.0] * len(radii)
    free = [FREE] * (len(l2) - len(radii))
    return {"l2": np.array(l2), "l1": np.array(l1), "radius": np.array(free + radii)}


def _trained(
    key: jax.Array, fitted: tuning.Rows, num_classes: int, grid: dict[str, np.ndarray],
    share: float, settings: Settings,
) -> LinearParams:  # fmt: skip
    """All settings of the grid (G, C, D) on pixels, with a share of the features dropped."""
    affine = preprocessing.fit(fitted.X)
    derived = settings.rate * step_size(fitted.X, affine, OBJECTIVE.loss, num_classes)
    rate = 1 / (1 / derived + 2 * grid["l2"])  # the penalty's curvature makes steps shorter
    numbers = {"learning_rate": rate, "threshold": grid["l1"], "radius": grid["radius"]}
    hyper = Hyper(numbers, grid["l2"], dropout=share or None)
    start = linear.init(key, fitted.X.shape[1], num_classes)
    state = training.start(key, start, RECIPE, hyper)
    state, _ = training.fit(
        state, *fitted, RECIPE, hyper, num_steps=settings.num_steps, affine=affine
    )
    return linear.on_pixels(state.params, affine)


def _slide_42() -> dict[str, float]:
    W1, W2 = jnp.array([[1.0, 0, 0, 0]]), jnp.full((1, 4), 0.25)
    return {"W1": float(penalties.l2(W1)), "W2": float(penalties.l2(W2))}


if __name__ == "__main__":
    from experiments import run

    sys.exit(run.main(__file__))
