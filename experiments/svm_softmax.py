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
SECONDS = 8
LOSSES = {"svm": losses.hinge, "softmax": losses.softmax}
LABELS = {"svm": "SVM", "softmax": "softmax"}


@dataclasses.dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = flag(
        (0.03, 0.1, 0.3, 1.0), "step sizes tried, in units of 1 / D", low=0, smoke=(0.3, 1.0)
    )
    regs: tuple[float, ...] = flag(
        (0.0, 1e-4, 1e-3, 1e-2, 1e-1), "strengths lambda tried", low=0, smoke=(0.0, 1e-3)
    )
    validation: float = flag(0.2, "share of the training examples that chooses")
    num_steps: int = flag(2000, "minibatches, all the way to step size 0", smoke=20, low=1)
    batch_size: int = flag(128, "examples in a minibatch", low=1)
    momentum: float = flag(0.9, "momentum of SGD", low=0)
    max_train: int = flag(50000, "training examples used, the first ones", low=2, smoke=300)


def compute(data: Data, key: jax.Array, settings: Settings) -> Outcome:
    """Tune on a validation part, train again on all, open the test set once for both."""
    examples = tuning.rows(data.train, settings.max_train)
    test = tuning.rows(data.open_test("accuracy and confusion of the two chosen classifiers"))
    outcome = Outcome({})
    for name, loss in LOSSES.items():
        objective = Objective(loss, penalties.l2)
        plan = tuning.Plan(objective, settings.batch_size, settings.num_steps, settings.momentum)
        began = time.perf_counter()
        grid = tuning.search(key, examples, data.num_classes, plan, settings)
        params = tuning.refit(key, examples, data.num_classes, plan, grid)
        outcome.seconds[f"{name}: tuned and trained"] = time.perf_counter() - began
        confusion = evaluation.confusion(linear.predict(params, test.X), test.y, data.num_classes)
        outcome.numbers[name] = _chosen(grid)
        outcome.arrays |= {
            f"{name}_grid": grid.accuracy,
            f"{name}_templates": linear.templates(params, data.train.images.shape[1:]),
            f"{name}_confusion": confusion,
        }
        outcome.classifiers.append(_tested(name, outcome.numbers[name], confusion, params))
    return outcome


def _chosen(grid: tuning.Grid) -> dict[str, float]:
    """The choice on the validation part, and the weakest strength at its own best step size."""
    weakest = (int(grid.accuracy[:, 0].argmax()), 0)
    return {
        "rate": grid.rates[grid.best[0]],
        "reg": grid.regs[grid.best[1]],
        "validation": float(grid.accuracy[grid.best]),
        "validation_weakest": float(grid.accuracy[weakest]),
        "p": evaluation.mcnemar(
            grid.predictions[grid.best], grid.predictions[weakest], grid.labels
        ),
    }


def _tested(
    name: str, chosen: dict[str, float], confusion: np.ndarray, params: LinearParams
) -> Classifier:
    return Classifier(
        f"linear, {LABELS[name]}",
        f"step size {chosen['rate']:g}/D, strength {chosen['reg']:g}",
        correct=int(np.trace(confusion)),
        total=int(confusion.sum()),
        stored=params.W.size + params.b.size,
    )


def findings(record: Record) -> Findings:
    """Test accuracies, what is confused most, and what the penalty changed."""
    sentences, helped = [], []
    weakest = record.settings["regs"][0]
    for name, tested in zip(LOSSES, record.classifiers, strict=True):
        number = record.numbers[name]
        sentences.append(
            f"{LABELS[name]}: {words.share(tested.correct, tested.total)} of the test set right "
            f"with {tested.chosen}; most often "
            f"{_confused(record.arrays[f'{name}_confusion'], record.class_names)}."
        )
        gain = number["validation"] - number["validation_weakest"]
        helped.append(gain > 0 and number["p"] < 0.05)
        sentences.append(
            f"{LABELS[name]}: strength {number['reg']:g} instead of {weakest:g} changes the "
            f"validation accuracy by {100 * gain:+.1f} points (McNemar p = {number['p']:.2g})."
        )
    return Findings(sentences, AGREES if any(helped) else OPEN)


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
    figure, axes = style.canvas(
        2, len(names), height=2.1, title="Each row of W is a picture of what its class looks for"
    )
    for row, name in zip(axes, LOSSES, strict=True):
        templates = record.arrays[f"{name}_templates"]
        for place, image, title in zip(row, templates, names, strict=False):
            style.template(place, image)
            if name == "svm":
                place.set_title(title, size=9)
        row[0].set_ylabel(LABELS[name])
    colour = (
        "Each template is scaled by its own greatest weight."
        if record.image_shape[-1] == 3
        else "Red pixels speak for the class, blue ones against it, white ones do not matter."
    )
    return Plot(
        "templates",
        figure,
        f"The rows of W as images, on the pixels as they are. {colour}",
        f"Two rows of {len(names)} small images, the weights that the SVM (top) and the softmax "
        f"classifier (bottom) learned for {', '.join(names)}.",
    )


def _draw_confusion(record: Record) -> Plot:
    figure, axes = style.canvas(1, 2, height=4.2, title=_confusion_title(record))
    for place, name, tested in zip(axes, LOSSES, record.classifiers, strict=True):
        title = f"{LABELS[name]}, {tested.correct / tested.total:.1%} right"
        style.matrix(place, record.arrays[f"{name}_confusion"], record.class_names, title)
    return Plot(
        "confusion",
        figure,
        "Test examples by label (row) and prediction (column). The diagonal is right; "
        "the darker a square, the greater its share of the row.",
        "Two confusion matrices on the test set. "
        + " ".join(
            f"{LABELS[name]}: {_confused(record.arrays[f'{name}_confusion'], record.class_names)}."
            for name in LOSSES
        ),
    )


def _confusion_title(record: Record) -> str:
    svm, softmax = (tested.correct / tested.total for tested in record.classifiers)
    return f"On the test set the SVM is right in {svm:.1%}, the softmax in {softmax:.1%}"


def _draw_grid(record: Record) -> Plot:
    regs, title = record.settings["regs"], "; ".join(map(_spread, LOSSES, [record] * 2))
    figure, axes = style.canvas(1, 2, height=3.2, title=title, sharey=True)
    for place, name in zip(axes, LOSSES, strict=True):
        lines = zip(record.settings["rates"], record.arrays[f"{name}_grid"], strict=True)
        for (rate, row), marker in zip(lines, cycle(style.MARKERS), strict=False):
            place.plot(range(len(regs)), 100 * row, marker=marker, label=f"{rate:g}/D")
        place.set(title=LABELS[name], xlabel="strength of the L2 penalty")
        place.set_xticks(range(len(regs)), [f"{reg:g}" for reg in regs])
    axes[0].set_ylabel("validation accuracy (%)")
    style.legend(figure, "step size")
    return Plot(
        "validation",
        figure,
        "Validation accuracy of every pair of a step size and a strength, all trained as one "
        f"program; D is the number of features, {np.prod(record.image_shape)}.",
        "Two line charts of validation accuracy against penalty strength, one line per step "
        f"size, for the SVM and the softmax classifier. {title}.",
    )


def _spread(name: str, record: Record) -> str:
    grid = 100 * record.arrays[f"{name}_grid"]
    return f"{LABELS[name]}: {grid.min():.1f} to {grid.max():.1f}% over the grid"


if __name__ == "__main__":
    sys.exit(run.main(__file__))
