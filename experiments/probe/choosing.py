"""What a probe of embeddings does: its settings, what it chooses, and the test of that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lab import gate, progress
from experiments.lab.options import flag
from experiments.probe import probing, results
from experiments.probe.probing import PROBES, Chosen
from lincls import checks, evaluation, knn, linear, splits
from lincls.structs import LinearParams


@dataclass(frozen=True)
class Settings:
    probes: tuple[str, ...] = flag(tuple(PROBES), "which probes", choices=tuple(PROBES))
    normalise: str = flag(
        "scale", "scale: minus the mean, over one scale; unit: rows of norm 1 before that",
        choices=("scale", "unit"),
    )  # fmt: skip
    folds: tuple[str, ...] = flag(
        ("0",), "choose on so many folds, stratified unless followed by the word grouped (which "
        "alone means 5 grouped); 0: on a validation part",
    )  # fmt: skip
    groups: str = flag("groups", "the array of the file that has every training example's group")
    validation: float = flag(0.2, "share of the validation part, between 0 and 1", low=0)
    shots: tuple[str, ...] = flag(("all",), "training examples of each class; all: every one")
    seeds: int = flag(3, "how often all that is random is drawn, from --seed on", low=1, smoke=2)
    strengths: int = flag(40, "strengths of the L2 penalty, as powers of one ratio", low=1, smoke=5)
    weakest: float = flag(1e-6, "the least of them, for features of average variance 1", low=1e-9)
    strongest: float = flag(10.0, "the greatest of them", low=1e-9)
    epochs: float = flag(2.0, "passes of the linear probe over its examples", low=0)
    examples: int = flag(120_000, "examples it sees at least", low=1, smoke=20_000)
    steps: int = flag(
        2000, "steps it takes at least, on up to 3,000 examples; on N more, 3,000 / N of them",
        low=1, smoke=200,
    )  # fmt: skip
    batch_size: int = flag(512, "examples in a minibatch at most", low=1)
    learning_rate: float = flag(1e-3, "step size of RMSprop at strength 1e-3", low=1e-9)
    num_neighbors: int = flag(100, "the greatest k; every smaller one is tried", low=1, smoke=10)
    temperature: float = flag(0.07, "T of the vote exp(cosine / T)", low=1e-3)
    samples: int = flag(1000, "test sets that the bootstrap draws", low=2, smoke=50)

    @property
    def regs(self) -> np.ndarray:
        """The strengths, strongest first."""
        return np.geomspace(self.strongest, self.weakest, self.strengths)

    @property
    def shot_counts(self) -> dict[str, int | None]:
        """What was typed -> the number, None for all; commas separate as spaces do."""
        typed = [word for text in self.shots for word in text.split(",") if word]
        for word in typed:
            if word != "all" and not (word.isdecimal() and int(word) > 0):
                raise ValueError(f"--shots must be whole numbers from 1 on, or all, got {word!r}")
        return {word: None if word == "all" else int(word) for word in typed}

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
    def plan(self) -> probing.Plan:
        return probing.Plan(
            self.epochs, self.examples, self.batch_size, self.learning_rate, self.steps
        )


def read_groups(path: str, name: str, num_examples: int) -> np.ndarray:
    """The group (N,) of every training example: an array of an .npz file, or a folder's .npy.

    Raises:
        ValueError: no such array, of another length than the training set, or with NaN.
    """
    source = Path(path)
    source = source.parent if source.suffix == ".npy" else source
    try:
        if source.is_dir():
            groups = np.load(source / f"{name}.npy", allow_pickle=False)
        else:
            with np.load(source, allow_pickle=False) as arrays:
                groups = arrays[name]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"--folds grouped needs an array {name} in {path}: {error}") from error
    if groups.shape != (num_examples,):
        raise ValueError(
            f"{name} must have shape ({num_examples},), one group for each training example, got "
            f"{groups.shape}; a file for grouped folds has X_train and X_test apart"
        )
    if np.any(unknown := groups != groups):
        raise ValueError(
            f"{name} must give every training example a group, got {groups[unknown][0]} in row "
            f"{int(unknown.argmax())} and {unknown.sum()} times in all"
        )
    return groups


class Task(NamedTuple):
    """The training set of one seed, and what is held out of it to choose on."""

    seed: int
    key: jax.Array
    X: np.ndarray  # (N, D), unit rows if so chosen
    rotated: probing.Rotated
    y: np.ndarray
    num_classes: int
    held: np.ndarray  # (P, N) bool: P = 1 validation part, or the folds

    def weights(self, shots: int | None, *, to_choose: bool) -> np.ndarray:
        """(P, N) of the trainings that choose, (1, N) of the last one."""
        present = ~self.held if to_choose else np.ones((1, len(self.y)), bool)
        return probing.shot_weights(jax.random.fold_in(self.key, 1), self.y, present, shots)


# --- choosing, without the test set ------------------------------------------------------------


def tasks(
    data: gate.Data, settings: Settings, seed: int, groups: np.ndarray | None = None
) -> Iterator[Task]:
    """One task per seed; the features are prepared once."""
    y = np.asarray(data.train.labels)
    X = features(data.train.images, power_of(data), settings)
    rotated = probing.rotate(X)
    for number in range(seed, seed + settings.seeds):
        key = jax.random.key(number)
        held = held_out(key, y, settings, groups)
        yield Task(number, key, X, rotated, y, data.num_classes, held)


def features(images: np.ndarray, power: int, settings: Settings) -> np.ndarray:
    """Rows (N, D) over 2**power, of norm 1 if so chosen, in the byte order of this machine."""
    X = checks.rows(images, "features")
    X = probing.scaled(X.astype(X.dtype.newbyteorder("="), copy=False), power)
    return probing.unit_rows(X) if settings.normalise == "unit" else X


def power_of(data: gate.Data) -> int:
    return probing.exponent(checks.rows(data.train.images, "features"))


def held_out(
    key: jax.Array, y: np.ndarray, settings: Settings, groups: np.ndarray | None = None
) -> np.ndarray:
    """(P, N) bool: the validation part, or fold after fold."""
    if settings.grouped:
        if groups is None:
            raise ValueError("grouped folds need the groups of the training examples")
        return splits.train_weights(splits.grouped_folds(key, groups, settings.num_folds)) == 0
    if settings.num_folds:
        return splits.train_weights(splits.stratified_folds(key, y, settings.num_folds)) == 0
    return splits.validation_mask(key, y, settings.validation)[None]


def choose_linear(task: Task, shots: str, settings: Settings) -> Chosen:
    """Train every strength on every part in one program; refit the best, strongest of equals.

    Raises:
        probing.Diverged: every strength, or the last training, left what has a meaning.
    """
    count, regs = settings.shot_counts[shots], settings.regs
    num_parts = len(task.held)
    train = partial(
        probing.fit_linear, jax.random.fold_in(task.key, 2), task.rotated, task.y,
        task.num_classes, plan=settings.plan,
    )  # fmt: skip
    weights = np.tile(task.weights(count, to_choose=True), (len(regs), 1))
    watch = progress.watcher(f"linear, shots {shots}: {len(weights)} trainings")
    params, diverged = train(weights, np.repeat(regs, num_parts), on_step=watch)
    lost = np.reshape(diverged, (len(regs), num_parts)).any(axis=1)
    grid = LinearParams(*(np.reshape(leaf, (len(regs), num_parts, *leaf.shape[1:]))
                          for leaf in params))  # fmt: skip
    accuracy = probing.linear_accuracies(grid, task.rotated, task.y, task.held).mean(axis=1)
    best = int(np.where(lost, -1, accuracy).argmax())
    last, failed = train(task.weights(count, to_choose=False), regs[best : best + 1])
    if lost.all() or failed.any():
        raise probing.Diverged(
            f"the linear probe diverged; --learning-rate {settings.learning_rate:g} is too great "
            "for these features"
        )
    if lost.any():
        progress.say(f"{lost.sum()} of {len(regs)} strengths diverged and are left out, from "
                     f"{regs[lost].min():.1e} to {regs[lost].max():.1e}")  # fmt: skip
    model = probing.on_rows(LinearParams(last.W[0], last.b[0]), task.rotated)
    return Chosen("linear", shots, task.seed, float(regs[best]), float(accuracy[best]), model)


def choose_knn(task: Task, shots: str, settings: Settings) -> list[Chosen]:
    """Every k of every kNN probe from one search a metric and part; the smallest of equals."""
    count = settings.shot_counts[shots]
    weights = task.weights(count, to_choose=True)
    remembered = task.weights(count, to_choose=False)[0]
    found = []
    for metric in metrics(settings):
        by_part: dict[str, list[np.ndarray]] = {}
        for weight, held in zip(weights, task.held, strict=True):
            near = nearest(metric, task, weight, task.X[held], settings)
            for probe in probes_of(metric, settings):
                predictions = vote(probe, near, task.num_classes, settings)[1]
                by_part.setdefault(probe, []).append((predictions == task.y[held]).mean(axis=1))
        for probe, parts in by_part.items():
            shortest = min(map(len, parts))
            accuracy = np.mean([part[:shortest] for part in parts], axis=0)
            k = int(accuracy.argmax()) + 1
            found.append(Chosen(probe, shots, task.seed, k, float(accuracy[k - 1]), remembered))
    return found


def metrics(settings: Settings) -> list[str]:
    """The metrics that are searched with, each once."""
    return list(dict.fromkeys(m for p in settings.probes if (m := PROBES[p][1]) is not None))


def probes_of(metric: str, settings: Settings) -> list[str]:
    return [probe for probe in settings.probes if PROBES[probe][1] == metric]


def nearest(
    metric: str, task: Task, weight: np.ndarray, queries: np.ndarray, settings: Settings
) -> probing.Near:
    there = weight > 0
    watch = progress.watcher(f"{metric}: {len(queries):,} queries")
    return probing.search(
        metric, task.X[there], task.y[there], queries, settings.num_neighbors,
        settings.temperature, watch,
    )  # fmt: skip


def vote(
    probe: str, near: probing.Near, num_classes: int, settings: Settings, k: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Votes (M, C) of the first k, all by default, and predictions (k, M)."""
    labels = near.labels[:, :k]
    weights = near.weights[:, :k] if probe == "exp" else None
    predictions = knn.predictions_by_k(labels, range(1, labels.shape[1] + 1), num_classes, weights)
    return np.asarray(knn.votes(labels, num_classes, weights)), np.asarray(predictions)


