"""Regularisation: validation accuracy and sparsity against the strength of five kinds."""

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lab import intervals, progress, regularising, run, tuning, words
from experiments.lab.experiment import (
    AGREES,
    DIFFERS,
    OPEN,
    Answer,
    Findings,
    Outcome,
    Plot,
    Printed,
)
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import (
    batches,
    evaluation,
    linear,
    losses,
    optimizers,
    penalties,
    preprocessing,
    quick,
    training,
)
from lincls.objective import Objective
from lincls.structs import Hyper, LinearParams

SLIDES = "41-42"
QUESTION = "What does regularisation do to the weights, and does it help?"
CLAIM = (
    "L2, L1, elastic net, max norm and dropout (41). Regularisation tends to improve "
    "generalisation; no input dimension can have a very large influence all by itself. The L2 "
    "penalty of (1, 0, 0, 0) is 1.0, of (¼, ¼, ¼, ¼) only 0.25 (42)."
)
SECONDS = 9
OBJECTIVE = Objective(losses.softmax, penalties.l2)
KINDS = regularising.KINDS
MOST_ZEROS = 0.9  # of a template that is shown
FREE = 1e6  # the radius of a max norm that never binds


@dataclass(frozen=True)
class Settings:
    l2_regs: tuple[float, ...] = flag(
        (1e-3, 1e-2, 0.1, 0.3, 1.0), "strengths of L2, rising", low=0, smoke=(1e-3, 0.1)
    )
    regs: tuple[float, ...] = flag(
        (1e-4, 1e-3, 1e-2, 3e-2, 0.1),
        "strengths of L1 and elastic net, rising",
        low=0,
        smoke=(1e-3, 0.1),
    )
    radii: tuple[float, ...] = flag(
        (3.0, 1.0, 0.5, 0.25, 0.1),
        "greatest lengths of a row of W, falling",
        low=0,
        smoke=(3.0, 0.1),
    )
    shares: tuple[float, ...] = flag(
        (0.25, 0.5, 0.75), "shares of the features dropped", low=0, smoke=(0.5,)
    )
    rate: float = flag(5.0, "step size, a multiple of the derived one", low=0)
    num_steps: int = flag(200, "steps, each on all examples fitted", low=1, smoke=50)
    max_fitted: int = flag(100, "training examples fitted, the first ones", low=2)
    sizes: tuple[int, ...] = flag(
        (25, 50, 100, 200, 400), "numbers of training images, rising", low=2, smoke=(25, 100)
    )
    max_validation: int = flag(
        4000, "training examples that choose and judge, the next ones", low=2
    )


