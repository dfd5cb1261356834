"""``bootstrap import``: services as other supervisors have them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from bootstrap.cli.output import Voice, print_json
from bootstrap.errors import Refused
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings


@click.group(
    "import",
    short_help="Make services of what another supervisor runs.",
    epilog="Example: bootstrap import runit /etc/sv/nginx",
)
def import_() -> None:
    """Make services of what another supervisor runs. Environments are brought in by `bootstrap config import`."""


@import_.command(
    short_help="Make services of runit's service directories.",
    epilog="Example: bootstrap import runit /etc/sv/nginx /etc/sv/sshd",
)
@click.argument("directories", metavar="DIR…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def runit(settings: Settings, *, directories: tuple[str, ...], as_json: bool) -> None:
    """Copy each service directory into services/ and write a definition that runs the same scripts.

    It says what was understood and what could not be kept. Nothing is started, and the directories stay as they are:
    take them out of runsvdir before `bootstrap up`.
    """
    from bootstrap.identity import NAME  # noqa: PLC0415 - not for --help
    from bootstrap.world.directories import write_directories  # noqa: PLC0415 - likewise
    from bootstrap.world.service_directories import read_service_directory  # noqa: PLC0415 - likewise
    from runit_compat.importing import import_service_directory  # noqa: PLC0415 - likewise

    voice = Voice(settings, as_json=as_json)
    found = {
        os.path.basename(os.path.abspath(path)): read_service_directory(os.path.abspath(path)) for path in directories
    }
    for name in found:
        _refuse_name(name, settings.box.services, NAME.fullmatch(name) is not None)
    imported = {name: import_service_directory(one) for name, one in found.items()}
    for name, one in imported.items():
        write_directories(f"{settings.box.services}/{name}", {".": one.files}, mode=0o755)
        voice.line(f"{name}  {', '.join(one.understood)}")
        for lost in one.lost:
            voice.line(f"{name}  not kept: {lost}")
    if as_json:
        print_json({name: {"understood": one.understood, "lost": one.lost} for name, one in imported.items()})
    else:
        voice.line(
            f"done: {len(imported)} written to {settings.box.services}; `bootstrap plan` says what they would run"
        )


def _refuse_name(name: str, services: str, is_usable: bool) -> None:  # noqa: FBT001 - used once, right above
    if not is_usable:
        raise Refused(
            f"cannot import {quoted(name)}: a service is named with lower-case letters, digits and hyphens, 63 at "
            "most, no hyphen first\n"
            "  way out: copy the directory under such a name, and import the copy"
        )
    if os.path.lexists(f"{services}/{name}"):
        raise Refused(
            f"cannot import {quoted(name)}: there is a service of that name\n"
            f"  where: {services}/{name}\n"
            "  way out: remove or rename it"
        )
