"""``generations``: what this box has been."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bootstrap.checkout import describe_code, parse_code
from bootstrap.cli.output import describe_box, print_json
from bootstrap.spelling import listed
from bootstrap.world import store

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings
    from bootstrap.definition import Code
    from bootstrap.rendering import Generation


@click.command(epilog="Example: bootstrap generations", short_help="What this box ran, newest last.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def generations(settings: Settings, *, as_json: bool) -> int:
    """List the generations that this box still remembers; the one in force is marked."""
    current = store.read_current(settings.box)
    kept = store.read_generations(settings.box)
    if as_json:
        print_json(
            [
                {
                    "id": generation.id,
                    "mode": generation.mode,
                    "service": generation.service,
                    "rendered_at": moment,
                    "programs": [unit.name for unit in generation.units],
                    "code": {code.service: {"ref": code.ref, "version": code.version} for code in _codes(generation)},
                    "current": current is not None and generation.id == current.id,
                    "failed": list(store.read_failed(settings.box, generation.id)),
                }
                for generation, moment in kept
            ]
        )
        return 0
    for generation, moment in kept:
        mark = "*" if current is not None and generation.id == current.id else " "
        codes = "".join(f", {code.service} {describe_code(code)}" for code in _codes(generation))
        failed = store.read_failed(settings.box, generation.id)
        verdict = f"; failed: {listed(failed)}" if failed else ""
        programs = f"{len(generation.units)} programs{codes}"
        click.echo(f"{mark} {generation.id}  {moment}  {describe_box(generation)}, {programs}{verdict}")
    if not kept:
        click.echo("no generation is kept here: nothing has run yet, or `bootstrap down` has removed them")
    return 0


def _codes(generation: Generation) -> list[Code]:
    return [parse_code(raw) for raw in generation.sources]
