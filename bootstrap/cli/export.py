"""``bootstrap export``: what this box would run, for another supervisor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from bootstrap.cli.options import tag_options
from bootstrap.cli.output import Voice, print_json

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings


@click.group(
    short_help="Write what this box would run, for another supervisor.",
    epilog="Example: bootstrap export runit /etc/service",
)
def export() -> None:
    """Write what this box would run in a form that runs without bootstrap."""


@export.command(
    short_help="Write service directories for runsvdir.",
    epilog="Example: bootstrap export runit /srv/service --tag mode=production --tag service=api",
)
@click.argument("directory", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@tag_options
def runit(settings: Settings, *, directory: str, as_json: bool) -> None:
    """Write a service directory for each program; `runsvdir DIR` then runs the same programs in the same environments.

    DIR must not exist, or be empty. It holds the values of variables, secrets too, and is for its owner alone. Nothing
    is started or stopped; take the box down with `bootstrap down` before runsvdir starts.
    """
    from bootstrap import boot  # noqa: PLC0415 - not for --help
    from bootstrap.request import Request  # noqa: PLC0415 - likewise
    from bootstrap.world.directories import write_directories  # noqa: PLC0415 - likewise
    from runit_compat.export import render_service_directories  # noqa: PLC0415 - likewise

    voice = Voice(settings, as_json=as_json)
    request = Request(
        tags=settings.tags, tags_file=settings.tags_file, last_identity=settings.last_identity, dry=True, code="kept"
    )
    tags = boot.gather_tags(settings.box, request, voice.event)
    layered = boot.layer(settings.box, tags, request, voice.event)
    target = os.path.abspath(directory)
    rendered = render_service_directories(
        layered.plan, layered.environments, layered.accounts, directory=target, me=os.geteuid()
    )
    write_directories(target, {one.program: one.files for one in rendered})
    if as_json:
        print_json({"directory": target, "programs": [one.program for one in rendered]})
        return
    for one in rendered:
        voice.line(f"{one.program}  {' '.join(sorted(one.files))}")
    voice.line(f'done: "runsvdir {target}" runs them; it holds the values of variables, for its owner alone')
