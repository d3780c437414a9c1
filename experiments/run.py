"""Runs questions: one alone, or all in the lecture's order, and writes the page.

A finished question is read from its record.  One that fails is told on the page and in the exit
status, and the others run.  The page shows every record that stands in the folder of results,
also after one question alone, and after Ctrl-C.
"""

import dataclasses
import functools
import shlex
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl

from experiments import ORDER, QUICK, jobs
from experiments.jobs import Job
from experiments.lab import gate, options, progress, record
from experiments.loading import Entry, entries, fitted, without_flags
from experiments.report import figures, page, projector, style, terminal, words
from experiments.report.findings import Plot
from experiments.report.page import LeftOut, Section, closing

STOPPED = 130  # the exit status of a program that Ctrl-C has ended


class Work(NamedTuple):
    """What a program was asked for.

    Attributes:
        jobs: what it runs.
        others: titles of questions that it does not run, and shows if their records stand.
        everything: the command that runs those as well.
    """

    jobs: Sequence[Job]
    others: Sequence[str] = ()
    everything: Sequence[str] = ()


# --- the programs ----------------------------------------------------------------------------


def main(source: str, argv: Sequence[str] | None = None) -> int:
    """The program of one question, given its `__file__`; returns the exit status."""
    title = Path(source).stem
    report = entries([title])[title].report
    description = f"Slides {report.SLIDES}: {report.QUESTION}"
    return _program([title], f"python -m experiments.{title}", description, argv, options.Drawn)


def main_all(argv: Sequence[str] | None = None) -> int:
    """The program of all questions; returns the exit status."""
    description = "Runs the lecture's questions on one data set, in order, and writes a page."
    return _program(ORDER, "python -m experiments", description, argv, options.All)


def _program(
    titles: Sequence[str], prog: str, description: str, argv: Sequence[str] | None, shared: type
) -> int:
    try:
        typed = sys.argv[1:] if argv is None else list(argv)
        return run(_work(entries(titles), prog, description, typed, shared))
    except KeyboardInterrupt:
        progress.say("Stopped.")
        return STOPPED


def _work(
    found: Mapping[str, Entry], prog: str, description: str, typed: Sequence[str], shared: type
) -> Work:
    """Read the command line and the data; whatever is wrong with them ends the program."""
    groups = {title: question.Settings for title, (question, _) in found.items()}
    reports = {title: report.QUESTION for title, (_, report) in found.items()}
    parser = options.build(prog, description, groups, listing, shared, reports)
    common, settings = options.parse(parser, groups, without_flags(typed, found), shared)
    with parser.refusing():
        data = gate.Data(gate.of(common))
        jobs.check_writable(jobs.home(common))
    count = len(data.train.labels)
    wanted = [
        Job(title, *entry, fitted(entry, settings[title], count), common)
        for title, entry in found.items()
    ]
    if not getattr(common, "quick", False):
        others = [title for title in ORDER if title not in found]
        return Work(wanted, others, _everything(common) if others else ())
    for job in wanted:
        given = job.settings != options.values(job.question.Settings, {}, common.smoke)
        if given and job.title not in QUICK:
            parser.error(f"--quick leaves {job.title} out, so its flags would do nothing")
    return Work(
        [job for job in wanted if job.title in QUICK],
        [title for title in found if title not in QUICK],
        ["python", "-m", "experiments", *(word for word in typed if word != "--quick")],
    )


def _everything(common: options.Drawn) -> list[str]:
    """The command that adds all questions to the page of one."""
    out = [] if common.out == type(common)().out else ["--out", common.out]
    return [*shlex.split(options.command("experiments", common)), *out]


def listing() -> str:
    """One line per question for --list: slides, name, seconds, question; * of --quick."""
    rows = [
        f"{report.SLIDES:>7}  {title:<18} {report.SECONDS:>3.0f} s {'*' if title in QUICK else ' '}"
        f"  {report.QUESTION}"
        for title, (_, report) in entries(ORDER).items()
    ]
    header = f"{'slides':>7}  {'experiment':<18} {'time':>5}    question (* with --quick too)"
    return "\n".join([header, *rows])


# --- running ---------------------------------------------------------------------------------


