"""Regularisation: validation accuracy and sparsity against the strength of five kinds."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lab import progress, run, style, tuning, words
from experiments.lab.experiment import (
    AGREES,
    DIFFERS,
    OPEN,
    Findings,
    Outcome,
    Plot,
    Printed,
    Table,
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
SECONDS = 5
OBJECTIVE = Objective(losses.softmax, penalties.l2)
PENALTIES = {"l2": "L2", "l1": "L1", "elastic": "elastic net"}
KINDS = PENALTIES | {"max_norm": "max norm", "dropout": "dropout"}
COLORS = dict(zip(KINDS, style.CYCLE, strict=False))
FREE = 1e6  # the radius of a max norm that never binds


@dataclass(frozen=True)
class Settings:
    regs: tuple[float, ...] = flag(
        (1e-4, 1e-3, 1e-2, 3e-2, 0.1),
        "strengths of L2, L1 and elastic net",
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
    max_validation: int = flag(2000, "training examples for validation, the next ones", low=1)


def regularised(learning_rate: Any, threshold: Any, radius: Any) -> optax.GradientTransformation:
    """Gradient descent, then the proximal step of L1, then max norm: all off at 0 and FREE."""
    return optax.chain(
        optimizers.sgd(learning_rate),
        optimizers.proximal(penalties.soft_threshold, learning_rate * threshold),
        optimizers.max_norm(radius),
    )


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """All penalties and radii as one grid; the same program under every dropout."""
    fitted = tuning.rows(data.train, settings.max_fitted)
    rest = tuning.rows(data.train, settings.max_fitted + settings.max_validation)
    held_out = tuning.Rows(rest.X[len(fitted.y) :], rest.y[len(fitted.y) :])
    grid = _grid(settings)
    found: dict[str, Any] = {name: [] for name in ("accuracy", "zeros", "influence")}
    predictions, varies = [], fitted.X.min(axis=0) < fitted.X.max(axis=0)
    for share in progress.bar((0.0, *settings.shares), "dropout", 1 + len(settings.shares)):
        params = _trained(key, fitted, data.num_classes, grid, share, settings)
        for one in tuning.each(params)[: None if share == 0 else 1]:
            W, b = np.asarray(one.W), np.asarray(one.b)
            predictions.append(np.argmax(held_out.X @ W.T + b, axis=1))
            found["zeros"].append(np.mean(W[:, varies] == 0))
            found["influence"].append(np.abs(W).max() * (data.levels[1] - data.levels[0]))
    right = np.array(predictions) == held_out.y
    found["accuracy"] = right.mean(axis=1)
    p = [evaluation.mcnemar(row, predictions[0], held_out.y) for row in predictions]
    numbers = {"fitted": len(fitted.y), "validation": len(held_out.y), **_slide_42()}
    return Outcome(numbers, found | {"p": p})


def _grid(settings: Settings) -> dict[str, np.ndarray]:
    """The numbers of every setting (G,): none first, then each kind but dropout in turn."""
    regs, off = settings.regs, [0.0] * len(settings.regs)
    l2 = [0.0, *regs, *off, *regs, *[0.0] * len(settings.radii)]
    l1 = [0.0, *off, *regs, *regs, *[0.0] * len(settings.radii)]
    radii = [FREE] * (1 + 3 * len(regs)) + list(settings.radii)
    return {"l2": np.array(l2), "l1": np.array(l1), "radius": np.array(radii)}


def _trained(
    key: jax.Array,
    fitted: tuning.Rows,
    num_classes: int,
    grid: dict[str, np.ndarray],
    share: float,
    settings: Settings,
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
        num_steps=settings.num_steps, affine=affine, dropout=share,
    )  # fmt: skip
    return linear.on_pixels(state.params, affine)


def _slide_42() -> dict[str, float]:
    W1, W2 = jnp.array([[1.0, 0, 0, 0]]), jnp.full((1, 4), 0.25)
    return {"W1": float(penalties.l2(W1)), "W2": float(penalties.l2(W2))}


def _places(record: Record, kind: str) -> slice:
    """Where a kind's settings stand in the arrays, in the order of `_grid`."""
    regs, radii = len(record.settings["regs"]), len(record.settings["radii"])
    start = 1 + regs * list(KINDS).index(kind)
    if kind == "dropout":
        start = 1 + 3 * regs + radii
        return slice(start, start + len(record.settings["shares"]))
    return slice(start, start + (radii if kind == "max_norm" else regs))


def _strengths(record: Record, kind: str) -> list[float]:
    name = {"max_norm": "radii", "dropout": "shares"}.get(kind, "regs")
    return record.settings[name]


def _best(record: Record, kind: str) -> int:
    """The place of a kind's most accurate setting."""
    places = _places(record, kind)
    return places.start + int(record.arrays["accuracy"][places].argmax())


