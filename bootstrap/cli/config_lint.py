"""``bootstrap config lint``: what is wrong with a configuration repository, before any box reads it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from bootstrap.cli.config import visible
from bootstrap.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bootstrap.cli.settings import Settings
    from bootstrap.config.finding import Finding

EXIT_FOUND = 1
_COLOURS = {"error": "red", "warning": "yellow"}


@click.command(
    short_help="Check config/ without a box, for use in CI.", epilog="Example: bootstrap config lint --format github"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--format", "form", type=click.Choice(["text", "github"]), default="text", help="github: annotations of a workflow."
)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.pass_obj
def lint(settings: Settings, *, as_json: bool, form: str, strict: bool) -> int:
    """Check every layer of every service in every mode.

    It needs no tags, no AWS and no git, and of services only their definitions. Exit code 0: no errors; 1: errors;
    2: the definitions, layers.yaml or schema.yaml cannot be read.
    """
    from bootstrap.config.lint import lint_repository  # noqa: PLC0415 - not for --help
    from bootstrap.world.config.repository import read_repository  # noqa: PLC0415 - likewise

    repository, unreadable = read_repository(settings.box)
    findings = [*unreadable, *lint_repository(repository)]
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        counts = {"errors": errors, "warnings": len(findings) - errors}
        print_json({"findings": [asdict(finding) for finding in findings], **counts})
    else:
        lines = _annotations(findings) if form == "github" else _lines(findings)
        for line in lines:
            click.echo(line)
        click.echo(_summary(errors, len(findings) - errors), err=form == "github")
    return EXIT_FOUND if errors or (strict and findings) else 0


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    for finding in findings:
        severity = click.style(finding.severity, fg=_COLOURS[finding.severity], bold=True)
        yield f"{severity}: {visible(_place(finding))}: {visible(finding.text)} [{finding.rule}]"
        yield f"  way out: {finding.way_out}"


def _place(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}" if finding.line else finding.file


def _summary(errors: int, warnings: int) -> str:
    return f"{_count(errors, 'error')}, {_count(warnings, 'warning')}" if errors or warnings else "nothing to mend"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _annotations(findings: Sequence[Finding]) -> Iterator[str]:
    """Workflow commands of GitHub Actions.

    Escapes as in actions/toolkit, ``packages/core/src/command.ts``: ``%``, CR and LF everywhere, ``:`` and ``,`` in
    properties too.
    """
    for finding in findings:
        place = f"file={_escape_property(_printable(finding.file))},line={finding.line or 1}"
        title = _escape_property(f"config lint: {finding.rule}")
        yield f"::{finding.severity} {place},title={title}::{_escape(f'{finding.text}; {finding.way_out}')}"


def _printable(file: str) -> str:
    """Line ends are escaped in their own way, so that GitHub finds the file; it shows the log to people, too."""
    return "".join(char if char in "\r\n" else visible(char) for char in file)


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
