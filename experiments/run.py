"""Runs experiments: one alone, or all in the lecture's order, and writes the page.

A finished experiment is read from its record.  One that fails is told on the page and in
the exit status, and the others run.  Ctrl-C ends the work with the page of what stands.
"""

import dataclasses
import shlex
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl

from experiments import ORDER, QUICK
from experiments.lab import fingerprint, gate, options, progress, record
from experiments.lab.experiment import Question
from experiments.loading import Broken, entries, without_flags
from experiments.report import page, projector, style, words
from experiments.report.findings import Plot, Report
from experiments.report.page import LeftOut, Section, closing


class Job(NamedTuple):
    """One experiment on one data set with its settings."""

    title: str
    question: Question
    report: Report
    settings: Any
    common: options.Drawn

    @property
    def source(self) -> Path:
        return Path(sys.modules[f"experiments.{self.title}"].__file__ or "")


def listing() -> str:
    """One line per experiment for --list: slides, name, seconds, question; * of --quick."""
    rows = [
        f"{report.SLIDES:>7}  {title:<18} {report.SECONDS:>3.0f} s {'*' if title in QUICK else ' '}"
        f"  {report.QUESTION}"
        for title, (_, report) in entries(ORDER).items()
    ]
    header = f"{'slides':>7}  {'experiment':<18} {'time':>5}    question (* with --quick too)"
    return "\n".join([header, *rows])


def main(source: str, argv: Sequence[str] | None = None) -> int:
    """The program of one experiment, given its `__file__`; returns the exit status."""
    title = Path(source).stem
    report = entries([title])[title].report
    description = f"Slides {report.SLIDES}: {report.QUESTION}"
    return _program([title], f"python -m experiments.{title}", description, argv, options.Drawn)


def main_all(argv: Sequence[str] | None = None) -> int:
    """The program of all experiments; returns the exit status."""
    description = "The lecture's experiments, in its order, on one data set; ends with a page."
    return _program(ORDER, "python -m experiments", description, argv, options.All)


def _program(
    titles: Sequence[str], prog: str, description: str, argv: Sequence[str] | None, shared: type
) -> int:
    found = entries(titles)
    groups = {title: question.Settings for title, (question, _) in found.items()}
    parser = options.build(prog, description, groups, listing, shared)
    typed = sys.argv[1:] if argv is None else list(argv)
    common, settings = options.parse(parser, groups, without_flags(typed, found), shared)
    try:
        gate.load(common.dataset, common.data_dir, common.data_url)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    jobs = [Job(title, *found[title], settings[title], common) for title in titles]
    if not getattr(common, "quick", False):
        return run(jobs)
    omitted = [job for job in jobs if job.title not in QUICK]
    for job in omitted:
        if job.settings != options.values(job.question.Settings, {}, common.smoke):
            parser.error(f"--quick leaves {job.title} out, so its flags would do nothing")
    whole = [*prog.split(), *(word for word in typed if word != "--quick")]
    left_out = LeftOut([section(job) for job in omitted], shlex.join(whole))
    return run([job for job in jobs if job.title in QUICK], left_out)


def run(jobs: Sequence[Job], left_out: LeftOut | None = None) -> int:
    """Run the jobs and write the page after each; 0, 1 if one failed, 130 after Ctrl-C."""
    began, sections, folder = time.perf_counter(), list[Section](), home(jobs[0].common)
    clock = progress.Clock({job.title: expected(job, folder) for job in jobs})
    try:
        for place, job in enumerate(jobs, 1):
            left = f" (about {clock.left():.0f} s left)" if len(jobs) > 1 else ""
            progress.say(f"[{place}/{len(jobs)}] {job.title}: {job.report.QUESTION}{left}")
            sections.append(attempt(job, folder))
            clock.done(job.title)
            if len(jobs) > 1 or left_out:
                publish(jobs, sections, left_out)
    except KeyboardInterrupt:
        progress.say("Stopped. The same command goes on from here.")
        return 130
    print("\n".join(summary(folder, sections, time.perf_counter() - began)))
    if left_out:
        print(f"{len(left_out.sections)} experiments were left out; add them: {left_out.command}")
    return int(any(section.error for section in sections))


def publish(jobs: Sequence[Job], sections: Sequence[Section], left_out: LeftOut | None) -> None:
    """Write the page of what stands, at the end with the figure of all classifiers."""
    records = [section.record for section in sections if section.record]
    folder, pending = home(jobs[0].common), [job.title for job in jobs[len(sections) :]]
    comparison = None
    if not pending and closing.rows(records):
        (comparison,) = drawn(lambda: [closing.draw(records)], folder, jobs[0].common.style)
    page.write(folder, sections, comparison, pending, left_out)


