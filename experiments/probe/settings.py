"""What a probe of embeddings can be told: its flags."""

from dataclasses import dataclass

import numpy as np

from experiments.lab.options import flag
from experiments.probe.fits import Plan, Search
from experiments.probe.probing import PROBES

# The learning rates of DINOv2's linear probe (facebookresearch/dinov2, eval/linear.py).
RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)
SELECTIONS = {  # what one is chosen by, and what tables call it
    "top1": "accuracy", "per_class": "the mean accuracy of the classes", "log_loss": "log loss",
}  # fmt: skip
_FEW = 5000  # examples whose optimum takes no longer than early


@dataclass(frozen=True)
class Settings:
    """The flags of the probe."""

    probes: tuple[str, ...] = flag(
        ("linear", "l1", "l2", "cosine", "exp"), "which probes; lsr is least squares",
        choices=tuple(PROBES),
    )  # fmt: skip
    others: tuple[str, ...] = flag(
        (), "more feature files of the same task, such as other layers or models: each is probed "
        "alike, and compared with that of --dataset",
    )  # fmt: skip
    protocol: tuple[str, ...] = flag(
        ("none",), "a published protocol: it sets the flags that are not typed; several give one "
        "table",
    )  # fmt: skip
    normalise: str = flag(
        "scale", "scale: the linear probe subtracts the mean and divides by one number, kNN takes "
        "rows as they are; unit: rows of norm 1 before that; standard: each feature minus its mean "
        "over its own deviation, fitted inside each fold, for all probes; none: as they are",
        choices=("scale", "unit", "standard", "none"),
    )  # fmt: skip
    fit: str = flag(
        "auto", "linear probe, early: so many --epochs of SGD; optimum: L-BFGS to --gap of the "
        "optimum at each strength; sgd: SGD at each of --rates, without a penalty; auto: optimum "
        "for up to 5,000 examples, early for more",
        choices=("auto", "early", "optimum", "sgd"),
    )  # fmt: skip
    gap: float = flag(1e-3, "relative duality gap at which an optimum is near enough", low=0)
    folds: tuple[str, ...] = flag(
        ("0",), "choose on so many folds, stratified unless followed by the word grouped (which "
        "alone means 5 grouped); 0: on a validation part",
    )  # fmt: skip
    groups: str = flag(
        "groups", "the array of the file that has every training example's group; with _test "
        "behind its name, that of the test examples, which then widen the intervals; of a table, "
        "the column",
    )  # fmt: skip
    validation: float = flag(0.2, "share of the validation part", above=0, below=1)
    select: str = flag(
        "top1", "the number on held-out examples by which one is chosen: top1, their accuracy; "
        "per_class, its mean over the classes; log_loss, for the linear probe (k: top1)",
        choices=tuple(SELECTIONS),
    )  # fmt: skip
    choose_on: str = flag(
        "held-out", "what few shots choose on, held-out: all training examples that --folds or "
        "--validation hold out; shots: folds of the few shots themselves, --folds of them (0 means "
        "5), at most one for each shot", choices=("held-out", "shots"),
    )  # fmt: skip
    shots: tuple[str, ...] = flag(
        ("all",), "training examples of each class, as numbers or percentages (1 5 10%); all: "
        "every one",
    )  # fmt: skip
    seeds: int = flag(3, "how often all that is random is drawn, from --seed on", low=1, smoke=2)
    metrics: tuple[str, ...] = flag(
        ("top1", "top5", "per_class", "macro_f1"),
        "what is measured: top1, top5, top10, .., per_class, macro_f1, auroc, ap, log_loss, "
        "brier, ece",
    )  # fmt: skip
    strengths: int = flag(40, "strengths of the L2 penalty, as powers of one ratio", low=1, smoke=5)
    weakest: float = flag(
        1e-6, "the least strength, which multiplies the sum of W squared; features have average "
        "variance 1", low=1e-9,
    )  # fmt: skip
    strongest: float = flag(10.0, "the greatest strength", low=1e-9)
    lsr_strength: float = flag(1024.0, "the strength of lsr, which is not chosen", low=1e-9)
    epochs: float = flag(2.0, "passes of the linear probe over its examples", low=0)
    examples: int = flag(400_000, "examples it sees at least, counted with repetition", low=1,
                         smoke=20_000)  # fmt: skip
    steps: int = flag(
        2000, "steps it takes at least; of N > 3,000 examples 3,000 / N times as many. The longest "
        "of --epochs, --examples and --steps counts",
        low=1, smoke=200,
    )  # fmt: skip
    batch_size: int = flag(512, "examples in a minibatch at most", low=1)
    lengths: tuple[float, ...] = flag(
        (0.125, 1.0), "lengths of early's trainings that are tried, as shares of the whole, each "
        "with a cosine of its own", low=1e-3,
    )  # fmt: skip
    powers: tuple[float, ...] = flag(
        (0.5, 0.125), "early divides gradients by their mean square to this power (0.5: RMSprop); "
        "all are tried at the shortest length, the best at the others", low=0, high=1,
    )  # fmt: skip
    learning_rate: float = flag(1e-3, "step size of early at strength 1e-3, for power 0.5",
                                low=1e-9)  # fmt: skip
    rates: tuple[float, ...] = flag(
        RATES, "learning rates that --fit sgd tries, for batches of 256, in proportion for "
        "others; it takes --examples / --batch-size steps", low=1e-9,
    )  # fmt: skip
    num_neighbors: int = flag(100, "the greatest k; every smaller one is tried", low=1, smoke=10)
    ks: tuple[int, ...] = flag((0,), "only these k are tried; 0: every k up to the greatest", low=0)
    samples: int = flag(1000, "test sets that the bootstrap draws, for log loss and Brier score",
                        low=2, smoke=50)  # fmt: skip
    temperature: float = flag(0.07, "T of the vote exp(cosine / T)", low=1e-3)

    @property
    def regs(self) -> np.ndarray:
        """The strengths, strongest first."""
        return np.geomspace(self.strongest, self.weakest, self.strengths)

    @property
    def shot_counts(self) -> dict[str, int | float | None]:
        """What was typed -> the number, a share for a percentage, None for all.

        Commas separate as spaces do.
        """
        typed = [word for text in self.shots for word in text.split(",") if word]
        return {word: _shots(word) for word in typed}

    @property
    def grouped(self) -> bool:
        return "grouped" in self.folds

    @property
    def num_folds(self) -> int:
        """How many folds, 0 for a validation part."""
        typed = [word for word in self.folds if word != "grouped"] or ["5"]
        number = int(typed[0]) if len(typed) == 1 and typed[0].isdecimal() else -1
        if number >= 2 or (number == 0 and not self.grouped):
            return number
        raise ValueError(
            "--folds must be 0, for a validation part, or at least 2, then perhaps the word "
            f"grouped, got {' '.join(self.folds)}"
        )

    @property
    def folds_of_shots(self) -> int:
        """Into how many folds few shots are cut at most, to choose on."""
        return self.num_folds or 5

    def tried(self, greatest: int) -> np.ndarray:
        """The k that are tried where there are so many neighbours."""
        ks = np.arange(1, greatest + 1)
        asked = [k for k in sorted(set(self.ks)) if 0 < k <= greatest]
        return np.array(asked) if asked else ks

    @property
    def search(self) -> Search:
        """What the linear probe is searched over."""
        if self.fit == "sgd":
            return Search("learning rate", np.unique(self.rates), ("--rates", "--rates"))
        return Search("strength", self.regs, ("--strongest", "--weakest"))

    @property
    def plan(self) -> Plan:
        """How the linear probe is trained, at its full length."""
        return Plan(
            self.epochs, self.examples, self.batch_size, self.learning_rate, self.steps, self.gap
        )

    @property
    def plans(self) -> list[Plan]:
        """What is tried first: of early the shortest length with each power."""
        if self.fit != "early":
            return [self.plan]
        short = self.plan.shorter(min(self.lengths))
        return [short._replace(power=power) for power in dict.fromkeys(self.powers)]

    def longer(self, plan: Plan) -> list[Plan]:
        """What is tried then, with the power that was best."""
        if self.fit != "early":
            return []
        whole = self.plan._replace(power=plan.power)
        return [whole.shorter(share) for share in sorted(set(self.lengths))[1:]]

    def fit_of(self, num_examples: int) -> str:
        """How a linear probe of so many examples is fitted, in the search and at the end."""
        if self.fit != "auto":
            return self.fit
        return "optimum" if num_examples <= _FEW else "early"


def _shots(word: str) -> int | float | None:
    if word == "all":
        return None
    if word.isdecimal() and int(word) > 0:
        return int(word)
    try:
        share = float(word.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if word.endswith("%") and 0 < share <= 1:
        return share
    raise ValueError(
        f"--shots must be whole numbers from 1 on, percentages such as 10%, or all, got {word!r}"
    )
