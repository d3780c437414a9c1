"""Numbers as a sentence, a title or a table has them."""

from lincls import evaluation


def share(correct: int, total: int) -> str:
    """An accuracy with its interval, as a sentence has it."""
    interval = evaluation.wilson_interval(correct, total)
    return f"{correct / total:.1%} (95% interval {between(interval)}%)"


def between(interval: evaluation.Interval) -> str:
    """An interval of accuracies in percent."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def duration(seconds: float) -> str:
    """Seconds as one reads them: 12 µs, 850 ms, 4.2 s, 3 min 20 s."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
