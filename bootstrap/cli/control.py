"""``start``, ``stop``, ``restart``, ``reload``: programs by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bootstrap import control
from bootstrap.cli.options import FORCE
from bootstrap.cli.output import Voice, print_json
from bootstrap.cli.up import EXIT_FAILED, Seconds
from bootstrap.world import store

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings
    from bootstrap.world.apply import Outcome

_PROGRAMS = click.argument("programs", nargs=-1, metavar="[PROGRAM…]")
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error."
)
_TIMEOUT = click.option("--timeout", type=Seconds(), default="120s", show_default=True, help="Give up after this long.")


@click.command(epilog="Example: bootstrap start api-worker", short_help="Start programs that are stopped.")
@_PROGRAMS
@_TIMEOUT
@_JSON
@click.pass_obj
def start(settings: Settings, programs: tuple[str, ...], *, timeout: float, as_json: bool) -> int:
    """Start programs (named fully, by service, or by glob; all without a name) as they were last rendered."""
    voice = Voice(settings, as_json=as_json).align(store.read_current(settings.box))
    return _print(control.start(settings.box, programs, voice.event, timeout), voice, as_json=as_json)


@click.command(epilog="Example: bootstrap restart 'api-*'", short_help="Stop and start programs.")
@_PROGRAMS
@_TIMEOUT
@FORCE
@_JSON
@click.pass_obj
def restart(settings: Settings, programs: tuple[str, ...], *, timeout: float, force: bool, as_json: bool) -> int:
    """Stop and start programs (named fully, by service, or by glob; all without a name), in waves.

    A box that gets requests for one of them leaves its load balancer before, and joins it again after.
    """
    voice = Voice(settings, as_json=as_json).align(store.read_current(settings.box))
    return _print(control.restart(settings.box, programs, voice.event, timeout, force=force), voice, as_json=as_json)


@click.command(epilog="Example: bootstrap stop api-worker", short_help="Stop programs until start or up.")
@_PROGRAMS
@FORCE
@_JSON
@click.pass_obj
def stop(settings: Settings, programs: tuple[str, ...], *, force: bool, as_json: bool) -> int:
    """Stop programs (named fully, by service, or by glob; all without a name); they stay stopped until start or up."""
    voice = Voice(settings, as_json=as_json).align(store.read_current(settings.box))
    stopped = control.stop(settings.box, programs, voice.event, force=force)
    if as_json:
        print_json({"stopped": list(stopped)})
    else:
        voice.line(f"stopped: {', '.join(stopped) or 'nothing (it was not running)'}")
    return 0


@click.command(epilog="Example: bootstrap reload router", short_help="Send programs their reload signal.")
@_PROGRAMS
@_JSON
@click.pass_obj
def reload(settings: Settings, programs: tuple[str, ...], *, as_json: bool) -> int:
    """Send programs the reload signal of their definition; those without one are left alone."""
    voice = Voice(settings, as_json=as_json).align(store.read_current(settings.box))
    reloaded = control.reload(settings.box, programs, voice.event)
    if as_json:
        print_json({"reloaded": list(reloaded)})
    elif not reloaded:
        voice.line('nothing was reloaded: no definition among these has a "reload" signal')
    return 0


def _print(outcome: Outcome, voice: Voice, *, as_json: bool) -> int:
    for failure in outcome.failures.values():
        voice.line(click.style("error: ", fg="red", bold=True) + failure)
    if as_json:
        print_json({"results": dict(outcome.results), "failures": dict(outcome.failures)})
    elif not outcome.results:
        voice.line("nothing to do: everything named runs")
    return EXIT_FAILED if outcome.failures else 0
