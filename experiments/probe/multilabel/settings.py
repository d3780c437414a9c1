"""What a probe of several labels a row can be told: its flags."""

from dataclasses import dataclass

import numpy as np

from experiments.lab.options import flag

PROBES = {  # name -> what a table calls it, and the metric of its search
    "linear": ("linear, binary cross-entropy", ""),
    "l1": ("kNN, L1", "l1"),
    "l2": ("kNN, L2", "l2"),
    "cosine": ("kNN, cosine", "cosine"),
}


@dataclass(frozen=True)
class Settings:
    """The flags."""

    probes: tuple[str, ...] = flag(tuple(PROBES), "which probes", choices=tuple(PROBES))
    normalise: str = flag(
        "scale", "scale: the linear probe subtracts the mean and divides by one number, kNN takes "
        "rows as they are; unit: rows of norm 1 before that; standard: each feature minus its mean "
        "over its own deviation, fitted inside each fold, for all probes",
        choices=("scale", "unit", "standard"),
    )  # fmt: skip
    gap: float = flag(1e-3, "relative duality gap at which an optimum is near enough", low=0)
    folds: int = flag(
        0, "choose on so many folds, stratified by the rarest label of each row; 0: on a "
        "validation part", low=0,
    )  # fmt: skip
    validation: float = flag(0.2, "share of the validation part", above=0, below=1)
    seeds: int = flag(3, "how often folds or the validation part are drawn, from --seed on", low=1,
                      smoke=2)  # fmt: skip
    strengths: int = flag(22, "strengths of the L2 penalty, as powers of one ratio", low=1, smoke=5)
    weakest: float = flag(1e-6, "the least of them, for features of average variance 1", low=1e-9)
    strongest: float = flag(10.0, "the greatest of them", low=1e-9)
    num_neighbors: int = flag(100, "the greatest k; every smaller one is tried", low=1, smoke=10)

    @property
    def regs(self) -> np.ndarray:
        """The strengths, strongest first."""
        return np.geomspace(self.strongest, self.weakest, self.strengths)

    def check(self, num_examples: int) -> None:
        """Raise ValueError for settings that do not fit together, or not so many examples."""
        if self.weakest > self.strongest:
            raise ValueError(
                f"--weakest {self.weakest:g} must be at most --strongest {self.strongest:g}"
            )
        if self.folds == 1:
            raise ValueError("--folds must be 0, for a validation part, or at least 2, got 1")
        if self.folds > num_examples:
            raise ValueError(f"--folds {self.folds}: there are only {num_examples} training rows")
