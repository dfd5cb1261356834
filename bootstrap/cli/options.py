"""Options that several verbs share."""

from __future__ import annotations

from dataclasses import replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.cli.settings import Settings

R = TypeVar("R")


def tag_options(verb: Callable[..., R]) -> Callable[..., R]:
    """``--tag`` and ``--tags-file`` after the verb too; the verb gets Settings with all that was typed."""

    @click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Set a tag; stronger than every source.")
    @click.option("--tags-file", metavar="FILE", help="Read the tags from a dotenv file.")
    @click.pass_obj
    def merged(settings: Settings, /, *args: Any, tags: tuple[str, ...], tags_file: str | None, **kwargs: Any) -> R:
        typed = replace(settings, tags=(*settings.tags, *tags), tags_file=tags_file or settings.tags_file)
        return verb(typed, *args, **kwargs)

    # the options that stand below this decorator are the verb's, and must not be lost
    mine = getattr(merged, "__click_params__", [])
    update_wrapper(merged, verb)
    merged.__dict__["__click_params__"] = [*getattr(verb, "__click_params__", []), *mine]
    return merged


FORCE = click.option(
    "--force", is_flag=True, help="Go on where the load balancer can't be left, or this is its last healthy target."
)


def with_verbosity(command: click.Command) -> click.Command:
    """``-v`` and ``-q`` after the verb too, where the verb has no other use for the letter.

    A verb of a group has them as the group itself does, so that nobody has to know which words are groups.
    """
    taken = {option for parameter in command.params for option in parameter.opts}
    for short, long, step in (("-v", "--verbose", 1), ("-q", "--quiet", -1)):
        if short not in taken and command.name not in {"run", "sv", "chpst"}:

            def louder(context: click.Context, _: click.Parameter, count: int, step: int = step) -> None:
                context.obj = replace(context.obj, verbosity=context.obj.verbosity + step * count)

            command.params.append(
                click.Option([short, long], count=True, expose_value=False, callback=louder, hidden=True)
            )
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_verbosity(below)
    return command