def findings(record: Record) -> Findings:
    """What each kind gains over none, in accuracy and in influence of a single pixel."""
    arrays, numbers = record.arrays, record.numbers
    printed = (
        Printed("42", "L2 penalty of W1", "1.0", numbers["W1"]),
        Printed("42", "L2 penalty of W2", "0.25", numbers["W2"]),
    )
    gains = {
        kind: arrays["accuracy"][_best(record, kind)] - arrays["accuracy"][0] for kind in KINDS
    }
    helped = [kind for kind in KINDS if gains[kind] > 0 and arrays["p"][_best(record, kind)] < 0.05]
    hurt = [kind for kind in KINDS if gains[kind] < 0 and arrays["p"][_best(record, kind)] < 0.05]
    zeros = {kind: arrays["zeros"][_places(record, kind)][-1] for kind in KINDS}
    sentences = [
        f"Without any, {numbers['fitted']} training images give {arrays['accuracy'][0]:.1%} on "
        f"{numbers['validation']:,} others. At their best strengths, chosen on those same images: "
        f"{', '.join(f'{name} {100 * gains[kind]:+.1f}' for kind, name in KINDS.items())} points.",
        f"Beyond chance (McNemar, p < 0.05, without regard to the choice): "
        f"{', '.join(KINDS[kind] for kind in helped) or 'none'}.",
        "Weights that are exactly 0 at the greatest strength, of those of pixels that vary: "
        f"{', '.join(f'{name} {zeros[kind]:.0%}' for kind, name in KINDS.items())}.",
    ]
    verdict = AGREES if helped else DIFFERS if len(hurt) == len(KINDS) else OPEN
    return Findings(sentences, verdict, (_table(record),), printed)


def _gain(record: Record, kind: str) -> float:
    """Accuracy that a kind at its best is above none."""
    accuracy = record.arrays["accuracy"]
    return float(accuracy[_best(record, kind)] - accuracy[0])


def _beyond_chance(record: Record, sign: int) -> list[str]:
    """The kinds whose gain has this sign and passes McNemar's test at 5%."""
    p = record.arrays["p"]
    return [k for k in KINDS if sign * _gain(record, k) > 0 and p[_best(record, k)] < 0.05]


def _table(record: Record) -> Table:
    """Each kind at its best strength."""
    rows = [("none", "", *_row(record, 0))]
    for kind, name in KINDS.items():
        place = _best(record, kind)
        strength = _strengths(record, kind)[place - _places(record, kind).start]
        rows.append((name, f"{strength:g}", *_row(record, place)))
    caption = (
        "Each kind at the strength (of max norm: the radius; of dropout: the share dropped) that "
        "did best in validation. Influence: the greatest change of a score when one pixel goes "
        "from the least to the greatest value."
    )
    header = ("kind", "strength", "validation", "weights that are 0", "greatest influence")
    return Table(caption, header, rows)


def _row(record: Record, place: int) -> tuple[str, str, str]:
    accuracy, zeros, influence = (
        record.arrays[name][place] for name in ("accuracy", "zeros", "influence")
    )
    return f"{accuracy:.1%}", f"{zeros:.0%}", f"{influence:.3g}"


def draw(record: Record) -> Iterator[Plot]:
    """Accuracy and exact zeros against strength, radius and share."""
    best = max(KINDS, key=lambda kind: record.arrays["accuracy"][_best(record, kind)])
    accuracy = record.arrays["accuracy"]
    title = (
        f"{words.capital(KINDS[best])} does best: {accuracy[_best(record, best)]:.1%}, "
        f"without any {accuracy[0]:.1%}"
        f"{'' if _beyond_chance(record, 1) else ': not more than chance explains'}"
    )
    figure, axes = style.canvas(2, 3, height=4.4, title=title, sharey="row", sharex="col")
    columns = (tuple(PENALTIES), ("max_norm",), ("dropout",))
    for column, kinds in zip(axes.T, columns, strict=True):
        for kind, marker in zip(kinds, style.MARKERS, strict=False):
            _draw_kind(column, record, kind, marker)
    _draw_labels(axes, record.settings["radii"])
    yield Plot(
        "strengths",
        figure,
        f"Softmax classifiers fitted to {record.numbers['fitted']} images. Top: validation "
        f"accuracy on {record.numbers['validation']:,} others, with 95% intervals; dotted, "
        "without regularisation. Bottom: the share of the weights, of pixels that vary, that is "
        "exactly 0. To the "
        "right regularisation is stronger; the radius falls.",
        "Six line charts: accuracy (top) and share of zero weights (bottom) against the strength "
        f"of the penalties, the radius of max norm and the share dropped. {title}.",
    )


def _draw_kind(column: Any, record: Record, kind: str, marker: str) -> None:
    top, bottom = column
    places, strengths = _places(record, kind), _strengths(record, kind)
    accuracy, total = record.arrays["accuracy"], record.numbers["validation"]
    ends = [evaluation.wilson_interval(round(a * total), total) for a in accuracy[places]]
    errors = 100 * np.abs(np.transpose(ends) - accuracy[places])
    look: dict[str, Any] = {"color": COLORS[kind], "marker": marker, "label": KINDS[kind]}
    top.errorbar(strengths, 100 * accuracy[places], errors, capsize=2, **look)
    top.axhline(100 * accuracy[0], color=style.FAINT, ls=":", lw=1.5)
    bottom.plot(strengths, 100 * record.arrays["zeros"][places], **look)


def _draw_labels(axes: np.ndarray, radii: Any) -> None:
    axes[0, 0].set_ylabel("validation (%)")
    axes[1, 0].set_ylabel("weights at 0 (%)")
    axes[0, 0].legend(loc="lower left")
    for place, (title, label) in enumerate(
        (("penalties", "strength λ"), ("max norm", "radius of a row"), ("dropout", "share dropped"))
    ):
        axes[0, place].set_title(title)
        axes[1, place].set_xlabel(label)
    for axis in axes[:, :2].flat:
        axis.set_xscale("log")
    axes[1, 1].invert_xaxis()
    style.ticks(axes[1, 1], radii[::2])


if __name__ == "__main__":
    sys.exit(run.main(__file__))
