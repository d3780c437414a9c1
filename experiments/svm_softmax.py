"""SVM and softmax: two losses on one linear score function, tuned, tested once, looked at."""

import dataclasses
import sys
import time
from collections.abc import Iterator
from itertools import cycle

import jax
import numpy as np

from experiments.lab import run, style, tuning, words
from experiments.lab.experiment import AGREES, OPEN, Classifier, Findings, Outcome, Plot
from experiments.lab.gate import Data
from experiments.lab.options import flag
from experiments.lab.record import Record
from lincls import evaluation, linear, losses, penalties
from lincls.objective import Objective
from lincls.structs import LinearParams

SLIDES = "30-47"
QUESTION = "What do the two linear classifiers learn, and how good are they?"
CLAIM = (
    "f(x, W, b) = Wx + b can be trained with the multiclass SVM loss or with the softmax loss. "
    "Each row of W is a template of its class that can be shown as an image (30). "
    "Regularisation tends to improve generalisation (42)."
)
SECONDS = 11
LOSSES = {"svm": losses.hinge, "softmax": losses.softmax}


@dataclasses.dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = flag(
        (0.3, 1.0, 3.0, 10.0),
        "step sizes tried, as multiples of the one derived from data and loss",
        low=0,
        smoke=(0.3, 1.0),
    )
    regs: tuple[float, ...] = flag(
        (0.0, 1e-4, 1e-3, 1e-2, 1e-1), "strengths lambda tried", low=0, smoke=(0.0, 1e-3)
    )
    validation: float = flag(0.2, "share of the training examples that chooses", low=0)
    num_steps: int = flag(2000, "minibatches, all the way to step size 0", smoke=20, low=1)
    batch_size: int = flag(256, "examples in a minibatch", low=1, smoke=32)
    max_train: int = flag(60000, "training examples used, the first ones", low=2, smoke=300)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Tune on a validation part, train again on all, open the test set once for both."""
    outcome, chosen = Outcome({}), {}
    examples = tuning.rows(data.train, settings.max_train)
    for name, loss in LOSSES.items():
        plan = tuning.Plan(Objective(loss, penalties.l2), settings.batch_size, settings.num_steps)
        began = time.perf_counter()
        grid = tuning.search(key, examples, data.num_classes, plan, settings)
        chosen[name] = tuning.refit(key, examples, data.num_classes, plan, grid)
        outcome.seconds[f"{name}: tuned and trained"] = time.perf_counter() - began
        outcome.numbers[name] = _chosen(grid)
        outcome.arrays[f"{name}_grid"] = grid.accuracy
    test = tuning.rows(data.open_test("accuracy and confusion of the two chosen classifiers"))
    for name, params in chosen.items():
        confusion = evaluation.confusion(linear.predict(params, test.X), test.y, data.num_classes)
        outcome.arrays[f"{name}_confusion"] = confusion
        outcome.arrays[f"{name}_templates"] = linear.templates(params, data.image_shape)
        outcome.classifiers.append(_tested(name, outcome.numbers[name], confusion, params))
    return outcome


def _chosen(grid: tuning.Grid) -> dict[str, float]:
    """The choice on the validation part, and the weakest strength at its own best step size."""
    weakest = (int(grid.accuracy[:, 0].argmax()), 0)
    by_best, by_weakest = grid.predictions[grid.best], grid.predictions[weakest]
    return {
        "rate": grid.rates[grid.best[0]],
        "reg": grid.regs[grid.best[1]],
        "validation": float(grid.accuracy[grid.best]),
        "validation_weakest": float(grid.accuracy[weakest]),
        "p": evaluation.mcnemar(by_best, by_weakest, grid.labels),
    }


def _tested(
    name: str, chosen: dict[str, float], confusion: np.ndarray, params: LinearParams
) -> Classifier:
    return Classifier(
        f"linear, {words.NAMES[name]}",
        f"step size × {chosen['rate']:g}, strength {chosen['reg']:g}",
        correct=int(np.trace(confusion)),
        total=int(confusion.sum()),
        stored=params.W.size + params.b.size,
    )


def findings(record: Record) -> Findings:
    """Test accuracies, what is confused most, and what the penalty changed."""
    sentences = []
    for name, tested in zip(LOSSES, record.classifiers, strict=True):
        mistake = _confused(record.arrays[f"{name}_confusion"], record.class_names)
        sentences += [
            f"{words.NAMES[name]}: {words.right(tested)}, with {tested.chosen}. Its most frequent "
            f"mistake: {mistake}.",
            _of_penalty(name, record),
        ]
    helped = [_gain(record.numbers[name]) > 0 and record.numbers[name]["p"] < 0.05
              for name in LOSSES]  # fmt: skip
    return Findings(sentences, AGREES if any(helped) else OPEN)


def _gain(number: dict[str, float]) -> float:
    """Points of validation accuracy that the chosen strength is above the weakest."""
    return 100 * (number["validation"] - number["validation_weakest"])


def _of_penalty(name: str, record: Record) -> str:
    number, weakest = record.numbers[name], record.settings["regs"][0]
    if number["reg"] == weakest:
        return f"{words.NAMES[name]}: no strength above {weakest:g} does better in validation."
    return (
        f"{words.NAMES[name]}: a strength of {number['reg']:g} gains {_gain(number):.2g} points "
        f"over {weakest:g} in validation (McNemar's test: p = {number['p']:.2g})."
    )


def _confused(confusion: np.ndarray, names: list[str]) -> str:
    """The most frequent mistake, in words."""
    mistakes = confusion - np.diag(np.diag(confusion))
    label, predicted = np.unravel_index(mistakes.argmax(), mistakes.shape)
    return f"{names[label]} is taken for {names[predicted]} ({mistakes.max()} times)"


def draw(record: Record) -> Iterator[Plot]:
    """Templates, confusion matrices, the validation grid."""
    yield _draw_templates(record)
    yield _draw_confusion(record)
    yield _draw_grid(record)


def _draw_templates(record: Record) -> Plot:
    names = record.class_names[:10]
    templates = np.stack([record.arrays[f"{name}_templates"][: len(names)] for name in LOSSES])
    height = 12 / len(names) * record.image_shape[0] / record.image_shape[1] + 0.3
    title = "Each row of W is a picture of what its class looks for"
    figure, axes = style.canvas(height=height, title=title)
    style.tiles(axes, style.weights(templates), [words.NAMES[name] for name in LOSSES], names)
    colour = (
        "A channel that speaks for the class is bright, one that speaks against it dark, "
        "and grey does not matter."
        if record.image_shape[-1] == 3
        else "Red pixels speak for the class, blue ones against it, white ones do not matter."
    )
    return Plot(
        "templates",
        figure,
        f"The rows of W as images, each scaled by its own greatest weight. {colour}",
        f"Two rows of {len(names)} small images, the weights that the SVM (top) and the softmax "
        f"classifier (bottom) learned for {', '.join(names)}.",
    )


def _draw_confusion(record: Record) -> Plot:
    figure, axes = style.canvas(1, 2, height=4.05, title=_confusion_title(record))
    for place, name, tested in zip(axes, LOSSES, record.classifiers, strict=True):
        title = f"{words.NAMES[name]}, {tested.correct / tested.total:.1%} right"
        style.matrix(place, record.arrays[f"{name}_confusion"], record.class_names, title)
    mistakes = [
        f"{words.NAMES[name]}: {_confused(record.arrays[f'{name}_confusion'], record.class_names)}."
        for name in LOSSES
    ]
    return Plot(
        "confusion",
        figure,
        "Numbers of test examples, by their label (row) and what was predicted (column). What "
        "is on the diagonal is right; the darker a square, the greater its share of the row.",
        " ".join(["Two confusion matrices on the test set.", *mistakes]),
    )


def _confusion_title(record: Record) -> str:
    """The mistake that each makes most often."""
    mistakes = {
        words.NAMES[name]: _confused(record.arrays[f"{name}_confusion"], record.class_names)
        for name in LOSSES
    }
    shorter = (f"{name}, {what.split(' (')[0]}" for name, what in mistakes.items())
    return f"Most frequent mistakes: {'; '.join(shorter)}"


def _draw_grid(record: Record) -> Plot:
    regs = record.settings["regs"]
    title = "Best on the validation part: " + ", ".join(
        f"{words.NAMES[name]} {record.numbers[name]['validation']:.1%} at strength "
        f"{record.numbers[name]['reg']:g}"
        for name in LOSSES
    )
    figure, axes = style.canvas(1, 2, height=3.2, title=title, sharey=True)
    for place, name in zip(axes, LOSSES, strict=True):
        lines = zip(record.settings["rates"], record.arrays[f"{name}_grid"], strict=True)
        for (rate, row), marker in zip(lines, cycle(style.MARKERS), strict=False):
            place.plot(range(len(regs)), 100 * row, marker=marker, label=f"× {rate:g}")
        place.set(title=words.NAMES[name], xlabel="strength of the L2 penalty")
        place.set_xticks(range(len(regs)), [f"{reg:g}" for reg in regs])
    axes[0].set_ylabel("validation accuracy (%)")
    style.legend(figure, "step size")
    return Plot(
        "validation",
        figure,
        "Validation accuracy of every pair of a step size and a strength, all trained as one "
        "program. Step sizes are multiples of the one that lincls derives from data and loss.",
        "Two line charts of validation accuracy against penalty strength, one line per step "
        f"size, for the SVM and the softmax classifier. {title}.",
    )


if __name__ == "__main__":
    sys.exit(run.main(__file__))
