"""``bootstrap config impact``: which programs, where, an edit would restart."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from bootstrap.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bootstrap.cli.settings import Settings
    from bootstrap.config.edits import Impact


@click.command(
    short_help="Which programs, in which modes, an edit would restart.",
    epilog="Example: bootstrap config impact origin/main",
)
@click.argument("revision", default="HEAD", metavar="[REV]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def impact(settings: Settings, *, revision: str, as_json: bool) -> None:
    """Compare the working tree with a revision (HEAD), for every service in every mode.

    The reasons are those that plan gives on a box. It needs no tags, no AWS and no box.
    """
    from bootstrap.config.edits import diff_surveys  # noqa: PLC0415 - not for --help
    from bootstrap.world.config.revisions import read_repository, survey_revision, survey_working_tree  # noqa: PLC0415 - likewise

    before = survey_revision(settings.box, read_repository(settings.box), revision)
    impacts = diff_surveys(before.surveyed, survey_working_tree(settings.box).surveyed, os.urandom(16))
    if as_json:
        print_json({"revision": revision, "impacts": [asdict(one) for one in impacts]})
        return
    for line in impact_lines(impacts):
        click.echo(line)


def impact_lines(impacts: Sequence[Impact]) -> Iterator[str]:
    """What is the same in several modes is said once."""
    if not impacts:
        yield "restarts nothing anywhere"
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for one in impacts:
        groups.setdefault((one.action, one.program, one.reasons), []).append(one.mode)
    width = max((len(program) for _, program, _ in groups), default=0)
    for (action, program, reasons), modes in groups.items():
        first, *rest = reasons
        yield f"{action.ljust(8)}{program.ljust(width)}  in {', '.join(modes)}: {first}"
        for reason in rest:
            yield " " * (10 + width) + reason
