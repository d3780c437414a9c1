"""Bad input, generated: `python tests/fuzz.py --cases 10000 --seed 0`.

Every public function of the tables in `doors.py` and `test_knn_doors.py`, and every call of
`fuzz_calls.py`, is made with one or two of its arguments replaced.  A replacement is the same
numbers in another form, which must give the same answer, or something else of an odd kind, shape,
dtype or value.  That must end in an answer, or in a TypeError or ValueError that names an argument
of the call, within 20 seconds of processor time.  It is a program of its own: the run-time types of
the tests would refuse first.
"""

import argparse
import collections
import inspect
import itertools
import os
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

import doors
import fuzz_calls
import hypothesis
import jax
import numpy as np
import scipy.sparse
import test_knn_doors as neighbours
from hypothesis import strategies as st

from lincls import batches, optimizers, training
from lincls.structs import Affine, Examples, LinearParams, Neighbors

SECONDS = 20  # for a call, compilation included
# What is said of arguments that hold others.
PARTS = "X|y|weight|labels|loss|penalty|leaf|scores|params|rows|training part"
NUMBERS = itertools.count()
FOLDER = Path(tempfile.mkdtemp())


def calls():
    """Each function with the arguments of a valid call, and those that pass a check."""
    for fn, kinds in doors.TABLE.items():
        good = {**doors.GOOD, **doors.GOOD_OF.get(fn, {}), "path": FOLDER / "tree.npz"}
        good |= {"optimizer": optimizers.sgd, "sampling": batches.shuffled, "batch_size": 4,
                 "weight": np.ones(doors.N), "params_fn": training.last}  # fmt: skip
        arguments = {name: good[name] for name in kinds if name in good}
        checked = sorted(name for name in arguments if kinds[name])
        if checked:
            yield fn, arguments, checked
    for fn, arguments in neighbours.TABLE.items():
        values = {name: value for name, (value, _) in arguments.items()}
        yield inspect.unwrap(fn), values, sorted(n for n, (_, kind) in arguments.items() if kind)
    for fn, values in fuzz_calls.CALLS:
        yield fn, values, sorted(values)


CALLS = list(calls())

# --- the same numbers in another form --------------------------------------------------------


def mapped(array):
    """The array in a file."""
    path = FOLDER / f"{next(NUMBERS)}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    """The array at an odd address."""
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    found = memory.view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


class Frame:
    """It hands its numbers to numpy, as frames and tensors do."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


FORMS = {
    "column-major": np.asfortranarray,
    "every other row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed twice": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "read-only": read_only,
    "memory-mapped": mapped,
    "unaligned": unaligned,
    "a frame": Frame,
    "nothing masked": np.ma.array,
    "a JAX array": lambda a: a if a.dtype == np.float64 else jax.numpy.asarray(a),
}

# --- anything else ---------------------------------------------------------------------------


