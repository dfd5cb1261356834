"""``rollback``: go back to what this box ran before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bootstrap import boot
from bootstrap.cli.output import Voice
from bootstrap.cli.up import Seconds, finish
from bootstrap.errors import DefinitionError
from bootstrap.request import Request
from bootstrap.spelling import did_you_mean
from bootstrap.world import clock, store

if TYPE_CHECKING:
    from bootstrap.box import Box
    from bootstrap.cli.settings import Settings
    from bootstrap.rendering import Generation


@click.command(epilog="Example: bootstrap rollback", short_help="Go back to an earlier generation.")
@click.argument("generation_id", required=False, metavar="[ID]")
@click.option("--timeout", type=Seconds(), default="120s", show_default=True, help="Give up waiting after this long.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error.")
@click.pass_obj
def rollback(settings: Settings, generation_id: str | None, *, timeout: float, as_json: bool) -> int:
    """Run a generation of this box again, exactly as it was rendered.

    Without ID it is the last one before this in which every program became ready. It holds until the next up, which
    renders what the tags and the configuration say then.
    """
    voice = Voice(settings, as_json=as_json)
    begun = clock.now()
    wanted = _choose(settings.box, generation_id)
    request = Request(lock_wait_s=timeout, timeout_s=timeout)
    outcome = boot.restore(settings.box, wanted.id, request, voice.event, voice.actions, "rollback")
    if outcome is None:
        raise DefinitionError(
            f'cannot go back to generation "{wanted.id}": its programs are not kept any more\n'
            "  where: run/store, which lives no longer than the boot\n"
            "  way out: undo the change in the configuration and run bootstrap up"
        )
    code = finish(outcome, voice, clock.now() - begun, timeout, as_json=as_json)
    if code == 0:
        voice.event("", "this holds until the next up: undo the change in the configuration too")
    return code


def _choose(box: Box, generation_id: str | None) -> Generation:
    current = store.read_current(box)
    kept = {generation.id: generation for generation, _ in store.read_generations(box)}
    if generation_id is None:
        earlier = [generation for generation in kept.values() if current is None or generation.id != current.id]
        if not earlier:
            raise DefinitionError(
                "cannot go back: this box remembers no earlier generation; `bootstrap down` forgets them all\n"
                "  way out: undo the change in the configuration and run bootstrap up"
            )
        sound = [generation for generation in earlier if not store.read_failed(box, generation.id)]
        return (sound or earlier)[-1]
    if generation_id not in kept:
        raise DefinitionError(
            f'cannot go back to generation "{generation_id}": this box does not remember it'
            f"{did_you_mean(generation_id, kept)}\n"
            "  way out: name one that `bootstrap generations` lists"
        )
    return kept[generation_id]
