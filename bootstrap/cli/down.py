"""``down``: stop everything and leave nothing but logs and data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bootstrap import control
from bootstrap.cli.options import FORCE
from bootstrap.cli.output import Voice, describe_duration, print_json
from bootstrap.world import clock, store

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings


@click.command(
    epilog="Example: bootstrap down", short_help="Stop everything in reverse order; leave only logs and data."
)
@FORCE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error.")
@click.pass_obj
def down(settings: Settings, *, force: bool, as_json: bool) -> int:
    """Leave load balancer and DNS, stop every program, each after those that need it, then the supervisor itself.

    No process, port, socket or generated file is left; logs, the data that services keep and fetched code are.
    """
    voice = Voice(settings, as_json=as_json).align(store.read_current(settings.box))
    begun = clock.now()
    stopped = control.down(settings.box, voice.event, force=force)
    if as_json:
        print_json({"stopped": list(stopped)})
    elif stopped:
        voice.line(f"down: {len(stopped)} stopped in {describe_duration(clock.now() - begun)}")
    else:
        voice.line("nothing was running")
    return 0