def home(common: options.Common) -> Path:
    """The folder of a data set's results."""
    name = gate.load(common.dataset, common.data_dir, common.data_url).name
    return Path(common.out) / (f"{name}-smoke" if common.smoke else name)


def section(job: Job) -> Section:
    """What the page knows of a job before it has run."""
    return Section(job.title, job.report, options.command(job.title, job.common, job.settings))


def attempt(job: Job, folder: Path) -> Section:
    """Run one job; whatever goes wrong becomes a section that says so."""
    try:
        found = finished(job, folder / job.title)
        draw = partial(job.report.draw, found)
        plots = drawn(draw, folder / job.title, job.common.style)
        findings = job.report.findings(found)
        return section(job)._replace(record=found, findings=findings, plots=plots)
    except Exception as error:
        traceback.print_exc()
        return section(job)._replace(error=f"{type(error).__name__}: {error}")


def finished(job: Job, folder: Path) -> record.Record:
    """The job's record: the one on disk if nothing that decides it has changed, else a new one."""
    found = standing(job, folder)
    if found is not None:
        progress.say("    already finished; --again computes it again")
        return found
    data = _data(job)
    began = time.perf_counter()
    outcome = job.question.compute(data, _key(job), job.settings)
    outcome.seconds["all"] = time.perf_counter() - began
    record.save(folder, _provenance(job, data), outcome)
    found = record.load(folder)
    if found is None:
        raise OSError(f"cannot read back what was just written to {folder}")
    return found


def standing(job: Job, folder: Path) -> record.Record | None:
    """The record in a folder if it is the job's own, finished and of the code as it is now."""
    if isinstance(job.question, Broken):
        return None
    found = None if job.common.again else record.load(folder)
    return found if found and found.meta["fingerprint"] == _mark(job) else None


def expected(job: Job, folder: Path) -> float:
    """Seconds that a job should take; drawing what stands takes one or two."""
    return min(job.report.SECONDS, 1.5) if standing(job, folder / job.title) else job.report.SECONDS


def _data(job: Job) -> gate.Data:
    return gate.Data(gate.load(job.common.dataset, job.common.data_dir, job.common.data_url))


def _mark(job: Job) -> str:
    """The fingerprint of all that decides the job's numbers."""
    return fingerprint.of(job.source, job.settings, job.common.seed, _data(job).digest)


def _provenance(job: Job, data: gate.Data) -> dict[str, Any]:
    """What results.json says beside the numbers."""
    return {
        "experiment": job.title,
        "slides": job.report.SLIDES,
        "fingerprint": _mark(job),
        "settings": record.plain(dataclasses.asdict(job.settings)),
        "seed": job.common.seed,
        "smoke": job.common.smoke,
        "data": record.of_data(data),
        "versions": record.versions(),
        "device": record.device(),
        "test_set": {"times_used": len(data.test_uses), "for": data.test_uses},
    }


def _key(job: Job) -> jax.Array:
    """The key of a job, from the seed and the name: no two experiments draw alike."""
    return jax.random.fold_in(jax.random.key(job.common.seed), zlib.crc32(job.title.encode()))


def drawn(draw: Callable[[], Iterable[Plot]], folder: Path, look: str) -> list[Plot]:
    """The page's figures, saved in the folder; for slides each once more, in that look."""
    with mpl.rc_context(style.PARAMETERS):
        plots = list(draw())
        for plot in plots:
            style.save(plot, folder)
        if look == "slides":
            for plot in draw():
                style.save(projector.for_slides(plot), folder, projector.DPI)
    return plots


def summary(folder: Path, sections: Sequence[Section], seconds: float) -> list[str]:
    """What is printed at the end: the findings, the classifiers, the paths."""
    lines = []
    for section in sections:
        lines += ["", f"{section.title} (slides {section.report.SLIDES})"]
        if section.findings is None:
            lines.append(f"  FAILED: {section.error}")
            continue
        lines += [f"  {sentence}" for sentence in section.findings.sentences]
        lines.append(f"  The slides' claim: {section.findings.summary}.")
    lines += ["", *closing.texts([section.record for section in sections if section.record])]
    wrote = folder / "index.html" if len(sections) > 1 else folder / sections[0].title
    return [*lines, "", f"{words.duration(seconds)}; wrote {wrote}"]
