"""The fingerprints of a probe's results, and of the parts that several results share."""

import dataclasses
import functools
from pathlib import Path

from experiments.lab import fingerprint
from experiments.probe.settings import Settings

mark_of = functools.cache(fingerprint.of)  # which reads every file that counts


def mark_of_parts(source: Path, settings: Settings, digest: str) -> str:
    """The fingerprint of what decides each part; how many there are does not.

    Args:
        source: the module that computes them.
        settings: what was asked for.
        digest: of the data and their groups.
    """
    each = dataclasses.replace(
        settings, probes=(), shots=(), seeds=0, metrics=(), samples=0, protocol=("none",), others=()
    )
    return mark_of(source, each, 0, digest)
