"""Whole files: written beside their place, synced, renamed over it; one writer for all.

    files.write("run.npz", lambda file: files.save_npz(file, W=W))
    W = files.read_npz("run.npz")["W"]

A reader sees the old file or the new one, never half of one, whenever a writer is killed.
An .npz file is read to its end, where its checksums are compared, and never executed.
A JSON file carries a digest of its values.
"""

from lincls.files.digests import digest, digest_of_named, read_json, write_json
from lincls.files.npz import check_zip, map_npy, names_in_npz, one_line, read_npz, save_npz
from lincls.files.tensors import read_tensors, write_tensors
from lincls.files.whole import AnyPath, check_path, lock, open_regular, sweep, write

__all__ = [
    "AnyPath",
    "check_path",
    "check_zip",
    "digest",
    "digest_of_named",
    "lock",
    "map_npy",
    "names_in_npz",
    "one_line",
    "open_regular",
    "read_json",
    "read_npz",
    "read_tensors",
    "save_npz",
    "sweep",
    "write",
    "write_json",
    "write_tensors",
]