def regularised(learning_rate: Any, threshold: Any, radius: Any) -> optax.GradientTransformation:
    """Gradient descent, then the proximal step of L1, then max norm: all off at 0 and FREE."""
    return optax.chain(
        optimizers.sgd(learning_rate),
        optimizers.proximal(penalties.soft_threshold, learning_rate * threshold),
        optimizers.max_norm(radius),
    )


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Every kind at every strength on few images; L2 and none on ever more of them."""
    pool = max(settings.max_fitted, *settings.sizes)
    seen = tuning.rows(data.train, pool + settings.max_validation)
    part = np.arange(len(seen.y)) < pool
    examples, held_out = seen.where(part), seen.where(~part)
    # Half chooses and half judges, drawn: in MNIST every other image is of the harder source.
    chooses = np.asarray(jax.random.permutation(key, len(held_out.y))) % 2 == 0
    numbers = {"chosen_by": int(chooses.sum()), "judged_by": int((~chooses).sum()), **_slide_42()}
    outcome = Outcome(numbers | {"fitted": min(settings.max_fitted, len(examples.y))})
    _by_kind(outcome, data, key, examples, held_out, chooses, settings)
    outcome.numbers["sizes"] = _by_size(data, key, examples, held_out, chooses, settings)
    return outcome


def _by_kind(
    outcome: Outcome, data: Data, key: jax.Array, examples: tuning.Rows, held_out: tuning.Rows,
    chooses: np.ndarray, settings: Settings,
) -> None:  # fmt: skip
    """Accuracies, zeros and influence of every setting; templates of strong ones."""
    count = outcome.numbers["fitted"]
    fitted = tuning.Rows(examples.X[:count], examples.y[:count])
    grid = _grid(settings)
    trained: list[LinearParams] = []
    for share in progress.bar((0.0, *settings.shares), "dropout", 1 + len(settings.shares)):
        params = _trained(key, fitted, data.num_classes, grid, share, settings)
        trained += tuning.each(params)[: None if share == 0 else 1]
    W, b = (
        np.stack([np.asarray(leaf) for leaf in leaves]) for leaves in zip(*trained, strict=True)
    )
    predictions = _predicted(LinearParams(W, b), held_out)
    right, varies = predictions == held_out.y, fitted.X.min(axis=0) < fitted.X.max(axis=0)
    judged = [evaluation.mcnemar(row[~chooses], predictions[0][~chooses], held_out.y[~chooses])
              for row in predictions]  # fmt: skip
    outcome.arrays |= {
        "accuracy": right[:, chooses].mean(axis=1),
        "judged": right[:, ~chooses].mean(axis=1),
        "p": judged,
        "zeros": np.mean(W[:, :, varies] == 0, axis=(1, 2)),
        "influence": np.abs(W).max(axis=(1, 2)) * (data.levels[1] - data.levels[0]),
    }
    best = [0, *(_best(outcome.arrays["accuracy"], settings, kind) for kind in KINDS)]
    outcome.arrays["best"] = best
    shown = [0, *(_strong(outcome.arrays["zeros"], settings, kind) for kind in KINDS)]
    outcome.arrays["shown"] = shown
    outcome.arrays["templates"] = np.stack(
        [linear.templates(trained[place], data.image_shape) for place in shown]
    )


def _by_size(
    data: Data, key: jax.Array, examples: tuning.Rows, held_out: tuning.Rows,
    chooses: np.ndarray, settings: Settings,
) -> list[dict[str, Any]]:  # fmt: skip
    """L2 at the strength that the choosing half prefers, and none, for every number of images."""
    regs, sizes = (0.0, *settings.l2_regs), [min(n, len(examples.y)) for n in settings.sizes]
    l2 = np.tile(regs, len(sizes))
    grid = {"l2": l2, "l1": 0 * l2, "radius": FREE + 0 * l2}
    weight = np.repeat(np.arange(len(examples.y)) < np.array(sizes)[:, None], len(regs), axis=0)
    params = _trained(key, examples, data.num_classes, grid, 0.0, settings, weight)
    predictions = _predicted(params, held_out).reshape(len(sizes), len(regs), -1)
    found = []
    for size, rows in zip(sizes, predictions, strict=True):
        right = rows == held_out.y
        chosen = 1 + int(right[1:, chooses].mean(axis=1).argmax())
        without, with_l2 = (rows[place][~chooses] for place in (0, chosen))
        found.append(
            {
                "size": size,
                "reg": regs[chosen],
                "without": int(right[0, ~chooses].sum()),
                "with": int(right[chosen, ~chooses].sum()),
                "p": evaluation.mcnemar(with_l2, without, held_out.y[~chooses]),
            }
        )
    return found


def _predicted(params: LinearParams, examples: tuning.Rows) -> np.ndarray:
    """The class of the greatest score for a grid on pixels, (G, N)."""
    X = examples.X.astype(np.float32)
    return np.stack([np.argmax(X @ np.asarray(W).T + np.asarray(b), axis=1)
                     for W, b in zip(*params, strict=True)])  # fmt: skip


def _strong(zeros: np.ndarray, settings: Settings, kind: str) -> int:
    """The place of a kind's strongest setting that leaves something to see, else its weakest."""
    places = regularising.places(dataclasses.asdict(settings), kind)
    seen = np.flatnonzero(zeros[places] < MOST_ZEROS)
    return places.start + int(seen[-1] if len(seen) else 0)


def _best(accuracy: np.ndarray, settings: Settings, kind: str) -> int:
    """The place of a kind's most accurate setting on the choosing half."""
    places = regularising.places(dataclasses.asdict(settings), kind)
    return places.start + int(accuracy[places].argmax())


def _grid(settings: Settings) -> dict[str, np.ndarray]:
    """The numbers of every setting (G,): none first, then each kind but dropout in turn."""
    none, regs, radii = [0.0], list(settings.regs), list(settings.radii)
    of_l2, off = list(settings.l2_regs), [0.0] * len(settings.regs)
    l2 = none + of_l2 + off + regs + [0.0] * len(radii)
    l1 = none + [0.0] * len(of_l2) + regs + regs + [0.0] * len(radii)
    free = [FREE] * (len(l2) - len(radii))
    return {"l2": np.array(l2), "l1": np.array(l1), "radius": np.array(free + radii)}


