"""How things look on a terminal, in a log, and as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from bootstrap.reconcile import Action, Keep, verb_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.cli.settings import Settings
    from bootstrap.rendering import Generation

_COLOURS = {"start": "green", "stop": "red", "replace": "yellow", "keep": "bright_black"}


class Voice:
    """Says what happens, one line an event: to standard output, or to standard error beside JSON."""

    def __init__(self, settings: Settings, *, as_json: bool) -> None:
        self._verbosity = settings.verbosity
        self._err = as_json
        self._width = 0

    def align(self, generation: Generation | None) -> Voice:
        """Leave room for the names of what runs."""
        self._width = max((len(unit.name) for unit in generation.units), default=0) if generation else 0
        return self

    def event(self, whom: str, text: str) -> None:
        """Something happens to a program, or (``""``) to the box."""
        if self._verbosity < 0:
            return
        name = click.style(whom.ljust(self._width), bold=True) + "  " if whom else ""
        self.line(name + text)

    def actions(self, actions: tuple[Action, ...]) -> None:
        """What is going to happen, and why; what stays is counted unless somebody wants to know it all."""
        self._width = max([len(action.program) for action in actions], default=0)
        if self._verbosity < 0:
            return
        kept = [action for action in actions if isinstance(action, Keep)]
        shown = actions if self._verbosity > 0 else [action for action in actions if not isinstance(action, Keep)]
        for action in shown:
            verb = verb_of(action)
            first, *rest = action.reasons
            self.line(f"{click.style(verb.ljust(8), fg=_COLOURS[verb])}{action.program.ljust(self._width)}  {first}")
            for reason in rest:
                self.line(" " * (10 + self._width) + reason)
        if shown and kept and self._verbosity == 0:
            self.line(click.style(f"keep    {len(kept)} more as they are", fg=_COLOURS["keep"]))

    def line(self, text: str) -> None:
        """Say it; when nobody can hear it, what was begun on the box is finished all the same.

        The next line is tried anew: the disk that `boot` tells its log to was perhaps only full.
        """
        with contextlib.suppress(OSError, ValueError):
            click.echo(text, err=self._err)
            (sys.stderr if self._err else sys.stdout).flush()


def render_actions(actions: tuple[Action, ...], results: Mapping[str, str]) -> list[dict[str, Any]]:
    """Actions as the contract's JSON has them."""
    rendered = []
    for action in actions:
        entry: dict[str, Any] = {
            "program": action.program,
            "action": verb_of(action),
            "reasons": list(action.reasons),
        }
        if action.program in results:
            entry["result"] = results[action.program]
        rendered.append(entry)
    return rendered


def print_json(document: Any) -> None:
    """Exactly one document on standard output."""
    say(json.dumps(document, indent=2))


def say(text: str, *, err: bool = False) -> None:
    """Print it where what is done does not depend on who reads: when nobody does, it is done all the same."""
    try:
        click.echo(text, err=err)
        (sys.stderr if err else sys.stdout).flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2 if err else 1)


def describe_box(generation: Generation) -> str:
    """`review`, or `production api`."""
    return generation.mode if generation.service is None else f"{generation.mode} {generation.service}"


def describe_duration(seconds: float) -> str:
    """A length of time in at most two units: 0.4 s, 12 s, 3 min 20 s, 5 h 2 min, 3 d 4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, below, below_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {below_unit}"
    return f"{whole} s"
