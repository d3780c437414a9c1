"""What a probe was asked for: the command line, the data, and what does not fit together."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import jobs as questions
from experiments.lab import gate, options, progress
from experiments.probe import choosing, measures, protocols, sets, store
from experiments.probe.groups import Groups, column, read_groups
from experiments.probe.sets import EvaluationSet
from experiments.probe.settings import Settings
from lincls import checks, files
from lincls.data.dataset import Dataset


@dataclass(frozen=True)
class Job:
    """What was asked for, and the data."""

    settings: Settings
    common: Any  # options.Common, or a class with more flags
    data: gate.Data
    groups: Groups
    further: Sequence[EvaluationSet] = ()

    @cached_property
    def digest(self) -> str:
        """Of the data and their groups."""
        groups = (np.zeros(0) if part is None else np.asarray(part) for part in self.groups)
        return self.data.digest + files.digest(groups)

    @cached_property
    def mark(self) -> str:
        """The fingerprint of all that decides the results, further test sets as well."""
        source = Path(__file__).with_name("computing.py")
        digest = self.digest + "".join(one.part for one in self.further)
        return store.mark_of(source, self.settings, self.common.seed, digest)

    @property
    def name(self) -> str:
        """What tables of several jobs call it: the data, and the protocol if there is one."""
        protocol = self.settings.protocol[0]
        return self.data.name if protocol == "none" else f"{self.data.name}, {protocol}"

    @property
    def home(self) -> Path:
        """The folder of all probes of data of this name."""
        return questions.home_of(self.common, self.data.name) / "probe"

    @property
    def folder(self) -> Path:
        """The folder of these results; other data or settings have another."""
        return self.home / self.mark


def refuse(settings: Settings, data: gate.Data, groups: np.ndarray | None) -> None:
    """Raise ValueError for settings that do not fit together, or not these data."""
    measures.check(settings.metrics)
    if len(present := np.unique(data.train.labels)) < 2:
        raise ValueError(
            f"all training examples have the label {data.class_names[present[0]]}; a probe needs "
            "two classes"
        )
    if not settings.shot_counts:
        raise ValueError("--shots must name a number of examples, or all")
    if settings.choose_on == "shots":
        _check_shots(settings)
    if settings.weakest > settings.strongest:
        raise ValueError(
            f"--weakest {settings.weakest:g} must be at most --strongest {settings.strongest:g}"
        )
    num_examples = len(data.train.labels)
    most, of = num_examples, "training examples"
    if groups is not None:
        most, of = len(np.unique(groups)), f"groups in {settings.groups}"
    if settings.num_folds > most:
        raise ValueError(f"--folds {settings.num_folds}: there are only {most} {of}")
    choosing.held_out(jax.random.key(0), np.asarray(data.train.labels), settings, groups)
    checks.rows(data.train.images, "features")


def _check_shots(settings: Settings) -> None:
    """ValueError where few shots cannot choose on folds of their own."""
    if 1 in settings.shot_counts.values():
        raise ValueError("--choose-on shots needs at least 2 shots, and --shots has 1")
    if settings.grouped:
        raise ValueError("--choose-on shots draws folds without groups; leave out grouped")


def read(argv: Sequence[str] | None, description: str, shared: type = options.Common) -> list[Job]:
    """The command line and the data, a job for each feature file and protocol.

    Whatever is wrong with them ends the program.  `shared` has the flags beside the settings.
    """
    groups = {"probe": Settings}
    parser = options.build(
        "python -m experiments.probe", description, groups, lambda: "probe", shared
    )
    typed = sys.argv[1:] if argv is None else list(argv)
    common, chosen = options.parse(parser, groups, typed, shared)
    with parser.refusing():
        return list(_asked(common, chosen["probe"], typed))


def _asked(common: options.Common, settings: Settings, typed: Sequence[str]) -> Iterator[Job]:
    of_protocols = protocols.applied(settings, typed)
    for sentence in protocols.unread(of_protocols, typed):
        progress.say(sentence)
    first = None
    for path in (common.dataset, *settings.others):
        of_file = replace(common, dataset=path)
        dataset = gate.of(of_file, column(path, settings))
        first = first or dataset
        _check_same_test(first, dataset, path)
        further = sets.further(path, dataset)
        for each in of_protocols:
            data = gate.Data(dataset)
            job = Job(each, of_file, data, read_groups(path, each, data), further)
            refuse(each, data, job.groups.train)
            yield job


def _check_same_test(first: Dataset, other: Dataset, path: str) -> None:
    """ValueError if the labels of the test examples differ, or their order."""
    wanted, found = (np.asarray(each.class_names)[each.test.labels] for each in (first, other))
    if not np.array_equal(wanted, found):
        raise ValueError(
            f"--others {path}: its {len(found):,} test labels must be the {len(wanted):,} of "
            "--dataset, in the same order; results are compared example by example"
        )
