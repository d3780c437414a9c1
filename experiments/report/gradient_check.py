"""What `experiments.gradient_check` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from experiments.gradient_check import KINDS
from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    Answer,
    Findings,
    Plot,
    Printed,
    Table,
    together,
)
from lincls.evaluation import Interval

SLIDES = "51-57"
QUESTION = "Does the numerical gradient find mistakes in the analytic one?"
CLAIM = (
    "The numerical gradient is approximate and slow, but easy to write (55). The analytic "
    "gradient is exact and fast, but error-prone. In practice, use the analytic gradient and check "
    "it with the numerical one (57)."
)
SECONDS = 10
PRECISIONS = ("float32", "float64")
FEW = 5  # evaluations of the loss that cost as much as a gradient by reverse mode, at most
DESCRIPTIONS = {
    "none": "none",
    "factor": "times −3",
    "row": "one row of W halved",
    "penalty": "penalty missing",
    "half": "λ W instead of 2 λ W",
    "labels": "labels off by one",
    "bias": "gradient of the bias missing",
    "mean": "sum instead of mean",
}


def findings(record: Record) -> Findings:
    """What the check rejects, what the numerical gradient costs, and how far off it is."""
    numbers, printed = record.numbers, _printed()
    passed = {name: report["passed"] for name, report in numbers["mistakes"].items()}
    accepts, evaluations = passed.pop("none"), numbers["forward"]["evaluations"]
    low, high = (f"{float(f'{end:.2g}'):,.12g}" for end in _slower(record))
    forward, centred = (words.power(numbers[kind]["error"]) for kind in KINDS)
    found = [
        f"the check rejects {list(passed.values()).count(False)} of {len(passed)} planted mistakes "
        f"and {'accepts' if accepts else 'rejects'} the correct gradient",
        f"slide 55's code needs {evaluations:,} loss evaluations and takes {low} to {high} times "
        "as long as the analytic gradient (95 % CI)",
        f"with h = {words.power(record.settings['h'])} the relative error is {forward} (forward "
        f"differences) or {centred} (centred)",
    ]
    checks = AGREES if accepts and not any(passed.values()) else DIFFERS
    slow = AGREES if evaluations > FEW else DIFFERS
    verdict = together([checks, slow, _approximate(record), words.agreement(printed)])
    because = f"{found[0]}; {evaluations:,} loss evaluations; dW: {words.compared(printed)}"
    sentences = [f"{words.capital(one)}." for one in found]
    tables = (_mistakes(record), _costs(record), _table_here(record))
    return Findings(sentences, {"51-57": Answer(verdict, because)}, tables, printed)


def _seconds(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Times of slide 55's code, extrapolated to all weights, and of the analytic gradient."""
    slide = record.numbers["slide_55"]
    by_hand, analytic = (
        np.array([record.seconds[f"{name}, {n}"] for n in range(record.settings["repeats"])])
        for name in ("slide_55", "analytic")
    )
    return by_hand * slide["all"] / slide["moved"], analytic


def _slower(record: Record) -> np.ndarray:
    """How many times as long slide 55's code takes: both ends for the geometric mean."""
    by_hand, analytic = _seconds(record)
    return np.exp(intervals.of_mean(np.log(by_hand / analytic)))


def _order(record: Record, kind: str) -> Interval:
    """The power of h with which the error falls between the two largest steps."""
    steps = np.array(record.settings["steps"])
    two = np.argsort(-steps)[:2]
    errors = np.log(record.arrays[f"float64_{kind}"][two])  # (2, directions)
    if min(errors.shape) < 2:
        return Interval(-np.inf, np.inf)
    return intervals.of_mean(np.diff(errors, axis=0)[0] / np.diff(np.log(steps[two])))


def _approximate(record: Record) -> str:
    """Numerical gradients are off, and approach the analytic one like h and h**2 (centred)."""
    forward, centred = (record.numbers[kind]["error"] for kind in KINDS)
    nearer = (intervals.inside(_order(record, kind), order - 0.25, order + 0.25)
              for order, kind in enumerate(KINDS, 1))  # fmt: skip
    return together([AGREES if forward > centred > 0 else DIFFERS, *nearer])


def _median(record: Record, dtype: str, kind: str) -> np.ndarray:
    """The median error over the directions, (steps,)."""
    return np.median(record.arrays[f"{dtype}_{kind}"], axis=1)


def _mistakes(record: Record) -> Table:
    header = ("mistake", "verdict", "compared", "wrong", "across a kink", "largest relative error",
              "order of the remainder")  # fmt: skip
    rows = [
        (DESCRIPTIONS[name], "passed" if report["passed"] else "rejected",
         *(f"{report[count]:,}" for count in ("judged", "wrong", "crossed")),
         words.power(report["error"]),
         "not judged" if report["order"] is None else f"{report['order']:.1f}")
        for name, report in record.numbers["mistakes"].items()
    ]  # fmt: skip
    title = (
        "Planted mistakes in the SVM gradient under gradcheck.check.  The order of Taylor's "
        "remainder is 2 where the gradient is right, and 1 where it is wrong."
    )
    return Table(title, header, rows)


