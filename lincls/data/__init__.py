"""Data sets: `load` gives one by its name or path, `from_...` make one of your own.

A `Dataset` is two `Split`s of numpy arrays with names for the classes, and a `Source`
that says where the bytes came from.  `catalog` holds what is known of the public data
sets, `official` reads their files in the formats of `idx` and `cifar`, `digits` and
`toys` need no file at all, and `arrays` and `folders` read everybody's own.
"""

from lincls.data.arrays import from_arrays, from_npz
from lincls.data.dataset import Dataset, DataUnavailable, Source, Split, rows
from lincls.data.folders import from_folder
from lincls.data.loading import NAMES, load
from lincls.data.toys import toy

__all__ = [
    "NAMES",
    "DataUnavailable",
    "Dataset",
    "Source",
    "Split",
    "from_arrays",
    "from_folder",
    "from_npz",
    "load",
    "rows",
    "toy",
]
