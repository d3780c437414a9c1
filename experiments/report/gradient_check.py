"""What `experiments.gradient_check` found, told and drawn."""

from collections.abc import Iterator
from typing import Any

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
from lincls import evaluation

SLIDES = "51-57"
QUESTION = "Is the analytic gradient right, and what does it cost to find out?"
CLAIM = (
    "The numerical gradient is slow, approximate and easy (55); the analytic one is exact, fast "
    "and error-prone. In practice, use the analytic gradient and check it against the "
    "numerical one (57)."
)
SECONDS = 10
PRECISIONS = ("float32", "float64")
DESCRIPTIONS = {
    "none": "none",
    "factor": "times −3",
    "row": "one row of W halved",
    "penalty": "penalty left out",
    "half": "λ W instead of 2 λ W",
    "labels": "labels off by one",
    "bias": "bias left out",
    "mean": "sum instead of mean",
}


def findings(record: Record) -> Findings:
    """Slow, approximate, error-prone: each with its number; what the check caught."""
    mistakes = record.numbers["mistakes"]
    caught = [name for name, report in mistakes.items() if name != "none" and not report["passed"]]
    accepts, planted = mistakes["none"]["passed"], len(mistakes) - 1
    check = (
        f"the check rejects {len(caught)} of {planted} planted mistakes and "
        f"{'accepts' if accepts else 'rejects'} the right gradient"
    )
    printed = _printed()
    sentences = [
        _about_seconds(record),
        _about_errors(record),
        f"The check: {check.replace('the check', 'it')}.",
        *(_best_step(record, kind) for kind in KINDS),
        "Of the slides' dW (52–54), taken with h = 0.0001 from losses of five decimals and known "
        f"to 0.1 therefore, {words.compared(printed)}.",
    ]
    slower, errors = _slower(record), [record.numbers[kind]["error"] for kind in KINDS]
    verdict = together([
        intervals.above_zero(evaluation.Interval(slower.low - 1, slower.high - 1)),
        _approximate(record),
        AGREES if accepts and len(caught) == planted else DIFFERS,
        words.agreement(printed),
    ])  # fmt: skip
    told = (
        f"slide 55's code takes {_times(slower)} times as long as the analytic gradient and is off "
        f"by {words.power(errors[0])}, with centred differences {words.power(errors[1])}; {check}; "
        f"dW of slides 52–54: {words.compared(printed)}"
    )
    tables = (_mistake_table(mistakes), _table_here(record))
    return Findings(sentences, {"51-57": Answer(verdict, told)}, tables, printed)


def _timings(record: Record, name: str) -> np.ndarray:
    """The repeated seconds of one of the two gradients, (repeats,)."""
    return np.array([record.seconds[f"{name}, {n}"] for n in range(record.settings["repeats"])])


def _by_hand_for_all(record: Record) -> np.ndarray:
    """Seconds of slide 55's code for all weights, in proportion to those that it moved."""
    slide = record.numbers["slide_55"]
    return _timings(record, "slide_55") * slide["all"] / slide["moved"]


def _slower(record: Record) -> evaluation.Interval:
    """How many times as long the slide's code takes: of the geometric mean of the ratios."""
    ratios = intervals.of_mean(np.log(_by_hand_for_all(record) / _timings(record, "analytic")))
    return evaluation.Interval(float(np.exp(ratios.low)), float(np.exp(ratios.high)))


def _times(interval: evaluation.Interval) -> str:
    """An interval of ratios with two digits: 9,800 to 14,000."""
    low, high = (f"{float(f'{end:.2g}'):,.12g}" for end in interval)
    return f"{low} to {high}"


def _orders(record: Record) -> dict[str, evaluation.Interval]:
    """The power of h with which the error falls between the two greatest steps, by kind."""
    steps = np.array(record.settings["steps"])
    two = np.argsort(-steps)[:2]
    found = {}
    for kind in KINDS:
        errors = record.arrays[f"float64_{kind}"][two]  # (2, directions)
        found[kind] = evaluation.Interval(-np.inf, np.inf)  # of too few, nothing is known
        if min(errors.shape) >= 2:
            first, second = np.log(errors)
            found[kind] = intervals.of_mean((first - second) / -np.diff(np.log(steps[two])))
    return found


def _approximate(record: Record) -> str:
    """Numerical slopes are off, and come to the analytic one like h and h**2 (centred)."""
    forward, centred = (record.numbers[kind]["error"] for kind in KINDS)
    orders = zip(_orders(record).values(), (1, 2), strict=True)
    nearer = [intervals.inside(one, order - 0.25, order + 0.25) for one, order in orders]
    off = AGREES if forward > centred > 0 else DIFFERS
    return together([off, *nearer])


