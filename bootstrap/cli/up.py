"""``up`` and ``plan``: make this box what its tags say, or say what that would take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bootstrap import boot
from bootstrap.cli.options import FORCE, tag_options
from bootstrap.cli.output import Voice, describe_box, describe_duration, print_json, render_actions
from bootstrap.reconcile import Keep, Replace, Start, Stop, changes_something
from bootstrap.request import Outcome, Request
from bootstrap.world import clock

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings

EXIT_FAILED = 1
EXIT_DEADLINE = 124


class Seconds(click.ParamType[float]):
    """`90`, `90s`, `2m`, `1h` → seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:])
        digits = text if factor is None else text[:-1]
        if not digits.replace(".", "", 1).isdigit():
            self.fail(f'"{text}" is no duration; write 90s, 2m or 1h', param, ctx)
        return float(digits) * (factor or 1.0)


@click.command(
    epilog="Example: bootstrap up --tag mode=production --tag service=api",
    short_help="Make this box what its tags say; safe to repeat.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Only say what would happen, and why.")
@click.option("--no-wait", is_flag=True, help="Exit with 75 instead of waiting for another run to finish.")
@click.option("--timeout", type=Seconds(), default="120s", show_default=True, help="Give up waiting after this long.")
@FORCE
@click.option("--refresh-secrets", is_flag=True, help="Look for new versions of referenced secrets.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error.")
@tag_options
def up(
    settings: Settings,
    *,
    plan_only: bool,
    no_wait: bool,
    timeout: float,
    force: bool,
    refresh_secrets: bool,
    as_json: bool,
) -> int:
    """Read the tags, render the programs, start what is missing, replace what has changed, stop what is not wanted.

    Running it again changes nothing unless something has changed. It may be killed at any moment: the next one
    finishes what it began.
    """
    request = Request(
        tags=settings.tags,
        tags_file=settings.tags_file,
        last_identity=settings.last_identity,
        refresh_secrets=refresh_secrets,
        lock_wait_s=0.0 if no_wait else timeout,
        timeout_s=timeout,
        force=force,
    )
    if plan_only:
        return _plan(settings, request, as_json=as_json)
    voice = Voice(settings, as_json=as_json)
    begun = clock.now()
    outcome = boot.up(settings.box, request, voice.event, voice.actions)
    return finish(outcome, voice, clock.now() - begun, timeout, as_json=as_json)


@click.command(epilog="Example: bootstrap plan --json", short_help="Say what up would do, and why, without doing it.")
@click.option("--refresh-secrets", is_flag=True, help="Look for new versions of referenced secrets.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@tag_options
def plan(settings: Settings, *, refresh_secrets: bool, as_json: bool) -> int:
    """Say what up would do, and why, and what it would refuse; then the exit code is 1, as that of up would be.

    Changes nothing; the same as up --plan.
    """
    request = Request(
        tags=settings.tags,
        tags_file=settings.tags_file,
        last_identity=settings.last_identity,
        refresh_secrets=refresh_secrets,
    )
    return _plan(settings, request, as_json=as_json)


def _plan(settings: Settings, request: Request, *, as_json: bool) -> int:
    voice = Voice(settings, as_json=as_json)
    outcome = boot.plan(settings.box, replace(request, dry=True), voice.event)
    if as_json:
        print_json(_document(outcome))
    else:
        voice.actions(outcome.actions)
        if not changes_something(outcome.actions):
            voice.line(f"nothing to do: {_describe_kept(outcome)}")
    return EXIT_FAILED if outcome.failures else 0


def finish(outcome: Outcome, voice: Voice, seconds: float, timeout: float, *, as_json: bool) -> int:
    """Say how it went; the answer is the exit code."""
    _print_outcome(outcome, voice, seconds, as_json=as_json)
    if not outcome.failures:
        return 0
    return EXIT_DEADLINE if seconds >= timeout else EXIT_FAILED


def _print_outcome(outcome: Outcome, voice: Voice, seconds: float, *, as_json: bool) -> None:
    for failure in outcome.failures.values():
        voice.line(click.style("error: ", fg="red", bold=True) + failure)
    if as_json:
        print_json(_document(outcome))
        return
    where = f"{describe_box(outcome.generation)}, generation {outcome.generation.id}"
    took = describe_duration(seconds)
    if outcome.failures:
        others = len(outcome.actions) - len(outcome.failures)
        voice.line(f"{_count(len(outcome.failures))} failed, {others} run as they should ({where}, {took})")
    elif changes_something(outcome.actions):
        voice.line(f"done: {_summary(outcome)} ({where}, {took})")
    else:
        voice.line(f"nothing to do: {_describe_kept(outcome)} ({where}, {took})")


def _summary(outcome: Outcome) -> str:
    words = {Start: "started", Replace: "replaced", Stop: "stopped", Keep: "kept"}
    counts = {word: sum(isinstance(action, kind) for action in outcome.actions) for kind, word in words.items()}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _describe_kept(outcome: Outcome) -> str:
    if not outcome.actions:
        return "no program is defined for this box"
    number = len(outcome.actions)
    return f"{_count(number)} as {'it' if number == 1 else 'they'} should be"


def _count(number: int) -> str:
    return f"{number} program" if number == 1 else f"{number} programs"


def _document(outcome: Outcome) -> dict[str, object]:
    return {
        "generation": outcome.generation.id,
        "changed": changes_something(outcome.actions),
        "actions": render_actions(outcome.actions, outcome.results),
        "failures": dict(outcome.failures),
    }
