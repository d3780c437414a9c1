"""Finished parts of a long computation on disk, so that a program that was killed goes on.

A part is one .npz file.  Its name says what it is, and ends in a fingerprint of the data, the
settings and the code that decide it: other data or settings have files of their own.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from lincls import files

Arrays = Mapping[str, np.ndarray]


class Parts:
    """Parts by name.

    Args:
        folder: of the files; None keeps nothing.
        mark: the end of their names.
        again: compute parts again that a program before this one has finished.
    """

    def __init__(self, folder: Path | None = None, mark: str = "", again: bool = False) -> None:
        self.folder, self._mark, self._again = folder, mark, again
        self._own = set[Path]()

    def path(self, name: str) -> Path | None:
        """The file of a part, there or not."""
        return self.folder / f"{name}-{self._mark}.npz" if self.folder else None

    def stands(self, name: str) -> bool:
        """Whether a part is finished."""
        path = self.path(name)
        return path is not None and path.is_file() and (not self._again or path in self._own)

    def kept(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of a part: read if it is finished and undamaged, else computed and written."""
        path = self.path(name)
        if path is None:
            return compute()
        if self.stands(name):
            try:
                return files.read_npz(path)
            except (ValueError, OSError):
                pass  # damaged
        arrays = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, lambda file: files.save_npz(file, **arrays))
        self._own.add(path)
        return arrays

    def clear(self) -> None:
        """Forget every part in the folder: what they were for is finished."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


NOWHERE = Parts()  # computes, and keeps nothing
