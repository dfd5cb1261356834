"""``--mode``, ``--service`` and ``--process``: whose environment is looked at.

``--mode`` stands for all tags, so that any box can be looked at from anywhere; without it the tags say what this box
is. In a mode that runs one service, ``--service`` says which; elsewhere it picks from what the box runs, as
``--process`` does everywhere.
"""

from __future__ import annotations

from dataclasses import replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

import click

from bootstrap.cli.options import tag_options
from bootstrap.errors import DefinitionError, TagError
from bootstrap.frozen import dataclass
from bootstrap.spelling import did_you_mean, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bootstrap.cli.settings import Settings
    from bootstrap.definition import Catalog
    from bootstrap.identity import Identity
    from bootstrap.plan import Plan, Program
    from bootstrap.variable import Account, Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was typed."""

    mode: str | None = None
    service: str | None = None
    process: str | None = None


def selection_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Add the three options, and those for tags; the verb gets Settings and a Selection."""

    @click.option("--mode", metavar="MODE", help="Look at a box in this mode instead of reading tags.")
    @click.option("--service", metavar="SERVICE", help="Only this service.")
    @click.option("--process", metavar="PROCESS", help="Only this process.")
    @tag_options
    def selecting(
        settings: Settings, mode: str | None, service: str | None, process: str | None, **kwargs: Any
    ) -> None:
        verb(settings, Selection(mode=mode, service=service, process=process), **kwargs)

    mine = getattr(selecting, "__click_params__", [])
    update_wrapper(selecting, verb)
    selecting.__dict__["__click_params__"] = [*getattr(verb, "__click_params__", []), *mine]
    return selecting


def read_environments(settings: Settings, selection: Selection) -> list[tuple[Program, Environment]]:
    """The selected programs, each with what it would find in its environment; references stay as they are."""
    from bootstrap.catalog import parse_catalog  # noqa: PLC0415 - not for --help
    from bootstrap.environ import layer_environments, needed_references  # noqa: PLC0415 - likewise
    from bootstrap.plan import resolve_plan  # noqa: PLC0415 - likewise
    from bootstrap.world.config.layers import read_layering  # noqa: PLC0415 - likewise
    from bootstrap.world.sources import read_sources  # noqa: PLC0415 - likewise
    from bootstrap.world.tools import bring_tools  # noqa: PLC0415 - likewise

    catalog = parse_catalog(read_sources(settings.box))
    plan = resolve_plan(_identify(settings, selection, catalog), catalog)
    if any(program.service.source for program in plan.programs):
        from bootstrap.world.code.checkouts import place_running  # noqa: PLC0415 - only with sources

        plan = place_running(settings.box, plan)
    accounts = _accounts(plan)
    plan = bring_tools(settings.box, plan, accounts, strict=False)
    programs = _select(plan, selection, catalog)
    layering = read_layering(settings.box, plan)
    unresolved = dict.fromkeys(needed_references(plan, layering), "")
    environments = layer_environments(plan, layering, accounts, unresolved, settings.box, incomplete=True)
    return [(program, environments[program.name]) for program in programs]


def _identify(settings: Settings, selection: Selection, catalog: Catalog) -> Identity:
    from bootstrap.identity import Identity  # noqa: PLC0415 - not for --help

    if selection.mode is None:
        identity = _read_identity(settings)
    elif settings.tags or settings.tags_file or settings.last_identity:
        raise click.UsageError("--mode stands for all tags: leave out the tags, or name the mode with --tag mode=…")
    else:
        identity = Identity(mode=selection.mode, scale={}, refs={}, tags=())
    mode = catalog.modes.get(identity.mode)
    if mode is None or mode.runs == "everything":
        return identity
    if selection.service is not None and selection.service != identity.service:
        # what the tags say beside the service is about theirs, not about this one
        return replace(identity, service=selection.service, process=None, scale={})
    if selection.mode is not None and selection.service is None:
        raise TagError(
            f"cannot show mode {quoted(mode.name)}: a box in this mode runs one service\n"
            f"  way out: name it with --service (services: {listed(catalog.services)})"
        )
    return identity


def _read_identity(settings: Settings) -> Identity:
    from bootstrap.boot import gather_tags  # noqa: PLC0415 - not with --mode
    from bootstrap.identity import parse_identity  # noqa: PLC0415 - likewise
    from bootstrap.request import Request  # noqa: PLC0415 - likewise

    request = Request(tags=settings.tags, tags_file=settings.tags_file, last_identity=settings.last_identity)
    return parse_identity(gather_tags(settings.box, request, lambda _, notice: click.echo(notice, err=True)))


def _select(plan: Plan, selection: Selection, catalog: Catalog) -> list[Program]:
    programs = list(plan.programs)
    if selection.service is not None:
        if selection.service not in catalog.services:
            raise _unknown("service", selection.service, catalog.services)
        programs = [program for program in programs if program.service.name == selection.service]
        if not programs:
            planned = {program.service.name for program in plan.programs}
            raise TagError(
                f"cannot show service {quoted(selection.service)}: the tags leave it out (this box runs: "
                f"{listed(planned)})\n  way out: name the box's mode with --mode instead of reading its tags"
            )
    if selection.process is not None:
        processes = {program.process.name for program in programs}
        programs = [program for program in programs if program.process.name == selection.process]
        if not programs:
            raise _unknown("process", selection.process, processes)
    return programs


def _unknown(noun: str, name: str, known: Iterable[str]) -> TagError:
    known = list(known)
    return TagError(f"cannot show {noun} {quoted(name)}: no such {noun}{did_you_mean(name, known)} ({listed(known)})")


def _accounts(plan: Plan) -> dict[str, Account]:
    return {program.name: _account(program, plan) for program in plan.programs}


def _account(program: Program, plan: Plan) -> Account:
    from bootstrap.variable import Account  # noqa: PLC0415 - not for --help
    from bootstrap.world.accounts import read_accounts  # noqa: PLC0415 - likewise

    try:
        return read_accounts(replace(plan, programs=(program,)), lambda *_: None)[program.name]
    except DefinitionError:
        # away from its box a user need not exist, and where his home would be nobody can tell
        return Account(name=program.process.user or "", uid=-1, gid=-1, home="/")