def _trained(
    key: jax.Array,
    fitted: tuning.Rows,
    num_classes: int,
    grid: dict[str, np.ndarray],
    share: float,
    settings: Settings,
    weight: np.ndarray | None = None,
) -> LinearParams:
    """All settings of the grid (G, C, D) on pixels, with a share of the features dropped."""
    affine = preprocessing.fit(fitted.X)
    rate = settings.rate * quick.step_size(fitted.X, affine, OBJECTIVE.loss, num_classes)
    numbers = {"learning_rate": np.full(len(grid["l2"]), rate), "threshold": grid["l1"]}
    hyper = Hyper(numbers | {"radius": grid["radius"]}, grid["l2"])
    start = linear.init(key, fitted.X.shape[1], num_classes)
    state, _ = training.fit(
        training.start(key, start, optimizer=regularised, hyper=hyper), *fitted, hyper,
        objective=OBJECTIVE, optimizer=regularised, batches=batches.full,
        num_steps=settings.num_steps, affine=affine, dropout=share, weight=weight,
    )  # fmt: skip
    return linear.on_pixels(state.params, affine)


def _slide_42() -> dict[str, float]:
    W1, W2 = jnp.array([[1.0, 0, 0, 0]]), jnp.full((1, 4), 0.25)
    return {"W1": float(penalties.l2(W1)), "W2": float(penalties.l2(W2))}


def findings(record: Record) -> Findings:
    """What each kind gains over none, in accuracy and in influence of a single pixel."""
    arrays, numbers = record.arrays, record.numbers
    printed = (
        Printed("42", "L2 penalty of W1", "1.0", numbers["W1"]),
        Printed("42", "L2 penalty of W2", "0.25", numbers["W2"]),
    )
    zeros = {
        kind: arrays["zeros"][regularising.places(record.settings, kind)][-1] for kind in KINDS
    }
    gains = {name: 100 * regularising.gain(record, kind) for kind, name in KINDS.items()}
    helped, hurt = regularising.beyond_chance(record, 1), regularising.beyond_chance(record, -1)
    least = f"p < 0.05 / {regularising.num_tests(record)}"
    sentences = [
        f"Without any, {numbers['fitted']} training images give {arrays['judged'][0]:.1%} on "
        f"{numbers['judged_by']:,} others. The strengths are chosen on {numbers['chosen_by']:,} "
        f"further ones; then the gain is "
        f"{', '.join(f'{name} {points:+.1f}' for name, points in gains.items())} points.",
        f"Beyond chance (McNemar, {least}): {_listed('better', helped)}, {_listed('worse', hurt)}.",
        _of_influence(record),
        "Weights that are exactly 0 at the greatest strength, of those of pixels that vary: "
        f"{', '.join(f'{name} {zeros[kind]:.0%}' for kind, name in KINDS.items())}.",
        _of_sizes(record),
    ]
    verdict = OPEN if bool(helped) == bool(hurt) else AGREES if helped else DIFFERS
    told = (
        f"beyond chance ({least}): {_listed('better', helped)}, {_listed('worse', hurt)}; "
        f"{words.compared(printed)}"
    )
    both = intervals.together([verdict, words.agreement(printed)])
    answers = {"41-42": Answer(both, told)}
    return Findings(sentences, both, regularising.tables(record), printed, answers)


def _listed(how: str, kinds: list[str]) -> str:
    return f"{how} with {', '.join(kinds)}" if kinds else f"nothing is {how}"


def _of_influence(record: Record) -> str:
    """The greatest change of a score by one pixel, without and with each kind (slide 42)."""
    low, high = record.data["levels"]
    influence, best = record.arrays["influence"], record.arrays["best"]
    of_kinds = ", ".join(
        f"{name} {influence[place]:.3g}"
        for name, place in zip(KINDS.values(), best[1:], strict=True)
    )
    return (
        f"One pixel that goes from {low:g} to {high:g} changes a score by at most "
        f"{influence[0]:.3g} without any, with {of_kinds}; at the greatest strength of L2, by "
        f"{influence[regularising.places(record.settings, 'l2')][-1]:.3g}."
    )


def _of_sizes(record: Record) -> str:
    total, sizes = record.numbers["judged_by"], record.numbers["sizes"]
    told = ", ".join(
        f"{row['size']:,} images {100 * (row['with'] - row['without']) / total:+.1f} points"
        for row in sizes
    )
    return f"What L2 gains over none: with {told}."


def draw(record: Record) -> Iterator[Plot]:
    """Accuracy, zeros and influence by strength; templates; accuracy by training images."""
    yield regularising.strengths(record)
    yield regularising.templates(record)
    yield regularising.sizes(record)


if __name__ == "__main__":
    sys.exit(run.main(__file__))
