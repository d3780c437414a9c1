"""Where arrays lie: in host memory, in a file, on one device, or on the devices of a mesh.

A JAX array is used where it is.  A numpy array is copied to the device, or lent for the duration
of a call.  A large memory-mapped array stays in its file and is read in blocks.  What is large is
decided by `limits()`, one value for all of lincls:

    with placement.limited(device_bytes=2**33):
        state, history = training.fit(...)

Rows over several devices, or over several hosts, are `Sharded`, and the same verbs take them:

    mesh = placement.mesh()
    X, y = placement.shard(mesh, X, y)
    model = knn.fit(X, y)
"""

from lincls.placement.local import (
    Limits,
    aligned,
    blocks,
    is_large,
    lend,
    limited,
    limits,
    on_device,
    read,
    stays_on_host,
    taken,
)
from lincls.placement.memory import available, bytes_of
from lincls.placement.sharding import (
    ROWS,
    from_processes,
    gathered,
    like,
    mesh,
    over_devices,
    per_shard,
    replicated,
    rows_at,
    rows_here,
    shard,
    shard_settings,
    unreplicated,
)
from lincls.placement.sums import over_blocks

__all__ = [
    "ROWS",
    "Limits",
    "aligned",
    "available",
    "blocks",
    "bytes_of",
    "from_processes",
    "gathered",
    "is_large",
    "lend",
    "like",
    "limited",
    "limits",
    "mesh",
    "on_device",
    "over_blocks",
    "over_devices",
    "per_shard",
    "read",
    "replicated",
    "rows_at",
    "rows_here",
    "shard",
    "shard_settings",
    "stays_on_host",
    "taken",
    "unreplicated",
]