def _about_errors(record: Record) -> str:
    forward, centred = (record.numbers[kind]["error"] for kind in KINDS)
    orders = [f"{one.low:.2f} to {one.high:.2f}" for one in _orders(record).values()]
    return (
        f"Approximate: with h = {words.power(record.settings['h'])} in float64 the forward "
        f"difference is off by {words.power(forward)} of the analytic gradient's length, the "
        f"centred one by {words.power(centred)}. From the greatest h to the next the forward "
        f"error falls like h to the power {orders[0]}, the centred one to the power {orders[1]} "
        "(95% intervals over directions; 1 and 2 in theory)."
    )


def _about_seconds(record: Record) -> str:
    """Evaluations and seconds: slide 55's code, ours, the analytic gradient."""
    slide, whole = record.numbers["slide_55"], float(np.median(_by_hand_for_all(record)))
    analytic, repeats = float(np.median(_timings(record, "analytic"))), record.settings["repeats"]
    return (
        f"Slow: forward differences need {record.numbers['forward']['evaluations']:,} evaluations "
        f"of the loss. Slide 55's eval_numerical_gradient, timed on {slide['moved']:,} weights, "
        f"takes {words.duration(whole)} for all in proportion (median of {repeats}); "
        "numerical_gradient, which moves 16 weights at a time, "
        f"{words.duration(record.seconds['forward'])} with compilation, and differs from the "
        f"slide's by {words.power(slide['apart'])} of the greatest slope. The analytic gradient "
        f"takes {words.duration(analytic)}: the slide's code takes {_times(_slower(record))} times "
        f"as long (95% interval over {repeats} timings of both)."
    )


def _median(record: Record, dtype: str, kind: str) -> np.ndarray:
    """The median error over the directions, (steps,)."""
    return np.median(record.arrays[f"{dtype}_{kind}"], axis=1)


def _best_step(record: Record, kind: str) -> str:
    """The best step of each precision for one kind of difference, and its error."""
    found = []
    for dtype in PRECISIONS:
        errors = _median(record, dtype, kind)
        step = record.settings["steps"][errors.argmin()]
        found.append(f"{words.power(errors.min(), 1)} at h = {words.power(step, 1)} in {dtype}")
    return f"The least median error of {kind} differences: {', '.join(found)}."


def _mistake_table(mistakes: dict[str, Any]) -> Table:
    header = ("mistake", "verdict", "compared", "wrong", "across a kink", "greatest error")
    rows = [
        (
            DESCRIPTIONS[name],
            "passed" if report["passed"] else "rejected",
            *(f"{report[count]:,}" for count in ("judged", "wrong", "crossed")),
            words.power(report["error"]),
        )
        for name, report in mistakes.items()
    ]
    caption = (
        "Gradients of the SVM's objective, each written with one mistake, under gradcheck.check; "
        "errors are relative to the slope."
    )
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
        (f"pixel {pixel}", f"{weight:.4f}", f"{found['loss']:.5f}", f"{moved:.5f}",
         f"{(round(moved, 5) - round(found['loss'], 5)) / h:.1f}",
         f"{(moved - found['loss']) / h:.4f}", f"{slope:.4f}")
        for pixel, weight, moved, slope in zip(*columns, strict=True)
    ]  # fmt: skip
    caption = (
        f"The same on {record.data['name']}: the three steepest weights of the first class, "
        f"h = {h:g}; dW of the losses as printed, of the losses in float64, and analytic."
    )
    header = ("weight of", "W", "loss", "loss after W + h", "dW, printed", "dW", "analytic")
    return Table(caption, header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The error of the numerical gradient against h, with the share of steps across a kink."""
    best = (
        words.power(min(_median(record, dtype, kind).min() for kind in KINDS), 1)
        for dtype in reversed(PRECISIONS)
    )
    title = "At best a numerical gradient is off by {} (float64) or {} (float32)".format(*best)
    figure, (top, bottom) = style.canvas(
        2, 1, height=5.0, title=title, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    _draw_errors(top, record)
    _draw_kinks(bottom, record)
    style.legend(figure)
    yield Plot(
        "error_against_h",
        figure,
        "Top: softmax loss, slopes along random directions, the median error and (shaded) the "
        "middle 80 % of the directions. A large h is wrong by curvature (an "
        "error that grows like h, or like h² with centred differences), a small one by rounding "
        "(like 1 / h). Bottom: how often the two sides of a centred step lie on different sides "
        "of a kink of the SVM's loss, where a right gradient looks wrong.",
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