def run(work: Work) -> int:
    """Run the jobs and write the page after each; 0, 1 if one failed, 130 after Ctrl-C."""
    began, done, asked = time.perf_counter(), dict[str, Section](), work.jobs
    folder, common = jobs.home(asked[0].common), asked[0].common
    stood = functools.cache(partial(standing_sections, work, folder))
    clock = progress.Clock({job.title: jobs.expected(job, folder) for job in asked})
    try:
        for place, job in enumerate(asked, 1):
            left = f" ({_told(clock.left())})" if len(asked) > 1 else ""
            progress.say(f"[{place}/{len(asked)}] {job.title}: {job.report.QUESTION}{left}")
            done[job.title] = attempt(job, folder)
            clock.done(job.title)
            publish(work, folder, stood() | done, whole=place == len(asked))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends at once, in silence
        publish(work, folder, stood() | done, whole=True)
        progress.say(f"Stopped; the same command goes on. {terminal.opened(folder)}")
        return STOPPED
    progress.say(f"{words.duration(time.perf_counter() - began)} in all")
    left_out = [title for title in work.others if title not in stood()]
    lines = terminal.in_full(done.values()) if common.verbose else terminal.short(done.values())
    print("\n".join([*lines, *terminal.end(folder, left_out, work.everything)]))
    return int(any(section.error for section in done.values()))


def _told(seconds: float | None) -> str:
    if seconds is None:
        return "time left unknown"
    return f"about {words.duration(seconds) if seconds >= 60 else f'{max(1, seconds):.0f} s'} left"


def publish(work: Work, folder: Path, found: Mapping[str, Section], whole: bool) -> None:
    """Write the page of the sections there are, at the end with the figure of all classifiers."""
    order = [*ORDER, *(job.title for job in work.jobs if job.title not in ORDER)]
    sections = [found[title] for title in order if title in found]
    records = [section.record for section in sections if section.record]
    comparison, common = list[figures.Shown](), work.jobs[0].common
    if whole and closing.rows(records):
        comparison = [
            *drawn(lambda: [closing.draw(records)], folder, common.style),
            *drawn(lambda: [closing.draw_narrow(records)], folder, "page"),
        ]
    pending = [job.title for job in work.jobs if job.title not in found]
    left_out = [
        section(
            Job(title, *entry, options.values(entry.question.Settings, {}, common.smoke), common)
        )
        for title, entry in entries([one for one in work.others if one not in found]).items()
    ]
    more = LeftOut(left_out, shlex.join(work.everything)) if left_out else None
    page.write(folder, sections, comparison, pending, more)


def section(job: Job) -> Section:
    """What the page knows of a job before it has run."""
    command = options.command(f"experiments.{job.title}", job.common, job.settings)
    return Section(job.title, job.report, command)


def attempt(job: Job, folder: Path) -> Section:
    """Run one job; whatever goes wrong becomes a section that says so."""
    try:
        found = readable(jobs.finished(job, folder / job.title))
        draw = partial(job.report.draw, found)
        shown = drawn(draw, folder / job.title, job.common.style)
        findings = job.report.findings(found)
        return section(job)._replace(record=found, findings=findings, figures=shown)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        progress.say(f"    failed: {told}")
        if job.common.verbose:
            traceback.print_exc()
        return section(job)._replace(error=told)


# --- what stands on disk ---------------------------------------------------------------------


def standing_sections(work: Work, folder: Path) -> dict[str, Section]:
    """The sections of all records in a folder that are of these data, whatever their settings."""
    common, found = work.jobs[0].common, dict[str, Section]()
    for title, entry in entries([*work.others, *(job.title for job in work.jobs)]).items():
        of_record = record.load(folder / title)
        drawn_once = (folder / title / figures.LIST).is_file()
        if (
            of_record is None
            or not drawn_once
            or of_record.data["digest"] != jobs.data_of(work.jobs[0]).digest
        ):
            continue
        try:
            settings = options.values(entry.question.Settings, of_record.settings, common.smoke)
            told = readable(of_record)
            found[title] = section(
                Job(title, *entry, settings, dataclasses.replace(common, seed=told.meta["seed"]))
            )._replace(
                record=told,
                findings=entry.report.findings(told),
                figures=figures.standing(folder / title),
            )
        except Exception as error:  # a record of an older program need not suit the report
            progress.say(f"    {title}: its record is not shown ({type(error).__name__})")
    return found


def readable(found: record.Record) -> record.Record:
    """A record whose names of classes are of a length and of letters that can be shown."""
    names = words.labels(found.class_names)
    return dataclasses.replace(
        found, meta=found.meta | {"data": found.data | {"class_names": names}}
    )


# --- figures ---------------------------------------------------------------------------------


def drawn(draw: Callable[[], Iterable[Plot]], folder: Path, look: str) -> list[figures.Shown]:
    """The page's figures, saved in the folder; for slides each once more, in that look."""
    with mpl.rc_context(style.PARAMETERS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a box is drawn
        shown = figures.publish(draw(), folder)
        for plot in draw() if look == "slides" else ():
            for slide in projector.for_slides(plot):
                style.save(slide, folder, projector.DPI)
    return shown
