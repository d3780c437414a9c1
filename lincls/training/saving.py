"""A training in a file: `fit(..., checkpoint=path)` goes on from it after any end.

The file holds all that the rest of the run needs: the state, the steps so far, the accuracies on
the validation examples and the best parameters.  The order of an epoch and the batch of a step
depend on the key in the state and on the step alone.  A note names the run: what was trained, on
which data, how, and by which versions.  A file of another run is refused.
"""

import hashlib
import inspect
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lincls import checkpoint, checks, placement
from lincls.structs import AnyArray, Sharded, StepInfo, TrainState

_DIGEST_BYTES = 2**30  # of an array; of a larger one that many are read, spread over its rows
_BLOCK_BYTES = 2**24


class Progress(NamedTuple):
    """A run so far."""

    state: TrainState
    info: StepInfo  # of the steps in this call, numpy (T, ...)
    held_out: Any  # what `driver.HeldOut` remembers, or ()


class File:
    """The file of one run.

    Raises:
        ValueError: the file is of another run, or no file of `fit`.
        OSError: it cannot be read.
    """

    def __init__(self, path: Any, run: Mapping[str, str]) -> None:
        self._path, self._run = Path(path), dict(run)
        self._cost, self._saved_at = 0.0, time.monotonic()
        if self._path.exists():
            self._check_run(checkpoint.note(self._path))

    def _check_run(self, saved: Mapping[str, Any]) -> None:
        differ = sorted(name for name in self._run if saved.get(name) != self._run[name])
        if differ:
            raise ValueError(
                f"checkpoint {self._path} is of another run, which differs in: "
                f"{', '.join(differ)}; remove it or name another file"
            )

    def restore(self, start: Progress) -> Progress:
        """The run so far, or `start`, whose arrays have no rows yet, where there is no file."""
        return checkpoint.restore(self._path, start) if self._path.exists() else start

    def save(self, so_far: Callable[[], Progress], *, last: bool = False) -> None:
        """Save if that is due, or if it is the last time."""
        begin = time.monotonic()
        limits = placement.limits()
        pause = max(limits.saving_seconds, self._cost / limits.saving_share)
        if last or begin - self._saved_at >= pause:
            checkpoint.save(self._path, so_far(), note=self._run)
            self._saved_at = time.monotonic()
            self._cost = self._saved_at - begin


def described(**parts: Any) -> dict[str, str]:
    """A text for each part of a run: the names and the code of functions, digests of arrays."""
    versions = {name: version(name) for name in ("lincls", "jax", "jaxlib", "numpy")}
    versions |= {"python": platform.python_version(), "backend": jax.default_backend()}
    return {"versions": str(versions)} | {name: text(part) for name, part in parts.items()}


def text(part: Any) -> str:
    """A text that two processes write alike, and that differs where a run would."""
    if isinstance(part, Sharded):
        return f"{part.dtype}{part.shape} in {part.num_blocks} blocks:{_of_shards(part)}"
    if isinstance(part, AnyArray):
        return f"{part.dtype}{part.shape}:{digest(part)}"
    if inspect.isfunction(part):
        return _of_function(inspect.unwrap(part))
    if isinstance(part, tuple | list):
        return f"{type(part).__name__}({', '.join(map(text, part))})"
    if isinstance(part, Mapping):
        return f"{{{', '.join(f'{name}: {text(part[name])}' for name in sorted(part))}}}"
    fields = getattr(part, "__dict__", None) or {}
    named = getattr(part, "__qualname__", type(part).__qualname__)
    return f"{named}{text(fields)}" if fields else re.sub(" at 0x[0-9a-f]+", "", repr(part))


def _of_function(fn: Any) -> str:
    """Its name, a digest of its code, and the values that it closes over."""
    values = [cell.cell_contents for cell in fn.__closure__ or ()]
    inner = text([*values, *(fn.__defaults__ or ()), fn.__kwdefaults__ or {}])
    return f"{fn.__module__}.{fn.__qualname__}:{_of_code(fn.__code__)}{inner}"


def _of_code(code: Any) -> str:
    constants = [_of_code(c) if inspect.iscode(c) else repr(c) for c in code.co_consts]
    parts = (code.co_code.hex(), code.co_names, constants)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _of_shards(rows: Sharded) -> str:
    """A hash of rows on a mesh, the same for any number of devices."""
    if not rows.array.is_fully_addressable:
        raise ValueError("checkpoint is for one process; over several, use checkpoint.save")
    shards = sorted(rows.array.addressable_shards, key=lambda s: s.index[rows.axis].start or 0)
    return _hashed(np.asarray(shard.data) for shard in shards)


def digest(array: AnyArray) -> str:
    """A hash of the numbers of an array; of a very large one that of rows spread over it."""
    if checks.is_key(array):
        array = jax.random.key_data(array)
    if not isinstance(array, np.ndarray) or not array.ndim:
        array = np.asarray(array)[None]
    return _hashed([array[:: -(-array.nbytes // _DIGEST_BYTES) or 1]])


def _hashed(parts: Iterable[np.ndarray]) -> str:
    """A hash of the bytes of arrays, one after the other."""
    hashed = hashlib.sha256()
    for part in parts:
        size = max(1, _BLOCK_BYTES // max(1, part[:1].nbytes))
        for start in range(0, len(part), size):
            hashed.update(np.ascontiguousarray(part[start : start + size]).view(np.uint8).data)
    return hashed.hexdigest()[:16]
