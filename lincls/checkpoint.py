"""Save and restore any tree of arrays, such as a TrainState, whole or not at all.

    checkpoint.save("run.npz", state)
    state = checkpoint.restore("run.npz", like=state)

A file is a plain .npz: one array a leaf, named by its path in the tree, and the array "lincls",
which is text: the dtype of every leaf by name, and a digest of all of them.  Nothing in it is
ever executed.  A restored TrainState goes on to the same bits.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lincls import checks

Tree = Any
_ABOUT = "lincls"  # no leaf has this name: theirs begin with "leaf"


def save(path: str | os.PathLike[str], tree: Tree) -> None:
    """Write the leaves of `tree` beside `path` and rename them over it.

    Typed keys are kept as their data.  A reader never sees half a file, and an
    interrupted save leaves the file that was there.

    Raises:
        TypeError: a leaf that is no array of numbers, by name; a call inside of `jit`.
        ValueError: two leaves of the same name.
    """
    checks.on_host("checkpoint.save", "call it with the result", tree)
    path, leaves = Path(path), _named_leaves(tree)
    arrays = {name: _data(leaf, name) for name, leaf in leaves}
    if len(arrays) < len(leaves):
        raise ValueError(f"two leaves have one name; they are {[name for name, _ in leaves]}")
    dtypes = {name: _dtype(leaf, name) for name, leaf in leaves}
    about = json.dumps({"dtypes": dtypes, "sha256": _digest(arrays, dtypes)}).encode()
    arrays[_ABOUT] = np.frombuffer(about, np.uint8)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.chmod(temporary, 0o644)  # as `open` would have left it, not for its owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def restore(path: str | os.PathLike[str], like: Tree) -> Tree:
    """Read a tree of the structure, shapes and dtypes of `like`.

    Float64 leaves of JAX come back as float64, also where 64-bit types are off.

    Raises:
        ValueError: the file holds another structure, shape or dtype; the leaf is named.  Or
            `save` did not write it, or it is damaged.
        OSError: no such file.
    """
    arrays, dtypes = _read(path)
    names = [name for name, _ in _named_leaves(like)]
    if set(names) != set(arrays):
        differ = sorted(set(names) ^ set(arrays))
        raise ValueError(f"{path} holds another tree; leaves on one side only: {differ}")
    leaves = [
        _like(arrays[name], dtypes[name], leaf, name, f"{path}: {name}")
        for name, leaf in _named_leaves(like)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file and the names of their dtypes, after its digest was compared."""
    wrong = f"{path} is not a file that checkpoint.save wrote, or it is damaged; name one that is"
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(wrong)
    with open(path, "rb") as opened:
        try:
            with np.load(opened, allow_pickle=False) as file:
                arrays = dict(file)
            about = json.loads(arrays.pop(_ABOUT).tobytes())
            dtypes = about["dtypes"]
            intact = about["sha256"] == _digest(arrays, dtypes)
        except Exception as error:  # of numpy, zipfile and zlib, which differ with the damage
            raise ValueError(wrong) from error
    if not intact:
        raise ValueError(wrong)
    return arrays, dtypes


def _digest(arrays: dict[str, np.ndarray], dtypes: dict[str, str]) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of all leaves."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(json.dumps([name, dtypes[name], array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return [("leaf" + jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)


def _data(leaf: Any, name: str) -> np.ndarray:
    array = checks.as_array(jax.random.key_data(leaf) if _is_key(leaf) else leaf, name)
    if array.dtype.kind in "USMmV" and not jnp.issubdtype(array.dtype, jnp.number):
        raise TypeError(f"{name} must be an array of numbers, got {array.dtype}")
    return np.asarray(array)


def _dtype(leaf: Any, name: str) -> str:
    return str(leaf.dtype if _is_key(leaf) else checks.as_array(leaf, name).dtype)


def _like(array: np.ndarray, dtype: str, leaf: Any, name: str, where: str) -> Any:
    expected, wanted = _data(leaf, name).shape, _dtype(leaf, name)
    if array.shape != expected or dtype != wanted:
        raise ValueError(f"{where} is {dtype}{array.shape}, expected {wanted}{expected}")
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    array = array.view(jnp.dtype(dtype))  # numpy's files do not know bfloat16 by name
    with jax.enable_x64(True):
        return jnp.asarray(array) if isinstance(leaf, jax.Array) else array
