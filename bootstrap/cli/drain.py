"""``drain`` and ``undrain``: leave load balancer and DNS, and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bootstrap import control
from bootstrap.cli.options import FORCE
from bootstrap.cli.output import Voice, print_json
from bootstrap.world import kept_out
from bootstrap.world.ec2 import traffic

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings

_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error."
)


@click.command(epilog="Example: bootstrap drain", short_help="Leave load balancer and DNS; everything runs on.")
@FORCE
@_JSON
@click.pass_obj
def drain(settings: Settings, *, force: bool, as_json: bool) -> int:
    """Have no more requests sent to this box, and wait until those under way are done.

    It stays so, whatever is started or restarted, across reboots, until undrain. The health endpoint answers 503.
    """
    voice = Voice(settings, as_json=as_json)
    control.drain(settings.box, voice.event, force=force)
    return _print(settings, voice, as_json=as_json)


@click.command(epilog="Example: bootstrap undrain", short_help="Rejoin load balancer and DNS.")
@_JSON
@click.pass_obj
def undrain(settings: Settings, *, as_json: bool) -> int:
    """Have requests sent to this box again, as soon as what they reach is ready."""
    voice = Voice(settings, as_json=as_json)
    control.undrain(settings.box, voice.event)
    return _print(settings, voice, as_json=as_json)


def _print(settings: Settings, voice: Voice, *, as_json: bool) -> int:
    is_drained = kept_out.read_reason(settings.box) is not None
    if as_json:
        print_json({"drained": is_drained, "registered": traffic.is_joined(settings.box)})
    else:
        voice.line('drained until "bootstrap undrain"' if is_drained else "no longer drained")
    return 0
