"""``sv``: runit's own words, over our programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["--help"],
    },
    epilog="Example: bootstrap sv -w 20 restart api-web",
    short_help="Show and control programs in the words of runit's sv.",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-v] [-w SECONDS] COMMAND SERVICE…")
@click.pass_obj
def sv(settings: Settings, words: tuple[str, ...]) -> int:
    """Show and control programs as runit's sv does, with its words and exit codes; see docs/runit.md.

    \b
    status                                   what runs, since when
    up, down, exit                           start; stop until `up`
    start, stop, restart, reload, shutdown   the same, and wait
    force-stop, force-restart, …             the same, and KILL in the end
    try-restart, check                       restart what runs; wait until it is ready
    once                                     start, and leave it so when it ends
    term, kill, hup, alarm, interrupt, quit, 1, 2, pause, cont   signals

    A service is a program (api-web), a service of one or more programs (api), or a path: of a service directory that
    a runsv supervises, or one that ends in ours. With $SVDIR, names are looked for there first.
    """  # noqa: D301 - click wants the character, not the two
    from runit_compat.sv_entry import run  # noqa: PLC0415 - not for --help

    return run(settings.box, list(words), "sv")