def spoilt(array, value):
    """Floats with one of them replaced."""
    array = np.array(array, np.float64)
    if array.size:
        array.flat[array.size // 2] = value
    return array


SHAPES = {
    "one axis more": lambda a: a[None],
    "a column": lambda a: a[..., None],
    "one axis less": lambda a: a[0] if a.ndim else a,
    "transposed": np.transpose,
    "no rows": lambda a: a[:0] if a.ndim else a[None][:0],
    "one row": lambda a: a[:1] if a.ndim else a[None],
    "a row missing": lambda a: a[:-1] if a.ndim else a,
    "no features": lambda a: a[..., :0] if a.ndim else a[None][:0],
    "twice as wide": lambda a: np.concatenate([a, a], -1) if a.ndim else np.stack([a, a]),
    "no axis": lambda a: a.ravel()[0] if a.size else a,
}
DTYPES = ["bool", "int8", "uint8", "int16", "int64", "uint64", "float16", "float64", "longdouble",
          "complex64", "str", "bytes", "object", "datetime64[s]", "V4"]  # fmt: skip
VALUES = [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 5e-324, 2.0**63, -1.0, 0.5, 1e9, 1e39]
ODD = [
    None, True, 0, -1, 1, 3, 1.5, -0.5, 2**31, 2**63, -(2**70), 1e-300, 1e300, np.nan, np.inf, 1j,
    "", "l2", "0.1", b"x", (), [], {}, set(), [1, [2]], object(), lambda *_: 1.0,
    lambda *_: None, range(3), iter([1, 2]), slice(2), np.float32(2), np.int64(2), np.str_("a"),
    np.array(3), np.zeros(0), np.zeros((2, 0)), np.zeros((0, 3)), np.datetime64("2026-01-01"),
    scipy.sparse.eye(3).tocsr(), jax.random.key(1), jax.random.PRNGKey(1), Examples(1, 2, 3),
    LinearParams(None, None), Affine("a", None), Neighbors(1, 2), doors.HYPER, doors.RECIPE,
    doors.STATE, neighbours.MODEL, Path("nowhere"), Exception("x"), np.ma.masked,
]  # fmt: skip


def cast(array, dtype):
    try:
        return array.astype(dtype)
    except (TypeError, ValueError):
        return array.astype(object)


@st.composite
def replacements(draw, value):
    """(what it is, whether it is the same numbers, the replacement) for an argument."""
    is_array = isinstance(value, np.ndarray)
    ways = ["odd"] + 3 * ["form", "shape", "dtype", "value", "mask"] * is_array
    way = draw(st.sampled_from(ways))
    if way == "form":
        name = draw(st.sampled_from(sorted(FORMS)))
        return name, True, FORMS[name](value)
    if way == "shape":
        name = draw(st.sampled_from(sorted(SHAPES)))
        return name, False, SHAPES[name](value)
    if way == "dtype":
        dtype = draw(st.sampled_from(DTYPES))
        return dtype, False, cast(value, dtype)
    if way == "value":
        number = draw(st.sampled_from(VALUES))
        return f"with {number}", False, spoilt(value, number)
    if way == "mask":
        hidden = np.arange(value.size).reshape(value.shape) == value.size // 2
        return "masked", False, np.ma.array(value, mask=hidden)
    index = draw(st.integers(0, len(ODD) - 1))
    return f"{ODD[index]!r}"[:60], False, ODD[index]


@st.composite
def cases(draw):
    """A function, its arguments, and what was replaced."""
    fn, arguments, checked = draw(st.sampled_from(CALLS))
    names = draw(st.lists(st.sampled_from(checked), min_size=1, max_size=2, unique=True))
    changed = {name: draw(replacements(arguments[name])) for name in names}
    return fn, arguments, changed


# --- the judge -------------------------------------------------------------------------------


def fault(fn, arguments, changed):
    """What is wrong with a call, or ""."""
    given = {name: value for name, (_, _, value) in changed.items()}
    begin = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = fn(**arguments | given)
    except (TypeError, ValueError) as error:
        if names_a_path(error, given):
            return ""
        names = "|".join([*map(re.escape, inspect.signature(fn).parameters), more_names(fn)])
        said = str(error)
        if not re.search(rf"\b({names})\b", said) or len(said) > 1500:
            return f"{type(error).__name__} names no argument: {said[:200]}"
        if all(same for _, same, _ in changed.values()):
            return f"the same numbers are refused: {said[:200]}"
        return ""
    except Exception as error:
        if isinstance(error, OSError) and names_a_path(error, given):
            return ""
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        if time.process_time() - begin > SECONDS:
            print(f"took {time.process_time() - begin:.0f} s:", label(fn, changed), flush=True)
    if all(same for _, same, _ in changed.values()) and not is_same(found, fn(**arguments)):
        return "the same numbers give another answer"
    return ""


def more_names(fn):
    """What else an error may speak of: what scikit-learn says is a part of its form."""
    of_estimator = fn in fuzz_calls.OF_ESTIMATORS
    return f"{fuzz_calls.OF_SKLEARN}|{PARTS}" if of_estimator else PARTS


def names_a_path(error, given):
    """Whether an error is about a file whose path was given."""
    paths = [str(path) for path in given.values() if isinstance(path, str | Path)]
    return any(path and repr(path)[1:-1] in str(error) for path in paths)


def is_same(a, b):
    """Whether two answers are equal, NaN included; functions and iterators are not compared."""
    leaves = [jax.tree.leaves(tree) for tree in (a, b)]
    compared = np.ndarray | jax.Array | float | int
    pairs = [pair for pair in zip(*leaves, strict=True) if isinstance(pair[0], compared)]
    pairs = [tuple(map(numbers, pair)) for pair in pairs]
    return all(np.array_equal(*pair, equal_nan=pair[0].dtype.kind in "fc") for pair in pairs)


def numbers(x):
    is_key = jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.prng_key)
    x = np.asarray(jax.random.key_data(x) if is_key else x)
    return x.astype(np.float64) if x.dtype.kind in "fV" else x


def label(fn, changed):
    replaced = ", ".join(f"{name}={what}" for name, (what, _, _) in changed.items())
    return f"{place(fn)}({replaced})"


def place(fn):
    return f"{fn.__module__}.{fn.__name__}"


def main(num_cases, seed, only=""):
    """Run so many cases and return their faults, each once for a function and a reason."""
    faults, counted = {}, collections.Counter()
    CALLS[:] = [call for call in CALLS if re.search(only, place(call[0]))]

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=num_cases, deadline=None, database=None,
                         phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.given(cases())
    def walk(case):
        fn, arguments, changed = case
        found = fault(fn, arguments, changed)
        counted[bool(found)] += 1
        if found:
            faults.setdefault((fn.__name__, re.sub(r"\d+", "0", found)[:60]),
                              f"{label(fn, changed)}: {found}")  # fmt: skip

    os.chdir(FOLDER)  # a replacement may be the name of a file
    walk()
    print(f"{sum(counted.values())} cases, {counted[True]} faults of {len(faults)} kinds")
    return sorted(faults.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a pattern of the functions' names")
    options = parser.parse_args()
    found = main(options.cases, options.seed, options.only)
    print(*found, sep="\n")
    sys.exit(bool(found))