# --- the test ----------------------------------------------------------------------------------


def final_scores(
    task: Task, chosen: Sequence[Chosen], queries: np.ndarray, settings: Settings
) -> Iterator[np.ndarray]:
    """Scores (M, C) of each chosen probe; a search serves all that ask for the same one."""
    searches: dict[Any, probing.Near] = {}
    for one in chosen:
        if one.probe == "linear":
            yield np.asarray(linear.scores(one.model, queries))
            continue
        metric = PROBES[one.probe][1] or ""
        name = (metric, one.model.tobytes())
        if name not in searches:
            searches[name] = nearest(metric, task, one.model, queries, settings)
        yield vote(one.probe, searches[name], task.num_classes, settings, int(one.value))[0]


def choose(
    data: gate.Data, settings: Settings, seed: int, groups: np.ndarray | None = None
) -> tuple[Task, list[Chosen]]:
    """The last task, and every probe of every seed: seed by seed, shots by shots."""
    chosen: list[Chosen] = []
    for task in tasks(data, settings, seed, groups):
        for shots in settings.shot_counts:
            progress.say(f"seed {task.seed}, shots {shots}: choosing")
            if "linear" in settings.probes:
                chosen.append(choose_linear(task, shots, settings))
            chosen += choose_knn(task, shots, settings)
    return task, chosen


