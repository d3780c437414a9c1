"""Standard output whose reader may leave early, as `head` does: the program ends in silence.

A shell ends other programs so.  Python raises BrokenPipeError instead, which a program would take
for a fault of its files.
"""

import atexit
import contextlib
import io
import os
import sys
from typing import Any

CLOSED = 141  # the exit status of a program that writes to a closed pipe: 128 + SIGPIPE


class Output(io.TextIOWrapper):
    """A text stream that ends the program when nobody reads it any more."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._leave(error)
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._leave(error)
            raise

    def _leave(self, error: OSError) -> None:
        """Exit, with what is still in the buffer going nowhere.

        Raises:
            SystemExit: of `CLOSED`, if the pipe is closed.
        """
        windows = sys.platform == "win32" and error.errno == 22  # what Windows says of it
        if isinstance(error, BrokenPipeError) or windows:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            raise SystemExit(CLOSED) from None


def install() -> None:
    """Make the standard streams of this process such ones, to the end of the program."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            made = Output(
                stream.buffer, stream.encoding, stream.errors,
                line_buffering=stream.line_buffering, write_through=stream.write_through,
            )  # fmt: skip
            setattr(sys, name, made)
            atexit.register(_flush, made)


def _flush(stream: Output) -> None:
    with contextlib.suppress(SystemExit, ValueError):  # a closed stream
        stream.flush()
