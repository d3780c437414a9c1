"""How long training takes, beside the engines that people use, in one run.

    python -m experiments.bench_train --minutes 10
    python -m experiments.bench_train --parts probe

Everyone trains the same model on the same generated pixels: one epoch of minibatch SGD on
`mean loss + reg * sum W**2`, pixels minus their mean and over one scale.  torch and the
plain optax loop get the batches of lincls and must end with its loss; scikit-learn's
SGDClassifier trains its own loss, one class against the rest, one example at a time.
Rounds alternate between the engines, and the tables have medians; first calls, which
compile, are apart.  `probe` is the linear probe of experiments.probe on generated embeddings,
every strength on every fold, beside one LogisticRegression at the strength chosen.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from experiments import jobs
from experiments.bench import timing, trainers
from experiments.lab import options, progress, record
from experiments.lab.options import flag
from experiments.probe import choosing, probing
from experiments.report import style
from experiments.report.findings import Plot
from lincls import crossval, files, linear, losses, preprocessing, splits
from lincls.objective import Objective
from lincls.structs import Hyper
from lincls.training import Recipe

GRIDS = (1, 8, 64, 256)
SIZES = ("num_examples", "num_features", "num_classes", "batch_size")
PARTS = ("one_epoch", "grids", "growth", "cross_validation", "probe")


@dataclass(frozen=True)
class Settings:
    minutes: float = flag(10.0, "after them no further round begins", low=0.1)
    num_examples: int = flag(50_000, "training examples", low=100, smoke=500)
    num_features: int = flag(3072, "pixels of an example", low=2, smoke=48)
    num_classes: int = flag(10, "classes", low=2)
    batch_size: int = flag(256, "examples in a minibatch", low=1)
    rounds: int = flag(5, "rounds of each comparison, of which the median counts", low=1, smoke=1)
    folds: int = flag(5, "folds of the cross-validation", low=2)
    strengths: int = flag(12, "strengths of the cross-validation", low=1, smoke=2)
    epochs: int = flag(10, "epochs of the cross-validation", low=1, smoke=1)
    embeddings: int = flag(50_000, "training examples of the probe", low=100, smoke=400)
    embedding: int = flag(768, "features of each", low=2, smoke=16)
    embedding_classes: int = flag(100, "classes of the probe", low=2, smoke=5)
    probe_strengths: int = flag(40, "strengths of the probe", low=1, smoke=3)
    engines: tuple[str, ...] = flag(
        trainers.PACKAGES, "whose trainers run one epoch", choices=trainers.PACKAGES
    )
    parts: tuple[str, ...] = flag(PARTS, "which comparisons", choices=PARTS)


def problem(settings: Settings, loss: str, **changes: int) -> trainers.Task:
    """The task of these sizes, some of them changed."""
    sizes = {name: changes.get(name, getattr(settings, name)) for name in SIZES}
    return trainers.make(loss, **sizes)


def side_by_side(
    runs: Mapping[str, Callable[[], Any]], rounds: int, until: float
) -> dict[str, Any]:
    """First call and median seconds of each, in rounds that alternate between them.

    After the time `until` no further round begins, so at least one is measured.
    """
    first, results = {}, {}
    for name, call in runs.items():
        first[name], results[name] = timing.timed(call)
    seconds = timing.alternate(runs, rounds, until)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    rounds_done = len(seconds[next(iter(runs))])
    return {"first": first, "median": median, "rounds": rounds_done, "results": results}


def one_epoch(settings: Settings, until: float) -> list[dict[str, Any]]:
    """Every engine on one epoch of each loss: seconds, and the loss it ends with."""
    rows = []
    for loss in trainers.LOSSES:
        task = problem(settings, loss)
        runs = trainers.runs(task, settings.engines)
        found = side_by_side(runs, settings.rounds, until)
        for name in runs:
            same = name in trainers.SAME_LOSS
            end = trainers.final_loss(task, *found["results"][name]) if same else None
            rows.append({
                "loss": loss, "engine": name, "seconds": found["median"][name],
                "first_call": found["first"][name], "final_loss": end, "rounds": found["rounds"],
            })  # fmt: skip
    return rows


def grids(settings: Settings, until: float) -> list[dict[str, Any]]:
    """lincls on 1, 8, 64 and 256 strengths at once, beside torch on one."""
    rows = []
    for loss in trainers.LOSSES:
        task = problem(settings, loss)
        runs: dict[str, Any] = {str(G): partial(trainers.lincls_grid, task, G) for G in GRIDS}
        if "torch" not in trainers.missing():
            runs["torch"] = partial(trainers.torch_eager, task)
        found = side_by_side(runs, min(3, settings.rounds), until)
        for G in GRIDS:
            seconds = found["median"][str(G)]
            torch = found["median"].get("torch")
            rows.append({
                "loss": loss, "settings": G, "seconds": seconds, "per_setting": seconds / G,
                "torch": torch, "times_torch": torch and torch / (seconds / G),
            })  # fmt: skip
    return rows


def growth(settings: Settings, until: float) -> list[dict[str, Any]]:
    """One epoch of lincls and torch as one size of the problem changes."""
    base = asdict(settings)
    rows = []
    for name in ("num_examples", "num_features", "num_classes", "batch_size"):
        for factor in (0.25, 0.5, 1, 2):
            value = max(2, int(base[name] * factor))
            task = problem(settings, "softmax", **{name: value})
            runs: dict[str, Any] = {"lincls": partial(trainers.lincls_grid, task)}
            if "torch" not in trainers.missing():
                runs["torch, eager"] = partial(trainers.torch_eager, task)
            median = side_by_side(runs, min(3, settings.rounds), until)["median"]
            rows.append({"of": name, "value": value, **median})
    return rows


def cross_validation(settings: Settings) -> dict[str, Any]:
    """F folds x G strengths x epochs, compilation included; the peer is timed once.

    The peer trains as many epochs as its half of the minutes allows, and its time is
    scaled up to all; `peer_epochs` says how many.
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    task = problem(settings, "hinge")
    regs = np.geomspace(1e-5, 1, settings.strengths)
    folds = splits.folds(len(task.y), settings.folds)
    seconds, folded = timing.timed(partial(
        crossval.linear, trainers.KEY, task.X, task.y, folds,
        Recipe(Objective(losses.hinge), batch_size=task.batch_size),
        Hyper({"learning_rate": task.rate}, regs), num_steps=settings.epochs * task.num_steps,
        affine=task.affine,
    ))  # fmt: skip
    X = np.asarray(preprocessing.apply(task.affine, task.X))
    an_epoch, _ = timing.timed(lambda: SGDClassifier(max_iter=1, tol=None).fit(X, task.y))
    work = settings.folds * settings.strengths * an_epoch / record.device()["cores"]
    epochs = int(np.clip(30 * settings.minutes / work, 1, settings.epochs))
    search = GridSearchCV(
        SGDClassifier(max_iter=epochs, tol=None), {"alpha": list(2 * regs)},
        cv=PredefinedSplit(folds), n_jobs=-1, refit=False,
    )  # fmt: skip
    peer, _ = timing.timed(lambda: search.fit(X, task.y))
    return {
        "folds": settings.folds, "strengths": settings.strengths, "epochs": settings.epochs,
        "lincls": seconds, "best": float(folded.accuracies.mean(axis=1).max()),
        "peer": peer * settings.epochs / epochs, "peer_epochs": epochs,
        "peer_best": float(search.best_score_), "times": peer * settings.epochs / epochs / seconds,
    }  # fmt: skip