def compute(
    data: gate.Data, settings: Settings, seed: int, groups: np.ndarray | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Choose for all seeds, then open the test set: results for JSON, and arrays."""
    task, chosen = choose(data, settings, seed, groups)
    test = data.open_test(f"{len(chosen)} chosen probes")
    labels = np.asarray(test.labels)
    queries = features(test.images, power_of(data), settings)
    of_first, predictions, in_five = [], [], []
    for one, scores in zip(chosen, final_scores(task, chosen, queries, settings), strict=True):
        predictions.append(scores.argmax(axis=1).astype(np.int32))
        of_first += [scores.astype(np.float32)] if one.seed == seed else []
        if one.probe != "linear":  # a class without votes is not among the first
            scores = np.where(scores > 0, scores, -np.inf)
        in_five.append(evaluation.in_top_k(scores, labels, 5))
    arrays = {"predictions": np.stack(predictions), "labels": labels, "scores": np.stack(of_first)}
    arrays |= names_of(chosen, seed, data.class_names)
    values, ends = results.measured(
        jax.random.fold_in(task.key, 3), arrays["predictions"], np.stack(in_five), labels,
        data.num_classes, settings.samples,
    )  # fmt: skip
    rows = [results.row(*each) for each in zip(chosen, values, *ends, strict=True)]
    unseen = np.setdiff1d(labels, data.train.labels)
    found = {"results": rows, "spread": results.spread(rows, arrays["predictions"])}
    return found | {"only_in_test": [data.class_names[c] for c in unseen]}, arrays


def names_of(chosen: Sequence[Chosen], seed: int, class_names: list[str]) -> dict[str, np.ndarray]:
    """What predictions.npz calls its rows and columns, as results.csv does."""
    return {
        "probe": np.array([one.probe for one in chosen]),
        "shots": np.array([one.shots for one in chosen]),
        "seed": np.array([one.seed for one in chosen]),
        "scores_of": np.flatnonzero([one.seed == seed for one in chosen]),  # rows of predictions
        "class_names": np.array(class_names),
    }
