"""Data sets: `load` returns one by its name or path, `from_...` make one of your own.

A `Dataset` has a training and a test `Split` of numpy arrays, names for the classes, and a
`Source` that says where the bytes came from.  README.md beside this file describes the data
sets, where they are looked for, and what is verified.

`catalog` holds the facts of the public data sets, and `official` reads their files, in the
formats of `idx` and `cifar`.  `download`, `cache` and `tfds` fetch and keep them.  `digits`
and `toys` need no file.  `arrays` and `folders` read your own.
"""

from lincls.data.arrays import from_arrays, from_npz
from lincls.data.dataset import Dataset, DataUnavailable, Source, Split, rows
from lincls.data.folders import from_folder
from lincls.data.formats import from_file
from lincls.data.loading import NAMES, load
from lincls.data.toys import toy

__all__ = [
    "NAMES",
    "DataUnavailable",
    "Dataset",
    "Source",
    "Split",
    "from_arrays",
    "from_file",
    "from_folder",
    "from_npz",
    "load",
    "rows",
    "toy",
]
