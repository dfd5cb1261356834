"""``bootstrap doctor``: what would go wrong, before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bootstrap.cli.options import tag_options
from bootstrap.cli.output import Voice, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.cli.settings import Settings
    from bootstrap.diagnosis import Finding

EXIT_ILL = 1
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}


@click.command(
    epilog="Example: bootstrap doctor --tag mode=production --tag service=api",
    short_help="What would go wrong, before it does.",
)
@click.option("--aws", is_flag=True, help="Try the calls of AWS too, as is always done on an instance.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@tag_options
def doctor(settings: Settings, *, aws: bool, as_json: bool) -> int:
    """Look at tags, files, this machine, its supervisor and, on EC2, at metadata and AWS; change nothing.

    Every check is made, whatever the others find. Exit code 0: nothing would fail, though there may be warnings;
    1: something would.
    """
    from bootstrap.diagnosis import is_healthy, render_diagnosis, summarise  # noqa: PLC0415 - not for --help
    from bootstrap.doctor import CHECKS, Visit, examine  # noqa: PLC0415 - likewise
    from bootstrap.request import Request  # noqa: PLC0415 - likewise
    from bootstrap.world.doctor.instance import is_there  # noqa: PLC0415 - likewise
    from bootstrap.world.tags import parse_typed  # noqa: PLC0415 - likewise

    parse_typed(settings.tags)  # what is mistyped here and now is no finding about the box
    request = Request(tags=settings.tags, tags_file=settings.tags_file, last_identity=settings.last_identity, dry=True)
    voice = Voice(settings, as_json=as_json)
    width = max(len(check.name) for check in CHECKS)
    findings = []
    for finding in examine(Visit(box=settings.box, request=request, asks_aws=aws or is_there())):
        findings.append(finding)
        if not as_json and (finding.level in {"warn", "fail"} or settings.verbosity >= 0):
            for line in _lines(finding, width):
                voice.line(line)
    if as_json:
        print_json(render_diagnosis(findings))
    else:
        voice.line(summarise(findings))
    return 0 if is_healthy(findings) else EXIT_ILL


def _lines(finding: Finding, width: int) -> Iterator[str]:
    from bootstrap.spelling import harmless  # noqa: PLC0415 - not for --help

    first, *rest = map(harmless, finding.text.splitlines())
    level = click.style(finding.level.ljust(4), fg=_COLOURS[finding.level], bold=finding.level == "fail")
    yield f"{level}  {finding.check.ljust(width)}  {first}"
    yield from (f"  {line.strip()}" for line in rest)  # whatever stands there, it must not look like a finding
    if finding.where is not None:
        yield f"  where: {harmless(finding.where)}"
    if finding.way_out is not None:
        yield f"  way out: {harmless(finding.way_out)}"
