"""How much memory is left: of a device that has its own, or of the host."""

import math
import os
from pathlib import Path
from typing import Any

import jax

_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


def available(devices: int = 1) -> int | None:
    """Bytes that each of so many devices may still allocate, None where nothing says it.

    Devices of a CPU share the memory of their host, and what a container may use of it.

    Args:
        devices: devices of this process that are used.
    """
    known = jax.local_devices()
    if known[0].platform == "cpu":
        left = _of_host()
        return None if left is None else left // min(devices, len(known))
    stats = [device.memory_stats() or {} for device in known[:devices]]
    if not all("bytes_limit" in of_device for of_device in stats):
        return None
    return min(int(each["bytes_limit"]) - int(each.get("bytes_in_use", 0)) for each in stats)


def bytes_of(tree: Any) -> int:
    """Bytes of the leaves of a tree, arrays or their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _of_host() -> int | None:
    found = [left for left in (_of_system(), _of_container()) if left is not None]
    return min(found) if found else None


def _of_system() -> int | None:
    """What Linux counts as available; elsewhere pages that are free, if the system says so."""
    try:
        with _MEMINFO.open("rb") as file:
            line = next(line for line in file if line.startswith(b"MemAvailable:"))
        return 1024 * int(line.split()[1])
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_container() -> int | None:
    """What a limit of control groups leaves, None without one; files in the cache are no use."""
    try:
        limit, used, stat = (
            (_CONTAINER / f"memory.{name}").read_text() for name in ("max", "current", "stat")
        )
        counts = dict(line.split() for line in stat.splitlines())
        return max(0, int(limit) - int(used) + int(counts.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
