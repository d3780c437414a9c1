"""Numbers as a sentence, a title or a table has them."""

import re
from collections.abc import Sequence

from experiments.lab.experiment import Classifier
from experiments.report.findings import AGREES, MISPRINT, Printed, Table
from lincls import evaluation

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float, digits: int = 1) -> str:
    """A share 0..1: "95.6 %"."""
    return f"{100 * share:.{digits}f} %"


def with_ci(share: float, interval: evaluation.Interval, digits: int = 1) -> str:
    """A share with its confidence interval: "95.6 % (95 % CI 92.9 to 97.2)"."""
    return f"{percent(share, digits)} (95 % CI {between(interval, digits)})"


def of_count(count: int, total: int) -> str:
    """A share of a count with Wilson's interval."""
    return with_ci(count / total, evaluation.wilson_interval(count, total))


def accuracy(tested: Classifier) -> str:
    """The test accuracy of a classifier with its interval."""
    return of_count(tested.correct, tested.total)


def points(interval: evaluation.Interval) -> str:
    """An interval of differences of shares: "+0.2 to +3.5 points"."""
    return f"{signed(interval)} points"


def right(tested: Classifier) -> str:
    """How many test images a classifier had right, with the interval of that share."""
    interval = evaluation.wilson_interval(tested.correct, tested.total)
    return (
        f"{tested.correct / tested.total:.1%} of {tested.total:,} test images right "
        f"(95% interval {between(interval)}%)"
    )


def between(interval: evaluation.Interval, digits: int = 1) -> str:
    """An interval of accuracies in percent."""
    return f"{100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f}"


def signed(interval: evaluation.Interval) -> str:
    """An interval of differences in points, with the digits that show their signs."""
    ends = [100 * end for end in interval]
    digits = next((n for n in (1, 2) if all(not end or round(end, n) for end in ends)), 3)
    return " to ".join(f"{end:+z.{digits}f}" for end in ends)


def power(number: float, digits: int = 2) -> str:
    """A number of any size with so many digits: 1.6 × 10⁻⁵, 10⁻³, 0.98, 12."""
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    if -2 <= int(exponent) < 4:
        return f"{float(f'{number:.{digits - 1}e}'):g}"
    tens = f"10{str(int(exponent)).translate(_RAISED)}"
    return tens if float(mantissa) == 1 else f"{mantissa} × {tens}"


def prints(printed: Sequence[Printed]) -> Table:
    """The numbers of the slides beside ours; what a slide has wrong is told with its cause."""
    rows = [
        (one.slide, one.what, one.printed, one.computed, "" if one.right else f"slip: {one.why}")
        for one in printed
    ]
    header = ("slide", "number", "printed", "computed", "")
    return Table("What the slides print, computed again.", header, rows)


def compared(printed: Sequence[Printed]) -> str:
    """How many of the printed numbers are right, and what the others should be."""
    wrong = [f"{one.what} {one.computed}, not {one.printed}" for one in printed if not one.right]
    told = f"{len(printed) - len(wrong)} of {len(printed)} printed numbers are right"
    if len(printed) == 1 and not wrong:
        told = f"{printed[0].what} {printed[0].computed}, as printed"
    return "; ".join([told, *wrong])


def agreement(printed: Sequence[Printed]) -> str:
    """The verdict on printed numbers: AGREES if every one of them is right."""
    return AGREES if all(one.right for one in printed) else MISPRINT


def capital(text: str) -> str:
    """The text with a capital at its beginning, the rest as it is."""
    return text[0].upper() + text[1:]


def typeset(text: str) -> str:
    """Text with the signs of print: a minus before a number, a dash between two slides."""
    return re.sub(r"(?<=\d)-(?=\d)", "–", re.sub(r"(?<![\w⁻-])-(?=\d)", "−", text))


def duration(seconds: float) -> str:
    """Seconds as one reads them: 12 µs, 850 ms, 4.2 s, 3 min 20 s."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def size(num_bytes: int) -> str:
    """Bytes as one reads them: 650 B, 2.5 kB, 154 MB."""
    number = float(num_bytes)
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
