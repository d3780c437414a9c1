"""Published protocols as presets: the flags that each fixes, and its source.

A preset sets flags that were not typed.  It covers what this probe has: where a protocol differs
in more, `differs` says it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from experiments.probe.settings import RATES, Settings


class Protocol(NamedTuple):
    """What a protocol fixes, its source, and what this probe does otherwise."""

    flags: dict[str, Any]
    source: str
    differs: str


NONE = "none"
_READ_BY = {"rates": "sgd", "gap": "optimum", "epochs": "early", "lengths": "early",
            "powers": "early", "steps": "early", "learning_rate": "early"}  # fmt: skip
_AUTO = {"auto": ("early", "optimum")}
PROTOCOLS = {
    "dino-knn": Protocol(
        {"probes": ("exp",), "normalise": "unit", "ks": (10, 20, 100, 200), "num_neighbors": 200,
         "temperature": 0.07, "seeds": 1, "metrics": ("top1", "top5")},
        "Caron et al., ICCV 2021; facebookresearch/dino, eval_knn.py",
        "k is chosen on a validation part; the paper reports k = 20, chosen on the test set",
    ),
    "dinov2-linear": Protocol(
        {"probes": ("linear",), "normalise": "none", "fit": "sgd",
         "rates": RATES, "batch_size": 128, "examples": 12_500 * 128, "seeds": 1,
         "metrics": ("top1", "top5")},
        "Oquab et al., arXiv 2304.07193; facebookresearch/dinov2, eval/linear.py",
        "the rate is chosen on held-out training rows and refitted on all; the original reports "
        "the best on the validation set that it chooses on.  Its layers, their averages and its "
        "augmented images are features of the file here; all rates start from one W",
    ),
    "clip": Protocol(
        {"probes": ("linear",), "normalise": "scale", "fit": "optimum", "strengths": 97,
         "seeds": 1, "metrics": ("top1", "per_class")},
        "Radford et al., ICML 2021, appendix A.3",
        "97 strengths of this program's range are tried; the paper searches its own by bisection",
    ),
    "vtab-1k": Protocol(
        {"probes": ("linear",), "validation": 0.2, "seeds": 3, "metrics": ("top1",)},
        "Zhai et al., arXiv 1910.04867, section 2; google-research/task_adaptation",
        "give 1,000 training examples; 800 and 200 of them choose, and all are refitted",
    ),
    "fewshot-lsr": Protocol(
        {"probes": ("lsr",), "shots": ("1", "5", "10", "25"), "seeds": 3, "metrics": ("top1",),
         "lsr_strength": 1024.0},
        "big_vision, evaluators/fewshot_lsr.py and configs/common_fewshot.py",
        "nothing but the random draw of the examples",
    ),
    "mteb": Protocol(
        {"probes": ("linear",), "shots": ("8",), "seeds": 10,
         "metrics": ("top1", "macro_f1", "ap")},
        "Muennighoff et al., EACL 2023; embeddings-benchmark/mteb, AbsTaskClassification.py",
        "the strength is chosen on held-out examples; MTEB fixes scikit-learn's C = 1",
    ),
}  # fmt: skip


def applied(settings: Settings, typed: Sequence[str]) -> list[Settings]:
    """The settings of each protocol: its flags, except for those that were typed.

    Raises:
        ValueError: an unknown protocol.
    """
    return [_applied(settings, name, typed) for name in dict.fromkeys(settings.protocol)]


def _applied(settings: Settings, name: str, typed: Sequence[str]) -> Settings:
    alone = dataclasses.replace(settings, protocol=(name,), others=())
    if name == NONE:
        return alone
    if name not in PROTOCOLS:
        raise ValueError(f"--protocol must be {NONE} or of {', '.join(PROTOCOLS)}; got {name!r}")
    flags, fixed = _names(typed), PROTOCOLS[name].flags
    return dataclasses.replace(
        alone, **{key: value for key, value in fixed.items() if key not in flags}
    )


def unread(asked: Sequence[Settings], typed: Sequence[str]) -> Iterator[str]:
    """A sentence for each typed flag that no --fit of the settings reads."""
    fits = {fit for each in asked for fit in _AUTO.get(each.fit, (each.fit,))}
    for flag in sorted(_names(typed) & set(_READ_BY)):
        if _READ_BY[flag] not in fits:
            yield f"--{flag.replace('_', '-')} changes nothing: --fit {_READ_BY[flag]} reads it"


def _names(typed: Sequence[str]) -> set[str]:
    """The names of the flags that were typed."""
    return {word.split("=")[0].removeprefix("--").replace("-", "_") for word in typed
            if word.startswith("--")}  # fmt: skip