def probe_of_embeddings(settings: Settings) -> dict[str, Any]:
    """Seconds and test accuracy of the chosen linear probe, and of scikit-learn's optimum."""
    from sklearn.linear_model import LogisticRegression

    X, y, test_X, test_y = trainers.embeddings(
        settings.embeddings, settings.embedding, settings.embedding_classes
    )
    how = choosing.Settings(probes=("linear",), folds=(f"{settings.folds}",),
                         strengths=settings.probe_strengths)  # fmt: skip

    def choose() -> probing.Chosen:
        held = choosing.held_out(trainers.KEY, y, how)
        rotated, classes = probing.rotate(X), settings.embedding_classes
        task = choosing.Task(0, trainers.KEY, X, rotated, y, classes, held)
        return choosing.choose_linear(task, "all", how)

    seconds, chosen = timing.timed(choose)
    affine = preprocessing.fit(X)
    rows, test_rows = (np.asarray(preprocessing.apply(affine, part)) for part in (X, test_X))
    peer = LogisticRegression(C=1 / (2 * len(y) * chosen.value), max_iter=1000)
    peer_seconds, _ = timing.timed(lambda: peer.fit(rows, y))
    predicted = np.argmax(linear.scores(chosen.model, test_X), axis=1)
    return {
        "trainings": settings.folds * settings.probe_strengths + 1, "seconds": seconds,
        "reg": chosen.value, "accuracy": float(np.mean(predicted == test_y)),
        "peer_seconds": peer_seconds, "peer_accuracy": float(peer.score(test_rows, test_y)),
    }  # fmt: skip


def measured(settings: Settings) -> dict[str, Any]:
    """The parts chosen; those made of rounds share three quarters of the minutes."""
    in_rounds = {"one_epoch": one_epoch, "grids": grids, "growth": growth}
    once = {"cross_validation": cross_validation, "probe": probe_of_embeddings}
    share = 45 * settings.minutes / max(1, sum(part in in_rounds for part in settings.parts))
    found: dict[str, Any] = {}
    for part in (part for part in PARTS if part in settings.parts):
        progress.say(part.replace("_", " "))
        if part in in_rounds:
            found[part] = in_rounds[part](settings, time.monotonic() + share)
        else:
            found[part] = once[part](settings)
    return found


