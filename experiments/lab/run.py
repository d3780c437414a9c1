"""Runs experiments: one alone, or all in the lecture's order, and writes the page.

A finished experiment is read from its record.  One that fails is told on the page and in
the exit status, and the others run.  Ctrl-C ends the work with the page of what stands.
"""

import dataclasses
import importlib
import sys
import time
import traceback
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl

from experiments import ORDER
from experiments.lab import closing, gate, options, page, progress, record, style, words
from experiments.lab.experiment import Experiment, Findings, Plot
from experiments.lab.page import Section


class Job(NamedTuple):
    """One experiment on one data set with its settings."""

    title: str
    module: Experiment
    settings: Any
    common: options.Common

    @property
    def source(self) -> Path:
        return Path(sys.modules[f"experiments.{self.title}"].__file__ or "")


def modules(titles: Sequence[str] = ORDER) -> dict[str, Experiment]:
    """The experiments' modules by name, in the order given."""
    return {title: importlib.import_module(f"experiments.{title}") for title in titles}


def listing() -> str:
    """One line per experiment for --list: slides, name, seconds, question."""
    rows = [
        f"{module.SLIDES:>7}  {title:<18} {module.SECONDS:>3.0f} s  {module.QUESTION}"
        for title, module in modules().items()
    ]
    return "\n".join([f"{'slides':>7}  {'experiment':<18} {'time':>5}  question", *rows])


def main(source: str, argv: Sequence[str] | None = None) -> int:
    """The program of one experiment, given its `__file__`; returns the exit status."""
    title = Path(source).stem
    module = modules([title])[title]
    description = f"Slides {module.SLIDES}: {module.QUESTION}"
    return _program([title], f"python -m experiments.{title}", description, argv)


def main_all(argv: Sequence[str] | None = None) -> int:
    """The program of all experiments; returns the exit status."""
    description = "The lecture's experiments, in its order, on one data set; ends with a page."
    return _program(ORDER, "python -m experiments", description, argv)


def _program(titles: Sequence[str], prog: str, description: str, argv: Sequence[str] | None) -> int:
    found = modules(titles)
    groups = {title: module.Settings for title, module in found.items()}
    parser = options.build(prog, description, groups, listing)
    common, settings = options.parse(parser, groups, argv)
    try:
        gate.load(common.dataset, common.data_dir, common.data_url)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    jobs = [Job(title, found[title], settings[title], common) for title in titles]
    return run(jobs)


def run(jobs: Sequence[Job]) -> int:
    """Run the jobs and write the page after each; 0, 1 if one failed, 130 after Ctrl-C."""
    began, sections = time.perf_counter(), list[Section]()
    folder = home(jobs[0].common)
    try:
        for place, job in enumerate(jobs, 1):
            progress.say(f"[{place}/{len(jobs)}] {job.title}: {job.module.QUESTION}")
            sections.append(attempt(job, folder))
            if len(jobs) > 1:
                publish(folder, sections, [job.title for job in jobs[place:]])
    except KeyboardInterrupt:
        progress.say("Stopped. The same command goes on from here.")
        return 130
    print("\n".join(summary(folder, sections, time.perf_counter() - began)))
    return int(any(section.error for section in sections))


def publish(folder: Path, sections: Sequence[Section], pending: Sequence[str]) -> None:
    """Write the page of what stands, at the end with the figure of all classifiers."""
    records = [section.record for section in sections if section.record]
    comparison = None
    if not pending and closing.rows(records):
        with mpl.rc_context(style.PARAMETERS):
            comparison = closing.draw(records)
            style.save(comparison, folder)
    page.write(folder, sections, comparison, pending)


def home(common: options.Common) -> Path:
    """The folder of a data set's results."""
    name = gate.load(common.dataset, common.data_dir, common.data_url).name
    return Path(common.out) / (f"{name}-smoke" if common.smoke else name)


def attempt(job: Job, folder: Path) -> Section:
    """Run one job; whatever goes wrong becomes a section that says so."""
    command = options.command(job.title, job.common, job.settings)
    section = Section(job.title, job.module, command)
    try:
        found = finished(job, folder / job.title)
        findings, plots = present(job.module, found, folder / job.title)
        return section._replace(record=found, findings=findings, plots=plots)
    except Exception as error:
        traceback.print_exc()
        return section._replace(error=f"{type(error).__name__}: {error}")


def finished(job: Job, folder: Path) -> record.Record:
    """The job's record: the one on disk if nothing that decides it has changed, else a new one."""
    data = gate.Data(gate.load(job.common.dataset, job.common.data_dir, job.common.data_url))
    versions = record.versions()
    mark = record.fingerprint(job.source, job.settings, job.common.seed, data.digest, versions)
    found = record.load(folder)
    if found is not None and found.meta["fingerprint"] == mark and not job.common.again:
        progress.say("    already finished; --again computes it again")
        return found
    began = time.perf_counter()
    outcome = job.module.compute(data, _key(job), job.settings)
    outcome.seconds["all"] = time.perf_counter() - began
    record.save(folder, _provenance(job, data, versions, mark), outcome)
    found = record.load(folder)
    if found is None:
        raise OSError(f"cannot read back what was just written to {folder}")
    return found


def _provenance(
    job: Job, data: gate.Data, versions: dict[str, str], fingerprint: str
) -> dict[str, Any]:
    """What results.json says beside the numbers."""
    return {
        "experiment": job.title,
        "slides": job.module.SLIDES,
        "fingerprint": fingerprint,
        "settings": record.plain(dataclasses.asdict(job.settings)),
        "seed": job.common.seed,
        "smoke": job.common.smoke,
        "data": record.of_data(data),
        "versions": versions,
        "device": record.device(),
        "test_set": {"times_used": len(data.test_uses), "for": data.test_uses},
    }


def _key(job: Job) -> jax.Array:
    """The key of a job, from the seed and the name: no two experiments draw alike."""
    return jax.random.fold_in(jax.random.key(job.common.seed), zlib.crc32(job.title.encode()))


def present(module: Experiment, found: record.Record, folder: Path) -> tuple[Findings, list[Plot]]:
    """Findings and figures of a record; the figures are saved beside it."""
    with mpl.rc_context(style.PARAMETERS):
        plots = list(module.draw(found))
        for plot in plots:
            style.save(plot, folder)
    return module.findings(found), plots


def summary(folder: Path, sections: Sequence[Section], seconds: float) -> list[str]:
    """What is printed at the end: the findings, the classifiers, the paths."""
    lines = []
    for section in sections:
        lines += ["", f"{section.title} (slides {section.module.SLIDES})"]
        if section.findings is None:
            lines.append(f"  FAILED: {section.error}")
            continue
        lines += [f"  {sentence}" for sentence in section.findings.sentences]
        lines.append(f"  The slides' claim: {section.findings.verdict}.")
    lines += ["", *closing.texts([section.record for section in sections if section.record])]
    wrote = folder / "index.html" if len(sections) > 1 else folder / sections[0].title
    return [*lines, "", f"{words.duration(seconds)}; wrote {wrote}"]
