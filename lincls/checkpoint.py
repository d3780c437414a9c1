"""Save and restore any tree of arrays, such as a TrainState, whole or not at all.

    checkpoint.save("run.npz", state)
    state = checkpoint.restore("run.npz", like=state)

A file is a plain .npz: one array a leaf, named by its path in the tree, and a text with the
dtypes and a digest.  Nothing in it is ever executed.  A restored TrainState continues in the same
bits.
"""

import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks, files

Tree = Any
_ABOUT = "checkpoint"  # the name of the text


def save(
    path: str | os.PathLike[str], tree: Tree, note: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write the leaves of `tree` to a file; an interrupted save leaves the file that was there.

    Args:
        path: the file.
        tree: any tree of arrays.  Typed keys are kept as their data.
        note: anything that JSON can write, for people and for `note`.

    Raises:
        TypeError: a leaf that is no array of numbers or texts; a call inside of `jit`.
        ValueError: two leaves of one name; a masked array.
        OSError: the file cannot be written.
    """
    checks.on_host("checkpoint.save", "call it with the result", tree)
    leaves = _named_leaves(tree)
    arrays = {name: _data(leaf, name) for name, leaf in leaves}
    if len(arrays) < len(leaves):
        raise ValueError(f"two leaves have one name: {sorted(name for name, _ in leaves)}")
    dtypes = {name: _dtype(leaf, arrays[name]) for name, leaf in leaves}
    about = {"dtypes": dtypes, "note": dict(note), "sha256": files.digest_of_named(arrays)}
    arrays[_ABOUT] = np.array(json.dumps(about))
    files.write(path, lambda file: files.save_npz(file, **arrays))


def note(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the note of a file of `save`.

    Raises:
        ValueError: it is no file of `save`, or a damaged one.
        OSError: no such file.
    """
    return _read(path)[1]["note"]


def restore(path: str | os.PathLike[str], like: Tree) -> Tree:
    """Read a tree of the structure, shapes and dtypes of `like`.

    A leaf of `like` without rows, (0, ...), stands for any number of rows.

    Raises:
        ValueError: the file holds another structure, shape or dtype; the leaf is named.  Or it
            is no file of `save`, or a damaged one.
        OSError: no such file.
    """
    arrays, about = _read(path)
    dtypes = about["dtypes"]
    names = [name for name, _ in _named_leaves(like)]
    if set(names) != set(arrays):
        differ = sorted(set(names) ^ set(arrays))
        raise ValueError(f"{path} holds another tree; leaves on one side only: {differ}")
    leaves = [
        _like(arrays[name], dtypes[name], leaf, name, f"{path}: {name}")
        for name, leaf in _named_leaves(like)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a file and the text about them, once the digest has been compared."""
    wrong = f"{path} is not a file that checkpoint.save wrote, or it is damaged; name one that is"
    files.check_path(path)
    try:
        arrays = dict(files.read_npz(path))
        about = json.loads(str(arrays.pop(_ABOUT)))
        names, digest, _ = about["dtypes"].keys(), about["sha256"], about["note"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(wrong) from error
    if digest != files.digest_of_named(arrays) or names != arrays.keys():
        raise ValueError(wrong)
    return arrays, about


def _named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return [("leaf" + jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _data(leaf: Any, name: str) -> np.ndarray:
    return np.asarray(
        checks.as_array(jax.random.key_data(leaf) if checks.is_key(leaf) else leaf, name)
    )


def _dtype(leaf: Any, data: np.ndarray) -> str:
    return str(leaf.dtype) if checks.is_key(leaf) else data.dtype.name


def _like(array: np.ndarray, dtype: str, leaf: Any, name: str, place: str) -> Any:
    expected = _data(leaf, name)
    wanted = _dtype(leaf, expected)
    shape = array.shape if expected.shape[:1] != (0,) else (0, *array.shape[1:])
    if shape != expected.shape or dtype != wanted:
        raise ValueError(f"{place} is {dtype}{array.shape}, expected {wanted}{expected.shape}")
    if array.dtype.kind == "V":
        array = array.view(expected.dtype)  # numpy's files do not know bfloat16 by name
    if checks.is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    if not isinstance(leaf, jax.Array):
        return array
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(f"{place} is {dtype}, and 64-bit types are off: use jax.enable_x64(True)")
    return jnp.asarray(array)