# --- what is said about it -------------------------------------------------------------------


def lines(found: dict[str, Any]) -> list[str]:
    """The tables of the parts that were run, for reading."""
    tell: dict[str, Callable[[Any], list[str]]] = {
        "one_epoch": _epochs, "grids": _grids, "cross_validation": _folds, "probe": _probe
    }  # fmt: skip
    return [line for part, say in tell.items() if part in found for line in ["", *say(found[part])]]


def _probe(found: dict[str, Any]) -> list[str]:
    return [
        f"linear probe, {found['trainings']} trainings: {found['seconds']:.0f} s with compilation, "
        f"test accuracy {100 * found['accuracy']:.2f} %",
        f"one LogisticRegression at its strength: {found['peer_seconds']:.0f} s, "
        f"{100 * found['peer_accuracy']:.2f} %",
    ]


def _epochs(rows: list[dict[str, Any]]) -> list[str]:
    told = [
        f"{'loss':8} {'engine':28} {'epoch':>8} {'first call':>10} {'over ours':>9}  final loss"
    ]
    for row in rows:
        ours = next(r["seconds"] for r in rows if r["loss"] == row["loss"])
        end = "its own" if row["final_loss"] is None else f"{row['final_loss']:.5f}"
        told.append(
            f"{row['loss']:8} {row['engine']:28} {row['seconds']:6.3f} s "
            f"{row['first_call']:8.2f} s {row['seconds'] / ours:8.1f}x  {end}"
        )
    return told


def _grids(rows: list[dict[str, Any]]) -> list[str]:
    told = [f"{'loss':8} {'settings':>8} {'epoch':>8} {'each':>9}  torch / each"]
    for row in rows:
        times = "no torch" if row["torch"] is None else f"{row['times_torch']:.1f}x"
        told.append(
            f"{row['loss']:8} {row['settings']:8} {row['seconds']:6.2f} s "
            f"{1000 * row['per_setting']:6.1f} ms  {times}"
        )
    return told


def _folds(cv: dict[str, Any]) -> list[str]:
    return [
        f"{cv['folds']} folds x {cv['strengths']} strengths x {cv['epochs']} epochs:",
        f"lincls {cv['lincls']:.1f} s with compilation, accuracy {cv['best']:.3f}",
        f"GridSearchCV(SGDClassifier) {cv['peer']:.0f} s (measured on {cv['peer_epochs']} epochs), "
        f"{cv['times']:.1f}x; accuracy {cv['peer_best']:.3f}",
    ]


def draw(found: dict[str, Any]) -> Plot:
    """Seconds of an epoch against each size of the problem."""
    names = [name for name in ("lincls", "torch, eager") if name in found["growth"][0]]
    figure, axes = style.canvas(2, 2, height=5.0, title="Seconds of one epoch, softmax loss")
    for place, of in zip(axes.flat, SIZES, strict=True):
        rows = [row for row in found["growth"] if row["of"] == of]
        for name, marker, color in zip(names, style.MARKERS, style.CYCLE, strict=False):
            values, seconds = zip(*((row["value"], row[name]) for row in rows), strict=True)
            place.plot(values, seconds, marker=marker, color=color, label=name)
        place.set(xlabel=of.replace("_", " ").replace("num", "number of"), ylim=(0, None))
        place.set_ylabel("seconds")
    style.legend(figure)
    return Plot("growth", figure, "Medians; the other sizes stay as they are.", "Four line charts.")


def main(argv: list[str] | None = None) -> int:
    """Run the comparisons; print the tables, write results.json and growth.png."""
    groups = {"bench_train": Settings}
    parser = options.build(
        "python -m experiments.bench_train", __doc__ or "", groups, lambda: "bench_train",
        options.Output,
    )  # fmt: skip
    common, chosen = options.parse(parser, groups, argv, options.Output)
    settings: Settings = chosen["bench_train"]
    folder = Path(common.out) / ("bench_train-smoke" if common.smoke else "bench_train")
    with parser.refusing():
        jobs.check_writable(folder)
    for package in trainers.missing():
        progress.say(f"{package} is not installed and takes no part: pip install {package}")
    found = {
        "settings": asdict(settings), "versions": record.versions(), "device": record.device(),
        "missing": trainers.missing(),
    } | measured(settings)  # fmt: skip
    text = json.dumps(record.plain(found), indent=2) + "\n"
    files.write(folder / record.RESULTS, lambda file: file.write(text.encode()))
    if "growth" in found:
        with mpl.rc_context(style.PARAMETERS):
            style.save(draw(found), folder)
    print("\n".join([*lines(found), f"wrote {folder}"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
