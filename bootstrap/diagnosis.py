"""What ``doctor`` says: one finding for each thing that was looked at.

``skip`` is what could not be looked at because something else has failed; it makes no box ill.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bootstrap.errors import BootstrapError, NothingYet, Refused
from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Level: TypeAlias = Literal["ok", "warn", "fail", "skip"]
_WHERE, _WAY_OUT = "where: ", "way out: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report, and what stands below it."""

    level: Level
    text: str
    where: str | None = None
    way_out: str | None = None
    check: str = ""  # set by whoever runs the checks


def ok(text: str) -> Finding:
    return Finding(level="ok", text=text)


def warn(text: str, way_out: str, where: str | None = None) -> Finding:
    return Finding(level="warn", text=text, where=where, way_out=way_out)


def fail(text: str, way_out: str, where: str | None = None) -> Finding:
    return Finding(level="fail", text=text, where=where, way_out=way_out)


def skip(text: str) -> Finding:
    return Finding(level="skip", text=text)


def describe_error(error: BootstrapError) -> Iterator[Finding]:
    """What an expected failure says, one finding a problem."""
    level: Level = "warn" if isinstance(error, NothingYet) else "fail"
    problems = error.problems if isinstance(error, Refused) else (str(error),)
    for problem in problems:
        for finding in describe_problems(problem):
            yield replace(finding, level=level)


def describe_problems(text: str) -> Iterator[Finding]:
    """The house's sentences (``cannot …: …``, where, way out), one or more, as findings."""
    paragraph: list[str] = []
    for line in text.splitlines():
        if paragraph and not line.startswith(" "):
            yield _describe_paragraph(paragraph)
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield _describe_paragraph(paragraph)


def is_healthy(findings: Iterable[Finding]) -> bool:
    return all(finding.level != "fail" for finding in findings)


def render_diagnosis(findings: Sequence[Finding]) -> dict[str, Any]:
    """As JSON has it; what a finding lacks is left out."""
    return {"healthy": is_healthy(findings), "findings": [_render_finding(finding) for finding in findings]}


def summarise(findings: Sequence[Finding]) -> str:
    """The last line: `2 would fail, 1 warning, 12 ok, 3 skipped`."""
    counts = Counter(finding.level for finding in findings)
    parts = [
        f"{counts['fail'] or 'nothing'} would fail",
        f"{counts['warn']} warning{'' if counts['warn'] == 1 else 's'}",
        f"{counts['ok']} ok",
        *([f"{counts['skip']} skipped"] if counts["skip"] else []),
    ]
    return ", ".join(parts)


def _describe_paragraph(lines: Sequence[str]) -> Finding:
    """What an error tells between its first line and the way out stays below the first line."""
    text, where, way_out = [lines[0]], None, None
    for line in lines[1:]:
        before, found, after = line.strip().partition(_WAY_OUT)
        if found and (not before or before.endswith("; ")):
            way_out = after  # what stands before it tells whoever has begun something that it goes on
        elif line.strip().startswith(_WHERE):
            where = line.strip().removeprefix(_WHERE)
        else:
            text.append(line)
    return Finding(level="fail", text="\n".join(text), where=where, way_out=way_out)


def _render_finding(finding: Finding) -> dict[str, str]:
    known = {"check": finding.check, **asdict(finding)}
    return {name: value for name, value in known.items() if value is not None}
