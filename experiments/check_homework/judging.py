"""Compares what a student's function returned with right and wrong ones, and names the mistake.

A function passes where its numbers are those of one right function on all cases.  Else the wrong
function with the same numbers names the mistake; where none has them, a law that is broken, or
the first number that differs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from experiments.check_homework import laws
from experiments.check_homework.finding import Found
from experiments.check_homework.roles import Arguments, Form, Function, Law, Parts, Role
from experiments.check_homework.trying import Outcome, quietly, right_parts, try_case

PASS, FAIL, NOTE = "pass", "FAIL", "note"
EMPTY = "Every result is 0: is the part to write still empty?"
Outcomes = dict[str, Outcome]


class Line(NamedTuple):
    """One finding: a function that passes, or one cause of failure."""

    verdict: str
    function: str
    why: str
    evidence: str = ""  # the case, what was expected there, and what came
    role: str = ""
    convention: str = ""

    def __str__(self) -> str:
        return f"{self.verdict}  {self.function}: {self.why}" + (
            f" [{self.evidence}]" if self.evidence else ""
        )


class Cause(NamedTuple):
    """Why a function fails."""

    why: str
    evidence: str = ""


def judge(found: Found, trying: Callable[[str], None] = lambda case: None) -> Iterator[Line]:
    """The lines of one function; `trying` hears of each case before its call."""
    judged = Judged(found, trying)
    causes = list(judged.causes())
    for cause in causes:
        yield Line(FAIL, found.name, *cause)
    if not causes:
        yield Line(PASS, found.name, judged.summary(), "", found.role.title,
                   judged.convention())  # fmt: skip
        for cause in judged.remarks():
            yield Line(NOTE, found.name, *cause)


class Judged:
    """What one function made of all cases, beside what is right there."""

    def __init__(self, found: Found, trying: Callable[[str], None]) -> None:
        self.found, self.role = found, found.role
        absent = {name: self.role.optional[name] for name in found.absent}
        self.cases = {
            name: {**self.role.optional, **case, **absent} for name, case in self.role.cases.items()
        }
        self.right = {says: self._answers(fn) for says, fn in self.role.right.items()}
        self.form, self.outcomes = self._in_its_form(trying)
        self.sound = [c for c, o in self.outcomes.items() if not o.problem]
        self.counted = [case for case in self.sound if case not in self.role.remarks]
        self.says = max(self.right, key=self._agreements, default="")

    def _answers(self, fn: Function) -> dict[str, Parts]:
        return {name: right_parts(fn, case) for name, case in self.cases.items()}

    def _in_its_form(self, trying: Callable[[str], None]) -> tuple[Form, Outcomes]:
        """The first layout in which all shapes are right, else the one with the most."""
        tried: list[tuple[int, Form, Outcomes]] = []
        for form in self.role.forms:
            outcomes: Outcomes = {}
            for name, case in self.cases.items():
                trying(name)
                outcomes[name] = try_case(self.found, form, case)
            fitting = sum(self._fits(name, one) for name, one in outcomes.items())
            tried.append((fitting, form, outcomes))
            if fitting == len(outcomes):
                break
        return max(tried, key=lambda one: one[0])[1:]

    def _fits(self, case: str, outcome: Outcome) -> bool:
        """Whether a result has the shapes of a right one."""
        got = outcome.parts
        if outcome.problem:
            return False
        if not self.right:
            return "gradient" not in got or got["gradient"].shape == self.cases[case]["W"].shape
        return any(
            all(
                got[part].shape == answers[case][part].shape
                for part in got
                if part in answers[case]
            )
            for answers in self.right.values()
        )

    def _agreements(self, says: str) -> tuple[int, int]:
        """How many parts agree; of equals, how many losses: a gradient is judged by its loss."""
        good = [
            place
            for case in self.counted for place, part in enumerate(self.outcomes[case].parts)
            if agree(self.outcomes[case].parts, self.right[says][case], part)
        ]  # fmt: skip
        return len(good), good.count(0)

    def causes(self) -> Iterator[Cause]:
        """Each cause of failure once."""
        found = [*self._problems(), *self._wrong_numbers(), *self._broken(self.role.always)]
        yield from found or self._changes()
        yield from self._derivative()

    def _changes(self, evidence: str = "") -> Iterator[Cause]:
        for case, outcome in self.outcomes.items():
            if outcome.changed:
                says = f"It changes its argument {outcome.changed}: work on a copy."
                yield Cause(says, evidence or case)
                return

    def _problems(self) -> Iterator[Cause]:
        seen: dict[str, str] = {}
        for case, outcome in self.outcomes.items():
            if outcome.problem and case not in self.role.remarks:
                seen.setdefault(outcome.problem, case)
        for problem, case in seen.items():
            yield Cause(f"{problem}.", case)

    def _wrong_numbers(self) -> Iterator[Cause]:
        if not self.counted:
            return
        if not self.right:
            yield from self._broken(self.role.laws)
            return
        wrong = [p for p in self._parts() if not self._all_agree(self.right[self.says], p)]
        if wrong:
            yield from self._named(wrong)

    def _parts(self) -> list[str]:
        return list(dict.fromkeys(p for case in self.counted for p in self.outcomes[case].parts))

    def _all_agree(self, answers: Mapping[str, Parts], *names: str) -> bool:
        return all(
            agree(self.outcomes[case].parts, answers[case], part)
            for case in self.counted for part in names if part in self.outcomes[case].parts
        )  # fmt: skip

    def _named(self, wrong: list[str]) -> Iterator[Cause]:
        """The wrong function with all of these numbers; else one for each part; else numbers."""
        whole = self._like(self._parts())
        if whole:
            yield Cause(whole, self._evidence(wrong))
        elif self._is_empty():
            yield Cause(EMPTY)
        else:
            named = {part: self._like([part]) for part in wrong}
            for says in dict.fromkeys(filter(None, named.values())):
                yield Cause(says, self._evidence([p for p in wrong if named[p] == says]))
            left = [part for part in wrong if not named[part]]
            if left:
                yield from self._unnamed(left)

    def _like(self, names: list[str]) -> str:
        """The sentence of the wrong function that has the same numbers, or ""."""
        for says, fn in (*self.role.wrong, *self.role.doubly):
            if self._has_numbers_of(fn, names):
                return says
        return ""

    def _has_numbers_of(self, fn: Function, names: list[str]) -> bool:
        try:  # one case after the other: most differ in the first
            return all(
                self._all_agree_in(case, right_parts(fn, self.cases[case]), names)
                for case in self.counted
            )
        except (ArithmeticError, ValueError, IndexError):
            return False  # a wrong function may fail where the student's does not

    def _all_agree_in(self, case: str, answer: Parts, names: Iterable[str]) -> bool:
        got = self.outcomes[case].parts
        return all(agree(got, answer, part) for part in names if part in got)

    def _is_empty(self) -> bool:
        return not any(
            part.any() for case in self.counted for part in self.outcomes[case].parts.values()
        )

    def _unnamed(self, wrong: list[str]) -> Iterator[Cause]:
        """What else is known of wrong numbers: a changed argument, or a law that is broken."""
        evidence = self._evidence(wrong)
        known = [*self._changes(evidence), *self._broken(self.role.laws)]
        is_one = len(wrong) == 1 and wrong[0] != "losses"
        told = f"The {' and the '.join(wrong)} {'is' if is_one else 'are'} wrong."
        cause = known[0] if known else Cause(told)
        yield cause._replace(evidence=cause.evidence or evidence)

    def _broken(self, rules: Iterable[Law]) -> Iterator[Cause]:
        """The first law that does not hold in the counted cases."""
        for law in rules:
            for case in self.counted:
                try:
                    seen = law(self._call, self.cases[case])
                except Exception:
                    continue  # a law tries other inputs, which the function may refuse
                if seen:
                    yield Cause(seen)
                    return

    def _call(self, arguments: Arguments) -> Parts:
        outcome = try_case(self.found, self.form, arguments)
        if outcome.problem:
            raise ValueError(outcome.problem)
        return outcome.parts

    def _derivative(self) -> Iterator[Cause]:
        """What JAX traces is differentiated by it, and compared with differences."""
        if not self.role.smooth or not any(o.is_jax for o in self.outcomes.values()):
            return
        case = next(iter(self.cases))
        with quietly():
            seen = laws.derivative(self.found.call, self.cases[case], self.role.smooth)
        if seen:
            yield Cause(seen, case)

    def remarks(self) -> Iterator[Cause]:
        """What goes wrong in cases that the course does not ask for; each sentence once."""
        seen = set()
        for case, says in self.role.remarks.items():
            outcome, answer = self.outcomes[case], self.right[self.says][case]
            good = not outcome.problem and self._all_agree_in(case, answer, outcome.parts)
            if not good and says not in seen:
                seen.add(says)
                yield Cause(says, case)

    def _evidence(self, wrong: list[str]) -> str:
        """The first case in which one of these parts differs, with its numbers."""
        for case in self.counted:
            answer, got = self.right[self.says][case], self.outcomes[case].parts
            for part in wrong:
                if part in got and not agree(got, answer, part):
                    return f"{told_case(case, self.cases[case])}: " + laws.difference(
                        part, answer[part], got[part]
                    )
        return ""

    def convention(self) -> str:
        """The layout, where there are several, and the convention that it follows."""
        layout = self.form.says if len(self.role.forms) > 1 else ""
        return "; ".join(filter(None, (layout, self.says)))

    def summary(self) -> str:
        """What passed: how many cases, what was returned, and which convention it follows."""
        returned, convention = self._parts(), self.convention()
        text = f"{len(self.cases)} {'inputs' if len(self.cases) > 1 else 'input'}"
        missing = [part for part in self.role.returns[:2] if part not in returned]
        if missing and returned:
            text += f", the {' and the '.join(returned)} alone: no {missing[0]} returned"
        return text + (f" ({convention})" if convention else "")


def agree(got: Parts, answer: Parts, part: str) -> bool:
    """Whether a part is that of an answer; one number may have any shape."""
    if part not in answer:
        return False
    a, b = got[part], answer[part]
    return laws.near(a.reshape(b.shape) if a.size == b.size == 1 else a, b)


def told_case(name: str, case: Arguments) -> str:
    """The name of a case, with its numbers where they are few."""
    values = {n: v for n, v in case.items() if isinstance(v, np.ndarray | int | float)}
    if sum(np.size(v) for v in values.values()) > 10:
        return name
    texts = (f"{n} = {np.array2string(np.asarray(v), separator=', ')}" for n, v in values.items())
    return f"{name}, {', '.join(' '.join(text.split()) for text in texts)}"


def disagreements(lines: Iterable[Line], roles: Iterable[Role]) -> Iterator[Line]:
    """Functions of one role that pass with different conventions, such as a root in one only."""
    for role in roles:
        follow: dict[str, list[str]] = {}
        for line in lines:
            if line.verdict == PASS and line.role == role.title and role.alike:
                follow.setdefault(line.convention, []).append(line.function)
        if len(follow) > 1:
            *_, last = follow.values()
            told = "; ".join(f"{', '.join(names)}: {says}" for says, names in follow.items())
            yield Line(FAIL, last[0], f"Versions of one function differ. {told}.")


def gathered(lines: Iterable[Line]) -> Iterator[Line]:
    """Each cause in full once; where another function has it too, that is said shortly."""
    first: dict[tuple[str, str], str] = {}
    for line in lines:
        evidence = line.evidence if line.verdict == FAIL else ""  # a remark is said once
        other = first.setdefault((line.why, evidence), line.function)
        if line.verdict == PASS or other == line.function:
            yield line
        elif line.verdict == FAIL:
            yield line._replace(why=f"The same as {other}.", evidence="")
