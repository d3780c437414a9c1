"""Numbers as a sentence, a title or a table has them."""

import re
from collections.abc import Sequence

from experiments.lab.experiment import Classifier
from experiments.report.findings import AGREES, MISPRINT, Printed, Table
from lincls import evaluation
from lincls.forecast.told import size as size  # bytes as one reads them

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a cell that begins so
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
        (one.slide, one.what, one.printed, one.computed,
         AGREES if one.right else f"{MISPRINT}: {one.why}")
        for one in printed
    ]  # fmt: skip
    header = ("slide", "number", "printed", "computed", "verdict")
    return Table("Numbers printed on the slides.", header, rows)


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


def shortened(text: str, letters: int) -> str:
    """The text on one line, of at most so many letters: "the first word…"."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    if len(line) <= letters:
        return line
    cut = line[: letters - 1]
    whole = cut.rpartition(" ")[0] if line[letters - 1] != " " else cut
    return f"{whole if len(whole) > letters // 2 else cut}…"


def labels(names: Sequence[str], letters: int = 24) -> list[str]:
    """Names of classes, which may be any text, as figures and tables can hold them."""
    short = [shortened(name, letters) for name in names]
    return [
        f"{name} ({place})" if short.count(name) > 1 else name for place, name in enumerate(short)
    ]


def csv_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula; a number stays as it is."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(_FORMULA) else text
    return text


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def typeset(text: str) -> str:
    """Text as print has it: a minus before a number, a dash between two, no break in "5 %"."""
    minus = re.sub(r"(?<![\w⁻-])-(?=\d)", "−", text)
    dashes = re.sub(r"(?<=\d)-(?=\d)", "–", minus)
    return re.sub(r"(?<=\d) (?=%)|(?<=\d) (?=× 10)|(?<=\d ×) (?=10)", "\u00a0", dashes)


def duration(seconds: float) -> str:
    """Seconds as one reads them: 12 µs, 850 ms, 4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
