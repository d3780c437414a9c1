"""The lecture's experiments: `python -m experiments`, or one alone by its name.

To add one, write `experiments/<question>.py` with the names of `lab.experiment.Question`
and put it into the order below.  QUICK names those of `python -m experiments --quick`, which
has every classifier and ends within a minute on digits and two cores.

`readme.png` is what `experiments.report.readme` composes from records.
"""

import _thread
import sys
import threading
import types

from experiments.lab import streams

ORDER = (
    "images",
    "nearest_neighbor",
    "knn_plane",
    "choose_k",
    "choose_rate",
    "unintuitive",
    "linear_plane",
    "svm_loss",
    "regularisation",
    "softmax_loss",
    "svm_softmax",
    "random_search",
    "gradient_check",
    "gradient_descent",
    "optimum",
)
QUICK = (
    "images",
    "nearest_neighbor",
    "choose_k",
    "svm_loss",
    "softmax_loss",
    "svm_softmax",
    "random_search",
)


def _stopped(
    kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
) -> None:
    """Ctrl-C outside of `run`, such as while the programs are imported: no traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _lost(unraisable: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C within a callback of the garbage collector, where Python would lose it: once more."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, _thread.interrupt_main).start()  # not within this callback too
    else:
        sys.__unraisablehook__(unraisable)


if sys.argv[:1] == ["-m"]:  # a program of this package begins
    sys.excepthook, sys.unraisablehook = _stopped, _lost
    streams.install()