def _costs(record: Record) -> Table:
    slide, (by_hand, analytic) = record.numbers["slide_55"], map(np.median, _seconds(record))
    evaluations = [f"{record.numbers[kind]['evaluations']:,}" for kind in KINDS]
    rows = [
        ("slide 55's code", evaluations[0], words.duration(by_hand), "", ""),
        ("analytic", "–", words.duration(analytic), "", ""),
    ]
    for kind, count in zip(KINDS, evaluations, strict=True):
        order, errors = _order(record, kind), _median(record, "float64", kind)
        step = words.power(record.settings["steps"][errors.argmin()], 1)
        rows.append((kind, count, words.duration(record.seconds[kind]),
                     f"{order.low:.2f} to {order.high:.2f}",
                     f"{words.power(errors.min(), 1)} at h = {step}"))  # fmt: skip
    caption = (
        "Forward and centred: lincls, with compilation. Slide 55's code moved "
        f"{slide['moved']:,} weights, extrapolated to all, and agrees with forward to "
        f"{words.power(slide['apart'])} of the largest slope. In theory the error falls like h "
        "(forward) and h² (centred)."
    )
    header = ("gradient", "loss evaluations", "time", "power of h (95 % CI)", "lowest error")
    return Table(caption, header, rows)


def _printed() -> tuple[Printed, ...]:
    """dW of slides 52-54, from the losses printed there and their h."""
    base, h = 1.25347, 1e-4
    rows = (("52", "-2.5", 1.25322), ("53", "0.6", 1.25353), ("54", "0", 1.25347))
    return tuple(
        Printed(slide, f"dW, ({moved:.5f} − {base:.5f}) / {h:g}", dW, (moved - base) / h)
        for slide, dW, moved in rows
    )


def _table_here(record: Record) -> Table:
    """The same table on these data, its slopes beside the analytic ones."""
    found, h = record.numbers["table"], record.settings["table_h"]
    columns = (found[name] for name in ("pixel", "W", "moved", "analytic"))
    rows = [
        (f"{place}", f"{weight:.4f}", f"{moved:.5f}", f"{(moved - found['loss']) / h:.4f}",
         f"{slope:.4f}")
        for place, weight, moved, slope in zip(*columns, strict=True)
    ]  # fmt: skip
    caption = (
        f"Slides 52-54 on {record.data['name']}: the three steepest weights of the first class, "
        f"with h = {h:g} and a loss of {found['loss']:.5f} at W."
    )
    return Table(caption, ("input", "W", "loss at W + h", "dW", "analytic"), rows)


def draw(record: Record) -> Iterator[Plot]:
    """The error of the numerical gradient against h, with the share of steps across a kink."""
    best = (
        words.power(min(_median(record, dtype, kind).min() for kind in KINDS), 1)
        for dtype in reversed(PRECISIONS)
    )
    title = "Best relative error: {} in float64, {} in float32".format(*best)
    figure, (top, bottom) = style.canvas(
        2, 1, height=5.0, title=title, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    _draw_errors(top, record)
    _draw_kinks(bottom, record)
    style.legend(figure)
    yield Plot(
        "error_against_h",
        figure,
        "Top: the median error of slopes along random directions (softmax loss); the band holds "
        "the middle 80 %. A large h errs by curvature, a small h by rounding. Bottom: the share of "
        "centred steps across a kink of the SVM loss.",
        "Four V-shaped curves of relative error against h on logarithmic axes, above a "
        f"curve of the share of steps that cross a kink, which rises with h. {title}.",
    )


def _draw_kinks(axes: Axes, record: Record) -> None:
    crossed = 100 * record.arrays["crossed"]
    axes.plot(record.settings["steps"], crossed, marker="^", color=style.PURPLE)
    axes.set(xlabel="step h", ylabel="steps across\na kink (%)", ylim=(-5, 105))


def _draw_errors(axes: Axes, record: Record) -> None:
    for dtype, color in zip(PRECISIONS, (style.RED, style.BLUE), strict=True):
        for kind, line, marker in zip(KINDS, ("--", "-"), ("o", "s"), strict=True):
            errors, label = _median(record, dtype, kind), f"{dtype}, {kind}"
            low, high = np.quantile(record.arrays[f"{dtype}_{kind}"], [0.1, 0.9], axis=1)
            axes.fill_between(record.settings["steps"], low, high, color=color, alpha=0.12, lw=0)
            axes.plot(
                record.settings["steps"], errors, line, marker=marker, color=color, label=label
            )
    axes.set(xscale="log", yscale="log", ylabel="relative error (median)")
