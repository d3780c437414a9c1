"""Save and restore any tree of arrays, such as a TrainState, whole or not at all.

    checkpoint.save("run.npz", state)
    state = checkpoint.restore("run.npz", like=state)

A file is a plain .npz: one array a leaf, named by its path in the tree.  Nothing in it is
ever executed.  A restored TrainState goes on to the same bits.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any


def save(path: str | os.PathLike[str], tree: Tree) -> None:
    """Write the leaves of `tree` beside `path` and rename them over it.

    Typed keys are kept as their data.  A reader never sees half a file, and an
    interrupted save leaves the file that was there.
    """
    path = Path(path)
    arrays = {name: np.asarray(_data(leaf)) for name, leaf in _named_leaves(tree)}
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

    Raises:
        ValueError: the file holds another structure, shape or dtype; the leaf is named.  Or it
            is no .npz file of arrays, or a damaged one.
        OSError: no such file.
    """
    arrays = _arrays(path)
    names = [name for name, _ in _named_leaves(like)]
    if set(names) != set(arrays):
        differ = sorted(set(names) ^ set(arrays))
        raise ValueError(f"{path} holds another tree; leaves on one side only: {differ}")
    leaves = [_like(arrays[name], leaf, f"{path}: {name}") for name, leaf in _named_leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    wrong = f"{path} is not a file that checkpoint.save wrote, or it is damaged; name one that is"
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except OSError:
        raise
    except Exception as error:  # of numpy, zipfile and zlib, which differ with the damage
        raise ValueError(wrong) from error


def _named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return [("leaf" + jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(array: np.ndarray, leaf: Any, name: str) -> Any:
    expected = np.asarray(_data(leaf))
    if array.dtype.kind == "V" and array.itemsize == expected.itemsize:
        array = array.view(expected.dtype)  # numpy's files do not know bfloat16 by name
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise ValueError(
            f"{name} is {array.dtype}{array.shape}, expected {expected.dtype}{expected.shape}"
        )
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    return jnp.asarray(array) if isinstance(leaf, jax.Array) else array
